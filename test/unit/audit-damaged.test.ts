// A trail whose file SQLite cannot read: nothing of it is lost, another one goes on, and says so.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { openAuditWriter } from '../../src/node/audit-file.ts'
import { createSigner, keyMaker } from '../../src/node/audit-keys.ts'
import { publicKeyOf, trailKey } from '../../src/stores/audit-keys.ts'
import { createAuditQueries } from '../../src/node/audit-queries.ts'
import { openAuditReader } from '../../src/node/audit-reader.ts'
import { type AuditTrail, openAuditTrail } from '../../src/node/audit-writer.ts'
import { readSearch } from '../../src/stores/audit.ts'
import { createKeyRing } from '../../src/kit/keyring.ts'
import type { AuditCheck } from '../../src/ports/store.ts'
import { start, useAuditFile } from './audit-world.ts'

const { file, edit, writerAt } = useAuditFile()
const secret = new Uint8Array(32).fill(7)
const random = (n: number) => crypto.getRandomValues(new Uint8Array(n))

// Each of these starts threads, which a busy machine takes its time for.
vi.setConfig({ testTimeout: 120_000 })
const patient = { timeout: 60_000 }

let logged: { readonly event: string; readonly fields: unknown }[]
let trail: AuditTrail | undefined
beforeEach(() => {
  logged = []
})
afterEach(async () => {
  await trail?.close()
  trail = undefined
})
const open = async (now = Date.now, verify?: () => Promise<AuditCheck>): Promise<AuditTrail> => {
  trail = await openAuditTrail({
    path: file(),
    version: '1',
    retentionMs: 1e12,
    bodiesMs: 1e12,
    closeMs: 60_000,
    durable: false,
    makeRoom: false,
    sinks: [],
    keys: await createKeyRing([secret], random),
    now,
    verify,
    log: (_level, event, fields) => void logged.push({ event, fields }),
  })
  return trail
}
const close = async (): Promise<void> => {
  expect(await trail?.close()).toBe(true)
  trail = undefined
}
const rows = (...terms: string[]) => {
  const reader = openAuditReader(file())
  const found = reader?.search(readSearch(terms, Date.now()), 100) ?? []
  reader?.close()
  return found
}
const check = () => {
  const reader = openAuditReader(file())
  const found = reader?.verify()
  reader?.close()
  return found
}
const asides = () => readdirSync(dirname(file())).filter((name) => /^audit\.db\.damaged-[^-]+$/.test(name))

/** Overwrites the tables of rows. */
const damage = (): void => {
  const db = new DatabaseSync(file())
  db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  const pages = db
    .prepare("SELECT rootpage FROM sqlite_schema WHERE rootpage > 0 AND tbl_name LIKE 'event_%'")
    .all()
    .map(({ rootpage }) => Number(rootpage))
  db.close()
  const bytes = readFileSync(file())
  const size = bytes.readUInt16BE(16)
  for (const page of pages) bytes.fill(0xff, (page - 1) * size, page * size)
  writeFileSync(file(), bytes)
}

describe('a damaged file at the start', () => {
  it('is set aside as it is, and told', async () => {
    const text = 'no database, and long enough to be taken for one'.repeat(30)
    writeFileSync(file(), text)
    const { record } = await open(() => start)
    record({ event: 'call', request_id: 'r1' })
    await close()
    expect(asides()).toEqual(['audit.db.damaged-20261101T120000'])
    expect(readFileSync(join(dirname(file()), asides()[0] ?? ''), 'utf8')).toBe(text)
    expect(logged.find(({ event }) => event === 'audit.damaged')?.fields).toMatchObject({
      file: `${file()}.damaged-20261101T120000`,
      message: expect.stringContaining('file is not a database'),
    })
    const [damaged] = rows('decision:failed')
    expect(damaged).toMatchObject({ kind: 'audit.damaged', seq: 2 })
    expect(JSON.parse(damaged?.detail ?? '')).toMatchObject({
      file: 'audit.db.damaged-20261101T120000',
      why: 'file is not a database',
      heads: [],
    })
    expect(rows('request:r1')).toHaveLength(1)
    expect(check()).toMatchObject({
      rows: 4,
      open: [],
      aside: [{ file: 'audit.db.damaged-20261101T120000', at: expect.any(Number) }],
    })
  })

  it('is gone on from where its ends and its keys can be read', async () => {
    const key = await trailKey([], await createKeyRing([secret], random), keyMaker)
    const before = { now: start, version: '1', retentionMs: 1e12, id: 'before' }
    openAuditWriter(file(), { ...before, signing: { signer: createSigner(key), key } }).close(start)
    const [closed] = rows('kind:audit.closed')
    damage()
    const after = await open()
    expect(await after.keys()).toEqual([publicKeyOf(key)])
    await close()
    const [damaged] = rows('kind:audit.damaged')
    const { heads } = JSON.parse(damaged?.detail ?? '{}') as { readonly heads: unknown }
    // The damage may be found when the next chain has begun, which is then named, too.
    expect(heads).toContainEqual([closed?.chain, closed?.seq, closed?.hash])
    expect(check()).not.toHaveProperty('fault')
  })

  it('that is no file keeps the gateway from starting', async () => {
    mkdirSync(file())
    await expect(open()).rejects.toThrow('disk I/O error')
    rmSync(file(), { recursive: true })
  })
})

describe('the daily verification', () => {
  it('is an event, and what it finds is told', async () => {
    writerAt(start).close(start)
    edit('INSERT OR REPLACE INTO verified (one, at) VALUES (1, 0)')
    const fault = { what: 'changed', say: 'row 7 of chain x was changed', chain: 'x', seq: 7 } as const
    const { condition } = await open(Date.now, () =>
      Promise.resolve({ fault, rows: 6, chains: 1, open: [], keys: [], aside: [] }),
    )
    await expect.poll(() => rows('kind:audit.verified').length, patient).toBe(1)
    expect(JSON.parse(rows('kind:audit.verified')[0]?.detail ?? '')).toEqual({
      ...{ rows: 6, chains: 1, open: 0 },
      fault: fault.say,
    })
    expect(condition?.()).toEqual({ diskLow: expect.any(Boolean), fault: fault.say })
    expect(logged.filter(({ event }) => event === 'audit.changed')).toMatchObject([
      { fields: { message: expect.stringContaining(fault.say) } },
    ])
  })
})

describe('a file that is damaged while it is written', () => {
  it('is set aside, and what was not written is written to the next', async () => {
    const { record } = await open()
    record({ event: 'call', request_id: 'before' })
    await expect.poll(() => rows('request:before').length, patient).toBe(1)
    const queries = createAuditQueries(file())
    const kinds = async () =>
      (await queries.page({ terms: ['kind:call,audit.damaged'], order: 'oldest', limit: 10 })).rows.map(
        ({ kind }) => kind,
      )
    expect(await kinds()).toEqual(['call'])
    // The writer reads where its tables are when it sees that this has changed.
    const db = new DatabaseSync(file(), { defensive: false } as object)
    db.exec('PRAGMA writable_schema = ON')
    db.exec("UPDATE sqlite_schema SET rootpage = 99999 WHERE name = 'head'")
    db.exec('PRAGMA schema_version = 999')
    db.close()
    record({ event: 'call', request_id: 'after' })
    await expect.poll(() => asides().length, patient).toBe(1)
    await expect.poll(() => rows('request:after').length, patient).toBe(1)
    expect(await kinds()).toEqual(['audit.damaged', 'call'])
    queries.close()
    expect(rows('kind:audit.damaged,audit.lost')).toMatchObject([{ kind: 'audit.damaged' }])
    await close()
    expect(check()).not.toHaveProperty('fault')
  })
})
