// Counts that all isolates share (policy/rate-limit.ts): each kind in one Durable Object, so that another isolate, or another data centre, is not another try.
import type { CountAction, CountStore } from '../ports/store.ts'
import { createSharedCounts } from '../session-gateway.ts'

/** More than the counts keep in memory of one kind is never read. */
const mostRows = 50_000

const ledgerOf = (sql: SqlStorage, now: () => number): CountStore => {
  sql.exec(
    'CREATE TABLE IF NOT EXISTS counts (of TEXT NOT NULL, key TEXT NOT NULL, used INTEGER NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (of, key)) WITHOUT ROWID',
  )
  return {
    load: (of) =>
      sql
        .exec<{ key: string; used: number; until: number }>(
          'SELECT key, used, until FROM counts WHERE of = ? AND until > ? ORDER BY until LIMIT ?',
          of,
          now(),
          mostRows,
        )
        .toArray()
        .map(({ key, used, until }) => [key, used, until] as const),
    save: (of, key, used, until) =>
      void sql.exec(
        'INSERT OR REPLACE INTO counts (of, key, used, until) VALUES (?, ?, ?, ?)',
        of,
        key,
        used,
        until,
      ),
  }
}

/** For the object. What is counted outlives it: the platform ends an object that nobody asked for a while. */
export const createCountObject = (sql: SqlStorage, now: () => number) => {
  const act = createSharedCounts({ now, ledger: ledgerOf(sql, now) })
  return {
    act,
    /** Answers whether rows are left. */
    sweep(): boolean {
      sql.exec('DELETE FROM counts WHERE until <= ?', now())
      return sql.exec('SELECT 1 FROM counts LIMIT 1').toArray().length > 0
    },
  }
}

/** All that is counted about passwords is in one object, which answers about each kind of what strangers may have kept in its own. */
export const countNameOf = ([first]: readonly CountAction[]): string =>
  first && 'kind' in first && first.kind.startsWith('kept-') ? first.kind : 'sign-in'
