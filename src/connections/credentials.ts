// The credential of each call, and what follows when an upstream refuses it: another one, once, or a request
// to the person.
import { Refusal } from '../kit/refusal.ts'
import type { UpstreamCredential, UpstreamCredentials, UpstreamAuthFailure } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { AccessTokens } from './access-tokens.ts'
import { type AccountNeeds, credentialRefusal } from './account-required.ts'
import { type AccountStore, accountIn, isElsewhere, withAccount } from './accounts.ts'
import type { ConsentRequired } from './consent-required.ts'
import {
  type CredentialContext,
  type LookUpCredential,
  type CredentialLookup,
  accountsMs,
} from './credential-lookup.ts'
import { type Challenge, type AuthorizedUpstream, isPersonal, readChallenge } from './upstream.ts'

export interface CredentialsDeps {
  readonly credentialLookup: LookUpCredential
  readonly accounts: AccountStore
  readonly accessTokens: AccessTokens
  readonly consentRequired: ConsentRequired
  readonly needs: AccountNeeds
  readonly now: () => number
}

const isTokenCredential = (credential: UpstreamCredential | undefined): credential is CredentialLookup =>
  credential !== undefined && 'tokens' in credential

/** After a call without an account was refused. */
const createAfterNoAccount = ({
  credentialLookup,
  accessTokens,
  needs,
  now,
}: Pick<CredentialsDeps, 'credentialLookup' | 'accessTokens' | 'needs' | 'now'>) => ({
  /** Only the operator can help. */
  async refuseForOperator(upstream: AuthorizedUpstream, authenticate: readonly string[]): Promise<never> {
    const need = await needs.after(upstream, authenticate)
    throw need === 'account'
      ? credentialRefusal(
          upstream,
          authenticate,
          ', and asks each person for an account, which needs auth_required: true',
        )
      : need
  },

  /** The person's account, if the server requires one and the person has one. */
  async tryAccount(
    context: CredentialContext,
    upstream: AuthorizedUpstream,
    person: Person,
    authenticate: readonly string[],
  ): Promise<UpstreamCredential> {
    const found = await accessTokens.find(person, upstream.id)
    if (found.kind !== 'token' || isElsewhere(found.account, upstream.origin)) {
      const need = await needs.after(upstream, authenticate)
      if (need !== 'account') throw need
    }
    context.accountsUntil = now() + accountsMs
    return credentialLookup.fromTokens(upstream, person, found)
  },
})

/** After a call with an account was refused. */
const createAfterAccount = ({
  accounts,
  accessTokens,
  consentRequired,
}: Pick<CredentialsDeps, 'accounts' | 'accessTokens' | 'consentRequired'>) => {
  /**
   * MCP Scope Challenge Handling: more is asked for once; a server that wants it even then is not asked about
   * it again.
   */
  const stepUp = async (
    upstream: AuthorizedUpstream,
    person: Person,
    { tokens: { id, account } }: CredentialLookup,
    { scopes = [] }: Challenge,
  ): Promise<never> => {
    const fresh = scopes.filter((scope) => !account.asked.includes(scope) && !account.granted.includes(scope))
    if (fresh.length === 0)
      throw new Refusal(
        'upstream.scope',
        `${upstream.id} wants ${scopes.join(' ').slice(0, 200) || 'more'}, which was asked for`,
      )
    await accounts.change(id, (current) => {
      const same = accountIn(current, account.name)
      return (
        same && withAccount(current, { ...same, wanted: [...new Set([...(same.wanted ?? []), ...fresh])] })
      )
    })
    throw await consentRequired.permit(upstream, person, fresh)
  }

  /**
   * A fresh token was refused like the one before: only the person can help, by connecting the account again.
   */
  const giveUp = async (
    upstream: AuthorizedUpstream,
    person: Person,
    { tokens: { id, account } }: CredentialLookup,
    below: boolean,
  ): Promise<never> => {
    // The account may be good everywhere else.
    if (below)
      throw new Refusal(
        'upstream.credential',
        `${upstream.id}: a fresh token was refused below the endpoint`,
        { say: 'The MCP server does not accept your account at its current URL.' },
      )
    await accounts.change(id, (current) => {
      const same = accountIn(current, account.name)
      return same?.generation === account.generation
        ? withAccount(current, { ...same, ended: 'refused by the server' })
        : undefined
    })
    accessTokens.forget(person, upstream.id)
    throw await consentRequired.connectAgain(upstream, person, 'a fresh token was refused')
  }
  return { stepUp, giveUp }
}

export const createCredentials = (deps: CredentialsDeps): UpstreamCredentials => {
  const { credentialLookup, accessTokens } = deps
  const { stepUp, giveUp } = createAfterAccount(deps)
  const { refuseForOperator, tryAccount } = createAfterNoAccount(deps)
  const refreshed = async (
    upstream: AuthorizedUpstream,
    person: Person | undefined,
    before: CredentialLookup,
  ): Promise<UpstreamCredential> => {
    const next = await accessTokens.replace(before.tokens)
    return upstream.auth.type === 'client_credentials' && next.kind === 'ended'
      ? credentialLookup.ofGateway(upstream)
      : credentialLookup.fromTokens(upstream, person, next)
  }

  const afterForbidden = (
    upstream: AuthorizedUpstream,
    person: Person | undefined,
    before: CredentialLookup | undefined,
    authenticate: readonly string[],
  ): Promise<never> | undefined => {
    if (!before || !person || !isPersonal(upstream)) return undefined
    const challenge = readChallenge(authenticate)
    return challenge?.error === 'insufficient_scope' ? stepUp(upstream, person, before, challenge) : undefined
  }

  return {
    names: (service) => credentialLookup.contextOf(service).names,
    lookup: (service) => credentialLookup.lookup(credentialLookup.contextOf(service)),
    after({ address, principal, shown, status, authenticate, below, last }: UpstreamAuthFailure) {
      const context = credentialLookup.contextOf(address.service)
      const { upstream } = context
      const person = principal?.person
      const before = isTokenCredential(shown) ? shown : undefined
      if (!upstream) return undefined
      if (status === 403 && !context.fixed) return afterForbidden(upstream, person, before, authenticate)
      if (status !== 401) return undefined
      if (last)
        return before && person && isPersonal(upstream)
          ? giveUp(upstream, person, before, below)
          : refuseForOperator(upstream, authenticate)
      if (before) return refreshed(upstream, person, before)
      return person && isPersonal(upstream)
        ? tryAccount(context, upstream, person, authenticate)
        : refuseForOperator(upstream, authenticate)
    },
  }
}
