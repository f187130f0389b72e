// WebSockets on Node. A handshake (RFC 6455 §4.2) is admitted first, then the upstream is connected, then 101
// is sent.
import { type IncomingMessage, STATUS_CODES } from 'node:http'
import { type LookupFunction, type Socket as NetSocket, isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import type * as Undici from 'undici'
import type { ClientOptions, RawData, WebSocket } from 'ws'
import type { Gateway } from '../gateway.ts'
import { isAddress } from '../kit/addresses.ts'
import { fieldOf } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Answer } from '../ports/call.ts'
import type {
  ConnectSocket,
  RequestContext,
  RuntimeTransports,
  SocketEvents,
  TextSocket,
  TransportConnectors,
} from '../ports/runtime.ts'
import { type ForwardProxies, type ForwardProxy, noProxies, openTunnel } from './forward-proxy.ts'
import { publicLookup, refusePrivateHost } from './http-client/pool.ts'
import { type Lookup, globalAddresses, systemLookup } from './outbound.ts'
import { validateRequest } from './request-guard.ts'

/** Unsent bytes beyond which the sender has to wait. */
const mostUnsentBytes = 1_048_576

const textOf = (data: RawData): string =>
  (Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)).toString(
    'utf8',
  )

export const socketOf = (ws: WebSocket, events: SocketEvents): TextSocket => {
  ws.on('message', (data: RawData, binary: boolean) => {
    if (binary) events.binary()
    else events.text(textOf(data))
  })
  ws.on('pong', () => events.alive())
  ws.on('ping', () => events.alive())
  // The close event that follows has the reason.
  ws.on('error', () => undefined)
  ws.on('close', (code: number, reason: Buffer) => events.closed(code, reason.toString('utf8')))
  return {
    send(text) {
      if (ws.readyState !== ws.OPEN) return undefined
      if (ws.bufferedAmount < mostUnsentBytes) {
        ws.send(text, () => undefined)
        return undefined
      }
      // A socket that dies calls back too, with an error.
      return new Promise((resolve) => {
        ws.send(text, () => resolve())
      })
    },
    close(code, reason) {
      ws.close(code, reason)
    },
    cut: () => ws.terminate(),
    ping: () => {
      if (ws.readyState === ws.OPEN) ws.ping()
    },
    pause: () => ws.pause(),
    resume: () => ws.resume(),
  }
}

export interface Upgrade {
  /** Handles a handshake. False for another protocol, which is left alone. */
  serve(request: IncomingMessage, socket: Duplex, head: Buffer, context: RequestContext): boolean
  /** Closes every socket with 1001 (going away). */
  close(): void
}

const send = (socket: Duplex, { status, headers, body }: Answer): void => {
  if (!socket.writable) return
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
  for (let i = 0; i + 1 < headers.length; i += 2)
    if (headers[i]?.toLowerCase() !== 'connection') head += `${headers[i]}: ${headers[i + 1]}\r\n`
  socket.end(`${head}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`)
}

/** Throws for a malformed handshake. A client that offers subprotocols must offer `mcp`. */
const check = (request: IncomingMessage): void => {
  const fault = validateRequest(request)
  if (fault) throw fault
  const {
    'sec-websocket-key': key,
    'sec-websocket-version': version,
    'sec-websocket-protocol': protocols,
  } = request.headers
  if (request.method !== 'GET' || key === undefined || !/^[A-Za-z0-9+/]{22}==$/.test(key))
    throw new Refusal('upgrade.malformed', 'not GET, or Sec-WebSocket-Key malformed')
  // Such a body has no meaning (RFC 9110 §9.3.1), and after 101 its bytes would be read as frames.
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  if (coding !== undefined || (length !== undefined && length !== '0'))
    throw new Refusal('upgrade.malformed', 'handshake has a body')
  if (version !== '13')
    throw new Refusal('upgrade.version', String(version).slice(0, 20), {
      headers: { 'sec-websocket-version': '13' },
    })
  if (protocols !== undefined && !protocols.split(',').some((name) => name.trim() === 'mcp'))
    throw new Refusal('upgrade.malformed', 'Sec-WebSocket-Protocol does not include mcp')
}

/** Made here, so that a socket that stays for hours does not hold its handshake. */
const ignore = (): void => undefined

type OpenSockets = Set<(code: number, reason: string) => void>

/** Rejects with a Refusal, or with a fault. */
const admitUpgrade = async (
  { admitSocket }: Pick<Gateway, 'admitSocket'>,
  {
    request,
    socket,
    head,
  }: { readonly request: IncomingMessage; readonly socket: Duplex; readonly head: Buffer },
  context: RequestContext,
  open: OpenSockets,
): Promise<void> => {
  check(request)
  // Loaded by the first handshake.
  const { WebSocketServer } = await import('ws')
  const { rawHeaders } = request
  const tunnel = await admitSocket({
    method: 'GET',
    target: request.url ?? '/',
    host: fieldOf(rawHeaders, 'host'),
    rawHeaders,
    ip: context.ip,
    requestId: context.requestId,
    plainHttp: context.plainHttp,
  })
  if (socket.destroyed) {
    tunnel.shut(1006, 'left before the handshake')
    return
  }
  const gone = (): void => tunnel.shut(1006, 'left in the handshake')
  socket.once('close', gone)
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: tunnel.maxBytes,
    handleProtocols: () => 'mcp',
  })
  server.handleUpgrade(request, socket, head, (ws) => {
    socket.off('close', gone)
    open.add(tunnel.shut)
    const { events } = tunnel
    const closed = (code: number, reason: string): void => {
      open.delete(tunnel.shut)
      events.closed(code, reason)
    }
    tunnel.attach(socketOf(ws, { ...events, closed }))
  })
}

export const createUpgrade = (gateway: Pick<Gateway, 'admitSocket' | 'refuse'>): Upgrade => {
  const open: OpenSockets = new Set()
  return {
    serve(request, socket, head, context) {
      if (request.headers.upgrade?.toLowerCase() !== 'websocket') return false
      // A handshake may break off at any time.
      socket.on('error', ignore)
      admitUpgrade(gateway, { request, socket, head }, context, open).catch((error: unknown) =>
        send(
          socket,
          gateway.refuse(error, {
            method: request.method ?? '',
            target: request.url ?? '',
            rawHeaders: request.rawHeaders,
            ...context,
          }),
        ),
      )
      return true
    },
    close() {
      for (const shut of open) shut(1001, 'The gateway is going away.')
    },
  }
}

// Connections to servers that may stay silent for long: fetch without a time limit, and WebSockets.

interface Way {
  readonly lookup?: LookupFunction
  readonly proxies: ForwardProxies
}

const unbracketed = (host: string): string => (host.startsWith('[') ? host.slice(1, -1) : host)

/** Options for `ws` that connect through the forward proxy of the URL, where it has one. */
const throughProxy = (address: string, proxies: ForwardProxies): object => {
  const url = new URL(address)
  const proxy = proxies.for(url)
  if (!proxy) return {}
  const tls = url.protocol === 'wss:'
  const host = unbracketed(url.hostname)
  const connect = async (): Promise<NetSocket> => {
    const socket = await openTunnel(proxy, host, Number(url.port || (tls ? 443 : 80)))
    return tls ? connectTls({ socket, ...(isIP(host) === 0 ? { servername: host } : {}) }) : socket
  }
  // With a callback, as http.request accepts it. The types of ws only have the form that returns a socket.
  const createConnection = (
    _options: object,
    done: (error: Error | null, socket?: NetSocket) => void,
  ): void =>
    void connect().then(
      (socket) => done(null, socket),
      (error: unknown) => done(error as Error),
    )
  return { createConnection }
}

const dial =
  ({ lookup, proxies }: Way): ConnectSocket =>
  async (url, { headers, timeoutMs, maxBytes }, events: SocketEvents) => {
    const { WebSocket } = await import('ws')
    return new Promise((resolve, reject) => {
      const fields: Record<string, string> = {}
      for (let i = 0; i + 1 < headers.length; i += 2) fields[headers[i] as string] = headers[i + 1] as string
      const options: ClientOptions = {
        headers: fields,
        handshakeTimeout: timeoutMs,
        maxPayload: maxBytes,
        perMessageDeflate: false,
        followRedirects: false,
        ...(lookup ? { lookup } : {}),
      }
      const ws = new WebSocket(url, ['mcp'], Object.assign(options, throughProxy(url, proxies)))
      const socket = socketOf(ws, events)
      ws.once('open', () => resolve(socket))
      ws.once('unexpected-response', (_request, response) => {
        response.destroy()
        const { 'www-authenticate': field, 'dpop-nonce': nonce } = response.headers
        reject(
          Object.assign(new Error(`answered ${response.statusCode}`), {
            status: response.statusCode ?? 0,
            authenticate: field === undefined ? [] : [field],
            nonce,
          }),
        )
        ws.terminate()
      })
      ws.once('error', (error: Error) =>
        reject(/timed out/.test(error.message) ? Object.assign(error, { code: 'ETIMEDOUT' }) : error),
      )
    })
  }

/**
 * How long (ms) a connection is kept for another request where the server does not say how long it keeps it
 * (`Keep-Alive: timeout`): hardly, because a request on a connection that is just being closed is lost, and a
 * tool call may not be sent twice.
 */
const keepAliveMs = 100

type UndiciModule = typeof Undici

/**
 * undici's fetch without a limit on silence. `proxies`: one dispatcher for each proxy and scheme: https
 * through a tunnel, http with the whole URL to the proxy.
 */
const createFetch = ({ Agent, buildConnector, fetch, ProxyAgent }: UndiciModule, way: Way) => {
  const endless = { bodyTimeout: 0, headersTimeout: 0, keepAliveTimeout: keepAliveMs, allowH2: false }
  const direct = new Agent({ ...endless, ...(way.lookup ? { connect: { lookup: way.lookup } } : {}) })
  const tunnel = (proxy: ForwardProxy): Undici.Dispatcher => {
    const connector = buildConnector({ allowH2: false })
    return new Agent({
      ...endless,
      connect(to, done) {
        openTunnel(proxy, to.hostname, Number(to.port || 443)).then(
          (httpSocket) => connector({ ...to, httpSocket }, done),
          (error: unknown) => done(error as Error, null),
        )
      },
    })
  }
  const plain = (proxy: ForwardProxy): Undici.Dispatcher =>
    new ProxyAgent({
      ...endless,
      uri: proxy.shown,
      proxyTunnel: false,
      ...(proxy.authorization === undefined ? {} : { token: proxy.authorization }),
    })
  const known = new Map<string, Undici.Dispatcher>()
  const dispatcherOf = (url: URL): Undici.Dispatcher => {
    const proxy = way.proxies.for(url)
    if (!proxy) return direct
    const key = `${url.protocol}${proxy.shown}`
    const dispatcher = known.get(key) ?? (url.protocol === 'https:' ? tunnel(proxy) : plain(proxy))
    known.set(key, dispatcher)
    return dispatcher
  }
  return (url: URL, init: object) => fetch(url, { ...init, dispatcher: dispatcherOf(url) })
}

/** undici and ws are loaded by the first service that needs them. */
const connectors = (way: Way): TransportConnectors => {
  let loading: Promise<ReturnType<typeof createFetch>> | undefined
  const load = (): Promise<ReturnType<typeof createFetch>> =>
    (loading ??= import('undici').then((undici) => createFetch(undici, way)))
  const ask = async (input: RequestInfo | URL, init: object = {}): Promise<Response> => {
    if (input instanceof Request) throw new TypeError('give a URL, and the rest as its options')
    const fetch = await load()
    // undici declares its own Response, which differs from the platform's in the type of one iterator.
    const response: unknown = await fetch(new URL(input), init)
    return response as Response
  }
  return { fetch: ask, socket: dial(way) }
}

const hostOf = (input: Parameters<RuntimeTransports['fetch']>[0]): string =>
  new URL(input instanceof Request ? input.url : input).hostname

/**
 * To public addresses only. Where a proxy makes the connection, the gateway looks nothing up for it, so names
 * are checked before.
 */
const checkedConnectors = (
  { fetch, socket }: TransportConnectors,
  judge: (url: string) => Promise<void>,
): TransportConnectors => ({
  async fetch(input, init) {
    refusePrivateHost(hostOf(input))
    await judge(input instanceof Request ? input.url : String(input))
    try {
      return await fetch(input, init)
    } catch (error) {
      // The library wraps the error of its lookup.
      throw error instanceof Error && error.cause instanceof Refusal ? error.cause : error
    }
  },
  async socket(url, about, events) {
    refusePrivateHost(hostOf(url))
    await judge(url)
    return socket(url, about, events)
  },
})

/**
 * `lookup`: resolver for servers that must be on public addresses; default: the system's. `proxies`: forward
 * proxies; default: none.
 */
export const createTransports = (lookup?: Lookup, proxies: ForwardProxies = noProxies): RuntimeTransports => {
  const judge = async (address: string): Promise<void> => {
    const url = new URL(address)
    if (proxies.for(url) && !isAddress(url.hostname))
      await globalAddresses(url.hostname, lookup ?? systemLookup)
  }
  return {
    ...connectors({ proxies }),
    publicOnly: checkedConnectors(connectors({ lookup: publicLookup(lookup), proxies }), judge),
  }
}
