// A proxied call between the two who share it: the proxy decides (`Admit`) and carries its decision out
// (`Respond`), the runtime copies bytes. Header lists are flat: name, value, name, value…
import type { Refusal, RefusalCode, ReportRefused } from '../kit/refusal.ts'
import type { Principal, Settled } from './people.ts'
import type { Address, DispatchStdio, JsonBody, LocatedAddress } from './services.ts'

/** A request as the runtime received it, before anything is believed. */
export interface Head {
  readonly method: string
  /** Origin form as sent: path and query (RFC 9112 §3.2.1). */
  readonly target: string
  readonly host: string | undefined
  readonly rawHeaders: readonly string[]
  readonly ip: string
  readonly requestId: string
  /** As of the request's context (`RequestContext`). */
  readonly plainHttp?: boolean | undefined
  /** A trusted proxy brought it. */
  readonly proxied?: boolean | undefined
  /** The address it is for, where whoever received it had to find that out; looked up again otherwise. */
  readonly located?: LocatedAddress | undefined
  /**
   * Made by the gateway for a connection, of a message that came on it: what the connection has already (its
   * revalidation, its record) it does not have twice. A message that is no request is `told`, and what the
   * gateway asks for itself is `uncounted`: neither takes a permit, because the connection has one.
   */
  readonly within?: true | 'told' | 'uncounted'
  /**
   * The proof of possession that its token needs is judged once for all that comes of it, and not here: where the
   * message came in, or in the object of its session.
   */
  readonly proven?: true
  /** Who calls, as another process of this gateway found out (`Peers`). Never said by the request itself. */
  readonly settled?: Settled | undefined
}

/**
 * The whole body; rejects with `request.too-large` above `max` bytes. `grow`: told how many bytes have come
 * so far, before more are kept; what it throws is the rejection.
 */
export type ReadBody = (max: number, grow: (bytes: number) => void) => Promise<Uint8Array>

/**
 * A fetch without the guard of `Outbound`: for addresses that the operator configured. `endsWithRequest`: the
 * runtime itself ends what is still going when the request that it was begun for has been answered, or its
 * caller is gone; an AbortController a call, which costs a good part of it on Workers, is then not needed.
 */
export type Fetch = typeof globalThis.fetch & { readonly endsWithRequest?: boolean }

/** A call in progress. */
export interface RunningCall {
  readonly principal: Principal | undefined
  readonly address: Pick<Address, 'service'>
}

/** The calls in progress in this process. */
export interface RunningCalls {
  /** The place that the call has until it is over. */
  add(call: RunningCall): number
  remove(place: number): void
  all(): readonly RunningCall[]
}

/** Answers what another process of this gateway asks of the sessions of this one (`Peers`). Never rejects. */
export type AnswerPeer = (head: Head, body: Uint8Array | undefined, signal: AbortSignal) => Promise<Response>

/** An answer made by the gateway itself. */
export interface Answer {
  readonly kind: 'answer'
  readonly status: number
  readonly headers: readonly string[]
  readonly body: string
}

/** The head of a relayed answer, as the caller gets it. */
export interface AnswerHead {
  readonly status: number
  /** The upstream's `Content-Length`, if any, is among them. */
  readonly headers: readonly string[]
  /** A stream of server-sent events: each piece is passed on as it comes. */
  readonly events: boolean
  /** Nothing of the upstream's body is passed on. A text stands in its place. */
  readonly bodiless?: true | string
  /** The body must be JSON-RPC; what is seen not to be is refused. */
  readonly rpc?: true
  /**
   * Asked with the whole body, where that is small, before anything is passed on: the head that it really
   * has.
   */
  readonly judge?: (body: Uint8Array) => AnswerHead
}

export type Upstream =
  /**
   * `host`: what the Host header says, port included where it is not the default. `path`: with the query.
   * `publicOnly`: as of its service.
   */
  | {
      readonly kind: 'http'
      readonly origin: string
      readonly host: string
      readonly path: string
      readonly publicOnly?: true
    }
  | { readonly kind: 'local'; readonly handle: (request: Request) => Promise<Response>; readonly url: string }
  | { readonly kind: 'bridge'; readonly carry: DispatchStdio }

/** How a call ended, told by the one who carried it. */
export interface Outcome {
  readonly result: 'answered' | 'failed' | 'aborted'
  /** HTTP status the caller saw; 0 when none was sent. */
  readonly status: number
  readonly code?: RefusalCode
  /** Why, for the operator. */
  readonly why?: string | undefined
  /** Whether the tool said that it failed; absent where the answer was not looked at. */
  readonly isError?: boolean
  /** The text of the answer, where the service wants it kept and it was not too long. */
  readonly heard?: string
  readonly bytesOut: number
  /** Epoch ms of the first byte of the answer. */
  readonly answeredAt?: number
}

/** Why an upstream gave no answer. */
export type UpstreamFault = 'timeout' | 'unreachable' | 'closed' | 'busy' | 'answer' | 'message'

type JsonObject = Readonly<Record<string, unknown>>

/**
 * What a list answer says; what is returned is what its caller reads. `result`: of the JSON-RPC answer, with
 * the members as they came.
 */
export type Trim = (result: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>

/** What is done with the list answers of a call. */
export interface ListAnswers {
  /** Rewrites each; an answer that cannot be read then never reaches the caller. */
  readonly trim?: Trim | undefined
  /** The list that every result must hold. */
  readonly expects?: string | undefined
  /** Hears each list of tools as the server said it. */
  readonly learn?: ((result: Readonly<Record<string, unknown>>) => void) | undefined
  /** The server said on a stream that a list of its has changed. */
  readonly changed?: (() => void) | undefined
  /** Judges every message besides; undefined: it is not passed on. */
  readonly message?: ((message: JsonObject) => JsonObject | undefined) | undefined
  /** On a stream that stays: calls `tell` with messages of the gateway's own, until what it returns is called. */
  readonly notices?: ((tell: (message: string) => void) => () => void) | undefined
  /** Errors of messages of a batch that the server did not hear: they stand in its answer. */
  readonly denied?: readonly string[] | undefined
}

/** A call that may go: where, with what, and what must be done when the answer comes and when it is over. */
export interface Admission {
  readonly kind: 'admission'
  readonly address: Address
  readonly principal: Principal | undefined
  readonly upstream: Upstream
  readonly method: string
  /**
   * For the upstream, without `Host` and `Content-Length`; `identity` follows them, so that nothing the
   * caller sent stands behind it.
   */
  readonly headers: readonly string[]
  /**
   * What the upstream is told of the caller. One list serves many calls of a person, so what is made of it
   * may be kept with it.
   */
  readonly identity: readonly string[]
  readonly body: Uint8Array | undefined
  /** What the body says, for bridges. */
  readonly json?: JsonBody | undefined
  /** Whether it may be sent once more when nobody knows whether it arrived (RFC 9110 §9.2.2). */
  readonly repeatable: boolean
  /** Milliseconds until the first byte of the answer. */
  readonly timeoutMs: number
  /** How long an event stream is silent before a comment goes out on it, ms. */
  readonly keepAliveMs: number
  /**
   * After so much silence before the answer, ms, the caller gets an event stream that is kept alive, and the
   * answer on it. Undefined: never.
   */
  readonly streamAfterMs: number | undefined
  /** Fields of that stream. */
  streamHeaders(): readonly string[]
  /** Undefined for calls whose answers hold no list. */
  readonly lists: ListAnswers | undefined
  /**
   * Asked by whoever begins to relay an event stream: calls `end` once when its caller may not hear it any
   * more. What it returns stops the watch. Undefined: somebody else watches.
   */
  readonly watch: ((end: () => void) => () => void) | undefined
  /** The JSON-RPC request that an error about this call belongs to. */
  readonly rpcId: string | number | null
  /** The caller's head for the upstream's. Throws (or rejects with) `upstream.*`. */
  answer(status: number, rawHeaders: readonly string[]): AnswerHead | Promise<AnswerHead>
  /**
   * Told once an event stream is the answer: what only another try would have needed is let go, because
   * streams stay for hours.
   */
  streams(): void
  /** How the caller of a call that streams already is told that one of its messages was refused. */
  refused(...about: Parameters<ReportRefused>): ReturnType<ReportRefused>
  /** Hears the answer of a tool as it passes, where it is written down whether the tool failed. */
  readonly heard?: ((piece: Piece) => void) | undefined
  /** The refusal to draw when the upstream gave no answer. */
  fault(what: UpstreamFault, why: string): Refusal
  /**
   * Asked once a carrier has failed, before the caller heard anything: what is to be carried (or answered)
   * instead. Undefined: nothing, the error is to be drawn. Rejects with the refusal to draw instead of it.
   */
  again(): Promise<Admission | Answer> | undefined
  /**
   * Exactly once, when the last byte is sent or nothing more will be: frees the caller's place and writes the
   * record.
   */
  end(outcome: Outcome): void
}

/**
 * One call's decision: an admission to carry out, or an answer that is complete already (a preflight's).
 * Throws `Refusal`.
 */
export type Admit = (head: Head, readBody: ReadBody) => Promise<Admission | Answer>

/** A request that is refused, as far as it was understood. */
export interface RefusedCall extends Pick<Head, 'method' | 'target' | 'rawHeaders' | 'ip' | 'requestId'> {
  /** Where the refusal does not say. */
  readonly rpcId?: string | number | null
  /** The call, where it had been let in. */
  readonly admitted?: Pick<Admission, 'address' | 'principal'> | undefined
  /** Nobody waits for the answer any more. */
  readonly gone?: boolean
}

/**
 * Draws anything thrown on the MCP surface, and says it once in the log. What is no Refusal is a fault: 500,
 * a request id, and the reason in the log alone.
 */
export type Refuse = (error: unknown, about: RefusedCall) => Answer

// The answer to one call on its way to its caller: what sends it there (the sink), where it comes from, and
// where its bytes go.

/** Bytes of a body, or text that goes out as UTF-8. */
export type Piece = Uint8Array | string

/** The other end of the sink: a response of Node's, or a Response of the Fetch standard. */
export interface ResponseOutput {
  /** Bytes of the body that were handed over. */
  readonly bytes: number
  /** The caller left, or the response is over. */
  readonly gone: boolean
  /** The reader has taken what was written. */
  readonly ready: boolean
  /**
   * How long a reader may take nothing of an answer before it gets no more of it, ms; Infinity where somebody
   * else sees to that.
   */
  readonly stallMs: number
  /** Set by the sink: the call whose answer this is. */
  admitted: Admission | undefined
  /** Set by the sink: told when the reader has caught up, and when the caller left. */
  reader: { drained(): void; left(): void } | undefined
  /**
   * The head, in one write with the piece that is there already. A piece may lie in memory that is
   * overwritten later; whatever is kept of it is a copy. False when the reader is slower than the writer.
   */
  begin(head: CallerHead, piece: Piece | undefined): boolean
  /** False when the reader is slower than the writer. */
  write(piece: Piece): boolean
  end(): void
  /** Head and body at once, with the length said. */
  whole(head: CallerHead, body: Piece | undefined): void
  /** Ends the connection without ending the answer: what was cut off must not look complete (RFC 9112 §8). */
  abort(): void
  /** Nothing was begun: the error is drawn. */
  fail(error: unknown): void
}

export type CallerHead = Pick<AnswerHead, 'status' | 'headers'>

/** Where an answer comes from, for the sink to hold back and to let go. */
export interface ResponseSource {
  pause(): void
  resume(): void
  /** Called once, when the sink takes nothing more. `complete`: the source has told its end before. */
  close(complete: boolean): void
}

/**
 * What brings an answer tells it in this order: one head, any number of pieces, one end; or a failure in
 * place of what is left.
 */
export interface ResponseSink {
  /** Set by whoever sends the call, before anything is told. */
  source: ResponseSource | undefined
  /** The caller's head; undefined before there is one, and once the try is over. */
  readonly answer: AnswerHead | undefined
  /** The promise, where there is something to wait for, never rejects; pieces told before are kept. */
  head(status: number, rawHeaders: readonly string[]): Promise<void> | undefined
  /** False when the source should pause. The piece is valid until the call returns, or until `turn`. */
  piece(piece: Piece): boolean
  /** Nothing more was delivered at once. */
  turn(): void
  end(): void
  fail(error: unknown): void
  /** Broken off, and nothing is known of why. */
  cut(): void
}

/** Something with time limits. */
export interface Timed {
  /** Epoch ms; Infinity when nothing is awaited. */
  deadline: number
  /** Epoch ms of the next sign of life on a silent stream; Infinity when there is none. */
  comment: number
  /** Where a list holds it; the list's own. */
  at: number
  late(): void
  idle(): void
}

export interface Deadlines {
  add(item: Timed): void
  delete(item: Timed): void
  /** One of its times may have come nearer. */
  sooner(item: Timed): void
}

/** Sends a call over HTTP and tells the sink what comes back. */
export type SendHttp = (call: Admission, sink: ResponseSink) => void

export interface Responding {
  readonly output: ResponseOutput
  readonly sendHttp: SendHttp
  readonly deadlines: Deadlines
  /** Streams that clients hold open with GET, for whoever ends them when the process stops. */
  readonly streams?: Set<{ conclude(): void }> | undefined
}

/** Carries out what was decided of a call, further tries included. Never throws. */
export type Respond = (admitted: Admission | Answer, responding: Responding) => void

/** Decides about a call and carries it out. */
export interface ProxiedCalls {
  readonly admit: Admit
  readonly respond: Respond
}
