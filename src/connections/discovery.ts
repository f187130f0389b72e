// From an upstream's refusal to the authorization server that can help: what it says of itself, in the order that MCP gives, with the ways of 2025-03-26 at the end.
import type * as oauth from 'oauth4webapi'
import { sameIssuer } from '../kit/urls.ts'
import { metaKeys } from '../mcp/envelope.ts'
import { publishedVersions } from '../mcp/revisions.ts'
import { readAuthorizationServer, readResourceMetadata } from './metadata.ts'
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
  /** Scopes worth asking for, best source first (MCP Authorization, Scope Selection): the operator's, the challenge's, the metadata's; undefined: the server's default. */
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
 * Asks the upstream for something that changes nothing, without a token: a server that wants one says so, and says what it wants. Whatever else it answers is about
 * this question and nobody's verdict on its revision or transport (MCP SDK, Gateways).
 */
export const probe = async (
  { url, elsewhere }: Pick<AuthorizedUpstream, 'url' | 'elsewhere'>,
  web: GuardedFetch,
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
  const posted = await web
    .ask(url.href, {
      method: 'POST',
      headers,
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    })
    .catch(() => undefined)
  const there =
    elsewhere && (posted?.status === 404 || posted?.status === 405)
      ? await probe({ url: elsewhere }, web)
      : 'open'
  if (typeof there !== 'string') return there
  const answer =
    posted && wantsGet.has(posted.status)
      ? await web
          .ask(url.href, { method: 'GET', headers: { accept: 'text/event-stream' } })
          .catch(() => undefined)
      : posted
  if (answer?.status === 401) return answer.authenticate
  return answer === undefined || answer.status >= 500 || answer.status === 429 ? 'unknown' : 'open'
}

const challengeOf = async (
  upstream: AuthorizedUpstream,
  web: GuardedFetch,
): Promise<Challenge | undefined> => {
  const probed = await probe(upstream, web)
  return typeof probed === 'string' ? undefined : (readChallenge(probed) ?? unchallenged)
}

/** MCP 2025-03-26: the origin of the MCP server is its authorization server, with metadata at the root or, without any, endpoints at default paths. */
const fallback = async (
  upstream: AuthorizedUpstream,
  web: GuardedFetch,
): Promise<Pick<DiscoveredServer, 'as' | 'by'>> => {
  const { origin } = upstream.url
  const read = await readAuthorizationServer(upstream, origin, web)
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

/** Both endpoints written by the operator: nothing is asked, nothing can be lied about. */
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
  web: GuardedFetch,
): Promise<oauth.AuthorizationServer> => {
  let refusal: Error | undefined
  for (const issuer of issuers) {
    try {
      const as = await readAuthorizationServer(upstream, issuer, web)
      if (as) return as
    } catch (error) {
      // The next one in the server's list may do; what is wrong with the first is told when none does.
      refusal ??= errorFrom(error)
    }
  }
  throw (
    refusal ?? untrusted(upstream, `no authorization server metadata at ${issuers.join(' ').slice(0, 300)}`)
  )
}

/**
 * Throws `connection.untrusted` for what contradicts itself, is not what it should be about, or cannot protect a code; `connection.unreachable` for what does not answer.
 * `challenge`: the upstream's refusal, where one is at hand.
 */
export const discover = async (
  upstream: AuthorizedUpstream,
  web: GuardedFetch,
  challenge?: Challenge,
): Promise<DiscoveredServer> => {
  const { auth, url } = upstream
  const own = auth.resource ?? url.href
  const written = configured(upstream)
  if (written)
    return { as: written, by: 'operator', resource: own === '' ? undefined : own, scopes: auth.scopes }
  const asked = challenge ?? (await challengeOf(upstream, web))
  const metadata = await readResourceMetadata(upstream, asked, web)
  const issuers = auth.issuer === undefined ? metadata?.authorizationServers : [auth.issuer]
  // D3: credentials that the operator got from one server are shown to no other.
  if (
    auth.issuer !== undefined &&
    metadata &&
    !metadata.authorizationServers.some((issuer) => sameIssuer(issuer, auth.issuer ?? ''))
  )
    throw untrusted(
      upstream,
      `it now trusts ${metadata.authorizationServers.join(' ').slice(0, 300)}, not ${auth.issuer}, which mcp_services.${upstream.id}.upstream_auth.issuer names`,
    )
  const by = auth.issuer === undefined ? 'resource' : 'operator'
  const found = issuers
    ? ({ as: await firstServer(upstream, issuers, web), by } as const)
    : await fallback(upstream, web)
  const resource = auth.resource ?? metadata?.resource ?? own
  return {
    ...found,
    resource: resource === '' ? undefined : resource,
    scopes: auth.scopes ?? asked?.scopes ?? metadata?.scopes,
  }
}
