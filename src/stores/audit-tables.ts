// What the audit trail asks of its database: a file on Node, a Durable Object on Workers. The rest of the trail is the
// same for both.
import type { ChainHead } from '../ports/store.ts'

export type TrailValue = string | number | null

export interface TrailStatement {
  run(...values: readonly TrailValue[]): { readonly changes: number | bigint }
  get(...values: readonly TrailValue[]): object | undefined
  all(...values: readonly TrailValue[]): readonly object[]
  iterate(...values: readonly TrailValue[]): Iterable<object>
}

/** A failure is the database's own error. */
export interface TrailDatabase {
  /** One statement or several, without values. */
  exec(sql: string): void
  /** One statement, which is kept for the next time. */
  prepare(sql: string): TrailStatement
  /** Keeps all of the work or nothing of it. */
  transaction<T>(work: () => T): T
  /** A transaction that leaves no trace of what it deletes, as far as the database can do that. */
  erasing<T>(work: () => T): T
  /** Names of the columns of a table. */
  columns(table: string): ReadonlySet<string>
  /** Bytes that it takes, and how many of them are free. */
  room(): { readonly free: number; readonly size: number }
}

export interface Segment {
  readonly n: number
  readonly day: number
  readonly first_at: number
  readonly last_at: number
  readonly rows: number
  readonly sealed: number
}

/** The oldest first. */
export const segmentsOf = ({ prepare }: Pick<TrailDatabase, 'prepare'>): readonly Segment[] =>
  prepare('SELECT * FROM segment ORDER BY n').all() as readonly Segment[]

/** Where chains go on whose first rows were removed. */
export const startsOf = ({ prepare }: Pick<TrailDatabase, 'prepare'>): readonly ChainHead[] =>
  prepare('SELECT chain, seq, hash FROM start').all() as readonly ChainHead[]

export const hasTable = ({ prepare }: Pick<TrailDatabase, 'prepare'>, name: string): boolean =>
  prepare('SELECT 1 FROM sqlite_schema WHERE name = ?').get(name) !== undefined
