// Reads the audit trail in its file: searches, exports and verifies it, whether or not a gateway is writing.
import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { TrailCounts, TrailCountsAsked, TrailPage, TrailSearch } from '../ports/runtime.ts'
import type {
  AuditBody,
  AuditCheck,
  AuditCombination,
  AuditSubject,
  ChainFault,
  ChainedRow,
} from '../ports/store.ts'
import { type AuditKey, type RecordedHead, createSignatureCheck } from '../stores/audit-signatures.ts'
import { type Anchor, createAnchorCheck } from '../stores/audit-anchors.ts'
import { createChainCheck } from '../stores/audit-chain.ts'
import { createCounts } from '../stores/audit-counts.ts'
import { type TrailTables, conditionOf, createPages, valuesOf, within } from '../stores/audit-pages.ts'
import { type Search, columnList, segmentRows } from '../stores/audit.ts'
import { bodyFault, readBody } from './audit-bodies.ts'
import { createVerify, publicKeyOf, storedKeysIn } from './audit-keys.ts'
import {
  type Segment,
  type Statements,
  columnsOf,
  createStatements,
  digest,
  lockWaitMs,
  segmentsOf,
  startsOf,
} from './audit-database.ts'

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
  close(): void
}

/** The table of a segment, with all of today's columns. */
const createTables = (db: DatabaseSync) => {
  const known = new Map<number, string>()
  return ({ n }: Segment): string => {
    const rows = known.get(n) ?? segmentRows(n, columnsOf(db, `event_${n}`))
    known.set(n, rows)
    return rows
  }
}
interface OpenTrail {
  readonly db: DatabaseSync
  readonly prepare: Statements
  readonly tableOf: ReturnType<typeof createTables>
}

const damaged = (error: unknown): ChainFault => ({
  what: 'damaged',
  say: `the file is damaged: ${(error as Error).message}`,
})

/** A file that only an earlier version has written has none. */
const hasSubjects = (prepare: Statements): boolean =>
  prepare("SELECT 1 FROM sqlite_schema WHERE name = 'subject'").get() !== undefined

/** A snapshot has the hash by which rows name it. */
const subjectFault = (prepare: Statements): ChainFault | undefined => {
  if (!hasSubjects(prepare)) return undefined
  for (const { hash, snapshot } of prepare('SELECT hash, snapshot FROM subject').iterate())
    if (digest(String(snapshot)) !== hash)
      return { what: 'changed', say: `what is kept of the caller ${String(hash)} was changed` }
  return undefined
}

/** The ends of all chains; an earlier version signed none. */
const headsOf = (db: DatabaseSync, prepare: Statements): readonly RecordedHead[] => {
  const signed = columnsOf(db, 'head').has('sig') ? 'kid, sig' : 'NULL AS kid, NULL AS sig'
  return prepare(`SELECT chain, seq, hash, ended, ${signed} FROM head`).all() as object as RecordedHead[]
}

const fileIn = ({ detail }: ChainedRow): string =>
  String((JSON.parse(detail ?? '{}') as { readonly file?: unknown }).file)

const checkRows = (
  { db, prepare, tableOf }: OpenTrail,
  verifying: readonly AuditKey[] | undefined,
  anchors: readonly Anchor[],
): AuditCheck => {
  const keys = verifying ?? storedKeysIn(db).map(publicKeyOf)
  const signatures = createSignatureCheck(createVerify(keys), verifying !== undefined)
  const chains = createChainCheck(digest, startsOf(prepare), signatures)
  const heads = headsOf(db, prepare)
  const anchored = createAnchorCheck(anchors)
  const segments = segmentsOf(prepare)
  const aside = new Map<string, number>()
  const found = (fault: ChainFault | undefined): AuditCheck => ({
    ...(fault && { fault }),
    rows: chains.rows(),
    chains: chains.chains(),
    open: heads.filter(({ ended }) => ended === 0),
    keys: [...signatures.kids],
    aside: [...aside].map(([file, at]) => ({ file, at })),
  })
  try {
    for (const segment of segments)
      for (const row of prepare(`SELECT ${columnList} FROM ${tableOf(segment)} ORDER BY id`).iterate()) {
        const next = row as object as ChainedRow
        const fault = chains.next(next) ?? anchored.row(next)
        if (fault) return found(fault)
        if (next.kind === 'audit.damaged') aside.set(fileIn(next), next.at)
      }
  } catch (error) {
    return found(damaged(error))
  }
  const unsigned = (): ChainFault | undefined => heads.map((head) => signatures.head(head)).find(Boolean)
  return found(
    chains.end(heads) ??
      anchored.end(segments[0]?.first_at) ??
      unsigned() ??
      subjectFault(prepare) ??
      bodyFault(prepare),
  )
}

const checkChains = (
  trail: OpenTrail,
  ...given: [readonly AuditKey[] | undefined, readonly Anchor[]]
): AuditCheck => {
  try {
    return checkRows(trail, ...given)
  } catch (error) {
    // Not even the tables can be read that say which rows there are.
    return { fault: damaged(error), rows: 0, chains: 0, open: [], keys: [], aside: [] }
  }
}

/** Undefined where no trail was ever written. Throws SQLite's error. */
export const openAuditReader = (path: string): AuditReader | undefined => {
  if (!existsSync(path)) return undefined
  const db = new DatabaseSync(path, { readOnly: true, timeout: lockWaitMs })
  const prepare = createStatements(db)
  const tableOf = createTables(db)
  // Searches are of any form, so their statements are not kept.
  const tables: TrailTables = {
    all: (sql, values) => db.prepare(sql).all(...values),
    columns: (table) => columnsOf(db, table),
  }
  const [pageOf, countsOf] = [createPages(tables), createCounts(tables)]
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
      for (const segment of within(segmentsOf(prepare), search).toReversed()) {
        const found = prepare(
          `SELECT ${columnList} FROM ${tableOf(segment)} WHERE ${conditionOf(search, segment)} ORDER BY id DESC LIMIT ?`,
        ).all(...values, limit - rows.length) as object as readonly ChainedRow[]
        rows.push(...found)
        if (rows.length >= limit) break
      }
      return rows
    },
    *all(search) {
      const values = valuesOf(search)
      for (const segment of within(segmentsOf(prepare), search))
        for (const row of prepare(
          `SELECT ${columnList} FROM ${tableOf(segment)} WHERE ${conditionOf(search, segment)} ORDER BY id`,
        ).iterate(...values))
          yield row as object as ChainedRow
    },
    *combinations(search) {
      const values = valuesOf(search)
      const alike = 'person, client, service, method, name, subject, decision, code'
      for (const segment of within(segmentsOf(prepare), search))
        for (const row of prepare(
          `SELECT ${alike}, count(*) AS calls, max(id), request FROM ${tableOf(segment)} WHERE kind = 'call' AND ${conditionOf(search, segment)} GROUP BY ${alike}`,
        ).iterate(...values))
          yield row as object as AuditCombination
    },
    subject(hash) {
      if (!hasSubjects(prepare)) return undefined
      const found = prepare('SELECT snapshot FROM subject WHERE hash = ?').get(hash)
      return found && (JSON.parse(String(found['snapshot'])) as AuditSubject)
    },
    body: (hash) => readBody(prepare, hash),
    page: (asked, now, mayGoOn) => inOneState(() => pageOf(asked, now, mayGoOn)),
    counts: (asked, now, mayGoOn) => inOneState(() => countsOf(asked, now, mayGoOn)),
    verify: (keys, anchors = []) => inOneState(() => checkChains({ db, prepare, tableOf }, keys, anchors)),
    close: () => db.close(),
  }
}
