// How many calls there were, when, and how they ended: charts of the console, counted over the rows of the audit trail, or
// over what was counted ahead of them.
import type { TrailCounts, TrailCountsAsked, TrailServiceCounts } from '../ports/runtime.ts'
import {
  type SearchedSegment,
  type TrailTables,
  conditionOf,
  hasWords,
  idsWithin,
  valuesOf,
  windowOf,
  within,
} from './audit-pages.ts'
import { type CountsAsked, type CountedPiece, roundedMs, talliesFor } from './audit-tallies.ts'
import { readSearch, segmentRows } from './audit.ts'

/** Rows that are alike. */
interface Group {
  readonly slot: number
  readonly service: string | null
  readonly outcome: 'allowed' | 'denied' | 'failed'
  readonly n: number
}

/** Calls of a service that took the same time. */
interface Took {
  readonly service: string | null
  /** Milliseconds, two digits of them. */
  readonly ms: number | null
  readonly n: number
}

const outcome = `CASE WHEN decision = 'failed' OR is_error = 1 THEN 'failed' WHEN decision = 'allowed' THEN 'allowed' ELSE 'denied' END`

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
  const tallyOf = (service: string): Tally => {
    const known = services.get(service) ?? { slots: emptySlots(count), took: new Map<number, number>() }
    services.set(service, known)
    return known
  }
  return {
    add({ slot, service, outcome: how, n }: Group): void {
      const at = Math.min(count - 1, Math.max(0, slot))
      const all = whole[at]
      if (all) all[how] += n
      const own = service === null ? undefined : tallyOf(service).slots[at]
      if (own) own[how] += n
    },
    addTook({ service, ms, n }: Took): void {
      if (service === null || ms === null) return
      const { took } = tallyOf(service)
      took.set(ms, (took.get(ms) ?? 0) + n)
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

/** The part of a segment that is counted at once. */
interface Counted {
  readonly segment: SearchedSegment
  /** Where from. */
  readonly slots: string
  readonly took: string | undefined
  /** How many rows one row of it stands for. */
  readonly n: string
  readonly ids?: Pick<CountedPiece, 'low' | 'high'>
}

/** The ids among which the rows of a time are, as far as pieces tell. */
const idsOf = (
  { rows }: SearchedSegment,
  pieces: readonly CountedPiece[],
  { since = 0, until = Infinity }: CountsAsked['search'],
): Pick<CountedPiece, 'low' | 'high'> => {
  const counted = pieces.at(-1)?.high ?? 0
  return {
    low: pieces.find(({ last_at: last }) => last >= since)?.low ?? counted,
    high: rows > counted ? rows : (pieces.findLast(({ first_at: first }) => first < until)?.high ?? 0),
  }
}

/** What of a segment has to be looked at, the newest first. `pieces`: what was counted ahead. */
function* partsOf(
  segment: SearchedSegment,
  rows: string,
  pieces: readonly CountedPiece[],
  asked: CountsAsked,
): Generator<Counted> {
  const ofRows = { segment, slots: rows, took: asked.perService ? rows : undefined, n: 'count(*)' }
  const most = windowOf(segment, asked.search)
  const counted = pieces.at(-1)?.high
  const ahead = counted === undefined ? undefined : talliesFor(segment, asked)
  const ids =
    ahead && counted !== undefined
      ? { low: counted, high: segment.rows }
      : idsOf(segment, pieces, asked.search)
  for (let { high } = ids; high > ids.low; high -= most)
    yield { ...ofRows, ids: { low: Math.max(ids.low, high - most), high } }
  if (ahead) yield { segment, ...ahead, n: 'sum(n)' }
}

/** Adds a part; the time of the oldest row in it. */
const createCountPart =
  ({ all }: TrailTables, { search, own, since, width }: CountsAsked, person: readonly string[]) =>
  (tally: ReturnType<typeof createTally>, { segment, slots, took, n, ids }: Counted): number => {
    const where = `(${conditionOf(search, segment)})${own ? ' AND person = ?' : ''}${ids ? ` AND ${idsWithin(segment, search)}` : ''}`
    const values = [...valuesOf(search), ...person, ...(ids ? [ids.low, ids.high] : [])]
    const groups = all(
      `SELECT CAST((at - ?) / ? AS INTEGER) AS slot, ${took ? 'service' : 'NULL'} AS service, ${outcome} AS outcome, ${n} AS n, min(at) AS first FROM ${slots} WHERE ${where} GROUP BY 1, 2, 3`,
      [since, width, ...values],
    ) as readonly (Group & { readonly first: number })[]
    for (const group of groups) tally.add(group)
    if (took)
      for (const each of all(
        `SELECT service, ${roundedMs} AS ms, ${n} AS n FROM ${took} WHERE ${where} AND ${outcome} <> 'denied' GROUP BY 1, 2`,
        values,
      ))
        tally.addTook(each as Took)
    return groups.reduce((first, group) => Math.min(first, group.first), Infinity)
  }

/** Counts the newest first, for as long as it may: what is older than `from` was not counted. Rejects as a search does. */
export const createCounts = (tables: TrailTables) => {
  const { all, columns: columnsOf } = tables
  /** A file that only an earlier version has written has none. */
  const piecesOf = (n: number): readonly CountedPiece[] =>
    columnsOf('piece').size === 0
      ? []
      : (all('SELECT * FROM piece WHERE segment = ? ORDER BY low', [n]) as readonly CountedPiece[])
  return (
    { terms, person, since, until, slots, perService = false }: TrailCountsAsked,
    now: number,
    mayGoOn: () => boolean,
  ): TrailCounts => {
    const search = { ...readSearch(terms, now), since, until }
    const width = Math.max(1, Math.ceil((until - since) / slots))
    const asked = { search, own: person !== undefined, perService, since, width }
    const countPart = createCountPart(tables, asked, person === undefined ? [] : [person])
    const tally = createTally(slots)
    const segments = all('SELECT * FROM segment ORDER BY n DESC', []) as readonly SearchedSegment[]
    let oldest = Infinity
    for (const segment of within(segments, search)) {
      if (!hasWords(tables, segment, search)) continue
      const rows = segmentRows(segment.n, columnsOf(`event_${segment.n}`))
      for (const part of partsOf(segment, rows, piecesOf(segment.n), asked)) {
        oldest = Math.min(oldest, countPart(tally, part))
        if (mayGoOn()) continue
        return { ...tally.result, ...(Number.isFinite(oldest) && { from: oldest }) }
      }
    }
    return tally.result
  }
}
