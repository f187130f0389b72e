// What an MCP server says of its own login (RFC 9728): which authorization servers it trusts, which scopes there are, and what it calls itself.
import type { Challenge } from './challenge.ts'
import { scopeWords } from './challenge.ts'
import { errorFrom } from './faults.ts'
import type { Upstream } from './upstream.ts'
import { unreachable, untrusted } from './upstream.ts'
import type { Web } from './web.ts'

export interface ResourceMetadata {
  /** Exactly as published: it goes into `resource` unchanged (RFC 8707 §2; MCP Authorization, Canonical Server URI). */
  readonly resource: string
  /** In the server's order, not empty. */
  readonly authorizationServers: readonly string[]
  readonly scopes: readonly string[] | undefined
}

const wellKnown = '/.well-known/oauth-protected-resource'

/** Where the document may be: the place the challenge names, or else behind the endpoint's path, then at the root (MCP Authorization Server Discovery). */
export const metadataUrls = ({ url }: Pick<Upstream, 'url'>, challenge?: Challenge): readonly string[] => {
  const named = challenge?.metadata
  if (named !== undefined) return URL.canParse(named) ? [named] : []
  const path = url.pathname.replace(/\/$/, '')
  return [...new Set([`${url.origin}${wellKnown}${path}${url.search}`, `${url.origin}${wellKnown}`])]
}

/**
 * Whether metadata that calls itself `resource` is about this endpoint: same origin, and the endpoint's path lies at or below its path. A server that names
 * another resource would have us fetch a token that is good elsewhere (RFC 9728 §3.3, §7.3).
 */
export const coversEndpoint = (resource: string, url: URL): boolean => {
  if (!URL.canParse(resource)) return false
  const named = new URL(resource)
  if (named.origin !== url.origin || named.hash !== '' || named.username !== '' || named.password !== '') return false
  const above = named.pathname.endsWith('/') ? named.pathname : `${named.pathname}/`
  return url.pathname === named.pathname || `${url.pathname}/`.startsWith(above)
}

const textsOf = (value: unknown): readonly string[] => (Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : [])

const judge = (document: Readonly<Record<string, unknown>>, upstream: Upstream): ResourceMetadata => {
  const { resource, scopes_supported: scopes } = document
  if (typeof resource !== 'string' || !coversEndpoint(resource, upstream.url)) throw untrusted(upstream, `its resource metadata is about ${JSON.stringify(resource)?.slice(0, 200)}`)
  const authorizationServers = textsOf(document['authorization_servers']).slice(0, 10)
  if (authorizationServers.length === 0) throw untrusted(upstream, 'its resource metadata names no authorization server')
  const words = scopeWords(textsOf(scopes).join(' '))
  return { resource, authorizationServers, scopes: words.length > 0 ? words : undefined }
}

/**
 * Undefined for a server without such a document (MCP 2025-03-26). Throws `connection.untrusted` where none of its
 * documents can be used, and `connection.unreachable` when nobody knows whether there is one.
 */
export const readResourceMetadata = async (upstream: Upstream, challenge: Challenge | undefined, web: Web): Promise<ResourceMetadata | undefined> => {
  const named = metadataUrls(upstream, challenge)
  let down: string | undefined
  let wrong: Error | undefined
  for (const place of named.length > 0 ? named : metadataUrls(upstream)) {
    const found = await web.document(place)
    if (found.kind === 'down') down = found.why
    if (found.kind !== 'document') continue
    try {
      return judge(found.document, upstream)
    } catch (error) {
      // What is wrong with the document behind the path may be right with the one at the root.
      wrong ??= errorFrom(error)
    }
  }
  if (wrong !== undefined) throw wrong
  // The challenge may be older than the server; the well-known places are the server's own.
  const elsewhere =
    named.length > 0 && challenge?.metadata !== undefined
      ? await readResourceMetadata(upstream, undefined, web)
      : undefined
  if (elsewhere === undefined && down !== undefined) throw unreachable(upstream, down)
  return elsewhere
}
