// A Store in this process: lost at exit, seen by nobody else.
import type { Cache, Entry, Mark, SweptStore } from '../ports/store.ts'

interface Kept {
  readonly entry: Entry
  readonly expiresAt: number
}

export const createMemoryStore = ({ now }: { readonly now: () => number }): SweptStore => {
  const records = new Map<string, Kept>()
  let writes = 0

  const live = (key: string): Entry | undefined => {
    const kept = records.get(key)
    return kept && kept.expiresAt > now() ? kept.entry : undefined
  }

  return {
    get: (key) => Promise.resolve(live(key)),
    put(key, value, { ttlMs = Infinity, only } = {}) {
      const entry = only === undefined ? undefined : live(key)
      if (only !== undefined && (only === 'absent' ? entry !== undefined : entry?.mark !== only))
        return Promise.resolve(undefined)
      writes += 1
      const mark = String(writes) as Mark
      records.set(key, { entry: { value, mark }, expiresAt: now() + ttlMs })
      return Promise.resolve(mark)
    },
    take(key) {
      const entry = live(key)
      records.delete(key)
      return Promise.resolve(entry)
    },
    list(prefix, { after = '', limit = 100 } = {}) {
      const keys = [...records.keys()]
        .filter((key) => key.startsWith(prefix) && key > after && live(key))
        .sort()
      return Promise.resolve(
        keys.slice(0, limit).map((key) => ({ key, value: (records.get(key) as Kept).entry.value })),
      )
    },
    sweep(limit) {
      let gone = 0
      for (const key of records.keys()) {
        if (gone === limit) break
        if (!live(key) && records.delete(key)) gone += 1
      }
      return Promise.resolve(gone)
    },
  }
}

// A Cache in this process: bounded, oldest entry out first.

export const createMemoryCache = ({
  now,
  most,
}: {
  readonly now: () => number
  readonly most: number
}): Cache => {
  const entries = new Map<string, { readonly value: string; readonly until: number }>()
  return {
    get(key) {
      const entry = entries.get(key)
      return Promise.resolve(entry && entry.until > now() ? entry.value : undefined)
    },
    put(key, value, { ttlMs }) {
      entries.delete(key)
      entries.set(key, { value, until: now() + ttlMs })
      for (const oldest of entries.keys()) {
        if (entries.size <= most) break
        entries.delete(oldest)
      }
      return Promise.resolve()
    },
  }
}
