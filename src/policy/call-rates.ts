// How many calls a caller may make in how long, by the limits of the configuration.
import type { Config, ServiceConfig } from '../config/schema.ts'
import { networkOf, siteOf } from '../kit/addresses.ts'
import type { CallRates, CountCalls, JudgedMessage, RateExceeded } from '../ports/policy.ts'
import type { Principal } from '../ports/people.ts'
import type { Service } from '../ports/services.ts'
import { type Glob, foldedName, globOf, matches } from './globs.ts'
import { perSite } from './rate-limit.ts'

type RateConfig = NonNullable<ServiceConfig['rate_limits']>[number]

interface Caller {
  readonly principal: Principal | undefined
  readonly ip: string
}

/** What is counted, and for how long. */
interface Pace {
  readonly calls: number
  readonly windowMs: number
}

/** The counts of one limit. */
interface Counts {
  /** Milliseconds until there is room for so many; 0 when there is. Counts nothing. */
  wait(caller: Caller, cost: number): number
  use(caller: Caller, cost: number): void
}

/** Keys counted at a time for one limit; whoever invents more displaces the oldest, never the memory. */
const mostKeys = 50_000

interface Window {
  used: number
  /** Epoch ms at which the count begins anew. */
  readonly until: number
}

/** Fixed windows. All of a limit are equally long, so those that are over stand first in order of making. */
const createWindows = (now: () => number, { calls, windowMs }: Pace) => {
  const windows = new Map<string, Window>()
  const forgetOver = (at: number): void => {
    for (const [key, { until }] of windows) {
      if (until > at && windows.size < mostKeys) return
      windows.delete(key)
    }
  }
  return {
    wait(key: string, cost: number, times = 1): number {
      const at = now()
      const known = windows.get(key)
      if (!known || known.until <= at) return cost > calls * times ? windowMs : 0
      return known.used + cost > calls * times ? known.until - at : 0
    },
    use(key: string, cost: number): void {
      const at = now()
      const known = windows.get(key)
      if (known && known.until > at) {
        known.used += cost
        return
      }
      windows.delete(key)
      forgetOver(at)
      windows.set(key, { used: cost, until: at + windowMs })
    },
  }
}

/**
 * A count for each user, or for each app of a user. Where nobody signs in, for each address; an IPv6 address
 * is its /64, and its /48 has sixteen times the number.
 */
const createOwnCounts = (now: () => number, pace: Pace, per: 'user' | 'client'): Counts => {
  const windows = createWindows(now, pace)
  const keyOf = ({ personKey, clientId }: Principal): string =>
    per === 'user' ? personKey : JSON.stringify([personKey, clientId])
  return {
    wait({ principal, ip }, cost) {
      if (principal) return windows.wait(keyOf(principal), cost)
      const [network, site] = [networkOf(ip), siteOf(ip)]
      const wait = windows.wait(network, cost)
      return network === site ? wait : Math.max(wait, windows.wait(site, cost, perSite))
    },
    use({ principal, ip }, cost) {
      if (principal) return windows.use(keyOf(principal), cost)
      const [network, site] = [networkOf(ip), siteOf(ip)]
      windows.use(network, cost)
      if (network !== site) windows.use(site, cost)
    },
  }
}

/**
 * One count for all callers. Beyond it, whoever used less than an equal share is served all the same: no
 * caller, and no number of addresses of one subscriber, uses it up for the others.
 */
const createSharedCount = (now: () => number, { calls, windowMs }: Pace): Counts => {
  const places = new Map<string, number>()
  let [all, until] = [0, 0]
  const placeOf = ({ principal, ip }: Caller): string => principal?.personKey ?? siteOf(ip)
  return {
    wait(caller, cost) {
      const at = now()
      if (at >= until) return cost > calls ? windowMs : 0
      if (all + cost <= calls) return 0
      const own = places.get(placeOf(caller)) ?? 0
      const share = Math.max(1, Math.floor(calls / (places.size + 1)))
      return own + cost > share ? until - at : 0
    },
    use(caller, cost) {
      const at = now()
      if (at >= until) {
        places.clear()
        ;[all, until] = [0, at + windowMs]
      }
      all += cost
      const place = placeOf(caller)
      const own = places.get(place)
      if (own !== undefined || places.size < mostKeys) places.set(place, (own ?? 0) + cost)
    },
  }
}

/** Longer names are about every tool, so that no pattern takes long. */
const mostName = 2_048
const mostRemembered = 1_000

/** As a rule that denies sees names: servers are careless about case and about characters that nobody sees. */
const createIsAbout = (globs: readonly Glob[]): ((name: string | undefined) => boolean) => {
  const known = new Map<string, boolean>()
  return (name) => {
    if (name === undefined || name.length > mostName) return true
    const before = known.get(name)
    if (before !== undefined) return before
    const folded = foldedName(name)
    const about = globs.some((glob) => matches(glob, name) || matches(glob, folded))
    if (known.size < mostRemembered) known.set(name, about)
    return about
  }
}

interface Rate extends RateConfig {
  readonly counts: Counts
  readonly isAbout: ((name: string | undefined) => boolean) | undefined
}

const costOf = ({ isAbout }: Rate, messages: readonly JudgedMessage[]): number => {
  let cost = 0
  for (let i = 0; i < messages.length; i++) {
    const { kind, method, name } = messages[i] as JudgedMessage
    if (kind === 'response') continue
    if (!isAbout || (method === 'tools/call' && isAbout(name))) cost++
  }
  return cost
}

const createCount = (rates: readonly Rate[]): CountCalls | undefined => {
  if (rates.length === 0) return undefined
  return (caller, messages) => {
    let exceeded: RateExceeded | undefined
    for (const rate of rates) {
      const cost = costOf(rate, messages)
      const waitMs = cost === 0 ? 0 : rate.counts.wait(caller, cost)
      if (waitMs > (exceeded?.waitMs ?? 0))
        exceeded = { waitMs, calls: rate.calls, withinMs: rate.within * 1000, per: rate.per }
    }
    if (exceeded) return exceeded
    for (const rate of rates) {
      const cost = costOf(rate, messages)
      if (cost > 0) rate.counts.use(caller, cost)
    }
    return undefined
  }
}

export interface CallRatesDeps {
  readonly now: () => number
  /** As it is now: a configuration may be read again while the gateway runs. */
  readonly config: () => Config
  readonly services: CallRates['services'] & {
    /** `rate_limits` of a service, wherever it was added. */
    ratesOf(service: string): ServiceConfig['rate_limits']
  }
}

/** The limits of one configuration, by place and content. */
interface Kept {
  readonly config: Config
  readonly rates: Map<string, Rate>
  /** Of the configuration before: limits that are in both go on with their counts. */
  readonly before: ReadonlyMap<string, Rate>
}

const createRate = (now: () => number, rate: RateConfig): Rate => {
  const { calls, within, per, tools } = rate
  const pace = { calls, windowMs: within * 1000 }
  const counts = per === 'service' ? createSharedCount(now, pace) : createOwnCounts(now, pace, per)
  return { ...rate, counts, isAbout: tools && createIsAbout(tools.map((glob) => globOf(glob))) }
}

export const createCallRates = ({ now, config, services }: CallRatesDeps): CallRates => {
  interface Made {
    readonly config: Config
    readonly own: ServiceConfig['rate_limits']
    readonly count: CountCalls | undefined
  }
  const made = new Map<string, Made>()
  let kept: Kept | undefined
  const rateOf = (rate: RateConfig, where: readonly unknown[]): Rate => {
    const { calls, within, per, tools } = rate
    const key = JSON.stringify([...where, calls, within, per, tools])
    const known = kept?.rates.get(key) ?? kept?.before.get(key) ?? createRate(now, rate)
    kept?.rates.set(key, known)
    return known
  }
  return {
    services,
    of({ id }: Service) {
      const [settings, own] = [config(), services.ratesOf(id)]
      const before = made.get(id)
      if (before && before.config === settings && before.own === own) return before.count
      if (kept?.config !== settings)
        kept = { config: settings, rates: new Map<string, Rate>(), before: kept?.rates ?? new Map() }
      const general = settings.rate_limits.flatMap((rate, i) =>
        !rate.services || rate.services.some((glob) => matches(globOf(glob), id))
          ? [rateOf(rate, ['', i, rate.per === 'service' ? id : ''])]
          : [],
      )
      const count = createCount([...general, ...(own ?? []).map((rate, i) => rateOf(rate, [id, i]))])
      made.set(id, { config: settings, own, count })
      return count
    },
  }
}
