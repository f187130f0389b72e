// One exchange with an upstream: what is known of it, and its end, which comes once.
import { fieldOf } from '../../kit/http.ts'
import { beginsAsJson, isRpcAnswer } from '../../kit/json-rpc-answer.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { Admission, AnswerHead, Outcome } from '../../ports/call.ts'
import { type Connection, type Pool, type PoolUser, abandon } from '../http-client/pool.ts'
import { type NodeResponse, abort, finish, flush, start, write } from './response-writer.ts'

// Time limits of many exchanges with one timer: a list walked ten times a second costs less than a timer for every call.

export interface Timed {
  /** Epoch ms; Infinity when nothing is awaited. */
  deadline: number
  /** Epoch ms of the next comment on an idle event stream; Infinity when there is none. */
  comment: number
  /** Where the list holds it; the list's own. */
  at: number
  late(): void
  idle(): void
}

export interface TimeoutWheel {
  add(item: Timed): void
  delete(item: Timed): void
  /** All that are watched at the moment. */
  each(visit: (item: Timed) => void): void
}

const tickMs = 100

export const createTimeoutWheel = (now: () => number): TimeoutWheel => {
  // Not a Set: as entries come and go it leaves tables behind that hold on to one another and to every finished call, until the next full collection.
  const items: Timed[] = []
  let timer: NodeJS.Timeout | undefined
  const tick = (): void => {
    const time = now()
    // From the end: whoever leaves meanwhile is replaced by one that has been visited.
    for (let i = items.length - 1; i >= 0; i--) {
      const item = items[i]
      if (!item) continue
      if (item.deadline <= time) item.late()
      else if (item.comment <= time) item.idle()
    }
    if (items.length > 0) return
    clearInterval(timer)
    timer = undefined
  }
  return {
    add(item) {
      item.at = items.push(item) - 1
      // Left running while there is anything to watch; it never keeps the process alive.
      timer ??= setInterval(tick, tickMs).unref()
    },
    delete({ at }) {
      const last = items.pop()
      if (!last || at >= items.length) return
      items[at] = last
      last.at = at
    },
    each(visit) {
      for (const item of [...items]) visit(item)
    },
  }
}

/** Calls and streams have lanes of their own: a call never waits behind streams. */
export interface Lane {
  readonly pool: Pool
  readonly most: number
  going: number
}

export interface Exchange extends Timed, PoolUser {
  /** Undefined once the exchange is over. */
  admission: Admission | undefined
  readonly reply: NodeResponse
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
  readonly deadlines: TimeoutWheel
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

export const reportOnce = ({ answeredAt }: Exchange): { readonly answeredAt: number } | undefined =>
  answeredAt === undefined ? undefined : { answeredAt }

export const fail = (exchange: Exchange, error: unknown): void => {
  const { admission, failedTo, reply, connection } = exchange
  if (!admission) return
  const refusal = error instanceof Refusal ? error : undefined
  settle(exchange, {
    result: 'failed',
    status: reply.begun ? (reply.head?.status ?? 0) : (refusal?.row.status ?? 500),
    ...(refusal ? { code: refusal.code, why: refusal.why } : {}),
    bytesOut: reply.bytes,
    ...reportOnce(exchange),
  })
  if (connection) abandon(connection)
  if (reply.begun) {
    abort(reply)
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
  settle(exchange, { result: 'answered', status, bytesOut: reply.bytes, ...reportOnce(exchange) })
  if (connection) abandon(connection)
}

// The answer of one exchange, from its head to its end: relayed as it comes.

/** Its caller may not hear it any more. A stream that is listened to may end at any time; an answer that lacks its rest must not look whole. */
const dismiss = (exchange: Exchange): void => {
  if (exchange.admission?.method === 'GET') conclude(exchange)
  else fail(exchange, new Refusal('token.revoked', 'access revoked or service removed'))
}

const begin = (exchange: Exchange, admission: Admission, head: AnswerHead): void => {
  const time = exchange.now()
  exchange.answeredAt = time
  exchange.deadline = head.events ? Infinity : time + admission.timeoutMs
  if (head.events && fieldOf(head.headers, 'content-encoding') === undefined)
    exchange.comment = time + admission.keepAliveMs
  if (head.events) exchange.unwatch = admission.watch?.(() => dismiss(exchange))
  if (head.judge) exchange.judged = { head, pieces: [], size: 0 }
  else start(exchange.reply, head)
  if (!head.bodiless) return
  exchange.muted = true
  finish(exchange.reply)
}

/** The body is here, or too large to wait for: its head, and what came of it. */
const release = (exchange: Exchange, whole: boolean): void => {
  const { judged } = exchange
  if (!judged) return
  exchange.judged = undefined
  const body = Buffer.concat(judged.pieces)
  start(exchange.reply, whole ? (judged.head.judge?.(body) ?? judged.head) : judged.head)
  if (body.length > 0) write(exchange.reply, body)
}

const mostJudged = 65_536
const nothing = new Uint8Array()

/** Who failed is said in place of what is seen not to be an answer. */
const refuseMessage = (exchange: Exchange, admission: Admission): void =>
  fail(exchange, admission.fault('message', 'a body of JSON that is no JSON-RPC'))

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
  this.text = ''
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
  if (this.muted) return
  if (this.judged) {
    this.judged.size += piece.length
    this.judged.pieces.push(Buffer.from(piece))
    if (this.judged.size > mostJudged) release(this, false)
    return
  }
  if (reply.head?.rpc && !reply.begun && !reply.held && !beginsAsJson(piece)) {
    refuseMessage(this, admission)
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
  release(this, true)
  const { reply, admission } = this
  if (admission && reply.head?.rpc && !reply.begun && !isRpcAnswer(reply.held ?? nothing)) {
    refuseMessage(this, admission)
    return
  }
  const status = this.muted ? 202 : (reply.head?.status ?? 0)
  finish(reply)
  settle(this, { result: 'answered', status, bytesOut: reply.bytes, ...reportOnce(this) })
}

/** What a connection tells its exchange of the answer. One set for all exchanges: nothing is made for a call. */
export const sink = { head, data, turn, end } as const
