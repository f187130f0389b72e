// A Store in one SQLite table, each operation one statement: the same SQL for node:sqlite, a Durable Object's
// storage.sql and D1.
import type { CountTable, Entry, Mark, StoredRecord, StoredRecords, SweptStore } from '../ports/store.ts'

export type SqlValue = string | number | null

/**
 * What a runtime knows of its database: runs one statement, with `?` bound in order, and answers all rows.
 * Failures are thrown as `Refusal('storage.unavailable')`.
 */
export interface SqlDriver {
  all(sql: string, values: readonly SqlValue[]): readonly object[] | Promise<readonly object[]>
}

/** Safe to run at every start, by any number of processes. */
export const schema: readonly string[] = [
  'CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL, mark TEXT NOT NULL, expires_at INTEGER)',
  'CREATE INDEX IF NOT EXISTS records_by_expiry ON records (expires_at) WHERE expires_at IS NOT NULL',
]

// A mark is 96 random bits: never met again for a key, without a counter that a deleted row would take with
// it or that processes would have to share.
const mark = 'lower(hex(randomblob(12)))'
const isLive = '(expires_at IS NULL OR expires_at > ?)'
const insert = `INSERT INTO records (key, value, mark, expires_at) VALUES (?, ?, ${mark}, ?)
  ON CONFLICT (key) DO UPDATE SET value = excluded.value, mark = excluded.mark, expires_at = excluded.expires_at`

const sql = {
  get: `SELECT value, mark FROM records WHERE key = ? AND ${isLive}`,
  put: `${insert} RETURNING mark`,
  putAbsent: `${insert} WHERE records.expires_at <= ? RETURNING mark`,
  putMarked: `UPDATE records SET value = ?, mark = ${mark}, expires_at = ? WHERE key = ? AND mark = ? AND ${isLive} RETURNING mark`,
  take: `DELETE FROM records WHERE key = ? AND ${isLive} RETURNING value, mark`,
  list: `SELECT key, value FROM records WHERE key >= ? AND key < ? AND ${isLive} ORDER BY key LIMIT ?`,
  listAfter: `SELECT key, value FROM records WHERE key > ? AND key < ? AND ${isLive} ORDER BY key LIMIT ?`,
  sweep:
    'DELETE FROM records WHERE key IN (SELECT key FROM records WHERE expires_at <= ? LIMIT ?) RETURNING 1',
} as const

// Keys are ASCII: above every one of them that starts with the prefix, below every other that follows.
const endOf = (prefix: string): string => `${prefix}\u{10FFFF}`

type Rows = readonly object[]
const entryOf = (rows: Rows): Entry | undefined => rows[0] as Entry | undefined
const markOf = (rows: Rows): Mark | undefined => (rows[0] as Entry | undefined)?.mark
const recordsOf = (rows: Rows) => rows as readonly { readonly key: string; readonly value: string }[]

/**
 * The table is made if it is missing. A driver that answers at once is answered for at once: a read on this
 * path costs one promise.
 */
export const createSqlStore = (driver: SqlDriver, { now }: { readonly now: () => number }): SweptStore => {
  let preparing: Promise<unknown> | undefined
  for (const statement of schema) {
    const made = preparing ? preparing.then(() => driver.all(statement, [])) : driver.all(statement, [])
    preparing = made instanceof Promise ? made : undefined
  }
  preparing?.then(
    () => (preparing = undefined),
    () => undefined, // whoever asks is told
  )

  const query = async <Answer>(
    statement: string,
    values: readonly SqlValue[],
    answer: (rows: Rows) => Answer,
  ): Promise<Answer> => {
    const rows = preparing
      ? preparing.then(() => driver.all(statement, values))
      : driver.all(statement, values)
    return rows instanceof Promise ? rows.then(answer) : answer(rows)
  }

  return {
    get: (key) => query(sql.get, [key, now()], entryOf),
    put(key, value, { ttlMs, only } = {}) {
      const time = now()
      const expiresAt = ttlMs === undefined ? null : time + ttlMs
      if (only === undefined) return query(sql.put, [key, value, expiresAt], markOf)
      if (only === 'absent') return query(sql.putAbsent, [key, value, expiresAt, time], markOf)
      return query(sql.putMarked, [value, expiresAt, key, only, time], markOf)
    },
    take: (key) => query(sql.take, [key, now()], entryOf),
    list: (prefix, { after = '', limit = 100 } = {}) =>
      query(
        after >= prefix ? sql.listAfter : sql.list,
        [after >= prefix ? after : prefix, endOf(prefix), now(), limit],
        recordsOf,
      ),
    sweep: (limit) => query(sql.sweep, [now(), limit], (rows) => rows.length),
  }
}

// All records, for a copy.

const copySql = {
  records: `SELECT key, value, expires_at FROM records WHERE key > ? AND ${isLive} ORDER BY key LIMIT ?`,
  count: `SELECT count(*) AS n FROM records WHERE ${isLive}`,
} as const

export const createSqlRecords = (driver: SqlDriver, now: () => number): StoredRecords => ({
  async records(after, limit) {
    const time = now()
    const rows = await driver.all(copySql.records, [after, time, limit])
    return (rows as readonly (StoredRecord & { expires_at: number | null })[]).map(
      ({ key, value, expires_at: end }) => ({ key, value, ttlMs: end === null ? undefined : end - time }),
    )
  },
  count: async () => ((await driver.all(copySql.count, [now()]))[0] as { n: number }).n,
})

// Counts that all who use the database share (ports/store.ts, Counters).

/** As `schema`. */
export const countsSchema =
  'CREATE TABLE IF NOT EXISTS counts (of TEXT NOT NULL, key TEXT NOT NULL, used INTEGER NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (of, key)) WITHOUT ROWID'

const countsSql = {
  get: 'SELECT used, until FROM counts WHERE of = ? AND key = ? AND until > ?',
  set: 'INSERT OR REPLACE INTO counts (of, key, used, until) VALUES (?, ?, ?, ?)',
  sweep: 'DELETE FROM counts WHERE until <= ?',
} as const

/** `run`: one statement, answered at once. A caller makes one atomic step of several calls. */
export const createSqlCounts = (
  run: (sql: string, values: readonly SqlValue[]) => Rows,
  now: () => number,
): CountTable & { sweep(): void } => ({
  get: (of, key) => run(countsSql.get, [of, key, now()])[0] as { used: number; until: number } | undefined,
  set: (of, key, used, until) => void run(countsSql.set, [of, key, used, until]),
  sweep: () => void run(countsSql.sweep, [now()]),
})
