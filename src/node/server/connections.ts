// Shuts servers down in order: no new connections, every call in flight to its end, and no connection closed
// while its client is about to use it.
import { readFileSync } from 'node:fs'
import type { Server, ServerResponse } from 'node:http'
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net'
import { networkOf } from '../../kit/addresses.ts'
import { fieldOf } from '../../kit/http.ts'
import type { Directory, Service } from '../../ports/services.ts'

export interface Drain {
  /** The responses in progress. */
  answers(): readonly ServerResponse[]
  /** Must be called for each server before it listens. */
  watch(server: Server): void
  /**
   * Stops listening and resolves with true when all connections have ended by themselves, with false when the
   * rest was cut off after `graceMs`. The request handler marks requests that begin meanwhile as the last of
   * their connection.
   */
  drain(times: DrainTimes): Promise<boolean>
}

export interface DrainTimes {
  readonly graceMs: number
  /**
   * How long an idle connection stays open (default: not at all). Its client may just be sending a request,
   * which gets a response with `Connection: close`. Closing at once would lose requests that a client must
   * not repeat by itself (RFC 9110 §9.2.2).
   */
  readonly lingerMs?: number
}

const tickMs = 50
const quietMs = 1
const mostTurns = 100

/** The response in progress on a connection, as node:http notes it on the socket. */
export const answerOn = (socket: Socket): ServerResponse | undefined =>
  (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined

/**
 * A connection that the system has accepted but not handed over dies with the listening socket. So the socket
 * is closed after a turn of the event loop that accepted everything there was and had next to nothing else to
 * do.
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

// Binds the gateway's address; `localhost` means both loopback addresses.

/**
 * Clients differ in which of the two they try first for `localhost` (RFC 6761 §6.3, RFC 8305 §4), and some
 * try only one. With only one bound, any other user of this computer could bind the other one and receive
 * what is sent there.
 */
const addressesOf = (host: string): readonly string[] =>
  host.toLowerCase() === 'localhost' ? ['127.0.0.1', '::1'] : [host]

/** This computer has no such address: IPv6 or, rarely, IPv4 is disabled. */
const absent = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL'])
/** A port that is free on one address may be taken on the other. */
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

/**
 * Creates a server for each address of the host, binds them all to one port, and returns the port. Rejects
 * with Node's own error (EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOTFOUND), which names the address.
 */
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

// The connection limit: as many as the process can serve with the files that it may have open.

/** More than one process can use. */
const most = 20_000
const least = 64
/** For the database, the log and idle upstream connections. */
const kept = 400

/**
 * From the limits of the process (proc_pid_limits(5)). A proxied call needs two files: the client's
 * connection and the upstream's.
 */
export const limitFor = (limits: string): number => {
  const [, files] = /^Max open files\s+(\d+)/m.exec(limits) ?? []
  return files === undefined ? most : Math.max(least, Math.min(most, Math.floor((Number(files) - kept) / 2)))
}

/**
 * Without this limit, a server that ran out of files could reach neither its database nor an upstream for the
 * clients it already serves.
 */
export const connectionLimit = (): number => {
  try {
    return limitFor(readFileSync('/proc/self/limits', 'utf8'))
  } catch {
    return most
  }
}

// Eviction: a full server closes an idle connection for each new one, so that no number of idle connections
// keeps clients out.

/** The connections of one network, the oldest first. */
type Network = Set<Socket>

/**
 * The oldest connection without any request, else the oldest between two requests. Connections with a
 * response in progress, and upgraded ones, stay.
 */
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
 * Holds a server to `most` connections. The network with the most connections loses one first; a network is
 * an IPv4 address or a /64. When all have a response in progress, the new connection is closed. `nameOf`: the
 * network of an address.
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
  // Many may come in one turn of the event loop, before closed ones are gone. Connections without a request
  // use no upstream connection, so there are files for them.
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
    // It no longer counts: many may come before its close event.
    forget(closing, nameOf(closing.remoteAddress ?? ''))
    closing.destroy()
  })
}

// Ends what is open of a removed service: streams at once, calls without a response after a moment.

/** Streams of a removed service end within five seconds; this is the limit for its calls. */
const graceMs = 4000

const pathOf = (url: string): string => url.split('?', 1)[0] as string

/**
 * `answers`: the responses in progress. `locate`: how paths were resolved before the services were removed.
 */
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
  // Cut off, never ended in order: an incomplete response must not look complete.
  for (const answer of going) if (answer.headersSent) answer.destroy()
  const waiting = going.filter((answer) => !answer.destroyed)
  if (waiting.length > 0)
    setTimeout(() => waiting.forEach((answer) => answer.writableEnded || answer.destroy()), graceMs).unref()
}
