// The storage in memory that takes the place of one that cannot be used.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { timer } from '../../src/node/runtime.ts'
import { openOrMemory } from '../../src/node/store.ts'
import type { Log } from '../../src/ports/runtime.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-fallback-'))
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(folder, { recursive: true })
})

const open = (lines: Parameters<Log>[]) =>
  openOrMemory({
    config: { storage: { type: 'sqlite', fallback: 'memory' } },
    stateDir: join(folder, 'state'),
    now: Date.now,
    timer,
    random: (n) => new Uint8Array(randomBytes(n)),
    log: (...line) => void lines.push(line),
    product: '0.0.0-test',
  })

test('is empty, is told, and stays when the other can be used again', async () => {
  // Nothing can be below a file.
  writeFileSync(join(folder, 'state'), '')
  const lines: Parameters<Log>[] = []
  const opened = await open(lines)
  expect([opened.insteadOf, opened.location, await opened.store.list('')]).toEqual(['sqlite', 'memory', []])
  await opened.store.put('k', 'one')
  await vi.advanceTimersByTimeAsync(30_000)
  rmSync(join(folder, 'state'))
  await vi.advanceTimersByTimeAsync(90_000)
  expect(lines.map(([level, event]) => [level, event])).toEqual([
    ['error', 'storage.fallback'],
    ['warn', 'storage.back'],
  ])
  expect((await opened.store.get('k'))?.value).toBe('one')
  opened.close()
})

test('is not used where the storage can be', async () => {
  const lines: Parameters<Log>[] = []
  const { insteadOf, location, close } = await open(lines)
  expect([insteadOf, location, lines]).toEqual([undefined, join(folder, 'state', 'postern.db'), []])
  close()
})
