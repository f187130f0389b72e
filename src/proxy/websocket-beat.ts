// The heartbeat of a WebSocket: a ping at each beat, and an end when two beats brought nothing (RFC 6455 §5.5.2), because a peer that vanished closes nothing.
import type { Socket } from '../ports/lines.ts'

export interface Beat {
  /** The peer was heard. */
  alive(): void
  stop(): void
}

/** `socket`: once it is there. `dead`: called at most once, after the socket has been cut. */
export const createBeat = (everyMs: number, socket: () => Socket | undefined, dead: () => void): Beat => {
  let heard = true
  const timer = setInterval(() => {
    const open = socket()
    if (!open?.ping) return
    if (heard) {
      heard = false
      open.ping()
      return
    }
    clearInterval(timer)
    open.cut()
    dead()
  }, everyMs)
  return { alive: () => void (heard = true), stop: () => clearInterval(timer) }
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
