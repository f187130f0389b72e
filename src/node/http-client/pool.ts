// Connections to upstreams: one request at a time on each, kept open between requests, the most recently used first.
import { type LookupFunction, Socket, connect as connectPlain, isIP } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { isAddress, refusedHost } from '../../kit/addresses.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { Admission, Upstream } from '../../ports/call.ts'
import { type ForwardProxy, connectToProxy, openTunnel } from '../forward-proxy.ts'
import { type Lookup, globalAddresses, systemLookup } from '../outbound.ts'
import {
  type AnswerSink,
  type ResponseReader,
  createResponseReader,
  expectAnswer,
  feed,
  feedEnd,
} from './response-parser.ts'

// Connections that may go to public addresses alone, whatever a name resolves to when they are made: for servers that somebody added from elsewhere.

/** Throws `outbound.refused` for a literal address that is not public, and for a name of a machine. Literals are never looked up, so they are judged here and nowhere else. */
export const refuseInner = (host: string): void => {
  if (refusedHost(host)) throw new Refusal('outbound.refused', `${host} is not a public host`)
}

/**
 * The look-up of one connection: what it answers is what is connected to, so a name that means another place than when its server was added leads nowhere
 * (DNS rebinding, security.md C6). The error it hands on is the `Refusal` itself.
 */
export const publicLookup =
  (lookup: Lookup = systemLookup): LookupFunction =>
  (host, { all, family }, answer) => {
    globalAddresses(host, lookup).then(
      (addresses) => {
        const suitable =
          family === 4 || family === 6 ? addresses.filter((each) => each.family === family) : addresses
        const [first] = suitable.length > 0 ? suitable : addresses
        if (all || !first) answer(null, [...suitable])
        else answer(null, first.address, first.family)
      },
      (error: unknown) => answer(error as Error, ''),
    )
  }

/** Whether the gateway goes to that host only because somebody said so at its own computer. A name that resolves to nothing is not one of those. */
export const isInner = async (host: string, lookup: Lookup = systemLookup): Promise<boolean> => {
  if (refusedHost(host)) return true
  if (isAddress(host)) return false
  return globalAddresses(host, lookup).then(
    () => false,
    (error: unknown) => error instanceof Refusal && !error.why.endsWith(' nothing'),
  )
}

// Sockets to upstreams, plain or TLS, direct or by way of a forward proxy.

export interface UpstreamAddress {
  readonly tls: boolean
  readonly host: string
  readonly port: number
  /** What finds the host's addresses in place of the system's resolver; it decides where connections may lead. */
  readonly lookup: LookupFunction | undefined
  readonly proxy: ForwardProxy | undefined
  /** Resumes TLS sessions (RFC 8446 §2.2). */
  session: Buffer | undefined
}

/** One piece of memory for what every plain connection reads: each read is dealt with before the next one begins. */
const readBuffer = Buffer.allocUnsafeSlow(65_536)

/** A direct connection. Throws `outbound.refused` where it may not lead to such a host. */
export const open = (
  { tls, host, port, lookup, session }: UpstreamAddress,
  deliver: (piece: Buffer) => void,
): Socket => {
  if (lookup) refuseInner(host)
  const options = {
    host,
    port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    ...(lookup ? { lookup } : {}),
  }
  if (!tls) {
    return connectPlain({
      ...options,
      onread: {
        buffer: readBuffer,
        callback(length) {
          deliver(length === readBuffer.length ? readBuffer : readBuffer.subarray(0, length))
          return true
        },
      },
    })
  }
  return connectTls({
    ...options,
    ALPNProtocols: ['http/1.1'],
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(session ? { session } : {}),
  }).on('data', deliver)
}

/** The connection by way of the forward proxy; a name that may be on public addresses alone is resolved and judged before the proxy hears it. */
export const openByProxy = async (
  { tls, host, port, lookup, session }: UpstreamAddress,
  proxy: ForwardProxy,
): Promise<Socket> => {
  if (lookup && isIP(host) === 0)
    await new Promise<void>((resolve, reject) =>
      lookup(host, { all: true }, (error) => (error ? reject(error) : resolve())),
    )
  if (!tls) return connectToProxy(proxy)
  const socket = await openTunnel(proxy, host, port)
  return connectTls({
    socket,
    ALPNProtocols: ['http/1.1'],
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(session ? { session } : {}),
  })
}

/** Whom a connection serves right now. `failed` is told instead of the end, at most once; nothing follows either. */
export interface PoolUser extends AnswerSink {
  /** All that was delivered at once has been told, and the end was not among it. Pieces told before are gone after this. */
  turn(): void
  failed(error: Error & { readonly code?: string }): void
}

export interface Connection {
  readonly pool: Pool
  /** Not yet the real one while a forward proxy is asked for it. */
  socket: Socket
  /** Writes the first request once there is a connection by way of the proxy. */
  pending: (() => void) | undefined
  opening: boolean
  dropped: boolean
  reader: ResponseReader | undefined
  tenant: PoolUser | undefined
  /** Epoch ms after which a free connection is not used any more. */
  usableUntil: number
  /** Epoch ms since when it is free; undefined until it was. */
  freeSince: number | undefined
}

export interface Pool extends UpstreamAddress {
  readonly now: () => number
  /** Longest idleness (ms) that a connection of this server was seen to survive. */
  proven: number
  /** Free connections, the last used last. */
  readonly free: Connection[]
  closed: boolean
  sweep: NodeJS.Timeout | undefined
}

/** A free connection is closed after this long (ms) unless the server said it would close sooner. Node servers wait 5 s, most others longer. */
const idleMs = 4000
const mostIdle = 256
/** A server is taken to bear this much idleness, ms, before anything is known of it. */
const assumedMs = 130
/** A body up to this size travels in one write with its head. */
const smallBody = 16_384

export interface PoolOptions {
  readonly now: () => number
  /** For an origin that may be on public addresses alone (`publicLookup`). */
  readonly lookup?: LookupFunction | undefined
  /** The forward proxy that connections go through. */
  readonly proxy?: ForwardProxy | undefined
}

export const createPool = (origin: string, { now, lookup, proxy }: PoolOptions): Pool => {
  const { protocol, hostname, port } = new URL(origin)
  const tls = protocol === 'https:'
  const host = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
  return {
    tls,
    host,
    port: port === '' ? (tls ? 443 : 80) : Number(port),
    now,
    lookup,
    proxy,
    proven: assumedMs,
    free: [],
    closed: false,
    session: undefined,
    sweep: undefined,
  }
}

const drop = (connection: Connection): void => {
  const { free } = connection.pool
  connection.dropped = true
  const at = free.indexOf(connection)
  if (at !== -1) free.splice(at, 1)
  connection.socket.destroy()
}

const fail = (connection: Connection, error: Error): void => {
  const { tenant } = connection
  connection.tenant = undefined
  drop(connection)
  tenant?.failed(error)
}

const closed = (what: string): Error => Object.assign(new Error(what), { code: 'ECONNRESET' })

const closeIdle = (pool: Pool): void => {
  const time = pool.now()
  // Whatever is still open has shown how much idleness its server bears.
  for (const { freeSince = time } of pool.free)
    if (time - freeSince > pool.proven) pool.proven = time - freeSince
  for (const connection of pool.free.filter(({ usableUntil }) => usableUntil <= time)) drop(connection)
  if (pool.free.length > 0) return
  clearInterval(pool.sweep)
  pool.sweep = undefined
}

/** After an answer: kept for the next request, or closed. */
const release = (connection: Connection, reusable: boolean): void => {
  const { pool, socket, reader } = connection
  connection.tenant = undefined
  // The last piece may have been more than its reader could take.
  if (socket.isPaused()) socket.resume()
  const seconds = reader?.idleSeconds
  // One second early: what is on its way when the server closes would be lost.
  const bears = seconds === undefined ? idleMs : Math.min((seconds - 1) * 1000, 60_000)
  // An answer to half a request: the rest of it must not be read as the next one.
  const whole = socket.writableLength === 0
  if (!reusable || !whole || pool.closed || bears <= 0 || pool.free.length >= mostIdle) {
    drop(connection)
    return
  }
  connection.freeSince = pool.now()
  connection.usableUntil = connection.freeSince + bears
  // The server's own word.
  if (seconds !== undefined && bears > pool.proven) pool.proven = bears
  pool.free.push(connection)
  pool.sweep ??= setInterval(closeIdle, 1000, pool).unref()
}

const deliver = (connection: Connection, piece: Buffer): void => {
  try {
    if (connection.reader) feed(connection.reader, piece)
  } catch (error) {
    fail(connection, error as Error)
    return
  }
  connection.tenant?.turn()
}

/** A free connection was closed by the server: so much idleness it does not bear. */
const learnIdleness = ({ pool, freeSince, tenant }: Connection): void => {
  if (tenant || freeSince === undefined) return
  pool.proven = Math.min(pool.proven, pool.now() - freeSince)
}

const attach = (connection: Connection, reader: ResponseReader, socket: Socket): void => {
  const { pool } = connection
  connection.socket = socket
  connection.opening = false
  socket.on('end', () => {
    learnIdleness(connection)
    if (connection.tenant && !feedEnd(reader)) fail(connection, closed('the other side closed'))
    else drop(connection)
  })
  socket.on('error', (error) => fail(connection, error))
  socket.on('close', () => fail(connection, closed('the connection closed')))
  if (pool.tls) socket.on('session', (ticket: Buffer) => void (pool.session = ticket))
  connection.pending?.()
  connection.pending = undefined
}

const make = (pool: Pool): Connection => {
  const reader: ResponseReader = createResponseReader({
    head: (status, headers) => connection.tenant?.head(status, headers),
    data: (piece) => connection.tenant?.data(piece),
    end(reusable) {
      const { tenant } = connection
      release(connection, reusable)
      tenant?.end(reusable)
    },
  })
  const { proxy } = pool
  if (proxy && pool.lookup) refuseInner(pool.host)
  const socket = proxy ? new Socket() : open(pool, (piece) => deliver(connection, piece))
  const connection: Connection = {
    pool,
    socket,
    pending: undefined,
    opening: proxy !== undefined,
    dropped: false,
    reader,
    tenant: undefined,
    usableUntil: 0,
    freeSince: undefined,
  }
  if (!proxy) {
    attach(connection, reader, socket)
    return connection
  }
  openByProxy(pool, proxy).then(
    (made) => {
      if (connection.dropped) made.on('error', () => undefined).destroy()
      else
        attach(
          connection,
          reader,
          made.on('data', (piece: Buffer) => deliver(connection, piece)),
        )
    },
    (error: unknown) => fail(connection, error as Error),
  )
  return connection
}

/** Part of the proven idleness within which a request that may not be sent twice goes on a kept connection. */
const safePart = 0.75

/** Which of the kept connections may carry a request. */
export type Reuse =
  /** Every one: the request may be sent again where the server was just closing it (RFC 9110 §9.2.2). */
  | 'any'
  /** Those that the server will surely not close in this moment. */
  | 'safe'
  | 'none'

/** A connection that is free, or being made. Throws `outbound.refused` where the pool may not connect to such a host. */
export const take = (pool: Pool, tenant: PoolUser, reuse: Reuse = 'any'): Connection => {
  const time = pool.now()
  let connection = reuse === 'none' ? undefined : pool.free.pop()
  while (connection && (connection.usableUntil <= time || connection.socket.destroyed)) {
    drop(connection)
    connection = pool.free.pop()
  }
  if (connection && reuse === 'safe' && time - (connection.freeSince ?? time) > pool.proven * safePart) {
    // Left for somebody who may try twice, or for the server to close, which shows how long it waits.
    pool.free.push(connection)
    connection = undefined
  }
  connection ??= make(pool)
  connection.tenant = tenant
  return connection
}

const write = ({ socket }: Connection, head: string, body: Uint8Array | undefined): void => {
  if (body === undefined || body.byteLength === 0) socket.write(head, 'latin1')
  else if (body.byteLength <= smallBody)
    socket.write(
      head + Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1'),
      'latin1',
    )
  else {
    socket.cork()
    socket.write(head, 'latin1')
    socket.write(body)
    socket.uncork()
  }
}

/** Writes one request: head (with its blank line) and body. */
export const send = (connection: Connection, head: string, body: Uint8Array | undefined): void => {
  if (connection.reader) expectAnswer(connection.reader)
  if (connection.opening) connection.pending = () => write(connection, head, body)
  else write(connection, head, body)
}

/** Ends the exchange and the connection; the tenant hears nothing more. */
export const abandon = (connection: Connection): void => {
  connection.tenant = undefined
  drop(connection)
}

/** Closes the connections that are free, and from now on each as it becomes free. */
export const closePool = (pool: Pool): void => {
  pool.closed = true
  for (const connection of pool.free.splice(0)) connection.socket.destroy()
}

// The head of a request to an upstream, as text (RFC 9112 §2.1, §3).

/** Nothing that reaches this place may hold a line end; if something ever does, no request is sent. */
const checked = (value: string): string => {
  if (value.includes('\n') || value.includes('\r')) throw new TypeError('a header value with a line end')
  return value
}

const fields = (flat: readonly string[]): string => {
  let text = ''
  for (let i = 0; i + 1 < flat.length; i += 2) text += `${flat[i]}: ${checked(flat[i + 1] as string)}\r\n`
  return text
}

/** Identity fields as text, made once for each list and forgotten with it. */
const createIdentityText = (): ((identity: readonly string[]) => string) => {
  const known = new WeakMap<readonly string[], string>()
  return (identity) => {
    const before = known.get(identity)
    if (before !== undefined) return before
    // A round trip through bytes leaves one flat piece where the pieces it was put together from would stay otherwise.
    const text = Buffer.from(fields(identity), 'latin1').toString('latin1')
    known.set(identity, text)
    return text
  }
}

export const createRequestHead = (): ((
  call: Pick<Admission, 'method' | 'headers' | 'identity' | 'body'>,
  upstream: Extract<Upstream, { kind: 'http' }>,
) => string) => {
  const identityText = createIdentityText()
  return ({ method, headers, identity, body }, { path, host }) =>
    // A POST always says how long it is (RFC 9110 §8.6).
    `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${fields(headers)}${identityText(identity)}${body === undefined ? '' : `Content-Length: ${body.byteLength}\r\n`}\r\n`
}

/** The same head for a forward proxy that is asked for an http URL (RFC 9112 §3.2.2). */
export const absoluteHead = (text: string, origin: string, authorization: string | undefined): string => {
  const [target, end] = [text.indexOf(' ') + 1, text.indexOf('\r\n') + 2]
  return `${text.slice(0, target)}${origin}${text.slice(target, end)}${authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`}${text.slice(end)}`
}
