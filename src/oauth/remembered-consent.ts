// What a person allowed before: per person, client, redirect URI and service, for the client as it described
// itself then, and for the scopes allowed then.
import { createRecords } from '../kit/records.ts'
import { judgeRedirectUri, withoutLoopbackPort } from '../kit/urls.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Address } from '../ports/services.ts'
import type { PendingRequest } from './authorization-requests.ts'

/** What was allowed, by whom; the client as the person is shown it. */
export interface ConsentSubject {
  readonly person: Person
  readonly address: Address
  readonly pending: Pick<PendingRequest, 'client' | 'redirectUri' | 'resource' | 'scopes'>
}

/** What is known of a consent request from before. */
export interface RememberedConsent {
  /** Scopes that this person allowed this client before. */
  readonly scopes: readonly string[]
  /** The client says something else of itself than when it was allowed. */
  readonly changed: boolean
  /** Whether the person need not be asked again for these scopes. */
  readonly settles: boolean
}

export interface RememberedConsents {
  recall(subject: ConsentSubject): Promise<RememberedConsent>
  /** Adds what was allowed now to what is remembered. */
  keep(subject: ConsentSubject, remembered: RememberedConsent): Promise<void>
}

interface ConsentRecord {
  readonly client: string
  readonly scopes: readonly string[]
}

const rememberMs = 30 * 86_400_000

export interface RememberedConsentsDeps {
  readonly runtime: Pick<Runtime, 'store' | 'keys' | 'log' | 'digest'>
}

/**
 * Any program on a computer can listen on a loopback port or register a scheme, and take the name of a client
 * that does not prove who it is (RFC 8252 §8.6): its person is asked each time, and what was allowed before
 * only shows what is new. An https redirect URI leads to whoever holds the domain.
 */
const isProven = ({ pending }: ConsentSubject): boolean =>
  pending.client.proves || judgeRedirectUri(pending.redirectUri) === 'https'

export const createRememberedConsents = ({ runtime }: RememberedConsentsDeps): RememberedConsents => {
  const records = createRecords<ConsentRecord>(runtime, 'consent:', { remembered: 256 })
  // The redirect URI counts in full where the record stands for the person, port included. Elsewhere the
  // port, which a client may change each time, is left out.
  const idOf = ({ person, pending, address }: ConsentSubject, proven: boolean): string => {
    const { redirectUri } = pending
    return runtime.digest(
      JSON.stringify([
        person.provider,
        person.subject,
        pending.client.id,
        proven ? redirectUri : withoutLoopbackPort(redirectUri),
        pending.resource,
        address.service.generation ?? '',
      ]),
    )
  }

  return {
    async recall(subject) {
      const { client, scopes: asked } = subject.pending
      const proven = isProven(subject)
      const kept = (await records.get(idOf(subject, proven)))?.value
      const changed = kept !== undefined && kept.client !== client.digest
      const scopes = kept && !changed ? kept.scopes : []
      return {
        scopes,
        changed,
        settles: proven && asked.every((scope) => scopes.includes(scope)),
      }
    },
    async keep(subject, remembered) {
      const { client, scopes } = subject.pending
      const record = { client: client.digest, scopes: [...new Set([...remembered.scopes, ...scopes])] }
      await records.put(idOf(subject, isProven(subject)), record, { ttlMs: rememberMs })
    },
  }
}
