// Redis keeps the contract, over one connection and over two; and what becomes of operations when the server does not
// play along.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { redisKeys } from '../../src/config/storage-keys.ts'
import { timer } from '../../src/node/runtime.ts'
import type { Timer } from '../../src/ports/runtime.ts'
import type { Mark } from '../../src/ports/store.ts'
import { type RedisReply, createRedisStore } from '../../src/stores/redis.ts'
import { openCuttingProxy } from '../runtimes/cutting-proxy.ts'
import { countersContract } from './counters.ts'
import { forkStore, race } from './races.ts'
import { advance, permissions, redisContract, useRedis, withoutRedis } from './redis-world.ts'

const { server, admin, space, open, openKept } = useRedis()

describe.skipIf(withoutRedis)('Redis', () => {
  let stores: readonly [Awaited<ReturnType<typeof openKept>>, Awaited<ReturnType<typeof openKept>>]
  beforeAll(async () => {
    stores = [await openKept(), await openKept()]
  })
  afterAll(() => {
    for (const { close } of stores) close()
  })

  redisContract(
    'Redis',
    () => [stores[0], stores[0]],
    async () => [admin()],
  )
  redisContract(
    'Redis over two connections',
    () => stores,
    async () => [admin()],
  )

  countersContract('on Redis over two connections', async () => {
    const prefix = space()
    const [one, two] = [await openKept({ prefix }), await openKept({ prefix })]
    return {
      both: [one.counters, two.counters],
      advance: (ms) => advance([admin()], prefix, ms),
      grainMs: 50_000,
      close: () => (one.close(), two.close()),
    }
  })

  test('of 50 takers and writers in two processes one wins', { timeout: 60_000 }, async () => {
    const prefix = space()
    const { store } = await open({ prefix })
    const redis = redisKeys.parse({ host: '127.0.0.1', port: server().port, prefix })
    const processes = [1, 2].map(() => forkStore('', { type: 'redis', redis }))
    try {
      await race(processes, store, { rounds: 40, parallel: 25 })
    } finally {
      for (const child of processes) child.kill('SIGKILL')
    }
  })

  test('answers that are lost lose no record and deliver none twice', async () => {
    const proxy = await openCuttingProxy(server().port)
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
    for (const key of keys) {
      const mark = await again(() => store.put(key, key, { only: 'absent' }))
      expect(await again(() => store.get(key))).toMatchObject({ value: key, mark })
    }
    const taken: string[] = []
    for (const key of keys)
      for (const entry of await Promise.all(takers.map((taker) => again(() => taker.take(key)))))
        if (entry) taken.push(entry.value)
    expect(taken).toEqual(keys)
    expect(proxy.cuts()).toBeGreaterThan(5)
    expect(refused).toBe(0)
    await proxy.close()
  })

  test('a record whose writer got no answer, and that was taken meanwhile, is not written again [H-S7]', async () => {
    const prefix = space()
    const { store } = await open({ prefix })
    /** Another process takes the record between the first try and the repetition, which is carried out as it was. */
    const unlucky = createRedisStore(
      {
        get: () => Promise.resolve(null),
        async run({ text }, keys, args) {
          const how = { keys: [...keys], arguments: [...args] }
          await admin().eval(text, how)
          expect((await store.take('flow:1'))?.value).toBe('one')
          return (await admin().eval(text, how)) as RedisReply
        },
      },
      { prefix, shards: 1, random: (n) => new Uint8Array(randomBytes(n)) },
    )
    for (const only of ['absent', undefined] as const) {
      expect(await unlucky.put('flow:1', 'one', { ttlMs: 60_000, ...(only && { only }) })).toBeUndefined()
      expect([await store.get('flow:1'), await store.list('flow:')]).toEqual([undefined, []])
    }
    const mark = (await store.put('flow:1', 'zero', { only: 'absent' })) as Mark
    expect(await unlucky.put('flow:1', 'one', { only: mark })).toBeUndefined()
    expect(await store.get('flow:1')).toBeUndefined()
    // Whoever comes later is free to write.
    expect(await store.put('flow:1', 'two', { only: 'absent' })).toEqual(expect.any(String))
  })

  test('a server that stops answering is not waited for, and is used again when it answers', async () => {
    let hasty = false
    const impatient: Timer = (ms, run) => timer(hasty ? ms / 10 : ms * 20, run)
    const { store } = await open({ prefix: space() }, [], impatient)
    await store.put('k', 'one')
    process.kill(server().pid, 'SIGSTOP')
    hasty = true
    try {
      const answers = await Promise.allSettled([store.get('k'), store.put('k', 'two'), store.take('other')])
      for (const answer of answers)
        expect(answer).toMatchObject({ status: 'rejected', reason: { code: 'storage.unavailable' } })
    } finally {
      process.kill(server().pid, 'SIGCONT')
      hasty = false
    }
    await expect
      .poll(() => store.get('k').then((entry) => entry?.value, String), { timeout: 20_000 })
      .toMatch(/^(?:one|two)$/)
  })

  test('what was refused while no server was reached is not done later', async () => {
    const proxy = await openCuttingProxy(server().port)
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

  test('gateways of two prefixes never meet, and a database that is emptied takes new records [H-S12]', async () => {
    const [one, other] = [await open({ prefix: space() }), await open({ prefix: space() })]
    await one.store.put('grant:a', 'one')
    await other.store.put('grant:b', 'other')
    const seen = async () => [
      (await one.store.list('grant:')).map(({ value }) => value),
      (await other.store.list('grant:')).map(({ value }) => value),
      await other.store.take('grant:a'),
    ]
    expect(await seen()).toEqual([['one'], ['other'], undefined])
    await admin().flushDb()
    expect(await seen()).toEqual([[], [], undefined])
    const mark = await one.store.put('grant:a', 'again', { only: 'absent' })
    expect(await one.store.get('grant:a')).toMatchObject({ value: 'again', mark })
    expect(await seen()).toEqual([['again'], [], undefined])
  })

  test('scripts are sent anew when the server has lost them', async () => {
    const { store } = await open({ prefix: space() })
    await store.put('k', 'one')
    await admin().scriptFlush()
    expect((await store.take('k'))?.value).toBe('one')
  })

  test('a copy gets each record with what is left of its lifetime, and none that is gone', async () => {
    const prefix = space()
    const { store, records } = await open({ prefix })
    for (const key of ['a', 'b', 'c', 'd']) await store.put(key, key.repeat(2), { ttlMs: 60_000 })
    await store.put('e', 'kept')
    await store.take('b')
    await advance([admin()], prefix, 40_000)
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
    await admin().configSet('maxmemory', '1')
    const refused = await store.put('k', 'two').catch((error: unknown) => error)
    await admin().configSet('maxmemory', '0')
    expect(refused).toMatchObject({
      code: 'storage.unavailable',
      why: expect.stringContaining('raise maxmemory'),
    })
    expect((await store.get('k'))?.value).toBe('one')
  })

  test('a user with the permissions of the guide is enough; one with fewer is told which is missing', async () => {
    await admin().sendCommand(['ACL', 'SETUSER', 'postern', 'on', '>secret', ...permissions('postern:')])
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
    await admin().sendCommand(['ACL', 'DELUSER', 'postern'])
  })
})
