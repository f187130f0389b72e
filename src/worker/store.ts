// The Store of the Workers house: every key lives in one of a fixed number of Durable Objects, so each operation stays one atomic step and load spreads.
import { Refusal } from '../kit/refusal.ts'
import type { Cache, Entry, Mark, Store } from '../ports/store.ts'
import type { RecordObject } from './object.ts'

/** Fixed for ever: changing it would move every key to another object. */
const shards = 16

const shardOf = (key: string): number => {
  // FNV-1a; any even spread will do, nothing depends on it but load.
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % shards
}

const strong = async <T>(work: Promise<T>): Promise<T> => {
  try {
    return await work
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw new Refusal('storage.unavailable', String(error), { headers: { 'retry-after': '1' } })
  }
}

export const createObjectStore = (namespace: DurableObjectNamespace<RecordObject>): Store => {
  const object = (shard: number) => namespace.get(namespace.idFromName(`records-${shard}`))
  const of = (key: string) => object(shardOf(key))
  return {
    get: (key) => strong(of(key).read(key) as Promise<Entry | undefined>),
    put: (key, value, options = {}) => strong(of(key).write(key, value, options) as Promise<Mark | undefined>),
    take: (key) => strong(of(key).remove(key) as Promise<Entry | undefined>),
    async list(prefix, options = {}) {
      const limit = options.limit ?? 100
      const parts = await strong(Promise.all(Array.from({ length: shards }, (_, shard) => object(shard).list(prefix, { ...options, limit }))))
      return parts
        .flat()
        .sort((a, b) => (a.key < b.key ? -1 : 1))
        .slice(0, limit)
    },
  }
}

/** Workers KV is eventually consistent and has no compare-and-set: it can only be a Cache. Its shortest lifetime is a minute. */
export const createKvCache = (namespace: KVNamespace): Cache => ({
  get: async (key) => (await namespace.get(key)) ?? undefined,
  put: (key, value, { ttlMs }) => (ttlMs < 60_000 ? Promise.resolve() : namespace.put(key, value, { expirationTtl: Math.floor(ttlMs / 1000) })),
})
