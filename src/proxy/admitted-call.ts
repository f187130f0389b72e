// A call on its way through the steps of admit.ts: what is known of it after each of them.
import type { Envelope } from '../mcp/envelope.ts'
import type { Rpc } from '../mcp/json-rpc.ts'
import type { Admission, Answer, Head, ReadBody, Upstream } from '../ports/call.ts'
import type { UpstreamCredential, UpstreamCredentials } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type { JudgedMessage } from '../ports/policy.ts'
import type { Address, Service, JsonBody } from '../ports/services.ts'
import type { HeldBytes } from './callers.ts'
import type { Identity } from './identity-headers.ts'
import type { RequestHeaders } from './inbound-request.ts'
import type { CircuitBreaker, Endpoint, Target } from './upstream-endpoint.ts'

/** Which calls of a service go to its server as they are. */
export interface UpstreamRoute {
  /** The server may speak another revision than the client; never so for a service in this process. */
  readonly translated: boolean
  /**
   * Until when (epoch ms) every call goes through a transport adapter: always for a server on a WebSocket or
   * one written down as HTTP+SSE, never as long as nothing is known.
   */
  adaptedUntil: number
}

export interface ServiceContext {
  readonly read: (rawHeaders: readonly string[]) => RequestHeaders
  readonly identity: Identity
  readonly credential: ReturnType<UpstreamCredentials['lookup']>
  readonly target: Target
  readonly route: UpstreamRoute
  /** Of a server over HTTP. */
  readonly endpoint: Endpoint | undefined
  /** Of an HTTP server. */
  readonly health: CircuitBreaker | undefined
}

export type ContextOf = (service: Service) => ServiceContext

/** Nothing is decided yet. */
export interface ReceivedCall {
  readonly head: Head
  readonly readBody: ReadBody
  /** Epoch ms. */
  readonly startedAt: number
  /** The access rule that decided, of each message; undefined where there are no rules, or nothing was asked yet. */
  rules: readonly (string | undefined)[] | undefined
  /** What the access rules judge in place of its messages, where one may name a task. */
  judged: readonly JudgedMessage[] | undefined
  /** What the denied messages of a batch are answered; undefined where the server hears the whole of it. */
  denied: readonly string[] | undefined
  /** The `DPoP-Nonce` of its answer, where its caller needs another one. */
  nonce: string | undefined
}

/** Addressed to one of the gateway's hosts. */
export interface HostedCall extends ReceivedCall {
  /** The origin of ours that the caller used. */
  readonly origin: string
}

/** Its service is known. */
export interface AddressedCall extends HostedCall {
  readonly address: Address
  /** What follows the endpoint's path: `''` or `/rest`. */
  readonly rest: string
  readonly query: string
  readonly context: ServiceContext
}

/**
 * Its header fields have been read, and the page that sent it, if any, may call. Nobody has been asked yet
 * who it is.
 */
export interface ResolvedRequest extends AddressedCall {
  readonly inbound: RequestHeaders
}

/** Of a revision that is let through. */
export interface VersionedCall extends ResolvedRequest {
  /** A revision without sessions, by the header; a body that says otherwise is refused. */
  readonly modern: boolean
}

/** Its caller is known. Undefined: the service asks for no login. */
export interface AuthenticatedCall extends ResolvedRequest {
  readonly principal: Principal | undefined
}

/** It counts among the calls of its caller. */
export interface PermittedCall extends AuthenticatedCall {
  /** Gives its permit back; once or more. */
  readonly permit: () => void
  readonly holding: HeldBytes
}

/** It names no session, or one of its caller's. */
export interface CallInSession extends PermittedCall, VersionedCall {
  readonly session: string | undefined
}

/** What it says. All three are undefined for a call without a message. */
export interface CallMessage {
  /** As the upstream is to see it: without a round trip of the gateway's own in it. */
  readonly body: Uint8Array | undefined
  readonly envelope: Envelope | undefined
  /** For commands, to which the message is written anew. */
  readonly json: JsonBody | undefined
  /** The person was asked in this very round trip to connect an account, and said no. */
  readonly declined: boolean
}

/** Asks a server on a connection in the name of the gateway, and resolves with the text of the answer. */
export type AskOnConnection = (request: Rpc) => Promise<string>

export interface ReadCall extends CallInSession, CallMessage {
  /** Absent: the server is asked by a call of its own. */
  readonly askServer?: AskOnConnection | undefined
}

/** With what the server is told of its caller. */
export interface IdentifiedCall extends ReadCall {
  /** Flat list of identity fields. */
  readonly identity: readonly string[]
}

/** With what the server is shown of the caller's right to call it. */
export interface CredentialedCall extends IdentifiedCall {
  readonly credential: UpstreamCredential | undefined
}

/** All that an admission is made of. */
export interface AdmittedCall extends CredentialedCall {
  readonly upstream: Upstream
}

/**
 * What a step sees of a call: what the steps before it have established, and, to be written, what it
 * establishes itself.
 */
export type Establishing<Before, After> = Before & {
  -readonly [Name in Exclude<keyof After, keyof Before>]: After[Name]
}

/** What a step says: nothing, so that the next one follows, or how the call ends. */
export type StepResult = Admission | Answer | undefined

/**
 * One step of the decision. `make` is called once; what it returns is called for each call, throws a
 * `Refusal`, and returns a promise only where there is something to wait for.
 */
export interface Step<Deps, Before, After> {
  readonly name: string
  make(deps: Deps): (call: Establishing<Before, After>) => StepResult | Promise<StepResult>
}
