// JSON that somebody else publishes (a client's metadata document, a client's keys): fetched through the guard, kept as its server allows, never when it is bad.
import { utf8Text } from '../kit/bytes.ts'
import { createOnce } from '../kit/once.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { mediaTypeOf } from './form.ts'

/** What came of the last attempt to read a document that is not usable now. */
type Failure = { readonly kind: 'bad' | 'gone' | 'down'; readonly why: string }

export type Remote = { readonly text: string; readonly failure?: never } | { readonly failure: Failure; readonly text?: never }

export interface ReadOptions {
  /** Largest decoded body, bytes. */
  readonly maxBytes: number
  /** Undefined when the text is usable, else why it is not; an unusable text is never kept. */
  readonly fault: (text: string) => string | undefined
  /** Answer with the last good copy when the server cannot be reached. */
  readonly staleIfDown?: boolean
  /** Copies fetched before this time (epoch ms) do not count. */
  readonly since?: number
}

export type RemoteJson = (url: string, options: ReadOptions) => Promise<Remote>

interface Copy {
  readonly text: string
  readonly fetchedAt: number
  readonly freshUntil: number
}

const day = 86_400_000
const ages = { unstated: 600_000, longest: day, stale: 7 * day, bad: 60_000, down: 10_000 } as const
const timeoutMs = 5_000
const maxFailures = 1_000
/** As every runtime's guard says it. */
const tooLarge = /\b(?:larger|more) than \d+ bytes/

/** How long an answer may be reused without asking again, ms (RFC 9111 §4.2.1; never over a day); undefined: it may not be kept at all. */
export const freshnessOf = (headers: Headers, now: number): number | undefined => {
  const directives = (headers.get('cache-control') ?? '').toLowerCase().split(',').map((one) => one.trim())
  if (directives.includes('no-store')) return undefined
  if (directives.includes('no-cache')) return 0
  const maxAge = directives.map((one) => /^max-age="?(\d{1,10})"?$/.exec(one)?.[1]).find((seconds) => seconds !== undefined)
  const expires = Date.parse(headers.get('expires') ?? '')
  if (maxAge !== undefined) return Math.min(ages.longest, Math.max(0, Number(maxAge) - (Number(headers.get('age')) || 0)) * 1000)
  if (headers.has('expires')) return Math.min(ages.longest, Math.max(0, (expires || 0) - now))
  return ages.unstated
}

const isJson = (contentType: string | null): boolean => /^application\/(?:json|[\w.-]+\+json)$/.test(mediaTypeOf(contentType).type)

export interface RemoteJsonDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound' | 'cache' | 'defer' | 'digest'>
  readonly directory: Directory
}

export const createRemoteJson = ({ runtime, directory }: RemoteJsonDeps): RemoteJson => {
  const once = createOnce(runtime)
  // Bounded: the oldest failure makes room. Failures live in this process alone, so that nobody can poison another's.
  const failures = new Map<string, Failure & { readonly until: number }>()
  const hostOf = (url: string) => new URL(url).hostname.replace(/\.$/, '')
  // A document of ours or of a server behind us would make the gateway vouch for itself, or wait for itself.
  const own = new Set([...directory.origins.map(hostOf), ...directory.services.flatMap(({ upstream }) => (upstream.kind === 'http' ? [hostOf(upstream.url)] : []))])

  const fail = (url: string, kind: Failure['kind'], why: string): Remote => {
    failures.delete(url)
    if (failures.size >= maxFailures) failures.delete(failures.keys().next().value as string)
    failures.set(url, { kind, why, until: runtime.now() + (kind === 'down' ? ages.down : ages.bad) })
    return { failure: { kind, why } }
  }

  const keep = async (key: string, text: string, headers: Headers): Promise<void> => {
    const now = runtime.now()
    const fresh = freshnessOf(headers, now)
    if (fresh === undefined) return
    const copy: Copy = { text, fetchedAt: now, freshUntil: now + fresh }
    await runtime.cache.put(key, JSON.stringify(copy), { ttlMs: fresh + ages.stale })
  }

  const fetch = async (url: string, key: string, { maxBytes, fault }: ReadOptions): Promise<Remote> => {
    const answer = await runtime.outbound(url, { headers: { accept: 'application/json' }, timeoutMs, maxBytes }).catch((thrown: unknown) => {
      if (thrown instanceof Refusal) return thrown
      throw thrown
    })
    // A document that is too large is its maker's to mend; what the network did is not.
    if (answer instanceof Refusal) return fail(url, answer.code === 'outbound.refused' || tooLarge.test(answer.why) ? 'bad' : 'down', answer.why)
    if (answer.status === 404 || answer.status === 410) return fail(url, 'gone', `status ${answer.status}`)
    // 403 and its like speak of us (a filter in front of the host, a pace), not of the document.
    if (answer.status >= 400) return fail(url, 'down', `status ${answer.status}`)
    if (answer.status !== 200) return fail(url, 'bad', `status ${answer.status}`)
    if (!isJson(answer.headers.get('content-type'))) return fail(url, 'bad', 'not application/json')
    const text = utf8Text(answer.body)
    const wrong = fault(text)
    if (wrong !== undefined) return fail(url, 'bad', wrong)
    failures.delete(url)
    await keep(key, text, answer.headers)
    return { text }
  }

  return async (url, options) => {
    if (own.has(hostOf(url))) return { failure: { kind: 'bad', why: 'a host of this gateway or of a server behind it' } }
    const key = `remote:${runtime.digest(url)}`
    const kept = await runtime.cache.get(key)
    const copy = kept === undefined ? undefined : (JSON.parse(kept) as Copy)
    const now = runtime.now()
    if (copy && now < copy.freshUntil && copy.fetchedAt >= (options.since ?? 0)) return { text: copy.text }
    const failed = failures.get(url)
    const fetched = failed && now < failed.until ? { failure: failed } : await once(url, () => fetch(url, key, options))
    return fetched.failure?.kind === 'down' && copy && options.staleIfDown ? { text: copy.text } : fetched
  }
}
