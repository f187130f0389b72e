// What the Durable Object of the audit trail does: the same rows, segments and signatures as in the file on Node, in one
// chain that goes on for as long as the object exists.
import { utf8 } from '../kit/bytes.ts'
import { createKeyRing } from '../kit/keyring.ts'
import type {
  TrailCombinations,
  TrailCounts,
  TrailCountsAsked,
  TrailPage,
  TrailSearch,
} from '../ports/runtime.ts'
import type { AuditBody, ChainFault, ChainHead, ChainedRow } from '../ports/store.ts'
import { type AuditWriter, createAuditWriter } from '../stores/audit-append.ts'
import { readBody } from '../stores/audit-bodies.ts'
import { type TrailOutline, keptFault, outlineOf } from '../stores/audit-check.ts'
import { combinationsOf, createCombinations, readSubject } from '../stores/audit-combinations.ts'
import { createCounts } from '../stores/audit-counts.ts'
import { publicKeyOf, storedKeysIn, trailKey } from '../stores/audit-keys.ts'
import { createPages } from '../stores/audit-pages.ts'
import type { AuditKey } from '../stores/audit-signatures.ts'
import type { TrailDatabase } from '../stores/audit-tables.ts'
import { columnList, readSearch, trailSchema } from '../stores/audit.ts'
import { createSigner, digest, keyMaker } from './audit-crypto.ts'
import { type WorkerEnvironment, readConfiguration } from './configuration.ts'
import type { Appended, AppendedRows } from './trail-calls.ts'
import { mostBytes, objectDatabase } from './trail-database.ts'
import { type SelfVerification, createSelfVerification } from './trail-verification.ts'

const leastFree = mostBytes / 20
const batchSchema =
  'CREATE TABLE IF NOT EXISTS batch (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID'
/** Nobody tries again after so long. */
const batchMs = 600_000

/**
 * So many windows of 20,000 rows are looked at for one search, about a quarter of a second. Not a time: the clock of an
 * object stands still while it computes.
 */
const mostWindows = 6
const windows = (): (() => boolean) => {
  let left = mostWindows
  return () => --left > 0
}

const dayMs = 86_400_000
/** Without an `audit` section, what was written before is kept for as long as by default. */
const keptByDefault = { retentionMs: 400 * dayMs, bodiesMs: 30 * dayMs, makeRoom: false }

/** How long it keeps what. The object reads the configuration by itself, so that its alarm needs nobody. */
const settingsOf = async (env: WorkerEnvironment) => {
  const read = await readConfiguration(env)
  if ('lacks' in read) throw new Error(read.lacks.map(({ text }) => text).join('\n'))
  const {
    audit,
    session_secret: secret,
    previous_secrets: previous,
    token_encryption_key: sealing,
  } = read.config
  const ring = await createKeyRing(
    [secret ?? '', ...previous].map(utf8),
    (n) => crypto.getRandomValues(new Uint8Array(n)),
    sealing === undefined ? undefined : utf8(sealing),
  )
  const kept = audit && {
    retentionMs: audit.retention * 1000,
    bodiesMs: audit.body_retention * 1000,
    makeRoom: audit.on_pressure === 'oldest',
  }
  return { ring, ...(kept ?? keptByDefault) }
}

export interface TrailStoreOptions {
  readonly storage: DurableObjectStorage
  readonly env: WorkerEnvironment
  readonly version: string
  readonly now: () => number
}

/** The chain of this object, where it has begun. */
const chainIn = ({ prepare }: TrailDatabase): ChainHead | undefined =>
  prepare('SELECT chain, seq, hash FROM head WHERE ended = 0').get() as ChainHead | undefined

const createAppend = (
  db: TrailDatabase,
  writer: AuditWriter,
  verification: Pick<SelfVerification, 'fault'>,
  now: () => number,
) => {
  const known = db.prepare('SELECT 1 FROM batch WHERE id = ?')
  const keep = db.prepare('INSERT INTO batch (id, at) VALUES (?, ?)')
  return ({ id, rows, subjects, bodies }: AppendedRows): Appended => {
    // Nothing is awaited in between, so the platform keeps all of it or nothing.
    if (!known.get(id)) {
      writer.append(rows, new Map(subjects), bodies)
      keep.run(id, now())
      writer.anchor(now())
    }
    const fault = verification.fault()
    return { low: db.room().free < leastFree, ...(fault !== undefined && { fault }) }
  }
}

const createReads = (db: TrailDatabase, storage: DurableObjectStorage, now: () => number) => {
  const tables = {
    all: (sql: string, values: readonly (string | number)[]) => storage.sql.exec(sql, ...values).toArray(),
    columns: db.columns,
  }
  const [pageOf, countsOf, found] = [createPages(tables), createCounts(tables), createCombinations(db)]
  return {
    page: (search: TrailSearch): TrailPage => pageOf(search, now(), windows()),
    counts: (asked: TrailCountsAsked): TrailCounts => countsOf(asked, now(), windows()),
    combinations: (terms: readonly string[]): TrailCombinations =>
      combinationsOf(found(readSearch(terms, now())), (hash) => readSubject(db, hash)),
    body: (hash: string): AuditBody | undefined => readBody(db, hash),
    keys: (): readonly AuditKey[] => storedKeysIn(db).map(publicKeyOf),
    outline: (): TrailOutline => outlineOf(db),
    /** Of a segment, in the order in which they were written. */
    rows: (n: number, after: number, most: number): readonly ChainedRow[] =>
      db
        .prepare(`SELECT ${columnList} FROM event_${n} WHERE id > ? ORDER BY id LIMIT ?`)
        .all(after, most) as readonly ChainedRow[],
    /** What is wrong with what is kept beside the rows. */
    kept: (): ChainFault | undefined => keptFault(db, digest),
  }
}

export interface TrailStore extends ReturnType<typeof createReads> {
  append(appended: AppendedRows): Appended
  /** Some of the work that is due; true when there is more. */
  tidy(): boolean
}

/** Throws what the database says, or what the configuration lacks. */
export const openTrailStore = async ({
  storage,
  env,
  version,
  now,
}: TrailStoreOptions): Promise<TrailStore> => {
  const { ring, retentionMs, bodiesMs, makeRoom } = await settingsOf(env)
  const db = objectDatabase(storage)
  db.exec(trailSchema)
  db.exec(batchSchema)
  const key = await trailKey(storedKeysIn(db), ring, keyMaker)
  const writer = createAuditWriter(db, digest, {
    ...{ now: now(), version, retentionMs, bodiesMs },
    id: crypto.randomUUID().replaceAll('-', '').slice(0, 16),
    signing: { signer: createSigner(key), key },
    chain: chainIn(db),
    // Every row of an index is written, and paid for, once more.
    indexed: false,
  })
  const verification = createSelfVerification(db, writer, now)
  return {
    ...createReads(db, storage, now),
    append: createAppend(db, writer, verification, now),
    tidy() {
      writer.anchor(now())
      db.prepare('DELETE FROM batch WHERE at < ?').run(now() - batchMs)
      if (makeRoom && db.room().free < leastFree && writer.removeOldest(now(), 'disk')) return true
      return verification.step() || writer.tidy(now())
    },
  }
}
