// Guarded outbound exchanges on Node: the address that is connected to is the address that was judged.
import { lookup as resolve } from 'node:dns/promises'
import type { LookupFunction } from 'node:net'
import type * as Undici from 'undici'
import type { Response } from 'undici'
import { isAddress, isGlobalAddress, refusedHost } from '../kit/addresses.ts'
import { atOrigin } from '../kit/http.ts'
import { networkReason } from '../kit/log.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Outbound, OutboundOptions } from '../ports/runtime.ts'
import { type ForwardProxies, type ForwardProxy, noProxies, openTunnel } from './forward-proxy.ts'

interface ResolvedAddress {
  readonly address: string
  readonly family: number
}

/** All addresses of a name, asked once an exchange. */
export type Lookup = (host: string) => Promise<readonly ResolvedAddress[]>

export const systemLookup: Lookup = (host) => resolve(host, { all: true })

export interface OutboundDeps {
  /** Origins that the operator wrote into the configuration: these, exactly, may be plain http and anywhere. */
  readonly allowOrigins: readonly string[]
  /** Default: the system's resolver. */
  readonly lookup?: Lookup
  /** Connections to `host:port` go to this address and port instead, unjudged, as with curl's --connect-to; TLS still checks the name. */
  readonly connectTo?: Readonly<Record<string, { readonly address: string; readonly port: number }>>
  /** Certificates (PEM) trusted instead of the system's. */
  readonly ca?: string
  /** Forward proxies on the way out; default: none. */
  readonly proxies?: ForwardProxies
}

const answerLookup =
  (addresses: readonly ResolvedAddress[]): LookupFunction =>
  (_host, { all }, answer) => {
    const [first] = addresses
    if (all || !first) answer(null, [...addresses])
    else answer(null, first.address, first.family)
  }

/** Those of a name's addresses that anybody may be sent to. Throws `outbound.refused` when there is none. */
export const globalAddresses = async (host: string, lookup: Lookup): Promise<readonly ResolvedAddress[]> => {
  const addresses = await lookup(host)
  const open = addresses.filter(({ address }) => isGlobalAddress(address))
  if (open.length === 0)
    throw new Refusal(
      'outbound.refused',
      `${host} resolves to ${addresses.map(({ address }) => address).join(', ') || 'nothing'}`,
    )
  return open
}

const parse = (raw: string): URL => {
  const url = URL.canParse(raw) ? new URL(raw) : undefined
  if (
    !url ||
    (url.protocol !== 'https:' && url.protocol !== 'http:') ||
    url.username !== '' ||
    url.password !== ''
  )
    throw new Refusal('outbound.refused', 'not an http(s) URL, or contains credentials')
  return url
}

const readAtMost = async (response: Response, most: number): Promise<Uint8Array<ArrayBuffer>> => {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of response.body ?? []) {
    size += (part as Uint8Array).length
    if (size > most) throw new Refusal('outbound.failed', `the answer is larger than ${most} bytes`)
    parts.push(part as Uint8Array)
  }
  return new Uint8Array(Buffer.concat(parts, size))
}

const unlessAborted = <T>(signal: AbortSignal, work: Promise<T>): Promise<T> => {
  const ended = Promise.withResolvers<never>()
  signal.addEventListener('abort', () => ended.reject(signal.reason as Error), { once: true })
  return Promise.race([work, ended.promise])
}

/** The dispatcher of one exchange through a forward proxy: a tunnel for https, the whole URL to the proxy for http (RFC 9112 §3.2.2). */
const proxied = (
  proxy: ForwardProxy,
  origin: string,
  { buildConnector, Client, ProxyAgent }: typeof Undici,
  options: { readonly timeout: number; readonly ca?: string },
) => {
  if (!origin.startsWith('https:')) {
    return new ProxyAgent({
      uri: proxy.shown,
      proxyTunnel: false,
      connectTimeout: options.timeout,
      ...(proxy.authorization === undefined ? {} : { token: proxy.authorization }),
    })
  }
  const connector = buildConnector({ ...options, allowH2: false, maxCachedSessions: 0 })
  return new Client(origin, {
    pipelining: 0,
    connect(to, done) {
      openTunnel(proxy, to.hostname, Number(to.port || 443)).then(
        (httpSocket) => connector({ ...to, httpSocket }, done),
        (error: unknown) => done(error as Error, null),
      )
    },
  })
}

/** One exchange, one connection: nothing is kept alive, so no answer belongs to a name that meant another place when the connection was made. */
export const createOutbound = ({
  allowOrigins,
  lookup = systemLookup,
  connectTo = {},
  ca,
  proxies = noProxies,
}: OutboundDeps): Outbound => {
  const allowed = new Set(allowOrigins.map((origin) => new URL(origin).origin))

  /** Where the URL may lead. `direct`: nobody else resolves the name of what the operator wrote. */
  const addressesOf = async (
    url: URL,
    origins: readonly string[],
    direct: boolean,
  ): Promise<readonly ResolvedAddress[]> => {
    const free = allowed.has(url.origin) || atOrigin(url, origins)
    if (!free && url.protocol !== 'https:')
      throw new Refusal('outbound.refused', `${url.origin} is plain http`)
    // The resolver is not asked about literals, so these are judged here and nowhere else.
    if (!free && refusedHost(url.hostname))
      throw new Refusal('outbound.refused', `${url.hostname} is not a public host`)
    if (isAddress(url.hostname)) return []
    if (free) return direct ? lookup(url.hostname) : []
    return globalAddresses(url.hostname, lookup)
  }

  // Loaded by the first exchange, which a gateway that only hands calls on may never make: an eighth of the memory at the start, and of its time.
  const load = () => import('undici')

  const dispatcherOf = async (
    url: URL,
    signal: AbortSignal,
    { timeoutMs, origins }: { readonly timeoutMs: number; readonly origins: readonly string[] },
    undici: typeof Undici,
  ) => {
    const detour = connectTo[`${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`]
    const proxy = detour ? undefined : proxies.for(url)
    const addresses = detour
      ? []
      : await unlessAborted(signal, addressesOf(url, origins, proxy === undefined))
    const trust = ca === undefined ? {} : { ca }
    if (proxy) return proxied(proxy, url.origin, undici, { timeout: timeoutMs, ...trust })
    const connector = undici.buildConnector({
      lookup: answerLookup(addresses),
      timeout: timeoutMs,
      allowH2: false,
      maxCachedSessions: 0,
      ...trust,
    })
    return new undici.Client(url.origin, {
      pipelining: 0,
      connect: (to, done) =>
        connector(detour ? { ...to, hostname: detour.address, port: String(detour.port) } : to, done),
    })
  }

  const exchange = async (
    url: URL,
    {
      method = 'GET',
      headers = {},
      body,
      timeoutMs = 5000,
      maxBytes = 1_048_576,
      headOnly = false,
      origins = [],
    }: OutboundOptions,
  ) => {
    const undici = await load()
    const signal = AbortSignal.timeout(timeoutMs)
    const dispatcher = await dispatcherOf(url, signal, { timeoutMs, origins }, undici)
    try {
      const response = await undici.fetch(url, {
        method,
        headers: { 'user-agent': 'postern', ...headers },
        body: body ?? null,
        redirect: 'manual',
        signal,
        dispatcher,
      })
      const answer = new Headers([...response.headers])
      // What follows is decoded and whole; these would say otherwise.
      for (const name of ['content-encoding', 'content-length', 'transfer-encoding']) answer.delete(name)
      return {
        status: response.status,
        headers: answer,
        body: headOnly ? new Uint8Array() : await readAtMost(response, maxBytes),
      }
    } finally {
      await dispatcher.destroy()
    }
  }

  return async (raw, options = {}) => {
    const url = parse(raw)
    try {
      return await exchange(url, options)
    } catch (error) {
      throw error instanceof Refusal
        ? error
        : new Refusal('outbound.failed', `${url.origin}: ${networkReason(error)}`)
    }
  }
}
