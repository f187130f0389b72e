// A file of the audit trail for one test, and what is asked of it.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach } from 'vitest'
import { openAuditWriter } from '../../src/node/audit-file.ts'
import { createSigner, keyMaker } from '../../src/node/audit-keys.ts'
import { openAuditReader } from '../../src/node/audit-reader.ts'
import type { AuditCheck, AuditRow } from '../../src/ports/store.ts'
import type { AuditKey } from '../../src/stores/audit-signatures.ts'
import { readSearch } from '../../src/stores/audit.ts'

export const day = 86_400_000
export const start = Date.parse('2026-11-01T12:00:00Z')

export const row = (at: number, more: Partial<AuditRow> = {}): AuditRow => ({
  at,
  kind: 'call',
  person: 'local:ana',
  actor: null,
  client: 'c1',
  service: 'jira',
  method: 'tools/call',
  name: 'create_issue',
  decision: 'allowed',
  code: null,
  rule: null,
  status: 200,
  is_error: 0,
  ms: 12,
  ip: '192.0.2.7',
  request: `r${at}`,
  flow: null,
  grant: 'g1',
  digest: null,
  subject: null,
  detail: null,
  ...more,
})

/** A key, and what signs with it. */
export const makeSigning = (kid: string) => {
  const jwk = keyMaker.generate()
  const { d: _, ...open } = jwk
  return {
    signer: createSigner({ kid, private: jwk }),
    key: { kid, jwk: JSON.stringify({ ...open, kid, alg: 'ES256', use: 'sig' }), sealed: 'sealed' },
  }
}
export const signing = makeSigning('k1')

const none: AuditCheck = { rows: 0, chains: 0, open: [], keys: [], aside: [] }

/** In a folder of its own for each test. */
export const useAuditFile = () => {
  let folder: string
  const file = (): string => join(folder, 'audit.db')
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-audit-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))
  return {
    file,
    row,
    writerAt: (now: number, retentionMs = 400 * day, bodiesMs = retentionMs) =>
      openAuditWriter(file(), {
        now,
        version: '1',
        retentionMs,
        bodiesMs,
        id: randomBytes(8).toString('hex'),
        signing,
      }),
    verified: (keys?: readonly AuditKey[]): Omit<AuditCheck, 'keys' | 'aside'> => {
      const reader = openAuditReader(file())
      try {
        const { keys: _, aside: __, ...check } = reader?.verify(keys) ?? none
        return check
      } finally {
        reader?.close()
      }
    },
    found: (...terms: string[]): (string | null)[] => {
      const reader = openAuditReader(file())
      const rows = reader?.search(readSearch(terms, start + day), 100) ?? []
      reader?.close()
      return rows.map(({ kind, request }) => (kind === 'call' || kind === 'sign-in.failed' ? request : kind))
    },
    edit: (...statements: string[]): void => {
      const db = new DatabaseSync(file())
      for (const statement of statements) db.exec(statement)
      db.close()
    },
  }
}
