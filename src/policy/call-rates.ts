// How many calls a caller may make in how long, by the limits of the configuration.
import type { Config, ServiceConfig } from '../config/schema.ts'
import { networkOf, siteOf } from '../kit/addresses.ts'
import { type SingleFlight, createSingleFlight } from '../kit/single-flight.ts'
import type { CallRates, CountCalls, JudgedMessage, RateExceeded } from '../ports/policy.ts'
import type { Principal } from '../ports/people.ts'
import type { Log, Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import type { Counters } from '../ports/store.ts'
import { type Glob, foldedName, globOf, matches } from './globs.ts'

type RateConfig = NonNullable<ServiceConfig['rate_limits']>[number]

interface Caller {
  readonly principal: Principal | undefined
  readonly ip: string
}

/** What is counted, and for how long. */
interface Pace {
  /** Of the limit, for those who keep it. */
  readonly id: string
  readonly calls: number
  readonly windowMs: number
}

/** The counts of one limit. */
interface Counts {
  /**
   * Milliseconds until there is room for so many; 0 when there is. Counts nothing here. A promise where the
   * counts of all processes are asked first; what it answers is found by asking again.
   */
  wait(caller: Caller, cost: number): number | Promise<void>
  use(caller: Caller, cost: number): void
}

export interface CountsDeps {
  readonly now: () => number
  /** Absent: this process counts alone. */
  readonly shared: Pick<Counters, 'hit'> | undefined
  readonly digest: (text: string) => string
  readonly log: Log
  readonly singleFlight: SingleFlight
}

/** A /48 has 65,536 networks and is what one subscriber may have; many subscribers may sit in one, too. */
export const perSite = 16

/** Keys counted at a time for one limit; whoever invents more displaces the oldest, never the memory. */
const mostKeys = 50_000

/**
 * What a process takes of a shared count at a time is this part of the limit: calls are then counted in
 * memory, and what a process took and does not use is lost to the others until the period ends.
 */
const partOfLimit = 20

interface Window {
  used: number
  /** What may be used here: the limit or, where the count is shared, what was taken of it. */
  quota: number
  /** Epoch ms at which the count begins anew. */
  until: number
  /** What can still be taken of the shared count, as far as is known: never more. */
  left: number
}

/**
 * Fixed windows. All of a limit are equally long, so those that are over stand first in order of making. `free`: a
 * process takes nothing of a shared count before it has counted as much as it takes at a time.
 */
export const createWindows = (
  { now, shared, digest, log, singleFlight }: CountsDeps,
  { id, calls, windowMs }: Pace,
  free = false,
) => {
  const windows = new Map<string, Window>()
  const forgetOver = (at: number): void => {
    for (const [key, { until }] of windows) {
      if (until > at && windows.size < mostKeys) return
      windows.delete(key)
    }
  }
  const windowOf = (key: string, limit: number): Window => {
    const at = now()
    const known = windows.get(key)
    if (known && known.until > at) return known
    windows.delete(key)
    forgetOver(at)
    const [quota, left] = shared ? [free ? Math.ceil(limit / partOfLimit) : 0, limit] : [limit, 0]
    const made = { used: 0, quota, left, until: at + windowMs }
    windows.set(key, made)
    return made
  }
  const take = async (key: string, window: Window, limit: number, need: number): Promise<void> => {
    if (!shared) return
    const name = digest(`${id}\n${key}`)
    const hit = (cost: number) => shared.hit(name, { cost, limit, windowMs })
    try {
      let taken = Math.max(need, Math.ceil(limit / partOfLimit))
      let result = await hit(taken)
      if (!result.allowed && need <= result.remaining) result = await hit((taken = need))
      if (result.allowed) window.quota += taken
      window.left = result.remaining
      window.until = now() + result.resetMs
    } catch (error) {
      // Calls are not what may fail for a count: until the period ends this process counts alone.
      log('warn', 'counts.unreachable', { why: error instanceof Error ? error.message : String(error) })
      ;[window.quota, window.left] = [limit, 0]
    }
  }
  return {
    wait(key: string, cost: number, limit = calls): number | Promise<void> {
      if (cost > limit) return windowMs
      const window = windowOf(key, limit)
      const need = window.used + cost - window.quota
      if (need <= 0) return 0
      if (need > window.left) return Math.max(1, window.until - now())
      return singleFlight(`${id}\n${key}`, () => take(key, window, limit, need))
    },
    use(key: string, cost: number, limit = calls): void {
      windowOf(key, limit).used += cost
    },
    untilOf: (key: string): number => windowOf(key, calls).until,
  }
}

/**
 * A count for each user, or for each app of a user. Where nobody signs in, for each address; an IPv6 address
 * is its /64, and its /48 has sixteen times the number.
 */
const createOwnCounts = (deps: CountsDeps, pace: Pace, per: 'user' | 'client'): Counts => {
  const windows = createWindows(deps, pace)
  const perSubscriber = pace.calls * perSite
  const keyOf = ({ personKey, clientId }: Principal): string =>
    per === 'user' ? personKey : JSON.stringify([personKey, clientId])
  return {
    wait({ principal, ip }, cost) {
      if (principal) return windows.wait(keyOf(principal), cost)
      const [network, site] = [networkOf(ip), siteOf(ip)]
      const wait = windows.wait(network, cost)
      return network === site || wait !== 0 ? wait : windows.wait(site, cost, perSubscriber)
    },
    use({ principal, ip }, cost) {
      if (principal) return windows.use(keyOf(principal), cost)
      const [network, site] = [networkOf(ip), siteOf(ip)]
      windows.use(network, cost)
      if (network !== site) windows.use(site, cost, perSubscriber)
    },
  }
}

/**
 * One count for all callers. Beyond it, whoever used less than an equal share is served all the same: no
 * caller, and no number of addresses of one subscriber, uses it up for the others.
 */
const createSharedCount = (deps: CountsDeps, pace: Pace): Counts => {
  const windows = createWindows(deps, pace)
  const all = 'all'
  const places = new Map<string, number>()
  let until = 0
  const placeOf = ({ principal, ip }: Caller): string => principal?.personKey ?? siteOf(ip)
  const forgetOver = (): void => {
    if (deps.now() < until) return
    places.clear()
    until = windows.untilOf(all)
  }
  return {
    wait(caller, cost) {
      const wait = windows.wait(all, cost)
      if (typeof wait !== 'number' || wait === 0 || cost > pace.calls) return wait
      forgetOver()
      const own = places.get(placeOf(caller)) ?? 0
      const share = Math.max(1, Math.floor(pace.calls / (places.size + 1)))
      return own + cost > share ? wait : 0
    },
    use(caller, cost) {
      forgetOver()
      windows.use(all, cost)
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

/** The limit without room that is over last; a promise where counts that are shared were asked meanwhile. */
const findExceeded = (
  rates: readonly Rate[],
  caller: Caller,
  messages: readonly JudgedMessage[],
): RateExceeded | Promise<void> | undefined => {
  let exceeded: RateExceeded | undefined
  let taking: Promise<void> | undefined
  for (const rate of rates) {
    const cost = costOf(rate, messages)
    if (cost === 0) continue
    const wait = rate.counts.wait(caller, cost)
    if (typeof wait !== 'number') taking ??= wait
    else if (wait > (exceeded?.waitMs ?? 0))
      exceeded = { waitMs: wait, calls: rate.calls, withinMs: rate.within * 1000, per: rate.per }
  }
  return exceeded ?? taking
}

const createCount = (rates: readonly Rate[]): CountCalls | undefined => {
  if (rates.length === 0) return undefined
  const count: CountCalls = (caller, messages) => {
    const found = findExceeded(rates, caller, messages)
    // What was taken may be used by another call meanwhile.
    if (found instanceof Promise) return found.then(() => count(caller, messages))
    if (found) return found
    for (const rate of rates) {
      const cost = costOf(rate, messages)
      if (cost > 0) rate.counts.use(caller, cost)
    }
    return undefined
  }
  return count
}

export interface CallRatesDeps {
  readonly runtime: Pick<Runtime, 'now' | 'counters' | 'defer' | 'digest' | 'log'>
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

const createRate = (deps: CountsDeps, id: string, rate: RateConfig): Rate => {
  const { calls, within, per, tools } = rate
  const pace = { id, calls, windowMs: within * 1000 }
  const counts = per === 'service' ? createSharedCount(deps, pace) : createOwnCounts(deps, pace, per)
  return { ...rate, counts, isAbout: tools && createIsAbout(tools.map((glob) => globOf(glob))) }
}

export const createCallRates = ({ runtime, config, services }: CallRatesDeps): CallRates => {
  const { now, counters: shared, digest, log } = runtime
  const deps = { now, shared, digest, log, singleFlight: createSingleFlight(runtime) }
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
    const known = kept?.rates.get(key) ?? kept?.before.get(key) ?? createRate(deps, key, rate)
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
