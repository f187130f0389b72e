// Searches of the audit trail page by page, wherever its tables are: in a file or in a Durable Object.
import type { TrailPage, TrailSearch } from '../ports/runtime.ts'
import type { ChainedRow } from '../ports/store.ts'
import { type Search, columnList, readSearch, segmentRows } from './audit.ts'

/** What a search needs to know of a segment. */
export interface SearchedSegment {
  readonly n: number
  readonly first_at: number
  readonly last_at: number
  readonly rows: number
  readonly sealed: number
}

type Value = string | number

export interface TrailTables {
  all(sql: string, values: readonly Value[]): readonly object[]
  /** Names of the columns of a table. */
  columns(table: string): ReadonlySet<string>
}

/** The condition on a row, with the bounds in time. */
export const conditionOf = (
  { where, since, until }: Search,
  { n, sealed }: Pick<SearchedSegment, 'n' | 'sealed'>,
): string =>
  [
    where(sealed ? `name_${n}` : undefined),
    since === undefined ? '' : 'at >= ?',
    until === undefined ? '' : 'at < ?',
  ]
    .filter(Boolean)
    .map((part) => `(${part})`)
    .join(' AND ') || '1'

export const valuesOf = ({ values, since, until }: Search): readonly Value[] => [
  ...values,
  ...[since, until].filter((time) => time !== undefined),
]

/** The segments that can have rows of that time. */
export const within = <T extends Pick<SearchedSegment, 'first_at' | 'last_at'>>(
  segments: readonly T[],
  { since = 0, until = Infinity }: Search,
): readonly T[] => segments.filter(({ first_at: first, last_at: last }) => last >= since && first < until)

/** So many rows are looked at before the time is: a statement cannot be stopped. */
const windowRows = 20_000

interface Window {
  /** Ids: after the one, up to the other. */
  readonly low: number
  readonly high: number
}

/** What an index finds is looked at as a whole. */
export const windowOf = ({ sealed, rows }: SearchedSegment, { indexed }: Search): number =>
  sealed && indexed ? Math.max(rows, 1) : windowRows

/** The condition on ids, of two values; where an index is to find the rows, the order of ids must not look cheaper. */
export const idsWithin = ({ sealed }: SearchedSegment, { indexed }: Search): string =>
  sealed && indexed ? '+id > ? AND +id <= ?' : 'id > ? AND id <= ?'

/** Pieces of a segment in the order in which they are searched, from the position on where that is in it. */
function* windowsOf(
  { n, rows }: SearchedSegment,
  { order, from }: Pick<TrailSearch, 'order' | 'from'>,
  most: number,
): Generator<Window> {
  const at = from?.segment === n ? from.id : undefined
  if (order === 'newest')
    for (let high = at === undefined ? rows : at - 1; high > 0; high -= most)
      yield { low: Math.max(0, high - most), high }
  else for (let low = at ?? 0; low < rows; low += most) yield { low, high: Math.min(rows, low + most) }
}

/** Whether some value in a full segment contains each of the words. */
export const hasWords = ({ all }: TrailTables, { n, sealed }: SearchedSegment, { words }: Search): boolean =>
  !sealed ||
  words.every(
    (word) => all(`SELECT 1 FROM name_${n} WHERE instr(lower(value), ?) > 0 LIMIT 1`, [word]).length > 0,
  )

type FoundRow = ChainedRow & { readonly id: number }

const withoutId = ({ id: _, ...row }: FoundRow): ChainedRow => row

/** What users are told of their own events: causes and rules are the operator's to know. */
const ownRow = (row: ChainedRow): ChainedRow => {
  const { why: _, ...detail } = JSON.parse(row.detail ?? '{}') as { readonly why?: unknown }
  return { ...row, rule: null, detail: row.detail === null ? null : JSON.stringify(detail) }
}

/**
 * Searches. The position after a page is one below (or above) which the search goes on, so rows that are written
 * meanwhile move nothing. `mayGoOn`: asked now and then; a search that may not stops with what it has.
 */
export const createPages = (trail: TrailTables) => {
  const { all, columns: columnsOf } = trail
  const tables = new Map<number, string>()
  const tableOf = (n: number): string => {
    const known = tables.get(n) ?? segmentRows(n, columnsOf(`event_${n}`))
    tables.set(n, known)
    return known
  }
  const segmentsFrom = (search: Search, { order, from }: TrailSearch): readonly SearchedSegment[] => {
    const segments = within(all('SELECT * FROM segment ORDER BY n', []) as readonly SearchedSegment[], search)
    if (order === 'newest') return segments.toReversed().filter(({ n }) => n <= (from?.segment ?? Infinity))
    return segments.filter(({ n }) => n >= (from?.segment ?? 0))
  }
  return (asked: TrailSearch, now: number, mayGoOn: () => boolean): TrailPage => {
    const { terms, person, order, limit } = asked
    const search = readSearch(terms, now)
    const values = [...valuesOf(search), ...(person === undefined ? [] : [person])]
    const own = person === undefined ? '' : ' AND person = ?'
    const direction = order === 'newest' ? 'DESC' : 'ASC'
    const shown = person === undefined ? withoutId : (row: FoundRow) => ownRow(withoutId(row))
    const rows: ChainedRow[] = []
    for (const segment of segmentsFrom(search, asked)) {
      if (!hasWords(trail, segment, search)) continue
      for (const { low, high } of windowsOf(segment, asked, windowOf(segment, search))) {
        const found = all(
          `SELECT id, ${columnList} FROM ${tableOf(segment.n)} WHERE (${conditionOf(search, segment)})${own} AND ${idsWithin(segment, search)} ORDER BY id ${direction} LIMIT ?`,
          [...values, low, high, limit - rows.length],
        ) as readonly FoundRow[]
        rows.push(...found.map(shown))
        const last = found.at(-1)
        if (last && rows.length >= limit) return { rows, next: { segment: segment.n, id: last.id } }
        if (mayGoOn()) continue
        const id = order === 'newest' ? low + 1 : high
        return { rows, next: { segment: segment.n, id }, partial: true }
      }
    }
    return { rows }
  }
}
