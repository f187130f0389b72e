// Everything a module may ask of the world outside. Made once by node/ or worker/; no module reads a clock, a
// socket, the environment or a global of its runtime.
import type { KeyRing } from '../kit/keyring.ts'
import type { RefusedRequest } from '../kit/log.ts'
import type { Fetch } from './call.ts'
import type { Principal, Settled } from './people.ts'
import type {
  AuditBody,
  AuditCheck,
  AuditCombination,
  AuditSubject,
  Cache,
  ChainedRow,
  Counters,
  Store,
  Subscribe,
} from './store.ts'

// A stdio server's process: lines in, lines out, an end. Only Node starts processes.

/**
 * What the operator configured, and for whom the process is. Command lines come from nowhere else (security
 * best practices, stdio).
 */
export interface ProcessPlan {
  /** Id of the service. */
  readonly service: string
  /**
   * Whose process it is: letters, digits, - and _, the same for the same person. It gets a home of its own.
   */
  readonly owner: string
  readonly command: string
  readonly args: readonly string[]
  /** Beside the few names that every process gets (docs/guide/stdio-servers.md). */
  readonly env: Readonly<Record<string, string>>
  /** What it is told of whoever calls, unless `env` says it. People choose some of it: no path is read from it. */
  readonly about: Readonly<Record<string, string>>
  /** Absent: its home. */
  readonly cwd: string | undefined
  readonly sandbox: 'auto' | 'bubblewrap' | 'none'
  /** In a sandbox: whether it has the network, and which places beside its home it may read or write. */
  readonly network: boolean
  readonly read: readonly string[]
  readonly write: readonly string[]
  /** Of each process of it: megabytes of data, seconds of processor time, open files. Absent: none. */
  readonly limits?:
    | {
        readonly memory?: number | undefined
        readonly cpu_time?: number | undefined
        readonly open_files?: number | undefined
      }
    | undefined
}

/** How a process ended, or why it never began. */
export interface ProcessEnd {
  /** `refused`: it was never started; `flood`: it wrote a line that did not end; `stopped`: we ended it. */
  readonly kind: 'refused' | 'exit' | 'flood' | 'stopped'
  /** For whoever called: a sentence without paths, arguments or output. */
  readonly say: string
  /** For the operator: with what it wrote last. */
  readonly why: string
}

export interface ProcessEvents {
  /** One line of standard output without its line feed; U+FFFD stands for bytes that are no UTF-8. */
  line(text: string): void
  /** The next line is not wholly UTF-8. */
  garbage(): void
  /** A line that is too long (32 MB, or less while others are long), of which only the two ends are kept. */
  oversized(head: string, tail: string): void
  /** Whole lines of standard error, for the operator's log; configured values are written as their names. */
  complained?(text: string): void
  /** Exactly once; nothing follows. */
  ended(end: ProcessEnd): void
}

export interface ServerProcess {
  readonly pid: number | undefined
  /** Of an isolated process: what isolation keeps from it, for the operator. */
  readonly isolation?: string
  /** Writes one line. False, and nothing is written, when it has left too much unread, or is over. */
  send(line: string): boolean
  /** Stops reading what it writes, and goes on; back-pressure reaches the process through its pipe. */
  pause(): void
  resume(): void
  /** The text with values that the operator configured written as their names. */
  conceal(text: string): string
  /** The last 64 KiB it wrote to standard error, as `complained` tells it. */
  stderr(): string
  /**
   * What it wrote last, and what that means where it is known, to be put behind a reason for the operator;
   * empty when it wrote nothing.
   */
  complaint(): string
  /**
   * Closes its input, waits, then ends it and all it started. Resolves when nothing of it is left, within ten
   * seconds.
   */
  stop(): Promise<void>
}

/** Starts a process. Never throws: what goes wrong is told by `ended`, later than this call returns. */
export type SpawnServer = (plan: ProcessPlan, events: ProcessEvents) => ServerProcess

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
/**
 * One event, one record. Fields are JSON values; never a token, code, verifier, cookie or password. `audit`:
 * the event belongs to the audit trail, which is not the log and does not depend on its level (kit/log.ts
 * alone says so). `json`: the fields as `jsonFields` writes them, where somebody has done so.
 */
export type Log = (
  level: LogLevel,
  event: string,
  fields?: Readonly<Record<string, unknown>>,
  audit?: boolean,
  json?: string,
) => void

/**
 * Password hashing of the runtime, PHC strings in and out. `verify` takes as long for a wrong password as for
 * a right one.
 */
export interface Passwords {
  hash(password: string): Promise<string>
  verify(password: string, phc: string): Promise<boolean>
  /**
   * Waits until a check may begin, where checks would hold up everything else. `known`: as for people in a
   * browser they used before. Throws `sign-in.busy`.
   */
  turn?(known: boolean): Promise<void>
  /** True when the stored string uses weaker parameters than today's. */
  outdated(phc: string): boolean
}

export interface OutboundOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Milliseconds for the whole exchange, body included. Default 5,000. */
  readonly timeoutMs?: number
  /** Largest decoded body, bytes. Default 1 MiB. */
  readonly maxBytes?: number
  /** Nobody wants the body, which may be a stream without an end: it is left, and comes as none. */
  readonly headOnly?: boolean
  /**
   * Origins that the operator wrote down for the very thing this exchange is about (kit/http.ts): these may
   * be plain http and anywhere. Never from anybody else's word.
   */
  readonly origins?: readonly string[]
}

/**
 * Guarded outbound fetch: https only (http where the operator configured that very origin), the address
 * actually connected to is global unicast, no redirect is followed, time and decoded size are capped, no
 * cookies are used. On Node it leaves by the forward proxy of the environment; a name is judged before the
 * proxy hears it. Rejects with `Refusal('outbound.refused')` for what the guard forbids and
 * `Refusal('outbound.failed')` for what the network did.
 */
export type Outbound = (
  url: string,
  options?: OutboundOptions,
) => Promise<{ readonly status: number; readonly headers: Headers; readonly body: Uint8Array<ArrayBuffer> }>

// WebSockets, sessions and where they are kept: what the transports other than Streamable HTTP need of a
// runtime.

/** A WebSocket as its runtime hands it over, already open (RFC 6455). */
export interface TextSocket {
  /** Resolves when it will take more. */
  send(text: string): void | Promise<void>
  /** `code`: one that may be sent (RFC 6455 §7.4). */
  close(code: number, reason: string): void
  /** Ends it without a handshake: nobody answers at the other end. */
  cut(): void
  /** Sends a ping; absent where the runtime sends none. */
  readonly ping?: () => void
  /** Stops reading, and goes on; absent where the runtime cannot. */
  readonly pause?: () => void
  readonly resume?: () => void
}

/** What is heard on a socket. */
export interface SocketEvents {
  text(message: string): void
  binary(): void
  /** Anything that shows that the other end lives: a pong. */
  alive(): void
  /** Once; `code` 1006 when it broke off, 1005 when none was told. */
  closed(code: number, reason: string): void
}

/**
 * Opens a WebSocket to a configured `ws(s)://` URL with subprotocol `mcp`. Rejects with any error; when the
 * server answered without 101, `status` is on it, `authenticate`: its WWW-Authenticate fields, and `nonce`: its
 * DPoP-Nonce.
 */
export type ConnectSocket = (
  url: string,
  about: {
    readonly headers: readonly string[]
    readonly timeoutMs: number
    /** Largest message, bytes. */
    readonly maxBytes: number
  },
  events: SocketEvents,
) => Promise<TextSocket>

export interface TransportConnectors {
  readonly fetch: Fetch
  readonly socket: ConnectSocket
}

/**
 * Connections to servers that the operator configured: unguarded, without a limit on how long an answer
 * streams.
 */
export interface RuntimeTransports extends TransportConnectors {
  /**
   * The same for servers that somebody added from elsewhere: to public addresses alone. Reject with
   * `outbound.refused` as well.
   */
  readonly publicOnly: TransportConnectors
  /**
   * Where nothing outlives the request that made it (Workers): where sessions are kept. Absent: this process
   * keeps them itself.
   */
  readonly sessionLocations?: SessionLocations | undefined
}

/** A call that was let in, as far as the server of a session must know it. */
export interface SessionCall {
  /** Whose sessions it may use. */
  readonly owner: string
  /** How its refusals are logged. */
  readonly asked: RefusedRequest
}

/** The same for whoever keeps the session in another process than the one that let the call in. */
export interface LocatedCall extends SessionCall {
  /** Id of the service. */
  readonly service: string
  /** The private key (JWK) that the access token of the request is bound to; absent: it is a bearer token. */
  readonly proofKey?: object | undefined
}

/** Where one session is kept. */
export interface SessionLocation {
  /** A request of an HTTP+SSE client, all its checks still ahead. Never rejects. */
  client(request: Request, visit: { readonly requestId: string; readonly ip: string }): Promise<Response>
  /** An admitted call to an HTTP+SSE or WebSocket server. Rejects with `Refusal`. */
  server(request: Request, about: LocatedCall): Promise<Response>
}

export interface SessionLocations {
  /** A new one, with an id that nobody guesses. */
  create(): SessionLocation
  /** The one with that id; undefined where none can have it. */
  at(id: string): SessionLocation | undefined
}

/** Where a search of the audit trail goes on: beside this row. */
export interface TrailPosition {
  readonly segment: number
  readonly id: number
}

export interface TrailSearch {
  /** `field:value` and words, as for `postern audit query`. */
  readonly terms: readonly string[]
  /** Only events of this person, by their key. */
  readonly person?: string | undefined
  readonly order: 'newest' | 'oldest'
  readonly from?: TrailPosition | undefined
  readonly limit: number
}

export interface TrailPage {
  readonly rows: readonly ChainedRow[]
  /** Absent after the last row. */
  readonly next?: TrailPosition
  /** It took too long, and stopped with less than was asked for. */
  readonly partial?: true
}

/** Which calls are counted, and in how many slots of time. */
export interface TrailCountsAsked extends Pick<TrailSearch, 'terms' | 'person'> {
  /** Epoch ms. */
  readonly since: number
  readonly until: number
  readonly slots: number
  /** Whether `services` is wanted too; default: no. */
  readonly perService?: boolean
}

export interface TrailSlot {
  readonly allowed: number
  readonly denied: number
  readonly failed: number
}

export interface TrailServiceCounts {
  readonly service: string
  readonly slots: readonly TrailSlot[]
  /** Milliseconds that 95 of 100 calls did not exceed. */
  readonly p95: number | undefined
}

export interface TrailCounts {
  /** The oldest first. */
  readonly slots: readonly TrailSlot[]
  /** Empty where it was not asked for. */
  readonly services: readonly TrailServiceCounts[]
  /** It took too long: what is older than this, epoch ms, was not counted. */
  readonly from?: number
}

/** Calls that are alike, with how many there are of each, and what was known of their callers, by hash. */
export interface TrailCombinations {
  readonly calls: readonly AuditCombination[]
  readonly subjects: Readonly<Record<string, AuditSubject | undefined>>
  /** There were more. */
  readonly partial: boolean
}

export type TrailFormat = 'jsonl' | 'csv'

/** Reads the audit trail. Each of these rejects with RangeError, one sentence, for a search that cannot be read. */
export interface TrailReader {
  page(search: TrailSearch): Promise<TrailPage>
  /** Absent where calls cannot be counted. */
  readonly counts?: (asked: TrailCountsAsked) => Promise<TrailCounts>
  /** Absent where calls cannot be looked at again by other rules. */
  readonly combinations?: (terms: readonly string[]) => Promise<TrailCombinations>
  /** Everything that matches, the oldest first, in pieces. */
  export(search: Pick<TrailSearch, 'terms' | 'person'>, format: TrailFormat): AsyncIterable<string>
  verify(): Promise<AuditCheck>
  /** By the hash that a row names; undefined once it was deleted. */
  body(hash: string): Promise<AuditBody | undefined>
}

/** The audit trail (stores/audit-events.ts): where every event is kept beside the log. */
export interface Trail {
  /**
   * Keeps an event. Never throws, never waits. `body`: of a call, whose arguments are digested and not kept.
   * `caller`: what is known of them is kept once. `json`: as `Log`.
   */
  record(event: Readonly<Record<string, unknown>>, body?: Uint8Array, caller?: Principal, json?: string): void
  /** Whether what is recorded now can be expected to be written. */
  available(): boolean
  /**
   * Whether less than 5 % of its disk is free, and what is wrong with it by the last daily verification. Absent: not
   * known.
   */
  condition?(): { readonly diskLow: boolean; readonly fault: string | undefined }
  /** Public keys (JWK) of the signatures in it. */
  keys(): readonly object[] | Promise<readonly object[]>
  readonly reader?: TrailReader | undefined
  /** Keeps it for as long as bodies are kept. Never throws, never waits. Absent: none are. */
  keepBody?(body: AuditBody): void
}

// Several processes of one gateway: a session that one of them keeps is reached through every other.

/** A request that was let in as far as its token, for the process that keeps its session. */
export interface PeerCall {
  /** Without what the caller was let in by; `settled` says who it is. */
  readonly head: PeerHead
  readonly body: Uint8Array | undefined
  readonly signal: AbortSignal
  /** Longest wait for the head of the answer, ms. */
  readonly timeoutMs: number
}

export interface PeerHead {
  readonly method: string
  readonly target: string
  readonly host: string | undefined
  readonly rawHeaders: readonly string[]
  readonly ip: string
  readonly requestId: string
  readonly settled: Settled
}

export interface Peers {
  /** This process, as the ids of what it keeps name it: 16 characters, drawn at its start. */
  readonly node: string
  /** How many processes of this computer share what its services may use, this one among them. */
  readonly siblings: number
  /**
   * The process with that name; undefined where none is running. Rejects with `Refusal('storage.unavailable')`. What it
   * returns asks that process, and rejects with `session.unknown` where it is gone, and `upstream.timeout` where it
   * does not respond.
   */
  find(node: string): Promise<((call: PeerCall) => Promise<Response>) | undefined>
}

/** A file, or an environment variable (on Workers: a secret), by its name. */
export interface AssertionPlace {
  readonly file?: string | undefined
  readonly env?: string | undefined
}

// Traces and metrics of calls (OpenTelemetry, semantic conventions of MCP).

/** Where a trace comes from: W3C Trace Context, validated. */
export interface ParentSpan {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
  readonly tracestate?: string | undefined
}

/** What a server is told of its trace, valid as fields of HTTP. */
export interface TraceFields {
  readonly traceparent: string
  readonly tracestate?: string | undefined
}

/** A message of MCP that somebody sent. */
export interface Operation {
  readonly service: string
  readonly method: string
  /** Of the tool, prompt, resource or task. */
  readonly name: string | undefined
  /** Of a request. */
  readonly id: string | number | null | undefined
  /** How many messages came with it, itself included. */
  readonly batch: number | undefined
  /** One that the gateway lets through. */
  readonly version: string | undefined
  readonly requestId: string
  /** Epoch ms. */
  readonly startedAt: number
  readonly parent: ParentSpan | undefined
}

/** Times are epoch ms. */
export interface Span {
  /** It goes to its server. Undefined: there are no traces. */
  send(to: {
    readonly at: number
    /** Absent: the server is in this process. */
    readonly transport?: 'tcp' | 'pipe'
    readonly url?: string
  }): TraceFields | undefined
  end(how: { readonly at: number; readonly error: string | undefined }): void
}

export interface Tracing {
  readonly tracer: { begin(operation: Operation): Span }
  /** Whose traces are continued: those of callers behind trusted proxies, everybody's, or nobody's. */
  readonly continues: 'proxies' | 'all' | 'none'
  /** Whether `baggage` goes on to servers. */
  readonly baggage: boolean
}

// The runtime as a whole.

/**
 * Runs the function once, no sooner than after so many milliseconds. Returns what cancels it; cancelling
 * twice, or after it ran, does nothing.
 */
export type Timer = (ms: number, run: () => void) => () => void

export interface Runtime {
  /** Epoch milliseconds. */
  now(): number
  readonly timer: Timer
  /**
   * Undoes a content coding (RFC 9110 §8.4.1) that the web standards do not know; undefined for one that is
   * not known here either.
   */
  readonly decompress?: (coding: string) => ReadableWritablePair<Uint8Array, BufferSource> | undefined
  /** n bytes of a cryptographic random source. */
  random(n: number): Uint8Array<ArrayBuffer>
  readonly outbound: Outbound
  readonly transports: RuntimeTransports
  /** Work that may end after the answer is sent (waitUntil on Workers). */
  defer(work: Promise<unknown>): void
  readonly log: Log
  /** Absent: calls are not traced. */
  readonly tracing?: Tracing | undefined
  /** Absent: events of the audit trail are in the log alone. */
  readonly trail?: Trail | undefined
  readonly store: Store
  /** Absent where the storage tells nobody: it is asked again and again then. */
  readonly subscribe?: Subscribe
  readonly cache: Cache
  /** Counts that all processes of this gateway share; absent where each counts for itself. */
  readonly counters?: Counters
  readonly keys: KeyRing
  /**
   * What signs with a private P-256 key (RFC 7518 §3.4), where the runtime has a quicker way than WebCrypto.
   */
  readonly es256?: (jwk: object) => (data: Uint8Array) => Uint8Array
  /**
   * What checks signatures of a public P-256 key, of 64 bytes (RFC 7518 §3.4), where the runtime has a quicker way than
   * WebCrypto. Throws for what is no such key.
   */
  readonly es256Check?: (jwk: object) => (data: Uint8Array, signature: Uint8Array) => boolean
  /**
   * SHA-256 of the text in UTF-8, as base64url (43 characters): how a bearer secret is kept at rest. Answers
   * at once, where WebCrypto answers through a queue, which costs many times the digest.
   */
  readonly digest: (text: string) => string
  readonly passwords: Passwords
  /**
   * Reads a JWT that the platform keeps for this deployment, anew each time. Resolves to undefined, or rejects with any
   * error, where there is none. Absent: there never is.
   */
  readonly readAssertion?: (at: AssertionPlace) => Promise<string | undefined>
  /** Starts servers that are commands; absent where there are no processes. */
  readonly spawn?: SpawnServer
  /** The other processes of this gateway; absent where it is one, or where each answers for itself. */
  readonly peers?: Peers | undefined
  /**
   * How much of what callers send may be kept in memory while their calls are going, in all: a part of what
   * this process may use. Bytes.
   */
  readonly bodyBytes: number
  /** Version of the product, the runtime and its storage by name, for `/health` and the start block. */
  readonly about: {
    readonly version: string
    readonly runtime: string
    readonly storage: string
    /** The configured storage, where it could not be used and another one took its place. */
    readonly insteadOf?: string | undefined
  }
}

/** What the runtime knows of one request beyond its bytes. */
export interface RequestContext {
  /** On every answer as `X-Request-Id` and in every log line; never taken from the caller. */
  readonly requestId: string
  /** The peer's address, or the first untrusted one behind configured proxies. */
  readonly ip: string
  /** The address at the other end of the connection; absent where there is no connection to see. */
  readonly peer?: string
  /**
   * The caller's own connection is known to be without encryption: the runtime ends TLS itself, or a trusted
   * proxy said so.
   */
  readonly plainHttp?: boolean
  /**
   * The path is at no address as it was written; what a URL parser made of it must not be looked up
   * (kit/http.ts).
   */
  readonly unroutable?: boolean
}
