// The driver of stores/sql.ts on node:sqlite: one file that any number of processes on this machine share.
import { chmodSync, closeSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { Refusal } from '../kit/refusal.ts'
import type { SweptStore } from '../ports/store.ts'
import { createSqlStore, type SqlDriver } from '../stores/sql.ts'

export interface SqliteOptions {
  /**
   * What a commit survives (default `normal`): `normal` every end of the process, kill -9 included, but a power cut may undo the last commits; `full` a power cut too, for one fsync a commit.
   */
  readonly synchronous?: 'normal' | 'full'
  /** How long a statement waits for another process's write, ms; the event loop waits with it. Default 1,000. */
  readonly busyTimeoutMs?: number
}

export interface SqliteDriver extends SqlDriver {
  all(sql: string, values: readonly (string | number | null)[]): readonly object[]
  close(): void
}

/** SQLite and file system errors say what is wrong with the storage; anything else is a fault of ours and stays one. */
const unavailable = (path: string, error: unknown): unknown => {
  const { code = '', errcode, message } = error as { readonly code?: string; readonly errcode?: number; readonly message: string }
  const ofStorage = code === 'ERR_SQLITE_ERROR' || code === 'ERR_INVALID_STATE' || /^E[A-Z]+$/.test(code)
  return ofStorage ? new Refusal('storage.unavailable', `${path}: ${message}${errcode === undefined ? '' : ` (SQLite ${errcode})`}`) : error
}

/** The file and its folder are for their owner alone, whatever the umask; SQLite gives the -wal and -shm files the mode of the database. */
const claim = (path: string): void => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  closeSync(openSync(path, 'a', 0o600))
  if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o600)
}

/** Opens or creates the database. Throws `Refusal('storage.unavailable')` when the place cannot be used. */
export const openSqlite = (path: string, { synchronous = 'normal', busyTimeoutMs = 1000 }: SqliteOptions = {}): SqliteDriver => {
  const statements = new Map<string, StatementSync>()
  const attempt = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      throw unavailable(path, error)
    }
  }
  const db = attempt(() => {
    claim(path)
    const opened = new DatabaseSync(path, { timeout: busyTimeoutMs })
    opened.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}; PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF`)
    return opened
  })
  const prepared = (sql: string): StatementSync => {
    const known = statements.get(sql)
    if (known) return known
    const made = db.prepare(sql)
    statements.set(sql, made)
    return made
  }
  return {
    // Always to the last row: a statement that is not stepped to its end tells nothing about its commit.
    all: (sql, values) => attempt(() => prepared(sql).all(...values)),
    close: () => attempt(() => db.close()),
  }
}

/** A Store on the file at `path`. */
export const openSqliteStore = (path: string, { now, ...options }: SqliteOptions & { readonly now: () => number }): { readonly store: SweptStore; readonly close: () => void } => {
  const driver = openSqlite(path, options)
  return { store: createSqlStore(driver, { now }), close: () => driver.close() }
}
