// Pages of a search of the audit trail: each row is on one page, in either order, whatever stops a page.
import { describe, expect, it } from 'vitest'
import { openAuditReader } from '../../src/node/audit-reader.ts'
import type { TrailSearch } from '../../src/ports/runtime.ts'
import { day, row, start, useAuditFile } from './audit-world.ts'

const { file, writerAt } = useAuditFile()

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
  const asked = { terms: ['kind:call'], since: start, until: start + 3 * day, slots: 3 }
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
