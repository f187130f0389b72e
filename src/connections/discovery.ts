// From the 401 of an upstream to its authorization server, in the order of MCP Authorization Server
// Discovery, with the fallbacks of MCP 2025-03-26 at the end; or to what a server without one means: nothing
// to sign in to, or a credential that the operator must give the gateway.
import { type Challenge, readChallenge, metadataUrls } from '../kit/discovery.ts'
import type * as oauth from 'oauth4webapi'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import { sameIssuer } from '../kit/urls.ts'
import { metaKeys, publishedVersions } from '../mcp/revisions.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { ClientRegistrations } from './client-registration.ts'
import { type ResourceMetadata, readAuthorizationServer, readResourceMetadata } from './metadata.ts'
import {
  type AuthorizedUpstream,
  type GuardedFetch,
  createGuardedFetch,
  errorFrom,
  isDirect,
  isPersonal,
  signInRefusal,
  untrusted,
} from './upstream.ts'

/** The operator, the server's refusal or metadata, or (MCP 2025-03-26) metadata at its origin, or nobody. */
type NamedBy = 'operator' | 'resource' | 'origin' | 'default'

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
  /** Whether the token is to be bound to a key (RFC 9449). */
  readonly dpop: boolean
}

/** A refusal that says nothing of how to sign in. */
export const unchallenged: Challenge = { metadata: undefined, scopes: undefined, error: undefined }

/**
 * The WWW-Authenticate fields of its 401. `open`: it asks for nothing. `unknown`: it does not say, or
 * nobody was there to say it.
 */
type Probed = readonly string[] | 'open' | 'unknown'

/** An endpoint of HTTP+SSE or of a WebSocket has no POST, and often says so before it asks who is there. */
const wantsGet = new Set([400, 404, 405, 406, 426])

/**
 * Asks the upstream for something that changes nothing, without a token: a server that wants one says so, and
 * says what it wants. Whatever else it answers is about this question and nobody's verdict on its revision or
 * transport (MCP SDK, Gateways).
 */
const probe = async (
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

const askForChallenge = async (
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
const configured = (upstream: AuthorizedUpstream): oauth.AuthorizationServer | undefined => {
  const { auth } = upstream
  const {
    authorization_endpoint: authorization,
    token_endpoint: token,
    revocation_endpoint: revocation,
  } = auth
  if (token === undefined || (authorization === undefined && !isDirect(upstream))) return undefined
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
 * By default only where both say so: many authorization servers bind tokens for whoever asks, and most MCP servers
 * behind them know no token but a Bearer token.
 */
const wantsDpop = (
  { dpop = 'auto' }: AuthorizedUpstream['auth'],
  as: oauth.AuthorizationServer,
  server: boolean | undefined,
): boolean =>
  dpop === 'required' ||
  (dpop === 'auto' && server === true && as.dpop_signing_alg_values_supported?.includes('ES256') === true)

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
      dpop: wantsDpop(auth, written, undefined),
    }
  const asked = challenge ?? (await askForChallenge(upstream, guardedFetch))
  const metadata = await readResourceMetadata(upstream, asked, guardedFetch)
  if (metadata) checkConfiguredIssuer(upstream, metadata.authorizationServers)
  const named = await namedServer(upstream, metadata, guardedFetch)
  return {
    ...named,
    dpop: wantsDpop(auth, named.as, asked?.dpop ?? metadata?.dpop),
    resource: sentResource(auth.resource ?? metadata?.resource ?? url.href),
    scopes: auth.scopes ?? asked?.scopes ?? metadata?.scopes,
  }
}

// Why nobody can connect an account at a server.

const describe401 = (authenticate: readonly string[]): string => {
  if (authenticate.length === 0) return '401 without WWW-Authenticate'
  return `401 with WWW-Authenticate: ${authenticate
    .join(', ')
    .replaceAll(/[^\x20-\x7E]/g, '')
    .slice(0, 150)}`
}

const settingsOf = ({ id }: AuthorizedUpstream): string => `mcp_services.${id}.upstream_auth`

/** What the operator can do about a refusal that a user cannot resolve. */
const adviceFor = ({ auth: { type, token } }: AuthorizedUpstream): string => {
  if (type === 'static')
    return `it does not accept the ${token === undefined ? 'headers' : 'token'} written there`
  if (type === 'client_credentials' || type === 'workload')
    return 'it does not accept the token that the gateway gets as itself'
  if (type === 'id_jag' || type === 'token_exchange')
    return 'it does not accept a fresh token that the sign-in was exchanged for'
  if (type === 'idp_token')
    return "it does not accept the identity provider's token: it must trust that provider, or set another type"
  return 'set type: static with the token or headers that it expects from everybody'
}

/**
 * A refusal for the operator, with the same text in the page, the error and the log. The key comes first, so
 * that truncation cannot lose it.
 */
export const credentialRefusal = (
  upstream: AuthorizedUpstream,
  authenticate: readonly string[],
  more: string,
): Refusal =>
  new Refusal(
    'upstream.credential',
    `${settingsOf(upstream)}: ${upstream.origin} answered ${describe401(authenticate)}${more}; ${adviceFor(upstream)}`,
    {
      page: {
        facts: [
          { name: 'MCP server', value: upstream.name },
          { name: 'Configuration key', value: settingsOf(upstream) },
        ],
      },
    },
  )

const nothingAt = (upstream: AuthorizedUpstream): string =>
  ` and no metadata names an authorization server (${metadataUrls(upstream).join(', ')})`

/**
 * The challenge to follow after a 401. Throws for Basic, Negotiate and their like: nothing that a person can
 * grant in a browser.
 */
const challengeOf = (upstream: AuthorizedUpstream, authenticate: readonly string[]): Challenge => {
  const challenge = readChallenge(authenticate)
  if (authenticate.length > 0 && !challenge) throw credentialRefusal(upstream, authenticate, '')
  return challenge ?? unchallenged
}

/**
 * Why nobody can connect an account at a server that answered 401: as it was thrown where the server names
 * metadata of its own, or contradicts itself; else nothing says that it has accounts, and the operator gets
 * the refusal.
 */
const refusalAfter = (
  upstream: AuthorizedUpstream,
  authenticate: readonly string[],
  thrown: unknown,
): Refusal => {
  const refusal = signInRefusal(thrown, upstream, 'code')
  const named = upstream.auth.issuer !== undefined || readChallenge(authenticate)?.metadata !== undefined
  if (named || refusal.code === 'connection.untrusted' || refusal.code === 'upstream.credential')
    return refusal
  const also =
    refusal.code === 'connection.registration'
      ? ', and nothing there takes the gateway as a client'
      : `; ${refusal.why}`
  return credentialRefusal(upstream, authenticate, `${nothingAt(upstream)}${also}`)
}

/** The authorization server, and what to throw if it does not accept the gateway as a client. */
interface FoundServer extends DiscoveredServer {
  readonly refuse: (thrown: unknown) => never
}

/** A server that requires no token and names no authorization server. */
const noAccount = ({ id, name }: AuthorizedUpstream): Refusal =>
  new Refusal('connection.unknown', `${id} has no upstream sign-in`, {
    say: `${name} does not require an account.`,
  })

/** Throws `connection.*`, and `upstream.credential` where nobody but the operator can help. */
export const findServer = async (
  upstream: AuthorizedUpstream,
  guardedFetch: GuardedFetch,
): Promise<FoundServer> => {
  const fail = (thrown: unknown): never => {
    throw signInRefusal(thrown, upstream, 'code')
  }
  // The operator's settings decide, whatever the server responds.
  if (upstream.auth.type !== 'auto' || upstream.auth.client_id !== undefined)
    return { ...(await discover(upstream, guardedFetch).catch(fail)), refuse: fail }
  const probed = await probe(upstream, guardedFetch)
  const refused = (thrown: unknown): never => {
    throw typeof probed === 'string'
      ? signInRefusal(thrown, upstream, 'code')
      : refusalAfter(upstream, probed, thrown)
  }
  const found = await discover(
    upstream,
    guardedFetch,
    typeof probed === 'string' ? unchallenged : challengeOf(upstream, probed),
  ).catch(refused)
  if (probed === 'open' && found.by === 'default') throw noAccount(upstream)
  return { ...found, refuse: found.by === 'origin' || found.by === 'default' ? refused : fail }
}

// What a 401 means for the caller: each person must connect an account, or the operator must give the gateway a
// credential.

/**
 * `account`: an authorization server is named, or one registers the gateway. Otherwise the refusal for the
 * caller.
 */
type AccountNeed = 'account' | Refusal

export interface AccountNeeds {
  /**
   * `authenticate`: every WWW-Authenticate field of the refusal. `allMs`: the longest that somebody waits
   * for it.
   */
  after(upstream: AuthorizedUpstream, authenticate: readonly string[], allMs?: number): Promise<AccountNeed>
  /** Probes the server with a request of the gateway's own. */
  of(upstream: AuthorizedUpstream, allMs: number): Promise<AccountNeed | 'open' | 'unknown'>
}

interface AccountNeedsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound' | 'defer'>
  readonly clientRegistrations: Pick<ClientRegistrations, 'at'>
}

// Each result expires: servers are repaired, and the first 401 may have been an outage. After a refusal the
// next check comes soon, but not with every call.
const accountMs = 300_000
const refusedMs = 20_000
const downMs = 5_000
/** Cached challenges of one server: each path below the endpoint may name metadata of its own. */
const maxChallenges = 16

export const createAccountNeeds = ({ runtime, clientRegistrations }: AccountNeedsDeps): AccountNeeds => {
  const known = new WeakMap<
    AuthorizedUpstream,
    Map<string, { readonly need: AccountNeed; readonly until: number }>
  >()
  const once = createSingleFlight(runtime)

  const find = async (
    upstream: AuthorizedUpstream,
    authenticate: readonly string[],
    allMs?: number,
  ): Promise<AccountNeed> => {
    const guardedFetch = createGuardedFetch(runtime, upstream, allMs)
    try {
      const { as, by, scopes } = await discover(upstream, guardedFetch, challengeOf(upstream, authenticate))
      if (!isPersonal(upstream))
        return credentialRefusal(
          upstream,
          authenticate,
          by === 'default' ? nothingAt(upstream) : `, and names the authorization server ${as.issuer}`,
        )
      // MCP 2025-03-26 lets a server name nothing. That one registers clients is the only proof that it is
      // one of those.
      if (by === 'origin' || by === 'default')
        await clientRegistrations.at(as, upstream, scopes, guardedFetch)
      return 'account'
    } catch (error) {
      return refusalAfter(upstream, authenticate, error)
    }
  }

  const remember = (upstream: AuthorizedUpstream, key: string, need: AccountNeed): AccountNeed => {
    const kept = known.get(upstream) ?? new Map<string, { need: AccountNeed; until: number }>()
    known.set(upstream, kept)
    kept.delete(key)
    if (kept.size >= maxChallenges) kept.delete(kept.keys().next().value as string)
    const ms = need === 'account' ? accountMs : need.code === 'connection.unreachable' ? downMs : refusedMs
    kept.set(key, { need, until: runtime.now() + ms })
    return need
  }

  const after: AccountNeeds['after'] = async (upstream, authenticate, allMs) => {
    const key = authenticate.join('\n').slice(0, 2048)
    const before = known.get(upstream)?.get(key)
    if (before && before.until > runtime.now()) return before.need
    const id = `${upstream.id}\n${upstream.url.href}\n${key}`
    return once(id, async () => remember(upstream, key, await find(upstream, authenticate, allMs)))
  }

  return {
    after,
    async of(upstream, allMs) {
      const probed = await probe(upstream, createGuardedFetch(runtime, upstream, allMs))
      return typeof probed === 'string' ? probed : after(upstream, probed, allMs)
    },
  }
}
