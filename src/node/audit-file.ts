// The audit trail in a file of its own on node:sqlite. Rows lie in segments, one table each: the open one has
// few indexes, so that writing is cheap, and a full one gets those that searches use. A segment is removed as a
// whole. Any number of processes share the file; each writes a chain of its own.
import type { DatabaseSync } from 'node:sqlite'
import type { AuditBody, AuditRow, ChainHead } from '../ports/store.ts'
import { appended, columns } from '../stores/audit-chain.ts'
import { kinds } from '../stores/audit-events.ts'
import { columnList, migratedSegment, segmentSchema } from '../stores/audit.ts'
import { type AuditSigner, signedDetail, signedHead } from '../stores/audit-signatures.ts'
import { keepBodies } from './audit-bodies.ts'
import {
  type Segment,
  type Statements,
  columnsOf,
  createStatements,
  digest,
  inTransaction,
  openFile,
  segmentsOf,
} from './audit-database.ts'
import { basename } from 'node:path'
import type { FormerTrail } from './audit-damaged.ts'
import type { StoredKey } from './audit-keys.ts'
import {
  type CutReason,
  type OwnRow,
  type Upkeep,
  chainsOfRow,
  createUpkeep,
  cutSegment,
  headFacts,
  oldestSegment,
  pieces,
} from './audit-upkeep.ts'

/** A segment is full with so many rows, or on another day. */
const rowsOfSegment = 125_000
const dayMs = 86_400_000
/** The ends of all chains are signed after so many rows, or so much time with some. */
const anchorRows = 10_000
const anchorMs = 60_000
// Writing.

export interface AuditWriter extends Upkeep {
  /**
   * Writes the rows, in one commit. Throws SQLite's error with nothing written. `subjects`: the snapshots that
   * the rows name, by their hash.
   */
  append(
    rows: readonly AuditRow[],
    subjects?: ReadonlyMap<string, string>,
    bodies?: readonly AuditBody[],
  ): void
  /** Signs the ends of all chains where it is time to; true when it was. */
  anchor(now: number): boolean
  /** Work for idle moments, some 100 ms at a time; true when there was some. */
  tidy(now: number): boolean
  /** Removes the oldest segment: if it is older than events are kept, or to make room. False where there is none. */
  removeOldest(now: number, reason: CutReason): boolean
  /** Writes a row of the trail's own. */
  note(row: OwnRow): void
  /** Writes the last row of the chain. */
  end(now: number): void
  /** The same where it was not, and closes the file. */
  close(now: number): void
}

const ownRow = (row: OwnRow, before: ChainHead, signer: AuditSigner | undefined): AuditRow => ({
  at: row.at,
  kind: row.kind,
  person: null,
  actor: null,
  client: null,
  service: null,
  method: null,
  name: null,
  decision: kinds[row.kind]?.decision ?? 'allowed',
  code: null,
  rule: null,
  status: null,
  is_error: null,
  ms: null,
  ip: null,
  request: null,
  flow: null,
  grant: null,
  digest: null,
  subject: null,
  detail: signer ? signedDetail(row, before, row.facts, signer) : JSON.stringify(row.facts),
})

/** Inserts rows into the open segment and begins the next where it is full or of another day. */
const createInsert = (db: DatabaseSync, prepare: Statements, signer: AuditSigner | undefined) => {
  const marks = columns.map(() => '?').join(', ')
  const openSegment = (at: number): Segment => {
    const last = prepare('SELECT * FROM segment ORDER BY n DESC LIMIT 1').get() as Segment | undefined
    const day = Math.floor(at / dayMs)
    // A clock that is behind begins none: segments are in the order of time.
    if (last && last.rows < rowsOfSegment && day <= last.day) return last
    const n = (last?.n ?? 0) + 1
    db.exec(segmentSchema(n))
    prepare('INSERT INTO segment (n, day, first_at, last_at, rows) VALUES (?, ?, ?, ?, 0)').run(
      n,
      day,
      at,
      at,
    )
    return { n, day, first_at: at, last_at: at, rows: 0, sealed: 0 }
  }
  const keepSubjects = (
    n: number,
    rows: readonly (AuditRow | OwnRow)[],
    subjects: ReadonlyMap<string, string>,
  ): void => {
    const keep = prepare(
      'INSERT INTO subject (hash, snapshot, segment) VALUES (?, ?, ?) ON CONFLICT (hash) DO UPDATE SET segment = max(segment, excluded.segment)',
    )
    for (const subject of new Set(rows.map((row) => ('facts' in row ? null : row.subject)))) {
      const snapshot = subject === null ? undefined : subjects.get(subject)
      if (subject !== null && snapshot !== undefined) keep.run(subject, snapshot, n)
    }
  }
  /** Returns the new end of the chain. */
  return (
    rows: readonly (AuditRow | OwnRow)[],
    from: ChainHead,
    subjects: ReadonlyMap<string, string> = new Map(),
  ): ChainHead => {
    const [first] = rows
    if (!first) return from
    const { n } = openSegment(first.at)
    keepSubjects(n, rows, subjects)
    const insert = prepare(`INSERT INTO event_${n} (${columnList}) VALUES (${marks})`)
    let [least, most] = [first.at, first.at]
    let head = from
    for (const each of rows) {
      const row = 'facts' in each ? ownRow(each, head, signer) : each
      const next = appended(head, row, digest)
      insert.run(...next.values)
      head = next.head
      if (row.at < least) least = row.at
      if (row.at > most) most = row.at
    }
    prepare(
      'UPDATE segment SET rows = rows + ?, first_at = min(first_at, ?), last_at = max(last_at, ?) WHERE n = ?',
    ).run(rows.length, least, most, n)
    return head
  }
}

/**
 * The first rows of a chain, and others from time to time, name the ends of the other chains, so that none can be
 * shortened unseen.
 */
const headRows = (prepare: Statements, own: string, { kind, at, facts }: OwnRow): readonly OwnRow[] => {
  const heads = prepare('SELECT chain, seq, hash FROM head WHERE chain <> ?').all(
    own,
  ) as object as readonly ChainHead[]
  return pieces(heads, chainsOfRow).map((some) => ({
    kind,
    at,
    facts: { ...facts, heads: headFacts(some) },
  }))
}

/** What the trail goes on from. */
const formerRows = (former: FormerTrail | undefined, at: number): readonly OwnRow[] => {
  if (!former) return []
  const { file, why, heads } = former
  return pieces(heads, chainsOfRow).map((some) => ({
    kind: 'audit.damaged',
    at,
    facts: { file: basename(file), why, heads: headFacts(some) },
  }))
}

/** Writes rows of one chain, within a transaction; the new head is the caller's to keep when it is committed. */
const createWrite =
  (
    prepare: Statements,
    insert: ReturnType<typeof createInsert>,
    { chain, signer }: { readonly chain: string; readonly signer: AuditSigner | undefined },
  ) =>
  (
    rows: readonly (AuditRow | OwnRow)[],
    from: ChainHead,
    {
      ended = 0,
      subjects,
      bodies = [],
    }: {
      readonly ended?: number
      readonly subjects?: ReadonlyMap<string, string>
      readonly bodies?: readonly AuditBody[]
    } = {},
  ): ChainHead => {
    const last = insert(rows, from, subjects)
    if (bodies.length > 0) keepBodies(prepare, bodies)
    // A copy of this process that goes on from the same head is refused.
    const moved = prepare(
      'UPDATE head SET seq = ?, hash = ?, ended = ?, kid = ?, sig = ? WHERE chain = ? AND seq = ? AND hash = ?',
    ).run(
      ...[last.seq, last.hash, ended, signer?.kid ?? null, signer ? signedHead(last, ended, signer) : null],
      ...[chain, from.seq, from.hash],
    )
    if (moved.changes !== 1) throw new Error(`the chain ${chain} was continued by another process`)
    return last
  }

/** How many rows were written, and when the ends of all chains are signed. */
const createAnchorTimes = (begun: number) => {
  let all = 0
  let rows = 0
  let last = begun
  return {
    all: () => all,
    add(more: number) {
      all += more
      rows += more
    },
    /** How many rows there are to be signed; 0 while it is not time to. */
    due: (at: number): number => (rows >= anchorRows || at - last >= anchorMs ? rows : 0),
    done(at: number) {
      rows = 0
      last = at
    },
  }
}

/** Runs transactions in which the chain goes on, from its end; true when it did. */
const createAdvance = (db: DatabaseSync, chain: string) => {
  let head: ChainHead = { chain, seq: 0, hash: '' }
  return (work: (head: ChainHead) => ChainHead | undefined): boolean => {
    const next = inTransaction(db, () => work(head))
    if (next) head = next
    return next !== undefined
  }
}

const migrate = (db: DatabaseSync, prepare: Statements): void => {
  for (const { n } of segmentsOf(prepare)) db.exec(migratedSegment(n, columnsOf(db, `event_${n}`)))
}

const keepKey = (prepare: Statements, { kid, jwk, sealed }: StoredKey): void =>
  void prepare('INSERT OR IGNORE INTO key (kid, jwk, sealed) VALUES (?, ?, ?)').run(kid, jwk, sealed)

interface WriterOptions {
  readonly now: number
  readonly version: string
  /** Rows are kept this long, ms. */
  readonly retentionMs: number
  /** Bodies are kept this long, ms. */
  readonly bodiesMs?: number
  /** Whether a commit survives a power failure. */
  readonly durable?: boolean
  /** 8 random bytes in hexadecimal digits. */
  readonly id: string
  /** The file before, where that was damaged. */
  readonly former?: FormerTrail | undefined
  /** Called within the transaction that begins the chain, before its first row. */
  readonly begun?: (db: DatabaseSync, prepare: Statements, chain: string) => void
  /** What signs, and the key of it as it is kept. Absent: nothing is signed. */
  readonly signing?: { readonly signer: AuditSigner; readonly key: StoredKey } | undefined
}

/** What stands in the file before the first row of a chain. */
const beginFile = (
  db: DatabaseSync,
  prepare: Statements,
  {
    chain,
    signing,
    former,
    begun,
  }: Pick<WriterOptions, 'signing' | 'former' | 'begun'> & { readonly chain: string },
): void => {
  migrate(db, prepare)
  for (const key of [...(former?.keys ?? []), ...(signing ? [signing.key] : [])]) keepKey(prepare, key)
  begun?.(db, prepare, chain)
  prepare("INSERT INTO head (chain, seq, hash) VALUES (?, 0, '')").run(chain)
}

/**
 * Opens the trail for writing, and begins a chain. The first row names the ends of the other chains, so that
 * none of them can be shortened unseen. Throws SQLite's error.
 */
export const openAuditWriter = (path: string, options: WriterOptions): AuditWriter => {
  const { now, version, retentionMs, bodiesMs = retentionMs, durable, id, signing, former } = options
  const db = openFile(path, durable)
  const prepare = createStatements(db)
  const signer = signing?.signer
  const chain = `${now.toString(36)}-${id}`
  const advance = createAdvance(db, chain)
  const anchors = createAnchorTimes(now)
  const upkeep = createUpkeep(db, prepare, bodiesMs)

  const write = createWrite(prepare, createInsert(db, prepare, signer), { chain, signer })
  const commit = (rows: readonly (AuditRow | OwnRow)[], more: Parameters<typeof write>[2] = {}): void => {
    advance((head) => write(rows, head, more))
    anchors.add(rows.length)
  }

  const removeOldest = (at: number, reason: CutReason): boolean =>
    advance((head) => {
      const segment = oldestSegment(prepare, reason === 'disk' ? Infinity : at - retentionMs)
      return segment && write(cutSegment(db, prepare, segment, at, reason), head)
    })

  let ended = false
  const end = (at: number): void => {
    commit([{ kind: 'audit.closed', at, facts: { rows: anchors.all() } }], { ended: 1 })
    ended = true
  }
  try {
    advance((head) => {
      beginFile(db, prepare, { chain, ...options })
      const opened = { kind: 'audit.opened', at: now, facts: { version } }
      return write([...headRows(prepare, chain, opened), ...formerRows(former, now)], head)
    })
  } catch (error) {
    db.close()
    throw error
  }
  return {
    append: (rows, subjects = new Map(), bodies = []) => commit(rows, { subjects, bodies }),
    anchor(at) {
      const rows = anchors.due(at)
      if (rows === 0) return false
      const row = { kind: 'audit.anchor', at, facts: { rows } }
      const done = advance((head) => write(headRows(prepare, chain, row), head))
      anchors.done(at)
      return done
    },
    removeOldest,
    ...upkeep,
    tidy: (at) => removeOldest(at, 'retention') || upkeep.tidy(at),
    note(row) {
      if (!ended) commit([row])
    },
    end,
    close(at) {
      if (!ended) end(at)
      db.close()
    },
  }
}
