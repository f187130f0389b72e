// Takes servers down in order: nobody new, everybody who is being served to the end, and no connection closed while its client is about to use it.
import { readFileSync } from 'node:fs'
import type { Server, ServerResponse } from 'node:http'
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net'
import { networkOf } from '../../kit/addresses.ts'
import { fieldOf } from '../../kit/http.ts'
import type { Directory, Service } from '../../ports/services.ts'

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
export const answerOn = (socket: Socket): ServerResponse | undefined =>
  (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined

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

// Binds the gateway's address; `localhost` is both of this computer's own addresses.

/**
 * Clients differ in which of the two they try first for `localhost` (RFC 6761 §6.3, RFC 8305 §4), and some try only one. Who held one of them alone
 * would leave the other, and what is sent there, to any other user of this computer.
 */
const addressesOf = (host: string): readonly string[] =>
  host.toLowerCase() === 'localhost' ? ['127.0.0.1', '::1'] : [host]

/** This computer has no such address: IPv6 or, rarely, IPv4 is turned off. */
const absent = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL'])
/** A free port of one address may be taken at the other. */
const mostTries = 20

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? ''

const bind = (server: Server, host: string, port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve((server.address() as AddressInfo).port)
    })
  })

const bindAll = async (hosts: readonly string[], wanted: number, create: () => Server): Promise<number> => {
  const servers: Server[] = []
  let port = wanted
  let missing: unknown
  for (const host of hosts) {
    const server = create()
    try {
      port = await bind(server, host, port)
      servers.push(server)
    } catch (error) {
      if (hosts.length > 1 && absent.has(codeOf(error))) {
        missing = error
        continue
      }
      for (const bound of servers) bound.close()
      throw error
    }
  }
  if (servers.length === 0) throw missing
  return port
}

/** Makes a server for each address of the host and binds them all to one port, which it answers. Rejects with Node's own error (EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOTFOUND), which names the address. */
export const listen = async (host: string, port: number, create: () => Server): Promise<number> => {
  const hosts = addressesOf(host)
  for (let tries = 1; ; tries++) {
    try {
      return await bindAll(hosts, port, create)
    } catch (error) {
      if (port !== 0 || hosts.length === 1 || codeOf(error) !== 'EADDRINUSE' || tries >= mostTries)
        throw error
    }
  }
}

// How many connections the gateway takes: as many as it can serve with the files this process may have open.

/** More than any gateway of one process has use for. */
const most = 20_000
const least = 64
/** The database, the log, upstream connections that wait for their next call. */
const kept = 400

/** From what the system says of the process (proc_pid_limits(5)); a proxied call needs two files, the caller's connection and the upstream's. */
export const limitFor = (limits: string): number => {
  const [, files] = /^Max open files\s+(\d+)/m.exec(limits) ?? []
  return files === undefined ? most : Math.max(least, Math.min(most, Math.floor((Number(files) - kept) / 2)))
}

/** Without a cap of its own a server that ran out of files could reach neither its database nor an upstream for those it serves already. */
export const connectionLimit = (): number => {
  try {
    return limitFor(readFileSync('/proc/self/limits', 'utf8'))
  } catch {
    return most
  }
}

// A full server: a connection on which nothing is asked makes room for who comes, so that no number of silent or idle ones keeps anybody out (hostile case R2).

/** The connections of one network, the oldest first. */
type Network = Set<Socket>

/** The oldest that never asked, else the oldest between two requests. Whatever is being answered, or is no HTTP any more, stays. */
const idleOf = (
  network: Network,
  silent: ReadonlySet<Socket>,
  upgraded: ReadonlySet<Socket>,
): Socket | undefined => {
  let idle: Socket | undefined
  for (const socket of network) {
    if (silent.has(socket)) return socket
    if (idle === undefined && !upgraded.has(socket) && !answerOn(socket)) idle = socket
  }
  return idle
}

/**
 * Holds a server to `most` connections. The network that has the most of them gives one up first; a network is an IPv4 address or a /64. When all are being answered,
 * it is the newcomer who is closed. `nameOf`: the network of an address.
 */
export const evictIdle = (
  server: Server,
  most: number,
  nameOf: (address: string) => string = networkOf,
): void => {
  const networks = new Map<string, Network>()
  const silent = new Set<Socket>()
  const upgraded = new Set<Socket>()
  let open = 0
  // Many may come in one turn of the event loop, in which nobody closed is gone yet. Who has not asked needs no connection to an upstream: the files for it are free.
  server.maxConnections = most * 2
  server.on('request', ({ socket }) => void silent.delete(socket))
  server.on('upgrade', ({ socket }) => {
    silent.delete(socket)
    upgraded.add(socket)
  })
  const leastNeeded = (): Socket | undefined => {
    for (const network of [...networks.values()].toSorted((a, b) => b.size - a.size)) {
      const idle = idleOf(network, silent, upgraded)
      if (idle) return idle
    }
    return undefined
  }
  const forget = (socket: Socket, name: string): void => {
    const network = networks.get(name)
    if (!network?.delete(socket)) return
    if (network.size === 0) networks.delete(name)
    open--
    silent.delete(socket)
    upgraded.delete(socket)
  }
  server.on('connection', (socket) => {
    const name = nameOf(socket.remoteAddress ?? '')
    const network = networks.get(name) ?? new Set()
    networks.set(name, network.add(socket))
    silent.add(socket)
    open++
    socket.once('close', () => forget(socket, name))
    if (open <= most) return
    const closing = leastNeeded() ?? socket
    // It counts no more from here on: many may come before it says that it is closed.
    forget(closing, nameOf(closing.remoteAddress ?? ''))
    closing.destroy()
  })
}

// What is still open of a service that is gone: streams end at once, calls that have not been answered get a moment to finish.

/** Streams of a removed service end within five seconds; nothing of it may outlast this. */
const graceMs = 4000

const pathOf = (url: string): string => url.split('?', 1)[0] as string

/** `answers`: those being given at the moment. `locate`: how paths were found before the services went. */
export const endStreamsOfRemoved = (
  answers: () => Iterable<ServerResponse>,
  gone: readonly Service[],
  locate: Directory['locate'],
): void => {
  const dead = new Set(gone)
  const isOf = ({ req }: ServerResponse): boolean => {
    const service = locate(pathOf(req.url ?? '/'), fieldOf(req.rawHeaders, 'host'))?.address.service
    return service !== undefined && dead.has(service)
  }
  const going = [...answers()].filter(isOf)
  // Cut, never ended in order: an answer that lacks its rest must not look whole.
  for (const answer of going) if (answer.headersSent) answer.destroy()
  const waiting = going.filter((answer) => !answer.destroyed)
  if (waiting.length > 0)
    setTimeout(() => waiting.forEach((answer) => answer.writableEnded || answer.destroy()), graceMs).unref()
}
