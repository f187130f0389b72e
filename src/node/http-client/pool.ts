// Connections to upstreams: one request at a time on each, kept open between requests, the most recently used
// first.
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
  createReadHead,
  createResponseReader,
  expectAnswer,
  feed,
  feedEnd,
} from './response-parser.ts'

// Connections that may only go to public addresses, whatever a name resolves to at that moment: for servers
// that were added over the network.

/**
 * Throws `outbound.refused` for an address literal that is not public, and for a local host name. Literals
 * are never looked up, so this is their only check.
 */
export const refusePrivateHost = (host: string): void => {
  if (refusedHost(host)) throw new Refusal('outbound.refused', `${host} is not a public host`)
}

/**
 * The lookup of one connection. The connection goes to the addresses that it returns, so a name that points
 * elsewhere than when its server was added leads nowhere (DNS rebinding). Its error is the `Refusal` itself.
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

/**
 * Whether that host is only reachable for servers added on the gateway's own computer. A name that does not
 * resolve is not one of these.
 */
export const isPrivateHost = async (host: string, lookup: Lookup = systemLookup): Promise<boolean> => {
  if (refusedHost(host)) return true
  if (isAddress(host)) return false
  return globalAddresses(host, lookup).then(
    () => false,
    (error: unknown) => error instanceof Refusal && !error.why.endsWith(' nothing'),
  )
}

// Sockets to upstreams, plain or TLS, direct or through a forward proxy.

export interface UpstreamAddress {
  readonly tls: boolean
  readonly host: string
  readonly port: number
  /** Finds the host's addresses instead of the system's resolver, and decides where connections may go. */
  readonly lookup: LookupFunction | undefined
  readonly proxy: ForwardProxy | undefined
  /** Resumes TLS sessions (RFC 8446 §2.2). */
  session: Buffer | undefined
}

/** One buffer for the reads of all plain connections: each read is processed before the next one begins. */
const readBuffer = Buffer.allocUnsafeSlow(65_536)

/** A direct connection. Throws `outbound.refused` for a host that it may not go to. */
export const open = (
  { tls, host, port, lookup, session }: UpstreamAddress,
  deliver: (piece: Buffer) => void,
): Socket => {
  if (lookup) refusePrivateHost(host)
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

/**
 * A connection through the forward proxy. A name that must be on public addresses is resolved and checked
 * before the proxy gets it.
 */
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

/**
 * What is told about the response on a connection. `failed` comes instead of the end, at most once; nothing
 * follows either.
 */
export interface PoolUser extends AnswerSink {
  /**
   * Everything delivered at once has been reported, and the end was not part of it. Earlier pieces are
   * invalid after this call.
   */
  turn(): void
  failed(error: Error & { readonly code?: string }): void
}

/** As the sink of its reader it passes on to its user what is told. */
export interface Connection extends AnswerSink {
  readonly pool: Pool
  /** A placeholder while a forward proxy is making the connection. */
  socket: Socket
  /** Writes the first request once the proxy has made the connection. */
  pending: (() => void) | undefined
  opening: boolean
  dropped: boolean
  reader: ResponseReader | undefined
  user: PoolUser | undefined
  /** Epoch ms after which a free connection is not used again. */
  usableUntil: number
  /** Epoch ms since which it is free; undefined before its first response. */
  freeSince: number | undefined
}

export interface Pool extends UpstreamAddress {
  readonly now: () => number
  readonly readHead: ResponseReader['readHead']
  /** Longest idle time (ms) that a connection to this server has survived. */
  proven: number
  /** Free connections, the last used last. */
  readonly free: Connection[]
  closed: boolean
  sweep: NodeJS.Timeout | undefined
}

/**
 * A free connection is closed after this time (ms), unless the server announced a shorter one. Node servers
 * wait 5 s, most others longer.
 */
const idleMs = 4000
const mostIdle = 256
/** Idle time (ms) that a server is assumed to allow before anything is known about it. */
const assumedMs = 130
/** A body up to this size is sent in one write with its head. */
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
    readHead: createReadHead(),
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
  const { user } = connection
  connection.user = undefined
  drop(connection)
  user?.failed(error)
}

const closed = (what: string): Error => Object.assign(new Error(what), { code: 'ECONNRESET' })

const closeIdle = (pool: Pool): void => {
  const time = pool.now()
  // Connections that are still open show how much idle time the server allows.
  for (const { freeSince = time } of pool.free)
    if (time - freeSince > pool.proven) pool.proven = time - freeSince
  for (const connection of pool.free.filter(({ usableUntil }) => usableUntil <= time)) drop(connection)
  if (pool.free.length > 0) return
  clearInterval(pool.sweep)
  pool.sweep = undefined
}

/** After a response: kept for the next request, or closed. */
const release = (connection: Connection, reusable: boolean): void => {
  const { pool, socket, reader } = connection
  connection.user = undefined
  // The reader of the last response may have paused the socket.
  if (socket.isPaused()) socket.resume()
  const seconds = reader?.idleSeconds
  // One second early: a request on its way when the server closes would be lost.
  const keptFor = seconds === undefined ? idleMs : Math.min((seconds - 1) * 1000, 60_000)
  // The response came before the whole request was sent: its rest must not be read as the next request.
  const whole = socket.writableLength === 0
  if (!reusable || !whole || pool.closed || keptFor <= 0 || pool.free.length >= mostIdle) {
    drop(connection)
    return
  }
  connection.freeSince = pool.now()
  connection.usableUntil = connection.freeSince + keptFor
  // The server announced it.
  if (seconds !== undefined && keptFor > pool.proven) pool.proven = keptFor
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
  connection.user?.turn()
}

/** The server closed a free connection: it does not allow that much idle time. */
const learnIdleness = ({ pool, freeSince, user }: Connection): void => {
  if (user || freeSince === undefined) return
  pool.proven = Math.min(pool.proven, pool.now() - freeSince)
}

const attach = (connection: Connection, reader: ResponseReader, socket: Socket): void => {
  const { pool } = connection
  connection.socket = socket
  connection.opening = false
  socket.on('end', () => {
    learnIdleness(connection)
    if (connection.user && !feedEnd(reader)) fail(connection, closed('the other side closed'))
    else drop(connection)
  })
  socket.on('error', (error) => fail(connection, error))
  socket.on('close', () => fail(connection, closed('the connection closed')))
  if (pool.tls) socket.on('session', (ticket: Buffer) => void (pool.session = ticket))
  connection.pending?.()
  connection.pending = undefined
}

// One function for all connections: thousands of them may carry a stream at once.

function tellHead(this: Connection, status: number, headers: string[]): void {
  this.user?.head(status, headers)
}

function tellData(this: Connection, piece: Buffer): void {
  this.user?.data(piece)
}

function tellEnd(this: Connection, reusable: boolean): void {
  const { user } = this
  release(this, reusable)
  user?.end(reusable)
}

const make = (pool: Pool): Connection => {
  const { proxy } = pool
  if (proxy && pool.lookup) refusePrivateHost(pool.host)
  const socket = proxy ? new Socket() : open(pool, (piece) => deliver(connection, piece))
  const connection: Connection = {
    pool,
    socket,
    pending: undefined,
    opening: proxy !== undefined,
    dropped: false,
    reader: undefined,
    user: undefined,
    usableUntil: 0,
    freeSince: undefined,
    head: tellHead,
    data: tellData,
    end: tellEnd,
  }
  const reader = createResponseReader(connection, pool.readHead)
  connection.reader = reader
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

/** Part of the proven idle time within which a request that may not be sent twice uses a kept connection. */
const safePart = 0.75

/** Which of the kept connections may carry a request. */
export type Reuse =
  /** Any: the request may be sent again if the server was just closing the connection (RFC 9110 §9.2.2). */
  | 'any'
  /** Those that the server is not about to close. */
  | 'safe'
  | 'none'

/** A free connection, or a new one. Throws `outbound.refused` where the pool may not connect to its host. */
export const take = (pool: Pool, user: PoolUser, reuse: Reuse = 'any'): Connection => {
  const time = pool.now()
  let connection = reuse === 'none' ? undefined : pool.free.pop()
  while (connection && (connection.usableUntil <= time || connection.socket.destroyed)) {
    drop(connection)
    connection = pool.free.pop()
  }
  if (connection && reuse === 'safe' && time - (connection.freeSince ?? time) > pool.proven * safePart) {
    // Left for a request that may be sent twice, or for the server to close, which shows how long the server
    // waits.
    pool.free.push(connection)
    connection = undefined
  }
  connection ??= make(pool)
  connection.user = user
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

/** Ends the exchange and the connection. The user is told nothing more. */
export const abandon = (connection: Connection): void => {
  connection.user = undefined
  drop(connection)
}

/** Closes the free connections, and from now on each that becomes free. */
export const closePool = (pool: Pool): void => {
  pool.closed = true
  for (const connection of pool.free.splice(0)) connection.socket.destroy()
}

// The head of a request to an upstream, as text (RFC 9112 §2.1, §3).

/** No value may contain a line end here. If one does, no request is sent. */
const checked = (value: string): string => {
  if (value.includes('\n') || value.includes('\r')) throw new TypeError('a header value with a line end')
  return value
}

const fields = (flat: readonly string[]): string => {
  let text = ''
  for (let i = 0; i + 1 < flat.length; i += 2) text += `${flat[i]}: ${checked(flat[i + 1] as string)}\r\n`
  return text
}

/** Identity fields as text, made once per list. */
const createIdentityText = (): ((identity: readonly string[]) => string) => {
  const known = new WeakMap<readonly string[], string>()
  return (identity) => {
    const before = known.get(identity)
    if (before !== undefined) return before
    // A round trip through bytes makes the string flat; otherwise its parts would stay in memory.
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
    // A POST always has a Content-Length (RFC 9110 §8.6).
    `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${fields(headers)}${identityText(identity)}${body === undefined ? '' : `Content-Length: ${body.byteLength}\r\n`}\r\n`
}

/** The same head for an http URL through a forward proxy (RFC 9112 §3.2.2). */
export const absoluteHead = (text: string, origin: string, authorization: string | undefined): string => {
  const [target, end] = [text.indexOf(' ') + 1, text.indexOf('\r\n') + 2]
  return `${text.slice(0, target)}${origin}${text.slice(target, end)}${authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`}${text.slice(end)}`
}
