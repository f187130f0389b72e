// The functions that modules need of one another. The composition root (gateway.ts) passes them; no module
// imports another.
import type { JSONWebKeySet, JWTPayload } from 'jose'
import type { RefusalCode } from '../kit/refusal.ts'
import type { ClientView, AccountStatus } from './pages.ts'
import type { Refusal } from '../kit/refusal.ts'
import type { Block, BlockedParty, GrantFilter, Impact, ListedGrant, Person, Principal } from './people.ts'
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

/** Who may not be given access, whatever everything else says, until somebody unblocks them. */
export interface Blocks {
  list(): Promise<readonly Block[]>
  add(block: Block): Promise<void>
  /** False when nobody had blocked them. */
  remove(party: BlockedParty): Promise<boolean>
  /** Whether this person, or this client of theirs, is blocked. */
  covers(person: Person, clientId?: string): Promise<boolean>
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
  /** `dryRun`: what would end. */
  end(filter: GrantFilter, why: EndedBy, dryRun: boolean): Promise<Impact>
}

/** What sign-in may know of the authorization flow that made it necessary. */
export type DescribeFlow = (
  flow: string,
  request: Request,
) => Promise<
  | {
      readonly client: ClientView
      readonly address: Address
      /** Where the client waits for its answer. */
      readonly redirect: { readonly uri: string; readonly state?: string }
    }
  | undefined
>

/**
 * Bearer token → principal at that address. Throws `token.*` with a challenge; never touches the upstream.
 * `authorization`: every Authorization header of the request. `origin`: the origin the caller used, one of
 * `directory.origins` (default: the issuer); the challenge names the metadata there, because clients compare
 * its `resource` with the URL they were given. A token that was good a moment ago is answered for at once;
 * otherwise rejects.
 */
export type AuthenticateBearer = (
  authorization: readonly string[],
  address: Address,
  origin?: string,
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

// The flow record: the steps of one attempt of an app to get access, from its registration to its first call,
// joined under one ID.

/**
 * The ID of the flow that a request belongs to: `known`, if there is one, or a new one. Undefined where no flows
 * are recorded.
 */
export type BeginFlow = (request: Request, known?: string) => string | undefined

/** What a grant knows of its flow. */
export interface FlowGrant {
  readonly id: string
  readonly flow?: string
}

export type FlowStepKind =
  | 'register'
  | 'authorize'
  | 'sign-in'
  | 'provider-redirect'
  | 'provider-callback'
  | 'consent'
  | 'upstream-connect'
  | 'token'
  | 'first-call'
  | 'refresh'
  | 'revoke'

/** What is kept of a request or an answer, by an allow-list; a secret is the beginning of its digest, `‹…›`. */
export type FlowFacts = Readonly<Record<string, string | number | readonly string[]>>

export interface FlowStep {
  /** Epoch ms. */
  readonly at: number
  readonly step: FlowStepKind
  /**
   * `done`: it was carried out. `asked`: somebody is away or at a page, and the next step is theirs. `refused`:
   * `code` says why.
   */
  readonly result: 'done' | 'asked' | 'refused'
  /** Of the refusal, or `sign-in.failed`. */
  readonly code?: RefusalCode | 'sign-in.failed'
  /** HTTP status. */
  readonly status?: number
  readonly request: FlowFacts
  readonly answer: FlowFacts
  /** Address of whoever asked. */
  readonly ip?: string
  readonly requestId?: string
}

export interface FlowRecord {
  readonly id: string
  /** Epoch ms of its first step. */
  readonly at: number
  readonly client?: string
  /** Untrusted text. */
  readonly clientName?: string
  readonly service?: string
  /** Key of the person (kit/records.ts), once somebody has signed in. */
  readonly person?: string
  readonly grant?: string
  readonly steps: readonly FlowStep[]
  /** There were more steps than are kept. */
  readonly cut?: true
  /** The flow of the same app and person before this one. */
  readonly previous?: string
  /** How often the app sent this person within ten minutes, and registered anew within an hour; if more than once. */
  readonly attempts?: number
  readonly registrations?: number
}

/** Who has to act for it to go on. */
export type FlowActor = 'app' | 'operator' | 'user' | 'server' | 'nobody'

/** What a flow came to, or where it stopped and who must do what. */
export interface FlowFinding {
  readonly code: string
  readonly acts: FlowActor
  readonly say: string
  readonly fix?: string
}

/**
 * `open`: it goes on. `waiting`: for a person. `completed`: the app has called the service. `stalled`: the app
 * has not gone on. `failed`: a step was refused. `abandoned`: the person has not gone on.
 */
export type FlowState = 'open' | 'waiting' | 'completed' | 'stalled' | 'failed' | 'abandoned'

export interface FlowStory {
  readonly state: FlowState
  readonly finding?: FlowFinding
}

/** What flows are looked for by. */
export interface FlowFilter {
  readonly user?: string | undefined
  readonly client?: string | undefined
  readonly service?: string | undefined
  readonly state?: string | undefined
  /** Epoch ms: only those that began then or later. */
  readonly since?: number | undefined
}

/** A flow as it is told, over HTTP and by the command line. Texts of apps are untrusted. */
export interface ListedFlow extends FlowStory {
  readonly id: string
  readonly at: string
  readonly client?: string
  readonly client_name?: string
  readonly service?: string
  readonly user?: string
  readonly grant?: string
  readonly previous?: string
  readonly steps: readonly ListedFlowStep[]
  readonly cut?: true
}

export interface ListedFlowStep extends Omit<FlowStep, 'at' | 'requestId'> {
  readonly at: string
  /** Milliseconds since the step before. */
  readonly after_ms: number
  readonly request_id?: string
}

/** Whoever asks for their own flows, and from where. */
export interface FlowOwner {
  readonly person: string
  readonly ip: string
}

export interface FoundFlows {
  readonly flows: readonly ListedFlow[]
  /** Older ones were not looked at. */
  readonly truncated: boolean
}

export interface FlowAdmin {
  list(filter: FlowFilter, limit: number, own?: FlowOwner): Promise<FoundFlows>
  /**
   * By its ID, or the newest that has this request, grant or client. Throws `flow.unknown`.
   */
  show(id: string, own?: FlowOwner): Promise<ListedFlow>
}

// What other modules ask of connections: the credential of each call, and the upstream's own question as a
// step of a login.

/** What an upstream is shown instead of the caller's token: header fields as a flat list. */
export interface UpstreamCredential {
  readonly headers: readonly string[]
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

/** What an identity provider gave when somebody signed in, for services that are shown its access token. */
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
}
