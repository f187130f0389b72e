// The Store on Workers: every key lives in one of a fixed number of Durable Objects, so each operation stays one atomic step and load spreads.
import { Refusal } from '../kit/refusal.ts'
import type { Store, Subscribe } from '../ports/store.ts'
import { createBoundedStore } from '../stores/bounded.ts'
import type { RecordObject } from './object.ts'
import { shardOf, shards } from './shard.ts'
import { createSubscribe } from './subscribe.ts'

const unavailable = (error: unknown): Refusal =>
  new Refusal('storage.unavailable', error instanceof Error ? error.message : String(error), { headers: { 'retry-after': '1' } })

/** What the platform says of an error that is about the object's place, not about the work (developers.cloudflare.com/durable-objects/best-practices/error-handling). */
const mayPass = (error: unknown): boolean => {
  const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean }
  return retryable === true && overloaded !== true
}

type Object = (shard: number) => DurableObjectStub<RecordObject>

/** Whether a write that failed was carried out nobody knows, and a second one would answer for the first: only reads are tried again. */
const attempt = async <T>(work: () => Promise<T>, again: boolean): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    if (again && mayPass(error)) return attempt(work, false)
    throw unavailable(error)
  }
}

const storeOf = (object: Object): Store => ({
  get: (key) => attempt(() => object(shardOf(key)).read(key), true),
  put: (key, value, options = {}) => attempt(() => object(shardOf(key)).write(key, value, options), false),
  take: (key) => attempt(() => object(shardOf(key)).remove(key), false),
  async list(prefix, options = {}) {
    const limit = options.limit ?? 100
    const parts = await Promise.all(
      Array.from({ length: shards }, (_, shard) => attempt(() => object(shard).list(prefix, { ...options, limit }), true)),
    )
    return parts
      .flat()
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .slice(0, limit)
  },
})

export interface ObjectStore extends Store {
  readonly subscribe: Subscribe
}

/** `space` keeps apart the records of several stores in one namespace; a deployment has one. */
export const createObjectStore = (namespace: DurableObjectNamespace<RecordObject>, space = 'records'): ObjectStore => {
  // A stub whose object failed stays broken, so each call gets its own.
  const object: Object = (shard) => namespace.getByName(`${space}-${shard}`)
  const subscribe = createSubscribe({ objectOf: (key) => object(shardOf(key)), timeoutMs: 3000 })
  return { ...createBoundedStore(storeOf(object)), subscribe }
}
