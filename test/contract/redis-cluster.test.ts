// A Redis Cluster of six nodes keeps the contract: every script touches one slot, and moved slots, a node that says nothing
// and a failover lose nothing that was acknowledged.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type RedisSettings, redisKeys } from '../../src/config/storage-keys.ts'
import type { Refusal } from '../../src/kit/refusal.ts'
import { timer } from '../../src/node/runtime.ts'
import type { Timer } from '../../src/ports/runtime.ts'
import { type RedisCluster, startCluster } from '../runtimes/redis-nodes.ts'
import { countersContract } from './counters.ts'
import { forkStore, race } from './races.ts'
import { type Line, advance, openRedis, permissions, redisContract, withoutRedis } from './redis-world.ts'

let cluster: RedisCluster
let stores: readonly [Awaited<ReturnType<typeof openRedis>>, Awaited<ReturnType<typeof openRedis>>]
let spaces = 0
const opened = new Set<() => void>()

beforeAll(async () => {
  if (withoutRedis) return
  cluster = await startCluster()
  stores = [await openKept('shared:'), await openKept('shared:')]
}, 120_000)
afterEach(() => {
  for (const close of opened) close()
  opened.clear()
})
afterAll(async () => {
  for (const { close } of stores ?? []) close()
  await cluster?.close()
})

const space = (): string => `test-${spaces++}:`
const nodes = (): string[] => cluster.nodes.slice(0, 2).map(({ server }) => `127.0.0.1:${server.port}`)
const admins = async () => (await cluster.masters()).map(({ admin }) => admin)
const openKept = (prefix: string, lines: Line[] = [], wait?: Timer, user: Partial<RedisSettings> = {}) =>
  openRedis({ cluster: { nodes: nodes() }, prefix, ...user }, lines, wait)
const open = async (...args: Parameters<typeof openKept>) => {
  const made = await openKept(...args)
  opened.add(made.close)
  return made
}

describe.skipIf(withoutRedis)('Redis Cluster', () => {
  redisContract('a Redis Cluster over two gateways', () => stores, admins)

  countersContract('on a Redis Cluster', async () => {
    await Promise.all((await admins()).map((admin) => admin.flushAll()))
    return {
      both: [stores[0].counters, stores[1].counters],
      advance: async (ms) => advance(await admins(), '', ms),
      grainMs: 50_000,
      close: () => undefined,
    }
  })

  test('of 50 takers and writers in two processes one wins', { timeout: 60_000 }, async () => {
    const prefix = space()
    const { store } = await open(prefix)
    const redis = redisKeys.parse({ cluster: { nodes: nodes() }, prefix })
    const processes = [1, 2].map(() => forkStore('', { type: 'redis', redis }))
    try {
      await race(processes, store, { rounds: 20, parallel: 25 })
    } finally {
      for (const child of processes) child.kill('SIGKILL')
    }
  })

  test('records are on every master, and a copy gets all of them in order', async () => {
    const prefix = space()
    const { store, records } = await open(prefix)
    const keys = Array.from({ length: 150 }, (_, i) => `grant:${String(i).padStart(3, '0')}`)
    await Promise.all(keys.map((key) => store.put(key, key)))
    const kept = await Promise.all((await admins()).map((admin) => admin.keys(`${prefix}*:r:grant:*`)))
    expect(kept.map((of) => of.length > 10)).toEqual([true, true, true])
    const found: string[] = []
    for (let after = 'grant'; ;) {
      const page = await records.records(after, 40)
      const last = page.at(-1)
      if (!last) break
      found.push(...page.map(({ key }) => key))
      after = last.key
    }
    expect(found).toEqual([...keys, 'meta:store'])
  })

  test('a slot that moves is followed: while it moves (ASK), and after (MOVED)', async () => {
    const prefix = space()
    const user = ['ACL', 'SETUSER', 'postern', 'on', '>secret', ...permissions(prefix)]
    for (const one of await admins()) await one.sendCommand(user)
    const { store } = await open(prefix, [], undefined, { username: 'postern', password: 'secret' })
    const [from, to] = await cluster.masters()
    const admin = from?.admin as NonNullable<typeof from>['admin']
    const target = to?.admin as typeof admin
    await Promise.all(
      Array.from({ length: 64 }, (_, i) => store.put(`flow:${i}`, String(i), { ttlMs: 600_000 })),
    )
    const [sample = ''] = await admin.keys(`${prefix}*:r:flow:*`)
    const moved = sample.slice(sample.indexOf(':r:') + 3)
    const slot = String(await admin.sendCommand<number>(['CLUSTER', 'KEYSLOT', sample]))
    const [fromId, toId] = await Promise.all(
      [admin, target].map((one) => one.sendCommand<string>(['CLUSTER', 'MYID'])),
    )
    await target.sendCommand(['CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId as string])
    await admin.sendCommand(['CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId as string])
    const held = await admin.sendCommand<string[]>(['CLUSTER', 'GETKEYSINSLOT', slot, '10000'])
    const port = String(to?.server.port)
    await admin.sendCommand(['MIGRATE', '127.0.0.1', port, '', '0', '5000', 'KEYS', ...held])
    // All is at the other node already, and the first still answers for the slot.
    expect((await store.get(moved))?.value).toBe(moved.slice(5))
    expect(await store.put(moved, 'two', { ttlMs: 600_000 })).toEqual(expect.any(String))
    for (const one of [target, admin])
      await one.sendCommand(['CLUSTER', 'SETSLOT', slot, 'NODE', toId as string])
    expect((await store.get(moved))?.value).toBe('two')
    expect((await store.take(moved))?.value).toBe('two')
    expect(await store.list('flow:')).toHaveLength(63)
  })

  test('a node that says nothing is replaced by its replica, no code comes back, and nothing is answered wrong meanwhile', async () => {
    const prefix = space()
    const { store } = await open(prefix, [], timer)
    const keys = Array.from({ length: 60 }, (_, i) => `grant:${i}`)
    await Promise.all(keys.map((key) => store.put(key, 'one')))
    await Promise.all(keys.slice(0, 30).map((key) => store.take(key)))
    const masters = await cluster.masters()
    await Promise.all(masters.map(({ admin }) => admin.sendCommand(['WAIT', '1', '5000'])))
    process.kill(masters[0]?.server.pid as number, 'SIGSTOP')
    const all = keys.map((_, i) => (i < 30 ? 'none' : 'one'))
    const answered = async (): Promise<readonly string[]> => {
      const answers = await Promise.allSettled(keys.map((key) => store.get(key)))
      const said = answers.map((answer) =>
        answer.status === 'rejected' ? (answer.reason as Refusal).code : (answer.value?.value ?? 'none'),
      )
      for (const [i, one] of said.entries()) expect([all[i], 'storage.unavailable']).toContain(one)
      return said
    }
    await expect.poll(answered, { timeout: 60_000, interval: 200 }).toEqual(all)
    const written = (): Promise<boolean> => store.put('grant:30', 'two').then(Boolean, () => false)
    await expect.poll(written, { timeout: 30_000 }).toBe(true)
    expect((await store.get('grant:30'))?.value).toBe('two')
  })
})
