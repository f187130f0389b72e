// Writes the audit trail. Rows lie in segments, one table each: the open one has few indexes, so that writing is
// cheap, and a full one gets those that searches use. A segment is removed as a whole. Any number of writers share a
// database; each has a chain of its own.
import type { AuditBody, AuditRow, ChainHead } from '../ports/store.ts'
import { keepBodies } from './audit-bodies.ts'
import { type Digest, appended, columns } from './audit-chain.ts'
import { kinds } from './audit-events.ts'
import { type StoredKey, keepKey } from './audit-keys.ts'
import { type AuditSigner, signedDetail, signedHead } from './audit-signatures.ts'
import { type Segment, type TrailDatabase, segmentsOf } from './audit-tables.ts'
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
import { columnList, migratedSegment, segmentSchema } from './audit.ts'

/** A segment is full with so many rows, or on another day. */
const rowsOfSegment = 125_000
const dayMs = 86_400_000
/** The ends of all chains are signed after so many rows, or so much time with some. */
const anchorRows = 10_000
export const anchorMs = 60_000

export interface AuditWriter extends Upkeep {
  /**
   * Writes the rows, in one commit. Throws the database's error with nothing written. `subjects`: the snapshots that
   * the rows name, by their hash. `also`: what is done in the same commit; what it throws undoes it.
   */
  append(
    rows: readonly AuditRow[],
    subjects?: ReadonlyMap<string, string>,
    bodies?: readonly AuditBody[],
    also?: () => void,
  ): void
  /** Signs the ends of all chains where it is time to; true when it was. */
  anchor(now: number): boolean
  /** Work for idle moments, some 100 ms at a time; true when there was some. */
  tidy(now: number): boolean
  /** Removes the oldest segment: if it is older than events are kept, or to make room. False where there is none. */
  removeOldest(now: number, reason: CutReason): boolean
  /** Writes a row of the trail's own. */
  note(row: OwnRow): void
  /** Writes the last row of the chain, where that was not done. */
  end(now: number): void
}

/** What is known of a trail that was set aside, because it was damaged. */
export interface FormerTrail {
  /** Where it is now. */
  readonly file: string
  /** What its database said. */
  readonly why: string
  /** The ends of its chains, as far as they can be read. */
  readonly heads: readonly ChainHead[]
  /** The keys that signed it, as far as they can be read. */
  readonly keys: readonly StoredKey[]
}

export interface Writing {
  readonly db: TrailDatabase
  readonly digest: Digest
  readonly signer: AuditSigner | undefined
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

type AnyRow = AuditRow | OwnRow

/** Inserts rows into the open segment and begins the next where it is full or of another day. */
const createInsert = ({ db, digest, signer }: Writing) => {
  const { exec, prepare } = db
  const marks = columns.map(() => '?').join(', ')
  const openSegment = (at: number): Segment => {
    const last = prepare('SELECT * FROM segment ORDER BY n DESC LIMIT 1').get() as Segment | undefined
    const day = Math.floor(at / dayMs)
    // A clock that is behind begins none: segments are in the order of time.
    if (last && last.rows < rowsOfSegment && day <= last.day) return last
    const n = (last?.n ?? 0) + 1
    exec(segmentSchema(n))
    prepare('INSERT INTO segment (n, day, first_at, last_at, rows) VALUES (?, ?, ?, ?, 0)').run(
      n,
      day,
      at,
      at,
    )
    return { n, day, first_at: at, last_at: at, rows: 0, sealed: 0 }
  }
  const keepSubjects = (n: number, rows: readonly AnyRow[], subjects: ReadonlyMap<string, string>): void => {
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
    rows: readonly AnyRow[],
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
const headRows = (
  { prepare }: TrailDatabase,
  own: string,
  { kind, at, facts }: OwnRow,
): readonly OwnRow[] => {
  const heads = prepare('SELECT chain, seq, hash FROM head WHERE chain <> ?').all(own) as readonly ChainHead[]
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
    facts: { file: file.slice(file.lastIndexOf('/') + 1), why, heads: headFacts(some) },
  }))
}

interface WriteMore {
  readonly ended?: number
  readonly subjects?: ReadonlyMap<string, string>
  readonly bodies?: readonly AuditBody[]
  readonly also?: (() => void) | undefined
}

/** Writes rows of one chain, within a transaction; the new head is the caller's to keep when it is committed. */
const createWrite = (writing: Writing, chain: string) => {
  const { db, signer } = writing
  const insert = createInsert(writing)
  return (
    rows: readonly AnyRow[],
    from: ChainHead,
    { ended = 0, subjects, bodies = [], also }: WriteMore = {},
  ): ChainHead => {
    also?.()
    const last = insert(rows, from, subjects)
    if (bodies.length > 0) keepBodies(db, bodies)
    // A copy of this process that goes on from the same head is refused.
    const moved = db
      .prepare(
        'UPDATE head SET seq = ?, hash = ?, ended = ?, kid = ?, sig = ? WHERE chain = ? AND seq = ? AND hash = ?',
      )
      .run(
        ...[last.seq, last.hash, ended, signer?.kid ?? null, signer ? signedHead(last, ended, signer) : null],
        ...[chain, from.seq, from.hash],
      )
    if (Number(moved.changes) !== 1) throw new Error(`the chain ${chain} was continued by another process`)
    return last
  }
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
const createAdvance = ({ transaction }: TrailDatabase, from: ChainHead) => {
  let head = from
  return (work: (head: ChainHead) => ChainHead | undefined): boolean => {
    const next = transaction(() => work(head))
    if (next) head = next
    return next !== undefined
  }
}

const migrate = (db: TrailDatabase): void => {
  for (const { n } of segmentsOf(db)) {
    const sql = migratedSegment(n, db.columns(`event_${n}`))
    if (sql !== '') db.exec(sql)
  }
}

export interface WriterOptions {
  readonly now: number
  readonly version: string
  /** Rows are kept this long, ms. */
  readonly retentionMs: number
  /** Bodies are kept this long, ms. */
  readonly bodiesMs?: number
  /** 8 random bytes in hexadecimal digits. */
  readonly id: string
  /** The file before, where that was damaged. */
  readonly former?: FormerTrail | undefined
  /** Called within the transaction that begins the chain, before its first row. */
  readonly begun?: ((db: TrailDatabase, chain: string) => void) | undefined
  /** What signs, and the key of it as it is kept. Absent: nothing is signed. */
  readonly signing?: { readonly signer: AuditSigner; readonly key: StoredKey } | undefined
  /** Whether full segments get the indexes that searches use. Default true. */
  readonly indexed?: boolean
  /** A chain of this writer that goes on. Absent: another one is begun. */
  readonly chain?: ChainHead | undefined
}

/**
 * Begins a chain, or goes on with one. The first row names the ends of the other chains, so that none of them can be
 * shortened unseen. Throws the database's error.
 */
export const createAuditWriter = (db: TrailDatabase, digest: Digest, options: WriterOptions): AuditWriter => {
  const { now, version, retentionMs, bodiesMs = retentionMs, signing, former } = options
  const first = options.chain ?? { chain: `${now.toString(36)}-${options.id}`, seq: 0, hash: '' }
  const { chain } = first
  const advance = createAdvance(db, first)
  const anchors = createAnchorTimes(now)
  const upkeep = createUpkeep(db, bodiesMs, options.indexed ?? true)

  const write = createWrite({ db, digest, signer: signing?.signer }, chain)
  const commit = (rows: readonly AnyRow[], more: WriteMore = {}): void => {
    advance((head) => write(rows, head, more))
    anchors.add(rows.length)
  }

  const removeOldest = (at: number, reason: CutReason): boolean =>
    advance((head) => {
      const segment = oldestSegment(db, reason === 'disk' ? Infinity : at - retentionMs)
      return segment && write(cutSegment(db, segment, at, reason), head)
    })

  let ended = false
  advance((head) => {
    migrate(db)
    for (const key of [...(former?.keys ?? []), ...(signing ? [signing.key] : [])]) keepKey(db, key)
    options.begun?.(db, chain)
    if (options.chain) return undefined
    db.prepare("INSERT INTO head (chain, seq, hash) VALUES (?, 0, '')").run(chain)
    const opened = { kind: 'audit.opened', at: now, facts: { version } }
    return write([...headRows(db, chain, opened), ...formerRows(former, now)], head)
  })
  return {
    append: (rows, subjects = new Map(), bodies = [], also) => commit(rows, { subjects, bodies, also }),
    anchor(at) {
      const rows = anchors.due(at)
      if (rows === 0) return false
      const row = { kind: 'audit.anchor', at, facts: { rows } }
      const done = advance((head) => write(headRows(db, chain, row), head))
      anchors.done(at)
      return done
    },
    removeOldest,
    ...upkeep,
    tidy: (at) => removeOldest(at, 'retention') || upkeep.tidy(at),
    note(row) {
      if (!ended) commit([row])
    },
    end(at) {
      if (ended) return
      commit([{ kind: 'audit.closed', at, facts: { rows: anchors.all() } }], { ended: 1 })
      ended = true
    },
  }
}
