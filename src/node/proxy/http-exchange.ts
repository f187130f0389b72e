// Calls to upstreams over HTTP: pooled connections for each origin, bounded in number, and one exchange for
// each call.
import { isLostConnection, networkReason } from '../../kit/log.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { Admission, ResponseSink, ResponseSource, SendHttp, Upstream } from '../../ports/call.ts'
import { type ForwardProxies, noProxies } from '../forward-proxy.ts'
import {
  type Connection,
  type Pool,
  type PoolUser,
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

/** Something that has a write to make. */
export interface SocketWriter {
  /** Writes what is ready, where it is still wanted. */
  flush(): void
}

/** Makes a write at once, or together with others. `bytes`: the size of the body that it writes. */
export type GatherWrite = (writer: SocketWriter, bytes: number) => void

/** Calls and streams have connections of their own: a call never waits behind streams. */
interface Lane {
  readonly pool: Pool
  readonly most: number
  going: number
}

/** What a connection tells goes to the sink; what the sink wants of it, to the connection. */
class Exchange implements PoolUser, ResponseSource, SocketWriter {
  /** Undefined before the request is written, and once the response is complete. */
  private connection: Connection | undefined
  /** The head of the request, until an answer begins: it may have to be sent once more. */
  text = ''
  /** Undefined once the sink takes nothing more. */
  private sink: ResponseSink | undefined
  private readonly call: Admission
  private readonly lane: Lane

  constructor(call: Admission, sink: ResponseSink, lane: Lane) {
    this.call = call
    this.sink = sink
    this.lane = lane
    lane.going++
    sink.source = this
  }

  /** Writes the request on a connection, unless the call has ended meanwhile. */
  flush(): void {
    const { call, sink, lane } = this
    if (!sink) return
    try {
      this.connection = take(lane.pool, this, call.repeatable ? 'any' : 'safe')
      send(this.connection, this.text, call.body)
    } catch (error) {
      sink.fail(error)
    }
  }

  head(status: number, headers: string[]): void {
    this.text = ''
    // What the head leads to is waited for by the sink.
    this.sink?.head(status, headers)?.catch(() => undefined)
  }

  data(piece: Buffer): void {
    this.sink?.piece(piece)
  }

  turn(): void {
    this.sink?.turn()
  }

  end(): void {
    // The connection serves others from here on.
    this.connection = undefined
    this.sink?.end()
  }

  failed(error: Error & { readonly code?: string }): void {
    const { sink, call } = this
    if (!sink) return
    if (error instanceof Refusal) {
      sink.fail(error)
      return
    }
    const lost = isLostConnection(error)
    if (lost && this.again()) return
    const other = error.code === 'ETIMEDOUT' ? 'timeout' : lost ? 'closed' : 'unreachable'
    sink.fail(call.fault(error instanceof SyntaxError ? 'answer' : other, networkReason(error)))
  }

  /**
   * Once more on a fresh connection, where the kept one was lost before a byte of an answer came and the
   * request may be sent twice (RFC 9110 §9.2.2).
   */
  private again(): boolean {
    const { connection, text, lane, call } = this
    if (!call.repeatable || text === '' || connection?.freeSince === undefined) return false
    this.connection = take(lane.pool, this, 'none')
    send(this.connection, text, call.body)
    return true
  }

  pause(): void {
    this.connection?.socket.pause()
  }

  resume(): void {
    this.connection?.socket.resume()
  }

  close(): void {
    const { connection } = this
    this.sink = undefined
    this.connection = undefined
    this.lane.going--
    if (connection) abandon(connection)
  }
}

/**
 * More than this at once to one origin are refused, not queued: an upstream that hangs fills its own lane
 * alone.
 */
const mostCalls = 1024
const mostStreams = 16_384
export interface Upstreams {
  readonly send: SendHttp
  /** Ends the connections that are free; calls that are going finish. */
  close(): void
}

export interface UpstreamsDeps {
  readonly gather: GatherWrite
  readonly now: () => number
  /** Resolver for origins that may be on public addresses alone; default: the system's. */
  readonly lookup?: Lookup | undefined
  /** Forward proxies on the way out; default: none. */
  readonly proxies?: ForwardProxies | undefined
}

export const createUpstreams = ({ gather, now, lookup, proxies = noProxies }: UpstreamsDeps): Upstreams => {
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
    send(call, sink) {
      const { upstream, method, body } = call
      if (upstream.kind !== 'http') throw new TypeError('not an HTTP upstream')
      const lane = laneOf(upstream, method === 'GET')
      const exchange = new Exchange(call, sink, lane)
      if (lane.going > lane.most) {
        sink.fail(call.fault('busy', `${lane.most} connections`))
        return
      }
      const text = requestHead(call, upstream)
      const { proxy, tls } = lane.pool
      exchange.text = proxy && !tls ? absoluteHead(text, upstream.origin, proxy.authorization) : text
      gather(exchange, body?.byteLength ?? 0)
    },
    close() {
      for (const { pool } of lanes.values()) closePool(pool)
    },
  }
}
