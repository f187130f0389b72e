// A file of the audit trail that SQLite cannot read: it is set aside as it is, and another one is begun that names it
// and the ends of its chains.
import { existsSync, renameSync, statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { FormerTrail } from '../stores/audit-append.ts'
import { storedKeysIn } from '../stores/audit-keys.ts'

/** https://sqlite.org/rescode.html */
const [corrupt, noDatabase] = [11, 26]

/** Whether the file is to blame; any other error may pass. */
export const isDamaged = (error: unknown): boolean => {
  const { errcode } = error as { readonly errcode?: unknown }
  // Extended codes have the kind in their last byte.
  return typeof errcode === 'number' && [corrupt, noDatabase].includes(errcode & 0xff)
}

/** Which file it is, whatever it is called; undefined where there is none. */
export const identityOf = (path: string): string | undefined => {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  return found && `${found.dev}:${found.ino}`
}

/** What can be read of it; nothing where the read fails. */
const readable = <T>(path: string, read: (db: DatabaseSync) => readonly T[]): readonly T[] => {
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(path, { readOnly: true, timeout: 5000 })
    return read(db)
  } catch {
    return []
  } finally {
    db?.close()
  }
}

const suffixes = ['', '-wal', '-shm'] as const

/** Not the name of another one. */
const asideOf = (path: string, now: number): string => {
  const made = `${path}.damaged-${new Date(now).toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}`
  for (let i = 0; ; i++) {
    const name = i === 0 ? made : `${made}-${i}`
    if (!existsSync(name)) return name
  }
}

/** Gives the file another name, with its journals. Throws the file system's error. */
export const setAside = (path: string, why: string, now: number): FormerTrail => {
  const file = asideOf(path, now)
  // The file first: SQLite discards a journal that it finds without one.
  for (const suffix of suffixes)
    if (existsSync(`${path}${suffix}`)) renameSync(`${path}${suffix}`, `${file}${suffix}`)
  return {
    file,
    why,
    heads: readable(file, (db) =>
      db
        .prepare('SELECT chain, seq, hash FROM head')
        .all()
        .map(({ chain, seq, hash }) => ({ chain: String(chain), seq: Number(seq), hash: String(hash) })),
    ),
    keys: readable(file, (db) => storedKeysIn({ prepare: (sql) => db.prepare(sql) })),
  }
}
