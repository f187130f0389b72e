// How many calls there were, when, and how they ended: charts of the console, counted over the rows of the audit trail.
import type { TrailCounts, TrailCountsAsked, TrailServiceCounts } from '../ports/runtime.ts'
import { type SearchedSegment, type TrailTables, conditionOf, valuesOf, within } from './audit-pages.ts'
import { readSearch, segmentRows } from './audit.ts'

/** So many rows are counted before the time is looked at: a statement cannot be stopped. */
const windowRows = 20_000

/** One group of rows that are alike. */
interface Group {
  readonly slot: number
  readonly service: string | null
  readonly outcome: 'allowed' | 'denied' | 'failed'
  /** Milliseconds, two digits of them. */
  readonly ms: number | null
  readonly n: number
}

const outcome = `CASE WHEN decision = 'failed' OR is_error = 1 THEN 'failed' WHEN decision = 'allowed' THEN 'allowed' ELSE 'denied' END`
const rounded =
  'CASE WHEN ms < 100 THEN ms WHEN ms < 1000 THEN ms / 10 * 10 WHEN ms < 10000 THEN ms / 100 * 100 ELSE ms / 1000 * 1000 END'

/** The value that `share` of them do not exceed. */
const quantile = (counts: ReadonlyMap<number, number>, share: number): number | undefined => {
  const all = [...counts.values()].reduce((sum, n) => sum + n, 0)
  let seen = 0
  for (const [value, n] of [...counts].toSorted(([one], [other]) => one - other))
    if ((seen += n) >= all * share) return value
  return undefined
}

/** What a slot has. */
const emptySlots = (count: number) =>
  Array.from({ length: count }, () => ({ allowed: 0, denied: 0, failed: 0 }))

interface Tally {
  readonly slots: ReturnType<typeof emptySlots>
  readonly took: Map<number, number>
}

const createTally = (count: number) => {
  const whole = emptySlots(count)
  const services = new Map<string, Tally>()
  return {
    add({ slot, service, outcome: how, ms, n }: Group): void {
      const at = Math.min(count - 1, Math.max(0, slot))
      const all = whole[at]
      if (all) all[how] += n
      if (service === null) return
      const tally = services.get(service) ?? { slots: emptySlots(count), took: new Map<number, number>() }
      services.set(service, tally)
      const own = tally.slots[at]
      if (own) own[how] += n
      if (ms !== null && how !== 'denied') tally.took.set(ms, (tally.took.get(ms) ?? 0) + n)
    },
    get result(): Pick<TrailCounts, 'slots' | 'services'> {
      return {
        slots: whole,
        services: [...services].map(([service, { slots, took }]): TrailServiceCounts => ({
          service,
          slots,
          p95: quantile(took, 0.95),
        })),
      }
    },
  }
}

/**
 * Counts the newest first, for as long as it may: what is older than `from` was not counted. Rejects as a search does.
 */
export const createCounts = ({ all, columns: columnsOf }: TrailTables) => {
  const segmentsOf = (): readonly SearchedSegment[] =>
    all('SELECT * FROM segment ORDER BY n DESC', []) as readonly SearchedSegment[]
  return (
    { terms, person, since, until, slots }: TrailCountsAsked,
    now: number,
    mayGoOn: () => boolean,
  ): TrailCounts => {
    const search = { ...readSearch(terms, now), since, until }
    const values = [...valuesOf(search), ...(person === undefined ? [] : [person])]
    const own = person === undefined ? '' : ' AND person = ?'
    const width = Math.max(1, Math.ceil((until - since) / slots))
    const tally = createTally(slots)
    for (const segment of within(segmentsOf(), search)) {
      const table = segmentRows(segment.n, columnsOf(`event_${segment.n}`))
      for (let high = segment.rows; high > 0; high -= windowRows) {
        const low = Math.max(0, high - windowRows)
        const groups = all(
          `SELECT CAST((at - ?) / ? AS INTEGER) AS slot, service, ${outcome} AS outcome, ${rounded} AS ms, count(*) AS n, min(at) AS first FROM ${table} WHERE (${conditionOf(search, segment)})${own} AND id > ? AND id <= ? GROUP BY 1, 2, 3, 4`,
          [since, width, ...values, low, high],
        ) as readonly (Group & { readonly first: number })[]
        for (const group of groups) tally.add(group)
        if (mayGoOn()) continue
        const first = Math.min(...groups.map((group) => group.first))
        return { ...tally.result, ...(Number.isFinite(first) && { from: first }) }
      }
    }
    return tally.result
  }
}
