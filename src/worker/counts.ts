// Counts that all isolates share (policy/rate-limit.ts). Each kind is in one Durable Object, so that another
// isolate or data centre gives no further attempts.
import type { CountAction, CountStore } from '../ports/store.ts'
import { createSharedCounts } from '../session-gateway.ts'

/** As many as the counts keep in memory of one kind. */
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

/** For the object. Its counts are stored, because the platform ends an idle object. */
export const createCountObject = (sql: SqlStorage, now: () => number) => {
  const act = createSharedCounts({ now, ledger: ledgerOf(sql, now) })
  return {
    act,
    /** Returns whether rows are left. */
    sweep(): boolean {
      sql.exec('DELETE FROM counts WHERE until <= ?', now())
      return sql.exec('SELECT 1 FROM counts LIMIT 1').toArray().length > 0
    },
  }
}

/**
 * All counts about passwords are in one object; each kind of record that anonymous callers create has its
 * own.
 */
export const countNameOf = ([first]: readonly CountAction[]): string =>
  first && 'kind' in first && first.kind.startsWith('kept-') ? first.kind : 'sign-in'
