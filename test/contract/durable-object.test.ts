// Durable Objects keep the contract, sharded, in workerd; and what becomes of records when an object, or the
// whole runtime, ends.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dueKey } from '../../src/kit/records.ts'
import { Refusal, type RefusalCode } from '../../src/kit/refusal.ts'
import type { AuditRow, ChainFault, ChainedRow, Entry, Store } from '../../src/ports/store.ts'
import type { TrailPage } from '../../src/ports/runtime.ts'
import { digest } from '../../src/node/audit-database.ts'
import { createVerify } from '../../src/node/audit-keys.ts'
import { type TrailOutline, createTrailCheck } from '../../src/stores/audit-check.ts'
import type { AuditKey } from '../../src/stores/audit-signatures.ts'
import { startWorkerd, type Workerd } from '../runtimes/workerd.ts'
import { row as auditRow } from '../unit/audit-world.ts'
import { storeContract } from './store.ts'

let workerd: Workerd
let disk: string
const start = async (): Promise<void> => {
  workerd = await startWorkerd({
    entry: 'test/workers/store.ts',
    disk,
    vars: {
      SESSION_SECRET: 'x7Qm2vR9kLp4sWz8nBt3cYf6hJd1gAe5',
      LOCAL_USER: 'ana',
      LOCAL_PASSWORD: 'correct horse battery staple',
      POSTERN_CONFIG: { audit: { retention: '2d', body_retention: '1d' } },
    },
  })
}
beforeAll(async () => {
  disk = mkdtempSync(join(tmpdir(), 'postern-objects-'))
  await start()
}, 60_000)
afterAll(async () => {
  await workerd.close()
  rmSync(disk, { recursive: true })
})

let spaces = 0

/** A store of its own in the one namespace, called over HTTP. */
const spaceOf = (space = `space-${++spaces}`) => {
  const ask = async <T>(call: string, ...args: readonly unknown[]): Promise<T> => {
    const response = await fetch(workerd.origin, {
      method: 'POST',
      body: JSON.stringify({ space, call, args }),
    })
    const { answer, refused, why, fault } = (await response.json()) as {
      answer: T
      refused?: RefusalCode
      why?: string
      fault?: string
    }
    if (refused) throw new Refusal(refused, why)
    if (fault) throw new Error(fault)
    return answer
  }
  const store: Store = {
    get: (key) => ask('get', key),
    put: (key, value, options = {}) => ask('put', key, value, options),
    take: (key) => ask('take', key),
    takeMany: async (some) => new Map(await ask<[string, Entry][]>('takeMany', some)),
    list: (prefix, options = {}) => ask('list', prefix, options),
  }
  return { space, store, ask }
}

/** Which object has the key. */
const shardOf = (key: string): Promise<number> => spaceOf('any').ask('shardOf', key)

storeContract('Durable Objects', () => {
  const { store, ask } = spaceOf()
  return { store, other: store, advance: (ms) => ask('advance', ms) }
})

describe('records in Durable Objects', () => {
  test('many at once are a take of each: what was there, for one of two takers', async () => {
    const { store } = spaceOf()
    await Promise.all(keys.map((key) => store.put(key, `v ${key}`)))
    const answers = await Promise.all([store.takeMany?.([...keys, 'grant:none']), store.takeMany?.(keys)])
    const taken = answers
      .flatMap((answer) => [...(answer ?? [])])
      .map(([key, { value }]) => [key, value] as const)
    expect(taken).toHaveLength(keys.length)
    expect(new Map(taken)).toEqual(new Map(keys.map((key) => [key, `v ${key}`])))
    expect(await store.list('grant:')).toEqual([])
  })

  const keys = Array.from({ length: 120 }, (_, i) => `grant:${String(i).padStart(3, '0')}`)
  const inside = (
    space: ReturnType<typeof spaceOf>,
  ): Promise<readonly { rows: number; alarmInMs: number | null }[]> =>
    Promise.all(
      Array.from({ length: 16 }, (_, shard) =>
        space.ask<{ rows: number; alarmInMs: number | null }>('inside', shard),
      ),
    )

  test('spread over all sixteen objects and come back as one list', async () => {
    const space = spaceOf()
    await Promise.all(keys.map((key) => space.store.put(key, `v ${key}`)))
    const rows = (await inside(space)).map((object) => object.rows)
    expect(rows.every((count) => count > 0)).toBe(true)
    expect(rows.reduce((sum, count) => sum + count)).toBe(120)
    expect((await space.store.list('grant:', { limit: 1000 })).map(({ key }) => key)).toEqual(keys)
    expect(
      (await space.store.list('grant:', { after: 'grant:049', limit: 60 })).map(({ key }) => key),
    ).toEqual(keys.slice(50, 110))
  })

  test('stay where they are: a key’s object never changes from version to version', async () => {
    const named = ['signing-keys', 'grant:a', 'grant:b', 'session:x', 'client:y', 'flow:z', '']
    expect(await Promise.all(named.map(shardOf))).toEqual([3, 12, 5, 13, 15, 5, 5])
  })

  test('outlive their object, and the kill of the whole runtime right after the answer', async () => {
    const space = spaceOf()
    const marks = await Promise.all(keys.map((key) => space.store.put(key, key)))
    await space.ask('breaks', await shardOf(keys[0] as string)).catch(() => undefined)
    expect(await space.store.get(keys[0] as string)).toEqual({ value: keys[0], mark: marks[0] })
    const last = await space.store.put('grant:last', 'written')
    await workerd.close('SIGKILL')
    await start()
    expect(await space.store.get('grant:last')).toEqual({ value: 'written', mark: last })
    expect(await Promise.all(keys.map((key) => space.store.get(key)))).toEqual(
      keys.map((key, i) => ({ value: key, mark: marks[i] })),
    )
    // A version read before is still the version after.
    const only = marks[1] as NonNullable<(typeof marks)[1]>
    const mark = await space.store.put(keys[1] as string, 'on', { only })
    expect(await space.store.get(keys[1] as string)).toEqual({ value: 'on', mark })
  })

  test('of 50 takers, half of whom arrive while the object ends, no two receive one record', async () => {
    const space = spaceOf()
    for (let round = 0; round < 5; round++) {
      await space.store.put('code', String(round))
      const shard = await shardOf('code')
      const answers = await Promise.allSettled([
        ...Array.from({ length: 25 }, () => space.store.take('code')),
        space.ask('breaks', shard),
        ...Array.from({ length: 25 }, () => space.store.take('code')),
      ])
      const won = answers.filter(
        (one) => one.status === 'fulfilled' && one.value !== undefined && one.value !== null,
      )
      expect(won.length).toBeLessThanOrEqual(1)
      for (const one of answers)
        if (one.status === 'rejected' && one.reason instanceof Refusal)
          expect(one.reason.code).toBe('storage.unavailable')
      await space.store.take('code')
    }
  })

  test('leave their space within the hour after they expired, and an object with nothing to forget sets no alarm', async () => {
    const space = spaceOf()
    const shard = await shardOf('flow:1')
    await space.store.put('flow:1', 'x', { ttlMs: 1000 })
    expect((await inside(space))[shard]).toEqual({
      rows: 1,
      alarmInMs: expect.closeTo(3_600_000, -4) as number,
    })
    expect((await inside(space)).filter(({ alarmInMs }) => alarmInMs !== null)).toHaveLength(1)
    await space.ask('advance', 1000)
    expect((await inside(space))[shard]?.rows).toBe(1)
    await space.ask('due', shard)
    expect((await inside(space))[shard]).toEqual({ rows: 0, alarmInMs: null })
    // And the next one that will expire sets it again.
    await space.store.put('flow:1', 'x', { ttlMs: 5_000_000 })
    expect((await inside(space))[shard]?.alarmInMs).toEqual(expect.closeTo(3_600_000, -4))
    await space.ask('due', shard)
    expect((await inside(space))[shard]).toEqual({
      rows: 1,
      alarmInMs: expect.closeTo(3_600_000, -4) as number,
    })
  })

  test('that are deadlines of flows wake their object in time, and go when they are told of', async () => {
    const space = spaceOf()
    const key = dueKey((await space.ask<number>('now')) + 60_000, 'f'.repeat(21))
    const shard = await shardOf(key)
    await space.store.put(key, 'https://gw.test', { ttlMs: 86_400_000 })
    const waiting = { rows: 1, alarmInMs: expect.closeTo(60_000, -4) as number }
    expect((await inside(space))[shard]).toEqual(waiting)
    await space.ask('due', shard)
    expect((await inside(space))[shard]).toEqual(waiting)
    await space.ask('advance', 60_000)
    await space.ask('due', shard)
    expect((await inside(space))[shard]).toEqual({ rows: 0, alarmInMs: null })
  })
})

describe('the audit trail in a Durable Object', () => {
  const trailOf = () => {
    const { ask } = spaceOf()
    const call = <T>(...args: readonly unknown[]): Promise<T> => ask<T>('trail', ...args)
    const append = (id: string, rows: readonly AuditRow[], more: object = {}) =>
      call('append', { id, rows, subjects: [], bodies: [], ...more })
    const found = async (...terms: readonly string[]) => {
      const { rows } = await call<TrailPage>('page', { terms, order: 'oldest', limit: 100 })
      return rows.map(({ kind, request }) => request ?? kind)
    }
    /** As a gateway verifies it, with the code that Node has. */
    const verified = async () => {
      const outline = await call<TrailOutline>('outline')
      const keys = await call<readonly AuditKey[]>('keys')
      const check = createTrailCheck(outline, { digest, verify: createVerify(keys), signed: true })
      for (const { n } of outline.segments)
        for (const row of await call<readonly ChainedRow[]>('rows', n, 0, 100_000)) {
          const fault = check.row(row)
          if (fault) return check.found(fault)
        }
      return check.found(check.end() ?? (await call<ChainFault | null>('kept')) ?? undefined)
    }
    return { call, append, found, verified, ask }
  }
  const dayMs = 86_400_000
  const at = (): Promise<number> => spaceOf().ask<number>('now')

  test('is one chain, whatever is sent twice and however often the object ends', async () => {
    const { call, append, found, verified } = trailOf()
    const now = await at()
    await append('one', [auditRow(now, { request: 'a' }), auditRow(now, { request: 'b' })])
    await append('one', [auditRow(now, { request: 'a' }), auditRow(now, { request: 'b' })])
    await call('breaks').catch(() => undefined)
    await append('one', [auditRow(now, { request: 'a' })])
    await append('two', [auditRow(now, { request: 'c', kind: 'sign-in.failed', decision: 'denied' })])
    expect(await found()).toEqual(['audit.opened', 'a', 'b', 'c'])
    expect(await found('decision:denied')).toEqual(['c'])
    expect(await found('word')).toEqual([])
    const { fault, rows, chains, open, keys } = await verified()
    expect([fault, rows, chains, open.length, keys.length]).toEqual([undefined, 4, 1, 1, 1])
    // A minute with rows is signed.
    expect(await call('alarmInMs')).toEqual(expect.closeTo(60_000, -4))
  })

  test('names what somebody with its database has changed or removed', async () => {
    const cases = [
      ["UPDATE event_1 SET name = 'other' WHERE seq = 3", 'changed', 3],
      ['DELETE FROM event_1 WHERE seq = 3', 'missing', 3],
      ['DELETE FROM event_1 WHERE seq = 5', 'cut', 5],
      ["UPDATE head SET hash = 'x'", 'cut', 5],
      ["UPDATE head SET sig = 'x'", 'signature', 5],
      ["UPDATE subject SET snapshot = '{}'", 'changed', undefined],
    ] as const
    for (const [sql, what, seq] of cases) {
      const { call, append, verified } = trailOf()
      const now = await at()
      const snapshot = '{"client":"c"}'
      const subject = digest(snapshot)
      await append(
        'one',
        [1, 2, 3, 4].map((n) => auditRow(now, { request: String(n), subject })),
        { subjects: [[subject, snapshot]] },
      )
      expect((await verified()).fault).toBeUndefined()
      await call('edit', sql)
      expect((await verified()).fault).toMatchObject({ what, ...(seq === undefined ? {} : { seq }) })
    }
  })

  test('keeps what it keeps for as long as is configured, and says what it removed', async () => {
    const { call, append, found, verified, ask } = trailOf()
    const body = (n: string, time: number) => {
      const text = JSON.stringify({ salt: n, arguments: { n } })
      return { hash: digest(text), text, at: time, person: 'local:ana', request: n }
    }
    const start = await at()
    await append('one', [auditRow(start, { request: 'old' })], { bodies: [body('old', start)] })
    await ask('advance', 1.5 * dayMs)
    const later = await at()
    await append('two', [auditRow(later, { request: 'new' })], { bodies: [body('new', later)] })
    await call('due')
    expect([
      await call('body', body('old', start).hash),
      await call('body', body('new', later).hash),
    ]).toEqual([null, body('new', later)])
    expect(await found('old')).toEqual([])
    expect(await found('request:old')).toEqual(['old'])
    await ask('advance', 1.5 * dayMs)
    const last = await at()
    await append('three', [auditRow(last, { request: 'last' })])
    // Some of the work each time, and the next time a second later.
    for (let i = 0; i < 9; i++) await call('due')
    const left = await found('since:100d')
    expect(left).not.toContain('old')
    expect(left.filter((name) => name === 'new' || name === 'last' || name === 'audit.cut')).toEqual([
      ...['new', 'last', 'audit.cut'],
    ])
    expect((await verified()).fault).toBeUndefined()
    // Nothing is left to do until something is too old again.
    expect(await call('alarmInMs')).toEqual(expect.closeTo(6 * 3_600_000, -5))
  })

  test('verifies itself once a day, in steps, and tells whoever writes what was changed', async () => {
    const { call, append, ask } = trailOf()
    const verifications = async () => {
      const { rows } = await call<TrailPage>('page', {
        terms: ['kind:audit.verified'],
        order: 'oldest',
        limit: 9,
      })
      return rows.map(({ detail }) => JSON.parse(detail ?? '') as object)
    }
    const dues = async () => {
      for (let i = 0; i < 6; i++) await call('due')
    }
    const rowsAt = async (count: number) => {
      const now = await at()
      return Array.from({ length: count }, (_, n) => auditRow(now, { request: `v${n}` }))
    }
    await append('one', await rowsAt(4_500))
    await dues()
    // Not on the first day, and then once.
    expect(await verifications()).toEqual([])
    await ask('advance', 1.1 * dayMs)
    await append('two', await rowsAt(1))
    await dues()
    expect(await verifications()).toEqual([{ rows: expect.any(Number) as number, chains: 1, open: 1 }])
    expect(await append('three', await rowsAt(1))).toEqual({ low: false })
    await call('edit', "UPDATE event_1 SET person = 'local:eve' WHERE seq = 4200")
    await ask('advance', 1.1 * dayMs)
    await dues()
    const [, found] = await verifications()
    expect(found).toMatchObject({
      rows: 4199,
      fault: expect.stringMatching(/^row 4200 of chain .* was changed$/),
    })
    expect(await append('four', await rowsAt(1))).toMatchObject({ fault: expect.stringContaining('4200') })
  })
})
