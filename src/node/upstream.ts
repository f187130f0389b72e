// One exchange with an upstream over a pooled connection: undici's dispatch with raw headers and a small handler, no stream objects.
import type { ServerResponse } from 'node:http'
import { Pool } from 'undici'
import type { Dispatcher } from 'undici'
import { fieldOf } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Admission, AnswerHead, Outcome, UpstreamFault } from '../ports/calls.ts'
import { createDeadlines } from './deadlines.ts'
import type { Deadlines, Timed } from './deadlines.ts'
import { comment, createReply, cut, finish, start, write } from './reply.ts'
import type { Reply } from './reply.ts'

type Controller = Dispatcher.DispatchController

/** Connections to one upstream origin that are not shared between calls and streams. */
interface Lane {
  readonly pool: Pool
  readonly most: number
  going: number
}

interface Exchange extends Timed, Dispatcher.DispatchHandler {
  /** Undefined once the exchange is over. */
  admission: Admission | undefined
  readonly reply: Reply
  controller: Controller | undefined
  answeredAt: number | undefined
  failed: ((error: unknown) => void) | undefined
  readonly lane: Lane
  readonly deadlines: Deadlines
  readonly now: () => number
}

/** More than this at once to one origin are refused, not queued: an upstream that hangs fills its own lane alone (security.md R10). */
const mostCalls = 1024
const mostStreams = 16_384
/** A comment goes out on an event stream that has been silent for this long (ms). */
const commentMs = 15_000

const timeoutCodes = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT'])
const garbledCodes = new Set(['UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'UND_ERR_RES_EXCEEDED_MAX_SIZE'])

const faultOf = (error: Error & { readonly code?: string }): UpstreamFault => {
  const code = error.code ?? ''
  if (timeoutCodes.has(code)) return 'timeout'
  return code.startsWith('HPE_') || garbledCodes.has(code) ? 'answer' : 'unreachable'
}

const texts = (raw: readonly (Buffer | string)[]): string[] => {
  const out: string[] = []
  for (const part of raw) out.push(typeof part === 'string' ? part : part.toString('latin1'))
  return out
}

/** Over, in whichever way came first. Every reference is cut, so that nothing of a finished call lives on in older garbage. */
const settle = (exchange: Exchange, outcome: Outcome): void => {
  const { admission } = exchange
  if (!admission) return
  exchange.admission = undefined
  exchange.failed = undefined
  exchange.controller = undefined
  exchange.deadlines.delete(exchange)
  exchange.lane.going--
  admission.end(outcome)
}

const fail = (exchange: Exchange, error: unknown): void => {
  const { failed, reply, controller, answeredAt } = exchange
  if (!exchange.admission) return
  const refusal = error instanceof Refusal ? error : undefined
  settle(exchange, { result: 'failed', status: reply.begun ? (reply.head?.status ?? 0) : (refusal?.row.status ?? 500), ...(refusal ? { code: refusal.code } : {}), bytesOut: reply.bytes, ...(answeredAt === undefined ? {} : { answeredAt }) })
  controller?.abort(error instanceof Error ? error : new Error('failed'))
  if (reply.begun) cut(reply)
  else {
    reply.over = true
    failed?.(error)
  }
}

const relay = (exchange: Exchange, admission: Admission, head: AnswerHead): void => {
  const time = exchange.now()
  exchange.answeredAt = time
  exchange.deadline = head.events ? Infinity : time + admission.timeoutMs
  if (head.events && fieldOf(head.headers, 'content-encoding') === undefined) exchange.comment = time + commentMs
  start(exchange.reply, head)
}

function onRequestStart(this: Exchange, controller: Controller): void {
  // The caller may have left while a connection was being made.
  if (this.admission) this.controller = controller
  else controller.abort(new Error('caller left'))
}

function onResponseStart(this: Exchange, controller: Controller, status: number): void {
  const { admission } = this
  if (!admission || status < 200) return
  // What this throws comes back through onResponseError.
  const head = admission.answer(status, texts(controller.rawHeaders as (Buffer | string)[]))
  if (!(head instanceof Promise)) {
    relay(this, admission, head)
    return
  }
  controller.pause()
  head.then(
    (ready) => {
      if (!this.admission) return
      relay(this, admission, ready)
      controller.resume()
    },
    (error: unknown) => fail(this, error),
  )
}

function onResponseData(this: Exchange, controller: Controller, chunk: Buffer): void {
  const { reply } = this
  const going = write(reply, chunk)
  if (this.comment !== Infinity) this.comment = this.now() + commentMs
  if (going) {
    if (this.deadline !== Infinity) this.deadline = this.now() + (this.admission?.timeoutMs ?? 0)
    return
  }
  // A slow reader is no fault of the upstream's: its time stands still meanwhile.
  const { deadline } = this
  this.deadline = Infinity
  controller.pause()
  reply.response.once('drain', () => {
    if (deadline !== Infinity) this.deadline = this.now() + (this.admission?.timeoutMs ?? 0)
    controller.resume()
  })
}

function onResponseEnd(this: Exchange): void {
  const { reply, answeredAt } = this
  const status = reply.head?.status ?? 0
  finish(reply)
  settle(this, { result: 'answered', status, bytesOut: reply.bytes, ...(answeredAt === undefined ? {} : { answeredAt }) })
}

function onResponseError(this: Exchange, _controller: Controller | undefined, error: Error): void {
  const { admission } = this
  if (!admission) return
  fail(this, error instanceof Refusal ? error : admission.fault(faultOf(error), error.message))
}

function late(this: Exchange): void {
  if (this.admission) fail(this, this.admission.fault('timeout', `nothing for ${this.admission.timeoutMs} ms`))
}

function idle(this: Exchange): void {
  this.comment = this.now() + commentMs
  comment(this.reply)
}

/** The caller closed the connection: the upstream hears of it at once (2026-07-28 transports: closing the stream is cancelling). */
function left(this: Exchange): void {
  if (!this.admission) return
  const { controller, reply } = this
  settle(this, { result: 'aborted', status: reply.begun ? (reply.head?.status ?? 0) : 0, bytesOut: reply.bytes })
  reply.over = true
  reply.head = undefined
  controller?.abort(new Error('caller left'))
}

export interface Upstreams {
  /** Sends an admitted call of kind `http` and relays its answer into the response. `failed` is told when nothing could be relayed. */
  send(admission: Admission, response: ServerResponse, failed: (error: unknown) => void): void
  /** Resolves when the calls that are going have ended and the idle connections are closed. */
  close(): Promise<void>
}

export const createUpstreams = ({ now }: { readonly now: () => number }): Upstreams => {
  const deadlines = createDeadlines(now)
  const lanes = new Map<string, Lane>()
  const laneOf = (origin: string, streams: boolean): Lane => {
    const key = streams ? `streams ${origin}` : origin
    const before = lanes.get(key)
    if (before) return before
    const pool = new Pool(origin, { pipelining: 1, headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 4000, maxHeaderSize: 32_768, allowH2: false, connectTimeout: 10_000 })
    const lane = { pool, going: 0, most: streams ? mostStreams : mostCalls }
    lanes.set(key, lane)
    return lane
  }
  return {
    send(admission, response, failed) {
      const { upstream, method, headers, body } = admission
      if (upstream.kind !== 'http') throw new TypeError('not an HTTP upstream')
      const lane = laneOf(upstream.origin, method === 'GET')
      const exchange: Exchange = {
        admission,
        reply: createReply(response),
        controller: undefined,
        answeredAt: undefined,
        failed,
        lane,
        deadlines,
        now,
        deadline: now() + admission.timeoutMs,
        comment: Infinity,
        late,
        idle,
        onRequestStart,
        onResponseStart,
        onResponseData,
        onResponseEnd,
        onResponseError,
      }
      lane.going++
      if (lane.going > lane.most) {
        fail(exchange, admission.fault('busy', `${lane.most} connections`))
        return
      }
      deadlines.add(exchange)
      response.on('close', left.bind(exchange))
      lane.pool.dispatch({ path: upstream.path, method: method as Dispatcher.HttpMethod, headers: headers as string[], body: body === undefined ? null : (body as Buffer) }, exchange)
    },
    async close() {
      await Promise.all([...lanes.values()].map((lane) => lane.pool.close()))
    },
  }
}
