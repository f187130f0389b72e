// The requests of `postern doctor`: like those of a client, without following redirects, and bounded.
import { refusedHost } from '../../kit/addresses.ts'
import { utf8Text } from '../../kit/bytes.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { Outbound, OutboundOptions } from '../../ports/runtime.ts'

export interface HttpAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** Milliseconds until the whole answer was here. */
  readonly ms: number
}

/** An answer, or why there was none. */
export type Exchange = HttpAnswer | { readonly failure: string }

export type Ask = (url: string, options?: OutboundOptions) => Promise<Exchange>

export const isAnswer = (exchange: Exchange): exchange is HttpAnswer => 'status' in exchange

export interface DoctorNetwork {
  /** Reaches these origins on any network, and others on public ones only. */
  readonly outboundTo: (...origins: readonly string[]) => Outbound
  /** All addresses of a name; empty where there are none. */
  readonly addresses: (host: string) => Promise<readonly string[]>
  /** When the certificate of an https origin ends, epoch ms; undefined where it cannot be read. */
  readonly certificateEnd: (url: URL) => Promise<number | undefined>
  readonly now: () => number
}

const userAgent = 'postern-doctor'

/** Whether a host is on this computer or on a private network. */
export const isPrivateHost = refusedHost

/**
 * The URLs that a server names may lead anywhere, so those of a public server are followed to public addresses
 * alone; a server on this network may name others of this network.
 */
export const createAsk = (
  target: URL,
  addresses: readonly string[],
  { outboundTo, now }: DoctorNetwork,
): Ask => {
  const near = [target.hostname, ...addresses].some(isPrivateHost)
  return async (url, options = {}) => {
    const before = now()
    const origins = near && URL.canParse(url) ? [new URL(url).origin] : [target.origin]
    try {
      const { status, headers, body } = await outboundTo(...origins)(url, {
        timeoutMs: 15_000,
        maxBytes: 262_144,
        ...options,
        headers: { 'user-agent': userAgent, ...options.headers },
      })
      return { status, headers, text: utf8Text(body), ms: Math.round(now() - before) }
    } catch (error) {
      if (error instanceof Refusal) return { failure: error.why }
      throw error
    }
  }
}

export type Document = Readonly<Record<string, unknown>>

/** The JSON object of an answer; undefined for anything else. */
export const objectOf = (text: string): Document | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Document)
      : undefined
  } catch {
    return undefined
  }
}

export const textsOf = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : []

/** Somebody else's text, as a terminal may show it: one line of printable characters, at most 200. */
export const quote = (value: unknown): string => {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing')
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').slice(0, 200)
}

export const formBody = (fields: Readonly<Record<string, string>>): OutboundOptions => ({
  method: 'POST',
  headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
  body: new URLSearchParams(fields).toString(),
})

export const jsonBody = (value: unknown, accept = 'application/json'): OutboundOptions => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', accept },
  body: JSON.stringify(value),
})
