// One exchange with an upstream: what is known of it, and its end, which comes once.
import { Refusal } from '../kit/refusal.ts'
import type { Admission, AnswerHead, Outcome } from '../ports/calls.ts'
import { abandon } from './connections.ts'
import type { Connection, Pool, Tenant } from './connections.ts'
import type { Deadlines, Timed } from './deadlines.ts'
import { cut, finish, type Reply } from './reply.ts'

/** Calls and streams have lanes of their own: a call never waits behind streams. */
export interface Lane {
  readonly pool: Pool
  readonly most: number
  going: number
}

export interface Exchange extends Timed, Tenant {
  /** Undefined once the exchange is over. */
  admission: Admission | undefined
  readonly reply: Reply
  connection: Connection | undefined
  /** The head of the request, until an answer begins: it may have to be sent once more. */
  text: string
  answeredAt: number | undefined
  failedTo: ((error: unknown) => void) | undefined
  /** What came while the head's consequences were being written down. */
  early: Buffer[] | undefined
  earlyEnd: boolean
  /** What came of a body that the head waits for. */
  judged: { readonly head: AnswerHead; readonly pieces: Buffer[]; size: number } | undefined
  /** The answer is complete for its caller; the rest of the upstream's is let go by. */
  muted: boolean
  /** The response has more to send than its reader takes. */
  waiting: boolean
  /** Ends the question whether the caller may still hear this stream. */
  unwatch: (() => void) | undefined
  readonly lane: Lane
  readonly deadlines: Deadlines
  readonly now: () => number
}

/** Over, in whichever way came first. Every reference is cut, so that nothing of a finished call lives on in older garbage. */
export const settle = (exchange: Exchange, outcome: Outcome): void => {
  const { admission } = exchange
  if (!admission) return
  exchange.admission = undefined
  exchange.unwatch?.()
  exchange.unwatch = undefined
  exchange.failedTo = undefined
  exchange.connection = undefined
  exchange.deadlines.delete(exchange)
  exchange.lane.going--
  admission.end(outcome)
}

export const told = ({ answeredAt }: Exchange): { readonly answeredAt: number } | undefined => (answeredAt === undefined ? undefined : { answeredAt })

export const fail = (exchange: Exchange, error: unknown): void => {
  const { admission, failedTo, reply, connection } = exchange
  if (!admission) return
  const refusal = error instanceof Refusal ? error : undefined
  settle(exchange, { result: 'failed', status: reply.begun ? (reply.head?.status ?? 0) : (refusal?.row.status ?? 500), ...(refusal ? { code: refusal.code, why: refusal.why } : {}), bytesOut: reply.bytes, ...told(exchange) })
  if (connection) abandon(connection)
  if (reply.begun) {
    cut(reply)
    return
  }
  reply.over = true
  failedTo?.(error)
}

/** Ends an event stream between two events, as a server that goes away does; its client opens it again elsewhere. */
export const conclude = (exchange: Exchange): void => {
  const { reply, connection } = exchange
  if (!reply.head?.events || !exchange.admission) return
  const { status } = reply.head
  finish(reply)
  settle(exchange, { result: 'answered', status, bytesOut: reply.bytes, ...told(exchange) })
  if (connection) abandon(connection)
}
