// Out to the upstream's authorization server: found, enrolled with, and asked with PKCE, `resource` and a state of this browser session.
import type * as oauth from 'oauth4webapi'
import { encodeBase64url } from '../kit/bytes.ts'
import { personKey } from '../kit/person-key.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, BrowserSession } from '../ports/modules.ts'
import type { Runtime, RequestContext } from '../ports/runtime.ts'
import { challengeOf, refusalAfter } from './account-required.ts'
import { type Account, type AccountStore, accountIn } from './accounts.ts'
import type { ClientRegistrations } from './client-registration.ts'
import { type DiscoveredServer, discover, probe, unchallenged } from './discovery.ts'
import { type GuardedFetch, createGuardedFetch } from './oauth-fetch.ts'
import { type PendingAuthorizations, withOnward } from './pending-authorizations.ts'
import { type AuthorizedUpstream, signInRefusal, untrusted } from './upstream.ts'

// The authorization server at which a person is to connect an account, found when they are about to.

/** The authorization server, and what to throw where it does not take us. */
interface Way extends DiscoveredServer {
  readonly refuse: (thrown: unknown) => never
}

/** A server that answers everybody, and says nothing of signing in. */
const noAccount = ({ id, name }: AuthorizedUpstream): Refusal =>
  new Refusal('connection.unknown', `${id} has no upstream sign-in`, {
    say: `${name} does not require an account.`,
  })

/** Throws `connection.*`, and `upstream.credential` where nobody but the operator can help. */
export const findServer = async (upstream: AuthorizedUpstream, web: GuardedFetch): Promise<Way> => {
  const fail = (thrown: unknown): never => {
    throw signInRefusal(thrown, upstream, 'code')
  }
  // What the operator wrote about its sign-in counts, whatever the server answers to a call.
  if (upstream.auth.type !== 'auto' || upstream.auth.client_id !== undefined)
    return { ...(await discover(upstream, web).catch(fail)), refuse: fail }
  const probed = await probe(upstream, web)
  const refused = (thrown: unknown): never => {
    throw typeof probed === 'string'
      ? signInRefusal(thrown, upstream, 'code')
      : refusalAfter(upstream, probed, thrown)
  }
  const way = await discover(
    upstream,
    web,
    typeof probed === 'string' ? unchallenged : challengeOf(upstream, probed),
  ).catch(refused)
  if (probed === 'open' && way.by === 'default') throw noAccount(upstream)
  return { ...way, refuse: way.by === 'origin' || way.by === 'default' ? refused : fail }
}

export interface AuthorizationStart {
  readonly upstream: AuthorizedUpstream
  readonly session: BrowserSession
  /** What the person calls the account. */
  readonly account: string
  /** A path of this gateway. */
  readonly returnTo: string
  readonly context: RequestContext
  /** The server no longer knew the gateway when the person came there. */
  readonly anew?: boolean
}

/** Where to send the browser, after the person agreed. Throws `connection.*`. */
export type StartAuthorization = (departure: AuthorizationStart) => Promise<string>

interface DepartDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'outbound' | 'digest'>
  readonly accounts: AccountStore
  readonly enrolments: ClientRegistrations
  readonly trips: PendingAuthorizations
  readonly record: Audit
}

/**
 * What to ask for. A step up asks for what was granted and what is wanted beside it, or the new token could do less than the old one (MCP Scope Challenge Handling);
 * offline_access is added only where the server has it (MCP Authorization, Refresh Tokens) and beside other scopes, since alone it would ask for nothing else.
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

export const createAuthorize = ({
  runtime,
  accounts,
  enrolments,
  trips,
  record,
}: DepartDeps): StartAuthorization => {
  const start: StartAuthorization = async ({ upstream, session, account, returnTo, context, anew }) => {
    const web = createGuardedFetch(runtime, upstream)
    const { as, resource, scopes, refuse } = await findServer(upstream, web)
    const { authorization_endpoint: endpoint } = as
    if (endpoint === undefined) throw untrusted(upstream, `${as.issuer} has no authorization endpoint`)
    const known = await accounts.read(accounts.idOf(session.person, upstream.id))
    const before = accountIn(known?.accounts, account)
    const asked = scopesFor(
      as,
      scopes,
      upstream.auth.scopes !== undefined,
      before?.issuer === as.issuer ? before : undefined,
    )
    const enrolment = await enrolments
      .at(as, upstream, asked.length > 0 ? asked : undefined, web, anew)
      .catch(refuse)
    const verifier = encodeBase64url(runtime.random(32))
    const person = personKey(session.person)
    const state = await trips.start({
      person,
      session: session.id,
      service: upstream.id,
      account,
      at: upstream.origin,
      as,
      enrolment,
      ...(resource !== undefined && { resource }),
      asked,
      verifier,
      returnTo,
    })
    record({
      event: 'connection.begun',
      service: upstream.id,
      issuer: as.issuer,
      how: enrolment.how,
      person,
      ip: context.ip,
      request_id: context.requestId,
    })
    const query = {
      // The operator's own parameters come first: they may add, never replace.
      ...upstream.auth.extra_params,
      response_type: 'code',
      client_id: enrolment.clientId,
      redirect_uri: enrolment.redirectUri,
      ...(asked.length > 0 && { scope: asked.join(' ') }),
      ...(resource !== undefined && { resource }),
      state,
      code_challenge: runtime.digest(verifier),
      code_challenge_method: 'S256',
    }
    const url = new URL(endpoint)
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    return url.href
  }

  return (departure) =>
    start(departure).catch((thrown: unknown) => {
      throw withOnward(thrown, { service: departure.upstream.id, returnTo: departure.returnTo })
    })
}
