// A Redis server for the tests of one file, and stores on it.
import { randomBytes } from 'node:crypto'
import { type RedisClientType, createClient } from '@redis/client'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { findProgram, inCI } from '../../scripts/system-programs.mjs'
import { type RedisSettings, redisKeys } from '../../src/config/storage-keys.ts'
import { openRedisStore } from '../../src/node/redis.ts'
import { timer } from '../../src/node/runtime.ts'
import type { Log, Timer } from '../../src/ports/runtime.ts'
import { type RedisServer, startRedis } from '../runtimes/redis-server.ts'

export const withoutRedis = findProgram('redis-server') === undefined && !inCI()

export type Line = Parameters<Log>

/** Time limits are not what most of these tests are about, and a computer may be slow. */
const patient: Timer = (ms, run) => timer(ms * 20, run)

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
    openRedisStore({
      settings: redisKeys.parse({ host: '127.0.0.1', port: server.port, ...settings }),
      now: Date.now,
      timer: wait,
      random: (n) => new Uint8Array(randomBytes(n)),
      log: (...line) => void lines.push(line),
      product: '0.0.0-test',
    })
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
