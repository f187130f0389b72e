// What a busy gateway records waits in the file of the trail, encrypted, until there is time for rows; and whatever ends the
// process in between, it becomes rows once.
import { readFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { digest, openFile } from '../../src/node/audit-database.ts'
import { createMac } from '../../src/node/audit-thread.ts'
import {
  type CatchUpDeps,
  type WaitingStart,
  createCatchUp,
  createWaiting,
  waitingKeys,
} from '../../src/node/audit-waiting.ts'
import { openAuditTrail } from '../../src/node/audit-writer.ts'
import { openAuditReader } from '../../src/node/audit-reader.ts'
import { createKeyRing } from '../../src/kit/keyring.ts'
import { type EventBatch, createAuditRows } from '../../src/stores/audit-events.ts'
import { createBatch } from '../../src/stores/audit-batches.ts'
import { readSearch } from '../../src/stores/audit.ts'
import { start, useAuditFile } from './audit-world.ts'

const { file, edit, verified, writerAt } = useAuditFile()
const random = (n: number) => crypto.getRandomValues(new Uint8Array(n))
const ringOf = (...secrets: readonly number[]) =>
  createKeyRing(
    secrets.map((byte) => new Uint8Array(32).fill(byte)),
    random,
  )
const keysOf = async (...secrets: readonly number[]) => waitingKeys(file(), await ringOf(...secrets))

const body = new TextEncoder().encode('{"params":{"name":"pay","arguments":{"card":"canary-4111"}}}')
/** Of two events. */
const batchOf = (n: number): EventBatch => {
  const batch = createBatch()
  for (const half of ['a', 'b']) {
    const event = {
      event: 'call',
      method: 'tools/call',
      name: 'pay',
      person: 'local:canary',
      request_id: `r${n}${half}`,
    }
    batch.add(JSON.stringify(event), start + n, body, undefined)
  }
  return batch.take()
}

/** A process: its writer, and what it keeps. */
const open = (keys: WaitingStart, more: Partial<CatchUpDeps> = {}) => {
  const db = openFile(file())
  const waiting = createWaiting(db, keys)
  const writer = writerAt(start)
  const macs = new Map(keys.days.map(({ day, key }) => [day, createMac(key)]))
  const rowsOf = createAuditRows({
    digest,
    parse: (bytes) => JSON.parse(new TextDecoder().decode(bytes)) as unknown,
    mac: (_at, text) => [...macs.values()][0]?.(text),
  })
  const told: number[] = []
  const lost: number[] = []
  const catchUp = createCatchUp({
    waiting,
    make: (batch) => ({ ...rowsOf(batch), kept: batch.kept }),
    write(made, also) {
      db.exec('BEGIN')
      also()
      db.exec('COMMIT')
      for (const { rows, subjects, kept } of made) writer.append(rows, subjects, kept)
      return true
    },
    lose: (events) => lost.push(events),
    tell: (events) => told.push(events),
    ...more,
  })
  return { db, waiting, catchUp, told, lost, close: () => (writer.close(start), db.close()) }
}
const requests = () => {
  const reader = openAuditReader(file())
  const found = [...(reader?.all(readSearch(['kind:call'], start)) ?? [])]
  const waiting = reader?.waiting()
  reader?.close()
  return {
    rows: found.map(({ request }) => request),
    digests: new Set(found.map((row) => row.digest)),
    waiting,
  }
}

beforeEach(() => void vi.useFakeTimers({ now: start }))
afterEach(() => void vi.useRealTimers())

it('becomes rows in its order when the gateway has time, and is encrypted until then', async () => {
  const { catchUp, told, close } = open(await keysOf(1))
  catchUp.keep([batchOf(1), batchOf(2)], true)
  catchUp.keep([batchOf(3)], false)
  expect(requests()).toMatchObject({ rows: [], waiting: 6 })
  const bytes = Buffer.concat([readFileSync(file()), readFileSync(`${file()}-wal`)]).toString('latin1')
  expect(bytes).not.toContain('canary')
  await vi.advanceTimersByTimeAsync(1_000)
  expect(requests()).toMatchObject({ rows: ['r1a', 'r1b', 'r2a', 'r2b', 'r3a', 'r3b'], waiting: 0 })
  expect(told).toEqual([0, 4, 6, 0])
  close()
  expect(verified().fault).toBeUndefined()
})

it('waits while the gateway is busy, and ten seconds at most', async () => {
  const { catchUp, close } = open(await keysOf(1))
  const busy = setInterval(() => catchUp.keep([batchOf(0)], true), 100)
  await vi.advanceTimersByTimeAsync(9_000)
  expect(requests()).toMatchObject({ rows: [], waiting: 180 })
  await vi.advanceTimersByTimeAsync(2_000)
  expect(requests().rows.length).toBeGreaterThan(190)
  clearInterval(busy)
  close()
})

it('becomes rows at once for somebody who reads', async () => {
  const { catchUp, close } = open(await keysOf(1))
  catchUp.keep([batchOf(1)], true)
  catchUp.hurry()
  expect(requests()).toMatchObject({ rows: ['r1a', 'r1b'], waiting: 0 })
  expect(catchUp.waits()).toBe(false)
  catchUp.hurry()
  close()
})

it('becomes rows when the process ends', async () => {
  const { catchUp, close } = open(await keysOf(1))
  for (let i = 0; i < 400; i++) catchUp.keep([batchOf(i)], true)
  catchUp.end(start + 1)
  expect(requests()).toMatchObject({ waiting: 0 })
  expect(requests().rows).toHaveLength(800)
  close()
})

describe('left behind by a process that was killed', () => {
  const kill = async (secret: number): Promise<void> => {
    const { waiting, close } = open(await keysOf(secret))
    waiting.keep([batchOf(1), batchOf(2)])
    close()
  }
  it('becomes rows of the next, with digests', async () => {
    await kill(1)
    const { catchUp, close } = open(await keysOf(1))
    await vi.advanceTimersByTimeAsync(10)
    expect(catchUp.waits()).toBe(false)
    expect(requests()).toMatchObject({ rows: ['r1a', 'r1b', 'r2a', 'r2b'], waiting: 0 })
    expect([...requests().digests]).toEqual([expect.stringMatching(/^[\w-]{22}$/)])
    close()
    expect(verified().fault).toBeUndefined()
  })
  it('becomes rows after the secret was changed, while the one before is known', async () => {
    await kill(1)
    open(await keysOf(2, 1)).close()
    expect(requests()).toMatchObject({ rows: ['r1a', 'r1b', 'r2a', 'r2b'], waiting: 0 })
  })
  it('stays as it is for a process with another secret', async () => {
    await kill(1)
    const { catchUp, close } = open(await keysOf(2))
    catchUp.keep([batchOf(3)], false)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(requests()).toMatchObject({ rows: ['r3a', 'r3b'], waiting: 4 })
    close()
  })
  it('is counted as lost where somebody changed it, and the rest becomes rows', async () => {
    await kill(1)
    edit('UPDATE waiting SET batch = zeroblob(length(batch)) WHERE id = 1')
    const { lost, close } = open(await keysOf(1))
    expect(requests()).toMatchObject({ rows: ['r2a', 'r2b'], waiting: 0 })
    expect(lost).toEqual([2])
    close()
  })
  it.each([
    ['the first', 'DELETE FROM waiting WHERE id = 1', ['r2a', 'r2b'], 2],
    ['the last', 'DELETE FROM waiting WHERE id = 2', ['r1a', 'r1b'], 2],
    ['all', 'DELETE FROM waiting', [], 4],
    [
      'the last, with the count',
      'DELETE FROM waiting WHERE id = 2; UPDATE waited SET kept = 2',
      ['r1a', 'r1b'],
      1,
    ],
    ['the last, and the count', 'DELETE FROM waiting WHERE id = 2; DELETE FROM waited', ['r1a', 'r1b'], 1],
    ['all, with the count', 'DELETE FROM waiting; UPDATE waited SET kept = 0', [], 1],
  ])('is counted as lost where %s was deleted', async (_what, sql, rows, events) => {
    await kill(1)
    edit(sql)
    const { lost, close } = open(await keysOf(1))
    expect(requests()).toMatchObject({ rows, waiting: 0 })
    expect(lost).toEqual([events])
    close()
    const again = open(await keysOf(1))
    expect(again.lost).toEqual([])
    again.close()
  })
  it('becomes rows once, though it is there twice', async () => {
    await kill(1)
    edit('INSERT INTO waiting (key, day, events, batch) SELECT key, day, events, batch FROM waiting')
    const { lost, close } = open(await keysOf(1))
    expect(requests()).toMatchObject({ rows: ['r1a', 'r1b', 'r2a', 'r2b'], waiting: 0 })
    expect(lost).toEqual([])
    close()
  })
  it('is counted as lost where no row can be made of it', async () => {
    await kill(1)
    const make = () => {
      throw new TypeError('no row')
    }
    const { lost, close } = open(await keysOf(1), { make })
    expect(requests()).toMatchObject({ rows: [], waiting: 0 })
    expect(lost).toEqual([4])
    close()
  })
})

it('becomes rows once, whichever of two processes makes them', async () => {
  const keys = await keysOf(1)
  const { waiting, close } = open(keys)
  waiting.keep([batchOf(1)])
  const other = new DatabaseSync(file())
  const left = waiting.oldest()
  open({ ...(await keysOf(1)), own: { ...keys.own, sealed: 'other' } }).close()
  expect(() => waiting.remove(left)).toThrow()
  expect(requests()).toMatchObject({ rows: ['r1a', 'r1b'], waiting: 0 })
  other.close()
  close()
})

it('is nothing that a reader or the end of a trail misses', async () => {
  vi.useRealTimers()
  const trail = await openAuditTrail({
    path: file(),
    version: '1',
    ...{ retentionMs: 1e12, bodiesMs: 1e12, durable: false, makeRoom: false, sinks: [], closeMs: 60_000 },
    keys: await ringOf(1),
    now: Date.now,
    log: () => undefined,
  })
  // One turn of the event loop is all work, as under more calls than the gateway can carry.
  const burst = (from: number): void => {
    for (let i = from; i < from + 320; i++) trail.record({ event: 'call', request_id: `r${i}` })
  }
  burst(0)
  await expect.poll(() => trail.settled().then(() => requests().rows.length), { timeout: 60_000 }).toBe(320)
  burst(320)
  expect(await trail.close()).toBe(true)
  expect(requests()).toMatchObject({ rows: Array.from({ length: 640 }, (_, i) => `r${i}`), waiting: 0 })
  expect(verified().fault).toBeUndefined()
}, 120_000)

it('is tried again after the database could not be written', async () => {
  let works = false
  const keys = await keysOf(1)
  const { catchUp, waiting, close } = open(keys, {
    write(_made, also) {
      if (works) also()
      return works
    },
  })
  catchUp.keep([batchOf(1)], false)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(waiting.events()).toBe(2)
  works = true
  await vi.advanceTimersByTimeAsync(1_000)
  expect(waiting.events()).toBe(0)
  close()
})
