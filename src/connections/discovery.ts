// From the 401 of an upstream to its authorization server, in the order of MCP Authorization Server
// Discovery, with the fallbacks of MCP 2025-03-26 at the end.
import type * as oauth from 'oauth4webapi'
import { sameIssuer } from '../kit/urls.ts'
import { metaKeys, publishedVersions } from '../mcp/revisions.ts'
import { type ResourceMetadata, readAuthorizationServer, readResourceMetadata } from './metadata.ts'
import type { GuardedFetch } from './oauth-fetch.ts'
import { type Challenge, type AuthorizedUpstream, errorFrom, readChallenge, untrusted } from './upstream.ts'

/** The operator, the server's refusal or metadata, or (MCP 2025-03-26) metadata at its origin, or nobody. */
export type NamedBy = 'operator' | 'resource' | 'origin' | 'default'

export interface DiscoveredServer {
  readonly as: oauth.AuthorizationServer
  /** Who says that this is the authorization server. */
  readonly by: NamedBy
  /** What goes into `resource`; undefined where the operator wants none sent. */
  readonly resource: string | undefined
  /**
   * Scopes worth asking for, best source first (MCP Authorization, Scope Selection): the operator's, the
   * challenge's, the metadata's; undefined: the server's default.
   */
  readonly scopes: readonly string[] | undefined
}

/** A refusal that says nothing of how to sign in. */
export const unchallenged: Challenge = { metadata: undefined, scopes: undefined, error: undefined }

/**
 * The WWW-Authenticate fields of its 401. `open`: it asks for nothing. `unknown`: it does not say, or
 * nobody was there to say it.
 */
export type Probed = readonly string[] | 'open' | 'unknown'

/** An endpoint of HTTP+SSE or of a WebSocket has no POST, and often says so before it asks who is there. */
const wantsGet = new Set([400, 404, 405, 406, 426])

/**
 * Asks the upstream for something that changes nothing, without a token: a server that wants one says so, and
 * says what it wants. Whatever else it answers is about this question and nobody's verdict on its revision or
 * transport (MCP SDK, Gateways).
 */
export const probe = async (
  { url, alternative }: Pick<AuthorizedUpstream, 'url' | 'alternative'>,
  guardedFetch: GuardedFetch,
): Promise<Probed> => {
  const [version = ''] = publishedVersions
  const method = 'tools/list'
  const params = {
    _meta: {
      [metaKeys.version]: version,
      [metaKeys.client]: { name: 'Postern', version: '1' },
      [metaKeys.capabilities]: {},
    },
  }
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': version,
    'mcp-method': method,
  }
  const posted = await guardedFetch
    .ask(url.href, {
      method: 'POST',
      headers,
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    })
    .catch(() => undefined)
  const there =
    alternative && (posted?.status === 404 || posted?.status === 405)
      ? await probe({ url: alternative }, guardedFetch)
      : 'open'
  if (typeof there !== 'string') return there
  const answer =
    posted && wantsGet.has(posted.status)
      ? await guardedFetch
          .ask(url.href, { method: 'GET', headers: { accept: 'text/event-stream' } })
          .catch(() => undefined)
      : posted
  if (answer?.status === 401) return answer.authenticate
  return answer === undefined || answer.status >= 500 || answer.status === 429 ? 'unknown' : 'open'
}

const challengeOf = async (
  upstream: AuthorizedUpstream,
  guardedFetch: GuardedFetch,
): Promise<Challenge | undefined> => {
  const probed = await probe(upstream, guardedFetch)
  return typeof probed === 'string' ? undefined : (readChallenge(probed) ?? unchallenged)
}

/**
 * MCP 2025-03-26: the origin of the MCP server is its authorization server, with metadata at the root or,
 * without any, endpoints at default paths.
 */
const fallback = async (
  upstream: AuthorizedUpstream,
  guardedFetch: GuardedFetch,
): Promise<Pick<DiscoveredServer, 'as' | 'by'>> => {
  const { origin } = upstream.url
  const read = await readAuthorizationServer(upstream, origin, guardedFetch)
  if (read) return { as: read, by: 'origin' }
  const as = {
    issuer: origin,
    authorization_endpoint: `${origin}/authorize`,
    token_endpoint: `${origin}/token`,
    registration_endpoint: `${origin}/register`,
    code_challenge_methods_supported: ['S256'],
  }
  return { as, by: 'default' }
}

/** The operator configured both endpoints: no discovery is necessary. */
const configured = ({ auth }: AuthorizedUpstream): oauth.AuthorizationServer | undefined => {
  const {
    authorization_endpoint: authorization,
    token_endpoint: token,
    revocation_endpoint: revocation,
  } = auth
  if (token === undefined || (authorization === undefined && auth.type !== 'client_credentials'))
    return undefined
  return {
    issuer: auth.issuer ?? new URL(token).origin,
    token_endpoint: token,
    code_challenge_methods_supported: ['S256'],
    ...(authorization !== undefined && { authorization_endpoint: authorization }),
    ...(revocation !== undefined && { revocation_endpoint: revocation }),
  }
}

const firstServer = async (
  upstream: AuthorizedUpstream,
  issuers: readonly string[],
  guardedFetch: GuardedFetch,
): Promise<oauth.AuthorizationServer> => {
  let refusal: Error | undefined
  for (const issuer of issuers) {
    try {
      const as = await readAuthorizationServer(upstream, issuer, guardedFetch)
      if (as) return as
    } catch (error) {
      // The next one in the server's list may work. If none does, the fault of the first is reported.
      refusal ??= errorFrom(error)
    }
  }
  throw (
    refusal ?? untrusted(upstream, `no authorization server metadata at ${issuers.join(' ').slice(0, 300)}`)
  )
}

/** Credentials that the operator got from one server are sent to no other. */
const checkConfiguredIssuer = ({ id, name, auth }: AuthorizedUpstream, trusted: readonly string[]): void => {
  const { issuer } = auth
  if (issuer !== undefined && !trusted.some((one) => sameIssuer(one, issuer)))
    throw untrusted(
      { name },
      `it now trusts ${trusted.join(' ').slice(0, 300)}, not ${issuer}, which mcp_services.${id}.upstream_auth.issuer names`,
    )
}

/** The server that the operator or the metadata names, otherwise the fallback of MCP 2025-03-26. */
const namedServer = async (
  upstream: AuthorizedUpstream,
  metadata: ResourceMetadata | undefined,
  guardedFetch: GuardedFetch,
): Promise<Pick<DiscoveredServer, 'as' | 'by'>> => {
  const { issuer } = upstream.auth
  if (issuer !== undefined) return { as: await firstServer(upstream, [issuer], guardedFetch), by: 'operator' }
  return metadata
    ? { as: await firstServer(upstream, metadata.authorizationServers, guardedFetch), by: 'resource' }
    : fallback(upstream, guardedFetch)
}

/** The operator sets an empty `resource` for a server that does not accept the parameter. */
const sentResource = (resource: string): string | undefined => (resource === '' ? undefined : resource)

/**
 * Throws `connection.untrusted` for metadata that contradicts itself, is about something else, or cannot
 * protect a code; `connection.unreachable` if nothing responds. `challenge`: the upstream's 401, where one is
 * at hand.
 */
export const discover = async (
  upstream: AuthorizedUpstream,
  guardedFetch: GuardedFetch,
  challenge?: Challenge,
): Promise<DiscoveredServer> => {
  const { auth, url } = upstream
  const written = configured(upstream)
  if (written)
    return {
      as: written,
      by: 'operator',
      resource: sentResource(auth.resource ?? url.href),
      scopes: auth.scopes,
    }
  const asked = challenge ?? (await challengeOf(upstream, guardedFetch))
  const metadata = await readResourceMetadata(upstream, asked, guardedFetch)
  if (metadata) checkConfiguredIssuer(upstream, metadata.authorizationServers)
  return {
    ...(await namedServer(upstream, metadata, guardedFetch)),
    resource: sentResource(auth.resource ?? metadata?.resource ?? url.href),
    scopes: auth.scopes ?? asked?.scopes ?? metadata?.scopes,
  }
}
