// The answer of one exchange, from its head to its end: relayed as it comes.
import { fieldOf } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { beginsAsJson, isRpcAnswer } from '../kit/rpc-answer.ts'
import type { Admission, AnswerHead } from '../ports/calls.ts'
import { conclude, type Exchange, fail, settle, told } from './exchange-state.ts'
import { finish, flush, start, write } from './reply.ts'

/** Its caller may not hear it any more. A stream that is listened to may end at any time; an answer that lacks its rest must not look whole. */
const dismiss = (exchange: Exchange): void => {
  if (exchange.admission?.method === 'GET') conclude(exchange)
  else fail(exchange, new Refusal('token.revoked', 'access revoked or service removed'))
}

const begin = (exchange: Exchange, admission: Admission, head: AnswerHead): void => {
  const time = exchange.now()
  exchange.answeredAt = time
  exchange.deadline = head.events ? Infinity : time + admission.timeoutMs
  if (head.events && fieldOf(head.headers, 'content-encoding') === undefined) exchange.comment = time + admission.keepAliveMs
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
const refuseMessage = (exchange: Exchange, admission: Admission): void => fail(exchange, admission.fault('message', 'a body of JSON that is no JSON-RPC'))

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
  settle(this, { result: 'answered', status, bytesOut: reply.bytes, ...told(this) })
}

/** What a connection tells its exchange of the answer. One set for all exchanges: nothing is made for a call. */
export const sink = { head, data, turn, end } as const
