// WebSockets on Workers: the runtime answers pings by itself and tells nothing of them.
import type { Socket, SocketEvents } from '../ports/lines.ts'

const sendable = (code: number): boolean => code === 1000 || (code >= 3000 && code <= 4999) || (code > 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code))

export const socketOf = (ws: WorkerSocket, events: SocketEvents): Socket => {
  let over = false
  const closed = (code: number, reason: string): void => {
    if (over) return
    over = true
    events.closed(code, reason)
  }
  ws.addEventListener('message', ({ data }) => {
    if (typeof data === 'string') events.text(data)
    else events.binary()
  })
  ws.addEventListener('close', ({ code, reason }) => closed(code, reason))
  ws.addEventListener('error', () => closed(1006, ''))
  const end = (code: number, reason: string): void => {
    try {
      ws.close(sendable(code) ? code : 1000, reason)
    } catch {
      // Closed already.
    }
  }
  return {
    send(text) {
      if (!over) ws.send(text)
    },
    close: end,
    cut: () => end(1011, ''),
  }
}
