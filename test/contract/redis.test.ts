// Redis keeps the contract, over one connection and over two; and what becomes of operations when the server does not
// play along.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type AddressInfo, type Socket, connect, createServer } from 'node:net'
import { inspect } from 'node:util'
import { type RedisClientType, createClient } from '@redis/client'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../scripts/harness/free-port.ts'
import { inCI, findProgram } from '../../scripts/system-programs.mjs'
import { type RedisSettings, redisKeys } from '../../src/config/storage-keys.ts'
import { findingsOf, openRedisStore } from '../../src/node/redis.ts'
import { timer } from '../../src/node/runtime.ts'
import type { Log, Timer } from '../../src/ports/runtime.ts'
import { openCuttingProxy } from '../runtimes/cutting-proxy.ts'
import { type RedisServer, startRedis } from '../runtimes/redis-server.ts'
import { countersContract } from './counters.ts'
import { forkStore, race } from './races.ts'
import { storeContract } from './store.ts'

let server: RedisServer
let admin: RedisClientType
beforeAll(async () => {
  if (missing) return
  server = await startRedis()
  admin = createClient({ socket: { host: '127.0.0.1', port: server.port } })
  admin.on('error', () => undefined)
  await admin.connect()
})
afterAll(async () => {
  admin?.destroy()
  await server?.close()
})

const missing = findProgram('redis-server') === undefined && !inCI()

type Line = Parameters<Log>

/** Time limits are not what most of these tests are about, and a computer may be slow. */
const patient: Timer = (ms, run) => timer(ms * 20, run)

/** Closed after each test, however it ends: a connection that is left behind would be made again and again. */
const opened = new Set<() => void>()
afterEach(() => {
  for (const close of opened) close()
  opened.clear()
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

const open = async (...args: Parameters<typeof openKept>) => {
  const made = await openKept(...args)
  opened.add(made.close)
  return made
}

let spaces = 0
const space = (): string => `test-${spaces++}:`

/** What a server's clock does in so many milliseconds, done to its records. */
const advance = async (prefix: string, ms: number): Promise<void> => {
  const text = `
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
  await admin.eval(text, { arguments: [prefix, String(ms)] })
}

describe.skipIf(missing)('Redis', () => {
  for (const [name, connections] of [
    ['Redis', 1],
    ['Redis over two connections', 2],
  ] as const)
    storeContract(name, async () => {
      const prefix = space()
      const one = await openKept({ prefix })
      const two = connections === 2 ? await openKept({ prefix }) : one
      // Beside the records of a test there is the one that the store keeps about itself.
      await one.store.take('meta:store')
      return {
        store: one.store,
        other: two.store,
        advance: (ms) => advance(prefix, ms),
        grainMs: 60_000,
        sweep: two.store.sweep,
        close: () => (one.close(), two.close()),
      }
    })

  countersContract('on Redis over two connections', async () => {
    const prefix = space()
    const [one, two] = [await openKept({ prefix }), await openKept({ prefix })]
    return {
      both: [one.counters, two.counters],
      advance: (ms) => advance(prefix, ms),
      grainMs: 50_000,
      close: () => (one.close(), two.close()),
    }
  })

  test('of 50 takers and writers in two processes one wins', { timeout: 60_000 }, async () => {
    const prefix = space()
    const { store } = await open({ prefix })
    const redis = redisKeys.parse({ host: '127.0.0.1', port: server.port, prefix })
    const processes = [1, 2].map(() => forkStore('', { type: 'redis', redis }))
    try {
      await race(processes, store, { rounds: 40, parallel: 25 })
    } finally {
      for (const child of processes) child.kill('SIGKILL')
    }
  })

  test('answers that are lost lose no record and deliver none twice', async () => {
    const proxy = await openCuttingProxy(server.port)
    const prefix = space()
    const { store } = await open({ prefix, port: proxy.port })
    const takers = [store, (await open({ prefix })).store]
    const keys = Array.from({ length: 200 }, (_, i) => `flow:${i}`)
    // Every 40th message is carried out, and its answer is cut off; every 41st is cut off before.
    proxy.cut((message) => (message % 80 === 39 ? 'after' : message % 80 === 79 ? 'before' : 'none'))
    let refused = 0
    const again = async <T>(work: () => Promise<T>): Promise<T> => {
      try {
        return await work()
      } catch (error) {
        expect(error).toMatchObject({ code: 'storage.unavailable' })
        refused++
        return again(work)
      }
    }
    for (const key of keys) expect(await again(() => store.put(key, key, { only: 'absent' }))).toBeDefined()
    const taken: string[] = []
    for (const key of keys)
      for (const entry of await Promise.all(takers.map((taker) => again(() => taker.take(key)))))
        if (entry) taken.push(entry.value)
    expect(taken).toEqual(keys)
    expect(proxy.cuts()).toBeGreaterThan(5)
    expect(refused).toBe(0)
    await proxy.close()
  })

  test('a server that stops answering is not waited for, and is used again when it answers', async () => {
    let hasty = false
    const impatient: Timer = (ms, run) => timer(hasty ? ms / 10 : ms * 20, run)
    const { store } = await open({ prefix: space() }, [], impatient)
    await store.put('k', 'one')
    process.kill(server.pid, 'SIGSTOP')
    hasty = true
    try {
      const answers = await Promise.allSettled([store.get('k'), store.put('k', 'two'), store.take('other')])
      for (const answer of answers)
        expect(answer).toMatchObject({ status: 'rejected', reason: { code: 'storage.unavailable' } })
    } finally {
      process.kill(server.pid, 'SIGCONT')
      hasty = false
    }
    await expect
      .poll(() => store.get('k').then((entry) => entry?.value, String), { timeout: 20_000 })
      .toMatch(/^(?:one|two)$/)
  })

  test('what was refused while no server was reached is not done later', async () => {
    const proxy = await openCuttingProxy(server.port)
    let hasty = false
    const wait: Timer = (ms, run) => timer(hasty ? ms / 10 : ms * 20, run)
    const { store } = await open({ prefix: space(), port: proxy.port }, [], wait)
    await store.put('k', 'one')
    proxy.set('refuse')
    hasty = true
    const answers = await Promise.allSettled([store.put('k', 'two'), store.take('k'), store.put('l', 'two')])
    expect(answers.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    hasty = false
    proxy.set('pass')
    await expect
      .poll(() => store.get('k').then((entry) => entry?.value, String), { timeout: 20_000 })
      .toBe('one')
    expect(await store.list('')).toEqual([
      { key: 'k', value: 'one' },
      { key: 'meta:store', value: expect.any(String) as string },
    ])
    await proxy.close()
  })

  test('scripts are sent anew when the server has lost them', async () => {
    const { store } = await open({ prefix: space() })
    await store.put('k', 'one')
    await admin.scriptFlush()
    expect((await store.take('k'))?.value).toBe('one')
  })

  test('a copy gets each record with what is left of its lifetime, and none that is gone', async () => {
    const prefix = space()
    const { store, records } = await open({ prefix })
    for (const key of ['a', 'b', 'c', 'd']) await store.put(key, key.repeat(2), { ttlMs: 60_000 })
    await store.put('e', 'kept')
    await store.take('b')
    await advance(prefix, 40_000)
    await store.put('c', 'cc', { ttlMs: 1 })
    await expect.poll(() => store.get('c')).toBeUndefined()
    const pages = [await records.records('', 2), await records.records('a', 1), await records.records('d', 9)]
    expect(pages.map((page) => page.map(({ key, value }) => [key, value]))).toEqual([
      [['a', 'aa']],
      [['d', 'dd']],
      [
        ['e', 'kept'],
        ['meta:store', expect.stringContaining('"layout":1')],
      ],
    ])
    expect(
      pages.flatMap((page) => page.map(({ ttlMs }) => (ttlMs ?? 0) > 0 && (ttlMs ?? 0) <= 20_000)),
    ).toEqual([true, true, false, false])
    expect(await records.records('meta:store', 9)).toEqual([])
  })

  test('a full memory refuses writes in words, and reads go on', async () => {
    const { store } = await open({ prefix: space() })
    await store.put('k', 'one')
    await admin.configSet('maxmemory', '1')
    const refused = await store.put('k', 'two').catch((error: unknown) => error)
    await admin.configSet('maxmemory', '0')
    expect(refused).toMatchObject({
      code: 'storage.unavailable',
      why: expect.stringContaining('raise maxmemory'),
    })
    expect((await store.get('k'))?.value).toBe('one')
  })

  test('a user with the permissions of the guide is enough; one with fewer is told which is missing', async () => {
    const guide = readFileSync(new URL('../../docs/guide/storage.md', import.meta.url), 'utf8')
    const rule = /^user postern on >\S+ (.*)$/m.exec(guide)?.[1] ?? ''
    await admin.sendCommand(['ACL', 'SETUSER', 'postern', 'on', '>secret', ...rule.split(' ')])
    const user = { username: 'postern', password: 'secret' }
    const { store, counters } = await open(user)
    await store.put('k', 'one', { ttlMs: 60_000 })
    expect(await store.list('k')).toEqual([{ key: 'k', value: 'one' }])
    expect(await store.sweep(10)).toBe(0)
    expect((await store.take('k'))?.value).toBe('one')
    expect(await counters.hit('a', { cost: 1, limit: 1, windowMs: 1000 })).toMatchObject({ allowed: true })
    expect(await counters.act([{ do: 'wrong', account: 'ana' }])).toBe(0)
    await expect(open({ ...user, prefix: 'others:' })).rejects.toMatchObject({
      why: expect.stringContaining('lacks a permission') as string,
    })
    await admin.sendCommand(['ACL', 'DELUSER', 'postern'])
  })

  test('what can lose records is found at the start, with the line that mends it', async () => {
    const lines: Line[] = []
    await open({ prefix: space() }, lines)
    expect(lines).toEqual([
      [
        'warn',
        'storage.unsafe',
        {
          location: `redis://127.0.0.1:${server.port}`,
          message: 'Redis loses the last writes when it ends: set `appendonly yes` in redis.conf',
        },
      ],
    ])
    await expect(open({ require_persistence: true })).rejects.toMatchObject({
      code: 'storage.unavailable',
      why: `redis://127.0.0.1:${server.port}: Redis loses the last writes when it ends: set \`appendonly yes\` in redis.conf`,
    })
  })

  test('a password that is wrong or missing refuses the start at once, and is never repeated', async () => {
    const never: Timer = () => () => undefined
    const lines: Line[] = []
    const url = `redis://guest:hunter2@127.0.0.1:${server.port}`
    const place = `redis://127.0.0.1:${server.port}`
    const refused = (settings: Partial<RedisSettings>) =>
      open(settings, lines, never).catch((error: unknown) => error)
    const wrong = [await refused({ url }), await refused({ username: 'guest', password: 'hunter2' })]
    const why = `${place}: Redis does not accept the username and password: correct them in storage.redis`
    for (const error of wrong) expect(error).toMatchObject({ code: 'storage.unavailable', why })
    await admin.configSet('requirepass', 'swordfish')
    const missed = await refused({})
    await admin.configSet('requirepass', '')
    expect(missed).toMatchObject({ why: `${place}: Redis asks for a password: set storage.redis.password` })
    const said = inspect([...wrong, missed, lines], { depth: 9, showHidden: true })
    expect(said).not.toMatch(/hunter2|swordfish|guest/)
  })

  test('a server that takes connections and says nothing is given up, and another connection made', async () => {
    const near = new Set<Socket>()
    const silent = createServer((socket) => {
      near.add(socket)
      const first = near.size === 1
      const far = first ? undefined : connect(server.port, '127.0.0.1')
      for (const end of [socket, ...(far ? [far] : [])])
        end.on('error', () => undefined).on('close', () => (socket.destroy(), far?.destroy()))
      if (far) socket.pipe(far).pipe(socket)
    })
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as AddressInfo
    // Two seconds are for the greeting.
    const hasty: Timer = (ms, run) => timer(ms === 2000 ? 50 : ms * 20, run)
    const { store } = await open({ port, prefix: space() }, [], hasty)
    await store.put('k', 'one')
    expect([(await store.get('k'))?.value, near.size]).toEqual(['one', 2])
    for (const socket of near) socket.destroy()
    silent.close()
  })

  test('a closed port, and records of another layout, refuse the start in words', async () => {
    const port = await freePort()
    await expect(
      open({ port }, [], (ms, run) => timer(ms === 1000 ? 50 : ms * 20, run)),
    ).rejects.toMatchObject({
      code: 'storage.unavailable',
      why: `redis://127.0.0.1:${port}: no connection to Redis (connect ECONNREFUSED 127.0.0.1:${port})`,
    })
    const prefix = space()
    const { store } = await open({ prefix })
    await store.put('meta:store', JSON.stringify({ layout: 2, shards: 1 }))
    await expect(open({ prefix })).rejects.toMatchObject({
      why: expect.stringContaining('another layout (2)') as string,
    })
  })
})

test.each([
  [{ redis_version: '6.2.14', role: 'master' }, 'too old: use 7.0 or later'],
  [{ redis_version: '7.0.15', redis_mode: 'cluster', role: 'master' }, 'part of a Redis Cluster'],
  [{ redis_version: '7.0.15', redis_mode: 'sentinel' }, 'a Sentinel, which keeps no data'],
  [
    { redis_version: '7.4.0', redis_mode: 'standalone', role: 'slave' },
    'a replica: set storage.redis to the master',
  ],
])('a server that says %j is not used', (info, why) => {
  const { faults } = findingsOf({ maxmemory: '0', aof_enabled: '1', ...info })
  expect(faults.join('; ')).toContain(why)
})

test('a server that evicts records, or could not write them, is unsafe', () => {
  const info = {
    redis_version: '7.0.15',
    redis_mode: 'standalone',
    role: 'master',
    aof_enabled: '1',
    maxmemory: '0',
  }
  expect(findingsOf(info)).toEqual({ faults: [], unsafe: [] })
  const evicting = { ...info, maxmemory: '1000000', maxmemory_policy: 'volatile-lru' }
  expect(findingsOf(evicting).unsafe).toEqual([
    'Redis removes records when its memory is full (volatile-lru): set `maxmemory-policy noeviction` in redis.conf',
  ])
  expect(
    findingsOf({ ...info, aof_last_write_status: 'err', rdb_last_bgsave_status: 'err' }).unsafe,
  ).toHaveLength(2)
})
