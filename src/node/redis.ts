// Redis on Node: the connection of stores/redis.ts, what it can trust of the server, and its errors in sentences.
import { createHash } from 'node:crypto'
import type { RedisSettings } from '../config/storage-keys.ts'
import { createSharedCounters } from '../gateway.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Log, Timer } from '../ports/runtime.ts'
import type { Counters, StoredRecords, SweptStore } from '../ports/store.ts'
import {
  type RedisDriver,
  type RedisReply,
  createRedisCounters,
  createRedisRecords,
  createRedisStore,
  redisScripts,
} from '../stores/redis.ts'
import { createMeta } from '../stores/meta.ts'
import { type RedisClient, type RedisConnection, createConnection, failureOf } from './redis-connection.ts'
import { createOperations, listMs, unavailable, within } from './remote-store.ts'
import { type Look, createChecks } from './store-checks.ts'

// Scripts are called by their digest.

const shas = new Map(
  redisScripts.map(({ name, text }) => [name, createHash('sha1').update(text).digest('hex')]),
)

const isUnknownScript = (error: unknown): boolean =>
  error instanceof Error && error.message.startsWith('NOSCRIPT')

// What can be trusted of the server, from INFO alone: CONFIG is closed on managed servers.

type Info = Readonly<Record<string, string | undefined>>

const infoOf = (text: string): Info =>
  Object.fromEntries(
    text
      .split('\r\n')
      .filter((line) => line.includes(':'))
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  )

const faultsOf = (info: Info): readonly string[] => {
  const { redis_version: version = 'of an unknown version', redis_mode: mode, role = 'master' } = info
  return [
    ...(Number.parseInt(version, 10) >= 7 ? [] : [`Redis ${version} is too old: use 7.0 or later`]),
    ...(mode === 'sentinel'
      ? ['this is a Sentinel, which keeps no data: set storage.redis to the master']
      : []),
    ...(mode === 'cluster'
      ? ['this server is part of a Redis Cluster, which is not supported: use a server of its own']
      : []),
    ...(mode !== 'sentinel' && role !== 'master'
      ? ['this server is a replica: set storage.redis to the master']
      : []),
  ]
}

const unsafeOf = (info: Info): readonly string[] => {
  const { aof_enabled: log, maxmemory, maxmemory_policy: policy = 'noeviction' } = info
  return [
    ...(log === '0' ? ['Redis loses the last writes when it ends: set `appendonly yes` in redis.conf'] : []),
    ...(maxmemory !== '0' && policy !== 'noeviction'
      ? [
          `Redis removes records when its memory is full (${policy}): set \`maxmemory-policy noeviction\` in redis.conf`,
        ]
      : []),
    ...(log !== '0' && info['aof_last_write_status'] === 'err'
      ? ['Redis could not write its append-only file: see its log']
      : []),
    ...(info['rdb_last_bgsave_status'] === 'err' ? ['Redis could not write its snapshot: see its log'] : []),
  ]
}

/** What is wrong with the server, and the line that mends it. */
export const findingsOf = (info: Info): Omit<Look, 'offsetMs'> => ({
  faults: faultsOf(info),
  unsafe: unsafeOf(info),
})

const look = async (client: RedisClient, now: () => number): Promise<Look> => {
  const [info, time] = await Promise.all([
    client.sendCommand<string>(['INFO']),
    client.sendCommand<readonly [seconds: string, micros: string]>(['TIME']),
  ])
  const [seconds, micros] = time
  const offsetMs = Number(seconds) * 1000 + Number(micros) / 1000 - now()
  return { ...findingsOf(infoOf(info)), offsetMs }
}

// The store.

export interface RedisStoreOptions {
  readonly settings: RedisSettings
  readonly now: () => number
  readonly timer: Timer
  readonly random: (n: number) => Uint8Array<ArrayBuffer>
  readonly log: Log
  /** Version of the gateway. */
  readonly product: string
}

interface OpenedRedisStore {
  /** The server, in messages. */
  readonly location: string
  readonly store: SweptStore
  readonly records: StoredRecords
  readonly counters: Counters
  /** Looks at the server again, as it does every minute by itself, and logs what has become of it. */
  readonly check: () => Promise<void>
  readonly close: () => void
}

type Operate = <T>(operation: (client: RedisClient) => Promise<T>, ms?: number) => Promise<T>

const driverOf = (operate: Operate): RedisDriver => ({
  get: (key) => operate((client) => client.sendCommand<string | null>(['GET', key])),
  run: ({ name, text }, keys, args) =>
    operate(
      async (client) => {
        const rest = [String(keys.length), ...keys, ...args]
        try {
          return await client.sendCommand<RedisReply>(['EVALSHA', shas.get(name) ?? '', ...rest])
        } catch (error) {
          // After a restart of the server.
          if (!isUnknownScript(error)) throw error
          return client.sendCommand<RedisReply>(['EVAL', text, ...rest])
        }
      },
      name === 'list' || name === 'records' ? listMs : undefined,
    ),
})

/** A server that says nothing is waited for so long at the start, and one that refuses connections so long, ms. */
const [silentMs, refusingMs] = [5000, 1000]

/** The first connection, or why there is none. What no time mends is said at once. */
const createStart = ({ timer }: Pick<RedisStoreOptions, 'timer'>) => {
  const refused = Promise.withResolvers<never>()
  refused.promise.catch(() => undefined)
  let cause: string | undefined
  let cancel: (() => void) | undefined
  return {
    failed(error: Error) {
      const { kind, why } = failureOf(error) ?? { kind: 'refused', why: `Redis said: ${error.message}` }
      cause = why
      if (kind === 'refused') refused.reject(unavailable(why))
      else cancel ??= timer(refusingMs, () => refused.reject(unavailable(cause ?? why)))
    },
    async opened(connection: RedisConnection) {
      const usable = Promise.withResolvers<RedisClient>()
      const leave = connection.ready(usable.resolve)
      try {
        await within(timer, silentMs, Promise.race([usable.promise, refused.promise]))
      } catch (error) {
        throw error instanceof Refusal ? error : unavailable(`no answer within ${silentMs / 1000} seconds`)
      } finally {
        leave()
        cancel?.()
      }
    },
  }
}

/**
 * Rejects with `Refusal('storage.unavailable')` when the server cannot be reached within five seconds, or must not be
 * used.
 */
export const openRedisStore = async (options: RedisStoreOptions): Promise<OpenedRedisStore> => {
  const { settings, now, timer, random, log, product } = options
  const clock = (): number => performance.now()
  const start = createStart({ timer })
  const connection = createConnection({ settings, timer, clock, random, log }, start.failed)
  const { location } = connection
  const operate = createOperations({ ...connection, timer, clock, random, failureOf })
  const driver = driverOf(operate)
  const layout = { prefix: settings.prefix, shards: 1 }
  const store = createRedisStore(driver, { ...layout, random })
  const meta = createMeta(store, { shards: layout.shards, product, now })
  const requirePersistence = settings.require_persistence ?? false
  const checks = createChecks({
    look: () => operate((client) => look(client, now)),
    ...{ server: 'Redis', meta, location, requirePersistence, log },
  })
  try {
    await start.opened(connection)
    await checks.start()
  } catch (error) {
    connection.close()
    throw error instanceof Refusal ? unavailable(`${location}: ${error.why}`) : error
  }
  const stopChecking = checks.every()
  return {
    location,
    store,
    records: createRedisRecords(driver, layout),
    counters: createRedisCounters(driver, layout, { steps: createSharedCounters, now: clock }),
    check: checks.again,
    close() {
      stopChecking()
      connection.close()
    },
  }
}
