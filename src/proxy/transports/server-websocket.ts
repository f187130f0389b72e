// The transport to a server behind a WebSocket: one JSON-RPC message in each text frame, subprotocol `mcp`
// (the custom transport that SDKs and bridges share).
import { Refusal } from '../../kit/refusal.ts'
import { messagesOf } from '../../mcp/json-rpc.ts'
import type { Connect } from '../../mcp/transport.ts'
import type { ConnectSocket, TextSocket, Timer } from '../../ports/runtime.ts'
import { refusalOf } from './server-sse.ts'

// The heartbeat of a WebSocket: a ping at each beat, and an end when two beats brought nothing (RFC 6455
// §5.5.2), because a peer that vanished closes nothing.

export interface Heartbeat {
  /** The peer was heard. */
  alive(): void
  /** A message of the peer. True: it answered a beat, and nobody else is to hear of it. */
  hear(text: string): boolean
  stop(): void
}

/** Of the ids of our own requests; nobody else's begin like this. */
const mark = 'postern-beat-'

const answers = (text: string): boolean =>
  text.includes(mark) &&
  messagesOf(text).some(
    ({ message }) =>
      message['method'] === undefined && typeof message['id'] === 'string' && message['id'].startsWith(mark),
  )

/**
 * `socket`: once it is there. `dead`: called at most once, after the socket has been cut. Where the runtime
 * sends no ping frames the ping is that of MCP (2025-11-25 utilities, Ping): idle sockets are cut on the way
 * otherwise. Who never answered one of those may not know them, and is left alone.
 */
export const createHeartbeat = (
  timer: Timer,
  everyMs: number,
  socket: () => TextSocket | undefined,
  dead: () => void,
): Heartbeat => {
  let heard = true
  let answered = false
  let beats = 0
  let stopped = false
  const beat = (): void => {
    const open = socket()
    if (open && !heard && (open.ping || answered)) {
      stopped = true
      open.cut()
      dead()
      return
    }
    if (open) {
      heard = false
      beats++
      if (open.ping) open.ping()
      else
        Promise.resolve(
          open.send(JSON.stringify({ jsonrpc: '2.0', id: `${mark}${beats}`, method: 'ping' })),
        ).catch(() => undefined)
    }
    // After what runs now: a clock that jumps over several beats must leave time for the answer to one.
    queueMicrotask(() => {
      if (!stopped) cancel = timer(everyMs, beat)
    })
  }
  let cancel = timer(everyMs, beat)
  return {
    alive: () => void (heard = true),
    hear(text) {
      heard = true
      const own = beats > 0 && answers(text)
      answered ||= own
      return own
    },
    stop() {
      stopped = true
      cancel()
    },
  }
}

/** Holds the sender back while what it sent is still on its way to the other end. */
export const holdBack = (
  sender: TextSocket | undefined,
  slow: void | Promise<void>,
  failed: () => void = () => undefined,
): void => {
  if (!slow) return
  sender?.pause?.()
  slow.then(() => sender?.resume?.(), failed)
}

/** Codes that may stand in a close frame (RFC 6455 §7.4); the others are for the inside of one end. */
export const closeCode = (code: number): number => {
  if (code === 1005) return 1000
  return (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1006) || (code >= 3000 && code <= 4999)
    ? code
    : 1011
}

export interface ServerWebSocketDeps {
  readonly timer: Timer
  readonly socket: ConnectSocket
  readonly url: string
  readonly service: string
  readonly maxBytes: number
  readonly heartbeatMs: number
}

/** Fields of a POST that mean nothing on a handshake. */
const own = new Set([
  'accept',
  'accept-encoding',
  'content-type',
  'content-length',
  'mcp-session-id',
  'last-event-id',
])

export const handshakeFields = (flat: readonly string[]): string[] => {
  const fields: string[] = []
  for (let i = 0; i + 1 < flat.length; i += 2)
    if (!own.has((flat[i] as string).toLowerCase())) fields.push(flat[i] as string, flat[i + 1] as string)
  return fields
}

/** What went wrong with a handshake, as the caller may hear it. */
export const handshakeRefusal = (error: unknown, service: string): Refusal => {
  if (error instanceof Refusal) return error
  const { status, authenticate, code, message } = error as {
    readonly status?: number
    readonly authenticate?: readonly string[]
    readonly code?: string
    readonly message?: string
  }
  if (status !== undefined) return refusalOf(status, service, authenticate)
  return new Refusal(
    code === 'ETIMEDOUT' ? 'upstream.timeout' : 'upstream.unreachable',
    `${service}: ${code ?? message ?? String(error)}`,
  )
}

export const createServerWebSocket =
  ({ timer, socket: open, url, service, maxBytes, heartbeatMs }: ServerWebSocketDeps): Connect =>
  async ({ headers, timeoutMs }, events) => {
    let closed = false
    let socket: TextSocket | undefined
    const over = (why: Refusal): void => {
      heartbeat.stop()
      if (closed) return
      closed = true
      events.onclose(why)
    }
    const lost = (why: string): void => over(new Refusal('upstream.closed', `${service} ${why}`))
    const heartbeat = createHeartbeat(
      timer,
      heartbeatMs,
      () => socket,
      () => lost('answers no ping'),
    )
    const heard = {
      text(message: string): void {
        if (!heartbeat.hear(message) && !closed) events.onmessage(message)
      },
      binary(): void {
        socket?.close(1003, 'text only')
        lost('sent a binary frame')
      },
      alive: heartbeat.alive,
      closed: (code: number): void => lost(`closed with ${code}`),
    }
    try {
      socket = await open(url, { headers: handshakeFields(headers), timeoutMs, maxBytes }, heard)
    } catch (error) {
      heartbeat.stop()
      closed = true
      throw handshakeRefusal(error, service)
    }
    const { send, close, pause, resume } = socket
    return {
      send(message) {
        if (closed) throw new Refusal('session.unknown', `${service}: the socket is closed`)
        return send(message)
      },
      close() {
        close(1000, '')
        over(new Refusal('session.unknown', 'the connection was closed'))
      },
      pause: () => pause?.(),
      resume: () => resume?.(),
    }
  }
