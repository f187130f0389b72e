// Pages of a search of the audit trail: each row is on one page, in either order, whatever stops a page.
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { openAuditReader } from '../../src/node/audit-reader.ts'
import type { TrailCountsAsked, TrailSearch } from '../../src/ports/runtime.ts'
import { day, row, start, useAuditFile } from './audit-world.ts'

const { file, writerAt, edit } = useAuditFile()

/** Three segments: two full ones, with and without indexes, and the open one. */
const fill = (): void => {
  for (const n of [0, 1, 2]) {
    const writer = writerAt(start + n * day)
    const rows = Array.from({ length: 12 }, (_, i) =>
      row(start + n * day + i, { person: i % 3 === 0 ? 'local:ben' : 'local:ana', detail: '{"why":"w"}' }),
    )
    writer.append(rows)
    if (n === 1) while (writer.tidy(start + n * day));
    writer.close(start + n * day + 20)
  }
}

/** All pages of a search; `stops`: after each look at the time. */
const pagesOf = (search: Omit<TrailSearch, 'from' | 'terms'>, stops = false) => {
  const reader = openAuditReader(file())
  const pages = []
  let from: TrailSearch['from']
  do {
    const asked = { ...search, terms: ['kind:call', 'since:7d'], from }
    const page = reader?.page(asked, start + 3 * day, () => !stops)
    pages.push(page)
    from = page?.next
  } while (from)
  reader?.close()
  return pages
}
const requests = Array.from({ length: 36 }, (_, i) => `r${start + Math.floor(i / 12) * day + (i % 12)}`)

describe.each(['newest', 'oldest'] as const)('the %s first', (order) => {
  const expected = order === 'oldest' ? requests : requests.toReversed()
  it.each([
    [1, false],
    [5, false],
    [50, false],
    [5, true],
    [50, true],
  ])('at most %s a page, and stopped by time: %s', (limit, stops) => {
    fill()
    const pages = pagesOf({ order, limit }, stops)
    expect(pages.flatMap((page) => page?.rows.map(({ request }) => request))).toEqual(expected)
    expect(pages.some((page) => page?.partial)).toBe(stops)
    expect(pages.at(-1)).not.toHaveProperty('next')
    for (const page of pages) expect(page?.rows.length).toBeLessThanOrEqual(limit)
  })
})

it('of one person have only their rows, without causes', () => {
  fill()
  const rows = pagesOf({ order: 'newest', limit: 5, person: 'local:ben' }).flatMap((page) => page?.rows ?? [])
  expect(rows.map(({ person, detail }) => `${String(person)} ${String(detail)}`)).toEqual(
    Array.from({ length: 12 }, () => 'local:ben {}'),
  )
})

describe('counts', () => {
  const asked = { terms: ['kind:call'], since: start, until: start + 3 * day, slots: 3, perService: true }
  it('say how many there were in each slot of time, how they ended and how long they took', () => {
    const writer = writerAt(start)
    writer.append([
      ...Array.from({ length: 95 }, (_, i) => row(start + i, { service: 'jira', ms: 12 })),
      ...Array.from({ length: 5 }, (_, i) =>
        row(start + day + i, { service: 'jira', ms: 2345, is_error: 1 }),
      ),
      row(start + 2 * day, { service: 'files', decision: 'denied', code: 'policy.tool', ms: 1 }),
      row(start + 2 * day, { service: 'files', decision: 'failed', status: 504, ms: 30_000 }),
      row(start + 2 * day, { kind: 'sign-in', service: null }),
    ])
    writer.close(start + 2 * day)
    const reader = openAuditReader(file())
    const counts = reader?.counts(asked, start + 3 * day, () => true)
    expect(counts).toEqual({
      slots: [
        { allowed: 95, denied: 0, failed: 0 },
        { allowed: 0, denied: 0, failed: 5 },
        { allowed: 0, denied: 1, failed: 1 },
      ],
      services: [
        { service: 'jira', p95: 12, slots: expect.any(Array) },
        { service: 'files', p95: 30_000, slots: expect.any(Array) },
      ],
    })
    expect(reader?.counts({ ...asked, person: 'local:nobody' }, start, () => true)?.services).toEqual([])
    expect(reader?.counts({ ...asked, until: start + day }, start, () => true)?.services).toHaveLength(1)
    expect(() => reader?.counts({ ...asked, terms: ['no:1'] }, start, () => true)).toThrow(RangeError)
    reader?.close()
  })
  it('begin with the newest, and say what was not counted', () => {
    fill()
    const reader = openAuditReader(file())
    const stopped = reader?.counts(asked, start + 3 * day, () => false)
    expect(stopped?.slots.map(({ allowed }) => allowed)).toEqual([0, 0, 12])
    expect(stopped?.from).toBe(start + 2 * day)
    expect(reader?.counts(asked, start + 3 * day, () => true)).not.toHaveProperty('from')
    reader?.close()
  })
})

describe('counted ahead', () => {
  const minute = 60_000
  const since = start - (start % (30 * minute))
  /** Two segments, with values that come again at various times. */
  const fillMany = (count = 300): void => {
    for (const n of [0, 1]) {
      const writer = writerAt(since + n * day)
      writer.append(
        Array.from({ length: count }, (_, i) =>
          row(since + n * day + Math.floor((i * day) / 2 / count), {
            ...(i % 11 === 0 && { kind: 'sign-in', service: null, method: null, ms: null }),
            ...(i % 7 === 0 && { decision: 'denied', code: 'policy.tool', status: 403 }),
            ...(i % 13 === 0 && { is_error: 1, client: 'c2' }),
            ...(i % 3 === 0 && { service: 'files', ms: i }),
            ...(i % 17 === 0 && { person: 'local:ben', name: 'read_file' }),
          }),
        ),
      )
      writer.close(since + n * day + 1)
    }
  }
  const countsOf = (more: Partial<TrailCountsAsked>) => {
    const reader = openAuditReader(file())
    const asked = { terms: [], since, until: since + 2 * day, slots: 96, perService: true, ...more }
    const counts = reader?.counts(asked, start + 3 * day, () => true)
    reader?.close()
    return (
      counts && { ...counts, services: counts.services.toSorted((a, b) => (a.service < b.service ? -1 : 1)) }
    )
  }
  const tidy = (now: number, retentionMs?: number): void => {
    const writer = writerAt(now, retentionMs)
    while (writer.tidy(now));
    writer.close(now)
  }
  const asked: readonly Partial<TrailCountsAsked>[] = [
    ...[
      [],
      ['kind:call'],
      ['-kind:call'],
      ['decision:denied'],
      ['service:jira'],
      ['service:jira,files', '-client:c2'],
      ['code:policy.*'],
      ['status:>=400'],
      ['method:tools/call'],
      ['error:1'],
      ['tool:create_issue'],
      ['user:ben'],
      ['user:local:ben'],
      ['ms:>500'],
      ['read_f'],
      ['nowhere'],
      ['-read_f'],
    ].map((terms) => ({ terms })),
    { person: 'local:ben' },
    { perService: false },
    { terms: ['decision:denied'], perService: false },
    { since: since + 30 * minute, until: since + 31 * minute, slots: 1, perService: false },
    { since: since + 30 * minute, until: since + 90 * minute, slots: 60, perService: false },
    { since: since + 1234, until: since + day + 77_777, slots: 13 },
    { since: since + day + minute, until: since + day + 2 * minute, slots: 2, perService: false },
  ]
  it('rows give the same numbers as if each was looked at', () => {
    fillMany()
    const before = asked.map(countsOf)
    expect(
      before[0]?.slots.reduce((all, { allowed, denied, failed }) => all + allowed + denied + failed, 0),
    ).toBe(
      // And the first and the last row of each chain.
      604,
    )
    tidy(since + 2 * day)
    expect(asked.map(countsOf)).toEqual(before)
    const db = new DatabaseSync(file())
    // A chart reads them: another number there is another number in it.
    db.exec('UPDATE tally_1 SET n = n + 1000 WHERE unit = 1')
    db.close()
    expect(countsOf({ perService: false })?.slots[0]?.allowed).toBeGreaterThan(1_000)
  })
  it('rows of a large segment are counted a piece at a time, and those of the open one too', () => {
    fillMany(5_100)
    const before = countsOf({})
    tidy(since + 1.4 * day)
    const db = new DatabaseSync(file())
    expect(db.prepare('SELECT segment, low, high FROM piece').all()).toEqual([
      { segment: 1, low: 0, high: 5_000 },
      { segment: 1, low: 5_000, high: 5_102 },
      { segment: 2, low: 0, high: 5_000 },
    ])
    db.close()
    expect(countsOf({ terms: ['-kind:audit.opened', '-kind:audit.closed'] })?.slots.slice(0, 24)).toEqual(
      before?.slots.slice(0, 24).map((slot, i) => (i === 0 ? { ...slot, allowed: slot.allowed - 2 } : slot)),
    )
  })
  it('rows go with their segment', () => {
    fillMany()
    tidy(since + 2 * day)
    const newest = countsOf({ since: since + day, slots: 48 })
    tidy(since + 3 * day, 1.8 * day)
    expect(countsOf({ slots: 96 })?.slots.slice(0, 48)).toEqual(
      Array.from({ length: 48 }, () => ({ allowed: 0, denied: 0, failed: 0 })),
    )
    expect(countsOf({ since: since + day, slots: 48 })).toEqual(newest)
    const db = new DatabaseSync(file())
    expect(db.prepare("SELECT name FROM sqlite_schema WHERE name = 'tally_1'").all()).toEqual([])
    expect(db.prepare('SELECT DISTINCT segment FROM piece').all()).toEqual([{ segment: 2 }, { segment: 3 }])
    db.close()
  })
  it('rows are those of a trail that an earlier version has written, too', () => {
    fillMany()
    const before = countsOf({})
    edit('DROP TABLE piece')
    expect(countsOf({})).toEqual(before)
    tidy(since + 2 * day)
    expect(countsOf({})).toEqual(before)
  })
})
