// The step of a login in which a person connects the account that a service requires.
import { Refusal } from '../kit/refusal.ts'
import type { ConnectStep } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { AccessTokens } from './access-tokens.ts'
import {
  type AccountRequirementDeps,
  type AccountRequirements,
  createAccountRequirements,
} from './account-required.ts'
import { type AccountStore, type Accounts, accountIn, isElsewhere } from './accounts.ts'
import type { StartAuthorization } from './authorize.ts'
import type { LookUpCredential } from './credential-lookup.ts'
import { seeOther } from './pending-authorizations.ts'
import { type AuthorizedUpstream, isPersonal } from './upstream.ts'

interface StepDeps extends AccountRequirementDeps {
  readonly runtime: Pick<Runtime, 'now' | 'log' | 'outbound'>
  readonly accounts: AccountStore
  readonly credentialLookup: LookUpCredential
  readonly accessTokens: AccessTokens
  readonly startAuthorization: StartAuthorization
}

export interface SignInStep extends ConnectStep {
  /** Whether the accounts page has anything to connect. */
  readonly asks: AccountRequirements['asks']
}

export const createSignInStep = ({
  runtime,
  accounts,
  credentialLookup,
  accessTokens,
  startAuthorization,
  needs,
}: StepDeps): SignInStep => {
  const requirements = createAccountRequirements({ runtime, needs, credentialLookup })
  const kept = async (person: Person, upstream: AuthorizedUpstream): Promise<Accounts | undefined> =>
    (await accounts.read(accounts.idOf(person, upstream.id)))?.accounts

  return {
    asks: requirements.asks,
    // If this cannot be found out now, the person can sign in all the same.
    async ahead({ service }, person) {
      const context = credentialLookup.contextOf(service)
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
      const context = credentialLookup.contextOf(service)
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
      const { upstream } = credentialLookup.contextOf(address.service)
      if (!upstream) throw new Refusal('connection.unknown', address.service.id)
      // The account that calls are made with, or the first.
      const account = (await kept(session.person, upstream))?.chosen || 'default'
      return seeOther(await startAuthorization({ upstream, session, account, returnTo, context }))
    },
  }
}
