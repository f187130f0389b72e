// How often somebody may ask, in one table: what is counted, per what, and how many in how long.
import { Refusal } from '../kit/refusal.ts'
import type { Limit, PaceKind } from '../ports/rooms.ts'

interface Pace {
  readonly points: number
  readonly seconds: number
  /** Counted on a loopback gateway too, where every visitor has the same address. */
  readonly always?: boolean
}

/**
 * Generous where many people share one egress address (hosted clients register and redeem for everybody from a handful of addresses),
 * strict where a password is guessed. The kinds `kept-…` bound what strangers can make the store hold, in KiB whoever they are: beyond it the newest are refused, and
 * nobody who has a grant or a session is ever asked. Each is larger than what one address may use of it.
 */
export const paces = {
  register: { points: 600, seconds: 60 },
  authorize: { points: 600, seconds: 60 },
  token: { points: 6000, seconds: 60 },
  'sign-in': { points: 10, seconds: 60, always: true },
  'sign-in-address': { points: 100, seconds: 60, always: true },
  'kept-registrations': { points: 50_000, seconds: 3600, always: true },
  'kept-flows': { points: 60_000, seconds: 600, always: true },
} as const satisfies Record<PaceKind, Pace>

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
    /** Milliseconds to wait when this one is too many, undefined when it is not. */
    use(key: string, cost: number): number | undefined {
      const at = now()
      const known = windows.get(key)
      if (known && known.until > at) {
        known.used += cost
        return known.used > points ? known.until - at : undefined
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

export interface LimitDeps {
  readonly now: () => number
  readonly loopback: boolean
}

/** Counts in this process. Throws `rate.limited` with `Retry-After` (RFC 9110 §10.2.3) when the pace is exceeded. */
export const createLimit = ({ now, loopback }: LimitDeps): Limit => {
  const kinds = new Map(
    Object.entries(paces as Record<string, Pace>)
      .filter(([, pace]) => pace.always || !loopback)
      .map(([kind, pace]) => [kind, createWindows(now, pace)]),
  )
  const count = async (kind: PaceKind, key: string, cost = 1): Promise<void> => {
    const wait = kinds.get(kind)?.use(key, cost)
    if (wait !== undefined) throw new Refusal('rate.limited', `${kind} by ${key}`, { headers: { 'retry-after': String(Math.max(1, Math.ceil(wait / 1000))) } })
  }
  const forgive: Limit['forgive'] = async (kind, key) => kinds.get(kind)?.giveBack(key)
  return Object.assign(count, { forgive })
}
