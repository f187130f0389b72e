// What the thread of the audit trail does now and then: room on a full disk, and the daily verification.
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { type FromChores, doChores } from '../../src/node/audit-chores.ts'
import { openFile } from '../../src/node/audit-database.ts'
import { day, start, useAuditFile } from './audit-world.ts'

const { row, writerAt, verified, found, file } = useAuditFile()

/** A trail of some days, with a segment for each. */
const written = (days: number) => {
  const writer = writerAt(start)
  for (let i = 0; i < days; i++) writer.append([row(start + i * day, { request: `day${i}` })])
  return writer
}
const chores = (writer: ReturnType<typeof written>, more: { makeRoom?: boolean; free?: number } = {}) => {
  const { makeRoom = false, free = 0.5 } = more
  const said: FromChores[] = []
  const options = {
    path: file(),
    writer,
    makeRoom,
    freeShare: () => free,
    say: (one: FromChores) => void said.push(one),
  }
  return { said, run: (now: number) => doChores(options, now) }
}
const runAll = ({ run }: ReturnType<typeof chores>, now: number): void => {
  while (run(now));
}

describe('a disk that is nearly full', () => {
  it.each([
    [0.2, false],
    [0.05, false],
    [0.049, true],
    [0, true],
  ])('%d of it free is told: %s', (free, low) => {
    const writer = written(1)
    const { said, run } = chores(writer, { free })
    run(start)
    expect(said[0]).toEqual({ free, low })
    writer.close(start)
  })

  it('is read from the file system where nobody says otherwise', () => {
    const writer = written(1)
    const said: FromChores[] = []
    doChores({ path: file(), writer, makeRoom: false, say: (one) => void said.push(one) }, start)
    expect(said[0]).toEqual({ free: expect.any(Number), low: expect.any(Boolean) })
    writer.close(start)
  })

  it('costs no events unless that is wanted', () => {
    const writer = written(4)
    runAll(chores(writer, { free: 0.01 }), start + 4 * day)
    expect(found('kind:call')).toHaveLength(4)
    writer.close(start + 4 * day)
  })

  it('is given room by the oldest segments, which the trail says, and the open one stays', () => {
    const writer = written(4)
    const full = chores({ ...writer, room: () => ({ free: 0, size: 1 }) }, { free: 0.01, makeRoom: true })
    runAll(full, start + 3 * day)
    expect(found('kind:call')).toEqual(['day3'])
    writer.close(start + 3 * day)
    expect(verified()).not.toHaveProperty('fault')
    const db = new DatabaseSync(file())
    const [cut] = db.prepare("SELECT detail FROM event_4 WHERE kind = 'audit.cut' ORDER BY id").all()
    db.close()
    expect(JSON.parse(String(cut?.['detail']))).toMatchObject({ segment: 1, reason: 'disk' })
  })

  it('costs no events while the file has room of its own', () => {
    const writer = written(4)
    // Indexes take room, too.
    while (writer.tidy(start + 3 * day));
    expect(writer.room()).toMatchObject({ free: 0 })
    runAll(chores(writer, { free: 0.01, makeRoom: true }), start + 3 * day)
    expect(found('kind:call')).toEqual(['day3', 'day2', 'day1'])
    const [{ free, size }, most] = [writer.room(), 67_108_864]
    expect(free).toBeGreaterThan(size / 8)
    for (const [left, calls] of [
      [most, 3],
      [most - 1, 1],
    ] as const) {
      const large = { ...writer, room: () => ({ free: left, size: most * 100 }) }
      runAll(chores(large, { free: 0.01, makeRoom: true }), start + 3 * day)
      expect(found('kind:call')).toHaveLength(calls)
    }
    writer.close(start + 3 * day)
  })
})

describe('the daily verification', () => {
  it('is asked for once a day, by one of all processes', () => {
    const [one, other] = [written(1), writerAt(start + 1)]
    const asked = (writer: typeof one, now: number): boolean => {
      const each = chores(writer)
      each.run(now)
      return each.said.includes('verify')
    }
    expect([asked(one, start), asked(one, start + day - 1)]).toEqual([false, false])
    expect([asked(other, start + day), asked(one, start + day)]).toEqual([true, false])
    expect([asked(one, start + 2 * day - 1), asked(one, start + 2 * day)]).toEqual([false, true])
    for (const writer of [one, other]) writer.close(start + 2 * day)
  })
})

it.each([
  [false, 1],
  [true, 2],
])('durable: %s', (durable, synchronous) => {
  const db = openFile(file(), durable)
  expect(db.prepare('PRAGMA synchronous').get()).toEqual({ synchronous })
  db.close()
})
