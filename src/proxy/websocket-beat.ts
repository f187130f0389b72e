// The heartbeat of a WebSocket: a ping at each beat, and an end when two beats brought nothing (RFC 6455 §5.5.2), because a peer that vanished closes nothing.
import type { Socket } from '../ports/lines.ts'
import { messagesOf } from './rpc-text.ts'

export interface Beat {
  /** The peer was heard. */
  alive(): void
  /** A message of the peer. True: it answered a beat, and nobody else is to hear of it. */
  hear(text: string): boolean
  stop(): void
}

/** Of the ids of our own requests; nobody else's begin like this. */
const mark = 'postern-beat-'

const answers = (text: string): boolean =>
  text.includes(mark) && messagesOf(text).some(({ message }) => message['method'] === undefined && typeof message['id'] === 'string' && message['id'].startsWith(mark))

/**
 * `socket`: once it is there. `dead`: called at most once, after the socket has been cut. Where the runtime sends no ping frames the ping is that of MCP (2025-11-25
 * utilities, Ping): idle sockets are cut on the way otherwise. Who never answered one of those may not know them, and is left alone.
 */
export const createBeat = (everyMs: number, socket: () => Socket | undefined, dead: () => void): Beat => {
  let heard = true
  let answered = false
  let beats = 0
  const timer = setInterval(() => {
    const open = socket()
    if (!open) return
    if (!heard && (open.ping || answered)) {
      clearInterval(timer)
      open.cut()
      dead()
      return
    }
    heard = false
    beats++
    if (open.ping) open.ping()
    else Promise.resolve(open.send(JSON.stringify({ jsonrpc: '2.0', id: `${mark}${beats}`, method: 'ping' }))).catch(() => undefined)
  }, everyMs)
  return {
    alive: () => void (heard = true),
    hear(text) {
      heard = true
      const own = beats > 0 && answers(text)
      answered ||= own
      return own
    },
    stop: () => clearInterval(timer),
  }
}

/** Holds the sender back while what it sent is still on its way to the other end. */
export const holdBack = (sender: Socket | undefined, slow: void | Promise<void>, failed: () => void = () => undefined): void => {
  if (!slow) return
  sender?.pause?.()
  slow.then(() => sender?.resume?.(), failed)
}

/** Codes that may stand in a close frame (RFC 6455 §7.4); the others are for the inside of one end. */
export const closeCode = (code: number): number => {
  if (code === 1005) return 1000
  return (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1006) || (code >= 3000 && code <= 4999) ? code : 1011
}
