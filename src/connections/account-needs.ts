// What a 401 of an upstream means: it asks each person for an account, or the operator has to give the
// gateway a credential.
import { createOnce } from '../kit/once.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type Challenge, readChallenge } from './challenge.ts'
import { discover, probe, unchallenged } from './discover.ts'
import type { Enrolments } from './enrol.ts'
import { signInRefusal } from './faults.ts'
import { metadataUrls } from './resource-metadata.ts'
import { isPersonal, type Upstream } from './upstream.ts'
import { createWeb } from './web.ts'

/** `account`: an authorization server is named, or registers us. Otherwise what the caller is told. */
export type AccountNeed = 'account' | Refusal

export interface AccountNeeds {
  /**
   * `authenticate`: every WWW-Authenticate field of the refusal. `allMs`: the longest that somebody waits
   * for it.
   */
  after(upstream: Upstream, authenticate: readonly string[], allMs?: number): Promise<AccountNeed>
  /** What the server says of itself, to a question of the gateway's own. */
  of(upstream: Upstream, allMs: number): Promise<AccountNeed | 'open' | 'unknown'>
}

interface AccountNeedsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound' | 'defer'>
  readonly enrolments: Pick<Enrolments, 'at'>
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

const keyOf = ({ id }: Upstream): string => `mcp_services.${id}.upstream_auth`

/** What the operator can do about a refusal that no person can help with. */
const adviceFor = ({ auth: { type, token } }: Upstream): string => {
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
  upstream: Upstream,
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

const nothingAt = (upstream: Upstream): string =>
  ` and no metadata names an authorization server (${metadataUrls(upstream).join(', ')})`

/**
 * What to look for after a refusal. Throws for Basic, Negotiate and their like: nothing that a person can
 * grant in a browser.
 */
export const challengeOf = (upstream: Upstream, authenticate: readonly string[]): Challenge => {
  const challenge = readChallenge(authenticate)
  if (authenticate.length > 0 && !challenge) throw credentialRefusal(upstream, authenticate, '')
  return challenge ?? unchallenged
}

/**
 * Why nobody can connect an account at a server that answered 401: as it was thrown where the server names metadata of
 * its own, or contradicts itself; else there is no sign that it knows accounts, and the operator is told.
 */
export const refusalAfter = (
  upstream: Upstream,
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
  const known = new WeakMap<Upstream, Map<string, { readonly need: AccountNeed; readonly until: number }>>()
  const once = createOnce(runtime)

  const find = async (
    upstream: Upstream,
    authenticate: readonly string[],
    allMs?: number,
  ): Promise<AccountNeed> => {
    const web = createWeb(runtime, upstream, allMs)
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

  const remember = (upstream: Upstream, key: string, need: AccountNeed): AccountNeed => {
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
      const probed = await probe(upstream, createWeb(runtime, upstream, allMs))
      return typeof probed === 'string' ? probed : after(upstream, probed, allMs)
    },
  }
}
