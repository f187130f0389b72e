// Reads the audit trail in its file: searches, exports and verifies it, whether or not a gateway is writing.
import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { TrailCounts, TrailCountsAsked, TrailPage, TrailSearch } from '../ports/runtime.ts'
import type { AuditBody, AuditCheck, AuditCombination, AuditSubject, ChainedRow } from '../ports/store.ts'
import type { Anchor } from '../stores/audit-anchors.ts'
import { readBody } from '../stores/audit-bodies.ts'
import { checkTrail, unreadable } from '../stores/audit-check.ts'
import { createCombinations, readSubject } from '../stores/audit-combinations.ts'
import { createCounts } from '../stores/audit-counts.ts'
import { publicKeyOf, storedKeysIn } from '../stores/audit-keys.ts'
import { conditionOf, createPages, valuesOf, within } from '../stores/audit-pages.ts'
import type { AuditKey } from '../stores/audit-signatures.ts'
import { type Segment, type TrailDatabase, segmentsOf } from '../stores/audit-tables.ts'
import { type Search, columnList, segmentRows } from '../stores/audit.ts'
import { createVerify } from './audit-keys.ts'
import { digest, lockWaitMs, trailDatabase } from './audit-database.ts'
import { countWaiting } from './audit-waiting.ts'

export interface AuditReader {
  /** The newest first, at most `limit`. */
  search(search: Search, limit: number): readonly ChainedRow[]
  /** The oldest first, one after the other. */
  all(search: Search): Iterable<ChainedRow>
  /** A page of a search, for as long as it may take. Throws RangeError for a search that cannot be read. */
  page(asked: TrailSearch, now: number, mayGoOn: () => boolean): TrailPage
  /** How many calls there were, for as long as it may take. */
  counts(asked: TrailCountsAsked, now: number, mayGoOn: () => boolean): TrailCounts
  /** What is kept of arguments and results, by the hash that a row names. */
  body(hash: string): AuditBody | undefined
  /** Calls that are alike, with how many there are; some of them may come again. */
  combinations(search: Search): Iterable<AuditCombination>
  /** What was known of the callers, by the hash that rows name. */
  subject(hash: string): AuditSubject | undefined
  /** What is wrong with the trail, or how much was found in order. `keys`: what it must be signed with; absent: the keys that the file names, and older rows need none. `anchors`: rows that are kept elsewhere. */
  verify(keys?: readonly AuditKey[], anchors?: readonly Anchor[]): AuditCheck
  /** So many events are in the file, and no rows of them yet. */
  waiting(): number
  close(): void
}

/** The table of a segment, with all of today's columns. */
const createTables = ({ columns }: TrailDatabase) => {
  const known = new Map<number, string>()
  return ({ n }: Segment): string => {
    const rows = known.get(n) ?? segmentRows(n, columns(`event_${n}`))
    known.set(n, rows)
    return rows
  }
}

const checkOf = (
  db: TrailDatabase,
  verifying: readonly AuditKey[] | undefined,
  anchors: readonly Anchor[],
): AuditCheck => {
  try {
    const keys = verifying ?? storedKeysIn(db).map(publicKeyOf)
    return checkTrail(db, { digest, verify: createVerify(keys), signed: verifying !== undefined, anchors })
  } catch (error) {
    return unreadable(error)
  }
}

/** Undefined where no trail was ever written. Throws SQLite's error. */
export const openAuditReader = (path: string): AuditReader | undefined => {
  if (!existsSync(path)) return undefined
  const db = new DatabaseSync(path, { readOnly: true, timeout: lockWaitMs })
  const trail = trailDatabase(db)
  const { prepare } = trail
  const tableOf = createTables(trail)
  // Searches are of any form, so their statements are not kept.
  const tables = {
    all: (sql: string, values: readonly (string | number)[]) => db.prepare(sql).all(...values),
    columns: trail.columns,
  }
  const [pageOf, countsOf] = [createPages(tables), createCounts(tables)]
  const combinationsOf = createCombinations(trail)
  /** In one state of the file, whatever is written meanwhile. */
  const inOneState = <T>(work: () => T): T => {
    db.exec('BEGIN')
    try {
      return work()
    } finally {
      if (db.isTransaction) db.exec('ROLLBACK')
    }
  }
  return {
    search(search, limit) {
      const values = valuesOf(search)
      const rows: ChainedRow[] = []
      for (const segment of within(segmentsOf(trail), search).toReversed()) {
        const found = prepare(
          `SELECT ${columnList} FROM ${tableOf(segment)} WHERE ${conditionOf(search, segment)} ORDER BY id DESC LIMIT ?`,
        ).all(...values, limit - rows.length) as readonly ChainedRow[]
        rows.push(...found)
        if (rows.length >= limit) break
      }
      return rows
    },
    *all(search) {
      const values = valuesOf(search)
      for (const segment of within(segmentsOf(trail), search))
        for (const row of prepare(
          `SELECT ${columnList} FROM ${tableOf(segment)} WHERE ${conditionOf(search, segment)} ORDER BY id`,
        ).iterate(...values))
          yield row as ChainedRow
    },
    combinations: combinationsOf,
    subject: (hash) => readSubject(trail, hash),
    body: (hash) => readBody(trail, hash),
    page: (asked, now, mayGoOn) => inOneState(() => pageOf(asked, now, mayGoOn)),
    counts: (asked, now, mayGoOn) => inOneState(() => countsOf(asked, now, mayGoOn)),
    verify: (keys, anchors = []) => inOneState(() => checkOf(trail, keys, anchors)),
    waiting: () => countWaiting(trail),
    close: () => db.close(),
  }
}
