// A line to a server behind a WebSocket: one JSON-RPC message in each text frame, subprotocol `mcp` (the custom transport that SDKs and bridges share).
import { Refusal } from '../kit/refusal.ts'
import type { Dial, DialSocket, Socket } from '../ports/lines.ts'
import { refusalOf } from './legacy-sse-dial.ts'
import { createBeat, holdBack } from './websocket-beat.ts'

export interface SocketDialDeps {
  readonly socket: DialSocket
  readonly url: string
  readonly service: string
  readonly maxBytes: number
  readonly heartbeatMs: number
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
  const { status, authenticate, code, message } = error as { readonly status?: number; readonly authenticate?: readonly string[]; readonly code?: string; readonly message?: string }
  if (status !== undefined) return refusalOf(status, service, authenticate)
  return new Refusal(code === 'ETIMEDOUT' ? 'upstream.timeout' : 'upstream.unreachable', `${service}: ${code ?? message ?? String(error)}`)
}

export const createSocketDial = ({ socket: open, url, service, maxBytes, heartbeatMs }: SocketDialDeps): Dial => async ({ headers, timeoutMs }, events) => {
  let closed = false
  let socket: Socket | undefined
  // One after the other: a slow reader of one message holds the next.
  let behind: Promise<unknown> = Promise.resolve()
  const over = (why: string): void => {
    beat.stop()
    if (closed) return
    closed = true
    events.ended(why)
  }
  const beat = createBeat(heartbeatMs, () => socket, () => over(`${service} answers no ping`))
  const text = (message: string): void => {
    if (beat.hear(message)) return
    behind = behind.then(() => events.message(message)).catch(() => undefined)
    holdBack(socket, behind.then(() => undefined))
  }
  const binary = (): void => {
    socket?.close(1003, 'text only')
    over(`${service} sent a binary frame`)
  }
  try {
    socket = await open(url, { headers: handshakeFields(headers), timeoutMs, maxBytes }, { text, binary, alive: beat.alive, closed: (code) => over(`${service} closed with ${code}`) })
  } catch (error) {
    beat.stop()
    closed = true
    throw handshakeRefusal(error, service)
  }
  const made = socket
  return {
    async send(message) {
      if (closed) throw new Refusal('session.unknown', `${service}: the socket is closed`)
      await made.send(message)
    },
    close() {
      beat.stop()
      closed = true
      made.close(1000, '')
    },
  }
}
