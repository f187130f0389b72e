// Calls to upstreams over HTTP: a lane of pooled connections for each, bounded, and one exchange for each call.
import type { ServerResponse } from 'node:http'
import type { Admission, Upstream } from '../ports/calls.ts'
import { closePool, createPool, send, take } from './connections.ts'
import { createDeadlines } from './deadlines.ts'
import { createExchange } from './exchange.ts'
import { conclude, type Exchange, fail, type Lane } from './exchange-state.ts'
import { type ForwardProxies, noProxies } from './forward-proxy.ts'
import type { Lookup } from './outbound.ts'
import { publicLookup } from './public-hosts.ts'
import { absoluteHead, createRequestHead } from './request-head.ts'

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
  const deadlines = createDeadlines(now)
  const requestHead = createRequestHead()
  const lanes = new Map<string, Lane>()
  const onlyPublic = publicLookup(lookup)
  const laneOf = ({ origin, publicOnly }: Extract<Upstream, { kind: 'http' }>, streams: boolean): Lane => {
    const key = `${streams ? 'streams ' : ''}${publicOnly ? 'public ' : ''}${origin}`
    const before = lanes.get(key)
    if (before) return before
    const lane: Lane = { pool: createPool(origin, { now, lookup: publicOnly ? onlyPublic : undefined, proxy: proxies.for(new URL(origin)) }), going: 0, most: streams ? mostStreams : mostCalls }
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
        if (key.startsWith('streams ')) deadlines.each((item) => (item as Exchange).lane === lane && conclude(item as Exchange))
      }
    },
  }
}
