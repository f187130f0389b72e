// How often somebody may ask, in one table: what is counted, per what, and how many in how long.
import { networkOf, siteOf } from '../kit/addresses.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Counted, Limit, PaceKind } from '../ports/rooms.ts'
import { createGuesses } from './guesses.ts'

interface Pace {
  readonly points: number
  readonly seconds: number
  /** Counted on a loopback gateway too, where every visitor has the same address. */
  readonly always?: boolean
  /** The points are for all addresses together; who stays below a fair share of them is never refused. */
  readonly shared?: boolean
}

/**
 * Generous where many people share one egress address (hosted clients register and redeem for everybody from a handful of addresses),
 * strict where a password is guessed. The kinds `kept-…` bound what strangers can make the store hold, in KiB: beyond it those are refused who used more than their
 * share, and nobody who has a grant or a session is ever asked. Each is larger than what one address may use of it.
 */
export const paces = {
  register: { points: 600, seconds: 60 },
  authorize: { points: 600, seconds: 60 },
  token: { points: 6000, seconds: 60 },
  'sign-in': { points: 10, seconds: 60, always: true },
  'sign-in-address': { points: 100, seconds: 60, always: true },
  'kept-registrations': { points: 50_000, seconds: 3600, always: true, shared: true },
  'kept-flows': { points: 60_000, seconds: 600, always: true, shared: true },
} as const satisfies Record<PaceKind, Pace>

/** A /48 has 65,536 networks and is what one subscriber may have; many subscribers may sit in one, too. */
const perSite = 16

interface Window {
  used: number
  /** Epoch ms at which the count begins anew. */
  readonly until: number
}

/** Keys counted at a time for one kind; a stranger who invents more displaces the oldest, never the memory. */
const mostKeys = 50_000

/**
 * Counts in fixed windows. No timer empties it: on Workers a timer ends with the request that set it. All windows of a kind are equally long, so those that are over
 * stand first in the order of their making.
 */
const createWindows = (now: () => number, { points, seconds }: Pace) => {
  const windows = new Map<string, Window>()
  const forgetOver = (at: number): void => {
    for (const [key, { until }] of windows) {
      if (until > at && windows.size < mostKeys) return
      windows.delete(key)
    }
  }
  return {
    /** Milliseconds to wait when this one is too many, undefined when it is not. `times`: how often the points are allowed. */
    use(key: string, cost: number, times = 1): number | undefined {
      const at = now()
      const known = windows.get(key)
      if (known && known.until > at) {
        known.used += cost
        return known.used > points * times ? known.until - at : undefined
      }
      windows.delete(key)
      forgetOver(at)
      windows.set(key, { used: cost, until: at + seconds * 1000 })
      return undefined
    },
    giveBack(key: string): void {
      const known = windows.get(key)
      if (known && known.used > 0) known.used--
    },
  }
}

/** What anybody may use of a shared pace, whatever others do, KiB: some sign-ins with the longest requests that are taken. */
const leastShare = 64

/**
 * One window for everybody. While the points last all are served; after that whoever used more than an equal share of them waits for the next window, so that a flood
 * from few places keeps nobody else out. Who cannot be told apart is one place: an IPv4 address, a /48.
 */
const createShares = (now: () => number, { points, seconds }: Pace) => {
  const places = new Map<string, number>()
  let [all, until] = [0, 0]
  return {
    use(place: string, cost: number): number | undefined {
      const at = now()
      if (at >= until) {
        places.clear()
        ;[all, until] = [0, at + seconds * 1000]
      }
      const own = (places.get(place) ?? 0) + cost
      if (all + cost > points && own > Math.max(leastShare, points / (places.size + 1))) return until - at
      all += cost
      if (places.size < mostKeys || places.has(place)) places.set(place, own)
      return undefined
    },
  }
}

export interface LimitDeps {
  readonly now: () => number
  readonly loopback: boolean
}

const tooMany = (why: string, waitMs: number): Refusal =>
  new Refusal('rate.limited', why, { headers: { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))) } })

/** The keys that a use is counted under, and how often each may have the points of its pace. */
const keysOf = (who: Counted): readonly (readonly [key: string, times: number])[] => {
  if (typeof who === 'string') return [[who, 1]]
  const and = who.and === undefined ? '' : ` ${who.and}`
  const [network, site] = [networkOf(who.ip), siteOf(who.ip)]
  return network === site ? [[`${network}${and}`, 1]] : [[`${network}${and}`, 1], [`${site}${and}`, perSite]]
}

/** Counts in this process. Throws `rate.limited` with `Retry-After` (RFC 9110 §10.2.3) when the pace is exceeded. */
export const createLimit = ({ now, loopback }: LimitDeps): Limit => {
  const table = Object.entries(paces as Record<string, Pace>)
  const windows = new Map(table.filter(([, { always, shared }]) => !shared && (always || !loopback)).map(([kind, pace]) => [kind, createWindows(now, pace)]))
  const shares = new Map(table.filter(([, { shared }]) => shared).map(([kind, pace]) => [kind, createShares(now, pace)]))
  const guesses = createGuesses(now)
  const count = async (kind: PaceKind, who: Counted, cost = 1): Promise<void> => {
    const keys = keysOf(who)
    const place = typeof who === 'string' ? who : siteOf(who.ip)
    const waits = [shares.get(kind)?.use(place, cost) ?? 0, ...keys.map(([key, times]) => windows.get(kind)?.use(key, cost, times) ?? 0)]
    const wait = Math.max(...waits)
    if (wait > 0) throw tooMany(`${kind} by ${keys.map(([key]) => key).join(', ')}`, wait)
  }
  return Object.assign(count, {
    async forgive(kind: PaceKind, who: Counted) {
      for (const [key] of keysOf(who)) windows.get(kind)?.giveBack(key)
    },
    async guess(account: string, ip: string) {
      const wait = guesses.wait(account, networkOf(ip))
      if (wait > 0) throw tooMany(`passwords for one account by ${networkOf(ip)}`, wait)
    },
    async guessedWrong(account: string) {
      guesses.wrong(account)
    },
  })
}
