// SQLite keeps the contract: one connection, two connections, two processes on one file; and what happens
// when the disk does not play along.
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openSqlite, openSqliteStore } from '../../src/node/store.ts'
import { type SqlDriver, createSqlStore } from '../../src/stores/sql.ts'
import { answer, forkStore, race } from './races.ts'
import { storeContract } from './store.ts'

const folder = (): string => mkdtempSync(join(tmpdir(), 'postern-sqlite-'))
const refused = { code: 'storage.unavailable' }
const attempt = (work: () => unknown): unknown => {
  try {
    return work()
  } catch (error) {
    return error
  }
}

storeContract('a SQLite file', () => {
  const dir = folder()
  let time = 1_700_000_000_000
  const { store, close } = openSqliteStore(join(dir, 'postern.db'), { now: () => time })
  return {
    store,
    other: store,
    advance: (ms) => void (time += ms),
    sweep: store.sweep,
    close: () => (close(), rmSync(dir, { recursive: true })),
  }
})

storeContract('a SQLite file with two connections', () => {
  const dir = folder()
  let time = 1_700_000_000_000
  const [one, two] = [
    openSqliteStore(join(dir, 'postern.db'), { now: () => time }),
    openSqliteStore(join(dir, 'postern.db'), { now: () => time, synchronous: 'full' }),
  ]
  return {
    store: one.store,
    other: two.store,
    advance: (ms) => void (time += ms),
    sweep: two.store.sweep,
    close: () => (one.close(), two.close(), rmSync(dir, { recursive: true })),
  }
})

storeContract('SQL behind a driver that takes its time', () => {
  let time = 1_700_000_000_000
  const db = new DatabaseSync(':memory:')
  const driver: SqlDriver = { all: async (sql, values) => db.prepare(sql).all(...values) }
  const store = createSqlStore(driver, { now: () => time })
  return {
    store,
    other: store,
    advance: (ms) => void (time += ms),
    sweep: store.sweep,
    close: () => db.close(),
  }
})

describe('a SQLite file', () => {
  let dir: string
  let path: string
  const children: ChildProcess[] = []
  const now = (): number => Date.now()
  beforeEach(() => {
    dir = folder()
    path = join(dir, 'state', 'postern.db')
  })
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
    rmSync(dir, { recursive: true })
  })
  const child = (): ChildProcess => {
    const made = forkStore(join(dir, 'state'))
    children.push(made)
    return made
  }

  test('two processes that race for one record: one winner a round, for takes, first writes and compare-and-sets [H-G3]', async () => {
    const { store, close } = openSqliteStore(path, { now })
    await race([child(), child()], store, { rounds: 100, parallel: 10 })
    close()
  })

  test('processes that start together on a new file all find it ready', async () => {
    const ready = await Promise.all(Array.from({ length: 4 }, () => answer(child())))
    expect(ready).toEqual(['ready', 'ready', 'ready', 'ready'])
  })

  test('what a process was told is written survives its kill -9 [H-T1]', async () => {
    const writer = child()
    await answer(writer)
    let acknowledged = 0
    const enough = Promise.withResolvers<void>()
    writer.on('message', (count: number) => {
      acknowledged = count
      if (count >= 200) enough.resolve()
    })
    writer.send({ kind: 'write', rounds: 1_000_000, parallel: 1, marks: [] })
    await enough.promise
    writer.kill('SIGKILL')
    await once(writer, 'exit')
    const { store, close } = openSqliteStore(path, { now })
    for (let i = 0; i < acknowledged; i++) expect((await store.get(`write:${i}`))?.value).toBe(String(i))
    close()
  })

  test.skipIf(process.platform === 'win32')(
    'the file, its journal and its folder are for their owner alone, whatever the umask [H-U8]',
    async () => {
      const { store, close } = openSqliteStore(path, { now })
      await store.put('k', 'v')
      expect(statSync(join(dir, 'state')).mode & 0o777).toBe(0o700)
      for (const name of readdirSync(join(dir, 'state')))
        expect(statSync(join(dir, 'state', name)).mode & 0o777, name).toBe(0o600)
      expect(existsSync(`${path}-wal`)).toBe(true)
      close()
    },
  )

  test('a file that others could read is closed to them', () => {
    path = join(dir, 'loose.db')
    writeFileSync(path, '', { mode: 0o644 })
    openSqlite(path).close()
    if (process.platform !== 'win32') expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  test('records outlive the process that closed the file', async () => {
    const before = openSqliteStore(path, { now })
    const mark = await before.store.put('k', 'v')
    before.close()
    const after = openSqliteStore(path, { now })
    expect(await after.store.get('k')).toEqual({ value: 'v', mark })
    after.close()
  })

  test('a file locked by somebody else is a storage outage, over as soon as the lock is [H-S13]', async () => {
    const { store, close } = openSqliteStore(path, { now, busyTimeoutMs: 20 })
    const holder = new DatabaseSync(path)
    holder.exec('BEGIN IMMEDIATE')
    await expect(store.put('k', 'v')).rejects.toMatchObject(refused)
    await expect(store.take('k')).rejects.toMatchObject(refused)
    expect(await store.get('k')).toBeUndefined()
    holder.exec('COMMIT')
    expect(await store.put('k', 'v')).toEqual(expect.any(String))
    holder.close()
    close()
  })

  test('a lock that is gone in time is only waited for, and nothing else waits with it [H-S13]', async () => {
    const { store, close } = openSqliteStore(path, { now, busyTimeoutMs: 60_000 })
    await store.put('other', 'v')
    const holder = new DatabaseSync(path)
    holder.exec('BEGIN IMMEDIATE')
    const waiting = Array.from({ length: 50 }, (_, i) => store.put(`k${i}`, 'v', { only: 'absent' }))
    const before = performance.now()
    expect((await store.get('other'))?.value).toBe('v')
    expect(performance.now() - before).toBeLessThan(1_000)
    holder.exec('COMMIT')
    expect((await Promise.all(waiting)).filter((mark) => mark === undefined)).toEqual([])
    holder.close()
    close()
  })

  test('a file that is locked when a process starts is opened all the same', async () => {
    openSqliteStore(path, { now }).close()
    const holder = new DatabaseSync(path)
    holder.exec('BEGIN IMMEDIATE')
    const { store, close } = openSqliteStore(path, { now, busyTimeoutMs: 20 })
    expect(await store.get('k')).toBeUndefined()
    await expect(store.put('k', 'v')).rejects.toMatchObject(refused)
    holder.exec('COMMIT')
    expect(await store.put('k', 'v')).toEqual(expect.any(String))
    holder.close()
    close()
  })

  test.skipIf(process.platform === 'win32')(
    'a file that is removed, moved away or replaced while it is open is a storage outage, over when it is back [H-S13]',
    async () => {
      const { store, close } = openSqliteStore(path, { now })
      await store.put('k', 'v')
      await nextTurn() // found in place at most once in a turn of the event loop
      renameSync(path, `${path}.away`)
      await expect(store.put('k', 'lost')).rejects.toMatchObject({
        ...refused,
        why: expect.stringContaining(path) as string,
      })
      await expect(store.get('k')).rejects.toMatchObject(refused)
      writeFileSync(path, 'another')
      await expect(store.put('k', 'lost')).rejects.toMatchObject(refused)
      expect(readFileSync(path, 'utf8')).toBe('another')
      renameSync(`${path}.away`, path)
      expect((await store.get('k'))?.value).toBe('v')
      const mark = await store.put('k', 'w')
      expect(await store.get('k')).toEqual({ value: 'w', mark })
      close()
      const again = openSqliteStore(path, { now })
      expect((await again.store.get('k'))?.value).toBe('w')
      again.close()
    },
  )

  test('a full disk is a storage outage that loses nothing and ends when there is room [H-S13]', async () => {
    const driver = openSqlite(path)
    const store = createSqlStore(driver, { now })
    const mark = (await store.put('grant', 'whole'))!
    const [pages] = driver.all('PRAGMA page_count', []) as [{ page_count: number }]
    driver.all(`PRAGMA max_page_count = ${pages.page_count}`, [])
    await expect(store.put('grant', 'x'.repeat(100_000), { only: mark })).rejects.toMatchObject(refused)
    await expect(store.put('other', 'x'.repeat(100_000))).rejects.toMatchObject(refused)
    expect(await store.get('grant')).toEqual({ value: 'whole', mark })
    expect(await store.get('other')).toBeUndefined()
    driver.all('PRAGMA max_page_count = 100000', [])
    expect(await store.put('grant', 'x'.repeat(100_000), { only: mark })).toEqual(expect.any(String))
    driver.close()
  })

  test('a database that became read-only is a storage outage for writers; readers are still answered [H-S13]', async () => {
    const driver = openSqlite(path)
    const store = createSqlStore(driver, { now })
    await store.put('k', 'v')
    driver.all('PRAGMA query_only = 1', [])
    await expect(store.put('k', 'w')).rejects.toMatchObject(refused)
    await expect(store.take('k')).rejects.toMatchObject(refused)
    expect((await store.get('k'))?.value).toBe('v')
    driver.close()
  })

  test('a place that cannot hold a database, or holds something else, is refused with its path', () => {
    writeFileSync(join(dir, 'file'), '')
    writeFileSync(join(dir, 'text.db'), 'not a database, and long enough to have a header'.repeat(100))
    for (const bad of [join(dir, 'file', 'postern.db'), dir, join(dir, 'text.db')]) {
      expect(attempt(() => openSqliteStore(bad, { now }))).toMatchObject({
        ...refused,
        why: expect.stringContaining(bad) as string,
      })
    }
  })

  test('after closing every operation is refused, none answered from a guess', async () => {
    const { store, close } = openSqliteStore(path, { now })
    await store.put('k', 'v')
    close()
    await expect(store.get('k')).rejects.toMatchObject(refused)
    await expect(store.put('k', 'v')).rejects.toMatchObject(refused)
    await expect(store.list('k')).rejects.toMatchObject(refused)
  })
})
