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
import {
  type RedisConnection,
  type RedisConnectionOptions,
  type RedisLink,
  RedisError,
  createConnection,
  failureOf,
} from './redis-connection.ts'
import type { RedisServers } from './redis-nodes.ts'
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

/** One server, the master that Sentinels name, or the nodes of a cluster. */
type Setup = 'server' | 'sentinel' | 'cluster'

const setupOf = ({ sentinel, cluster }: RedisSettings): Setup =>
  sentinel ? 'sentinel' : cluster ? 'cluster' : 'server'

const faultsOf = (info: Info, setup: Setup): readonly string[] => {
  const { redis_version: version = 'of an unknown version', redis_mode: mode, role = 'master' } = info
  return [
    ...(Number.parseInt(version, 10) >= 7 ? [] : [`Redis ${version} is too old: use 7.0 or later`]),
    ...(mode === 'sentinel' ? ['this is a Sentinel, which keeps no data: set storage.redis.sentinel'] : []),
    ...(mode === 'cluster' && setup !== 'cluster'
      ? ['this server is part of a Redis Cluster: set storage.redis.cluster']
      : []),
    ...(mode !== 'sentinel' && role !== 'master'
      ? [
          setup === 'server'
            ? 'this server is a replica: set storage.redis to the master'
            : 'this server has become a replica: the master is looked for',
        ]
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
export const findingsOf = (info: Info, setup: Setup = 'server'): Omit<Look, 'offsetMs'> => ({
  faults: faultsOf(info, setup),
  unsafe: unsafeOf(info),
})

const lookAt = async (link: RedisLink, setup: Setup, now: () => number): Promise<Look> => {
  const findings = findingsOf(infoOf(await link.sendCommand<string>(['INFO'])), setup)
  // A Sentinel does not know the time.
  if (findings.faults.length > 0) return { ...findings, offsetMs: 0 }
  const [seconds, micros] = await link.sendCommand<readonly [seconds: string, micros: string]>(['TIME'])
  return { ...findings, offsetMs: Number(seconds) * 1000 + Number(micros) / 1000 - now() }
}

/** Of each server that keeps records; of several, the address is said. */
const look = async (servers: RedisServers, options: RedisStoreOptions, operate: Operate): Promise<Look> => {
  const nodes = servers.nodes()
  const { max_connections: most = Number.POSITIVE_INFINITY } = options.settings
  const found = await Promise.all(
    nodes.map((node) =>
      operate((link) => lookAt(link, setupOf(options.settings), options.now), undefined, node),
    ),
  )
  const named = (all: (one: Look) => readonly string[]): readonly string[] =>
    found.flatMap((one, i) =>
      all(one).map((text) => (found.length > 1 ? `${nodes[i]?.location}: ${text}` : text)),
    )
  const offsets = found.map(({ offsetMs }) => offsetMs).sort((a, b) => Math.abs(b) - Math.abs(a))
  return {
    faults: [
      ...(nodes.length < most
        ? []
        : [
            `${nodes.length} servers keep the records: set storage.redis.max_connections to ${nodes.length + 1} or more`,
          ]),
      ...named(({ faults }) => faults),
    ],
    unsafe: named(({ unsafe }) => unsafe),
    offsetMs: offsets[0] ?? 0,
  }
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

type Operate = <T>(
  operation: (link: RedisLink) => Promise<T>,
  ms?: number,
  route?: ReturnType<RedisServers['route']>,
) => Promise<T>

/** A write that is not on so many replicas in so many ms is not acknowledged. */
const replicatedMs = 100
/** What is kept by more than one server before anybody hears of it. */
const isReplicated = /:r:(?:grant|flow|client):/

/** Nobody knows whether it survives the end of the master: the repetition finds the record, and waits again. */
const notReplicated = (of: number): RedisError =>
  new RedisError({ kind: 'lost', why: `fewer than ${of} replicas of Redis have the record: see their logs` })

const driverOf = (operate: Operate, servers: RedisServers, settings: RedisSettings): RedisDriver => {
  const { prefix, wait_replicas: replicas } = settings
  /** The hash tag of the key says which. */
  const routeOf = (key: string) => servers.route(Number.parseInt(key.slice(prefix.length + 1), 10))
  const send = async (link: RedisLink, args: readonly string[], key: string): Promise<RedisReply> => {
    if (replicas === undefined || !isReplicated.test(key)) return link.sendCommand<RedisReply>(args)
    const reply = await link.sendCommand<RedisReply>(args)
    const wait = ['WAIT', String(replicas), String(replicatedMs)]
    if (reply !== null && (await link.sendCommand<number>(wait)) < replicas) throw notReplicated(replicas)
    return reply
  }
  return {
    get: (key) => operate((link) => link.sendCommand<string | null>(['GET', key]), undefined, routeOf(key)),
    run: ({ name, text }, keys, args) =>
      operate(
        async (link) => {
          const [key = ''] = keys
          const rest = [String(keys.length), ...keys, ...args]
          try {
            return await send(link, ['EVALSHA', shas.get(name) ?? '', ...rest], key)
          } catch (error) {
            // After a restart of the server.
            if (!isUnknownScript(error)) throw error
            return send(link, ['EVAL', text, ...rest], key)
          }
        },
        name === 'list' || name === 'records' ? listMs : undefined,
        routeOf(keys[0] ?? ''),
      ),
  }
}

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
    async opened({ shards, route }: RedisServers) {
      const leaving: (() => void)[] = []
      const usable = Promise.all(
        Array.from(
          { length: shards },
          (_, shard) =>
            new Promise<void>((resolve) => {
              leaving.push(route(shard).ready(() => resolve()))
            }),
        ),
      )
      try {
        await within(timer, silentMs, Promise.race([usable, refused.promise]))
      } catch (error) {
        throw error instanceof Refusal ? error : unavailable(`no answer within ${silentMs / 1000} seconds`)
      } finally {
        for (const leave of leaving) leave()
        cancel?.()
      }
    },
  }
}

const oneServer = (connection: RedisConnection): RedisServers => ({
  location: connection.location,
  shards: 1,
  route: () => connection,
  nodes: () => [connection],
  close: connection.close,
})

/** The clients for more than one server are loaded only where they are configured. */
const serversOf = async (
  options: RedisConnectionOptions,
  failed: (error: Error) => void,
): Promise<RedisServers> => {
  const { sentinel, cluster } = options.settings
  if (!sentinel && !cluster) return oneServer(createConnection(options, failed))
  const { createClusterServers, createSentinelServers } = await import('./redis-nodes.ts')
  return sentinel
    ? createSentinelServers(sentinel, options, failed)
    : createClusterServers(cluster as NonNullable<typeof cluster>, options, failed)
}

/**
 * Rejects with `Refusal('storage.unavailable')` when the server cannot be reached within five seconds, or must not be
 * used.
 */
export const openRedisStore = async (options: RedisStoreOptions): Promise<OpenedRedisStore> => {
  const { settings, now, timer, random, log, product } = options
  const clock = (): number => performance.now()
  const start = createStart({ timer })
  const servers = await serversOf({ settings, timer, clock, random, log }, start.failed)
  const { location, shards } = servers
  const operate: Operate = createOperations({ ...servers.route(0), timer, clock, random, failureOf })
  const driver = driverOf(operate, servers, settings)
  const layout = { prefix: settings.prefix, shards }
  const store = createRedisStore(driver, { ...layout, random })
  const meta = createMeta(store, { shards, product, now })
  const requirePersistence = settings.require_persistence ?? false
  const checks = createChecks({
    look: () => look(servers, options, operate),
    ...{ server: 'Redis', meta, location, requirePersistence, log },
  })
  try {
    await start.opened(servers)
    await checks.start()
  } catch (error) {
    servers.close()
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
      servers.close()
    },
  }
}
