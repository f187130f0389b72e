// The HTTP server on Node: it listens, tells whose each request is, and shuts down in order. Proxied calls
// take the fast path (node/proxy); everything else goes to `gateway.fetch`.
import { randomFillSync } from 'node:crypto'
import { type IncomingMessage, type ServerResponse, type Server, createServer } from 'node:http'
import { type Socket, BlockList, isIP, Server as NetServer } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import type { Gateway } from '../gateway.ts'
import { fieldOf } from '../kit/http.ts'
import type { RequestContext } from '../ports/runtime.ts'
import type { Directory, Service } from '../ports/services.ts'
import { type ForwardDeps, createForward } from './proxy/forward.ts'
import { type HandedConnections, listen, takeConnections } from './listen.ts'
import {
  protectServer,
  validateRequest,
  isRoutable,
  proceed,
  serverOptions,
  answerOn,
} from './request-guard.ts'
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

/** All values of a field, as one list (RFC 9110 §5.3). `request.headers` would build an object of all fields. */
const listOf = ({ rawHeaders }: IncomingMessage, name: string): string | undefined => {
  let list: string | undefined
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const candidate = rawHeaders[i] as string
    if (candidate.length !== name.length || candidate.toLowerCase() !== name) continue
    list = list === undefined ? rawHeaders[i + 1] : `${list}, ${rawHeaders[i + 1]}`
  }
  return list
}

/**
 * The first value of the list is the client's connection; each proxy appends its own. Only trusted proxies
 * are believed.
 */
const saysPlain = (clientAddress: ClientAddress, request: IncomingMessage): boolean => {
  const proto = listOf(request, 'x-forwarded-proto')
  return (
    proto !== undefined &&
    proto.split(',')[0]?.trim().toLowerCase() === 'http' &&
    clientAddress.trusts(request.socket.remoteAddress)
  )
}

export const createRequestContexts = (
  trustedProxies: readonly string[],
): ((request: IncomingMessage) => RequestContext) => {
  const clientAddress = createClientAddress(trustedProxies)
  const nextId = createRequestIds()
  if (trustedProxies.length === 0)
    return ({ socket }) => {
      const ip = bare(socket.remoteAddress ?? '')
      return { requestId: nextId(), ip, peer: ip }
    }
  return (request) => ({
    requestId: nextId(),
    ip: clientAddress.address(request.socket.remoteAddress, listOf(request, 'x-forwarded-for')),
    peer: bare(request.socket.remoteAddress ?? ''),
    ...(saysPlain(clientAddress, request) && { plainHttp: true }),
  })
}

// Shuts servers down in order: no new connections, every call in flight to its end, and no connection closed
// while its client is about to use it.

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

/**
 * A connection that the system has accepted but not handed over dies with the listening socket. So the socket
 * is closed after a turn of the event loop that accepted everything there was and had next to nothing else to
 * do.
 */
export const quietTurn = async (): Promise<void> => {
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
  let emptied: (() => void) | undefined
  function forget(this: Socket): void {
    sockets.delete(this)
    if (sockets.size === 0) emptied?.()
  }
  // A server that was handed its connections does not count them.
  const empty = (): Promise<void> =>
    sockets.size === 0 ? Promise.resolve() : new Promise((resolve) => (emptied = resolve))
  const closeSilent = (): void => {
    for (const socket of sockets) if (!answerOn(socket)) socket.destroy()
  }
  return {
    answers: () => [...sockets].flatMap((socket) => answerOn(socket) ?? []),
    watch(server) {
      servers.push(server)
      server.on('connection', (socket) => {
        sockets.add(socket)
        // It closes once, and one function does for all.
        socket.on('close', forget)
      })
    },
    async drain({ graceMs, lingerMs = 0 }) {
      await quietTurn()
      const closed = Promise.all([...servers.map(stopListening), empty()])
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

const pathOf = (target: string): string => {
  const query = target.indexOf('?')
  return query === -1 ? target : target.slice(0, query)
}

// Ends what is open of a removed service: streams at once, calls without a response after a moment.

/** Streams of a removed service end within five seconds; this is the limit for its calls. */
const removedMs = 4000

/**
 * `answers`: the responses in progress. `locate`: how paths were resolved before the services were removed.
 */
const endStreamsOfRemoved = (
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
    setTimeout(() => waiting.forEach((answer) => answer.writableEnded || answer.destroy()), removedMs).unref()
}

// The server.

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
  /** In place of listening. */
  readonly handed?: HandedConnections | undefined
}

/** How often this process checks what another one has changed: services, and what is closed. */
const watchMs = 400

type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void
type UpgradeHandler = NonNullable<NonNullable<Parameters<typeof protectServer>[1]>['upgrade']>

/** For everything that is no proxied call, and for calls whose session another process keeps (`away`). */
const createFetchHandler = (gateway: Gateway) => {
  const contexts = new WeakMap<IncomingMessage, RequestContext>()
  const listenerFor = (answer: Gateway['fetch']) =>
    getRequestListener(
      (request, env) =>
        answer(request, contexts.get((env as { incoming: IncomingMessage }).incoming) as RequestContext),
      { overrideGlobalObjects: false },
    )
  const own = listenerFor(gateway.fetch)
  const others = listenerFor((request, context) => gateway.handle(request, context, fetch))
  return (
    request: IncomingMessage,
    response: ServerResponse,
    context: RequestContext,
    away: boolean,
  ): void => {
    contexts.set(request, context)
    const answer = away ? others : own
    // The gateway responds to its own faults; what is left is a socket that died.
    answer(request, response).catch(() => response.destroy())
  }
}

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
  const { isAway = () => false } = gateway.peers ?? {}
  const answerByFetch = createFetchHandler(gateway)
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
    const away = located !== undefined && isAway({ rawHeaders: request.rawHeaders, target: url })
    if (located && !away) {
      forward.serve(request, response, context, located)
      return
    }
    proceed(request, response)
    answerByFetch(request, response, isRoutable(url) ? context : { ...context, unroutable: true }, away)
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
  let leave = (): Promise<void> => Promise.resolve()
  const draining = createDrain()
  const create = (): Server => {
    const server = createServer(serverOptions, (request, response) => current(request, response))
    protectServer(server, { upgrade: (request, socket, head) => currentUpgrade(request, socket, head) })
    draining.watch(server)
    return server
  }
  const { handed } = options
  const port = handed ? takeConnections(handed, create) : await listen(options.host, options.port, create)
  return {
    port,
    open(gateway) {
      const { handle, upgrade, close } = createHandlers(gateway, options)
      currentUpgrade = upgrade
      const look = (): void => {
        // Before the storage has answered once, the next call asks again.
        const { registry, access, flows } = gateway
        Promise.all([registry.refresh(), access.refresh(), access.answer(), flows?.sweep()]).catch(
          () => undefined,
        )
      }
      look()
      const watching = setInterval(look, watchMs).unref()
      gateway.registry.onRemoved((gone, locate) => endStreamsOfRemoved(draining.answers, gone, locate))
      closeForward = close
      leave = async () => {
        clearInterval(watching)
        await gateway.access.leave().catch(() => undefined)
      }
      current = handle
      ready(handle)
    },
    async drain(times) {
      const handle = current
      current = (request, response) => {
        response.shouldKeepAlive = false
        handle(request, response)
      }
      closeForward()
      const clean = await draining.drain(times)
      await leave()
      return clean
    },
  }
}
