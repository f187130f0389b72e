// Events of the audit trail counted ahead, by the minute and by half an hour, so that a chart of a million of them takes
// milliseconds. They are counted in idle moments, a piece of a segment at a time, and what no piece has yet is
// counted when somebody asks. Of each piece it is also known from when its rows are.
import type { TrailDatabase } from './audit-tables.ts'
import type { Column } from './audit-chain.ts'
import type { Search } from './audit.ts'

/** Rows of a piece. The ids of a segment are 1, 2, 3 and so on. */
const pieceRows = 5_000
/** So many pieces at a time, which takes some 100 ms. */
const piecesAtOnce = 4

const minuteMs = 60_000
const halfHourMs = 30 * minuteMs

/** What rows that are counted together have in common, beside their time. */
interface Tallied {
  readonly unit: number
  readonly ms: number
  readonly columns: readonly Column[]
}

/** `ms` with two digits, which is enough for a quantile. */
export const roundedMs =
  'CASE WHEN ms < 100 THEN ms WHEN ms < 1000 THEN ms / 10 * 10 WHEN ms < 10000 THEN ms / 100 * 100 ELSE ms / 1000 * 1000 END'

/** The cheapest first. */
const tallies: readonly Tallied[] = [
  { unit: 1, ms: halfHourMs, columns: ['kind', 'decision', 'is_error'] },
  { unit: 2, ms: minuteMs, columns: ['kind', 'decision', 'is_error'] },
  { unit: 3, ms: halfHourMs, columns: ['kind', 'decision', 'is_error', 'service', 'client'] },
  { unit: 4, ms: halfHourMs, columns: ['kind', 'decision', 'is_error', 'code', 'rule', 'status', 'method'] },
  { unit: 5, ms: halfHourMs, columns: ['kind', 'decision', 'is_error', 'service', 'ms'] },
]
const counted = [...new Set(tallies.flatMap(({ columns }) => columns))]

/** Of one segment; `i` tells rows of one unit and time apart. */
const tallySchema = (n: number): string =>
  `CREATE TABLE IF NOT EXISTS tally_${n} (unit INTEGER NOT NULL, at INTEGER NOT NULL, i INTEGER NOT NULL, kind TEXT, decision TEXT, is_error INTEGER, service TEXT, client TEXT, code TEXT, rule TEXT, status INTEGER, method TEXT, ms INTEGER, n INTEGER NOT NULL, PRIMARY KEY (unit, at, i)) WITHOUT ROWID`

const insertTally = (n: number, { unit, ms, columns }: Tallied): string => {
  const kept = counted.map((name) =>
    !columns.includes(name) ? `NULL AS ${name}` : name === 'ms' ? `${roundedMs} AS ms` : name,
  )
  const groups = Array.from({ length: counted.length + 1 }, (_, i) => i + 1)
  return `INSERT INTO tally_${n} (unit, at, ${counted.join(', ')}, n, i) SELECT ${unit}, *, ? + row_number() OVER () FROM (SELECT at - at % ${ms}, ${kept.join(', ')}, count(*) FROM event_${n} WHERE id > ? AND id <= ? GROUP BY ${groups.join(', ')})`
}

/** Piece `low` of a segment, within a transaction. */
const addPiece = ({ exec, prepare }: TrailDatabase, n: number, low: number, high: number): void => {
  exec(tallySchema(n))
  prepare(
    `INSERT INTO piece (segment, low, high, first_at, last_at) SELECT ?, ?, ?, min(at), max(at) FROM event_${n} WHERE id > ? AND id <= ?`,
  ).run(n, low, high, low, high)
  for (const each of tallies) prepare(insertTally(n, each)).run(low, low, high)
}

/** Counts some of what is not counted yet, the newest segment first; true when there was some. */
export const tallyNext = (db: TrailDatabase): boolean =>
  db.transaction(() => {
    // The open segment has whole pieces only, so there are few of them.
    const next = db
      .prepare(
        `SELECT n, rows, n = (SELECT max(n) FROM segment) AS open, coalesce((SELECT max(high) FROM piece WHERE segment = n), 0) AS low FROM segment WHERE rows - low >= iif(open, ${pieceRows}, 1) ORDER BY n DESC LIMIT 1`,
      )
      .get() as { n: number; rows: number; open: number; low: number } | undefined
    if (!next) return false
    let { low } = next
    for (let i = 0; i < piecesAtOnce && next.rows - low >= (next.open ? pieceRows : 1); i++) {
      const high = Math.min(next.rows, low + pieceRows)
      addPiece(db, next.n, low, high)
      low = high
    }
    return true
  })

/** Together with the segment. */
export const removeTallies = ({ exec, prepare }: TrailDatabase, n: number): void => {
  exec(`DROP TABLE IF EXISTS tally_${n}`)
  prepare('DELETE FROM piece WHERE segment = ?').run(n)
}

/** Ids: after the one, up to the other. */
export interface CountedPiece {
  readonly low: number
  readonly high: number
  readonly first_at: number
  readonly last_at: number
}

/** What is counted together. */
export interface CountsAsked {
  readonly search: Search
  /** Of one person. */
  readonly own: boolean
  /** For each service, and how long its calls took. */
  readonly perService: boolean
  readonly since: number
  readonly width: number
}

/** In place of the table of rows; `n` of each of its rows is how many there were. */
const tableOf = (n: number, { unit }: Tallied): string => `(SELECT * FROM tally_${n} WHERE unit = ${unit})`

/** Whether its rows fall into the slots, and into the time that is searched, as a whole. */
const isWhole = (
  { ms }: Tallied,
  { search, since, width }: CountsAsked,
  first: number,
  last: number,
): boolean => {
  const { since: from, until } = search
  return (
    since % ms === 0 &&
    width % ms === 0 &&
    (from === undefined || from % ms === 0 || from <= first) &&
    (until === undefined || until % ms === 0 || until > last)
  )
}

/** What can be counted without its rows; undefined where they have to be looked at. */
export const talliesFor = (
  {
    n,
    first_at: first,
    last_at: last,
  }: { readonly n: number; readonly first_at: number; readonly last_at: number },
  asked: CountsAsked,
): { readonly slots: string; readonly took: string | undefined } | undefined => {
  // They have two digits of it.
  if (asked.own || asked.search.columns.has('ms')) return undefined
  const fit = (...more: readonly Column[]): Tallied | undefined =>
    tallies.find(
      (each) =>
        [...asked.search.columns, ...more].every((column) => each.columns.includes(column)) &&
        isWhole(each, asked, first, last),
    )
  const slots = asked.perService ? fit('service') : fit()
  const took = asked.perService ? fit('service', 'ms') : undefined
  if (!slots || (asked.perService && !took)) return undefined
  return { slots: tableOf(n, slots), took: took && tableOf(n, took) }
}
