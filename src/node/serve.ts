// The Node door: one node:http server for both ways. A proxied address goes down the fast pipe, the rest the plain way.
import { randomFillSync } from 'node:crypto'
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import type { Gateway } from '../gateway.ts'
import { fieldOf } from '../kit/http.ts'
import type { RequestContext } from '../ports/runtime.ts'
import { type ForwardDeps, createForward } from './proxy/forward.ts'
import { type DrainTimes, createDrain, listen, endStreamsOfRemoved } from './server/connections.ts'
import { installGuards, validateRequest, isRoutable, proceed, serverOptions } from './server/request-guard.ts'
import { createUpgrade } from './websocket.ts'

// Ids of requests: 96 random bits each, drawn from the system's source in large pieces.

const idBytes = 12
const drawn = 512

export const createRequestIds = (): (() => string) => {
  const pool = Buffer.allocUnsafeSlow(idBytes * drawn)
  let at = pool.length
  return () => {
    if (at === pool.length) {
      randomFillSync(pool)
      at = 0
    }
    at += idBytes
    return pool.toString('base64url', at - idBytes, at)
  }
}

// Who is at the other end of the socket: the peer, or the first address behind the proxies the operator listed.

const bare = (address: string): string =>
  address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address

const listed = (entries: readonly string[]): BlockList => {
  const list = new BlockList()
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(bits), family)
  }
  return list
}

export interface ClientAddress {
  /** `(peer, X-Forwarded-For) → address`: walks the header from the right, past trusted proxies only; anything malformed ends the walk. */
  address(peer: string | undefined, forwardedFor: string | undefined): string
  /** Whether the peer is a proxy that the operator listed. */
  trusts(peer: string | undefined): boolean
}

export const createClientAddress = (trustedProxies: readonly string[]): ClientAddress => {
  const trusted = listed(trustedProxies)
  const trusts = (address: string): boolean =>
    isIP(address) !== 0 && trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
  return {
    address(peer, forwardedFor) {
      let address = bare(peer ?? '')
      if (trustedProxies.length === 0) return address
      const hops = (forwardedFor ?? '').split(',').map((hop) => bare(hop.trim()))
      for (let hop = hops.pop(); hop !== undefined && trusts(address) && isIP(hop) !== 0; hop = hops.pop())
        address = hop
      return address
    },
    trusts: (peer) => trusts(bare(peer ?? '')),
  }
}

// Who comes with a request, whether their connection is encrypted, and the id under which it is written down.

/** Of a list the first value is the caller's connection; each proxy appends its own. Only a proxy that the operator listed is believed. */
const saysPlain = (visitor: ClientAddress, { headers, socket }: IncomingMessage): boolean => {
  const proto = headers['x-forwarded-proto']
  return (
    typeof proto === 'string' &&
    proto.split(',')[0]?.trim().toLowerCase() === 'http' &&
    visitor.trusts(socket.remoteAddress)
  )
}

export const createRequestContexts = (
  trustedProxies: readonly string[],
): ((request: IncomingMessage) => RequestContext) => {
  const visitor = createClientAddress(trustedProxies)
  const nextId = createRequestIds()
  // `request.headers` builds an object of all fields; most calls are decided without one.
  if (trustedProxies.length === 0)
    return ({ socket }) => ({ requestId: nextId(), ip: visitor.address(socket.remoteAddress, undefined) })
  return (request) => ({
    requestId: nextId(),
    ip: visitor.address(
      request.socket.remoteAddress,
      request.headers['x-forwarded-for'] as string | undefined,
    ),
    ...(saysPlain(visitor, request) && { plainHttp: true }),
  })
}

export interface Listening {
  readonly port: number
  /** Gives the server its gateway. Requests that came earlier wait for it. */
  open(gateway: Gateway): void
  /** Stops listening, lets calls finish, ends idle streams. Resolves with true when all was finished, with false when what was left after `graceMs` was cut off. */
  drain(times: DrainTimes): Promise<boolean>
}

interface ServeOptions {
  readonly host: string
  readonly port: number
  readonly trustedProxies: readonly string[]
  readonly now: () => number
  /** Resolver for servers that may be on public addresses alone; default: the system's. */
  readonly lookup?: ForwardDeps['lookup']
  /** Forward proxies on the way out; default: none. */
  readonly proxies?: ForwardDeps['proxies']
}

/** How often this process looks whether another one added or removed a service. */
const watchMs = 400

const pathOf = (target: string): string => {
  const query = target.indexOf('?')
  return query === -1 ? target : target.slice(0, query)
}

type Door = (request: IncomingMessage, response: ServerResponse) => void
type UpgradeDoor = NonNullable<NonNullable<Parameters<typeof installGuards>[1]>['upgrade']>

const createDoor = (
  gateway: Gateway,
  options: ServeOptions,
): { readonly door: Door; readonly upgrade: UpgradeDoor; close(): void } => {
  const visitOf = createRequestContexts(options.trustedProxies)
  const forward = createForward({
    admit: gateway.admit,
    refuse: gateway.refuse,
    now: options.now,
    lookup: options.lookup,
    proxies: options.proxies,
  })
  const upgrades = createUpgrade(gateway)
  const visits = new WeakMap<IncomingMessage, RequestContext>()
  const plain = getRequestListener(
    (request, env) =>
      gateway.fetch(request, visits.get((env as { incoming: IncomingMessage }).incoming) as RequestContext),
    { overrideGlobalObjects: false },
  )
  const door: Door = (request, response) => {
    const visit = visitOf(request)
    const refusal = validateRequest(request)
    if (refusal) {
      const answer = gateway.refuse(refusal, {
        method: request.method ?? '',
        target: request.url ?? '',
        rawHeaders: request.rawHeaders,
        ...visit,
      })
      response.writeHead(answer.status, [...answer.headers, 'connection', 'close']).end(answer.body)
      return
    }
    const { method = '', url = '/' } = request
    const fields = method === 'POST' ? undefined : request.headers
    const host = gateway.directory.hosted ? fieldOf(request.rawHeaders, 'host') : undefined
    const authorized = fields?.authorization !== undefined
    const located = gateway.locateCall(method, pathOf(url), fields?.accept, authorized, host)
    if (located) {
      forward.serve(request, response, visit, located)
      return
    }
    visits.set(request, isRoutable(url) ? visit : { ...visit, unroutable: true })
    proceed(request, response)
    // The plain way answers its own faults; what is left is a socket that died.
    plain(request, response).catch(() => response.destroy())
  }
  return {
    door,
    upgrade: (request, socket, head) => upgrades.serve(request, socket, head, visitOf(request)),
    close() {
      forward.close()
      upgrades.close()
    },
  }
}

/** Binds the address; `localhost` means both loopback addresses. Rejects with Node's own error (EADDRINUSE, EACCES, EADDRNOTAVAIL) when it cannot. */
export const serve = async (options: ServeOptions): Promise<Listening> => {
  let ready: (door: Door) => void
  const opened = new Promise<Door>((resolve) => {
    ready = resolve
  })
  let current: Door = (request, response) => void opened.then((door) => door(request, response))
  let currentUpgrade: UpgradeDoor = () => false
  let closeForward = (): void => undefined
  const leaving = createDrain()
  const port = await listen(options.host, options.port, () => {
    const server = createServer(serverOptions, (request, response) => current(request, response))
    installGuards(server, { upgrade: (request, socket, head) => currentUpgrade(request, socket, head) })
    leaving.watch(server)
    return server
  })
  return {
    port,
    open(gateway) {
      const { door, upgrade, close } = createDoor(gateway, options)
      currentUpgrade = upgrade
      const look = (): void => void gateway.supply.refresh()
      look()
      const watching = setInterval(look, watchMs).unref()
      gateway.supply.onGone((gone, locate) => endStreamsOfRemoved(leaving.answers, gone, locate))
      closeForward = () => {
        clearInterval(watching)
        close()
      }
      current = door
      ready(door)
    },
    drain(times) {
      const door = current
      current = (request, response) => {
        response.shouldKeepAlive = false
        door(request, response)
      }
      closeForward()
      return leaving.drain(times)
    },
  }
}
