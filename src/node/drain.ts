// Takes servers down in order: nobody new, everybody who is being served to the end, and no connection closed while its client is about to use it.
import type { Server, ServerResponse } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'

export interface Drain {
  /** The answers that are being given at the moment. */
  answers(): readonly ServerResponse[]
  /** To be told of each server before it listens. */
  watch(server: Server): void
  /**
   * Stops listening and resolves with true when all connections have ended by themselves, with false when those left after `graceMs` were cut off. Who answers the
   * requests marks those that begin meanwhile as the last of their connection.
   */
  drain(times: DrainTimes): Promise<boolean>
}

export interface DrainTimes {
  readonly graceMs: number
  /**
   * How long a connection between two requests, or before its first, stays open (default: not at all). Its client, which cannot know, may be sending the next one, and
   * is answered with `Connection: close`. Closing at once would lose requests that no client may repeat by itself (RFC 9110 §9.2.2).
   */
  readonly lingerMs?: number
}

const tickMs = 50
const quietMs = 1
const mostTurns = 100

/** The answer that is being given on a connection, as node:http notes it on the socket. */
export const answerOn = (socket: Socket): ServerResponse | undefined => (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined

/**
 * A connection that the system has made and not handed over yet dies with the listening socket. So that is closed in a turn of the event loop which took what there was
 * and had next to nothing else to do.
 */
const quietTurn = async (): Promise<void> => {
  for (let turn = 0; turn < mostTurns; turn++) {
    const before = performance.now()
    await new Promise((resolve) => void setImmediate(resolve))
    if (turn > 0 && performance.now() - before < quietMs) return
  }
}

const stopListening = (server: Server): Promise<void> =>
  // Not http's own close(), which would also close the connections that are between two requests.
  new Promise((resolve) => void NetServer.prototype.close.call(server, () => resolve()))

export const createDrain = (): Drain => {
  const servers: Server[] = []
  const sockets = new Set<Socket>()
  const closeSilent = (): void => {
    for (const socket of sockets) if (!answerOn(socket)) socket.destroy()
  }
  return {
    answers: () => [...sockets].flatMap((socket) => answerOn(socket) ?? []),
    watch(server) {
      servers.push(server)
      server.on('connection', (socket) => {
        sockets.add(socket)
        socket.once('close', () => sockets.delete(socket))
      })
    },
    async drain({ graceMs, lingerMs = 0 }) {
      await quietTurn()
      const closed = Promise.all(servers.map(stopListening))
      for (const socket of sockets) {
        const answer = answerOn(socket)
        if (answer && !answer.headersSent) answer.shouldKeepAlive = false
      }
      const began = performance.now()
      let clean = true
      const tick = setInterval(() => {
        const time = performance.now() - began
        if (time >= lingerMs) closeSilent()
        if (time < graceMs) return
        clean &&= sockets.size === 0
        for (const socket of sockets) socket.destroy()
      }, tickMs)
      await closed
      clearInterval(tick)
      // Now http's own, for the timers it keeps.
      for (const server of servers) server.close()
      return clean
    },
  }
}
