// The credential of each call, and what follows when an upstream refuses it: another one, once, or the question to the person.
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
  readonly show: LookUpCredential
  readonly accounts: AccountStore
  readonly wallet: AccessTokens
  readonly ask: ConsentRequired
  readonly needs: AccountNeeds
  readonly now: () => number
}

const isShown = (credential: UpstreamCredential | undefined): credential is CredentialLookup =>
  credential !== undefined && 'held' in credential

/** What follows a call that was made without an account, and refused. */
const createRefused = ({
  show,
  wallet,
  needs,
  now,
}: Pick<CredentialsDeps, 'show' | 'wallet' | 'needs' | 'now'>) => ({
  /** Nobody who calls can help. */
  async operatorsMatter(upstream: AuthorizedUpstream, authenticate: readonly string[]): Promise<never> {
    const need = await needs.after(upstream, authenticate)
    throw need === 'account'
      ? credentialRefusal(
          upstream,
          authenticate,
          ', and asks each person for an account, which needs auth_required: true',
        )
      : need
  },

  /**
   * A call without a token was refused: with the person's account, where the server asks for one and there
   * is one.
   */
  async asked(
    place: CredentialContext,
    upstream: AuthorizedUpstream,
    person: Person,
    authenticate: readonly string[],
  ): Promise<UpstreamCredential> {
    const drawn = await wallet.draw(person, upstream.id)
    if (drawn.kind !== 'token' || isElsewhere(drawn.account, upstream.origin)) {
      const need = await needs.after(upstream, authenticate)
      if (need !== 'account') throw need
    }
    place.accountsUntil = now() + accountsMs
    return show.drawn(upstream, person, drawn)
  },
})

/** What follows a call that was made with an account, and refused all the same. */
const createGivenUp = ({ accounts, wallet, ask }: Pick<CredentialsDeps, 'accounts' | 'wallet' | 'ask'>) => {
  /** MCP Scope Challenge Handling: more is asked for once; a server that wants it even then is not asked about it again. */
  const stepUp = async (
    upstream: AuthorizedUpstream,
    person: Person,
    { held: { id, account } }: CredentialLookup,
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
    throw await ask.permit(upstream, person, fresh)
  }

  /** A token that came a moment ago is refused like the one before: only the person can help, by connecting anew. */
  const giveUp = async (
    upstream: AuthorizedUpstream,
    person: Person,
    { held: { id, account } }: CredentialLookup,
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
    wallet.forget(person, upstream.id)
    throw await ask.connectAgain(upstream, person, 'a fresh token was refused')
  }
  return { stepUp, giveUp }
}

export const createCredentials = (deps: CredentialsDeps): UpstreamCredentials => {
  const { show, wallet } = deps
  const { stepUp, giveUp } = createGivenUp(deps)
  const { operatorsMatter, asked } = createRefused(deps)
  const renewed = async (
    upstream: AuthorizedUpstream,
    person: Person | undefined,
    before: CredentialLookup,
  ): Promise<UpstreamCredential> => {
    const next = await wallet.redraw(before.held)
    return upstream.auth.type === 'client_credentials' && next.kind === 'ended'
      ? show.own(upstream)
      : show.drawn(upstream, person, next)
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
    names: (service) => show.place(service).names,
    lookup: (service) => show.lookup(show.place(service)),
    after({ address, principal, shown, status, authenticate, below, last }: UpstreamAuthFailure) {
      const place = show.place(address.service)
      const { upstream } = place
      const person = principal?.person
      const before = isShown(shown) ? shown : undefined
      if (!upstream) return undefined
      if (status === 403 && !place.fixed) return afterForbidden(upstream, person, before, authenticate)
      if (status !== 401) return undefined
      if (last)
        return before && person && isPersonal(upstream)
          ? giveUp(upstream, person, before, below)
          : operatorsMatter(upstream, authenticate)
      if (before) return renewed(upstream, person, before)
      return person && isPersonal(upstream)
        ? asked(place, upstream, person, authenticate)
        : operatorsMatter(upstream, authenticate)
    },
  }
}
