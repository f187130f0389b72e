// What an upstream is shown instead of the caller's token, by the operator's choice for the service.
import { Refusal } from '../kit/refusal.ts'
import type { UpstreamCredential } from '../ports/modules.ts'
import type { Person, Principal } from '../ports/people.ts'
import type { Service, UpstreamAuth } from '../ports/services.ts'
import type { TokenLookup, HeldTokens, AccessTokens } from './access-tokens.ts'
import { isElsewhere } from './accounts.ts'
import type { ConsentRequired } from './consent-required.ts'
import { providerService } from './save-tokens.ts'
import { type AuthorizedUpstream, unreachable, upstreamOf } from './upstream.ts'

/** A credential that came out of the wallet. */
export interface CredentialLookup extends UpstreamCredential {
  readonly held: HeldTokens
}

/** A service with its upstream and what is always the same about it. */
export interface CredentialContext {
  /** Undefined for services that are not reached over HTTP. */
  readonly upstream: AuthorizedUpstream | undefined
  readonly fixed: UpstreamCredential | undefined
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

export interface LookupDeps {
  readonly now: () => number
  readonly wallet: AccessTokens
  readonly ask: ConsentRequired
  /** Signs the gateway in at the upstream; rejects with `connection.*`. */
  readonly machine: (upstream: AuthorizedUpstream) => Promise<void>
}

export interface LookUpCredential {
  place(service: Service): CredentialContext
  /** At once where nothing is to be waited for. Rejects with `upstream.consent`, `connection.unreachable` and `connection.*` of the gateway's own sign-in. */
  lookup(
    place: CredentialContext,
  ): (
    principal: Principal | undefined,
  ) => UpstreamCredential | undefined | Promise<UpstreamCredential | undefined>
  /** From the wallet to the wire, or to the refusal that says what is missing. */
  drawn(
    upstream: AuthorizedUpstream,
    person: Person | undefined,
    drawn: TokenLookup,
  ): Promise<CredentialLookup>
  own(upstream: AuthorizedUpstream): Promise<CredentialLookup>
}

const bearer = (token: string): readonly string[] => ['Authorization', `Bearer ${token}`]
const shownOf = (held: HeldTokens): CredentialLookup => ({ headers: bearer(held.access), held })

/** As if it had ended: what was drawn is for a server that the service meant before. */
const forHere = ({ id, origin }: AuthorizedUpstream, drawn: TokenLookup): TokenLookup =>
  drawn.kind === 'token' && isElsewhere(drawn.account, origin)
    ? { kind: 'ended', why: `${id} was at ${drawn.account.at} when the account was connected` }
    : drawn

const fixedOf = ({ type, token, headers }: UpstreamAuth): UpstreamCredential | undefined =>
  type === 'static'
    ? { headers: [...(token === undefined ? [] : bearer(token)), ...Object.entries(headers).flat()] }
    : undefined

/** Somebody who signed in with a password of this gateway has no token that could be shown. */
const noProvider = ({ id, name }: AuthorizedUpstream): Refusal =>
  new Refusal('upstream.credential', `${id}: user signed in without an identity provider`, {
    say: `${name} requires a token from an identity provider, and you signed in with a password. Sign in with the identity provider.`,
  })

const placeOf = (service: Service): CredentialContext => {
  const upstream = upstreamOf(service)
  const names =
    upstream?.auth.type === 'static'
      ? Object.keys(upstream.auth.headers).map((name) => name.toLowerCase())
      : []
  return { upstream, fixed: upstream && fixedOf(upstream.auth), names, accountsUntil: 0 }
}

const createDrawn =
  (ask: ConsentRequired): LookUpCredential['drawn'] =>
  async (upstream, person, given) => {
    const found = forHere(upstream, given)
    if (found.kind === 'token') return shownOf(found)
    if (found.kind === 'later') throw unreachable(upstream, found.why)
    const why = found.kind === 'ended' ? found.why : found.kind
    if (!person) throw new Refusal('upstream.credential', `${upstream.id}: ${why}`)
    if (upstream.auth.type === 'idp_token') throw ask.signInAgain(upstream, person, why)
    throw await (found.kind === 'ended'
      ? ask.connectAgain(upstream, person, why)
      : ask.connect(upstream, person))
  }

export const createCredentialLookup = ({ now, wallet, ask, machine }: LookupDeps): LookUpCredential => {
  // A service that was changed is another object, so nothing outlives the words it was made of.
  const places = new WeakMap<Service, CredentialContext>()

  const drawn = createDrawn(ask)

  const own: LookUpCredential['own'] = async (upstream) => {
    const before = forHere(upstream, await wallet.draw('gateway', upstream.id))
    if (before.kind === 'token' || before.kind === 'later') return drawn(upstream, undefined, before)
    await machine(upstream)
    wallet.forget('gateway', upstream.id)
    return drawn(upstream, undefined, await wallet.draw('gateway', upstream.id))
  }

  const personal = (
    place: CredentialContext,
    upstream: AuthorizedUpstream,
    person: Person,
  ): UpstreamCredential | undefined | Promise<UpstreamCredential | undefined> => {
    const { type } = upstream.auth
    if (type === 'idp_token' && person.provider === 'local') throw noProvider(upstream)
    const found = wallet.draw(person, type === 'idp_token' ? providerService(person.provider) : upstream.id)
    // Nothing was written about this upstream: whether it wants an account is its own business, call by call.
    const resolve = (given: TokenLookup): UpstreamCredential | undefined | Promise<UpstreamCredential> => {
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
    lookup(place) {
      const { upstream, fixed } = place
      if (fixed || !upstream) return () => fixed
      const { type } = upstream.auth
      if (type === 'none' || type === 'static') return () => undefined
      if (type === 'client_credentials') return () => own(upstream)
      return (principal) =>
        principal && (type !== 'auto' || place.accountsUntil > now())
          ? personal(place, upstream, principal.person)
          : undefined
    },
    drawn,
    own,
  }
}
