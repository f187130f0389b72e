// Connections to upstreams: one request at a time on each, kept open between requests, the most recently used first.
import { connect as connectPlain, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { createResponseReader } from './response-reader.ts'
import type { AnswerSink, ResponseReader } from './response-reader.ts'

/** Whom a connection serves right now. `failed` is told instead of the end, at most once; nothing follows either. */
export interface Tenant extends AnswerSink {
  failed(error: Error & { readonly code?: string }): void
}

export interface Connection {
  /** Writes one request: head (with its blank line) and body. */
  send(head: string, body: Uint8Array | undefined): void
  pause(): void
  resume(): void
  /** Ends the exchange and the connection; the tenant hears nothing more. */
  abandon(): void
}

export interface Connections {
  /** A connection that is free or being made. */
  take(tenant: Tenant): Connection
  /** Closes those that are free, and from now on each as it becomes free. */
  close(): void
}

/** A free connection is closed after this long (ms) unless the server said it would close sooner. Node servers wait 5 s, most others longer. */
const idleMs = 4000
const mostIdle = 256
/** A body up to this size travels in one write with its head. */
const smallBody = 16_384

interface Origin {
  readonly tls: boolean
  readonly host: string
  readonly port: number
}

const originOf = (origin: string): Origin => {
  const url = new URL(origin)
  const tls = url.protocol === 'https:'
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname
  return { tls, host, port: url.port === '' ? (tls ? 443 : 80) : Number(url.port) }
}

const open = ({ tls, host, port }: Origin, session: Buffer | undefined): Socket => {
  const options = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }
  if (!tls) return connectPlain(options)
  return connectTls({ ...options, ALPNProtocols: ['http/1.1'], ...(isIP(host) === 0 ? { servername: host } : {}), ...(session ? { session } : {}) })
}

interface Line extends Connection {
  readonly socket: Socket
  readonly reader: ResponseReader
  tenant: Tenant | undefined
  /** Milliseconds of the monotonic clock after which a free connection is not used any more. */
  usableUntil: number
}

export const createConnections = (origin: string, now: () => number): Connections => {
  const place = originOf(origin)
  const free: Line[] = []
  let closed = false
  let session: Buffer | undefined
  let sweep: NodeJS.Timeout | undefined

  const drop = (line: Line): void => {
    const at = free.indexOf(line)
    if (at !== -1) free.splice(at, 1)
    line.socket.destroy()
  }
  const fail = (line: Line, error: Error): void => {
    const { tenant } = line
    line.tenant = undefined
    drop(line)
    tenant?.failed(error)
  }
  const closeIdle = (): void => {
    const time = now()
    for (const line of free.filter(({ usableUntil }) => usableUntil <= time)) drop(line)
    if (free.length > 0) return
    clearInterval(sweep)
    sweep = undefined
  }
  const release = (line: Line, reusable: boolean): void => {
    line.tenant = undefined
    // The last piece may have been more than its reader could take.
    if (line.socket.isPaused()) line.socket.resume()
    const seconds = line.reader.keepAlive()
    // One second early: what is on its way when the server closes would be lost.
    const bears = seconds === undefined || Number.isNaN(seconds) ? idleMs : Math.min((seconds - 1) * 1000, 60_000)
    // An answer to half a request: the rest of it must not be read as the next one.
    const clean = reusable && line.socket.writableLength === 0
    if (!clean || closed || bears <= 0 || free.length >= mostIdle) {
      drop(line)
      return
    }
    line.usableUntil = now() + bears
    free.push(line)
    sweep ??= setInterval(closeIdle, 1000).unref()
  }

  const make = (): Line => {
    const socket = open(place, session)
    const reader = createResponseReader({
      head: (status, headers) => line.tenant?.head(status, headers),
      data: (piece) => line.tenant?.data(piece),
      end(reusable) {
        const { tenant } = line
        release(line, reusable)
        tenant?.end(reusable)
      },
    })
    const line: Line = {
      socket,
      reader,
      tenant: undefined,
      usableUntil: 0,
      send(head, body) {
        reader.expect()
        if (body === undefined || body.byteLength === 0) socket.write(head, 'latin1')
        else if (body.byteLength <= smallBody) socket.write(head + Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1'), 'latin1')
        else {
          socket.cork()
          socket.write(head, 'latin1')
          socket.write(body)
          socket.uncork()
        }
      },
      pause: () => void socket.pause(),
      resume: () => void socket.resume(),
      abandon() {
        line.tenant = undefined
        drop(line)
      },
    }
    socket.on('data', (piece: Buffer) => {
      try {
        reader.feed(piece)
      } catch (error) {
        fail(line, error as Error)
      }
    })
    socket.on('end', () => {
      if (line.tenant && !reader.eof()) fail(line, Object.assign(new Error('the other side closed'), { code: 'ECONNRESET' }))
      else drop(line)
    })
    socket.on('error', (error) => fail(line, error))
    socket.on('close', () => fail(line, Object.assign(new Error('the connection closed'), { code: 'ECONNRESET' })))
    if (place.tls) socket.on('session', (ticket: Buffer) => void (session = ticket))
    return line
  }

  return {
    take(tenant) {
      const time = now()
      let line = free.pop()
      while (line && (line.usableUntil <= time || line.socket.destroyed)) {
        drop(line)
        line = free.pop()
      }
      line ??= make()
      line.tenant = tenant
      return line
    },
    close() {
      closed = true
      for (const line of free.splice(0)) line.socket.destroy()
    },
  }
}
