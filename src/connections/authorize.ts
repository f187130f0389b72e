// Sends the browser to the upstream's authorization server: discovery, client registration, then a request
// with PKCE, `resource` and a state of this browser session.
import type * as oauth from 'oauth4webapi'
import { encodeBase64url } from '../kit/bytes.ts'
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, BrowserSession } from '../ports/modules.ts'
import type { Runtime, RequestContext } from '../ports/runtime.ts'
import { challengeOf, refusalAfter } from './account-required.ts'
import { type Account, type AccountStore, accountIn } from './accounts.ts'
import type { ClientRegistrations } from './client-registration.ts'
import { type DiscoveredServer, discover, probe, unchallenged } from './discovery.ts'
import { type GuardedFetch, createGuardedFetch } from './oauth-fetch.ts'
import {
  type PendingAuthorization,
  type PendingAuthorizations,
  withOnward,
} from './pending-authorizations.ts'
import { type AuthorizedUpstream, signInRefusal, untrusted } from './upstream.ts'

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

export interface AuthorizationStart {
  readonly upstream: AuthorizedUpstream
  readonly session: BrowserSession
  /** What the person calls the account. */
  readonly account: string
  /** A path of this gateway. */
  readonly returnTo: string
  readonly context: RequestContext
  /** The authorization server no longer knew the gateway as a client. */
  readonly anew?: boolean
}

/** Where to send the browser, after the person agreed. Throws `connection.*`. */
export type StartAuthorization = (request: AuthorizationStart) => Promise<string>

interface AuthorizeDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'outbound' | 'digest'>
  readonly accounts: AccountStore
  readonly clientRegistrations: ClientRegistrations
  readonly pendingAuthorizations: PendingAuthorizations
  readonly record: Audit
}

/**
 * What to ask for. A step up asks for what was granted and what is wanted beside it, or the new token could
 * do less than the old one (MCP Scope Challenge Handling); offline_access is added only where the server has
 * it (MCP Authorization, Refresh Tokens) and beside other scopes, since alone it would ask for nothing else.
 */
export const scopesFor = (
  as: oauth.AuthorizationServer,
  found: readonly string[] | undefined,
  written: boolean,
  before: Account | undefined,
): readonly string[] => {
  const step = before?.wanted ? [...before.asked, ...before.granted, ...before.wanted] : undefined
  const scopes = new Set(step ?? found)
  if (scopes.size > 0 && !written && as.scopes_supported?.includes('offline_access'))
    scopes.add('offline_access')
  return [...scopes]
}

/** The authorization request of the browser (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2). */
const authorizationUrl = (
  endpoint: string,
  upstream: AuthorizedUpstream,
  { registration, asked, resource }: Pick<PendingAuthorization, 'registration' | 'asked' | 'resource'>,
  { state, challenge }: { readonly state: string; readonly challenge: string },
): string => {
  const query = {
    // The operator's own parameters come first: they may add, never replace.
    ...upstream.auth.extra_params,
    response_type: 'code',
    client_id: registration.clientId,
    redirect_uri: registration.redirectUri,
    ...(asked.length > 0 && { scope: asked.join(' ') }),
    ...(resource !== undefined && { resource }),
    state,
    code_challenge: challenge,
    code_challenge_method: 'S256',
  }
  const url = new URL(endpoint)
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
  return url.href
}

/** Discovers the authorization server and registers the gateway there, if that is necessary. */
const prepareAuthorization = async (
  { upstream, session, account, anew }: AuthorizationStart,
  { runtime, accounts, clientRegistrations }: AuthorizeDeps,
) => {
  const guardedFetch = createGuardedFetch(runtime, upstream)
  const { as, resource, scopes, refuse } = await findServer(upstream, guardedFetch)
  if (as.authorization_endpoint === undefined)
    throw untrusted(upstream, `${as.issuer} has no authorization endpoint`)
  const known = await accounts.read(accounts.idOf(session.person, upstream.id))
  const before = accountIn(known?.accounts, account)
  const asked = scopesFor(
    as,
    scopes,
    upstream.auth.scopes !== undefined,
    before?.issuer === as.issuer ? before : undefined,
  )
  const registration = await clientRegistrations
    .at(as, upstream, asked.length > 0 ? asked : undefined, guardedFetch, anew)
    .catch(refuse)
  return { endpoint: as.authorization_endpoint, as, resource, asked, registration }
}

export const createAuthorize = (deps: AuthorizeDeps): StartAuthorization => {
  const { runtime, pendingAuthorizations, record } = deps
  const start: StartAuthorization = async (request) => {
    const { upstream, session, account, returnTo, context } = request
    const { endpoint, as, resource, asked, registration } = await prepareAuthorization(request, deps)
    const verifier = encodeBase64url(runtime.random(32))
    const pending: PendingAuthorization = {
      person: personKey(session.person),
      session: session.id,
      service: upstream.id,
      account,
      at: upstream.origin,
      as,
      registration,
      ...(resource !== undefined && { resource }),
      asked,
      verifier,
      returnTo,
    }
    const state = await pendingAuthorizations.start(pending)
    record({
      event: 'connection.begun',
      service: upstream.id,
      issuer: as.issuer,
      how: registration.how,
      person: pending.person,
      ip: context.ip,
      request_id: context.requestId,
    })
    return authorizationUrl(endpoint, upstream, pending, { state, challenge: runtime.digest(verifier) })
  }

  return (request) =>
    start(request).catch((thrown: unknown) => {
      throw withOnward(thrown, { service: request.upstream.id, returnTo: request.returnTo })
    })
}
