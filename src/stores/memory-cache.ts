// A Cache in this process: bounded, oldest entry out first.
import type { Cache } from '../ports/store.ts'

export const createMemoryCache = ({ now, most }: { readonly now: () => number; readonly most: number }): Cache => {
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
