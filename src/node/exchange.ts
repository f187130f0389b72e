// One exchange with an upstream, from the head of its answer to the end: relayed as it comes, in time, and with an end in every case.
import type { ServerResponse } from 'node:http'
import { isLostConnection, networkReason } from '../kit/network-reason.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Admission } from '../ports/calls.ts'
import { abandon, send, take } from './connections.ts'
import type { Deadlines } from './deadlines.ts'
import { sink } from './exchange-answer.ts'
import { type Exchange, fail, type Lane, settle, told } from './exchange-state.ts'
import { comment, createReply } from './reply.ts'

/** Once more on a fresh connection, where the kept one was lost before a byte of an answer came and the request may be sent twice (RFC 9110 §9.2.2). */
const again = (exchange: Exchange, admission: Admission): boolean => {
  const { connection, text, lane } = exchange
  if (!admission.repeatable || text === '' || connection?.freeSince === undefined) return false
  exchange.connection = take(lane.pool, exchange, 'none')
  send(exchange.connection, text, admission.body)
  return true
}

function failed(this: Exchange, error: Error & { readonly code?: string }): void {
  const { admission } = this
  if (!admission) return
  if (error instanceof Refusal) {
    fail(this, error)
    return
  }
  const lost = isLostConnection(error)
  if (lost && again(this, admission)) return
  const what = error instanceof SyntaxError ? 'answer' : error.code === 'ETIMEDOUT' ? 'timeout' : lost ? 'closed' : 'unreachable'
  fail(this, admission.fault(what, networkReason(error)))
}

function late(this: Exchange): void {
  if (this.waiting) this.reply.response.destroy()
  else if (this.admission) fail(this, this.admission.fault('timeout', `nothing for ${this.admission.timeoutMs} ms`))
}

function idle(this: Exchange): void {
  this.comment = this.now() + (this.admission?.keepAliveMs ?? Infinity)
  comment(this.reply)
}

/** The caller closed the connection: the upstream hears of it at once (2026-07-28 transports: closing the stream is cancelling). */
function left(this: Exchange): void {
  if (!this.admission || this.muted) return
  const { connection, reply } = this
  settle(this, { result: 'aborted', status: reply.begun ? (reply.head?.status ?? 0) : 0, bytesOut: reply.bytes, ...told(this) })
  reply.over = true
  reply.head = undefined
  if (connection) abandon(connection)
}

export interface ExchangeOptions {
  readonly admission: Admission
  readonly response: ServerResponse
  /** Told when nothing could be relayed. */
  readonly failedTo: (error: unknown) => void
  readonly lane: Lane
  readonly deadlines: Deadlines
  readonly now: () => number
}

export const createExchange = ({ admission, response, failedTo, lane, deadlines, now }: ExchangeOptions): Exchange => {
  const exchange: Exchange = {
    admission,
    reply: createReply(response),
    connection: undefined,
    text: '',
    answeredAt: undefined,
    failedTo,
    early: undefined,
    earlyEnd: false,
    judged: undefined,
    muted: false,
    waiting: false,
    unwatch: undefined,
    lane,
    deadlines,
    now,
    deadline: now() + admission.timeoutMs,
    comment: Infinity,
    at: -1,
    late,
    idle,
    head: sink.head,
    data: sink.data,
    turn: sink.turn,
    end: sink.end,
    failed,
  }
  lane.going++
  deadlines.add(exchange)
  response.on('close', left.bind(exchange))
  return exchange
}
