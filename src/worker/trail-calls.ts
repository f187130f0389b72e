// What isolates ask of the object of the audit trail.
import type {
  TrailCombinations,
  TrailCounts,
  TrailCountsAsked,
  TrailPage,
  TrailSearch,
} from '../ports/runtime.ts'
import type { AuditBody, AuditRow, ChainFault, ChainedRow } from '../ports/store.ts'
import type { TrailOutline } from '../stores/audit-check.ts'
import type { AuditKey } from '../stores/audit-signatures.ts'

/** Rows from one isolate. */
export interface AppendedRows {
  /** Drawn by the isolate: what is sent again after a lost answer is not written again. */
  readonly id: string
  readonly rows: readonly AuditRow[]
  /** The snapshots that the rows name, by their hash. */
  readonly subjects: readonly (readonly [hash: string, snapshot: string])[]
  readonly bodies: readonly AuditBody[]
}

export interface Appended {
  /** Less than 5 % of what an object can store is free. */
  readonly low: boolean
  /** What the last verification found to be changed. */
  readonly fault?: string | undefined
}

export interface TrailCalls {
  append(rows: AppendedRows): Promise<Appended>
  page(search: TrailSearch): Promise<TrailPage>
  counts(asked: TrailCountsAsked): Promise<TrailCounts>
  combinations(terms: readonly string[]): Promise<TrailCombinations>
  body(hash: string): Promise<AuditBody | undefined>
  keys(): Promise<readonly AuditKey[]>
  /** Before its rows are verified. */
  outline(): Promise<TrailOutline>
  /** Of a segment, in the order in which they were written. */
  rows(segment: number, after: number, most: number): Promise<readonly ChainedRow[]>
  /** What is wrong with what is kept beside the rows. */
  kept(): Promise<ChainFault | undefined>
}
