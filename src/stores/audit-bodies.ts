// What is kept of the arguments and results of tool calls, beside the rows of the audit trail that name it by its
// digest: for less time than they are, and erased from the file without a trace.
import type { AuditBody, ChainFault } from '../ports/store.ts'
import type { Digest } from './audit-chain.ts'
import { type TrailDatabase, hasTable } from './audit-tables.ts'

/** Within a transaction. */
export const keepBodies = ({ prepare }: TrailDatabase, bodies: readonly AuditBody[]): void => {
  const keep = prepare('INSERT OR IGNORE INTO body (hash, text, at, person, request) VALUES (?, ?, ?, ?, ?)')
  for (const { hash, text, at, person, request } of bodies) keep.run(hash, text, at, person, request)
}

const batch = 1000

/** At most 1,000 of those that are older; true when there were some. */
export const removeOldBodies = ({ prepare, erasing }: TrailDatabase, before: number): boolean => {
  if (prepare('SELECT 1 FROM body WHERE at < ? LIMIT 1').get(before) === undefined) return false
  const remove = prepare(`DELETE FROM body WHERE hash IN (SELECT hash FROM body WHERE at < ? LIMIT ${batch})`)
  return erasing(() => Number(remove.run(before).changes)) > 0
}

/** A file that only an earlier version has written has no table. */
export const readBody = (db: TrailDatabase, hash: string): AuditBody | undefined =>
  hasTable(db, 'body')
    ? (db.prepare('SELECT hash, text, at, person, request FROM body WHERE hash = ?').get(hash) as
        | AuditBody
        | undefined)
    : undefined

/** One that is there has the digest by which rows name it. */
export const bodyFault = (db: TrailDatabase, digest: Digest): ChainFault | undefined => {
  if (!hasTable(db, 'body')) return undefined
  for (const found of db.prepare('SELECT hash, text FROM body').iterate()) {
    const { hash, text } = found as Pick<AuditBody, 'hash' | 'text'>
    if (digest(text) !== hash) return { what: 'changed', say: `the body that is kept as ${hash} was changed` }
  }
  return undefined
}
