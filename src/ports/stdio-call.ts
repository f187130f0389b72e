// A call that is carried to a server without HTTP, and its answer, as plain data: no web objects where nobody
// needs them.
import type { AbortListener, PlainResponse, Sink, Source } from '../kit/plain-response.ts'
import type { ReportRefused } from '../kit/refusal.ts'
import type { Principal } from './people.ts'

export interface JsonBody {
  readonly text: string
  readonly value: unknown
}

/**
 * An admitted call for a server that is reached without HTTP: what of the request may be believed, as plain
 * data.
 */
export interface StdioCall {
  readonly method: string
  /** Flat list: name, value, name, value… */
  readonly headers: readonly string[]
  readonly body: Uint8Array | undefined
  /** What the body says, where it has been read already (mcp/json.ts). */
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
