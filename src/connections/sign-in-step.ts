// Whether a person has to connect an account before a service is of use to them, asked while they sign in to it.
import { Refusal } from '../kit/refusal.ts'
import type { ConnectStep } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { AccessTokens } from './access-tokens.ts'
import { type DemandDeps, type Demands, createDemands } from './account-required.ts'
import { type AccountStore, type Accounts, accountIn, isElsewhere } from './accounts.ts'
import type { StartAuthorization } from './authorize.ts'
import type { LookUpCredential } from './credential-lookup.ts'
import { seeOther } from './pending-authorizations.ts'
import { type AuthorizedUpstream, isPersonal } from './upstream.ts'

interface StepDeps extends DemandDeps {
  readonly runtime: Pick<Runtime, 'now' | 'log' | 'outbound'>
  readonly accounts: AccountStore
  readonly show: LookUpCredential
  readonly wallet: AccessTokens
  readonly depart: StartAuthorization
}

export interface SignInStep extends ConnectStep {
  /** Whether there is something to connect, for a page about it. */
  readonly asks: Demands['asks']
}

export const createSignInStep = ({
  runtime,
  accounts,
  show,
  wallet,
  depart,
  needs,
}: StepDeps): SignInStep => {
  const demands = createDemands({ runtime, needs, show })
  const kept = async (person: Person, upstream: AuthorizedUpstream): Promise<Accounts | undefined> =>
    (await accounts.read(accounts.idOf(person, upstream.id)))?.accounts

  return {
    asks: demands.asks,
    // What cannot be found out now is no reason to keep anybody from signing in.
    async ahead({ service }, person) {
      const place = show.place(service)
      const { upstream } = place
      if (!upstream || !isPersonal(upstream) || !service.authRequired) return undefined
      try {
        const drawn = await wallet.draw(person, upstream.id)
        const missing =
          drawn.kind === 'none' ||
          drawn.kind === 'ended' ||
          (drawn.kind === 'token' && isElsewhere(drawn.account, upstream.origin))
        return missing && (await demands.of(place, upstream)) === 'account'
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
      const place = show.place(service)
      const { upstream } = place
      if (!upstream || !isPersonal(upstream) || !service.authRequired) return undefined
      const used = accountIn(await kept(person, upstream))
      if (!used)
        return upstream.auth.type === 'oauth' || place.accountsUntil > runtime.now() ? 'missing' : undefined
      return used.ended === undefined && used.wanted === undefined && !isElsewhere(used, upstream.origin)
        ? 'live'
        : 'ended'
    },
    async begin({ address, session, returnTo, context }) {
      const { upstream } = show.place(address.service)
      if (!upstream) throw new Refusal('connection.unknown', address.service.id)
      // The account that calls are made with, or the first.
      const account = (await kept(session.person, upstream))?.chosen || 'default'
      return seeOther(await depart({ upstream, session, account, returnTo, context }))
    },
  }
}
