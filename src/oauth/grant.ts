// A grant as it is kept: one person's, or one service account's, permission for one client at one resource.
import { personKey } from '../kit/records.ts'
import type { AuditEvent } from '../ports/modules.ts'
import type { Consented, Person } from '../ports/people.ts'

/**
 * `client_credentials`: of a client that acts as a service account; no person is in front of it. `personal`: of a
 * personal access token. `test`: of one that was made for tests. `device`: of a device authorization (RFC 8628). `exchange`: of a
 * token that was exchanged (RFC 8693). `id_jag`: by the word of the person's company. `workload`: by the word of the platform
 * that runs a program.
 */
export type GrantKind =
  | 'client_credentials'
  | 'device'
  | 'exchange'
  | 'id_jag'
  | 'personal'
  | 'test'
  | 'workload'

/** What a grant remembers of its refresh tokens. Members that 0.1.0 did not write may be absent. */
export interface Rotation {
  /** The newest refresh token handed out; nobody has presented it yet. */
  readonly generation: number
  /** When each generation was first presented, epoch ms: the newest of them, and those within the grace. */
  readonly usedAt: Readonly<Record<number, number>>
  /** From which network (a keyed digest). */
  readonly usedBy?: Readonly<Record<number, string>>
  /** The successor of a generation, where that is not the next number. */
  readonly next?: Readonly<Record<number, number>>
  /**
   * Generations that were replaced before anybody used them: by which, and from which network that one was
   * asked for.
   */
  readonly replaced?: Readonly<Record<number, { readonly to: number; readonly by: string }>>
  /** When and to which network the newest was handed out. */
  readonly handed?: { readonly at: number; readonly by: string }
  /**
   * The root key under which each generation was made: the same parent yields the same successor after a
   * rotation of roots too.
   */
  readonly keyIds: Readonly<Record<number, string>>
}

export interface Grant extends Rotation {
  readonly id: string
  /** How it began; absent: with an authorization code. */
  readonly kind?: GrantKind
  /**
   * `code`: allowed, the code not yet exchanged. `live`: tokens are out. `revoked`: nothing of it works any
   * more.
   */
  readonly state: 'code' | 'live' | 'revoked'
  readonly person: Person
  readonly clientId: string
  readonly clientName: string
  /**
   * Where the code was sent, and whether the request said so (the token request must then repeat it, RFC 6749
   * §4.1.3).
   */
  readonly redirectUri?: string
  readonly redirectSent?: boolean
  readonly resource: string
  /**
   * The generation of the service that was consented to; absent in grants of 0.1.0 that were not used since.
   */
  readonly serviceGeneration?: string
  readonly scopes: readonly string[]
  /** What the person let the app do; absent where the service had no access rules. */
  readonly consented?: Consented
  /** PKCE S256 challenge. */
  readonly challenge?: string
  /** Thumbprint of the key that its code, and then its refresh tokens, are bound to (RFC 9449 §5, §10). */
  readonly jkt?: string
  readonly codeDigest?: string
  readonly codeExpiresAt?: number
  /** Of a device authorization: the networks that the device asked from, and the person answered from. */
  readonly device?: { readonly from: string; readonly approvedFrom: string }
  readonly refreshable: boolean
  /** Goes into every refresh token's MAC, so that none can be computed from the grant's id. */
  readonly salt: string
  readonly createdAt: number
  readonly authTime?: number
  /** `BrowserSession.providerSession` of the session in which it was allowed. */
  readonly providerSession?: string
  /**
   * Of a grant that comes back by itself after it was ended, under the same ID: its tokens name it, so that those from
   * before the end stay dead.
   */
  readonly instance?: string
  /** Of an exchange: the grant of the token that was exchanged, and which instance of it. It ends with that one. */
  readonly parent?: { readonly id: string; readonly instance?: string }
  /** Of an exchange: who acts for the person, and for whom each of them acted before, nearest first. */
  readonly actor?: readonly string[]
  /** Of assertions: the entry of `assertion_issuers` by whose word it is. */
  readonly issuer?: string
  /** ID of the flow that it came of (ports/flow-record.ts). */
  readonly flow?: string
  readonly redeemedAt?: number
  readonly lastUse?: LastUse
  readonly revokedReason?: string
  readonly revokedAt?: number
  /** Of a personal access token: SHA-256 of its secret, when it ends, epoch ms, and how many days before that it was told of. */
  readonly token?: { readonly digest: string; readonly expiresAt: number; readonly noticed?: number }
}

/** `at`: up to an hour old. `from`: the network that its tokens were last asked for from. */
export interface LastUse {
  readonly at: number
  readonly from?: string
}

/** A grant as it was read, with the version a change must find. */
export interface ReadGrant {
  readonly grant: Grant
  readonly mark: string
}

export type NewGrant = Pick<
  Grant,
  | 'kind'
  | 'device'
  | 'codeExpiresAt'
  | 'person'
  | 'clientId'
  | 'clientName'
  | 'redirectUri'
  | 'redirectSent'
  | 'resource'
  | 'serviceGeneration'
  | 'scopes'
  | 'consented'
  | 'challenge'
  | 'jkt'
  | 'refreshable'
  | 'authTime'
  | 'providerSession'
  | 'flow'
>

// Personal access tokens that are about to expire.

const dayMs = 86_400_000

/** 7 or 1, once so few days are left of a personal access token that was to live longer than that. */
export const noticeOf = ({ token, createdAt }: Grant, now: number): 7 | 1 | undefined =>
  token &&
  ([1, 7] as const).find(
    (days) =>
      token.expiresAt - now <= days * dayMs &&
      token.expiresAt - createdAt > days * dayMs &&
      (token.noticed ?? Infinity) > days,
  )

export const expiringEvent = (grant: Grant, days: number): AuditEvent => ({
  event: 'token.expiring',
  grant: grant.id,
  client: grant.clientId,
  person: personKey(grant.person),
  resource: grant.resource,
  name: grant.clientName,
  days,
  expires_at: new Date(grant.token?.expiresAt ?? 0).toISOString(),
})
