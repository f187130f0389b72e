// One exchange with an upstream, from the head of its answer to the end: relayed as it comes, in time, and with an end in every case.
import type { ServerResponse } from 'node:http'
import { fieldOf } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Admission, AnswerHead, Outcome } from '../ports/calls.ts'
import { abandon } from './connections.ts'
import type { Connection, Pool, Tenant } from './connections.ts'
import type { Deadlines, Timed } from './deadlines.ts'
import { comment, createReply, cut, finish, flush, start, write } from './reply.ts'
import type { Reply } from './reply.ts'

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
  answeredAt: number | undefined
  failedTo: ((error: unknown) => void) | undefined
  /** What came while the head's consequences were being written down. */
  early: Buffer[] | undefined
  earlyEnd: boolean
  /** The response has more to send than its reader takes. */
  waiting: boolean
  /** Ends the question whether the caller may still hear this stream. */
  unwatch: (() => void) | undefined
  readonly lane: Lane
  readonly deadlines: Deadlines
  readonly now: () => number
}

/** Over, in whichever way came first. Every reference is cut, so that nothing of a finished call lives on in older garbage. */
const settle = (exchange: Exchange, outcome: Outcome): void => {
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

const told = ({ answeredAt }: Exchange): { readonly answeredAt: number } | undefined => (answeredAt === undefined ? undefined : { answeredAt })

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

/** Its caller may not hear it any more. A stream that is listened to may end at any time; an answer that lacks its rest must not look whole. */
const dismiss = (exchange: Exchange): void => {
  if (exchange.admission?.method === 'GET') conclude(exchange)
  else fail(exchange, new Refusal('token.revoked', 'the access or the service ended'))
}

const begin = (exchange: Exchange, admission: Admission, head: AnswerHead): void => {
  const time = exchange.now()
  exchange.answeredAt = time
  exchange.deadline = head.events ? Infinity : time + admission.timeoutMs
  if (head.events && fieldOf(head.headers, 'content-encoding') === undefined) exchange.comment = time + admission.keepAliveMs
  if (head.events) exchange.unwatch = admission.watch?.(() => dismiss(exchange))
  start(exchange.reply, head)
}

const catchUp = (exchange: Exchange, admission: Admission, head: AnswerHead): void => {
  if (!exchange.admission) return
  const { early, earlyEnd, connection } = exchange
  exchange.early = undefined
  begin(exchange, admission, head)
  for (const piece of early ?? []) exchange.data(piece)
  if (earlyEnd) {
    exchange.end(false)
    return
  }
  exchange.turn()
  connection?.socket.resume()
}

function head(this: Exchange, status: number, headers: string[]): void {
  const { admission } = this
  if (!admission) return
  let ready: AnswerHead | Promise<AnswerHead>
  try {
    ready = admission.answer(status, headers)
  } catch (error) {
    // A refusal of this answer, not of the connection's bytes.
    fail(this, error)
    return
  }
  if (!(ready instanceof Promise)) {
    begin(this, admission, ready)
    return
  }
  this.early = []
  this.connection?.socket.pause()
  ready.then(
    (made) => catchUp(this, admission, made),
    (error: unknown) => fail(this, error),
  )
}

/** Whoever takes nothing of an answer for this long (ms) gets no more of it. Streams of events are for those who wait. */
const stalledMs = 29_000

/** A slow reader is no fault of the upstream's: its time stands still meanwhile. */
const waitFor = (exchange: Exchange): void => {
  if (exchange.waiting) return
  exchange.waiting = true
  exchange.deadline = exchange.reply.head?.events ? Infinity : exchange.now() + stalledMs
  exchange.connection?.socket.pause()
  exchange.reply.response.once('drain', () => {
    exchange.waiting = false
    if (!exchange.admission) return
    if (!exchange.reply.head?.events) exchange.deadline = exchange.now() + exchange.admission.timeoutMs
    exchange.connection?.socket.resume()
  })
}

function data(this: Exchange, piece: Buffer): void {
  const { reply, admission } = this
  if (!admission) return
  if (this.early) {
    this.early.push(Buffer.from(piece))
    return
  }
  if (this.comment !== Infinity) this.comment = this.now() + admission.keepAliveMs
  else this.deadline = this.now() + admission.timeoutMs
  if (!write(reply, piece)) waitFor(this)
}

function turn(this: Exchange): void {
  if (this.admission && !this.early && !flush(this.reply)) waitFor(this)
}

function end(this: Exchange): void {
  // The connection serves others from here on.
  this.connection = undefined
  if (this.early) {
    this.earlyEnd = true
    return
  }
  const { reply } = this
  const status = reply.head?.status ?? 0
  finish(reply)
  settle(this, { result: 'answered', status, bytesOut: reply.bytes, ...told(this) })
}

function failed(this: Exchange, error: Error & { readonly code?: string }): void {
  const { admission } = this
  if (!admission) return
  if (error instanceof Refusal) {
    fail(this, error)
    return
  }
  const what = error instanceof SyntaxError ? 'answer' : error.code === 'ETIMEDOUT' ? 'timeout' : 'unreachable'
  fail(this, admission.fault(what, error.message))
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
  if (!this.admission) return
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
    answeredAt: undefined,
    failedTo,
    early: undefined,
    earlyEnd: false,
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
    head,
    data,
    turn,
    end,
    failed,
  }
  lane.going++
  deadlines.add(exchange)
  response.on('close', left.bind(exchange))
  return exchange
}
