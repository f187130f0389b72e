// Connections to upstreams: one request at a time on each, kept open between requests, the most recently used first.
import { connect as connectPlain, isIP, type LookupFunction, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { refuseInner } from './public-hosts.ts'
import { createResponseReader, expectAnswer, feed, feedEnd } from './response-reader.ts'
import type { AnswerSink, ResponseReader } from './response-reader.ts'

/** Whom a connection serves right now. `failed` is told instead of the end, at most once; nothing follows either. */
export interface Tenant extends AnswerSink {
  /** All that was delivered at once has been told, and the end was not among it. Pieces told before are gone after this. */
  turn(): void
  failed(error: Error & { readonly code?: string }): void
}

export interface Connection {
  readonly pool: Pool
  readonly socket: Socket
  reader: ResponseReader | undefined
  tenant: Tenant | undefined
  /** Epoch ms after which a free connection is not used any more. */
  usableUntil: number
}

export interface Pool {
  readonly tls: boolean
  readonly host: string
  readonly port: number
  readonly now: () => number
  /** What finds the host's addresses in place of the system's resolver; it decides where the pool may connect to. */
  readonly lookup: LookupFunction | undefined
  /** Free connections, the last used last. */
  readonly free: Connection[]
  closed: boolean
  /** Resumes TLS sessions (RFC 8446 §2.2). */
  session: Buffer | undefined
  sweep: NodeJS.Timeout | undefined
}

/** A free connection is closed after this long (ms) unless the server said it would close sooner. Node servers wait 5 s, most others longer. */
const idleMs = 4000
const mostIdle = 256
/** A body up to this size travels in one write with its head. */
const smallBody = 16_384

/** `lookup`: for an origin that may be on public addresses alone (`publicLookup`). */
export const createPool = (origin: string, now: () => number, lookup?: LookupFunction): Pool => {
  const { protocol, hostname, port } = new URL(origin)
  const tls = protocol === 'https:'
  const host = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
  return { tls, host, port: port === '' ? (tls ? 443 : 80) : Number(port), now, lookup, free: [], closed: false, session: undefined, sweep: undefined }
}

/** One piece of memory for what every plain connection reads: each read is dealt with before the next one begins. */
const readBuffer = Buffer.allocUnsafeSlow(65_536)

const open = ({ tls, host, port, lookup, session }: Pool, deliver: (piece: Buffer) => void): Socket => {
  if (lookup) refuseInner(host)
  const options = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000, ...(lookup ? { lookup } : {}) }
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
  return connectTls({ ...options, ALPNProtocols: ['http/1.1'], ...(isIP(host) === 0 ? { servername: host } : {}), ...(session ? { session } : {}) }).on('data', deliver)
}

const drop = (connection: Connection): void => {
  const { free } = connection.pool
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
  connection.usableUntil = pool.now() + bears
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

const make = (pool: Pool): Connection => {
  const socket = open(pool, (piece) => deliver(connection, piece))
  const connection: Connection = { pool, socket, reader: undefined, tenant: undefined, usableUntil: 0 }
  const reader = createResponseReader({
    head: (status, headers) => connection.tenant?.head(status, headers),
    data: (piece) => connection.tenant?.data(piece),
    end(reusable) {
      const { tenant } = connection
      release(connection, reusable)
      tenant?.end(reusable)
    },
  })
  connection.reader = reader
  socket.on('end', () => {
    if (connection.tenant && !feedEnd(reader)) fail(connection, closed('the other side closed'))
    else drop(connection)
  })
  socket.on('error', (error) => fail(connection, error))
  socket.on('close', () => fail(connection, closed('the connection closed')))
  if (pool.tls) socket.on('session', (ticket: Buffer) => void (pool.session = ticket))
  return connection
}

/** A connection that is free, or being made. Throws `outbound.refused` where the pool may not connect to such a host. */
export const take = (pool: Pool, tenant: Tenant): Connection => {
  const time = pool.now()
  let connection = pool.free.pop()
  while (connection && (connection.usableUntil <= time || connection.socket.destroyed)) {
    drop(connection)
    connection = pool.free.pop()
  }
  connection ??= make(pool)
  connection.tenant = tenant
  return connection
}

/** Writes one request: head (with its blank line) and body. */
export const send = ({ socket, reader }: Connection, head: string, body: Uint8Array | undefined): void => {
  if (reader) expectAnswer(reader)
  if (body === undefined || body.byteLength === 0) socket.write(head, 'latin1')
  else if (body.byteLength <= smallBody) socket.write(head + Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1'), 'latin1')
  else {
    socket.cork()
    socket.write(head, 'latin1')
    socket.write(body)
    socket.uncork()
  }
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

