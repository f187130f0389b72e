// What is kept of the arguments and results of tool calls, beside the rows of the audit trail that name it by its
// digest: for less time than they are, and erased from the file without a trace.
import type { DatabaseSync } from 'node:sqlite'
import type { AuditBody, ChainFault } from '../ports/store.ts'
import { type Statements, digest, inTransaction } from './audit-database.ts'

/** A file that only an earlier version has written has no table. */
const hasBodies = (prepare: Statements): boolean =>
  prepare("SELECT 1 FROM sqlite_schema WHERE name = 'body'").get() !== undefined

/** Within a transaction. */
export const keepBodies = (prepare: Statements, bodies: readonly AuditBody[]): void => {
  const keep = prepare('INSERT OR IGNORE INTO body (hash, text, at, person, request) VALUES (?, ?, ?, ?, ?)')
  for (const { hash, text, at, person, request } of bodies) keep.run(hash, text, at, person, request)
}

const batch = 1000

/** Overwrites what it deletes (`secure_delete`): a deleted row would otherwise stay in the file until its page is used. */
const erase = (db: DatabaseSync, work: () => number): number => {
  db.exec('PRAGMA secure_delete = ON')
  try {
    return inTransaction(db, work)
  } finally {
    db.exec('PRAGMA secure_delete = OFF')
  }
}

/** At most 1,000 of those that are older; true when there were some. */
export const removeOldBodies = (db: DatabaseSync, prepare: Statements, before: number): boolean => {
  if (prepare('SELECT 1 FROM body WHERE at < ? LIMIT 1').get(before) === undefined) return false
  const remove = prepare(`DELETE FROM body WHERE hash IN (SELECT hash FROM body WHERE at < ? LIMIT ${batch})`)
  return erase(db, () => Number(remove.run(before).changes)) > 0
}

export const readBody = (prepare: Statements, hash: string): AuditBody | undefined =>
  hasBodies(prepare)
    ? (prepare('SELECT hash, text, at, person, request FROM body WHERE hash = ?').get(hash) as object as
        | AuditBody
        | undefined)
    : undefined

/** One that is there has the digest by which rows name it. */
export const bodyFault = (prepare: Statements): ChainFault | undefined => {
  if (!hasBodies(prepare)) return undefined
  for (const { hash, text } of prepare('SELECT hash, text FROM body').iterate())
    if (digest(String(text)) !== hash)
      return { what: 'changed', say: `the body that is kept as ${String(hash)} was changed` }
  return undefined
}
