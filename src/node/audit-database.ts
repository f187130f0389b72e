// The file of the audit trail as SQLite has it: opened, and read by whoever writes, searches or sends it.
import { hash } from 'node:crypto'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { TrailDatabase } from '../stores/audit-tables.ts'
import { trailSchema } from '../stores/audit.ts'
import { closeToOthers } from './file-modes.ts'

/** Processes wait this long for one another's commits. */
export const lockWaitMs = 5000

export const digest = (text: string): string => hash('sha256', text, 'base64url')

const columnsOf = (db: DatabaseSync, table: string): ReadonlySet<string> =>
  new Set(
    db
      .prepare(`PRAGMA table_info(${table})`)
      .all()
      .map(({ name }) => String(name)),
  )

/**
 * `durable`: a commit waits for the disk. Only the owner may read it, whatever the umask; SQLite gives its journals the same
 * mode.
 */
export const openFile = (path: string, durable = false): DatabaseSync => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  closeSync(openSync(path, 'a', 0o600))
  closeToOthers([path, `${path}-wal`, `${path}-shm`])
  const db = new DatabaseSync(path, { timeout: lockWaitMs })
  try {
    db.exec(
      // A new file gets large pages: a commit of many rows then writes a quarter as often.
      `PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = ${durable ? 'full' : 'normal'}; PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF`,
    )
    db.exec(trailSchema)
    // A file that an earlier version began.
    if (!columnsOf(db, 'head').has('sig'))
      db.exec('ALTER TABLE head ADD COLUMN kid TEXT; ALTER TABLE head ADD COLUMN sig TEXT')
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

const inTransaction = <T>(db: DatabaseSync, work: () => T): T => {
  db.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    db.exec('COMMIT')
    return result
  } catch (error) {
    // SQLite has ended the transaction itself after some errors.
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

const createStatements = (db: DatabaseSync) => {
  const made = new Map<string, StatementSync>()
  return (sql: string): StatementSync => {
    const known = made.get(sql)
    if (known) return known
    const statement = db.prepare(sql)
    made.set(sql, statement)
    return statement
  }
}
/** Overwrites what it deletes (`secure_delete`): a deleted row would otherwise stay in the file until its page is used. */
const erasing = <T>(db: DatabaseSync, work: () => T): T => {
  db.exec('PRAGMA secure_delete = ON')
  try {
    return inTransaction(db, work)
  } finally {
    db.exec('PRAGMA secure_delete = OFF')
  }
}

/** An open file as the trail asks for it. */
export const trailDatabase = (db: DatabaseSync): TrailDatabase => {
  const prepare = createStatements(db)
  return {
    exec: (sql) => db.exec(sql),
    prepare,
    transaction: (work) => inTransaction(db, work),
    erasing: (work) => erasing(db, work),
    columns: (table) => columnsOf(db, table),
    room: () =>
      prepare(
        'SELECT freelist_count * page_size AS free, page_count * page_size AS size FROM pragma_freelist_count, pragma_page_count, pragma_page_size',
      ).get() as { readonly free: number; readonly size: number },
  }
}
