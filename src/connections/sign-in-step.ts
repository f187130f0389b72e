// The step of a login in which a person connects the account that a service requires; whether it requires one
// is found out by requests of the gateway's own.
import { seeOther } from '../kit/http.ts'
import { exchangesSignIn } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { ConnectStep } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import type { AccessTokens } from './access-tokens.ts'
import { type AccountStore, type Accounts, accountIn, isElsewhere } from './accounts.ts'
import type { StartAuthorization } from './authorization.ts'
import { type CredentialContext, accountsMs } from './credentials.ts'
import { type AccountNeeds, discover, unchallenged } from './discovery.ts'
import { type AuthorizedUpstream, createGuardedFetch, isPersonal } from './upstream.ts'

interface StepDeps {
  readonly runtime: Pick<Runtime, 'now' | 'log' | 'outbound'>
  readonly needs: AccountNeeds
  readonly contextOf: (service: Service) => CredentialContext
  readonly accounts: AccountStore
  readonly accessTokens: AccessTokens
  readonly startAuthorization: StartAuthorization
}

/** `open`: the server works without an account. `unknown`: it does not say, or it is unreachable. */
type AccountRequirement = 'account' | 'open' | 'unknown'

interface AccountRequirements {
  of(context: CredentialContext, upstream: AuthorizedUpstream): Promise<AccountRequirement>
  /**
   * The same for the accounts page. `optional`: the server works without an account, but has a sign-in that
   * some of its tools may require.
   */
  asks(service: Service, upstream: AuthorizedUpstream): Promise<AccountRequirement | 'optional'>
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

const createAccountRequirements = ({ runtime, needs, contextOf }: StepDeps): AccountRequirements => {
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
      const context = contextOf(service)
      // The operator's settings decide, and what the server required in a call.
      if (upstream.auth.client_id !== undefined || context.accountsUntil > runtime.now()) return 'account'
      const requirement = await of(context, upstream)
      return requirement === 'open' && (await offers(context.upstream ?? upstream)) ? 'optional' : requirement
    },
  }
}

export interface SignInStep extends ConnectStep {
  /** Whether the accounts page has anything to connect. */
  readonly asks: AccountRequirements['asks']
}

export const createSignInStep = (deps: StepDeps): SignInStep => {
  const { runtime, contextOf, accounts, accessTokens, startAuthorization } = deps
  const requirements = createAccountRequirements(deps)
  const kept = async (person: Person, upstream: AuthorizedUpstream): Promise<Accounts | undefined> =>
    (await accounts.read(accounts.idOf(person, upstream.id)))?.accounts

  return {
    asks: requirements.asks,
    // If this cannot be found out now, the person can sign in all the same.
    async ahead({ service }, person) {
      const context = contextOf(service)
      const { upstream } = context
      if (!upstream || !isPersonal(upstream) || !service.authRequired) return undefined
      try {
        const found = await accessTokens.find(person, upstream.id)
        const missing =
          found.kind === 'none' ||
          found.kind === 'ended' ||
          (found.kind === 'token' && isElsewhere(found.account, upstream.origin))
        return missing && (await requirements.of(context, upstream)) === 'account'
          ? { host: upstream.url.host }
          : undefined
      } catch (error) {
        runtime.log('warn', 'upstream.step-unknown', {
          service: service.id,
          why: error instanceof Error ? error.message : String(error),
        })
        return undefined
      }
    },
    async standing(service, person) {
      if (exchangesSignIn(service.auth)) return 'granted'
      const context = contextOf(service)
      const { upstream } = context
      if (!upstream || !isPersonal(upstream) || !service.authRequired) return undefined
      const used = accountIn(await kept(person, upstream))
      if (!used)
        return upstream.auth.type === 'oauth' || context.accountsUntil > runtime.now() ? 'missing' : undefined
      return used.ended === undefined && used.wanted === undefined && !isElsewhere(used, upstream.origin)
        ? 'live'
        : 'ended'
    },
    async begin({ address, session, returnTo, context }) {
      const { upstream } = contextOf(address.service)
      if (!upstream) throw new Refusal('connection.unknown', address.service.id)
      // The account that calls are made with, or the first.
      const account = (await kept(session.person, upstream))?.chosen || 'default'
      return seeOther(await startAuthorization({ upstream, session, account, returnTo, context }))
    },
  }
}
