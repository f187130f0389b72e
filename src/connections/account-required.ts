// What a 401 of an upstream means: each person must connect an account, or the operator must give the gateway
// a credential.
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import type { ClientRegistrations } from './client-registration.ts'
import { type CredentialContext, type LookUpCredential, accountsMs } from './credential-lookup.ts'
import { discover, probe, unchallenged } from './discovery.ts'
import { metadataUrls } from './metadata.ts'
import { createGuardedFetch } from './oauth-fetch.ts'
import {
  type Challenge,
  type AuthorizedUpstream,
  isPersonal,
  readChallenge,
  signInRefusal,
} from './upstream.ts'

/**
 * `account`: an authorization server is named, or one registers the gateway. Otherwise the refusal for the
 * caller.
 */
export type AccountNeed = 'account' | Refusal

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

const describe401 = (authenticate: readonly string[]): string => {
  if (authenticate.length === 0) return '401 without WWW-Authenticate'
  return `401 with WWW-Authenticate: ${authenticate
    .join(', ')
    .replaceAll(/[^\x20-\x7E]/g, '')
    .slice(0, 150)}`
}

const keyOf = ({ id }: AuthorizedUpstream): string => `mcp_services.${id}.upstream_auth`

/** What the operator can do about a refusal that a user cannot resolve. */
const adviceFor = ({ auth: { type, token } }: AuthorizedUpstream): string => {
  if (type === 'static')
    return `it does not accept the ${token === undefined ? 'headers' : 'token'} written there`
  if (type === 'client_credentials') return 'it does not accept the token that the gateway gets as itself'
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
    `${keyOf(upstream)}: ${upstream.origin} answered ${describe401(authenticate)}${more}; ${adviceFor(upstream)}`,
    {
      page: {
        facts: [
          { name: 'MCP server', value: upstream.name },
          { name: 'Configuration key', value: keyOf(upstream) },
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
export const challengeOf = (upstream: AuthorizedUpstream, authenticate: readonly string[]): Challenge => {
  const challenge = readChallenge(authenticate)
  if (authenticate.length > 0 && !challenge) throw credentialRefusal(upstream, authenticate, '')
  return challenge ?? unchallenged
}

/**
 * Why nobody can connect an account at a server that answered 401: as it was thrown where the server names
 * metadata of its own, or contradicts itself; else nothing says that it has accounts, and the operator gets
 * the refusal.
 */
export const refusalAfter = (
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

// Whether a server requires an account of each person, found out by requests of the gateway's own.

/** `open`: the server works without an account. `unknown`: it does not say, or it is unreachable. */
export type AccountRequirement = 'account' | 'open' | 'unknown'

export interface AccountRequirements {
  of(context: CredentialContext, upstream: AuthorizedUpstream): Promise<AccountRequirement>
  /**
   * The same for the accounts page. `optional`: the server works without an account, but has a sign-in that
   * some of its tools may require.
   */
  asks(service: Service, upstream: AuthorizedUpstream): Promise<AccountRequirement | 'optional'>
}

export interface AccountRequirementDeps {
  readonly runtime: Pick<Runtime, 'now' | 'log' | 'outbound'>
  readonly needs: AccountNeeds
  readonly credentialLookup: Pick<LookUpCredential, 'contextOf'>
}

/** A page waits for the probe. For a slower server the first call decides. */
const probeMs = 2_500
/** How long a server that required nothing is not probed again. */
const openMs = 300_000
/** The same for a server that did not say, or was unreachable. */
const unknownMs = 10_000

interface Found<T> {
  readonly value: T
  readonly until: number
}

export const createAccountRequirements = ({
  runtime,
  needs,
  credentialLookup,
}: AccountRequirementDeps): AccountRequirements => {
  const found = new WeakMap<CredentialContext, Found<'open' | 'unknown'>>()
  const offered = new WeakMap<AuthorizedUpstream, Found<boolean>>()

  /**
   * Without a setting of the operator a probe decides; refusals of calls below the endpoint, or of a moment
   * ago, do not count. The server must name an authorization server, because otherwise nobody could connect
   * there.
   */
  const probeAccount = async (
    context: CredentialContext,
    upstream: AuthorizedUpstream,
  ): Promise<AccountRequirement> => {
    const need = await needs.of(upstream, probeMs)
    if (need === 'account') {
      context.accountsUntil = runtime.now() + accountsMs
      return need
    }
    if (need instanceof Refusal)
      runtime.log('warn', 'upstream.step-unknown', {
        service: upstream.id,
        refusal: need.code,
        why: need.why,
      })
    const value = need === 'open' ? need : 'unknown'
    found.set(context, { value, until: runtime.now() + (value === 'open' ? openMs : unknownMs) })
    return value
  }

  const probeSignIn = async (upstream: AuthorizedUpstream): Promise<Found<boolean>> => {
    try {
      const { by } = await discover(upstream, createGuardedFetch(runtime, upstream, probeMs), unchallenged)
      return { value: by !== 'default', until: runtime.now() + openMs }
    } catch {
      // Its metadata is faulty: whoever tries to connect gets the reason.
      return { value: true, until: runtime.now() + unknownMs }
    }
  }

  const offers = async (upstream: AuthorizedUpstream): Promise<boolean> => {
    const before = offered.get(upstream)
    if (before && before.until > runtime.now()) return before.value
    const now = await probeSignIn(upstream)
    offered.set(upstream, now)
    return now.value
  }

  const of: AccountRequirements['of'] = async (context, upstream) => {
    if (upstream.auth.type === 'oauth') return 'account'
    const before = found.get(context)
    return before && before.until > runtime.now() ? before.value : probeAccount(context, upstream)
  }

  return {
    of,
    async asks(service, upstream) {
      const context = credentialLookup.contextOf(service)
      // The operator's settings decide, and what the server required in a call.
      if (upstream.auth.client_id !== undefined || context.accountsUntil > runtime.now()) return 'account'
      const requirement = await of(context, upstream)
      return requirement === 'open' && (await offers(context.upstream ?? upstream)) ? 'optional' : requirement
    },
  }
}
