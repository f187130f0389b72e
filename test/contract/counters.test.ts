// The counters keep their contract on every backend: one step each, however many processes count.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openSqliteStore } from '../../src/node/store.ts'
import { createCounterSteps } from '../../src/policy/rate-limit.ts'
import type { Counters, CountAction } from '../../src/ports/store.ts'

interface Backend {
  /** Of two processes; one twice where there cannot be two. */
  readonly both: readonly [Counters, Counters]
  advance(ms: number): void
  close(): void
}

const inMemory = (): Backend => {
  let time = 1_700_000_000_000
  const { hit, act } = createCounterSteps({ now: () => time, loopback: false })
  const counters: Counters = {
    hit: (key, asked) => Promise.resolve(hit(key, asked)),
    act: (actions) => Promise.resolve(act(actions)),
  }
  return { both: [counters, counters], advance: (ms) => void (time += ms), close: () => undefined }
}

const onSqlite = (): Backend => {
  const dir = mkdtempSync(join(tmpdir(), 'postern-counters-'))
  let time = 1_700_000_000_000
  const open = () => openSqliteStore(join(dir, 'postern.db'), { now: () => time })
  const [one, two] = [open(), open()]
  return {
    both: [one.counters, two.counters],
    advance: (ms) => void (time += ms),
    close: () => (one.close(), two.close(), rmSync(dir, { recursive: true })),
  }
}

describe.each([
  ['in memory', inMemory],
  ['on a SQLite file with two connections', onSqlite],
])('counters %s', (_, create) => {
  const { both, advance, close } = create()
  const [one, two] = both
  afterAll(close)

  it('count what is allowed, for all, and say what is left and for how long it is counted', async () => {
    const hit = { cost: 2, limit: 5, windowMs: 60_000 }
    expect(await one.hit('a', hit)).toEqual({ allowed: true, remaining: 3, resetMs: 60_000 })
    advance(1000)
    expect(await two.hit('a', hit)).toEqual({ allowed: true, remaining: 1, resetMs: 59_000 })
    expect(await one.hit('a', hit)).toEqual({ allowed: false, remaining: 1, resetMs: 59_000 })
    expect(await one.hit('b', hit)).toMatchObject({ allowed: true })
    advance(59_000)
    expect(await two.hit('a', hit)).toEqual({ allowed: true, remaining: 3, resetMs: 60_000 })
  })

  it('allow exactly as many as there are, of many at once', async () => {
    const hit = { cost: 1, limit: 30, windowMs: 60_000 }
    const results = await Promise.all(
      Array.from({ length: 200 }, (__, i) => (i % 2 === 0 ? one : two).hit('many', hit)),
    )
    expect(results.filter((result) => result.allowed)).toHaveLength(30)
  })

  it('count passwords, and what strangers may have kept, for all', async () => {
    const use = (kind: 'sign-in' | 'kept-flows', cost: number): readonly CountAction[] => [
      { do: 'use', kind, who: { ip: '192.0.2.1' }, cost },
    ]
    for (let i = 0; i < 10; i++) expect(await (i % 2 === 0 ? one : two).act(use('sign-in', 1))).toBe(0)
    expect([await one.act(use('sign-in', 1)), await two.act(use('sign-in', 1))]).toEqual([60_000, 60_000])
    expect(await one.act(use('kept-flows', 59_990))).toBe(0)
    expect(await two.act(use('kept-flows', 16))).toBe(600_000)
    for (let i = 0; i < 20; i++) await (i % 2 === 0 ? one : two).act([{ do: 'wrong', account: 'ana' }])
    expect(await one.act([{ do: 'guess', account: 'ana', ip: '192.0.2.9' }])).toBe(1000)
    advance(1000)
    expect(await two.act([{ do: 'guess', account: 'ana', ip: '192.0.2.9' }])).toBe(0)
  })
})

it('rows that are over are swept with the records', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'postern-counters-'))
  let time = 1_700_000_000_000
  const { store, counters, close } = openSqliteStore(join(dir, 'postern.db'), { now: () => time })
  await counters.hit('a', { cost: 1, limit: 1, windowMs: 1000 })
  time += 1000
  expect(await store.sweep(10)).toBe(0)
  time -= 1000
  expect(await counters.hit('a', { cost: 1, limit: 1, windowMs: 1000 })).toMatchObject({ allowed: true })
  close()
  rmSync(dir, { recursive: true })
})
