// What is heard of a call, and of a process as a whole.
import type { Refusal } from '../kit/refusal.ts'
import type { Rpc } from '../mcp/rpc.ts'
import type { ProcessEnd } from '../ports/spawn.ts'

export interface CallEvents {
  /** The answer under the caller's id. Nothing follows. */
  answer(text: string, message: Rpc): void
  /** A progress report under the caller's token. */
  progress(text: string): void
  /** No answer will come. */
  failed(refusal: Refusal): void
  /** Silence is no fault: a stream of notifications that may never come. */
  readonly patient?: boolean
}

export interface ChannelEvents {
  notification(message: Rpc, text: string): void
  request(message: Rpc, text: string): void
  /** The process is over; its calls have failed already. */
  ended(end: ProcessEnd): void
}
