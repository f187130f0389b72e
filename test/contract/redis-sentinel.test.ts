// Redis with Sentinel: the gateway finds the master, and the next one after a failover, and no Sentinel that is away, or
// behind, or no Sentinel at all, leads it astray. And replicas that are waited for.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../scripts/harness/free-port.ts'
import { timer } from '../../src/node/runtime.ts'
import type { RedisSettings } from '../../src/config/storage-keys.ts'
import type { Refusal } from '../../src/kit/refusal.ts'
import { type RedisNode, type WatchedRedis, startWatched } from '../runtimes/redis-nodes.ts'
import { type Line, openRedis, redisContract, withoutRedis } from './redis-world.ts'

let redis: WatchedRedis
let closedPort: number
let shared: Awaited<ReturnType<typeof openRedis>>
let spaces = 0
const opened = new Set<() => void>()

beforeAll(async () => {
  if (withoutRedis) return
  redis = await startWatched()
  closedPort = await freePort()
  shared = await openKept()
}, 60_000)
afterEach(() => {
  for (const close of opened) close()
  opened.clear()
})
afterAll(async () => {
  shared?.close()
  await redis?.close()
})

const at = ({ server }: RedisNode): string => `127.0.0.1:${server.port}`
const space = (): string => `test-${spaces++}:`
/** One of the Sentinels is away. */
const sentinel = (): RedisSettings['sentinel'] => ({
  name: 'gw',
  nodes: [`127.0.0.1:${closedPort}`, at(redis.sentinel)],
})
const openKept = (settings: Partial<RedisSettings> = {}, lines: Line[] = []) =>
  openRedis({ sentinel: sentinel(), ...settings }, lines)
const open = async (...args: Parameters<typeof openKept>) => {
  const made = await openKept(...args)
  opened.add(made.close)
  return made
}
const refusal = (settings: Partial<RedisSettings>): Promise<string> =>
  openRedis(settings, [], (ms, run) => timer(ms === 1000 ? 200 : ms * 20, run)).then(
    ({ close }) => (close(), 'opened'),
    (error: Refusal) => error.why,
  )

describe.skipIf(withoutRedis)('Redis with Sentinel', () => {
  redisContract(
    'Redis with Sentinel',
    () => [shared, shared],
    async () => [redis.master.admin],
  )

  test('what is wrong with a Sentinel is said, with the line to change', async () => {
    const nodes = [at(redis.sentinel)]
    const place = `redis://${at(redis.sentinel)} (Sentinel, other)`
    expect([
      await refusal({ sentinel: { name: 'other', nodes } }),
      await refusal({ sentinel: { name: 'gw', nodes: [at(redis.master)] } }),
      await refusal({ sentinel: { name: 'gw', nodes: [`127.0.0.1:${closedPort}`] } }),
      await refusal({ host: '127.0.0.1', port: redis.sentinel.server.port }),
      await refusal({ host: '127.0.0.1', port: redis.replica.server.port }),
      await refusal({ cluster: { nodes: [at(redis.master)] } }),
    ]).toEqual([
      `${place}: no Sentinel knows a master of the name other: correct storage.redis.sentinel.name`,
      `redis://${at(redis.master)} (Sentinel, gw): no Sentinel says which server is the master: this server is not a Sentinel: correct storage.redis.sentinel.nodes`,
      `redis://127.0.0.1:${closedPort} (Sentinel, gw): no Sentinel says which server is the master: no connection to Redis (connect ECONNREFUSED 127.0.0.1:${closedPort})`,
      `redis://${at(redis.sentinel)}: this is a Sentinel, which keeps no data: set storage.redis.sentinel`,
      `redis://${at(redis.replica)}: this server is a replica: set storage.redis to the master`,
      `redis://${at(redis.master)} (Redis Cluster): no node of the Redis Cluster says which of them keeps what: this server is not part of a Redis Cluster: remove storage.redis.cluster`,
    ])
  })

  test('a change that too few replicas have is not acknowledged, and found by whoever repeats it [H-S9]', async () => {
    const prefix = space()
    const { store } = await open({ prefix, wait_replicas: 1 })
    expect(await store.put('grant:a', 'one')).toEqual(expect.any(String))
    process.kill(redis.replica.server.pid, 'SIGSTOP')
    try {
      await expect(store.put('grant:b', 'one', { only: 'absent' })).rejects.toMatchObject({
        code: 'storage.unavailable',
        why: 'fewer than 1 replicas of Redis have the record: see their logs',
      })
      // What is not worth waiting for is not waited for.
      expect(await store.put('tokens-made:a', 'one')).toEqual(expect.any(String))
      expect((await store.get('grant:a'))?.value).toBe('one')
    } finally {
      process.kill(redis.replica.server.pid, 'SIGCONT')
    }
    await expect
      .poll(() => store.put('grant:c', 'one').then(Boolean, () => false), { timeout: 20_000 })
      .toBe(true)
  })

  test('when the master is killed, the gateway goes on at the one that takes its place, and spent codes stay spent', async () => {
    const prefix = space()
    const lines: Line[] = []
    const { store } = await open({ prefix }, lines)
    const keys = Array.from({ length: 20 }, (_, i) => `grant:${i}`)
    await Promise.all(keys.map((key) => store.put(key, 'one')))
    await Promise.all(keys.slice(0, 10).map((key) => store.take(key)))
    expect(await redis.master.admin.sendCommand(['WAIT', '1', '5000'])).toBe(1)
    process.kill(redis.master.server.pid, 'SIGKILL')
    const answered = async (): Promise<readonly string[]> =>
      (await Promise.allSettled(keys.map((key) => store.get(key)))).map((answer) =>
        answer.status === 'rejected' ? (answer.reason as Refusal).code : (answer.value?.value ?? 'none'),
      )
    const all = keys.map((_, i) => (i < 10 ? 'none' : 'one'))
    for (const [i, one] of (await answered()).entries())
      expect([all[i], 'storage.unavailable']).toContain(one)
    await expect.poll(answered, { timeout: 30_000, interval: 200 }).toEqual(all)
    expect((await store.take('grant:10'))?.value).toBe('one')
    expect(await redis.sentinel.admin.sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'gw'])).toEqual([
      '127.0.0.1',
      String(redis.replica.server.port),
    ])
    expect(lines.map(([, event]) => event)).toContain('storage.disconnected')
  })
})
