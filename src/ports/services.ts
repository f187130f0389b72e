// A service is an MCP server behind the gateway; an address is one place where it is reached.
import type { AbortListener, PlainResponse, Sink, Source } from '../kit/plain-response.ts'
import type { ReportRefused } from '../kit/refusal.ts'
import type { Principal } from './people.ts'

// What an operator may write about the sign-in of an upstream.

export type ClientAuthMethod = 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt'

export type UpstreamAuthType =
  | 'auto'
  | 'none'
  | 'static'
  | 'oauth'
  | 'idp_token'
  | 'id_jag'
  | 'token_exchange'
  | 'client_credentials'
  | 'workload'

/** What an identity provider is asked with for a token of an upstream; absent: `person`. */
export type ExchangeSubject = 'person' | 'access_token' | 'refresh_token' | 'file' | 'env'

/** `mcp_services.<id>.upstream_auth`; what each member says stands in the schema. */
export interface UpstreamAuth {
  readonly type: UpstreamAuthType
  readonly token?: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly issuer?: string | undefined
  readonly authorization_endpoint?: string | undefined
  readonly token_endpoint?: string | undefined
  readonly revocation_endpoint?: string | undefined
  readonly client_id?: string | undefined
  readonly client_secret?: string | undefined
  readonly private_key?: string | undefined
  readonly token_endpoint_auth_method?: ClientAuthMethod | undefined
  readonly client_metadata_url?: string | undefined
  readonly scopes?: readonly string[] | undefined
  readonly resource?: string | undefined
  readonly redirect_uri?: string | undefined
  readonly extra_params: Readonly<Record<string, string>>
  readonly allow_origins: readonly string[]
  /** Absent: `auto`. */
  readonly dpop?: 'auto' | 'required' | 'off' | undefined
  readonly provider?: string | undefined
  readonly subject?: ExchangeSubject | undefined
  readonly audience?: string | undefined
  readonly idp?:
    | {
        readonly client_id?: string | undefined
        readonly client_secret?: string | undefined
        readonly token_endpoint?: string | undefined
      }
    | undefined
  readonly assertion_file?: string | undefined
  readonly assertion_env?: string | undefined
}

/** The set of identity headers a service receives; see docs/reference/headers.md. */
/** What of the bodies of tool calls is kept. */
export interface BodyPlan {
  readonly arguments: boolean
  readonly results: boolean
  /** Characters of JSON of each. */
  readonly cap: number
  /** Paths of what is not kept: names with dots between, `*` for one and `**` for any number. */
  readonly redact: readonly string[]
}

export type IdentityPreset = 'all' | 'profile' | 'minimal' | 'claims' | 'context' | 'none'

export interface Service {
  /** The path segment: `/{id}/mcp`. */
  readonly id: string
  readonly name: string
  /**
   * What it is, beyond its id (src/generation.ts): grants and remembered answers hold for one generation
   * alone.
   */
  readonly generation?: string
  /** When it was added, of one that came while the gateway ran; epoch ms. */
  readonly addedAt?: number
  readonly description: string
  /** Short name of its encoded host: `{alias}-enc.{domain_root}`. */
  readonly alias?: string
  /**
   * Where calls go: an HTTP(S) MCP endpoint (absolute URL, path included), a handler that lives in this
   * process, or a server behind a bridge (a command).
   */
  readonly upstream:
    | {
        readonly kind: 'http'
        /** http(s), or ws(s) for a WebSocket server. */
        readonly url: string
        /**
         * The configured URL had no path: `/mcp` is assumed, and `/` is tried where that answers 404 or 405.
         */
        readonly withoutPath?: true
        /** Absent or `auto`: found out by the first session. */
        readonly transport?: 'auto' | 'streamable' | 'sse'
        /**
         * Somebody added it from elsewhere: every connection goes to a public address or nowhere, whatever
         * the name resolves to by then.
         */
        readonly publicOnly?: true
      }
    | { readonly kind: 'local'; readonly handle: (request: Request) => Promise<Response> }
    | {
        readonly kind: 'bridge'
        readonly carry: DispatchStdio
        /** Absent where no process can be started. */ readonly attend?: Attend | undefined
      }
  /** Identity provider that people of this service sign in with; undefined means any configured one. */
  readonly provider?: string
  /** The same where there are several. */
  readonly providers?: readonly string[]
  readonly authRequired: boolean
  /** It is not called while the audit trail cannot be written. */
  readonly auditRequired?: true
  /** What of its tool calls is kept beside the audit trail. */
  readonly auditBodies?: BodyPlan | undefined
  /** Whether its tokens are bound to a key (RFC 9449); absent: as the gateway's. */
  readonly dpop?: 'off' | 'optional' | 'required'
  /** Scopes a token must hold to use the service; never empty. */
  readonly scopes: readonly string[]
  /** Milliseconds until the first byte of the upstream's answer. */
  readonly timeoutMs: number
  /** As far as checks of the gateway's own have shown; absent: there are none. */
  readonly checked?: { readonly state: ServiceState }
  /** Largest request body, bytes. */
  readonly maxBodyBytes: number
  /** Header names of callers that reach this server although they could claim something with them. */
  readonly passHeaders?: readonly string[]
  /** How the upstream is signed in to; absent: nothing is known of that. */
  readonly auth?: UpstreamAuth
  readonly identity: {
    readonly preset: IdentityPreset
    readonly headers: Readonly<Record<string, string>>
    readonly assertion: boolean
  }
}

/** What is known of the server behind a service: nothing yet, that it answers, or that it does not. */
export type ServiceState = 'unknown' | 'healthy' | 'degraded'

/** One address under which a service is reached: its own canonical resource URL and metadata. */
export interface Address {
  readonly service: Service
  /**
   * Path of the MCP endpoint below the origin, no trailing slash: `/demo/mcp`, or `/mcp` for the default
   * service and at a host of the service's own.
   */
  readonly path: string
  /** The clients met here: those of Streamable HTTP, or (`sse`) of HTTP+SSE as in MCP 2024-11-05. */
  readonly transport?: 'sse'
  /**
   * Origin and path: the audience of tokens for this address (RFC 8707 §2, RFC 9728 §1.2). The origin is the
   * issuer, or a host of the service's own.
   */
  readonly resource: string
}

/** An address, with what follows its endpoint in a path: `''` or `/rest`. */
export interface LocatedAddress {
  readonly address: Address
  readonly rest: string
}

/** A host that belongs to services and not to the gateway's own pages. */
export interface ServiceHost {
  /** No trailing slash. */
  readonly origin: string
  /** At least one; several where one domain has several servers. */
  readonly addresses: readonly Address[]
}

/**
 * The address that a resource indicator names, though its service was added elsewhere a moment ago. Rejects
 * with `storage.unavailable` while nobody knows.
 */
export type FindAddress = (resource: string) => Promise<Address | undefined>

/**
 * All services and where they are. Pure look-ups; no I/O. The answers change when services do, so nobody
 * keeps them beyond a request. As long as nobody knows which services were added (the storage has not
 * answered since the start), `service` and `resolve` throw `storage.unavailable` instead of answering that
 * there is none.
 */
export interface Directory {
  /**
   * Throws `storage.unavailable` while nobody knows which services were added: for whoever is about to say
   * that there is none.
   */
  assertComplete(): void
  /** The public origin, no trailing slash: issuer of the authorization server and base of every resource. */
  readonly issuer: string
  /**
   * Origins that mean the same place as the issuer (on a loopback gateway: localhost, 127.0.0.1 and [::1]
   * with its port), issuer first.
   */
  readonly origins: readonly string[]
  readonly services: readonly Service[]
  readonly addresses: readonly Address[]
  /** The one address meant when a request names no resource: the only service, or the default one. */
  readonly only: Address | undefined
  service(id: string): Service | undefined
  /**
   * The address a resource indicator names (RFC 8707): scheme and host in any case, default port, one
   * trailing slash and any of `origins` accepted; undefined for everything else.
   */
  resolve(resource: string): Address | undefined
  /** Whether any service has a host of its own; where none has, `locate` needs no host. */
  readonly hosted: boolean
  /** The host that a Host header (any case, default port or not) names, when it belongs to services. */
  host(host: string): ServiceHost | undefined
  /**
   * For a host under `domain_root` or `base_domain`: why nobody is reached there, for the log. Undefined
   * elsewhere.
   */
  unknownHost(host: string): string | undefined
  /**
   * The address a raw request path (no query) falls under, with what follows its endpoint (`''` or `/rest`);
   * undefined when none does or the path is not in normal form. `host`: the Host header; on a host of
   * services only their addresses are found, everywhere else only those by path.
   */
  locate(path: string, host?: string): LocatedAddress | undefined
}

/** What nobody may use for now, as plain data: every call reads it. */
export interface Closed {
  /** When that was last known, epoch ms. */
  checkedAt: number
  /** All services. */
  gateway: boolean
  services: ReadonlySet<string>
}

/** Which services there are, for those who hold one open. */
export interface Serving {
  /** Whether a service is served as it was, as far as this process knows. */
  known(service: Service): boolean
  /** The same, asked of the storage where it must be. Rejects where that does not answer. */
  served(service: Service): Promise<boolean>
  /** The record by whose change it would show; undefined for a service that only a configuration changes. */
  record(service: Service): string | undefined
}

// A call that is carried to a server without HTTP, and its answer, as plain data: no web objects where nobody
// needs them.

export interface JsonBody {
  readonly text: string
  readonly value: unknown
}

/**
 * An admitted call for a server that is reached without HTTP: what of the request may be believed, as plain
 * data.
 */
/** What a server is told of its caller (docs/reference/headers.md). */
export interface CallerContext {
  /** As in `X-User-Id`. */
  userId(principal: Principal): string | undefined
  /** As of now: the same array for as long as they stay as they are. */
  permissions(principal: Principal): readonly string[]
  /** The server may list other tools from now on. */
  listsChanged?(): void
}

export interface StdioCall {
  readonly method: string
  /** Flat list: name, value, name, value… */
  readonly headers: readonly string[]
  readonly body: Uint8Array | undefined
  /** What the body says, where it has been read already (mcp/json-rpc.ts). */
  readonly json?: JsonBody | undefined
  readonly principal: Principal | undefined
  readonly refused: ReportRefused
  /** Aborts when the caller is gone before an answer began. */
  readonly signal: AbortListener
  /** Somebody else tells the caller that a process starts (`Attend`). */
  readonly attended?: true
  /** The id that the caller was told already of the session that this call begins. */
  readonly sessionId?: (() => string | undefined) | undefined
}

/** Work for one request that may have to wait until a process has started. */
export interface AttendedWork<Reply> {
  /** `signal`: the caller left. `sessionId`: what the head of the stream said, once it began. */
  run(about: { readonly signal: AbortSignal; readonly sessionId: () => string | undefined }): Promise<Reply>
  /** Writes the reply on a stream that has begun. */
  deliver(reply: Reply, sink: Sink): Source
  /** A new session id for the head of the stream, where the request begins a session. */
  readonly nameSession?: (() => string) | undefined
}

/** A request that is waited for. */
export interface AttendedCall {
  readonly message: Readonly<Record<string, unknown>>
  readonly principal: Principal | undefined
  readonly signal: AbortListener
  readonly refused: ReportRefused
}

/**
 * The reply of the work; where a process takes long to start, an event stream that says so, and the reply on
 * it.
 */
export type Attend = <Reply>(call: AttendedCall, work: AttendedWork<Reply>) => Promise<Reply | PlainResponse>

/** Rejects with `Refusal`. */
export type DispatchStdio = (call: StdioCall) => Promise<PlainResponse>

// Adding services in the console.

/** What the form shows: what was typed, and what is wrong with it. */
export interface AddView {
  readonly source?: string
  readonly id?: string
  readonly problem?: string
  /** Whether commands can be added there (`admin_commands`). */
  readonly commands: boolean
}

/** What happens while servers are asked. After `service`: its steps, and `added` or `failed`. Texts are untrusted. */
export type AddingEvent =
  | { readonly kind: 'note'; readonly say: string }
  | { readonly kind: 'service'; readonly id: string; readonly where: string }
  | { readonly kind: 'step'; readonly result: 'yes' | 'no' | 'unknown'; readonly say: string }
  | { readonly kind: 'added'; readonly id: string; readonly url: string }
  | { readonly kind: 'failed'; readonly id: string; readonly say: string; readonly code: string }
