// The functions that modules need of one another. The composition root (gateway.ts) passes them; no module
// imports another.
import type { JSONWebKeySet, JWTPayload } from 'jose'
import type { Head } from './call.ts'
import type { ClientView, AccountStatus } from './pages.ts'
import type { Refusal } from '../kit/refusal.ts'
import type {
  AccountsOf,
  Block,
  BlockedParty,
  EndedAccounts,
  GrantFilter,
  Impact,
  ListedGrant,
  Person,
  Principal,
} from './people.ts'
import type { ConsentChoices, Denied, Permission } from './policy.ts'
import type { RequestContext } from './runtime.ts'
import type { Address, ClientAuthMethod, Service } from './services.ts'
import type { Counted, PaceKind } from './store.ts'

/** A handler: a Request in, a Response out; refusals are thrown. */
export type Handler = (request: Request, context: RequestContext) => Promise<Response>

/**
 * Signs with the current asymmetric key of the gateway and answers for all keys still published (RFC 7517).
 */
export interface Signer {
  /** A JWT with the given `typ`; `iss`, `iat`, `exp` and `jti` are set here. Lifetime in ms. */
  sign(claims: JWTPayload, options: { readonly typ: string; readonly lifetimeMs: number }): Promise<string>
  /**
   * The claims of a token of ours with that `typ`, signature and expiry checked (60 s leeway on iat/nbf, none
   * on exp); undefined otherwise.
   */
  verify(token: string, typ: string): Promise<JWTPayload | undefined>
  /**
   * Public keys: current, and former ones while their tokens live. Answers from memory when storage is down.
   */
  jwks(): Promise<JSONWebKeySet>
  /** The same keys by what is known of them, oldest first, for administrators. */
  published(): Promise<{
    /** Epoch ms. */
    readonly keys: readonly { readonly kid: string; readonly createdAt: number; readonly signsFrom: number }[]
    /** When the next one is made. */
    readonly nextAt: number
    /** How long what a key has signed is accepted once its successor signs, ms. */
    readonly acceptedMs: number
  }>
  /** Makes the next key now, because of `by`; `made` is false where one was made that does not sign yet. */
  rotate(by: string): Promise<{ readonly kid: string; readonly signsFrom: number; readonly made: boolean }>
  readonly algorithm: 'ES256'
}

export interface BrowserSession {
  /** Digest of the cookie's value; safe to keep. */
  readonly id: string
  readonly person: Person
  /** Epoch ms. */
  readonly signedInAt: number
  /** Token for forms of this session (double submit). */
  readonly csrf: string
  /** Digest of the provider's ID of the session there (`sid`), where it has told one. */
  readonly providerSession?: string
  /** It is no browser's: a token was sent in a header, so no form token is asked for. */
  readonly bearer?: true
}

export interface Sessions {
  /** The live session of this browser, if any; slides its idle expiry. */
  of(request: Request): Promise<BrowserSession | undefined>
}

/**
 * The person as the configuration of today knows them, from what was kept when they signed in; undefined when
 * it admits them no more (removed, or kept out by a rule that was written since), there at all or at that
 * resource.
 */
export type MayStillSignIn = (person: Person, resource?: string) => Person | undefined

/** The principal with the groups of now, as far as this process knows them: for what is open for long. */
export type NewestPrincipal = (principal: Principal) => Principal

/** Who may not be given access, whatever everything else says, until somebody unblocks them. */
export interface Blocks {
  list(): Promise<readonly Block[]>
  add(block: Block): Promise<void>
  /** False when nobody had blocked them. */
  remove(party: BlockedParty): Promise<boolean>
  /**
   * Whether this person, or this client of theirs, is kept out: `blocked` by an administrator, or `deactivated` at
   * their provider.
   */
  covers(person: Person, clientId?: string): Promise<'blocked' | 'deactivated' | undefined>
}

/** Who ended something and why, for the audit trail. */
export interface EndedBy {
  readonly reason: string
  readonly by: string
}

/** Every grant of the gateway. To find some, all of the client, or of the gateway, are read. */
export interface GrantAdmin {
  list(filter: GrantFilter): AsyncIterable<readonly ListedGrant[]>
  byId(id: string): Promise<ListedGrant | undefined>
  /** As their provider described them last; undefined for somebody without grants. */
  person(user: string): Promise<Person | undefined>
  /** False when there is none. */
  endOne(id: string, why: EndedBy): Promise<boolean>
  /** `dryRun`: what would end. `each`: is told of every grant that ended, or would. */
  end(
    filter: GrantFilter,
    why: EndedBy,
    dryRun: boolean,
    each?: (grant: Pick<ListedGrant, 'user' | 'service'>) => void,
  ): Promise<Impact>
}

/**
 * Removes accounts at MCP servers, and revokes their tokens where that is possible. `waitMs`: for the authorization
 * servers; what is not answered by then goes on.
 */
export type EndAccounts = (
  owners: readonly AccountsOf[],
  by: string,
  waitMs: number,
) => Promise<EndedAccounts>

/** What sign-in may know of the authorization flow that made it necessary. */
export type DescribeFlow = (
  flow: string,
  request: Request,
) => Promise<
  | {
      readonly client: ClientView
      readonly address: Address
      /** Where the client waits for its answer, if it does. */
      readonly redirect?: { readonly uri: string; readonly state?: string }
    }
  | undefined
>

/** What a proof of possession is for (RFC 9449 §4.3), and what the caller is told besides. */
export interface ProvenRequest {
  readonly head: Pick<Head, 'method' | 'target' | 'proven'>
  readonly inbound: { readonly proof: string | undefined }
  /** Set where the next proof of the caller should contain another nonce: the `DPoP-Nonce` of the answer. */
  nonce: string | undefined
}

/**
 * Bearer token → principal at that address. Throws `token.*` with a challenge; never touches the upstream.
 * `authorization`: every Authorization header of the request. `origin`: the origin the caller used, one of
 * `directory.origins` (default: the issuer); the challenge names the metadata there, because clients compare
 * its `resource` with the URL they were given. A token that was good a moment ago is answered for at once;
 * otherwise rejects. `request`: which brought the proof that a token bound to a key needs.
 */
export type AuthenticateBearer = (
  authorization: readonly string[],
  address: Address,
  origin?: string,
  request?: ProvenRequest,
) => Principal | Promise<Principal>

/** A call that the access rules allow and the person's consent does not. */
export interface BeyondConsent {
  readonly address: Address
  readonly principal: Principal
  /** The origin that the caller used, one of `directory.origins`; default: the issuer. */
  readonly origin: string | undefined
  readonly need: Permission
  /** What was called, in printable characters. */
  readonly what: string
}

/**
 * The challenge that lets the client ask the person for more (RFC 6750 §3.1, MCP authorization, "Step-Up
 * Authorization Flow"), or `consent.declined` where the person has said no lately.
 */
export type AskForMore = (call: BeyondConsent) => Promise<Refusal>

/** What a person may let an app do at a service; undefined: the service has no access rules. */
export type ServiceChoices = (
  service: Service,
  by: Pick<Principal, 'person' | 'clientId' | 'redirectHost'>,
) => Promise<ConsentChoices | Denied | undefined>

export type { Counted, PaceKind }

/** A password that somebody tries. */
export interface Guess {
  /** Digest of the name. */
  readonly account: string
  readonly ip: string
  /**
   * The browser, where this name signed in before: it has a count of its own, and a stranger who guesses
   * slows down themselves, never the owner of the name.
   */
  readonly known: string | undefined
}

export interface Limit {
  /**
   * Counts one use (or what it costs) of `kind`; throws `rate.limited` (429, `Retry-After`) when the pace is
   * exceeded. Kinds: policy/rate-limit.ts.
   */
  (kind: PaceKind, who: Counted, cost?: number): Promise<void>
  /** A use that was counted was none: it is taken back. */
  takeBack(kind: PaceKind, who: Counted): Promise<void>
  /**
   * Counts a password that is about to be checked. Throws `rate.limited`, for strangers also while the
   * account makes them wait.
   */
  guess(guess: Guess): Promise<void>
  /** Whether it was right: then it was no guess, and is taken back. */
  guessed(guess: Guess, right: boolean): Promise<void>
}

/**
 * One thing that happened, for the audit trail. Facts are JSON values; never a token, code, cookie or
 * password.
 */
export interface AuditEvent {
  /** Dotted name, e.g. `grant.issued`, `call`, `refresh.reuse`. */
  readonly event: string
  readonly [fact: string]: unknown
}
/**
 * Keeps one event; never throws, never waits. `body`: of a call, for the digest of its arguments. It is not kept.
 * `caller`: who called.
 */
export type Audit = (event: AuditEvent, body?: Uint8Array, caller?: Principal) => void

// What other modules ask of connections: the credential of each call, and the upstream's own question as a
// step of a login.

/** What an upstream is shown instead of the caller's token: header fields as a flat list. */
export interface UpstreamCredential {
  readonly headers: readonly string[]
  /** The token is bound to a key: every request that shows it needs a proof of its own (RFC 9449 §7). */
  readonly bound?: true
}

/** An upstream's refusal of a call, and what it had been shown. */
export interface UpstreamAuthFailure {
  readonly address: Address
  readonly principal: Principal | undefined
  readonly shown: UpstreamCredential | undefined
  readonly status: number
  /** Every WWW-Authenticate field of the answer. */
  readonly authenticate: readonly string[]
  /** The call was for a path below the endpoint: what is refused there says nothing of the endpoint. */
  readonly below: boolean
  /** There was a second try already. */
  readonly last: boolean
}

/**
 * Asked by the proxy for every call. Nothing to show and nothing to wait for is answered at once, without a
 * promise.
 */
export interface UpstreamCredentials {
  /** Header names in lower case that only the gateway may send to this service. */
  names(service: Service): readonly string[]
  /**
   * Made once for a service; asked for each call. Rejects with `upstream.consent` (the person has to connect
   * an account first) or `connection.unreachable` (no token can be had right now).
   */
  lookup(
    service: Service,
  ): (
    principal: Principal | undefined,
  ) => UpstreamCredential | undefined | Promise<UpstreamCredential | undefined>
  /**
   * Another credential, to be tried once. Undefined, at once: there is none, and the refusal is as it was.
   * Rejects with `upstream.consent`, `upstream.scope`, `connection.unreachable` or `upstream.credential`.
   */
  after(failure: UpstreamAuthFailure): Promise<UpstreamCredential> | undefined
}

/** What the consent page announces: after Allow, this host asks the person too. */
export interface UpstreamStep {
  readonly host: string
}

/** The upstream's own question, as a step of a login. */
export interface ConnectStep {
  /**
   * Undefined: nothing to connect, or connected already, or it cannot be found out right now. Never rejects.
   */
  ahead(address: Address, person: Person): Promise<UpstreamStep | undefined>
  /** Undefined where no account is asked for, as far as is known; nobody is asked. */
  standing(service: Service, person: Person): Promise<AccountStatus | undefined>
  /**
   * Sends the browser there; it comes back to `returnTo`, a path of this gateway. Only after the person
   * agreed. Throws `upstream.*`.
   */
  begin(to: {
    readonly address: Address
    readonly session: BrowserSession
    readonly returnTo: string
    readonly context: RequestContext
  }): Promise<Response>
}

/** What an identity provider gave when somebody signed in, for services that are shown its access token or have it exchanged. */
export interface ProviderTokens {
  readonly provider: string
  readonly person: Person
  readonly issuer: string
  readonly tokenEndpoint: string
  readonly revocationEndpoint?: string | undefined
  readonly clientId: string
  readonly method: ClientAuthMethod
  readonly accessToken: string
  readonly refreshToken?: string | undefined
  /** Validated at the sign-in. */
  readonly idToken?: string | undefined
  /** Seconds, as the provider said. */
  readonly expiresIn?: number | undefined
  readonly scope?: string | undefined
}

/** Keeps them, sealed, for as long as the person does not sign in anew. */
export type SaveProviderTokens = (tokens: ProviderTokens) => Promise<void>

/**
 * `none`: there is nothing to ask with. `refused`: the provider takes the refresh token no more. `later`: it cannot
 * be asked right now.
 */
export type RenewedProviderTokens =
  | { readonly kind: 'tokens'; readonly accessToken: string; readonly idToken?: string | undefined }
  | { readonly kind: 'none' }
  | { readonly kind: 'refused'; readonly why: string }
  | { readonly kind: 'later'; readonly why: string }

/** New tokens from the provider that the person signed in with, where there is a refresh token; else those kept. */
export type RenewProviderTokens = (person: Person) => Promise<RenewedProviderTokens>

/** `same`: nothing was asked, or nothing has changed. `gone`: the person has no access any more. */
export type ConfirmedPerson =
  | { readonly kind: 'same' }
  | { readonly kind: 'known'; readonly person: Person }
  | { readonly kind: 'gone'; readonly why: string }

/**
 * Asks the provider of a person again, where that is due. Throws `provider.unreachable` once it could not be asked
 * for too long.
 */
export type ConfirmPerson = (person: Person) => Promise<ConfirmedPerson>

/** The person with the groups that the provider has pushed by now. */
export type ProvisionPerson = (person: Person) => Promise<Person>

/**
 * Who reads the response: a person, an OAuth client, an MCP client, any program, or (`both`) a program unless
 * it asks for a page.
 */
export type Surface = 'page' | 'oauth' | 'mcp' | 'json' | 'both'

export interface Route {
  readonly paths: readonly string[]
  /** For docs/reference/endpoints.md. */
  readonly description: string
  readonly surface: Surface
  /** Browser clients of other origins may read the response; never pages. */
  readonly cors: boolean
  readonly methods: Readonly<Partial<Record<'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', Handler>>>
  /** A GET begins, continues or finishes something, so that HEAD and a prefetch must not reach it. */
  readonly changesState?: boolean
  /**
   * Which Host headers reach it. Absent: the issuer's. `known`: those of services as well. `services`: only
   * those. `any`: every Host header, because health probes connect by address.
   */
  readonly hosts?: 'known' | 'services' | 'any'
  /**
   * Cookies belong to the issuer's host, so a browser that used another name of the gateway is redirected
   * there first.
   */
  readonly issuerOnly?: boolean
  /** Bytes of the largest body; absent: 64 KiB. */
  readonly maxBody?: number
}
