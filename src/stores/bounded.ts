// A Store at the far end of a connection, held to its time: whoever waits is told within a second that it does not answer, and those who wait are never many (hostile case S7).
import { Refusal } from '../kit/refusal.ts'
import type { Store } from '../ports/store.ts'

interface Bounds {
  /** Longest wait for one operation, ms. Default 800: its client hears of it within a second. */
  readonly timeoutMs?: number
  /** Operations that wait at once; beyond it they are refused at once. Default 1000. */
  readonly most?: number
}

/**
 * Nothing is tried again here: whether a write that is late was carried out nobody knows, and a second one would answer for the first. Its caller asks again, and finds
 * what there is. For stores in this process, which answer in the same turn or bound their own waiting, this would only cost.
 */
export const createBoundedStore = (inner: Store, { timeoutMs = 800, most = 1000 }: Bounds = {}): Store => {
  let waiting = 0
  const bounded = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    if (waiting >= most) throw new Refusal('storage.unavailable', `${waiting} operations wait for the storage already`)
    waiting++
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Refusal('storage.unavailable', `${what} took longer than ${timeoutMs} ms`)), timeoutMs)
    })
    try {
      return await Promise.race([work(), late])
    } finally {
      clearTimeout(timer)
      waiting--
    }
  }
  return {
    get: (key) => bounded('get', () => inner.get(key)),
    put: (key, value, options) => bounded('put', () => inner.put(key, value, options)),
    take: (key) => bounded('take', () => inner.take(key)),
    list: (prefix, options) => bounded('list', () => inner.list(prefix, options)),
  }
}
