// The store on Node: in memory, or on node:sqlite in one file that any number of processes on this computer
// share. Expired records are swept while it is open.
import { closeSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import type { Config } from '../config/schema.ts'
import { redisKeys } from '../config/storage-keys.ts'
import { createSharedCounters } from '../gateway.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Log, Runtime } from '../ports/runtime.ts'
import type { Counters, Store, StoredRecords, Subscribe, SweptStore } from '../ports/store.ts'
import { createMemoryStore } from '../stores/memory.ts'
import { copyKey } from '../stores/meta.ts'
import {
  type SqlDriver,
  type SqlValue,
  countsSchema,
  createSqlCounts,
  createSqlRecords,
  createSqlStore,
  schema,
} from '../stores/sql.ts'
import { closeToOthers } from './file-modes.ts'

// The driver of stores/sql.ts.

interface SqliteOptions {
  /**
   * What a commit survives (default `normal`). `normal`: any end of the process, including kill -9; a power
   * cut may undo the last commits. `full`: a power cut too, at one fsync per commit.
   */
  readonly synchronous?: 'normal' | 'full'
  /**
   * How long an operation waits for another process's lock, ms, without blocking the event loop. Default 700:
   * a client gets the error within a second.
   */
  readonly busyTimeoutMs?: number
}

type Rows = readonly object[]

interface SqliteDriver extends SqlDriver {
  all(sql: string, values: readonly SqlValue[]): Rows
  /** Undefined, with nothing done, when another process holds the lock. */
  unlessLocked(sql: string, values: readonly SqlValue[]): Rows | undefined
  /** Whether the path still names the opened file. */
  inPlace(): boolean
  close(): void
}

/** No requests are served during the start, so it may wait longer for other processes that start too. */
const startTimeoutMs = 5_000
const longestPauseMs = 20

/** The first result code of the SQLite family SQLITE_BUSY; extended codes keep it in their low byte. */
const isLock = (error: unknown): boolean =>
  (((error as { readonly errcode?: number }).errcode ?? 0) & 0xff) === 5

/**
 * SQLite and file system errors become a Refusal that says what is wrong with the storage. Any other error
 * stays a fault.
 */
const unavailable = (path: string, error: unknown): unknown => {
  const {
    code = '',
    errcode,
    message,
  } = error as { readonly code?: string; readonly errcode?: number; readonly message: string }
  const ofStorage = code === 'ERR_SQLITE_ERROR' || code === 'ERR_INVALID_STATE' || /^E[A-Z]+$/.test(code)
  return ofStorage
    ? new Refusal(
        'storage.unavailable',
        `${path}: ${message}${errcode === undefined ? '' : ` (SQLite ${errcode})`}`,
      )
    : error
}

/**
 * Only the owner may access the file and its folder, whatever the umask; SQLite gives the -wal and -shm files
 * the mode of the database.
 */
const claim = (path: string): void => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  closeSync(openSync(path, 'a', 0o600))
  closeToOthers([path, `${path}-wal`, `${path}-shm`])
}

const openDatabase = (path: string, synchronous: 'normal' | 'full'): DatabaseSync => {
  claim(path)
  const db = new DatabaseSync(path, { timeout: startTimeoutMs })
  try {
    db.exec(
      `PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}; PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF`,
    )
    for (const statement of [...schema, countsSchema]) db.exec(statement)
    // From here on SQLite must not wait for locks, because the event loop would wait too.
    db.exec('PRAGMA busy_timeout = 0')
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

/**
 * Opens or creates the database with its table. Throws `Refusal('storage.unavailable')` when the path cannot
 * be used.
 */
export const openSqlite = (
  path: string,
  { synchronous = 'normal' }: Pick<SqliteOptions, 'synchronous'> = {},
): SqliteDriver => {
  const statements = new Map<string, StatementSync>()
  const attempt = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      throw unavailable(path, error)
    }
  }
  const db = attempt(() => openDatabase(path, synchronous))
  const opened = statSync(path)
  // Always to the last row: a statement that is not stepped to its end does not report its commit.
  const run = (sql: string, values: readonly SqlValue[]): Rows => {
    const known = statements.get(sql)
    if (known) return known.all(...values)
    const made = db.prepare(sql)
    statements.set(sql, made)
    return made.all(...values)
  }
  return {
    all: (sql, values) => attempt(() => run(sql, values)),
    unlessLocked(sql, values) {
      try {
        return run(sql, values)
      } catch (error) {
        if (isLock(error)) return undefined
        throw unavailable(path, error)
      }
    },
    inPlace() {
      const found = attempt(() => statSync(path, { throwIfNoEntry: false }))
      return found !== undefined && found.ino === opened.ino && found.dev === opened.dev
    },
    close: () => attempt(() => db.close()),
  }
}

/** `work` answers undefined while another process holds the lock. */
const createUntilUnlocked =
  (path: string, busyTimeoutMs: number) =>
  async <T>(work: () => T | undefined): Promise<T> => {
    const deadline = performance.now() + busyTimeoutMs
    for (let ms = 1; performance.now() < deadline; ms = Math.min(ms * 2, longestPauseMs)) {
      await pause(ms)
      const done = work()
      if (done !== undefined) return done
    }
    throw new Refusal('storage.unavailable', `${path}: locked by another process for ${busyTimeoutMs} ms`)
  }

/**
 * Looks once in each turn of the event loop: a call to the file system costs half as much as a read of a
 * record.
 */
const createPlaceCheck = (driver: SqliteDriver, path: string): (() => void) => {
  let found = false
  return () => {
    if (found) return
    if (!driver.inPlace())
      throw new Refusal(
        'storage.unavailable',
        `${path} was replaced while open: restore the file, or restart the gateway`,
      )
    found = true
    setImmediate(() => (found = false))
  }
}

/**
 * A Store on the file at `path`. If the file is removed, moved or replaced while open, the storage is
 * unavailable until the file is back: data written to a file without a name is lost with the process, and
 * another file must not be combined with this one's journal.
 */
export const openSqliteStore = (
  path: string,
  { now, busyTimeoutMs = 700, ...options }: SqliteOptions & { readonly now: () => number },
): {
  readonly store: SweptStore
  readonly records: StoredRecords
  readonly counters: Counters
  readonly close: () => void
} => {
  const driver = openSqlite(path, options)
  const requireInPlace = createPlaceCheck(driver, path)
  const attempt = (sql: string, values: readonly SqlValue[]): Rows | undefined => {
    requireInPlace()
    return driver.unlessLocked(sql, values)
  }
  const untilUnlocked = createUntilUnlocked(path, busyTimeoutMs)
  const table = createSqlCounts(driver.all, now)
  const steps = createSharedCounters(now, table)
  /** From beginning to end without a pause, so that no other statement gets into the transaction. */
  const transact = <T>(work: () => T): T | undefined => {
    if (!attempt('BEGIN IMMEDIATE', [])) return undefined
    try {
      const value = work()
      driver.all('COMMIT', [])
      return value
    } catch (error) {
      driver.all('ROLLBACK', [])
      throw error
    }
  }
  const atomically = async <T>(work: () => T): Promise<T> =>
    transact(work) ?? untilUnlocked(() => transact(work))
  const store = createSqlStore(
    {
      all: (sql, values) => attempt(sql, values) ?? untilUnlocked(() => attempt(sql, values)),
    },
    { now },
  )
  return {
    store: {
      ...store,
      sweep(limit) {
        transact(() => table.sweep())
        return store.sweep(limit)
      },
    },
    records: createSqlRecords(driver, now),
    counters: {
      act: (actions) => atomically(() => steps.act(actions)),
      hit: (key, hit) => atomically(() => steps.hit(key, hit)),
    },
    close: () => driver.close(),
  }
}

// Expired records are deleted in small batches between requests. Only disk space depends on when.

const batch = 200
const pauseMs = 30_000
/** While more are expired: some thousand records a second, a few milliseconds of the event loop at a time. */
const soonMs = 50

/**
 * Sweeps until the returned function is called. It does not keep the process running, and survives outages of
 * the storage.
 */
export const startSweeping = (store: Pick<SweptStore, 'sweep'>, log: Log): (() => void) => {
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  const after = (ms: number): void => {
    if (!stopped) timer = setTimeout(() => void sweep(), ms).unref()
  }
  const sweep = (): Promise<void> =>
    store.sweep(batch).then(
      (gone) => after(gone === batch ? soonMs : pauseMs),
      (error: unknown) => {
        log('warn', 'sweep.failed', { why: String(error) })
        after(pauseMs)
      },
    )
  after(pauseMs)
  return () => {
    stopped = true
    clearTimeout(timer)
  }
}

// The configured store.

interface StoreDeps extends Pick<Runtime, 'now' | 'timer' | 'random' | 'log'> {
  readonly config: Pick<Config, 'storage'>
  readonly stateDir: string
  /** Version of the gateway. */
  readonly product: string
}

export interface OpenedStore {
  /** The file or the server, in messages. */
  readonly location: string
  readonly store: Store
  /** Absent in memory, which no other process shares; the two belong together. */
  readonly counters?: Counters
  /** Absent where the storage tells nobody of changes. */
  readonly subscribe?: Subscribe
  /** The storage that is configured, where this one took its place. */
  readonly insteadOf?: string
  readonly close: () => void
}

interface Storage extends OpenedStore {
  readonly store: SweptStore
  /** Absent in memory. */
  readonly records?: StoredRecords
}

/** As `openStore`, for whoever copies it. The driver of a server is loaded only where it is configured. */
export const openStorage = async ({ config, stateDir, now, ...deps }: StoreDeps): Promise<Storage> => {
  const { type, redis, postgres, vault } = config.storage
  if (type === 'memory')
    return { location: 'memory', store: createMemoryStore({ now }), close: () => undefined }
  if (type === 'sqlite') {
    const location = join(stateDir, 'postern.db')
    return { ...openSqliteStore(location, { now }), location }
  }
  if (type === 'postgres') {
    if (!postgres) throw new RangeError('storage.postgres is not set')
    const { openPostgresStore } = await import('./postgres.ts')
    return openPostgresStore({ ...deps, now, settings: postgres })
  }
  if (type === 'vault') {
    if (vault?.url === undefined) throw new RangeError('storage.vault.url is not set')
    const { openVaultStore } = await import('./vault.ts')
    return openVaultStore({ ...deps, now, settings: vault })
  }
  const { openRedisStore } = await import('./redis.ts')
  return openRedisStore({ ...deps, now, settings: redis ?? redisKeys.parse({}) })
}

/**
 * Rejects with `Refusal('storage.unavailable')` when the state directory cannot hold the database, or the server cannot
 * be used.
 */
export const openStore = async (deps: StoreDeps): Promise<OpenedStore> => {
  const { location, store, counters, subscribe, close } = await openStorage(deps)
  if (await store.get(copyKey)) {
    close()
    throw new Refusal(
      'storage.unavailable',
      `${location} holds part of a copy: run \`postern store copy\` again`,
    )
  }
  const stopSweeping = startSweeping(store, deps.log)
  return {
    location,
    store,
    ...(counters && { counters }),
    ...(subscribe && { subscribe }),
    close() {
      stopSweeping()
      close()
    },
  }
}

// A gateway that starts without its storage (`fallback: memory`).

/** How often it is looked whether the storage can be used again, ms. */
const lookAgainMs = 30_000

/** Says once that the storage can be used again. A switch would forget revocations and spent codes, so there is none. */
const watchFor = (deps: StoreDeps): (() => void) => {
  const look = async (): Promise<void> => {
    try {
      const { location, close } = await openStorage(deps)
      close()
      stop()
      deps.log('warn', 'storage.back', {
        location,
        message: 'the storage can be used again: restart the gateway to use it',
      })
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
    }
  }
  const looking = setInterval(() => void look().catch(stop), lookAgainMs).unref()
  const stop = (): void => clearInterval(looking)
  return stop
}

/** The configured store, or an empty one in memory where that cannot be used now. */
export const openOrMemory = async (deps: StoreDeps): Promise<OpenedStore> => {
  const { type } = deps.config.storage
  try {
    return await openStore(deps)
  } catch (error) {
    if (!(error instanceof Refusal && error.code === 'storage.unavailable')) throw error
    deps.log('error', 'storage.fallback', {
      why: error.why,
      message: 'the storage cannot be used: all records are in memory, and lost on exit',
    })
    const { storage } = deps.config
    const memory = await openStore({ ...deps, config: { storage: { ...storage, type: 'memory' } } })
    const stopWatching = watchFor(deps)
    return {
      ...memory,
      insteadOf: type,
      close() {
        stopWatching()
        memory.close()
      },
    }
  }
}
