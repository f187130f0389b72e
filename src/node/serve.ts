// The Node door: one node:http server for both ways. A proxied address goes down the fast pipe, the rest the plain way.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import type { Gateway } from '../gateway.ts'
import type { Visit } from '../ports/runtime.ts'
import { createForward } from './forward.ts'
import { harden, inspect, proceed, serverOptions } from './hygiene.ts'
import { createRequestIds } from './request-ids.ts'
import { createVisitor } from './visitor.ts'

export interface Listening {
  readonly host: string
  readonly port: number
  /** Gives the server its gateway. Requests that came earlier wait for it. */
  open(gateway: Gateway): void
  /** Stops listening, lets calls finish, ends idle streams, and resolves when the last is gone or `graceMs` is over. */
  drain(graceMs: number): Promise<void>
}

interface ServeOptions {
  readonly host: string
  readonly port: number
  readonly trustedProxies: readonly string[]
  readonly now: () => number
}

const pathOf = (target: string): string => {
  const query = target.indexOf('?')
  return query === -1 ? target : target.slice(0, query)
}

type Door = (request: IncomingMessage, response: ServerResponse) => void

const createDoor = (gateway: Gateway, options: ServeOptions): { readonly door: Door; close(): Promise<void> } => {
  const visitor = createVisitor(options.trustedProxies)
  const forward = createForward({ admit: gateway.admit, refuse: gateway.refuse, now: options.now })
  const nextId = createRequestIds()
  const behindProxies = options.trustedProxies.length > 0
  const visits = new WeakMap<IncomingMessage, Visit>()
  const plain = getRequestListener((request, env) => gateway.fetch(request, visits.get((env as { incoming: IncomingMessage }).incoming) as Visit), { overrideGlobalObjects: false })
  const door: Door = (request, response) => {
    // `request.headers` builds an object of all fields; most calls are decided without one.
    const visit: Visit = { requestId: nextId(), ip: visitor(request.socket.remoteAddress, behindProxies ? (request.headers['x-forwarded-for'] as string | undefined) : undefined) }
    const refusal = inspect(request)
    if (refusal) {
      const answer = gateway.refuse(refusal, { rawHeaders: request.rawHeaders, requestId: visit.requestId })
      response.writeHead(answer.status, [...answer.headers, 'connection', 'close']).end(answer.body)
      return
    }
    const { method = '', url = '/' } = request
    const fields = method === 'POST' ? undefined : request.headers
    if (gateway.proxied(method, pathOf(url), fields?.accept, fields?.authorization !== undefined)) {
      forward.serve(request, response, visit)
      return
    }
    visits.set(request, visit)
    proceed(request, response)
    // The plain way answers its own faults; what is left is a socket that died.
    plain(request, response).catch(() => response.destroy())
  }
  return { door, close: () => forward.close() }
}

const listening = (server: Server, host: string, port: number): Promise<AddressInfo> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve(server.address() as AddressInfo)
    })
  })

/** Binds the address; rejects with Node's own error (EADDRINUSE, EACCES, EADDRNOTAVAIL) when it cannot. */
export const serve = async (options: ServeOptions): Promise<Listening> => {
  let ready: (door: Door) => void
  const opened = new Promise<Door>((resolve) => {
    ready = resolve
  })
  let current: Door = (request, response) => void opened.then((door) => door(request, response))
  let closeForward = (): Promise<void> => Promise.resolve()
  const server = createServer(serverOptions, (request, response) => current(request, response))
  harden(server)
  const { address, port } = await listening(server, options.host, options.port)
  return {
    host: address,
    port,
    open(gateway) {
      const { door, close } = createDoor(gateway, options)
      closeForward = close
      current = door
      ready(door)
    },
    async drain(graceMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeIdleConnections()
      const deadline = setTimeout(() => server.closeAllConnections(), graceMs)
      await closeForward()
      await closed
      clearTimeout(deadline)
    },
  }
}
