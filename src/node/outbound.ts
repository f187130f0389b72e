// Guarded outbound requests on Node: connections go to the address that was checked.
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

/** All addresses of a name; called once per exchange. */
export type Lookup = (host: string) => Promise<readonly ResolvedAddress[]>

export const systemLookup: Lookup = (host) => resolve(host, { all: true })

export interface OutboundDeps {
  /** Origins from the operator's configuration. Exactly these may be plain http and on any address. */
  readonly allowOrigins: readonly string[]
  /** Default: the system's resolver. */
  readonly lookup?: Lookup
  /**
   * Connections to `host:port` go to this address and port instead, unchecked, as with curl's --connect-to;
   * TLS still verifies the name.
   */
  readonly connectTo?: Readonly<Record<string, { readonly address: string; readonly port: number }>>
  /** Certificates (PEM) trusted instead of the system's. */
  readonly ca?: string
  /** Forward proxies; default: none. */
  readonly proxies?: ForwardProxies
}

const answerLookup =
  (addresses: readonly ResolvedAddress[]): LookupFunction =>
  (_host, { all }, answer) => {
    const [first] = addresses
    if (all || !first) answer(null, [...addresses])
    else answer(null, first.address, first.family)
  }

/** The public addresses of a name. Throws `outbound.refused` when there is none. */
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

type UndiciModule = typeof Undici

/**
 * The dispatcher of one exchange through a forward proxy: a tunnel for https, the whole URL to the proxy for
 * http (RFC 9112 §3.2.2).
 */
const throughProxy = (
  proxy: ForwardProxy,
  origin: string,
  { buildConnector, Client, ProxyAgent }: UndiciModule,
  options: { readonly timeout: number; readonly ca?: string },
): Undici.Dispatcher => {
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

/** What decides where an exchange goes. */
interface Route {
  readonly allowed: ReadonlySet<string>
  readonly lookup: Lookup
  readonly connectTo: Readonly<Record<string, { readonly address: string; readonly port: number }>>
  readonly ca: string | undefined
  readonly proxies: ForwardProxies
}

/**
 * Where the URL may lead. Throws `outbound.refused`. `direct`: no forward proxy resolves the name of a
 * configured origin.
 */
const addressesOf = async (
  url: URL,
  { allowed, lookup }: Route,
  origins: readonly string[],
  direct: boolean,
): Promise<readonly ResolvedAddress[]> => {
  const free = allowed.has(url.origin) || atOrigin(url, origins)
  if (!free && url.protocol !== 'https:') throw new Refusal('outbound.refused', `${url.origin} is plain http`)
  // Literals are never looked up, so this is their only check.
  if (!free && refusedHost(url.hostname))
    throw new Refusal('outbound.refused', `${url.hostname} is not a public host`)
  if (isAddress(url.hostname)) return []
  if (free) return direct ? lookup(url.hostname) : []
  return globalAddresses(url.hostname, lookup)
}

type Limits = Required<Pick<OutboundOptions, 'timeoutMs' | 'origins'>>

const dispatcherOf = async (
  url: URL,
  signal: AbortSignal,
  { timeoutMs, origins }: Limits,
  route: Route,
  undici: UndiciModule,
): Promise<Undici.Dispatcher> => {
  const fixed = route.connectTo[`${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`]
  const proxy = fixed ? undefined : route.proxies.for(url)
  const addresses = fixed
    ? []
    : await unlessAborted(signal, addressesOf(url, route, origins, proxy === undefined))
  const trust = route.ca === undefined ? {} : { ca: route.ca }
  if (proxy) return throughProxy(proxy, url.origin, undici, { timeout: timeoutMs, ...trust })
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
      connector(fixed ? { ...to, hostname: fixed.address, port: String(fixed.port) } : to, done),
  })
}

// Loaded by the first exchange, which a gateway that only forwards calls may never make: undici is an eighth
// of the memory and time of a start.
const load = (): Promise<UndiciModule> => import('undici')

const exchange = async (
  url: URL,
  route: Route,
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
  const dispatcher = await dispatcherOf(url, signal, { timeoutMs, origins }, route, undici)
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
    // The body is decoded and complete, so these fields would be wrong.
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

/**
 * One connection per exchange: nothing is kept open, so no response comes from an address that the name had
 * earlier.
 */
export const createOutbound = ({
  allowOrigins,
  lookup = systemLookup,
  connectTo = {},
  ca,
  proxies = noProxies,
}: OutboundDeps): Outbound => {
  const allowed = new Set(allowOrigins.map((origin) => new URL(origin).origin))
  const route = { allowed, lookup, connectTo, ca, proxies }
  return async (raw, options = {}) => {
    const url = parse(raw)
    try {
      return await exchange(url, route, options)
    } catch (error) {
      throw error instanceof Refusal
        ? error
        : new Refusal('outbound.failed', `${url.origin}: ${networkReason(error)}`)
    }
  }
}
