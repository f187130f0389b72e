// What an MCP server says of its own login (RFC 9728): which authorization servers it trusts, which scopes
// there are, and what it calls itself.
import {
  type Challenge,
  scopeWords,
  metadataUrls,
  authorizationServerUrls,
  coversEndpoint,
} from '../kit/discovery.ts'
import type * as oauth from 'oauth4webapi'
import { atOrigin } from '../kit/http.ts'
import { sameIssuer, sameSite } from '../kit/urls.ts'
import {
  type AuthorizedUpstream,
  type GuardedFetch,
  errorFrom,
  isDirect,
  unreachable,
  untrusted,
} from './upstream.ts'

export interface ResourceMetadata {
  /**
   * Exactly as published: it goes into `resource` unchanged (RFC 8707 §2; MCP Authorization, Canonical Server
   * URI).
   */
  readonly resource: string
  /** In the server's order, not empty. */
  readonly authorizationServers: readonly string[]
  readonly scopes: readonly string[] | undefined
  /** It takes tokens that are bound to a key (RFC 9728 §2). */
  readonly dpop: boolean
}

const textsOf = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : []

const judgeResource = (
  document: Readonly<Record<string, unknown>>,
  upstream: AuthorizedUpstream,
): ResourceMetadata => {
  const { resource, scopes_supported: scopes } = document
  if (typeof resource !== 'string' || !coversEndpoint(resource, upstream.url))
    throw untrusted(upstream, `its resource metadata is about ${JSON.stringify(resource)?.slice(0, 200)}`)
  const authorizationServers = textsOf(document['authorization_servers']).slice(0, 10)
  if (authorizationServers.length === 0)
    throw untrusted(upstream, 'its resource metadata names no authorization server')
  const words = scopeWords(textsOf(scopes).join(' '))
  return {
    resource,
    authorizationServers,
    scopes: words.length > 0 ? words : undefined,
    dpop:
      document['dpop_bound_access_tokens_required'] === true ||
      textsOf(document['dpop_signing_alg_values_supported']).includes('ES256'),
  }
}

/**
 * Undefined for a server without such a document (MCP 2025-03-26). Throws `connection.untrusted` where none
 * of its documents can be used, and `connection.unreachable` when nobody knows whether there is one.
 */
export const readResourceMetadata = async (
  upstream: AuthorizedUpstream,
  challenge: Challenge | undefined,
  guardedFetch: GuardedFetch,
): Promise<ResourceMetadata | undefined> => {
  const named = metadataUrls(upstream, challenge)
  let down: string | undefined
  let wrong: Error | undefined
  for (const url of named.length > 0 ? named : metadataUrls(upstream)) {
    const found = await guardedFetch.document(url)
    if (found.kind === 'down') down = found.why
    if (found.kind !== 'document') continue
    try {
      return judgeResource(found.document, upstream)
    } catch (error) {
      // What is wrong with the document behind the path may be right with the one at the root.
      wrong ??= errorFrom(error)
    }
  }
  if (wrong !== undefined) throw wrong
  // The challenge may be outdated; the well-known URLs are the server's own.
  const atWellKnown =
    named.length > 0 && challenge?.metadata !== undefined
      ? await readResourceMetadata(upstream, undefined, guardedFetch)
      : undefined
  if (atWellKnown === undefined && down !== undefined) throw unreachable(upstream, down)
  return atWellKnown
}

// The metadata of an authorization server (RFC 8414, OpenID Connect Discovery): read where MCP says, and
// believed only as far as it speaks of itself.

/**
 * RFC 8414 §2: an https URL without query and fragment; plain http only where the operator wrote that origin.
 */
export const issuerUrl = (upstream: AuthorizedUpstream, issuer: string): URL => {
  const url = URL.canParse(issuer) ? new URL(issuer) : undefined
  const secure = url?.protocol === 'https:' || (url?.protocol === 'http:' && atOrigin(url, upstream.origins))
  if (!url || !secure || url.search !== '' || url.hash !== '' || url.username !== '' || url.password !== '')
    throw untrusted(upstream, `${issuer.slice(0, 200)} is no issuer`)
  return url
}

/**
 * The settings of an operator who knows better. With them there is no discovery, and nothing can contradict
 * them.
 */
const byHand = ({ id, auth }: AuthorizedUpstream): string => {
  const names =
    auth.client_id === undefined
      ? 'client_id, authorization_endpoint and token_endpoint'
      : 'authorization_endpoint and token_endpoint'
  return `if it is right all the same, set mcp_services.${id}.upstream_auth.${names} (in place of issuer)`
}

/** An issuer whose endpoints are published at another site by its own owner, and that everybody knows. */
const knownPairs: Readonly<Record<string, readonly string[]>> = {
  'https://accounts.google.com': ['https://oauth2.googleapis.com'],
}

const isUrl = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= 2048 && URL.canParse(value)

/** An https URL for a browser; plain http only at an origin that the operator configured. */
const isBrowserUrl = (url: URL, configured: boolean): boolean =>
  (url.protocol === 'https:' || (url.protocol === 'http:' && configured)) &&
  url.username === '' &&
  url.password === '' &&
  url.hash === ''

/**
 * An endpoint that the metadata names. A server that sends people or codes to somebody else's endpoints takes
 * part in a mix-up (RFC 9700 §4.4). An issuer that the operator configured is believed about its own
 * endpoints; those of an issuer that an upstream names must be on its own site, or at an origin that the
 * operator configured.
 */
const endpoint = async (
  upstream: AuthorizedUpstream,
  issuer: URL,
  name: string,
  value: unknown,
): Promise<string | undefined> => {
  if (value === undefined || value === null) return undefined
  const url = isUrl(value) ? new URL(value) : undefined
  const configured = url !== undefined && atOrigin(url, upstream.origins)
  if (!url || !isBrowserUrl(url, configured))
    throw untrusted(
      upstream,
      `its ${name} is no address for a browser: ${JSON.stringify(value).slice(0, 200)}`,
    )
  const believed =
    configured ||
    url.host === issuer.host ||
    byOperator(upstream, issuer) ||
    (knownPairs[issuer.origin] ?? []).includes(url.origin)
  if (!believed && !(await sameSite(url.hostname, issuer.hostname)))
    throw untrusted(
      upstream,
      `${issuer.origin} names ${url.origin} as its ${name}; if that is right, add "${url.origin}" to mcp_services.${upstream.id}.upstream_auth.allow_origins`,
    )
  // The text itself: some servers compare their own endpoint as the audience of assertions.
  return value as string
}

const byOperator = ({ auth }: AuthorizedUpstream, issuer: URL): boolean =>
  auth.issuer !== undefined && sameIssuer(auth.issuer, issuer.href)

const texts = (value: unknown): string[] | undefined =>
  Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : undefined

type Document = Readonly<Record<string, unknown>>

/** RFC 8414 §3.3: the same issuer. The metadata's own spelling is what `iss` is compared with. */
const checkIssuer = (upstream: AuthorizedUpstream, issuer: string, named: unknown): string => {
  if (typeof named === 'string' && sameIssuer(named, issuer)) return named
  throw untrusted(
    upstream,
    `the authorization server at ${issuer.slice(0, 200)} calls itself ${JSON.stringify(named)?.slice(0, 200)}; ${byHand(upstream)}`,
  )
}

/** Members that are copied if they are lists of strings. */
const lists = [
  'code_challenge_methods_supported',
  'token_endpoint_auth_methods_supported',
  'scopes_supported',
  'grant_types_supported',
  'dpop_signing_alg_values_supported',
] as const
/** Members that are copied if they are true. */
const flags = [
  'authorization_response_iss_parameter_supported',
  'client_id_metadata_document_supported',
] as const

const listsOf = (document: Document): Partial<Pick<oauth.AuthorizationServer, (typeof lists)[number]>> =>
  Object.fromEntries(lists.flatMap((name) => [[name, texts(document[name])]]).filter(([, value]) => value))

const flagsOf = (document: Document): Partial<Pick<oauth.AuthorizationServer, (typeof flags)[number]>> =>
  Object.fromEntries(flags.filter((name) => document[name] === true).map((name) => [name, true]))

const judgeServer = async (
  upstream: AuthorizedUpstream,
  issuer: string,
  document: Document,
): Promise<oauth.AuthorizationServer> => {
  const named = checkIssuer(upstream, issuer, document['issuer'])
  const at = issuerUrl(upstream, named)
  const people = !isDirect(upstream)
  // MCP Security Considerations, Authorization Code Protection: without the member there is no PKCE, and a
  // client must refuse.
  if (!texts(document['code_challenge_methods_supported'])?.includes('S256') && people)
    throw untrusted(upstream, `${named} does not say that it supports PKCE with S256; ${byHand(upstream)}`)
  const read = (name: string): Promise<string | undefined> => endpoint(upstream, at, name, document[name])
  const authorization = await read('authorization_endpoint')
  const token = await read('token_endpoint')
  const registration = await read('registration_endpoint')
  const revocation = await read('revocation_endpoint')
  if (token === undefined || (authorization === undefined && people))
    throw untrusted(
      upstream,
      `${named} has no ${token === undefined ? 'token' : 'authorization'} endpoint; ${byHand(upstream)}`,
    )
  return {
    issuer: named,
    token_endpoint: token,
    ...(authorization !== undefined && { authorization_endpoint: authorization }),
    ...(registration !== undefined && { registration_endpoint: registration }),
    ...(revocation !== undefined && { revocation_endpoint: revocation }),
    ...listsOf(document),
    ...flagsOf(document),
  }
}

/** Whether the gateway can become a client there without the operator's help, or needs not. */
const takesClients = ({ auth }: AuthorizedUpstream, as: oauth.AuthorizationServer): boolean =>
  auth.client_id !== undefined ||
  as.registration_endpoint !== undefined ||
  as.client_id_metadata_document_supported === true

/**
 * The first document that can be used; one that accepts clients is preferred. A server's OAuth metadata and
 * its OpenID configuration are often written by two hands, and one of them is complete. Undefined when there
 * is none at any of the URLs. Throws the fault of the first (`connection.untrusted`) and, when nobody knows,
 * `connection.unreachable`.
 */
export const readAuthorizationServer = async (
  upstream: AuthorizedUpstream,
  issuer: string,
  guardedFetch: GuardedFetch,
): Promise<oauth.AuthorizationServer | undefined> => {
  let down: string | undefined
  let wrong: Error | undefined
  let usable: oauth.AuthorizationServer | undefined
  for (const url of authorizationServerUrls(issuerUrl(upstream, issuer))) {
    const found = await guardedFetch.document(url)
    if (found.kind === 'down') down ??= found.why
    if (found.kind !== 'document') continue
    const as = await judgeServer(upstream, issuer, found.document).catch((error: unknown) => {
      wrong ??= errorFrom(error)
      return undefined
    })
    if (as && takesClients(upstream, as)) return as
    usable ??= as
  }
  if (usable) return usable
  if (wrong !== undefined) throw wrong
  if (down !== undefined) throw unreachable(upstream, down)
  return undefined
}
