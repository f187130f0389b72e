// Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document): the client id is the https URL
// of a document in which the client describes itself.
import type { Config } from '../config/schema.ts'
import { utf8Text } from '../kit/bytes.ts'
import { networkCause } from '../kit/log.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import { metadataDocumentUrl } from '../kit/urls.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import {
  type Client,
  type ClientMetadata,
  type GrantType,
  type Leg,
  judgeClientMetadata,
  parseStrictJson,
  registrableGrants,
} from './client.ts'
import { mediaTypeOf } from './parameters.ts'

// JSON that a client publishes (its metadata document, its keys): fetched with the guarded outbound function,
// cached as its server allows, never when it is invalid.

/** Why a document cannot be used. */
type Failure = { readonly kind: 'bad' | 'gone' | 'down'; readonly why: string }

export type RemoteDocument =
  | { readonly text: string; readonly failure?: never }
  | { readonly failure: Failure; readonly text?: never }

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

export type FetchJson = (url: string, options: ReadOptions) => Promise<RemoteDocument>

interface Copy {
  readonly text: string
  readonly fetchedAt: number
  readonly freshUntil: number
}

const day = 86_400_000
const ages = { unstated: 600_000, longest: day, stale: 7 * day, bad: 60_000, down: 10_000 } as const
const timeoutMs = 5_000
const maxFailures = 1_000
/** The reason that every runtime gives for a body over the limit. */
const tooLarge = /\b(?:larger|more) than \d+ bytes/

/**
 * How long an answer may be reused without asking again, ms (RFC 9111 §4.2.1; never over a day); undefined:
 * it may not be kept at all.
 */
export const freshnessOf = (headers: Headers, now: number): number | undefined => {
  const directives = (headers.get('cache-control') ?? '')
    .toLowerCase()
    .split(',')
    .map((directive) => directive.trim())
  if (directives.includes('no-store')) return undefined
  if (directives.includes('no-cache')) return 0
  const maxAge = directives
    .map((directive) => /^max-age="?(\d{1,10})"?$/.exec(directive)?.[1])
    .find((seconds) => seconds !== undefined)
  const expires = Date.parse(headers.get('expires') ?? '')
  if (maxAge !== undefined)
    return Math.min(ages.longest, Math.max(0, Number(maxAge) - (Number(headers.get('age')) || 0)) * 1000)
  if (headers.has('expires')) return Math.min(ages.longest, Math.max(0, (expires || 0) - now))
  return ages.unstated
}

const isJson = (contentType: string | null): boolean =>
  /^application\/(?:json|[\w.-]+\+json)$/.test(mediaTypeOf(contentType).type)

export interface FetchJsonDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound' | 'cache' | 'defer' | 'digest'>
  readonly directory: Directory
}

/**
 * The last failures, the oldest evicted first. They are kept in this process alone, so that no client can
 * poison the copy of another process.
 */
const createFailures = (now: () => number) => {
  const failures = new Map<string, Failure & { readonly until: number }>()
  return {
    keep(url: string, failure: Failure): RemoteDocument {
      failures.delete(url)
      if (failures.size >= maxFailures) failures.delete(failures.keys().next().value as string)
      failures.set(url, { ...failure, until: now() + (failure.kind === 'down' ? ages.down : ages.bad) })
      return { failure }
    },
    of(url: string): Failure | undefined {
      const failed = failures.get(url)
      return failed && now() < failed.until ? failed : undefined
    },
    forget: (url: string): boolean => failures.delete(url),
  }
}

interface FetchedText {
  readonly text: string
  readonly headers: Headers
}

/** The document as its server has it now, or why it cannot be used. */
const fetchText = async (
  outbound: Runtime['outbound'],
  url: string,
  { maxBytes, fault }: ReadOptions,
): Promise<FetchedText | Failure> => {
  const response = await outbound(url, {
    headers: { accept: 'application/json' },
    timeoutMs,
    maxBytes,
  }).catch((thrown: unknown) => {
    if (thrown instanceof Refusal) return thrown
    throw thrown
  })
  // A document that is too large is its maker's to mend; what the network did is not.
  if (response instanceof Refusal)
    return {
      kind: response.code === 'outbound.refused' || tooLarge.test(response.why) ? 'bad' : 'down',
      why: response.why,
    }
  const { status, headers, body } = response
  if (status === 404 || status === 410) return { kind: 'gone', why: `status ${status}` }
  // 403 and its like speak of us (a filter in front of the host, a rate limit), not of the document.
  if (status >= 400) return { kind: 'down', why: `status ${status}` }
  if (status !== 200) return { kind: 'bad', why: `status ${status}` }
  if (!isJson(headers.get('content-type'))) return { kind: 'bad', why: 'not application/json' }
  const text = utf8Text(body)
  const wrong = fault(text)
  return wrong === undefined ? { text, headers } : { kind: 'bad', why: wrong }
}

export const createFetchJson = ({ runtime, directory }: FetchJsonDeps): FetchJson => {
  const singleFlight = createSingleFlight(runtime)
  const failures = createFailures(() => runtime.now())
  const hostOf = (url: string) => new URL(url).hostname.replace(/\.$/, '')
  // A document on our own host, or on the host of a server behind us, would let the gateway identify itself
  // to itself, or wait for itself.
  const own = new Set([
    ...directory.origins.map(hostOf),
    ...directory.services.flatMap(({ upstream }) => (upstream.kind === 'http' ? [hostOf(upstream.url)] : [])),
  ])

  const keep = async (key: string, { text, headers }: FetchedText): Promise<void> => {
    const now = runtime.now()
    const fresh = freshnessOf(headers, now)
    if (fresh === undefined) return
    const copy: Copy = { text, fetchedAt: now, freshUntil: now + fresh }
    await runtime.cache.put(key, JSON.stringify(copy), { ttlMs: fresh + ages.stale })
  }

  const fetchAndKeep = async (url: string, key: string, options: ReadOptions): Promise<RemoteDocument> => {
    const fetched = await fetchText(runtime.outbound, url, options)
    if ('kind' in fetched) return failures.keep(url, fetched)
    failures.forget(url)
    await keep(key, fetched)
    return { text: fetched.text }
  }

  return async (url, options) => {
    if (own.has(hostOf(url)))
      return { failure: { kind: 'bad', why: 'a host of this gateway or of a server behind it' } }
    const key = `remote:${runtime.digest(url)}`
    const kept = await runtime.cache.get(key)
    const copy = kept === undefined ? undefined : (JSON.parse(kept) as Copy)
    if (copy && runtime.now() < copy.freshUntil && copy.fetchedAt >= (options.since ?? 0))
      return { text: copy.text }
    const failure = failures.of(url)
    const fetched = failure ? { failure } : await singleFlight(url, () => fetchAndKeep(url, key, options))
    return fetched.failure?.kind === 'down' && copy && options.staleIfDown ? { text: copy.text } : fetched
  }
}

export interface ClientDocuments {
  /**
   * The client that the document at this URL describes. On the token leg a copy that was good is used while
   * its server is down. Throws `client.document` (authorize leg), `client.auth` (token leg), or
   * `client.document-unreachable`.
   */
  resolve(url: string, leg: Leg): Promise<Client>
}

const maxBytes = 5 * 1024

const parse = (text: string): Record<string, unknown> | undefined => {
  try {
    const value: unknown = parseStrictJson(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    // Not JSON, or JSON that parsers read differently (Refusal).
    return undefined
  }
}

/**
 * The method an authorization server picks among those a client offers (OpenID RP Metadata Choices): the one
 * it prefers when we have it. Hosted clients publish both `none` and `private_key_jwt`, for servers without
 * the latter.
 */
const preferredMethod = (document: Readonly<Record<string, unknown>>): unknown => {
  const named = document['token_endpoint_auth_method'] ?? undefined
  const offered = document['token_endpoint_auth_methods_supported']
  if (named !== undefined || !Array.isArray(offered) || offered.includes('none')) return named ?? 'none'
  return offered.includes('private_key_jwt') ? 'private_key_jwt' : 'none'
}

const judge = (
  text: string,
  url: string,
  offered: readonly GrantType[],
):
  | { readonly metadata: ClientMetadata; readonly why?: never }
  | { readonly why: string; readonly metadata?: never } => {
  const document = parse(text)
  if (!document) return { why: 'the document is not a JSON object' }
  // Simple string comparison (RFC 3986 §6.2.1): no normal form, or two URLs could claim one client.
  if (document['client_id'] !== url) return { why: 'client_id in the document differs from its URL' }
  if (typeof document['client_name'] !== 'string' || !document['client_name'].trim())
    return { why: 'client_name is missing' }
  if ('client_secret' in document || 'client_secret_expires_at' in document)
    return { why: 'a document everybody reads holds a client_secret' }
  const method = preferredMethod(document)
  if (method !== 'none' && method !== 'private_key_jwt')
    return { why: 'token_endpoint_auth_method must be none or private_key_jwt' }
  const judged = judgeClientMetadata({ ...document, token_endpoint_auth_method: method }, 'none', offered)
  return judged.fault ? { why: judged.fault.say } : judged
}

const say = {
  bad: "The client metadata document of the app is invalid. The app's developer must fix it.",
  gone: "The client metadata document of the app was not found. The app's developer must fix it.",
} as const

/** What the gateway could not reach, and why, as far as a stranger may know: no address, no software. */
const sayUnreachable = (url: string, why: string): string => {
  const { host } = new URL(url)
  const status = /\bstatus (\d{3})$/.exec(why)?.[1]
  const cause = status === undefined ? networkCause(why) : `it responded with status ${status}`
  return `The client metadata document of the app at ${host} could not be fetched${cause === undefined ? '' : `: ${cause}`}.`
}

const refuse = (url: string, leg: Leg, { kind, why }: NonNullable<RemoteDocument['failure']>): Refusal => {
  const reason = `${url}: ${why}`
  const page = { facts: [{ name: 'Client', value: url }] }
  if (kind === 'down')
    return new Refusal('client.document-unreachable', reason, {
      say: sayUnreachable(url, why),
      headers: { 'retry-after': '5' },
      ...(leg === 'authorize' && { page }),
    })
  return leg === 'authorize'
    ? new Refusal('client.document', reason, { say: say[kind], page })
    : new Refusal('client.auth', reason)
}

export const createClientDocuments = (
  deps: FetchJsonDeps & { readonly config: Pick<Config, 'dynamic_registration'> },
): ClientDocuments => {
  const remote = createFetchJson(deps)
  const offered = registrableGrants(deps.config)
  const resolve: ClientDocuments['resolve'] = async (url, leg) => {
    if (!metadataDocumentUrl(url))
      throw refuse(url, leg, { kind: 'bad', why: 'not a URL that may name a client' })
    const { text, failure } = await remote(url, {
      maxBytes,
      staleIfDown: leg === 'token',
      fault: (candidate) => judge(candidate, url, offered).why,
    })
    if (failure) throw refuse(url, leg, failure)
    const { metadata, why } = judge(text, url, offered)
    if (!metadata) throw refuse(url, leg, { kind: 'bad', why })
    return {
      id: url,
      name: metadata.client_name ?? new URL(url).host,
      kind: 'document',
      host: new URL(url).host,
      redirectUris: metadata.redirect_uris,
      authMethod: metadata.token_endpoint_auth_method,
      grantTypes: metadata.grant_types,
      ...(metadata.jwks && { jwks: metadata.jwks }),
      ...(metadata.jwks_uri && { jwksUri: metadata.jwks_uri }),
      ...(metadata.dpop_bound_access_tokens && { dpop: 'required' }),
      digest: () => deps.runtime.digest(text),
    }
  }
  return { resolve }
}
