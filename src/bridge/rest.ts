// How soon after a failure a server is tried again: at once the first time, then after half a second, one, two, four, at most a minute.
import { Refusal } from '../kit/refusal.ts'
import type { ProcessEnd } from '../ports/spawn.ts'

const mostOwners = 1000
const longestMs = 60_000

interface Failures {
  readonly count: number
  readonly until: number
  readonly end: ProcessEnd
}

export interface Rest {
  /** Passes unless this owner's server failed a moment ago; throws `process.resting` then. */
  check(owner: string): void
  /** A process of this owner failed; `steady` when it had served well before. */
  failed(owner: string, end: ProcessEnd, steady: boolean): void
  /** A process of this owner served and was ended in order. */
  forget(owner: string): void
}

const restMs = (failures: number): number => (failures < 2 ? 0 : Math.min(longestMs, 500 * 2 ** (failures - 2)))

export const createRest = (now: () => number): Rest => {
  const failures = new Map<string, Failures>()
  return {
    check(owner) {
      const rest = failures.get(owner)
      const ms = rest ? rest.until - now() : 0
      if (rest && ms > 0) throw new Refusal('process.resting', rest.end.why, { say: `${rest.end.say} The gateway retries in a moment.`, headers: { 'retry-after': String(Math.ceil(ms / 1000)) } })
    },
    failed(owner, end, steady) {
      const count = steady ? 1 : (failures.get(owner)?.count ?? 0) + 1
      if (failures.size >= mostOwners) failures.delete(failures.keys().next().value as string)
      failures.set(owner, { count, until: now() + restMs(count), end })
    },
    forget: (owner) => void failures.delete(owner),
  }
}
