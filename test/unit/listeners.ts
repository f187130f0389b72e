// Real listeners on this machine for tests of outbound connections, and a resolver that answers as told.
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Lookup } from '../../src/node/outbound.ts'

export interface Listeners {
  /** Open connections, as the servers see them. */
  readonly sockets: ReadonlySet<Socket>
  /** Resolves with the port. */
  listen(server: Server): Promise<number>
  /** Resolves with the origin. */
  serve(listener: RequestListener): Promise<string>
  /** A listener that only counts. */
  trap(): Promise<{
    readonly port: number
    readonly seen: { readonly connections: number; readonly bytes: number }
  }>
  /** A port nobody listens on. */
  closedPort(): Promise<number>
  close(): void
}

export const createListeners = (): Listeners => {
  const open: Server[] = []
  const sockets = new Set<Socket>()
  const listen = async (server: Server): Promise<number> => {
    server.on('connection', (socket: Socket) =>
      sockets.add(socket.once('close', () => sockets.delete(socket))),
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    open.push(server)
    return (server.address() as AddressInfo).port
  }
  return {
    sockets,
    listen,
    serve: async (listener) => `http://127.0.0.1:${await listen(createServer(listener))}`,
    async trap() {
      const seen = { connections: 0, bytes: 0 }
      const count = (socket: Socket): void => {
        seen.connections += 1
        socket.on('data', (data) => (seen.bytes += data.length)).on('error', () => undefined)
      }
      return { port: await listen(createTcpServer(count)), seen }
    },
    async closedPort() {
      const server = createTcpServer()
      const port = await listen(server)
      server.close()
      await once(server, 'close')
      return port
    },
    close() {
      for (const server of open.splice(0)) server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** A resolver that gives every name these addresses, and remembers what it was asked. */
export const answering = (...addresses: string[]): { readonly lookup: Lookup; readonly asked: string[] } => {
  const asked: string[] = []
  const lookup: Lookup = (host) => {
    asked.push(host)
    return Promise.resolve(addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })))
  }
  return { lookup, asked }
}
