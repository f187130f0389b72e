// What keeps the file of the audit trail small and quick: rows are counted ahead, full segments get indexes and names to be
// searched by, and old ones are removed, which the trail says.
import type { ChainHead } from '../ports/store.ts'
import { removeOldBodies } from './audit-bodies.ts'
import { type Segment, type TrailDatabase, startsOf } from './audit-tables.ts'
import { removeTallies, tallyNext } from './audit-tallies.ts'
import { namesSchema, searchIndexes } from './audit.ts'

const dayMs = 86_400_000

/** A row that the trail writes about itself. It is signed, so it is made when its place in the chain is known. */
export interface OwnRow {
  readonly kind: string
  readonly at: number
  readonly facts: object
}

/** In fewer it does not matter which index is used. */
const manyRows = 10_000

/** So many chains are named in one row of the trail. */
export const chainsOfRow = 24

/** `heads` of a row: `[chain, seq, hash]`. */
export const headFacts = (heads: readonly ChainHead[]): readonly (readonly [string, number, string])[] =>
  heads.map(({ chain, seq, hash: last }) => [chain, seq, last])

export const pieces = <T>(items: readonly T[], size: number): readonly (readonly T[])[] =>
  Array.from({ length: Math.max(1, Math.ceil(items.length / size)) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  )

/** One index of a full segment, which is quicker than to keep it at every row; true when one was missing. */
const sealNext = ({ exec, prepare, transaction }: TrailDatabase): boolean =>
  transaction(() => {
    const open = prepare('SELECT max(n) AS n FROM segment').get() as { readonly n: number | null }
    const next = prepare('SELECT n, rows FROM segment WHERE sealed = 0 AND n < ? ORDER BY n LIMIT 1').get(
      open.n,
    ) as { readonly n: number; readonly rows: number } | undefined
    if (!next) return false
    const known = new Set(
      prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?")
        .all(`event_${next.n}`)
        .map((index) => (index as { readonly name: string }).name),
    )
    const missing = Object.keys(searchIndexes).find((name) => !known.has(`event_${next.n}_${name}`))
    if (missing === undefined) {
      exec(namesSchema(next.n))
      // Which of its indexes finds the fewest rows.
      if (next.rows >= manyRows) exec(`PRAGMA analysis_limit = 1000; ANALYZE event_${next.n}`)
      prepare('UPDATE segment SET sealed = 1 WHERE n = ?').run(next.n)
    } else exec(`CREATE INDEX event_${next.n}_${missing} ON event_${next.n} ${searchIndexes[missing] ?? ''}`)
    return true
  })

/** It was too old, or the disk was nearly full. */
export type CutReason = 'retention' | 'disk'

/** The oldest segment that is not the open one; `before`: when its newest row is older. */
export const oldestSegment = ({ prepare }: TrailDatabase, before: number): Segment | undefined =>
  prepare(
    'SELECT * FROM segment WHERE n = (SELECT min(n) FROM segment) AND n < (SELECT max(n) FROM segment) AND last_at < ?',
  ).get(before) as Segment | undefined

/** Of each chain in a segment, what the next segment goes on from. */
const lastOfChains = ({ prepare }: TrailDatabase, n: number): readonly ChainHead[] =>
  prepare(
    `SELECT chain, seq, hash FROM event_${n} WHERE id IN (SELECT max(id) FROM event_${n} GROUP BY chain)`,
  ).all() as readonly ChainHead[]

/** Removes a segment, within a transaction; returns the rows that say so. */
export const cutSegment = (
  db: TrailDatabase,
  { n, rows, first_at: from, last_at: to }: Segment,
  at: number,
  reason: CutReason,
): readonly OwnRow[] => {
  const { prepare } = db
  for (const { chain, seq, hash: last } of lastOfChains(db, n))
    prepare('INSERT OR REPLACE INTO start (chain, seq, hash) VALUES (?, ?, ?)').run(chain, seq, last)
  // All of them each time, because the row that named one before may go with its own segment.
  const starts = pieces(startsOf(db), chainsOfRow)
  // Of a chain that is over and has no row left nothing remains to be told after that.
  prepare(
    'DELETE FROM head WHERE ended = 1 AND EXISTS (SELECT 1 FROM start WHERE start.chain = head.chain AND start.seq = head.seq)',
  ).run()
  prepare('DELETE FROM start WHERE chain NOT IN (SELECT chain FROM head)').run()
  db.exec(`DROP TABLE event_${n}; DROP TABLE IF EXISTS name_${n}`)
  removeTallies(db, n)
  prepare('DELETE FROM segment WHERE n = ?').run(n)
  prepare('DELETE FROM subject WHERE segment <= ?').run(n)
  return starts.map((some) => {
    const facts = { segment: n, rows, from, to, reason, chains: headFacts(some) }
    return { kind: 'audit.cut', at, facts }
  })
}

export interface Upkeep {
  /** Bytes of the file, and how many of them can be written over. */
  room(): { readonly free: number; readonly size: number }
  /** True once a day for one of all processes, not on the first day. */
  claimVerification(now: number): boolean
}

/** The last of it: `tidy` does some of what there is to do, and says whether there was any. */
export const createUpkeep = (
  db: TrailDatabase,
  bodiesMs: number,
  indexed: boolean,
): Upkeep & { tidy(now: number): boolean } => ({
  room: db.room,
  claimVerification(now) {
    db.prepare('INSERT OR IGNORE INTO verified (one, at) VALUES (1, ?)').run(now)
    const claimed = db.prepare('UPDATE verified SET at = ? WHERE at <= ?').run(now, now - dayMs).changes
    return Number(claimed) === 1
  },
  tidy: (now) => removeOldBodies(db, now - bodiesMs) || (indexed && (tallyNext(db) || sealNext(db))),
})
