// The public keys of an issuer of assertions: pinned, or by the metadata of the issuer that is configured (RFC 8414,
// OpenID Connect Discovery). Nothing that an assertion says leads anywhere: not `jku`, not `x5u`, not `jwk`.
import type { JSONWebKeySet, JWK } from 'jose'
import { utf8Text } from '../kit/bytes.ts'
import { authorizationServerUrls } from '../kit/discovery.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { AssertionIssuer } from '../config/assertion-keys.ts'

export interface KnownKeys {
  readonly keys: readonly JWK[]
  /** Epoch ms; absent where they are pinned. */
  readonly fetchedAt?: number
}

export interface IssuerKeys {
  /**
   * The keys of the issuer; for a `kid` that is not among them they are asked for again, once in 30 s. Throws
   * `assertion.keys-unreachable` where none are known, or only such as were fetched more than an hour ago.
   */
  of(id: string, issuer: AssertionIssuer, kid?: string): Promise<KnownKeys>
}

export interface IssuerKeysDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound' | 'cache' | 'defer' | 'digest'>
}

/** Keys that were removed at the issuer are good for so long at most. */
const freshMs = 600_000
/** So long they are used while the issuer cannot be reached. */
const staleMs = 3_600_000
const refetchMs = 30_000
/** Without any keys nothing works, so an issuer that was away is asked again sooner. */
const retryMs = 5_000
const timeoutMs = 5_000
const maxBytes = 262_144
const mostKeys = 100

/** JWT-SVIDs have keys with a `use` of their own (SPIFFE Trust Domain and Bundle, §4.2.2). */
const usable = (key: JWK): readonly JWK[] => {
  if (typeof key !== 'object' || key === null || key.kty === 'oct') return []
  const { use, ...rest } = key
  return use === undefined || use === 'sig' || use === 'jwt-svid' ? [rest] : []
}

const keysIn = (value: unknown): readonly JWK[] | undefined => {
  const { keys } = value as Partial<JSONWebKeySet>
  return Array.isArray(keys) ? keys.flatMap(usable).slice(0, mostKeys) : undefined
}

const unreachable = (id: string, why: string): Refusal =>
  new Refusal('assertion.keys-unreachable', `${id}: ${why}`, { headers: { 'retry-after': '5' } })

/** A document of the issuer, or why there is none. */
const fetchObject = async (
  { runtime }: IssuerKeysDeps,
  url: string,
  { allow_origins: origins }: AssertionIssuer,
): Promise<Readonly<Record<string, unknown>> | string> => {
  try {
    const { status, body } = await runtime.outbound(url, {
      headers: { accept: 'application/json' },
      timeoutMs,
      maxBytes,
      origins,
    })
    if (status !== 200) return `${url}: status ${status}`
    const value: unknown = JSON.parse(utf8Text(body))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : `${url}: not a JSON object`
  } catch (thrown) {
    if (thrown instanceof Refusal) return `${url}: ${thrown.why}`
    if (thrown instanceof SyntaxError) return `${url}: not JSON`
    throw thrown
  }
}

/** The URL of the keys, or why it is not known. */
const keysUrl = async (deps: IssuerKeysDeps, issuer: AssertionIssuer): Promise<URL | string> => {
  if (issuer.jwks_uri !== undefined) return new URL(issuer.jwks_uri)
  const why: string[] = []
  // Platforms publish OpenID metadata; the others come first for what calls itself an authorization server.
  for (const url of authorizationServerUrls(new URL(issuer.issuer ?? '')).toReversed()) {
    const metadata = await fetchObject(deps, url, issuer)
    if (typeof metadata === 'string') why.push(metadata)
    else if (metadata['issuer'] !== issuer.issuer)
      why.push(`${url}: its issuer is ${JSON.stringify(metadata['issuer'])?.slice(0, 200)}`)
    else {
      const found = URL.parse(String(metadata['jwks_uri']))
      if (found) return found
      why.push(`${url}: no jwks_uri`)
    }
  }
  return why.join('; ')
}

export const createIssuerKeys = (deps: IssuerKeysDeps): IssuerKeys => {
  const { now, cache, digest, defer } = deps.runtime
  const singleFlight = createSingleFlight({ now, defer })
  const known = new Map<string, KnownKeys & { readonly fetchedAt: number }>()
  /** When they were last asked for beyond what their age asked for, or could not be had. */
  const asked = new Map<string, number>()

  const cacheKey = (id: string, { issuer, jwks_uri: uri }: AssertionIssuer): string =>
    `issuer-keys:${digest(JSON.stringify([id, issuer, uri]))}`

  /** Of this process, or of another that fetched them later. */
  const recall = async (id: string, issuer: AssertionIssuer, needed: (one: KnownKeys) => boolean) => {
    const own = known.get(id)
    if (own && needed(own)) return own
    const kept = await cache.get(cacheKey(id, issuer))
    const shared = kept === undefined ? undefined : (JSON.parse(kept) as NonNullable<typeof own>)
    const newer = shared && shared.fetchedAt > (own?.fetchedAt ?? 0) ? shared : own
    if (newer) known.set(id, newer)
    return newer
  }

  const fetchKeys = async (id: string, issuer: AssertionIssuer): Promise<KnownKeys | string> => {
    const url = await keysUrl(deps, issuer)
    if (typeof url === 'string') return url
    const document = await fetchObject(deps, url.href, issuer)
    if (typeof document === 'string') return document
    const keys = keysIn(document)
    if (!keys) return `${url.href}: not a key set`
    const found = { keys, fetchedAt: now() }
    known.set(id, found)
    await cache.put(cacheKey(id, issuer), JSON.stringify(found), { ttlMs: staleMs })
    return found
  }

  return {
    async of(id, issuer, kid) {
      if (issuer.jwks) return { keys: issuer.jwks.keys.flatMap((key) => usable(key as JWK)) }
      const isFresh = ({ fetchedAt = 0 }: KnownKeys): boolean => now() - fetchedAt < freshMs
      const hasKey = ({ keys }: KnownKeys): boolean =>
        kid === undefined || keys.some((key) => key.kid === kid)
      const copy = await recall(id, issuer, (one) => isFresh(one) && hasKey(one))
      if (copy && isFresh(copy) && hasKey(copy)) return copy
      const isUsable = copy !== undefined && now() - copy.fetchedAt < staleMs
      const waits = now() - (asked.get(id) ?? Number.NEGATIVE_INFINITY) < (isUsable ? refetchMs : retryMs)
      // What another request has fetched meanwhile is newer than what this one has read.
      if (waits && isUsable) return known.get(id) ?? copy
      if (waits) throw unreachable(id, 'they were asked for a moment ago')
      const found = await singleFlight(id, async () => {
        const fetched = await fetchKeys(id, issuer)
        if (typeof fetched === 'string' || (copy && isFresh(copy))) asked.set(id, now())
        return fetched
      })
      if (typeof found !== 'string') return found
      if (isUsable) return copy
      throw unreachable(id, found)
    },
  }
}
