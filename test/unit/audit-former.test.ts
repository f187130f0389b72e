// The file of the audit trail over time: one that an earlier version began, and what is kept of callers.
import { createHash } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import { beforeEach, describe, expect, it } from 'vitest'
import { openAuditReader } from '../../src/node/audit-reader.ts'
import { day, start, useAuditFile } from './audit-world.ts'

const { row, writerAt, verified, found, edit, file } = useAuditFile()
let path: string
beforeEach(() => {
  path = file()
})

describe('a file that an earlier version began', () => {
  const digest = (text: string) => createHash('sha256').update(text).digest('base64url')
  /** As that version wrote it. */
  beforeEach(() => {
    const names = [
      ...['chain', 'seq', 'at', 'kind', 'person', 'client', 'service', 'method', 'name', 'decision', 'code'],
      ...['rule', 'status', 'ms', 'ip', 'request', 'grant', 'digest', 'detail'],
    ]
    const db = new DatabaseSync(path)
    db.exec(`CREATE TABLE segment (n INTEGER PRIMARY KEY, day INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, rows INTEGER NOT NULL, sealed INTEGER NOT NULL DEFAULT 0);
      CREATE TABLE head (chain TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL, ended INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
      CREATE TABLE start (chain TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE event_1 (id INTEGER PRIMARY KEY, ${names.map((name) => `"${name}"`).join(', ')}, hash);
      INSERT INTO segment VALUES (1, ${Math.floor(start / day)}, ${start}, ${start}, 3, 0)`)
    let last = ''
    for (let seq = 1; seq <= 3; seq++) {
      const facts = Object.entries({ ...row(start), chain: 'old', seq, request: `old${seq}` })
      const values = names.map((name) => facts.find(([own]) => own === name)?.[1] ?? null)
      last = digest(last + JSON.stringify(['postern-event-v1', ...values]))
      db.prepare(
        `INSERT INTO event_1 (${names.map((name) => `"${name}"`).join(', ')}, hash) VALUES (${'?, '.repeat(19)}?)`,
      ).run(...values, last)
    }
    db.prepare("INSERT INTO head VALUES ('old', 3, ?, 1)").run(last)
    db.close()
  })

  it('is searched and verified as it is, and goes on', () => {
    expect(found('tool:create_issue', '-actor:*', '-flow:x')).toEqual(['old3', 'old2', 'old1'])
    expect(verified()).toEqual({ rows: 3, chains: 1, open: [] })
    const writer = writerAt(start + 1)
    writer.append([row(start + 2, { flow: 'f1', actor: 'cli' })])
    writer.close(start + 3)
    expect(found('flow:f1', 'actor:cli')).toEqual([`r${start + 2}`])
    expect(found('service:jira')).toHaveLength(4)
    expect(verified()).toEqual({ rows: 6, chains: 2, open: [] })
    edit("UPDATE event_1 SET flow = 'x' WHERE request = 'old2'")
    expect(verified().fault).toMatchObject({ what: 'changed', chain: 'old', seq: 2 })
  })
})

describe('what was known of a caller', () => {
  const snapshot =
    '{"person":{"provider":"okta","subject":"ben","groups":["staff"]},"client":"c1","scopes":[]}'
  const subject = createHash('sha256').update(snapshot).digest('base64url')
  const of = (hash: string) => {
    const reader = openAuditReader(path)
    const known = reader?.subject(hash)
    reader?.close()
    return known
  }

  it('is kept once for all their calls, as long as one of them is kept, and cannot be changed unseen', () => {
    const writer = writerAt(start, 3 * day)
    const subjects = new Map([[subject, snapshot]])
    for (const days of [0, 1]) writer.append([row(start + days * day, { subject })], subjects)
    expect(of(subject)).toEqual(JSON.parse(snapshot))
    writer.append([row(start + 5 * day)])
    expect(verified().fault).toBeUndefined()
    writer.tidy(start + 3.9 * day)
    expect(of(subject)).toEqual(JSON.parse(snapshot))
    edit("UPDATE subject SET snapshot = replace(snapshot, 'staff', 'admins')")
    expect(verified().fault).toMatchObject({ what: 'changed', say: expect.stringContaining(subject) })
    while (writer.tidy(start + 9 * day));
    expect(of(subject)).toBeUndefined()
    writer.close(start + 9 * day)
    expect(verified().fault).toBeUndefined()
  })
})
