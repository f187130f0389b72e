// Whether a person has to connect an account before a service is of use to them, asked while they sign in to it.
import { Refusal } from '../kit/refusal.ts'
import type { ConnectStep } from '../ports/connections.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { AccountNeeds } from './account-needs.ts'
import { accountIn, type Accounts, type AccountStore, isElsewhere } from './accounts.ts'
import type { Depart } from './depart.ts'
import { accountsMs, type Place, type Show } from './show.ts'
import { seeOther } from './trips.ts'
import { isPersonal, type Upstream } from './upstream.ts'
import type { Wallet } from './wallet.ts'

interface StepDeps {
  readonly runtime: Pick<Runtime, 'now' | 'log'>
  readonly accounts: AccountStore
  readonly show: Show
  readonly wallet: Wallet
  readonly depart: Depart
  readonly needs: AccountNeeds
}

/** A page waits for the answers; a server that is slower is found out about by its first call. */
const probeMs = 2_500
/** How long a server that asked for nothing is not asked again. */
const openMs = 300_000
/** The same for one that said nothing, or was not there: the next login but a moment later asks it anew. */
const unknownMs = 10_000

export const createStep = ({ runtime, accounts, show, wallet, depart, needs }: StepDeps): ConnectStep => {
  const quiet = new WeakMap<Place, number>()

  const tell = ({ id }: Upstream, need: Refusal | 'open' | 'unknown'): void => {
    if (need instanceof Refusal)
      runtime.log('warn', 'upstream.step-unknown', { service: id, refusal: need.code, why: need.why })
  }

  /**
   * What nobody wrote down, the server says itself, to a question of the gateway's own: what callers were refused below
   * its endpoint, or a moment ago, does not count. It must name an authorization server, or nobody could connect there.
   */
  const asksForAccount = async (place: Place, upstream: Upstream): Promise<boolean> => {
    if (upstream.auth.type === 'oauth') return true
    if ((quiet.get(place) ?? 0) > runtime.now()) return false
    const need = await needs.of(upstream, probeMs)
    if (need === 'account') place.accountsUntil = runtime.now() + accountsMs
    else tell(upstream, need)
    if (need !== 'account') quiet.set(place, runtime.now() + (need === 'open' ? openMs : unknownMs))
    return need === 'account'
  }

  const kept = async (person: Person, upstream: Upstream): Promise<Accounts | undefined> => (await accounts.read(await accounts.idOf(person, upstream.id)))?.accounts

  return {
    // What cannot be found out now is no reason to keep anybody from signing in.
    async ahead({ service }, person) {
      const place = show.place(service)
      const { upstream } = place
      if (!upstream || !isPersonal(upstream) || !service.authRequired) return undefined
      try {
        const drawn = await wallet.draw(person, upstream.id)
        const missing = drawn.kind === 'none' || drawn.kind === 'ended' || (drawn.kind === 'token' && isElsewhere(drawn.account, upstream.origin))
        return missing && (await asksForAccount(place, upstream)) ? { host: upstream.url.host } : undefined
      } catch (error) {
        runtime.log('warn', 'upstream.step-unknown', { service: service.id, why: error instanceof Error ? error.message : String(error) })
        return undefined
      }
    },
    async standing(service, person) {
      const place = show.place(service)
      const { upstream } = place
      if (!upstream || !isPersonal(upstream) || !service.authRequired) return undefined
      const used = accountIn(await kept(person, upstream))
      if (!used) return upstream.auth.type === 'oauth' || place.accountsUntil > runtime.now() ? 'missing' : undefined
      return used.ended === undefined && used.wanted === undefined && !isElsewhere(used, upstream.origin) ? 'live' : 'ended'
    },
    async begin({ address, session, returnTo, visit }) {
      const { upstream } = show.place(address.service)
      if (!upstream) throw new Refusal('connection.unknown', address.service.id)
      // The account that calls are made with, or the first.
      const account = (await kept(session.person, upstream))?.chosen || 'default'
      return seeOther(await depart({ upstream, session, account, returnTo, visit }))
    },
  }
}
