// One exchange with an upstream, from the head of its answer to the end: relayed as it comes, in time, and with an end in every case.
import type { ServerResponse } from 'node:http'
import { isLostConnection, networkReason } from '../../kit/log.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { Admission, Upstream } from '../../ports/call.ts'
import { type ForwardProxies, noProxies } from '../forward-proxy.ts'
import {
  abandon,
  absoluteHead,
  closePool,
  createPool,
  createRequestHead,
  publicLookup,
  send,
  take,
} from '../http-client/pool.ts'
import type { Lookup } from '../outbound.ts'
import {
  type TimeoutWheel,
  type Exchange,
  type Lane,
  conclude,
  createTimeoutWheel,
  fail,
  settle,
  sink,
  reportOnce,
} from './exchange-state.ts'
import { comment, createNodeResponse } from './response-writer.ts'

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
  const what =
    error instanceof SyntaxError
      ? 'answer'
      : error.code === 'ETIMEDOUT'
        ? 'timeout'
        : lost
          ? 'closed'
          : 'unreachable'
  fail(this, admission.fault(what, networkReason(error)))
}

function late(this: Exchange): void {
  if (this.waiting) this.reply.response.destroy()
  else if (this.admission)
    fail(this, this.admission.fault('timeout', `nothing for ${this.admission.timeoutMs} ms`))
}

function idle(this: Exchange): void {
  this.comment = this.now() + (this.admission?.keepAliveMs ?? Infinity)
  comment(this.reply)
}

/** The caller closed the connection: the upstream hears of it at once (2026-07-28 transports: closing the stream is cancelling). */
function left(this: Exchange): void {
  if (!this.admission || this.muted) return
  const { connection, reply } = this
  settle(this, {
    result: 'aborted',
    status: reply.begun ? (reply.head?.status ?? 0) : 0,
    bytesOut: reply.bytes,
    ...reportOnce(this),
  })
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
  readonly deadlines: TimeoutWheel
  readonly now: () => number
}

export const createExchange = ({
  admission,
  response,
  failedTo,
  lane,
  deadlines,
  now,
}: ExchangeOptions): Exchange => {
  const exchange: Exchange = {
    admission,
    reply: createNodeResponse(response),
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

// Calls to upstreams over HTTP: a lane of pooled connections for each, bounded, and one exchange for each call.

/** More than this at once to one origin are refused, not queued: an upstream that hangs fills its own lane alone (security.md R10). */
const mostCalls = 1024
const mostStreams = 16_384
export interface Upstreams {
  /** Sends an admitted call of kind `http` and relays its answer into the response. `failedTo` is told when nothing could be relayed. */
  send(admission: Admission, response: ServerResponse, failedTo: (error: unknown) => void): void
  /** Ends the streams that clients hold open with GET and the connections that are free; calls that are going finish. */
  close(): void
}

export interface UpstreamsDeps {
  readonly now: () => number
  /** Resolver for origins that may be on public addresses alone; default: the system's. */
  readonly lookup?: Lookup | undefined
  /** Forward proxies on the way out; default: none. */
  readonly proxies?: ForwardProxies | undefined
}

export const createUpstreams = ({ now, lookup, proxies = noProxies }: UpstreamsDeps): Upstreams => {
  const deadlines = createTimeoutWheel(now)
  const requestHead = createRequestHead()
  const lanes = new Map<string, Lane>()
  const onlyPublic = publicLookup(lookup)
  const laneOf = ({ origin, publicOnly }: Extract<Upstream, { kind: 'http' }>, streams: boolean): Lane => {
    const key = `${streams ? 'streams ' : ''}${publicOnly ? 'public ' : ''}${origin}`
    const before = lanes.get(key)
    if (before) return before
    const lane: Lane = {
      pool: createPool(origin, {
        now,
        lookup: publicOnly ? onlyPublic : undefined,
        proxy: proxies.for(new URL(origin)),
      }),
      going: 0,
      most: streams ? mostStreams : mostCalls,
    }
    lanes.set(key, lane)
    return lane
  }
  return {
    send(admission, response, failedTo) {
      const { upstream, method, body } = admission
      if (upstream.kind !== 'http') throw new TypeError('not an HTTP upstream')
      const lane = laneOf(upstream, method === 'GET')
      const exchange = createExchange({ admission, response, failedTo, lane, deadlines, now })
      if (lane.going > lane.most) {
        fail(exchange, admission.fault('busy', `${lane.most} connections`))
        return
      }
      try {
        const text = requestHead(admission, upstream)
        const { proxy, tls } = lane.pool
        exchange.text = proxy && !tls ? absoluteHead(text, upstream.origin, proxy.authorization) : text
        exchange.connection = take(lane.pool, exchange, admission.repeatable ? 'any' : 'safe')
        send(exchange.connection, exchange.text, body)
      } catch (error) {
        // A fault of ours, and the call ends like any other.
        fail(exchange, error)
      }
    },
    close() {
      for (const [key, lane] of lanes) {
        closePool(lane.pool)
        if (key.startsWith('streams '))
          deadlines.each((item) => (item as Exchange).lane === lane && conclude(item as Exchange))
      }
    },
  }
}
