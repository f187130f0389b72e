// The audit trail in a file of its own on node:sqlite, which any number of processes share.
import type { DatabaseSync } from 'node:sqlite'
import { type AuditWriter, type WriterOptions, createAuditWriter } from '../stores/audit-append.ts'
import { digest, openFile, trailDatabase } from './audit-database.ts'

export interface AuditFile extends AuditWriter {
  /** Ends the chain where that was not done, and closes the file. */
  close(now: number): void
}

interface FileOptions extends Omit<WriterOptions, 'chain'> {
  /** Whether a commit survives a power failure. */
  readonly durable?: boolean
  /** Called with the open file, before the chain begins. */
  readonly opened?: (db: DatabaseSync) => void
}

/** Opens the trail for writing, and begins a chain. Throws SQLite's error. */
export const openAuditWriter = (path: string, options: FileOptions): AuditFile => {
  const db = openFile(path, options.durable)
  try {
    options.opened?.(db)
    const writer = createAuditWriter(trailDatabase(db), digest, options)
    return {
      ...writer,
      close(now) {
        writer.end(now)
        db.close()
      },
    }
  } catch (error) {
    db.close()
    throw error
  }
}
