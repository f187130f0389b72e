// Calls of the audit trail that are alike, for whoever asks what other access rules would have said of them.
import type { TrailCombinations } from '../ports/runtime.ts'
import type { AuditCombination, AuditSubject } from '../ports/store.ts'
import { conditionOf, valuesOf, within } from './audit-pages.ts'
import { type TrailDatabase, hasTable, segmentsOf } from './audit-tables.ts'
import { type Search, segmentRows } from './audit.ts'

const alike = 'person, client, service, method, name, subject, decision, code'

/** Some of them may come again, from another segment. */
export const createCombinations = (db: TrailDatabase) =>
  function* combinations(search: Search): Generator<AuditCombination> {
    const values = valuesOf(search)
    for (const segment of within(segmentsOf(db), search)) {
      const table = segmentRows(segment.n, db.columns(`event_${segment.n}`))
      for (const row of db
        .prepare(
          `SELECT ${alike}, count(*) AS calls, max(id), request FROM ${table} WHERE kind = 'call' AND ${conditionOf(search, segment)} GROUP BY ${alike}`,
        )
        .iterate(...values))
        yield row as AuditCombination
    }
  }

/** What was known of a caller, by the hash that rows name. */
export const readSubject = (db: TrailDatabase, hash: string): AuditSubject | undefined => {
  // A file that only an earlier version has written has none.
  if (!hasTable(db, 'subject')) return undefined
  const found = db.prepare('SELECT snapshot FROM subject WHERE hash = ?').get(hash)
  return found && (JSON.parse((found as { readonly snapshot: string }).snapshot) as AuditSubject)
}

/** So many are handed over; the process that serves calls looks at each. */
const mostCombinations = 10_000

/** Of a search, with what was known of their callers. */
export const combinationsOf = (
  found: Iterable<AuditCombination>,
  subjectOf: (hash: string) => AuditSubject | undefined,
): TrailCombinations => {
  const calls: AuditCombination[] = []
  let partial = false
  for (const call of found) {
    if (calls.length === mostCombinations) {
      partial = true
      break
    }
    calls.push(call)
  }
  const hashes = new Set(calls.map(({ subject }) => subject).filter((hash) => hash !== null))
  return { calls, partial, subjects: Object.fromEntries([...hashes].map((hash) => [hash, subjectOf(hash)])) }
}
