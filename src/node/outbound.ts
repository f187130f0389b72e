// Guarded outbound exchanges on Node: the address that is connected to is the address that was judged.
import { lookup as resolve } from 'node:dns/promises'
import type { LookupFunction } from 'node:net'
import type { Response } from 'undici'
import { isAddress, isGlobalAddress, refusedHost } from '../kit/addresses.ts'
import { atOrigin } from '../kit/origins.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Outbound, OutboundOptions } from '../ports/runtime.ts'

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
  if (open.length === 0) throw new Refusal('outbound.refused', `${host} resolves to ${addresses.map(({ address }) => address).join(', ') || 'nothing'}`)
  return open
}

const parse = (raw: string): URL => {
  const url = URL.canParse(raw) ? new URL(raw) : undefined
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.username !== '' || url.password !== '') throw new Refusal('outbound.refused', 'not an http(s) URL without userinfo')
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

const reason = (error: unknown): string => {
  const { code, message, cause } = error as { readonly code?: string; readonly message?: string; readonly cause?: { readonly code?: string; readonly message?: string } }
  return cause?.code ?? cause?.message ?? code ?? message ?? String(error)
}

/** One exchange, one connection: nothing is kept alive, so no answer belongs to a name that meant another place when the connection was made. */
export const createOutbound = ({ allowOrigins, lookup = systemLookup, connectTo = {}, ca }: OutboundDeps): Outbound => {
  const allowed = new Set(allowOrigins.map((origin) => new URL(origin).origin))

  const addressesOf = async (url: URL, origins: readonly string[]): Promise<readonly ResolvedAddress[]> => {
    const free = allowed.has(url.origin) || atOrigin(url, origins)
    if (!free && url.protocol !== 'https:') throw new Refusal('outbound.refused', `${url.origin} is plain http`)
    // The resolver is not asked about literals, so these are judged here and nowhere else.
    if (!free && refusedHost(url.hostname)) throw new Refusal('outbound.refused', `${url.hostname} is not a public host`)
    if (isAddress(url.hostname)) return []
    return free ? lookup(url.hostname) : globalAddresses(url.hostname, lookup)
  }

  // Loaded by the first exchange, which a gateway that only hands calls on may never make: an eighth of the memory at the start, and of its time.
  const load = () => import('undici')

  const exchange = async (url: URL, { method = 'GET', headers = {}, body, timeoutMs = 5000, maxBytes = 1_048_576, headOnly = false, origins = [] }: OutboundOptions) => {
    const { buildConnector, Client, fetch } = await load()
    const signal = AbortSignal.timeout(timeoutMs)
    const detour = connectTo[`${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`]
    const addresses = detour ? [] : await unlessAborted(signal, addressesOf(url, origins))
    const connector = buildConnector({ lookup: answerLookup(addresses), timeout: timeoutMs, allowH2: false, maxCachedSessions: 0, ...(ca === undefined ? {} : { ca }) })
    const client = new Client(url.origin, { pipelining: 0, connect: (to, done) => connector(detour ? { ...to, hostname: detour.address, port: String(detour.port) } : to, done) })
    try {
      const response = await fetch(url, { method, headers: { 'user-agent': 'postern', ...headers }, body: body ?? null, redirect: 'manual', signal, dispatcher: client })
      const answer = new Headers([...response.headers])
      // What follows is decoded and whole; these would say otherwise.
      for (const name of ['content-encoding', 'content-length', 'transfer-encoding']) answer.delete(name)
      return { status: response.status, headers: answer, body: headOnly ? new Uint8Array() : await readAtMost(response, maxBytes) }
    } finally {
      await client.destroy()
    }
  }

  return async (raw, options = {}) => {
    const url = parse(raw)
    try {
      return await exchange(url, options)
    } catch (error) {
      throw error instanceof Refusal ? error : new Refusal('outbound.failed', `${url.origin}: ${reason(error)}`)
    }
  }
}
