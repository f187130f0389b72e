// The HTTP server on Node. Proxied calls take the fast path (node/proxy); everything else goes to
// `gateway.fetch`.
import { randomFillSync } from 'node:crypto'
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import type { Gateway } from '../gateway.ts'
import { fieldOf } from '../kit/http.ts'
import type { RequestContext } from '../ports/runtime.ts'
import { type ForwardDeps, createForward } from './proxy/forward.ts'
import { type DrainTimes, createDrain, listen, endStreamsOfRemoved } from './server/connections.ts'
import { protectServer, validateRequest, isRoutable, proceed, serverOptions } from './server/request-guard.ts'
import { createUpgrade } from './websocket.ts'

// Request ids: 96 random bits each, generated in batches.

const idBytes = 12
const idsPerBatch = 512

export const createRequestIds = (): (() => string) => {
  const pool = Buffer.allocUnsafeSlow(idBytes * idsPerBatch)
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

// The client's address: the peer's, or the first one behind the trusted proxies.

const bare = (address: string): string =>
  address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address

const blockListOf = (entries: readonly string[]): BlockList => {
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
  /** Reads X-Forwarded-For from the right, past trusted proxies only, and stops at anything malformed. */
  address(peer: string | undefined, forwardedFor: string | undefined): string
  /** Whether the peer is a trusted proxy. */
  trusts(peer: string | undefined): boolean
}

export const createClientAddress = (trustedProxies: readonly string[]): ClientAddress => {
  const trusted = blockListOf(trustedProxies)
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

/**
 * The first value of the list is the client's connection; each proxy appends its own. Only trusted proxies
 * are believed.
 */
const saysPlain = (clientAddress: ClientAddress, { headers, socket }: IncomingMessage): boolean => {
  const proto = headers['x-forwarded-proto']
  return (
    typeof proto === 'string' &&
    proto.split(',')[0]?.trim().toLowerCase() === 'http' &&
    clientAddress.trusts(socket.remoteAddress)
  )
}

export const createRequestContexts = (
  trustedProxies: readonly string[],
): ((request: IncomingMessage) => RequestContext) => {
  const clientAddress = createClientAddress(trustedProxies)
  const nextId = createRequestIds()
  // `request.headers` builds an object of all fields, and most calls do not need it.
  if (trustedProxies.length === 0)
    return ({ socket }) => ({
      requestId: nextId(),
      ip: clientAddress.address(socket.remoteAddress, undefined),
    })
  return (request) => ({
    requestId: nextId(),
    ip: clientAddress.address(
      request.socket.remoteAddress,
      request.headers['x-forwarded-for'] as string | undefined,
    ),
    ...(saysPlain(clientAddress, request) && { plainHttp: true }),
  })
}

export interface ListeningServer {
  readonly port: number
  /** Gives the server its gateway. Earlier requests wait for it. */
  open(gateway: Gateway): void
  /**
   * Stops listening, lets calls finish, ends idle streams. Resolves with false when calls were cut off after
   * `graceMs`.
   */
  drain(times: DrainTimes): Promise<boolean>
}

interface ServeOptions {
  readonly host: string
  readonly port: number
  readonly trustedProxies: readonly string[]
  readonly now: () => number
  readonly timer: ForwardDeps['timer']
  /** Resolver for servers that must be on public addresses; default: the system's. */
  readonly lookup?: ForwardDeps['lookup']
  /** Forward proxies; default: none. */
  readonly proxies?: ForwardDeps['proxies']
}

/** How often this process checks whether another one added or removed a service. */
const watchMs = 400

const pathOf = (target: string): string => {
  const query = target.indexOf('?')
  return query === -1 ? target : target.slice(0, query)
}

type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void
type UpgradeHandler = NonNullable<NonNullable<Parameters<typeof protectServer>[1]>['upgrade']>

const createHandlers = (
  gateway: Gateway,
  options: ServeOptions,
): { readonly handle: RequestHandler; readonly upgrade: UpgradeHandler; close(): void } => {
  const contextOf = createRequestContexts(options.trustedProxies)
  const forward = createForward({
    admit: gateway.admit,
    respond: gateway.respond,
    refuse: gateway.refuse,
    now: options.now,
    timer: options.timer,
    lookup: options.lookup,
    proxies: options.proxies,
  })
  const upgrades = createUpgrade(gateway)
  const contexts = new WeakMap<IncomingMessage, RequestContext>()
  const fetchHandler = getRequestListener(
    (request, env) =>
      gateway.fetch(request, contexts.get((env as { incoming: IncomingMessage }).incoming) as RequestContext),
    { overrideGlobalObjects: false },
  )
  const handle: RequestHandler = (request, response) => {
    const context = contextOf(request)
    const refusal = validateRequest(request)
    if (refusal) {
      const answer = gateway.refuse(refusal, {
        method: request.method ?? '',
        target: request.url ?? '',
        rawHeaders: request.rawHeaders,
        ...context,
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
      forward.serve(request, response, context, located)
      return
    }
    contexts.set(request, isRoutable(url) ? context : { ...context, unroutable: true })
    proceed(request, response)
    // `gateway.fetch` responds to its own faults; what is left is a socket that died.
    fetchHandler(request, response).catch(() => response.destroy())
  }
  return {
    handle,
    upgrade: (request, socket, head) => upgrades.serve(request, socket, head, contextOf(request)),
    close() {
      forward.close()
      upgrades.close()
    },
  }
}

/**
 * Binds the address; `localhost` means both loopback addresses. Rejects with Node's own error (EADDRINUSE,
 * EACCES, EADDRNOTAVAIL) when it cannot.
 */
export const serve = async (options: ServeOptions): Promise<ListeningServer> => {
  let ready: (handle: RequestHandler) => void
  const opened = new Promise<RequestHandler>((resolve) => {
    ready = resolve
  })
  let current: RequestHandler = (request, response) => void opened.then((handle) => handle(request, response))
  let currentUpgrade: UpgradeHandler = () => false
  let closeForward = (): void => undefined
  const draining = createDrain()
  const port = await listen(options.host, options.port, () => {
    const server = createServer(serverOptions, (request, response) => current(request, response))
    protectServer(server, { upgrade: (request, socket, head) => currentUpgrade(request, socket, head) })
    draining.watch(server)
    return server
  })
  return {
    port,
    open(gateway) {
      const { handle, upgrade, close } = createHandlers(gateway, options)
      currentUpgrade = upgrade
      const look = (): void => void gateway.registry.refresh()
      look()
      const watching = setInterval(look, watchMs).unref()
      gateway.registry.onRemoved((gone, locate) => endStreamsOfRemoved(draining.answers, gone, locate))
      closeForward = () => {
        clearInterval(watching)
        close()
      }
      current = handle
      ready(handle)
    },
    drain(times) {
      const handle = current
      current = (request, response) => {
        response.shouldKeepAlive = false
        handle(request, response)
      }
      closeForward()
      return draining.drain(times)
    },
  }
}
