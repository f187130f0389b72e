// A full server: a connection on which nothing is asked makes room for who comes, so that no number of silent or idle ones keeps anybody out (hostile case R2).
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { networkOf } from '../kit/addresses.ts'
import { answerOn } from './drain.ts'

/** The connections of one network, the oldest first. */
type Network = Set<Socket>

/** The oldest that never asked, else the oldest between two requests. Whatever is being answered, or is no HTTP any more, stays. */
const idleOf = (network: Network, silent: ReadonlySet<Socket>, upgraded: ReadonlySet<Socket>): Socket | undefined => {
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
export const makeRoom = (server: Server, most: number, nameOf: (address: string) => string = networkOf): void => {
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
