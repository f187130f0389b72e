// The interface of src/node/http-client/pool.ts on undici's `dispatch`, for `npm run bench -- --client
// undici` alone: what the gateway's own HTTP/1.1 client is measured against. It lacks what the bench does not
// need: forward proxies, and a second try on a fresh connection.
import { type Dispatcher, Pool as UndiciPool } from 'undici'
import type * as own from '../src/node/http-client/pool.ts'

// use-undici.ts resolves the gateway's import of pool.ts to this file; with a query it is the file itself.
const { publicLookup, refusePrivateHost, isPrivateHost } = (await import(
  `${new URL('../src/node/http-client/pool.ts', import.meta.url).href}?own`
)) as typeof own
export { publicLookup, refusePrivateHost, isPrivateHost }

interface Head {
  readonly method: Dispatcher.HttpMethod
  readonly path: string
  readonly headers: string[]
}

/** Requests time out and connections are limited in number by the gateway, as with its own client. */
const options = { connections: null, pipelining: 1, keepAliveTimeout: 4000, allowH2: false } as const
const withoutLimits = { headersTimeout: 0, bodyTimeout: 0 } as const

interface Pool {
  readonly dispatcher: UndiciPool
  readonly tls: boolean
  readonly proxy: undefined
}

const textOf = (raw: readonly (string | Buffer)[]): string[] => {
  const texts: string[] = []
  for (const one of raw) texts.push(typeof one === 'string' ? one : one.toString('latin1'))
  return texts
}

/** One request: what the gateway holds as its connection, and what undici tells about the response. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly pool: Pool
  readonly freeSince = undefined
  private user: own.PoolUser | undefined
  private controller: Dispatcher.DispatchController | undefined
  private abandoned = false
  private turning = false

  constructor(pool: Pool, user: own.PoolUser) {
    this.pool = pool
    this.user = user
  }

  get socket(): this {
    return this
  }

  pause(): void {
    this.controller?.pause()
  }

  resume(): void {
    this.controller?.resume()
  }

  abandon(): void {
    this.user = undefined
    this.abandoned = true
    this.controller?.abort(new Error('abandoned'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.abandoned) controller.abort(new Error('abandoned'))
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    this.user?.head(status, textOf(controller.rawHeaders as (string | Buffer)[]))
  }

  onResponseData(_controller: Dispatcher.DispatchController, piece: Buffer): void {
    this.user?.data(piece)
    if (this.turning || !this.user) return
    // As with the gateway's own client, the end is told in the same turn where it came with the data: head
    // and body are then one write.
    this.turning = true
    queueMicrotask(() => {
      this.turning = false
      this.user?.turn()
    })
  }

  onResponseEnd(): void {
    const { user } = this
    this.user = undefined
    user?.end(true)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const { user } = this
    this.user = undefined
    user?.failed(error)
  }
}

const createPool = (origin: string, { lookup, proxy }: own.PoolOptions): Pool => {
  if (proxy) throw new TypeError('the bench has no forward proxy')
  return {
    dispatcher: new UndiciPool(origin, { ...options, ...(lookup ? { connect: { lookup } } : {}) }),
    tls: origin.startsWith('https:'),
    proxy: undefined,
  }
}

const take = (pool: Pool, user: own.PoolUser): Exchange => new Exchange(pool, user)

const send = (exchange: Exchange, { method, path, headers }: Head, body: Uint8Array | undefined): void => {
  exchange.pool.dispatcher.dispatch({ method, path, headers, body: body ?? null, ...withoutLimits }, exchange)
}

const abandon = (exchange: Exchange): void => exchange.abandon()

const closePool = ({ dispatcher }: Pool): void => void dispatcher.close()

/** undici takes the fields as a list and writes Content-Length itself. */
const createRequestHead =
  () =>
  (
    { method, headers, identity }: Parameters<ReturnType<typeof own.createRequestHead>>[0],
    { path, host }: Parameters<ReturnType<typeof own.createRequestHead>>[1],
  ): Head => ({
    method: method as Dispatcher.HttpMethod,
    path,
    headers: ['host', host, ...headers, ...identity],
  })

const absoluteHead = (): never => {
  throw new TypeError('the bench has no forward proxy')
}

export { abandon, absoluteHead, closePool, createPool, createRequestHead, send, take }
