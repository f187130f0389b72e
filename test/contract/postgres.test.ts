// PostgreSQL keeps the contract, over connections of one process and of two; and what becomes of operations when the server
// does not play along.
import { beforeAll, describe, expect, test } from 'vitest'
import { postgresKeys } from '../../src/config/storage-keys.ts'
import { timer } from '../../src/node/runtime.ts'
import type { Timer } from '../../src/ports/runtime.ts'
import type { Mark } from '../../src/ports/store.ts'
import { openCuttingProxy } from '../runtimes/cutting-proxy.ts'
import { countersContract } from './counters.ts'
import { type Line, usePostgres, withoutPostgres } from './postgres-world.ts'
import { forkStore, race } from './races.ts'
import { storeContract } from './store.ts'

const { server, admin, space, open, openKept } = usePostgres()
type Opened = Awaited<ReturnType<typeof openKept>>

const throughPort = (port: number): string => `postgres://postern@127.0.0.1:${port}/postgres`

/** What a server's clock does in so many milliseconds, done to its rows. */
const advance = async (schema: string, ms: number): Promise<void> => {
  const lapse = `interval '${ms} milliseconds'`
  await admin().query(`UPDATE ${schema}.records SET expires_at = expires_at - ${lapse};
    UPDATE ${schema}.counts SET until = until - ${lapse},
      used = CASE WHEN name LIKE 'waiting %' THEN used - ${ms} ELSE used END`)
}

describe.skipIf(withoutPostgres)('PostgreSQL', () => {
  describe('over two connections, one of them behind a pooler', () => {
    const schema = space()
    let one: Opened
    let two: Opened
    beforeAll(async () => {
      ;[one, two] = await Promise.all([openKept({ schema }), openKept({ schema, pooled: true })])
      return () => (one.close(), two.close())
    })
    storeContract('PostgreSQL', async () => {
      await admin().query(`DELETE FROM ${schema}.records`)
      return {
        store: one.store,
        other: two.store,
        advance: (ms) => advance(schema, ms),
        grainMs: 60_000,
        sweep: two.store.sweep,
      }
    })
  })

  countersContract('on PostgreSQL over two processes', async () => {
    const schema = space()
    const [one, two] = [await openKept({ schema }), await openKept({ schema })]
    return {
      both: [one.counters, two.counters],
      advance: (ms) => advance(schema, ms),
      grainMs: 50_000,
      close: () => (one.close(), two.close()),
    }
  })

  test('of 50 takers and writers in two processes one wins', { timeout: 60_000 }, async () => {
    const schema = space()
    const { store } = await open({ schema })
    const postgres = postgresKeys.parse({ url: server().url, schema })
    const processes = [1, 2].map(() => forkStore('', { type: 'postgres', postgres }))
    try {
      await race(processes, store, { rounds: 15, parallel: 25 })
    } finally {
      for (const child of processes) child.kill('SIGKILL')
    }
  })

  test('answers that are lost lose no record and deliver none twice', async () => {
    const schema = space()
    const proxy = await openCuttingProxy(server().port)
    // One connection, so that each message is one operation.
    const { store } = await open({ schema, url: throughPort(proxy.port), max_connections: 2 })
    const other = await open({ schema })
    proxy.cut((message) => (message % 40 === 19 ? 'after' : message % 40 === 39 ? 'before' : 'none'))
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
    const keys = Array.from({ length: 100 }, (_, i) => `flow:${i}`)
    for (const key of keys) {
      const mark = await again(() => store.put(key, key, { only: 'absent' }))
      expect(await again(() => store.get(key))).toEqual({ value: key, mark })
    }
    const taken: string[] = []
    for (const key of keys)
      for (const entry of await Promise.all([again(() => store.take(key)), other.store.take(key)]))
        if (entry) taken.push(entry.value)
    expect(taken).toEqual(keys)
    expect(proxy.cuts()).toBeGreaterThan(5)
    expect(refused).toBe(0)
    await proxy.close()
  })

  test('a write whose answer was lost is not done again after somebody took the record', async () => {
    const schema = space()
    const { store } = await open({ schema })
    const mark = await store.put('k', 'one', { only: 'absent' })
    await store.take('k')
    // As the repetition of the write would send it.
    const text = `INSERT INTO ${schema}.records AS r (key, value, mark) VALUES ('k', 'one', $1)
      ON CONFLICT (key) DO UPDATE SET taken = NULL
      WHERE CASE WHEN r.mark = excluded.mark THEN r.taken IS NULL ELSE r.taken IS NOT NULL END RETURNING mark`
    expect((await admin().query(text, [mark])).rows).toEqual([])
    expect(await store.get('k')).toBeUndefined()
    expect(await store.put('k', 'two', { only: 'absent' })).toEqual(expect.any(String))
  })

  test('connections that the server ends are replaced, and nothing is refused', async () => {
    const schema = space()
    const { store } = await open({ schema })
    const keys = Array.from({ length: 30 }, (_, i) => `k:${i}`)
    await Promise.all(keys.map((key) => store.put(key, key)))
    const theirs = `FROM pg_stat_activity WHERE application_name = 'postern' AND query LIKE '%${schema}.%'`
    await admin().query(`SELECT pg_terminate_backend(pid) ${theirs}`)
    await expect.poll(async () => (await admin().query(`SELECT pid ${theirs}`)).rows).toEqual([])
    expect((await Promise.all(keys.map((key) => store.take(key)))).map((entry) => entry?.value)).toEqual(keys)
  })

  test('what was refused while no server answered is not done later [H-S7]', async () => {
    for (const mode of ['refuse', 'silence'] as const) {
      const schema = space()
      const proxy = await openCuttingProxy(server().port)
      let hasty = false
      const wait: Timer = (ms, run) => timer(hasty ? ms / 10 : ms * 20, run)
      const { store } = await open({ schema, url: throughPort(proxy.port) }, [], wait)
      await store.put('k', 'one')
      proxy.set(mode)
      hasty = true
      const answers = await Promise.allSettled([
        store.put('k', 'two'),
        store.take('k'),
        store.put('l', 'two'),
      ])
      expect(answers).toMatchObject(
        answers.map(() => ({ status: 'rejected', reason: { code: 'storage.unavailable' } })),
      )
      hasty = false
      proxy.set('pass')
      await expect.poll(() => store.get('k').then((entry) => entry?.value, String)).toBe('one')
      expect((await store.list('')).map(({ key }) => key)).toEqual(['k', 'meta:store'])
      await proxy.close()
    }
  })

  test('an operation that waits for another one is given up, and others go on', async () => {
    const schema = space()
    const { store } = await open({ schema }, [], (ms, run) => timer(ms <= 500 ? ms / 10 : ms * 20, run))
    const write = (key: string): Promise<unknown> => store.put(key, 'one').catch(() => write(key))
    await Promise.all([write('held'), write('free')])
    await admin().query('BEGIN')
    await admin().query(`SELECT FROM ${schema}.records WHERE key = 'held' FOR UPDATE`)
    const held = store.take('held').catch((error: unknown) => error)
    await expect
      .poll(() => store.get('free').then((entry) => entry?.value, String), { timeout: 20_000 })
      .toBe('one')
    expect(await held).toMatchObject({ code: 'storage.unavailable', why: 'no answer within 500 ms' })
    await admin().query('ROLLBACK')
  })

  test('followers hear of changes by any process, of what is closed, and of a connection that was lost', async () => {
    const schema = space()
    const [one, two] = [await open({ schema }), await open({ schema })]
    const heard: string[] = []
    const follow = (key: string) => one.subscribe?.(key, (notice) => void heard.push(`${key} ${notice}`))
    const mark = await one.store.put('grant:a', 'x', { only: 'absent' })
    const stop = await follow('grant:a')
    await follow('grant:b')
    await two.store.put('grant:a', 'y', { only: mark as Mark })
    await expect.poll(() => heard).toEqual(['grant:a changed'])
    await two.store.take('grant:a')
    await expect.poll(() => heard).toEqual(['grant:a changed', 'grant:a changed'])
    heard.length = 0
    stop?.()
    await two.store.put('client:a', 'x')
    await two.store.put('grant:a', 'x')
    await two.store.put('closures', 'x', { only: 'absent' })
    await expect.poll(() => heard).toEqual(['grant:b changed'])
    await admin().query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN ${schema}'`,
    )
    await expect.poll(() => heard).toEqual(['grant:b changed', 'grant:b lost'])
    await follow('grant:b')
    await two.store.put('grant:b', 'x')
    await expect.poll(() => heard.at(-1)).toBe('grant:b changed')
  })

  test('gateways of two schemas never meet [H-S12], and one whose records are gone says so', async () => {
    const lines: Line[] = []
    const schemas = [space(), space()] as const
    const [one, other] = [await open({ schema: schemas[0] }, lines), await open({ schema: schemas[1] })]
    await one.store.put('grant:a', 'one')
    await other.store.put('grant:b', 'other')
    expect(await one.store.list('grant:')).toEqual([{ key: 'grant:a', value: 'one' }])
    expect(await other.store.take('grant:a')).toBeUndefined()
    lines.length = 0
    await admin().query(`TRUNCATE ${schemas[0]}.records`)
    await one.check()
    await one.check()
    expect(lines).toEqual([
      [
        'error',
        'storage.emptied',
        { location: one.location, message: 'all records are gone: users have to sign in again' },
      ],
    ])
    expect(await other.store.list('grant:')).toEqual([{ key: 'grant:b', value: 'other' }])
  })

  test('a copy gets each record with what is left of its lifetime, and none that is gone', async () => {
    const schema = space()
    const { store, records } = await open({ schema })
    for (const key of ['a', 'b', 'c']) await store.put(key, key.repeat(2), { ttlMs: 60_000 })
    await store.put('e', 'kept')
    await store.take('b')
    await advance(schema, 40_000)
    expect(await records.count?.()).toBe(4)
    const pages = [await records.records('', 2), await records.records('c', 1), await records.records('e', 9)]
    expect(pages.flat().map(({ key, value }) => [key, value])).toEqual([
      ['a', 'aa'],
      ['c', 'cc'],
      ['e', 'kept'],
      ['meta:store', expect.stringContaining('"layout":1')],
    ])
    expect(pages.flat().map(({ ttlMs }) => (ttlMs ?? 0) > 0 && (ttlMs ?? 0) <= 20_000)).toEqual([
      true,
      true,
      false,
      false,
    ])
    expect(await records.records('meta:store', 9)).toEqual([])
  })

  test('what no text of PostgreSQL can hold is not there', async () => {
    const { store } = await open({ schema: space() })
    expect([
      await store.get('client:\0'),
      await store.take('client:\0'),
      await store.list('client:\0'),
      await store.put('client:\0', 'x', { only: 'absent' }),
    ]).toEqual([undefined, undefined, [], undefined])
  })
})
