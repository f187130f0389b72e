// Copies of a storage: every record as it is, for as long as it still lives, or a message that says what is missing.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Refusal } from '../../src/kit/refusal.ts'
import { openSqliteStore, openStore } from '../../src/node/store.ts'
import type { Store } from '../../src/ports/store.ts'
import { copyRecords } from '../../src/stores/copy.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'

let folder: string
let source: ReturnType<typeof openSqliteStore>
let target: Store
let time = 1_000_000
const now = () => time
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-copy-'))
  source = openSqliteStore(join(folder, 'postern.db'), { now })
  target = createMemoryStore({ now })
})
afterEach(() => {
  source.close()
  rmSync(folder, { recursive: true })
})

const copy = (to = target, fromWhere = 'a file', steps: unknown[] = []) =>
  copyRecords({
    from: source.records,
    fromWhere,
    to,
    toWhere: 'elsewhere',
    onProgress: (...step) => void steps.push(step),
  })
const fill = async (n: number): Promise<void> => {
  for (let i = 0; i < n; i++) await source.store.put(`grant:${String(i).padStart(4, '0')}`, `value ${i}`)
}
const keysIn = async (store: Store) => (await store.list('', { limit: 9999 })).map(({ key }) => key)

it('every record arrives with its value and what is left of its lifetime', async () => {
  await fill(450)
  await source.store.put('session:a', 'short', { ttlMs: 10_000 })
  await source.store.put('session:b', 'gone', { ttlMs: 1000 })
  time += 4000
  const steps: unknown[] = []
  expect(await copy(target, 'a file', steps)).toBe(451)
  expect(steps).toEqual([
    ['copied', 200, 451],
    ['copied', 400, 451],
    ['copied', 451, 451],
    ['compared', 200, 451],
    ['compared', 400, 451],
    ['compared', 451, 451],
  ])
  expect(await target.list('', { limit: 999 })).toEqual(await source.store.list('', { limit: 999 }))
  time += 5999
  expect((await target.get('session:a'))?.value).toBe('short')
  time += 1
  expect(await keysIn(target)).toHaveLength(450)
})

it('a copy that was interrupted goes on where it was, and is not taken for a storage before', async () => {
  await fill(650)
  let puts = 0
  const failing: Store = {
    ...target,
    put: (...args) =>
      puts++ === 460 ? Promise.reject(new Refusal('storage.unavailable', 'gone')) : target.put(...args),
  }
  await expect(copy(failing)).rejects.toMatchObject({ why: 'gone' })
  await expect(copy(target, 'another file')).rejects.toMatchObject({
    why: 'elsewhere holds part of a copy of a file: finish that copy first',
  })
  const steps: unknown[] = []
  expect(await copy(target, 'a file', steps)).toBe(650)
  // Two pages were complete.
  expect(steps[0]).toEqual(['copied', 200, 650])
  expect(await target.list('', { limit: 999 })).toEqual(await source.store.list('', { limit: 999 }))
})

it('never mixes two gateways, nor says that a copy is complete when it is not', async () => {
  await fill(3)
  await target.put('grant:other', 'x')
  await expect(copy()).rejects.toMatchObject({
    code: 'storage.unavailable',
    why: 'elsewhere holds records already: copy to an empty storage, or to another prefix',
  })
  expect(await keysIn(target)).toEqual(['grant:other'])
  await target.take('grant:other')
  const forgetful: Store = {
    ...target,
    put: (key, ...args) => (key === 'grant:0001' ? Promise.resolve(undefined) : target.put(key, ...args)),
  }
  await expect(copy(forgetful)).rejects.toMatchObject({
    why: 'elsewhere does not hold grant:0001 as a file does',
  })
})

it('never starts a gateway on a part of a copy', async () => {
  await source.store.put('store-copy', JSON.stringify({ from: 'elsewhere', after: '' }))
  const opened = openStore({
    config: { storage: { type: 'sqlite' } },
    stateDir: folder,
    now,
    timer: () => () => undefined,
    random: (n) => new Uint8Array(n),
    log: () => undefined,
    product: '0.0.0-test',
  })
  await expect(opened).rejects.toMatchObject({
    code: 'storage.unavailable',
    why: `${join(folder, 'postern.db')} holds part of a copy: run \`postern store copy\` again`,
  })
})
