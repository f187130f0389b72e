// Binds the gateway's address; `localhost` means both loopback addresses.
import type { AddressInfo, Server, Socket } from 'node:net'

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

/** Connections that another process has accepted. */
export interface HandedConnections {
  readonly port: number
  /** Calls it with each, from now on. */
  connections(taken: (socket: Socket) => void): void
}

/** The same as `listen`, for a server that is handed its connections. */
export const takeConnections = ({ port, connections }: HandedConnections, create: () => Server): number => {
  const server = create()
  // Only then does it watch for clients that are slow to send a request.
  server.emit('listening')
  connections((socket) => {
    socket.setNoDelay(true)
    server.emit('connection', socket)
    socket.resume()
  })
  return port
}
