// The database of a Durable Object as the audit trail asks for it.
import type { TrailDatabase, TrailStatement, TrailValue } from '../stores/audit-tables.ts'

type Row = Record<string, string | number | null>

/** An object can store so much (developers.cloudflare.com/durable-objects/platform/limits). */
export const mostBytes = 10_000_000_000

const statementOf = (sql: SqlStorage, text: string): TrailStatement => ({
  run(...values: readonly TrailValue[]) {
    sql.exec<Row>(text, ...values)
    return {
      /** For whoever asks at once. The cursor counts the rows of indexes too. */
      get changes() {
        return sql.exec<{ n: number }>('SELECT changes() AS n').one().n
      },
    }
  },
  get: (...values) => sql.exec<Row>(text, ...values).toArray()[0],
  all: (...values) => sql.exec<Row>(text, ...values).toArray(),
  iterate: (...values) => sql.exec<Row>(text, ...values),
})

/** The platform keeps statements by their text, and encrypts what it stores. */
export const objectDatabase = (storage: DurableObjectStorage): TrailDatabase => {
  const { sql } = storage
  const transaction = <T>(work: () => T): T => storage.transactionSync(work)
  return {
    exec: (text) => void sql.exec(text),
    prepare: (text) => statementOf(sql, text),
    transaction,
    erasing: transaction,
    columns: (table) =>
      new Set(
        sql
          .exec<{ name: string }>('SELECT name FROM pragma_table_info(?)', table)
          .toArray()
          .map(({ name }) => name),
      ),
    room: () => ({ free: mostBytes - sql.databaseSize, size: sql.databaseSize }),
  }
}
