// The counters keep their contract on every backend: one step each, however many processes count.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openSqliteStore } from '../../src/node/store.ts'
import { createCounterSteps } from '../../src/policy/rate-limit.ts'
import type { Counters } from '../../src/ports/store.ts'
import { type CountersBackend, countersContract } from './counters.ts'

const inMemory = (): CountersBackend => {
  let time = 1_700_000_000_000
  const { hit, act } = createCounterSteps({ now: () => time, loopback: false })
  const counters: Counters = {
    hit: (key, asked) => Promise.resolve(hit(key, asked)),
    act: (actions) => Promise.resolve(act(actions)),
  }
  return { both: [counters, counters], advance: (ms) => void (time += ms), close: () => undefined }
}

const onSqlite = (): CountersBackend => {
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

countersContract('in memory', inMemory)
countersContract('on a SQLite file with two connections', onSqlite)

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
