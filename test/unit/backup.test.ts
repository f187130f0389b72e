// Backups: every record as it was, under a digest; nothing is changed by one that is not whole.
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AdminTarget } from '../../src/cli/admin.ts'
import { restore } from '../../src/cli/backup.ts'
import { openBackup, openRootKey, sealRootKey, writeBackup } from '../../src/node/backup.ts'
import { openSqliteStore } from '../../src/node/store.ts'
import { copyRecords } from '../../src/stores/copy.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'

let folder: string
let path: string
let source: ReturnType<typeof openSqliteStore>
let time = 1_700_000_000_000
const now = () => time
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-backup-'))
  path = join(folder, 'backup')
  source = openSqliteStore(join(folder, 'postern.db'), { now })
})
afterEach(() => {
  source.close()
  rmSync(folder, { recursive: true })
})

const header = { product: '1.2.3', created_at: '2026-12-01T00:00:00.000Z' }
const write = (steps: unknown[] = []) =>
  writeBackup({ path, header, from: source.records, now, onProgress: (...step) => void steps.push(step) })
const fill = async (n: number): Promise<void> => {
  for (let i = 0; i < n; i++) await source.store.put(`grant:${String(i).padStart(4, '0')}`, `value ${i}`)
}
const whyNot = () =>
  openBackup(path, now).then(
    () => 'opened',
    (error: { readonly why: string }) => error.why,
  )

it('has every record with its value and the end of its lifetime, for its owner alone', async () => {
  await fill(1100)
  const odd = 'ünï 日本語 \u{1F511} \u2028 \r\n "x"'
  await source.store.put('odd', odd)
  await source.store.put('session:a', 'x', { ttlMs: 60_000 })
  await source.store.put('session:b', 'x', { ttlMs: 1000 })
  const steps: unknown[] = []
  expect(await write(steps)).toBe(1103)
  expect(steps).toEqual([
    ['written', 500, 1103],
    ['written', 1000, 1103],
    ['written', 1103, 1103],
    ['written', 1103, 1103],
  ])
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(readFileSync(path, 'utf8')).toMatch(/^[\x20-\x7E\n]*$/)
  time += 1000
  const backup = await openBackup(path, now)
  expect(backup.header).toEqual({ postern_backup: 1, ...header })
  const target = createMemoryStore({ now })
  const options = { from: backup, fromWhere: 'a backup', to: target, toWhere: 'memory' }
  expect(await copyRecords({ ...options, onProgress: () => undefined })).toBe(1102)
  expect((await target.get('odd'))?.value).toBe(odd)
  expect(await target.list('', { limit: 2000 })).toEqual(await source.store.list('', { limit: 2000 }))
  time += 58_999
  expect((await target.get('session:a'))?.value).toBe('x')
  time += 1
  expect(await target.get('session:a')).toBeUndefined()
})

it('an empty storage has one, too', async () => {
  expect(await write()).toBe(0)
  expect(await (await openBackup(path, now)).records('', 10)).toEqual([])
})

describe('never opens a file', () => {
  it.each([
    ['of something else', () => 'hello\n', /a line of it cannot be read/],
    ['that is empty', () => '', /a line of it cannot be read/],
    [
      'of a newer version',
      (text: string) => text.replace('"postern_backup":1', '"postern_backup":2'),
      /newer version/,
    ],
    ['without its end', (text: string) => text.slice(0, text.lastIndexOf('{')), /its end is missing/],
    ['that was cut', (text: string) => text.slice(0, -30), /a line of it cannot be read/],
    ['in which a value was changed', (text: string) => text.replace('value 1', 'value 9'), /it was changed/],
    ['that lacks a line', (text: string) => text.replace(/\{"key":"grant:0001".*\n/, ''), /it was changed/],
    ['with a line behind its end', (text: string) => `${text}{"key":"a","value":"b"}\n`, /it was changed/],
  ])('%s', async (_, change, why) => {
    await fill(3)
    await write()
    writeFileSync(path, change(readFileSync(path, 'utf8')))
    expect(await whyNot()).toMatch(why)
  })
})

it('that could not be written leaves nothing behind, and overwrites nothing', async () => {
  const from = { records: () => Promise.reject(new Error('away')) }
  const failing = writeBackup({ path, header, from, now, onProgress: () => undefined })
  await expect(failing).rejects.toThrow('away')
  expect(readdirSync(folder).filter((name) => name.startsWith('backup'))).toEqual([])
  writeFileSync(`${path}.part`, 'mine')
  await expect(write()).rejects.toMatchObject({ code: 'EEXIST' })
  expect(readFileSync(`${path}.part`, 'utf8')).toBe('mine')
})

describe('a root key', () => {
  const cheap = { n: 1024, r: 8, p: 1 }
  const rootKey = Buffer.from('a root key of 32 bytes, no less.')

  it('is sealed with a passphrase, however a keyboard encodes it, and opens with no other', () => {
    const sealed = sealRootKey(rootKey, 'corr\u00E9ct horse', cheap)
    expect(JSON.stringify(sealed)).not.toContain(rootKey.toString('base64url'))
    expect(openRootKey(sealed, 'corre\u0301ct horse')).toEqual(rootKey)
    expect(openRootKey(sealed, 'correct horse')).toBeUndefined()
    const other = `${sealed.data.startsWith('A') ? 'B' : 'A'}${sealed.data.slice(1)}`
    expect(openRootKey({ ...sealed, data: other }, 'corr\u00E9ct horse')).toBeUndefined()
  })

  it('never makes the reader use more memory than it may', () =>
    expect(() => openRootKey({ ...sealRootKey(rootKey, 'x', cheap), n: 2 ** 30 }, 'x')).toThrow(
      'too much memory',
    ))
})

describe('a restore', () => {
  const target = (storage = 'sqlite'): AdminTarget => ({
    config: { storage: { type: storage }, port: 0 } as AdminTarget['config'],
    stateDir: join(folder, 'state'),
    env: {},
    json: () => undefined,
  })
  const held = async (): Promise<readonly string[]> => {
    const { store, close } = openSqliteStore(join(folder, 'state', 'postern.db'), { now: Date.now })
    const found = (await store.list('')).map(({ key }) => key)
    close()
    return found
  }
  beforeEach(async () => {
    mkdirSync(join(folder, 'state'))
    time = Date.now()
    await fill(3)
    await write()
  })

  it('never mixes with records that are there; told to, it replaces them', async () => {
    await restore(target(), path, {})
    expect(await held()).toEqual(['grant:0000', 'grant:0001', 'grant:0002'])
    const { store, close } = openSqliteStore(join(folder, 'state', 'postern.db'), { now: Date.now })
    await store.put('client:a', 'x')
    close()
    await expect(restore(target(), path, {})).rejects.toThrow(
      /^The backup was not restored: .*postern\.db holds records already/,
    )
    expect(await held()).toHaveLength(4)
    await restore(target(), path, { replace: true })
    expect(await held()).toEqual(['grant:0000', 'grant:0001', 'grant:0002'])
  })

  it('never takes away what is there for a file that is not whole', async () => {
    await restore(target(), path, {})
    writeFileSync(path, readFileSync(path, 'utf8').replace('value 1', 'value 9'))
    await expect(restore(target(), path, { replace: true })).rejects.toThrow('this is no complete backup')
    expect(await held()).toHaveLength(3)
  })

  it('that was interrupted goes on, and no gateway starts on it before', async () => {
    const { store, close } = openSqliteStore(join(folder, 'state', 'postern.db'), { now: Date.now })
    const { sha256, header } = await openBackup(path, now)
    const from = `the backup of ${header.created_at} (${sha256.slice(0, 12)})`
    await store.put('store-copy', JSON.stringify({ from, after: 'grant:0000' }))
    await store.put('grant:0000', 'value 0')
    close()
    await restore(target(), path, {})
    expect(await held()).toEqual(['grant:0000', 'grant:0001', 'grant:0002'])
  })

  it('of records in memory is none', async () => {
    await expect(restore(target('memory'), path, {})).rejects.toThrow('Records in memory cannot be restored.')
  })
})
