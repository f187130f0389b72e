// Connections on which servers speak for as long as they like: fetch without a limit on silence, and WebSockets.
import { isIP, type LookupFunction, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { ClientOptions } from 'ws'
import { isAddress } from '../kit/addresses.ts'
import { Refusal } from '../kit/refusal.ts'
import type { DialSocket, Lines, LineTools, SocketEvents } from '../ports/lines.ts'
import { type ForwardProxies, noProxies } from './forward-proxy.ts'
import { globalAddresses, type Lookup, systemLookup } from './outbound.ts'
import { publicLookup, refuseInner } from './public-hosts.ts'
import { openTunnel } from './tunnel.ts'
import { socketOf } from './upgrade-socket.ts'

interface Way {
  readonly lookup?: LookupFunction
  readonly proxies: ForwardProxies
}

const unbracketed = (host: string): string => (host.startsWith('[') ? host.slice(1, -1) : host)

/** For `ws`, in place of a connection of its own: one through the forward proxy that the URL takes. */
const throughProxy = (address: string, proxies: ForwardProxies): object => {
  const url = new URL(address)
  const proxy = proxies.for(url)
  if (!proxy) return {}
  const tls = url.protocol === 'wss:'
  const host = unbracketed(url.hostname)
  const connect = async (): Promise<Socket> => {
    const socket = await openTunnel(proxy, host, Number(url.port || (tls ? 443 : 80)))
    return tls ? connectTls({ socket, ...(isIP(host) === 0 ? { servername: host } : {}) }) : socket
  }
  // As http.request takes it: with a callback. The types of ws know the form that returns a socket alone.
  const createConnection = (_options: object, done: (error: Error | null, socket?: Socket) => void): void =>
    void connect().then(
      (socket) => done(null, socket),
      (error: unknown) => done(error as Error),
    )
  return { createConnection }
}

const dial =
  ({ lookup, proxies }: Way): DialSocket =>
  async (url, { headers, timeoutMs, maxBytes }, events: SocketEvents) => {
    const { WebSocket } = await import('ws')
    return new Promise((resolve, reject) => {
      const fields: Record<string, string> = {}
      for (let i = 0; i + 1 < headers.length; i += 2) fields[headers[i] as string] = headers[i + 1] as string
      const options: ClientOptions = { headers: fields, handshakeTimeout: timeoutMs, maxPayload: maxBytes, perMessageDeflate: false, followRedirects: false, ...(lookup ? { lookup } : {}) }
      const ws = new WebSocket(url, ['mcp'], Object.assign(options, throughProxy(url, proxies)))
      const socket = socketOf(ws, events)
      ws.once('open', () => resolve(socket))
      ws.once('unexpected-response', (_request, response) => {
        response.destroy()
        const { 'www-authenticate': field } = response.headers
        reject(Object.assign(new Error(`answered ${response.statusCode}`), { status: response.statusCode ?? 0, authenticate: field === undefined ? [] : [field] }))
        ws.terminate()
      })
      ws.once('error', (error: Error) => reject(/timed out/.test(error.message) ? Object.assign(error, { code: 'ETIMEDOUT' }) : error))
    })
  }

/**
 * How long (ms) a connection is kept for another request where the server does not say how long it keeps it (`Keep-Alive: timeout`): hardly, because a request
 * on a connection that is just being closed is lost, and a tool call may not be sent twice.
 */
const keepAliveMs = 100

/** undici and ws are loaded by the first service that needs them. */
const tools = (way: Way): LineTools => {
  const load = async () => {
    const { Agent, buildConnector, fetch, ProxyAgent } = await import('undici')
    const endless = { bodyTimeout: 0, headersTimeout: 0, keepAliveTimeout: keepAliveMs, allowH2: false }
    const direct = new Agent({ ...endless, ...(way.lookup ? { connect: { lookup: way.lookup } } : {}) })
    const known = new Map<string, InstanceType<typeof Agent | typeof ProxyAgent>>()
    /** One for each proxy and scheme: https through a tunnel, http with the whole URL to the proxy. */
    const dispatcherOf = (url: URL) => {
      const proxy = way.proxies.for(url)
      if (!proxy) return direct
      const key = `${url.protocol}${proxy.shown}`
      const before = known.get(key)
      if (before) return before
      const connector = buildConnector({ allowH2: false })
      const made =
        url.protocol === 'https:'
          ? new Agent({
              ...endless,
              connect(to, done) {
                openTunnel(proxy, to.hostname, Number(to.port || 443)).then(
                  (httpSocket) => connector({ ...to, httpSocket }, done),
                  (error: unknown) => done(error as Error, null),
                )
              },
            })
          : new ProxyAgent({ ...endless, uri: proxy.shown, proxyTunnel: false, ...(proxy.authorization === undefined ? {} : { token: proxy.authorization }) })
      known.set(key, made)
      return made
    }
    return (input: string, init: object) => fetch(input, { ...init, dispatcher: dispatcherOf(new URL(input)) })
  }
  let loading: ReturnType<typeof load> | undefined
  const ask = async (input: string, init: object) => (await (loading ??= load()))(input, init)
  // The two libraries' types of the same standard differ in name.
  return { fetch: ask as unknown as Lines['fetch'], socket: dial(way) }
}

const hostOf = (input: Parameters<Lines['fetch']>[0]): string => new URL(input instanceof Request ? input.url : input).hostname

/** To public addresses alone. Where a proxy makes the connection, no look-up of ours does, so names are judged before. */
const guarded = ({ fetch, socket }: LineTools, judge: (url: string) => Promise<void>): LineTools => ({
  async fetch(input, init) {
    refuseInner(hostOf(input))
    await judge(input instanceof Request ? input.url : String(input))
    try {
      return await fetch(input, init)
    } catch (error) {
      // The library wraps what its look-up said.
      throw error instanceof Error && error.cause instanceof Refusal ? error.cause : error
    }
  },
  async socket(url, about, events) {
    refuseInner(hostOf(url))
    await judge(url)
    return socket(url, about, events)
  },
})

/** `lookup`: resolver for servers that may be on public addresses alone; default: the system's. `proxies`: forward proxies on the way out; default: none. */
export const createLines = (lookup?: Lookup, proxies: ForwardProxies = noProxies): Lines => {
  const judge = async (address: string): Promise<void> => {
    const url = new URL(address)
    if (proxies.for(url) && !isAddress(url.hostname)) await globalAddresses(url.hostname, lookup ?? systemLookup)
  }
  return { ...tools({ proxies }), publicOnly: guarded(tools({ lookup: publicLookup(lookup), proxies }), judge) }
}
