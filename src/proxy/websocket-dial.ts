// A line to a server behind a WebSocket: one JSON-RPC message in each text frame, subprotocol `mcp` (the custom transport that SDKs and bridges share).
import { utf8 } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Dial, DialSocket, Socket } from '../ports/lines.ts'
import { refusalOf } from './legacy-sse-dial.ts'

export interface SocketDialDeps {
  readonly socket: DialSocket
  readonly url: string
  readonly service: string
  readonly maxBytes: number
}

/** Fields of a POST that mean nothing on a handshake. */
const own = new Set(['accept', 'accept-encoding', 'content-type', 'content-length', 'mcp-session-id', 'last-event-id'])

export const handshakeFields = (flat: readonly string[]): string[] => {
  const fields: string[] = []
  for (let i = 0; i + 1 < flat.length; i += 2) if (!own.has((flat[i] as string).toLowerCase())) fields.push(flat[i] as string, flat[i + 1] as string)
  return fields
}

/** What went wrong with a handshake, as the caller may hear it. */
export const handshakeRefusal = (error: unknown, service: string): Refusal => {
  if (error instanceof Refusal) return error
  const { status, code, message } = error as { readonly status?: number; readonly code?: string; readonly message?: string }
  if (status !== undefined) return refusalOf(status, service)
  return new Refusal(code === 'ETIMEDOUT' ? 'upstream.timeout' : 'upstream.unreachable', `${service}: ${code ?? message ?? String(error)}`)
}

/** A ping goes out this often; a second one that meets the same silence ends the line. */
export const pingMs = 20_000

export const createSocketDial = ({ socket: open, url, service, maxBytes }: SocketDialDeps): Dial => async ({ headers, timeoutMs }, events) => {
  let closed = false
  let alive = true
  let behind = Promise.resolve()
  const over = (why: string): void => {
    clearInterval(timer)
    if (closed) return
    closed = true
    events.ended(why)
  }
  let socket: Socket | undefined
  const timer = setInterval(() => {
    if (!socket?.ping) return
    if (!alive) {
      socket.cut()
      over(`${service} answers no ping`)
      return
    }
    alive = false
    socket.ping()
  }, pingMs)
  try {
    socket = await open(url, { headers: handshakeFields(headers), timeoutMs, maxBytes }, {
      text(message) {
        alive = true
        behind = behind.then(async () => {
          const slow = events.message(message)
          if (!slow) return
          socket?.pause?.()
          await slow
          socket?.resume?.()
        })
      },
      binary() {
        socket?.close(1003, 'text only')
        over(`${service} sent a binary frame`)
      },
      alive: () => void (alive = true),
      closed: (code) => over(`${service} closed with ${code}`),
    })
  } catch (error) {
    clearInterval(timer)
    closed = true
    throw handshakeRefusal(error, service)
  }
  const made = socket
  return {
    async send(message) {
      if (closed) throw new Refusal('session.unknown', `${service}: the socket is closed`)
      if (utf8(message).byteLength > maxBytes) throw new Refusal('request.too-large')
      await made.send(message.includes('\n') ? JSON.stringify(JSON.parse(message)) : message)
    },
    close() {
      clearInterval(timer)
      closed = true
      made.close(1000, '')
    },
  }
}
