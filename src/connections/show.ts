// What an upstream is shown instead of the caller's token, by the operator's choice for the service.
import { Refusal } from '../kit/refusal.ts'
import type { Credential } from '../ports/connections.ts'
import type { Person, Principal } from '../ports/people.ts'
import type { Service } from '../ports/services.ts'
import type { UpstreamAuth } from '../ports/upstream-auth.ts'
import { isElsewhere } from './accounts.ts'
import type { AskPerson } from './ask-person.ts'
import { providerService } from './keep-tokens.ts'
import { unreachable, type Upstream, upstreamOf } from './upstream.ts'
import type { Drawn, Held, Wallet } from './wallet.ts'

/** A credential that came out of the wallet. */
export interface Shown extends Credential {
  readonly held: Held
}

/** A service with its upstream and what is always the same about it. */
export interface Place {
  /** Undefined for services that are not reached over HTTP. */
  readonly upstream: Upstream | undefined
  readonly fixed: Credential | undefined
  /** Header names in lower case that only the gateway may send there. */
  readonly names: readonly string[]
  /**
   * Until when (epoch ms) an upstream about which nothing was written is taken to ask each person for an account. Learned
   * from what names an authorization server, never from a bare 401, and prolonged by accounts that are in use.
   */
  accountsUntil: number
}

/**
 * How long that is believed. Until it lapses it costs a look at the store; afterwards a call, and its
 * refusal.
 */
export const accountsMs = 600_000

export interface ShowDeps {
  readonly now: () => number
  readonly wallet: Wallet
  readonly ask: AskPerson
  /** Signs the gateway in at the upstream; rejects with `connection.*`. */
  readonly machine: (upstream: Upstream) => Promise<void>
}

export interface Show {
  place(service: Service): Place
  /** At once where nothing is to be waited for. Rejects with `upstream.consent`, `connection.unreachable` and `connection.*` of the gateway's own sign-in. */
  of(place: Place, principal: Principal | undefined): Credential | undefined | Promise<Credential | undefined>
  /** From the wallet to the wire, or to the refusal that says what is missing. */
  drawn(upstream: Upstream, person: Person | undefined, drawn: Drawn): Promise<Shown>
  own(upstream: Upstream): Promise<Shown>
}

const bearer = (token: string): readonly string[] => ['Authorization', `Bearer ${token}`]
const shownOf = (held: Held): Shown => ({ headers: bearer(held.access), held })

/** As if it had ended: what was drawn is for a server that the service meant before. */
const forHere = ({ id, origin }: Upstream, drawn: Drawn): Drawn =>
  drawn.kind === 'token' && isElsewhere(drawn.account, origin) ? { kind: 'ended', why: `${id} was at ${drawn.account.at} when the account was connected` } : drawn

const fixedOf = ({ type, token, headers }: UpstreamAuth): Credential | undefined =>
  type === 'static' ? { headers: [...(token === undefined ? [] : bearer(token)), ...Object.entries(headers).flat()] } : undefined

/** Somebody who signed in with a password of this gateway has no token that could be shown. */
const noProvider = ({ id, name }: Upstream): Refusal =>
  new Refusal('upstream.credential', `${id}: user signed in without an identity provider`, { say: `${name} requires a token from an identity provider, and you signed in with a password. Sign in with the identity provider.` })

const placeOf = (service: Service): Place => {
  const upstream = upstreamOf(service)
  const names =
    upstream?.auth.type === 'static'
      ? Object.keys(upstream.auth.headers).map((name) => name.toLowerCase())
      : []
  return { upstream, fixed: upstream && fixedOf(upstream.auth), names, accountsUntil: 0 }
}

const createDrawn =
  (ask: AskPerson): Show['drawn'] =>
  async (upstream, person, given) => {
    const found = forHere(upstream, given)
    if (found.kind === 'token') return shownOf(found)
    if (found.kind === 'later') throw unreachable(upstream, found.why)
    const why = found.kind === 'ended' ? found.why : found.kind
    if (!person) throw new Refusal('upstream.credential', `${upstream.id}: ${why}`)
    if (upstream.auth.type === 'idp_token') throw ask.signInAgain(upstream, person, why)
    throw await (found.kind === 'ended' ? ask.connectAgain(upstream, person, why) : ask.connect(upstream, person))
  }

export const createShow = ({ now, wallet, ask, machine }: ShowDeps): Show => {
  // A service that was changed is another object, so nothing outlives the words it was made of.
  const places = new WeakMap<Service, Place>()

  const drawn = createDrawn(ask)

  const own: Show['own'] = async (upstream) => {
    const before = forHere(upstream, await wallet.draw('gateway', upstream.id))
    if (before.kind === 'token' || before.kind === 'later') return drawn(upstream, undefined, before)
    await machine(upstream)
    wallet.forget('gateway', upstream.id)
    return drawn(upstream, undefined, await wallet.draw('gateway', upstream.id))
  }

  const personal = (
    place: Place,
    upstream: Upstream,
    person: Person,
  ): Credential | undefined | Promise<Credential | undefined> => {
    const { type } = upstream.auth
    if (type === 'idp_token' && person.provider === 'local') throw noProvider(upstream)
    const found = wallet.draw(person, type === 'idp_token' ? providerService(person.provider) : upstream.id)
    // Nothing was written about this upstream: whether it wants an account is its own business, call by call.
    const resolve = (given: Drawn): Credential | undefined | Promise<Credential> => {
      const value = forHere(upstream, given)
      if (value.kind === 'token') {
        place.accountsUntil = now() + accountsMs
        return shownOf(value)
      }
      return type === 'auto' && value.kind !== 'later' ? undefined : drawn(upstream, person, value)
    }
    return found instanceof Promise ? found.then(resolve) : resolve(found)
  }

  return {
    place(service) {
      const before = places.get(service)
      if (before) return before
      const place = placeOf(service)
      places.set(service, place)
      return place
    },
    of(place, principal) {
      const { upstream, fixed } = place
      if (fixed || !upstream) return fixed
      const { type } = upstream.auth
      if (type === 'none' || type === 'static' || (type === 'auto' && place.accountsUntil <= now()))
        return undefined
      if (type === 'client_credentials') return own(upstream)
      return principal && personal(place, upstream, principal.person)
    },
    drawn,
    own,
  }
}
