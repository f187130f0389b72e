// Issuers of assertions as the operator sees them (oauth/assertion-issuers.ts).
import type { RefusalCode } from '../kit/refusal.ts'

export interface TestedGate {
  readonly gate: string
  readonly say: string
  readonly result: 'passed' | 'refused' | 'not reached'
  readonly code?: RefusalCode
  readonly why?: string
}

export interface TestedAssertion {
  /** ID of the entry, once it is known. */
  readonly issuer?: string | undefined
  readonly gates: readonly TestedGate[]
  /** What a token would say. */
  readonly accepted?: {
    readonly person: string
    readonly service: string
    readonly scopes: readonly string[]
    readonly rule?: string | undefined
    readonly actor?: string | undefined
  }
}

export interface ListedAssertionIssuer {
  readonly id: string
  readonly type: string
  /** URL, or the trust domain. */
  readonly issuer: string
  /** How many keys it has; absent with `failure`. */
  readonly keys?: number
  /** When they were fetched, epoch ms; absent where they are in the configuration. */
  readonly fetchedAt?: number
  readonly failure?: string
}

export interface AssertionIssuers {
  /** `longestMs`: an issuer that takes longer to send its keys is listed with that as its failure. */
  list(longestMs?: number): Promise<readonly ListedAssertionIssuer[]>
  /** `fields`: `client_id`, `resource` and `scope` of the request; the client counts as authenticated. */
  test(assertion: string, fields: Readonly<Record<string, string>>): Promise<TestedAssertion>
}
