// Whether a server asks each person for an account, found out with questions of the gateway's own.
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import type { AccountNeeds } from './account-needs.ts'
import { discover, unchallenged } from './discover.ts'
import { accountsMs, type Place, type Show } from './show.ts'
import type { Upstream } from './upstream.ts'
import { createWeb } from './web.ts'

/** `open`: it answers without one. `unknown`: it does not say, or nobody was there to say it. */
export type Demand = 'account' | 'open' | 'unknown'

export interface Demands {
  of(place: Place, upstream: Upstream): Promise<Demand>
  /** The same for a page about it. `optional`: it answers without an account and has a sign-in all the same, which some of its tools may ask for. */
  asks(service: Service, upstream: Upstream): Promise<Demand | 'optional'>
}

export interface DemandDeps {
  readonly runtime: Pick<Runtime, 'now' | 'log' | 'outbound'>
  readonly needs: AccountNeeds
  readonly show: Pick<Show, 'place'>
}

/** A page waits for the answers; a server that is slower is found out about by its first call. */
const probeMs = 2_500
/** How long a server that asked for nothing is not asked again. */
const openMs = 300_000
/** The same for one that said nothing, or was not there: the next login but a moment later asks it anew. */
const unknownMs = 10_000

interface Found<T> {
  readonly value: T
  readonly until: number
}

export const createDemands = ({ runtime, needs, show }: DemandDeps): Demands => {
  const found = new WeakMap<Place, Found<'open' | 'unknown'>>()
  const offered = new WeakMap<Upstream, Found<boolean>>()

  /**
   * What nobody wrote down, the server says itself, to a question of the gateway's own: what callers were refused below
   * its endpoint, or a moment ago, does not count. It must name an authorization server, or nobody could connect there.
   */
  const ask = async (place: Place, upstream: Upstream): Promise<Demand> => {
    const need = await needs.of(upstream, probeMs)
    if (need === 'account') {
      place.accountsUntil = runtime.now() + accountsMs
      return need
    }
    if (need instanceof Refusal)
      runtime.log('warn', 'upstream.step-unknown', { service: upstream.id, refusal: need.code, why: need.why })
    const value = need === 'open' ? need : 'unknown'
    found.set(place, { value, until: runtime.now() + (value === 'open' ? openMs : unknownMs) })
    return value
  }

  const look = async (upstream: Upstream): Promise<Found<boolean>> => {
    try {
      const { by } = await discover(upstream, createWeb(runtime, upstream, probeMs), unchallenged)
      return { value: by !== 'default', until: runtime.now() + openMs }
    } catch {
      // Something is wrong with its metadata: whoever tries to connect is told what.
      return { value: true, until: runtime.now() + unknownMs }
    }
  }

  const offers = async (upstream: Upstream): Promise<boolean> => {
    const before = offered.get(upstream)
    if (before && before.until > runtime.now()) return before.value
    const now = await look(upstream)
    offered.set(upstream, now)
    return now.value
  }

  const of: Demands['of'] = async (place, upstream) => {
    if (upstream.auth.type === 'oauth') return 'account'
    const before = found.get(place)
    return before && before.until > runtime.now() ? before.value : ask(place, upstream)
  }

  return {
    of,
    async asks(service, upstream) {
      const place = show.place(service)
      // What the operator wrote about its sign-in counts, and what it asked for in a call.
      if (upstream.auth.client_id !== undefined || place.accountsUntil > runtime.now()) return 'account'
      const demand = await of(place, upstream)
      return demand === 'open' && (await offers(place.upstream ?? upstream)) ? 'optional' : demand
    },
  }
}
