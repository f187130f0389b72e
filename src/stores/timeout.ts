// A Store at the far end of a connection, held to its time: whoever waits is told in time that it does not
// answer, and those who wait are never many (hostile case S7).
import { Refusal } from '../kit/refusal.ts'
import type { Timer } from '../ports/runtime.ts'
import type { Store } from '../ports/store.ts'

interface Bounds {
  readonly timer: Timer
  /** Epoch ms; without it the time limit never changes. */
  readonly now?: (() => number) | undefined
  /** Longest wait for one operation, ms. Default 800: its client hears of it within a second. */
  readonly timeoutMs?: number
  /** Operations that wait at once; beyond it they are refused at once. Default 1000. */
  readonly most?: number
}

/** As long as nothing is known of the distance. */
const firstMs = 1500
/** However far away it is. */
const longestMs = 3000

/**
 * The wait that fits the distance: three times what the quickest answers take, and never less than `leastMs`.
 * A storage that is near and has become slow is given no more time by that; one at the other end of the world
 * is not taken for broken.
 */
const createLimit = (leastMs: number) => {
  let quickestMs: number | undefined
  return {
    ms: () =>
      quickestMs === undefined
        ? Math.max(leastMs, firstMs)
        : Math.min(longestMs, Math.max(leastMs, 3 * quickestMs)),
    // It grows a little with every answer, so that a storage that has moved away is known for it after some
    // tens.
    answered: (ms: number): void => void (quickestMs = Math.max(1, Math.min(ms, (quickestMs ?? ms) * 1.2))),
  }
}

/**
 * Nothing is tried again here: whether a write that is late was carried out nobody knows, and a second one
 * would answer for the first. Its caller asks again, and finds what there is. For stores in this process,
 * which answer in the same turn or bound their own waiting, this would only cost.
 */
export const createBoundedStore = (
  inner: Store,
  { timer, now, timeoutMs = 800, most = 1000 }: Bounds,
): Store => {
  const limit = createLimit(timeoutMs)
  let waiting = 0
  /** The work, whose time counts although nobody waits for it any more. */
  const timed = <T>(work: () => Promise<T>): Promise<T> => {
    if (!now) return work()
    const from = now()
    const working = work()
    working.then(
      () => limit.answered(now() - from),
      () => undefined,
    )
    return working
  }
  const bounded = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    if (waiting >= most)
      throw new Refusal('storage.unavailable', `${waiting} operations wait for the storage already`)
    waiting++
    const ms = now ? limit.ms() : timeoutMs
    const late = Promise.withResolvers<never>()
    const cancel = timer(ms, () =>
      late.reject(new Refusal('storage.unavailable', `${what} took longer than ${ms} ms`)),
    )
    try {
      return await Promise.race([timed(work), late.promise])
    } finally {
      cancel()
      waiting--
    }
  }
  return {
    get: (key) => bounded('get', () => inner.get(key)),
    put: (key, value, options) => bounded('put', () => inner.put(key, value, options)),
    take: (key) => bounded('take', () => inner.take(key)),
    ...(inner.takeMany && {
      takeMany: (keys) => bounded('take', () => (inner.takeMany as NonNullable<Store['takeMany']>)(keys)),
    }),
    list: (prefix, options) => bounded('list', () => inner.list(prefix, options)),
  }
}
