// The answer to one proxied call on its way to its caller: what sends it there (the sink), where it comes
// from, and where its bytes go.
import type { Admission, Admit, Answer, AnswerHead } from './call.ts'
import type { Runtime } from './runtime.ts'

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

export interface ResponderDeps {
  readonly runtime: Pick<Runtime, 'now' | 'timer' | 'decompress'>
}

/** Decides about a call and carries it out. */
export interface ProxiedCalls {
  readonly admit: Admit
  readonly respond: Respond
}
