// Workers KV as a Cache. It is eventually consistent and has no compare-and-set, so it can be nothing more.
import type { Log } from '../ports/runtime.ts'
import type { Cache } from '../ports/store.ts'
import { createMemoryCache } from '../stores/memory-cache.ts'

/** The shortest lifetime that KV keeps (developers.cloudflare.com/kv/api/write-key-value-pairs). */
const leastMs = 60_000

/** A cache that fails is a cache that is empty: KV refuses more than one write a second to a key, and a lost copy costs one more fetch. */
export const createKvCache = (namespace: KVNamespace, log: Log): Cache => {
  const lost = (error: unknown): undefined => {
    log('warn', 'cache.failed', { why: String(error) })
  }
  return {
    get: async (key) => (await namespace.get(key).catch(lost)) ?? undefined,
    async put(key, value, { ttlMs }) {
      if (ttlMs >= leastMs) await namespace.put(key, value, { expirationTtl: Math.floor(ttlMs / 1000) }).catch(lost)
    },
  }
}

/** The deployment's KV namespace, or memory of this isolate where there is none. */
export const createCache = (namespace: KVNamespace | undefined, { log, now }: { readonly log: Log; readonly now: () => number }): Cache =>
  namespace ? createKvCache(namespace, log) : createMemoryCache({ now, most: 1000 })
