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
  drain(graceMs: number): Promise<boolean>
}

/**
 * A connection between two requests stays open for this long: its client, which cannot know, may be sending the next one, and is answered with
 * `Connection: close`. Closing at once would lose requests that no client may repeat by itself (RFC 9110 §9.2.2).
 */
const lingerMs = 500
const tickMs = 50

/** The answer that is being given on a connection, as node:http notes it on the socket. */
const answerOn = (socket: Socket): ServerResponse | undefined => (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined

const stopListening = (server: Server): Promise<void> =>
  // Not http's own close(), which would also close the connections that are between two requests.
  new Promise((resolve) => void NetServer.prototype.close.call(server, () => resolve()))

export const createDrain = (): Drain => {
  const servers: Server[] = []
  const sockets = new Set<Socket>()
  const closeSilent = (which: (socket: Socket) => boolean): void => {
    for (const socket of sockets) if (!answerOn(socket) && which(socket)) socket.destroy()
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
    async drain(graceMs) {
      const closed = Promise.all(servers.map(stopListening))
      for (const socket of sockets) {
        const answer = answerOn(socket)
        if (answer && !answer.headersSent) answer.shouldKeepAlive = false
      }
      // Browsers open connections ahead of need; nobody misses those.
      closeSilent(({ bytesRead }) => bytesRead === 0)
      const began = performance.now()
      let clean = true
      const tick = setInterval(() => {
        const time = performance.now() - began
        if (time >= lingerMs) closeSilent(() => true)
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
