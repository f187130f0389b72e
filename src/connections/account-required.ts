// What a 401 of an upstream means: it asks each person for an account, or the operator has to give the
// gateway a credential.
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

/** `account`: an authorization server is named, or registers us. Otherwise what the caller is told. */
export type AccountNeed = 'account' | Refusal

export interface AccountNeeds {
  /**
   * `authenticate`: every WWW-Authenticate field of the refusal. `allMs`: the longest that somebody waits
   * for it.
   */
  after(upstream: AuthorizedUpstream, authenticate: readonly string[], allMs?: number): Promise<AccountNeed>
  /** What the server says of itself, to a question of the gateway's own. */
  of(upstream: AuthorizedUpstream, allMs: number): Promise<AccountNeed | 'open' | 'unknown'>
}

interface AccountNeedsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound' | 'defer'>
  readonly enrolments: Pick<ClientRegistrations, 'at'>
}

// Each finding lapses: servers are repaired, and the first 401 may have been an outage. A refusal is looked
// into again
// soon, but not with every call.
const accountMs = 300_000
const refusedMs = 20_000
const downMs = 5_000
/**
 * Challenges of one server that are remembered: paths below the endpoint may each name metadata of their
 * own.
 */
const mostChallenges = 16

const said = (authenticate: readonly string[]): string => {
  if (authenticate.length === 0) return '401 without WWW-Authenticate'
  return `401 with WWW-Authenticate: ${authenticate
    .join(', ')
    .replaceAll(/[^\x20-\x7E]/g, '')
    .slice(0, 150)}`
}

const keyOf = ({ id }: AuthorizedUpstream): string => `mcp_services.${id}.upstream_auth`

/** What the operator can do about a refusal that no person can help with. */
const adviceFor = ({ auth: { type, token } }: AuthorizedUpstream): string => {
  if (type === 'static')
    return `it does not accept the ${token === undefined ? 'headers' : 'token'} written there`
  if (type === 'client_credentials') return 'it does not accept the token that the gateway gets as itself'
  if (type === 'idp_token')
    return "it does not accept the identity provider's token: it must trust that provider, or set another type"
  return 'set type: static with the token or headers that it expects from everybody'
}

/**
 * The operator's matter. Page, error and log say so in the same words; the key comes first, so that no cut
 * loses it.
 */
export const credentialRefusal = (
  upstream: AuthorizedUpstream,
  authenticate: readonly string[],
  more: string,
): Refusal =>
  new Refusal(
    'upstream.credential',
    `${keyOf(upstream)}: ${upstream.origin} answered ${said(authenticate)}${more}; ${adviceFor(upstream)}`,
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
 * What to look for after a refusal. Throws for Basic, Negotiate and their like: nothing that a person can
 * grant in a browser.
 */
export const challengeOf = (upstream: AuthorizedUpstream, authenticate: readonly string[]): Challenge => {
  const challenge = readChallenge(authenticate)
  if (authenticate.length > 0 && !challenge) throw credentialRefusal(upstream, authenticate, '')
  return challenge ?? unchallenged
}

/**
 * Why nobody can connect an account at a server that answered 401: as it was thrown where the server names metadata of
 * its own, or contradicts itself; else there is no sign that it knows accounts, and the operator is told.
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
    refusal.code === 'connection.enrolment'
      ? ', and nothing there takes the gateway as a client'
      : `; ${refusal.why}`
  return credentialRefusal(upstream, authenticate, `${nothingAt(upstream)}${also}`)
}

export const createAccountNeeds = ({ runtime, enrolments }: AccountNeedsDeps): AccountNeeds => {
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
    const web = createGuardedFetch(runtime, upstream, allMs)
    try {
      const { as, by, scopes } = await discover(upstream, web, challengeOf(upstream, authenticate))
      if (!isPersonal(upstream))
        return credentialRefusal(
          upstream,
          authenticate,
          by === 'default' ? nothingAt(upstream) : `, and names the authorization server ${as.issuer}`,
        )
      // MCP 2025-03-26 lets a server name nothing. That one registers clients is the only proof that it is
      // one of those.
      if (by === 'origin' || by === 'default') await enrolments.at(as, upstream, scopes, web)
      return 'account'
    } catch (error) {
      return refusalAfter(upstream, authenticate, error)
    }
  }

  const remember = (upstream: AuthorizedUpstream, key: string, need: AccountNeed): AccountNeed => {
    const kept = known.get(upstream) ?? new Map<string, { need: AccountNeed; until: number }>()
    known.set(upstream, kept)
    kept.delete(key)
    if (kept.size >= mostChallenges) kept.delete(kept.keys().next().value as string)
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

// Whether a server asks each person for an account, found out with questions of the gateway's own.

/** `open`: it answers without one. `unknown`: it does not say, or nobody was there to say it. */
export type Demand = 'account' | 'open' | 'unknown'

export interface Demands {
  of(place: CredentialContext, upstream: AuthorizedUpstream): Promise<Demand>
  /** The same for a page about it. `optional`: it answers without an account and has a sign-in all the same, which some of its tools may ask for. */
  asks(service: Service, upstream: AuthorizedUpstream): Promise<Demand | 'optional'>
}

export interface DemandDeps {
  readonly runtime: Pick<Runtime, 'now' | 'log' | 'outbound'>
  readonly needs: AccountNeeds
  readonly show: Pick<LookUpCredential, 'place'>
}

/** A page waits for the answers; a server that is slower is found out about by its first call. */
const probeMs = 2_500
/** How long a server that asked for nothing is not asked again. */
const openMs = 300_000
/** The same for one that said nothing, or was not there: the next login but a moment later asks it anew. */
const unknownMs = 10_000

interface Found<T> {
  readonly value: T
  readonly until: number
}

export const createDemands = ({ runtime, needs, show }: DemandDeps): Demands => {
  const found = new WeakMap<CredentialContext, Found<'open' | 'unknown'>>()
  const offered = new WeakMap<AuthorizedUpstream, Found<boolean>>()

  /**
   * What nobody wrote down, the server says itself, to a question of the gateway's own: what callers were refused below
   * its endpoint, or a moment ago, does not count. It must name an authorization server, or nobody could connect there.
   */
  const ask = async (place: CredentialContext, upstream: AuthorizedUpstream): Promise<Demand> => {
    const need = await needs.of(upstream, probeMs)
    if (need === 'account') {
      place.accountsUntil = runtime.now() + accountsMs
      return need
    }
    if (need instanceof Refusal)
      runtime.log('warn', 'upstream.step-unknown', {
        service: upstream.id,
        refusal: need.code,
        why: need.why,
      })
    const value = need === 'open' ? need : 'unknown'
    found.set(place, { value, until: runtime.now() + (value === 'open' ? openMs : unknownMs) })
    return value
  }

  const look = async (upstream: AuthorizedUpstream): Promise<Found<boolean>> => {
    try {
      const { by } = await discover(upstream, createGuardedFetch(runtime, upstream, probeMs), unchallenged)
      return { value: by !== 'default', until: runtime.now() + openMs }
    } catch {
      // Something is wrong with its metadata: whoever tries to connect is told what.
      return { value: true, until: runtime.now() + unknownMs }
    }
  }

  const offers = async (upstream: AuthorizedUpstream): Promise<boolean> => {
    const before = offered.get(upstream)
    if (before && before.until > runtime.now()) return before.value
    const now = await look(upstream)
    offered.set(upstream, now)
    return now.value
  }

  const of: Demands['of'] = async (place, upstream) => {
    if (upstream.auth.type === 'oauth') return 'account'
    const before = found.get(place)
    return before && before.until > runtime.now() ? before.value : ask(place, upstream)
  }

  return {
    of,
    async asks(service, upstream) {
      const place = show.place(service)
      // What the operator wrote about its sign-in counts, and what it asked for in a call.
      if (upstream.auth.client_id !== undefined || place.accountsUntil > runtime.now()) return 'account'
      const demand = await of(place, upstream)
      return demand === 'open' && (await offers(place.upstream ?? upstream)) ? 'optional' : demand
    },
  }
}
