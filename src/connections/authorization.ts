// A person connects an account: the browser is sent to the upstream's authorization server, with PKCE,
// `resource` and a state of this browser session, and comes back with a code, which is exchanged for tokens.
import * as oauth from 'oauth4webapi'
import { encodeBase64url } from '../kit/bytes.ts'
import { seeOther } from '../kit/http.ts'
import { aboutRequest, whyOf } from '../kit/log.ts'
import { createRecords, personKey } from '../kit/records.ts'
import { Refusal, type RefusalCode } from '../kit/refusal.ts'
import { isCallbackOf } from '../kit/urls.ts'
import type { Audit, BrowserSession, Handler, Sessions } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { RequestContext, Runtime } from '../ports/runtime.ts'
import { type AccountLinks, type AccountLinksDeps, createAccountLinks } from './account-links.ts'
import {
  type Account,
  type AccountStore,
  type AuthorizedAccount,
  type Granted,
  type SaveTokens,
  accountIn,
} from './accounts.ts'
import type { ClientRegistration, ClientRegistrations } from './client-registration.ts'
import { findServer } from './discovery.ts'
import type { Proofs } from './dpop.ts'
import { exchangeCode } from './token-endpoint.ts'
import {
  type AuthorizedUpstream,
  connectPath,
  createGuardedFetch,
  errorOf,
  responseRefusal,
  signInRefusal,
  untrusted,
} from './upstream.ts'

interface AuthorizationDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest' | 'outbound'>
  readonly sessions: Sessions
  readonly accounts: AccountStore
  readonly clientRegistrations: ClientRegistrations
  readonly saveTokens: SaveTokens
  readonly proofs: Proofs
  /** Whether an administrator may still connect an account for this service account: the service account as it is now. */
  readonly confirmOwner: (owner: Person, service: string, by: Person) => Person
  readonly upstreamFor: (service: string) => AuthorizedUpstream | undefined
  readonly record: Audit
}

// Pending authorizations: what must not change until the browser is back, and that it is the same browser.

/** `connect-state:{digest of state}`, sealed. */
interface PendingAuthorization extends AuthorizedAccount {
  readonly person: string
  /** The service account that the account is for, where it is not for that person. */
  readonly owner?: Person
  /** The browser session that went out. */
  readonly session: string
  readonly at: string
  readonly registration: ClientRegistration
  /** PKCE code verifier (RFC 7636 §4.1). */
  readonly verifier: string
  /** A path of this gateway. */
  readonly returnTo: string
}

interface PendingAuthorizations {
  /** Saves the authorization and returns its state: 256 random bits, of which only a digest is saved. */
  start(authorization: PendingAuthorization): Promise<string>
  /**
   * The authorization, once, for the browser session that began it. Throws `connection.state` and
   * `connection.other-browser`.
   */
  end(
    state: string,
    request: Request,
    context: RequestContext,
  ): Promise<{ readonly authorization: PendingAuthorization; readonly person: Person }>
}

const lifetimeMs = 600_000
/** Tells states of ours from those of identity providers, which may come to the same address. */
const statePrefix = 'up_'
export const isAuthorizationState = (state: string): boolean => state.startsWith(statePrefix)

type ReturnPath = Pick<PendingAuthorization, 'service' | 'returnTo'>

/** Where administrators see the accounts of service accounts. */
export const connectionsPath = '/console/connections'

/** The link on a problem page: the page that the authorization started from. Another link has to be made for another. */
const onwardTo = ({ service, returnTo }: ReturnPath, label = 'Try again') =>
  returnTo === connectionsPath
    ? { label: 'Connections', href: connectionsPath }
    : { label, href: `${connectPath(service)}?return_to=${encodeURIComponent(returnTo)}` }

/** Whose account it is, and who connects it for them. */
const whoseOf = ({ owner, person }: Pick<PendingAuthorization, 'owner' | 'person'>) =>
  owner ? { person: personKey(owner), by: person } : { person }

/** During a login: the client gets its code all the same, and its calls say what is missing. */
const withoutIt = (returnTo: string) =>
  returnTo.startsWith('/oauth/consent?')
    ? { instead: { label: 'Continue without this account', href: returnTo } }
    : {}

/** Nothing comes of trying again before somebody else has acted. */
const lasting: ReadonlySet<RefusalCode> = new Set([
  'upstream.credential',
  'connection.registration',
  'connection.untrusted',
  'connection.unknown',
])

/** Anything thrown, as a refusal whose page has a link to continue. */
const withOnward = (thrown: unknown, returnPath: ReturnPath): Refusal => {
  const refusal =
    thrown instanceof Refusal
      ? thrown
      : new Refusal('fault', thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown))
  return new Refusal(refusal.code, refusal.why, {
    ...refusal.detail,
    page: {
      ...refusal.detail.page,
      onward: onwardTo(returnPath, lasting.has(refusal.code) ? 'Back to your account page' : undefined),
      ...withoutIt(returnPath.returnTo),
    },
  })
}

const createPendingAuthorizations = ({
  runtime,
  sessions,
  record,
}: AuthorizationDeps): PendingAuthorizations => {
  const records = createRecords<PendingAuthorization>(runtime, 'connect-state:')
  return {
    async start(authorization) {
      const state = `${statePrefix}${encodeBase64url(runtime.random(32))}`
      await records.put(runtime.digest(state), authorization, { ttlMs: lifetimeMs, only: 'absent' })
      return state
    },
    async end(state, request, context) {
      const key = runtime.digest(state)
      const kept = await records.get(key)
      if (!kept) throw new Refusal('connection.state', 'state unknown or expired')
      const session = await sessions.of(request)
      if (session?.id !== kept.value.session || personKey(session.person) !== kept.value.person) {
        record({
          event: 'callback.other-browser',
          reason: 'connect_browser_mismatch',
          service: kept.value.service,
          ip: context.ip,
          request_id: context.requestId,
        })
        throw new Refusal('connection.other-browser', 'session cookie missing or of another session', {
          page: { onward: onwardTo(kept.value, 'Connect in this browser') },
        })
      }
      // Single use, whatever follows: of two parallel callbacks one goes on.
      if (!(await records.take(key))) throw new Refusal('connection.state', 'state already used')
      const { as, registration, service } = kept.value
      const { pathname } = new URL(request.url)
      // RFC 9700 §4.4.2.2: the answer of another authorization server, whose code this one must never see.
      if (!isCallbackOf(registration.redirectUri, pathname)) {
        const reason = 'redirect_uri_mismatch'
        record({
          event: 'callback.other-server',
          reason,
          service,
          issuer: as.issuer,
          request_id: context.requestId,
        })
        const why = `callback mismatch: ${as.issuer} returned to ${pathname}, expected ${registration.redirectUri}`
        throw withOnward(new Refusal('connection.untrusted', why), kept.value)
      }
      return { authorization: kept.value, person: session.person }
    },
  }
}

// The way out.

interface AuthorizationStart {
  readonly upstream: AuthorizedUpstream
  readonly session: BrowserSession
  /** The service account that it is for, where it is not for the person in front of the browser. */
  readonly owner?: Person | undefined
  /** What the person calls the account. */
  readonly account: string
  /** A path of this gateway. */
  readonly returnTo: string
  readonly context: RequestContext
  /** The authorization server no longer knew the gateway as a client. */
  readonly anew?: boolean
}

/** Resolves to the URL for the browser. Throws `connection.*`. */
export type StartAuthorization = (request: AuthorizationStart) => Promise<string>

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
  {
    state,
    challenge,
    jkt,
  }: { readonly state: string; readonly challenge: string; readonly jkt?: string | undefined },
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
    // RFC 9449 §10: the code is good for the holder of the key alone.
    ...(jkt !== undefined && { dpop_jkt: jkt }),
  }
  const url = new URL(endpoint)
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
  return url.href
}

/** Discovers the authorization server and registers the gateway there, if that is necessary. */
const prepareAuthorization = async (
  { upstream, session, owner = session.person, account, anew }: AuthorizationStart,
  { runtime, accounts, clientRegistrations }: AuthorizationDeps,
) => {
  const guardedFetch = createGuardedFetch(runtime, upstream)
  const { as, resource, scopes, dpop, refuse } = await findServer(upstream, guardedFetch)
  if (as.authorization_endpoint === undefined)
    throw untrusted(upstream, `${as.issuer} has no authorization endpoint`)
  const known = await accounts.read(accounts.idOf(owner, upstream.id))
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
  return { endpoint: as.authorization_endpoint, as, resource, asked, registration, dpop }
}

const createStart = (
  deps: AuthorizationDeps,
  pendingAuthorizations: PendingAuthorizations,
): StartAuthorization => {
  const { runtime, proofs, record } = deps
  const start: StartAuthorization = async (request) => {
    const { upstream, session, owner, account, returnTo, context } = request
    const { endpoint, as, resource, asked, registration, dpop } = await prepareAuthorization(request, deps)
    const proofKey = dpop ? await proofs.createKey() : undefined
    const verifier = encodeBase64url(runtime.random(32))
    const pending: PendingAuthorization = {
      person: personKey(session.person),
      ...(owner && { owner }),
      session: session.id,
      service: upstream.id,
      account,
      at: upstream.origin,
      as,
      registration,
      ...(resource !== undefined && { resource }),
      asked,
      ...(proofKey && { proofKey }),
      verifier,
      returnTo,
    }
    const state = await pendingAuthorizations.start(pending)
    record({
      event: 'connection.begun',
      service: upstream.id,
      issuer: as.issuer,
      how: registration.how,
      ...whoseOf(pending),
      ip: context.ip,
      request_id: context.requestId,
    })
    const jkt = proofKey && (await proofs.thumbprint(proofKey))
    return authorizationUrl(endpoint, upstream, pending, { state, challenge: runtime.digest(verifier), jkt })
  }

  return (request) =>
    start(request).catch((thrown: unknown) => {
      throw withOnward(thrown, { service: request.upstream.id, returnTo: request.returnTo })
    })
}

// The way back.

/** Validates the authorization response and exchanges its code. */
const exchange = async (
  { as, registration, resource, proofKey, verifier }: PendingAuthorization,
  upstream: AuthorizedUpstream,
  response: URLSearchParams,
  state: string,
  { runtime, proofs, clientRegistrations }: AuthorizationDeps,
): Promise<Granted> => {
  let validated: URLSearchParams
  try {
    // RFC 9207 §2.4: `iss` is compared as text, before anything else in the response is believed, errors
    // included.
    validated = oauth.validateAuthResponse(as, { client_id: registration.clientId }, response, state)
  } catch (thrown) {
    throw responseRefusal(thrown, upstream)
  }
  return exchangeCode(
    { as, registration, upstream, resource, proven: proofKey !== undefined },
    validated,
    registration.redirectUri,
    verifier,
    createGuardedFetch(runtime, upstream, undefined, {
      proving: proofKey && { proofs, key: proofKey },
    }).through,
  ).catch(async (thrown: unknown) => {
    if (errorOf(thrown) === 'invalid_client' && registration.how === 'registered')
      await clientRegistrations.forget(as.issuer, upstream.id, registration.clientId)
    const facts = [
      { name: 'Authorization server', value: as.issuer },
      { name: 'Redirect URI', value: registration.redirectUri },
    ]
    throw signInRefusal(thrown, upstream, 'code', facts)
  })
}

const createCallback = (deps: AuthorizationDeps, pendingAuthorizations: PendingAuthorizations): Handler => {
  const { saveTokens, confirmOwner, upstreamFor, record } = deps
  return async (request, context) => {
    const response = new URL(request.url).searchParams
    const [state, second] = response.getAll('state')
    if (!state || second !== undefined) throw new Refusal('connection.state', 'state missing or repeated')
    const { authorization, person } = await pendingAuthorizations.end(state, request, context)
    const facts = {
      service: authorization.service,
      account: authorization.account,
      issuer: authorization.as.issuer,
      ...whoseOf(authorization),
      ip: context.ip,
      request_id: context.requestId,
    }
    const upstream = upstreamFor(authorization.service)
    if (!upstream) throw new Refusal('connection.unknown', authorization.service)
    const granted = await exchange(authorization, upstream, response, state, deps).catch(
      (thrown: unknown) => {
        const refusal = withOnward(thrown, authorization)
        record({ event: 'connection.failed', refusal: refusal.code, why: whyOf(refusal), ...facts })
        throw aboutRequest(refusal, { service: authorization.service, person: authorization.person })
      },
    )
    const { owner, service } = authorization
    await saveTokens(authorization, owner ? confirmOwner(owner, service, person) : person, granted)
    record({
      event: 'connection.made',
      scopes: granted.scopes ?? authorization.asked,
      refreshable: granted.refresh !== undefined,
      ...facts,
    })
    return seeOther(authorization.returnTo)
  }
}

export interface Authorization {
  readonly links: AccountLinks
  /** Where to send the browser, after the person agreed. Throws `connection.*`. */
  readonly start: StartAuthorization
  /** GET /connect/callback/:id, /connect/callback, and /oauth/callback with a state of this module. */
  readonly callback: Handler
}

export const createAuthorization = (
  given: Omit<AuthorizationDeps, 'confirmOwner'> & AccountLinksDeps,
): Authorization => {
  const links = createAccountLinks(given)
  const deps = { ...given, confirmOwner: links.confirm }
  const pendingAuthorizations = createPendingAuthorizations(deps)
  return {
    start: createStart(deps, pendingAuthorizations),
    callback: createCallback(deps, pendingAuthorizations),
    links,
  }
}
