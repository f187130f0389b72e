// The functions that rooms need of one another. The hall (gateway.ts) passes them; no room imports another.
import type { JSONWebKeySet, JWTPayload } from 'jose'
import type { Counted, PaceKind } from './counts.ts'
import type { Person, Principal } from './people.ts'
import type { ClientView } from './pages.ts'
import type { Visit } from './runtime.ts'
import type { Address } from './services.ts'

/** A plain-way handler: a Request in, a Response out; refusals are thrown. */
export type Handler = (request: Request, visit: Visit) => Promise<Response>

/** Signs with the current asymmetric key of the gateway and answers for all keys still published (RFC 7517). */
export interface Signer {
  /** A JWT with the given `typ`; `iss`, `iat`, `exp` and `jti` are set here. Lifetime in ms. */
  sign(claims: JWTPayload, options: { readonly typ: string; readonly lifetimeMs: number }): Promise<string>
  /** The claims of a token of ours with that `typ`, signature and expiry checked (60 s leeway on iat/nbf, none on exp); undefined otherwise. */
  verify(token: string, typ: string): Promise<JWTPayload | undefined>
  /** Public keys: current, and former ones while their tokens live. Answers from memory when storage is down. */
  jwks(): Promise<JSONWebKeySet>
  readonly algorithm: 'ES256'
}

export interface Session {
  /** Digest of the cookie's value; safe to keep. */
  readonly id: string
  readonly person: Person
  /** Epoch ms. */
  readonly signedInAt: number
  /** Token for forms of this session (double submit). */
  readonly csrf: string
}

export interface Sessions {
  /** The live session of this browser, if any; slides its idle expiry. */
  of(request: Request): Promise<Session | undefined>
}

/**
 * The person as the configuration of today knows them, from what was kept when they signed in; undefined when it admits them no more (removed, or kept out by a
 * rule that was written since), there at all or at that resource.
 */
export type Present = (person: Person, resource?: string) => Person | undefined

/** What sign-in may know of the authorization flow that made it necessary. */
export type DescribeFlow = (flow: string, request: Request) => Promise<{ readonly client: ClientView; readonly address: Address } | undefined>

/**
 * Bearer token → principal at that address. Throws `token.*` with a challenge; never touches the upstream.
 * `authorization`: every Authorization header of the request. `origin`: the origin the caller used, one of `directory.origins` (default: the issuer);
 * the challenge names the metadata there, because clients compare its `resource` with the URL they were given.
 */
export type Guard = (authorization: readonly string[], address: Address, origin?: string) => Promise<Principal>

export type { Counted, PaceKind }

/** A password that somebody tries. */
export interface Guess {
  /** Digest of the name. */
  readonly account: string
  readonly ip: string
  /** The browser, where this name signed in before: it has a count of its own, and a stranger who guesses slows down themselves, never the owner of the name. */
  readonly known: string | undefined
}

export interface Limit {
  /** Counts one use (or what it costs) of `kind`; throws `rate.limited` (429, `Retry-After`) when the pace is exceeded. Kinds: policy/rate.ts. */
  (kind: PaceKind, who: Counted, cost?: number): Promise<void>
  /** Counts a password that is about to be checked. Throws `rate.limited`, for strangers also while the account makes them wait. */
  guess(guess: Guess): Promise<void>
  /** Whether it was right: then it was no guess, and is taken back. */
  guessed(guess: Guess, right: boolean): Promise<void>
}

/** One thing that happened, for the audit trail. Facts are JSON values; never a token, code, cookie or password. */
export interface AuditEvent {
  /** Dotted name, e.g. `grant.issued`, `call`, `refresh.reuse`. */
  readonly event: string
  readonly [fact: string]: unknown
}
/** Keeps one event; never throws, never waits. */
export type Audit = (event: AuditEvent) => void
