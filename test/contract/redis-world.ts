// A Redis server for the tests of one file, and stores on it.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type RedisClientType, createClient } from '@redis/client'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { findProgram, inCI } from '../../scripts/system-programs.mjs'
import { type RedisSettings, redisKeys } from '../../src/config/storage-keys.ts'
import { openRedisStore } from '../../src/node/redis.ts'
import { timer } from '../../src/node/runtime.ts'
import type { Log, Timer } from '../../src/ports/runtime.ts'
import { type RedisServer, startRedis } from '../runtimes/redis-server.ts'
import { storeContract } from './store.ts'

export const withoutRedis = findProgram('redis-server') === undefined && !inCI()

export type Line = Parameters<Log>

/** Time limits are not what most of these tests are about, and a computer may be slow. */
const patient: Timer = (ms, run) => timer(ms * 20, run)

/** Closed by whoever opens it. */
export const openRedis = (settings: Partial<RedisSettings>, lines: Line[] = [], wait = patient) =>
  openRedisStore({
    settings: redisKeys.parse(settings),
    now: Date.now,
    timer: wait,
    random: (n) => new Uint8Array(randomBytes(n)),
    log: (...line) => void lines.push(line),
    product: '0.0.0-test',
  })

/** What the clocks of servers do in so many milliseconds, done to their records. */
export const advance = async (
  admins: readonly RedisClientType[],
  prefix: string,
  ms: number,
): Promise<void> => {
  const text = `#!lua flags=allow-cross-slot-keys
    for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
      local left = redis.call('PTTL', key)
      if left >= 0 and left <= tonumber(ARGV[2]) then redis.call('DEL', key)
      elseif left >= 0 then redis.call('PEXPIRE', key, left - ARGV[2]) end
      if string.find(key, ':c:waiting ', 1, true) and left > tonumber(ARGV[2]) then
        redis.call('SET', key, tonumber(redis.call('GET', key)) - ARGV[2], 'KEEPTTL')
      end
      if string.sub(key, -6) == 'expiry' then
        for i, name in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -ARGV[2], name) end
      end
    end`
  await Promise.all(admins.map((admin) => admin.eval(text, { arguments: [prefix, String(ms)] })))
}

/** Those that the guide says are enough, for keys that begin so. */
export const permissions = (prefix: string): readonly string[] => {
  const guide = readFileSync(new URL('../../docs/guide/storage.md', import.meta.url), 'utf8')
  const [, rule = ''] = /^user postern on >\S+ (.*)$/m.exec(guide) ?? []
  return rule.replace('~postern:', `~${prefix}`).split(' ')
}

type OpenedRedis = Awaited<ReturnType<typeof openRedis>>

/** The suite over stores that stay open: opening one takes longer than a test. Each test begins without records. */
export const redisContract = (
  name: string,
  stores: () => readonly [one: OpenedRedis, other: OpenedRedis],
  admins: () => Promise<readonly RedisClientType[]>,
): void =>
  storeContract(name, async () => {
    const [one, other] = stores()
    await Promise.all((await admins()).map((admin) => admin.flushAll()))
    return {
      store: one.store,
      other: other.store,
      advance: async (ms) => advance(await admins(), '', ms),
      grainMs: 60_000,
      sweep: other.store.sweep,
    }
  })

/** Called at the top of a file: the server lives as long as its tests. */
export const useRedis = () => {
  let server: RedisServer
  let admin: RedisClientType
  /** Closed after each test, however it ends: a connection that is left behind would be made again and again. */
  const opened = new Set<() => void>()
  let spaces = 0
  beforeAll(async () => {
    if (withoutRedis) return
    server = await startRedis()
    admin = createClient({ socket: { host: '127.0.0.1', port: server.port } })
    admin.on('error', () => undefined)
    await admin.connect()
  })
  afterEach(() => {
    for (const close of opened) close()
    opened.clear()
  })
  afterAll(async () => {
    admin?.destroy()
    await server?.close()
  })
  const openKept = (settings: Partial<RedisSettings> = {}, lines: Line[] = [], wait = patient) =>
    openRedis({ host: '127.0.0.1', port: server.port, ...settings }, lines, wait)
  return {
    server: () => server,
    /** A connection that may do everything. */
    admin: () => admin,
    /** A prefix that no other test has. */
    space: () => `test-${spaces++}:`,
    /** Closed by the caller. */
    openKept,
    /** Closed after the test. */
    async open(...args: Parameters<typeof openKept>) {
      const made = await openKept(...args)
      opened.add(made.close)
      return made
    },
  }
}
