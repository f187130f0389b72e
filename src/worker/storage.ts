// The Store on Workers: every key lives in one of a fixed number of Durable Objects, so each operation stays
// one atomic step and load spreads.
import { markerKey } from '../kit/keyring.ts'
import { closuresKey, shardOf as partOf } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Log, Runtime, Timer } from '../ports/runtime.ts'
import type { Cache, CountAction, Counters, Store, Subscribe } from '../ports/store.ts'
import { createMemoryCache } from '../stores/memory.ts'
import { createBoundedStore } from '../stores/timeout.ts'
import type { WorkerEnvironment } from './configuration.ts'
import { type RecordObject, createSubscribe } from './storage-object.ts'

const shards = 16

/** Which Durable Object has a key. */
export const shardOf = (key: string): number => partOf(key, shards)

const unavailable = (error: unknown): Refusal =>
  new Refusal('storage.unavailable', error instanceof Error ? error.message : String(error), {
    headers: { 'retry-after': '1' },
  })

/**
 * An error about the object's location, not about the work
 * (developers.cloudflare.com/durable-objects/best-practices/error-handling).
 */
const mayPass = (error: unknown): boolean => {
  const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean }
  return retryable === true && overloaded !== true
}

type Object = (shard: number) => DurableObjectStub<RecordObject>

/**
 * Only reads are tried again: a failed write may have been carried out, and a second one would then report
 * the wrong result.
 */
const attempt = async <T>(work: () => Promise<T>, again: boolean): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    if (again && mayPass(error)) return attempt(work, false)
    throw unavailable(error)
  }
}

/**
 * Every part has a copy of what is closed. The record of its own part comes first and decides; whoever finds another
 * there afterwards copies that one, so that of two administrators the same one is last everywhere.
 */
const copyClosures = async (object: Object, mark: string, value: string): Promise<void> => {
  const home = shardOf(closuresKey)
  const others = Array.from({ length: shards }, (_, shard) => shard).filter((shard) => shard !== home)
  await Promise.all(others.map((shard) => attempt(() => object(shard).write(closuresKey, value, {}), false)))
  const now = await attempt(() => object(home).read(closuresKey), true)
  if (now && now.mark !== mark) await copyClosures(object, now.mark, now.value)
}

type Noticed = ReturnType<NonNullable<Store['noticed']>>

const storeOf = (
  object: Object,
  now: (() => number) | undefined,
  notice: (noticed: Noticed) => void,
): Store => ({
  async get(key) {
    const at = now?.()
    const found = await attempt(() => object(shardOf(key)).read(key), true)
    if (!found) return undefined
    // An object of the version before says nothing about it.
    if (found.closures !== undefined && at !== undefined) notice({ entry: found.closures ?? undefined, at })
    return { value: found.value, mark: found.mark }
  },
  put: (key, value, options = {}) => attempt(() => object(shardOf(key)).write(key, value, options), false),
  take: (key) => attempt(() => object(shardOf(key)).remove(key), false),
  async takeMany(keys) {
    const byShard = Map.groupBy(keys, shardOf)
    const parts = await Promise.all(
      [...byShard].map(([shard, some]) => attempt(() => object(shard).removeMany(some), false)),
    )
    return new Map(parts.flatMap((part) => [...part]))
  },
  async list(prefix, options = {}) {
    const limit = options.limit ?? 100
    const parts = await Promise.all(
      Array.from({ length: shards }, (_, shard) =>
        attempt(() => object(shard).list(prefix, { ...options, limit }), true),
      ),
    )
    return parts
      .flat()
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .slice(0, limit)
  },
})

/**
 * All counts about passwords are in one object; each kind of record that anonymous callers create has its
 * own.
 */
const countNameOf = ([first]: readonly CountAction[]): string =>
  first && 'kind' in first && first.kind.startsWith('kept-') ? first.kind : 'sign-in'

/** Longest wait for a count, ms: as for a record however far away. */
const countMs = 3000

const within = async <T>(ms: number, work: Promise<T>): Promise<T> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(unavailable(`a count took longer than ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

export interface ObjectStore extends Store {
  readonly subscribe: Subscribe
  readonly counters: Counters
}

/**
 * Where objects are created. Neither moves an existing one: the location is a hint for the first call, and
 * another jurisdiction means another object.
 */
export interface Placing {
  readonly locationHint?: string | undefined
  readonly jurisdiction?: string | undefined
}

interface ObjectStoreOptions extends Placing {
  /** Keeps apart the records of several stores in one namespace; a deployment has one. Default `records`. */
  readonly space?: string
  readonly timer: Timer
  /** Epoch ms. Without it the time limit does not learn the distance. */
  readonly now?: () => number
}

/**
 * The platform creates an object near its first caller. All are called when the deployment writes its first
 * record, so that they are in one region and a login does not cross the world and back. An object that cannot
 * be reached is created by its next caller.
 */
const createAll = async (object: Object): Promise<void> => {
  await Promise.allSettled(Array.from({ length: shards }, (_, shard) => object(shard).list('', { limit: 1 })))
}

export const createObjectStore = (
  namespace: DurableObjectNamespace<RecordObject>,
  options: ObjectStoreOptions,
): ObjectStore => {
  const { space = 'records', timer, now, locationHint, jurisdiction } = options
  const there = jurisdiction === undefined ? namespace : namespace.jurisdiction(jurisdiction)
  const hint = locationHint === undefined ? undefined : { locationHint }
  // A stub whose object failed stays broken, so each call gets its own.
  const object: Object = (shard) => there.getByName(`${space}-${shard}`, hint)
  let noticed: Noticed
  const notice = (next: Noticed): void => void (noticed = next)
  const store = createBoundedStore(storeOf(object, now, notice), { timer, now })
  return {
    ...store,
    noticed: () => noticed,
    async put(key, value, how) {
      const mark = await store.put(key, value, how)
      if (key === closuresKey && mark !== undefined) await copyClosures(object, mark, value)
      if (key === markerKey && how?.only === 'absent' && mark !== undefined) await createAll(object)
      return mark
    },
    counters: {
      act(actions) {
        const of = countNameOf(actions)
        return within(
          countMs,
          attempt(() => there.getByName(`${space}-counts-${of}`, hint).count(of, actions), false),
        )
      },
      hit: (key, hit) =>
        within(
          countMs,
          attempt(() => there.getByName(`${space}-counts-calls-${shardOf(key)}`, hint).hit(key, hit), false),
        ),
    },
    subscribe: createSubscribe({ objectOf: (key) => object(shardOf(key)), timeoutMs: 3000 }),
  }
}

// Workers KV as a Cache. It is eventually consistent and has no compare-and-set, so it can be nothing more.

/** The shortest lifetime that KV keeps (developers.cloudflare.com/kv/api/write-key-value-pairs). */
const leastMs = 60_000

/**
 * A failing cache counts as an empty one: KV refuses more than one write per second to a key, and a lost copy
 * costs one fetch.
 */
export const createKvCache = (namespace: KVNamespace, log: Log): Cache => {
  const lost = (error: unknown): undefined => {
    log('warn', 'cache.failed', { why: String(error) })
  }
  return {
    get: async (key) => (await namespace.get(key).catch(lost)) ?? undefined,
    async put(key, value, { ttlMs }) {
      if (ttlMs >= leastMs)
        await namespace.put(key, value, { expirationTtl: Math.floor(ttlMs / 1000) }).catch(lost)
    },
  }
}

/** The deployment's KV namespace, or memory of this isolate where there is none. */
export const createCache = (
  namespace: KVNamespace | undefined,
  { log, now }: { readonly log: Log; readonly now: () => number },
): Cache => (namespace ? createKvCache(namespace, log) : createMemoryCache({ now, most: 1000 }))

// The store of a deployment, in the location that its variables name.

/** Throws RangeError for a jurisdiction that does not have the records. */
export const openStore = async (
  namespace: DurableObjectNamespace<RecordObject>,
  { LOCATION_HINT: locationHint, JURISDICTION: jurisdiction }: WorkerEnvironment,
  clock: Pick<Runtime, 'now' | 'timer'>,
): Promise<ObjectStore> => {
  const near = { ...clock, locationHint: locationHint || undefined }
  if (!jurisdiction) return createObjectStore(namespace, near)
  const store = createObjectStore(namespace, { ...near, jurisdiction })
  // Another jurisdiction means other objects: existing records would silently be lost.
  if (!(await store.get(markerKey)) && (await createObjectStore(namespace, clock).get(markerKey)))
    throw new RangeError(
      'JURISDICTION – the data of this Worker was created without a jurisdiction and would not be found. Remove the variable, or deploy under another name.',
    )
  return store
}
