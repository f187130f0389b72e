// A WebSocket of Node as the core sees it.
import type { RawData, WebSocket } from 'ws'
import type { Socket, SocketEvents } from '../ports/lines.ts'

/** What may lie unsent before the sender has to wait, bytes. */
const roomBytes = 1_048_576

const textOf = (data: RawData): string => (Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)).toString('utf8')

export const socketOf = (ws: WebSocket, events: SocketEvents): Socket => {
  ws.on('message', (data: RawData, binary: boolean) => {
    if (binary) events.binary()
    else events.text(textOf(data))
  })
  ws.on('pong', () => events.alive())
  ws.on('ping', () => events.alive())
  // The close that follows says all there is to say.
  ws.on('error', () => undefined)
  ws.on('close', (code: number, reason: Buffer) => events.closed(code, reason.toString('utf8')))
  return {
    send(text) {
      if (ws.readyState !== ws.OPEN) return undefined
      if (ws.bufferedAmount < roomBytes) {
        ws.send(text, () => undefined)
        return undefined
      }
      // A socket that dies calls back as well, with an error nobody here needs.
      return new Promise((resolve) => {
        ws.send(text, () => resolve())
      })
    },
    close(code, reason) {
      ws.close(code, reason)
    },
    cut: () => ws.terminate(),
    ping: () => {
      if (ws.readyState === ws.OPEN) ws.ping()
    },
    pause: () => ws.pause(),
    resume: () => ws.resume(),
  }
}
