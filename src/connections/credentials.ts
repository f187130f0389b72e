// The credential of each call, and what follows when an upstream refuses it: another one, once, or the question to the person.
import { Refusal } from '../kit/refusal.ts'
import type { Credential, Credentials, Rebuff } from '../ports/connections.ts'
import type { Person } from '../ports/people.ts'
import { type AccountStore, accountIn, withAccount } from './accounts.ts'
import type { AskPerson } from './ask-person.ts'
import { type Challenge, readChallenge } from './challenge.ts'
import type { Show, Shown } from './show.ts'
import { isPersonal, type Upstream } from './upstream.ts'
import type { Wallet } from './wallet.ts'

export interface CredentialsDeps {
  readonly show: Show
  readonly accounts: AccountStore
  readonly wallet: Wallet
  readonly ask: AskPerson
}

const isShown = (credential: Credential | undefined): credential is Shown => credential !== undefined && 'held' in credential

export const createCredentials = ({ show, accounts, wallet, ask }: CredentialsDeps): Credentials => {
  /** MCP Scope Challenge Handling: more is asked for once; a server that wants it even then is not asked about it again. */
  const stepUp = async (upstream: Upstream, person: Person, { held: { id, account } }: Shown, { scopes = [] }: Challenge): Promise<never> => {
    const fresh = scopes.filter((scope) => !account.asked.includes(scope) && !account.granted.includes(scope))
    if (fresh.length === 0) throw new Refusal('upstream.scope', `${upstream.id} wants ${scopes.join(' ').slice(0, 200) || 'more'}, which was asked for`)
    await accounts.change(id, (current) => {
      const same = accountIn(current, account.name)
      return same && withAccount(current, { ...same, wanted: [...new Set([...(same.wanted ?? []), ...fresh])] })
    })
    throw await ask.permit(upstream, person, fresh)
  }

  /** A token that came a moment ago is refused like the one before: only the person can help, by connecting anew. */
  const giveUp = async (upstream: Upstream, person: Person, { held: { id, account } }: Shown): Promise<never> => {
    await accounts.change(id, (current) => {
      const same = accountIn(current, account.name)
      return same?.generation === account.generation ? withAccount(current, { ...same, ended: 'refused by the server' }) : undefined
    })
    wallet.forget(person, upstream.id)
    throw await ask.connectAgain(upstream, person, 'a fresh token was refused')
  }

  const renewed = async (upstream: Upstream, person: Person | undefined, before: Shown): Promise<Credential> => {
    const next = await wallet.redraw(before.held)
    return upstream.auth.type === 'client_credentials' && next.kind === 'ended' ? show.own(upstream) : show.drawn(upstream, person, next)
  }

  const afterForbidden = (upstream: Upstream, person: Person | undefined, before: Shown | undefined, authenticate: readonly string[]): Promise<never> | undefined => {
    if (!before || !person || !isPersonal(upstream)) return undefined
    const challenge = readChallenge(authenticate)
    return challenge?.error === 'insufficient_scope' ? stepUp(upstream, person, before, challenge) : undefined
  }

  return {
    names: (service) => show.place(service).names,
    of: ({ service }, principal) => show.of(show.place(service), principal),
    after({ address, principal, shown, status, authenticate, last }: Rebuff) {
      const place = show.place(address.service)
      const { upstream } = place
      const person = principal?.person
      const before = isShown(shown) ? shown : undefined
      if (!upstream || place.fixed) return undefined
      if (status === 403) return afterForbidden(upstream, person, before, authenticate)
      if (status !== 401) return undefined
      if (last) return before && person && isPersonal(upstream) ? giveUp(upstream, person, before) : undefined
      if (before) return renewed(upstream, person, before)
      // A server that wants Basic, or anything else that nobody can grant in a browser, is the operator's matter.
      if (!person || !isPersonal(upstream) || (authenticate.length > 0 && !readChallenge(authenticate))) return undefined
      place.guarded = true
      return Promise.resolve(wallet.draw(person, upstream.id)).then((drawn) => show.drawn(upstream, person, drawn))
    },
  }
}
