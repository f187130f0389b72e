// Expired records leave by themselves.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { startSweeping } from '../../src/node/store.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('a thousand expired records are gone within a minute, in batches, and the living stay', async () => {
  const store = createMemoryStore({ now: () => Date.now() })
  for (let i = 0; i < 1000; i++) await store.put(`old:${i}`, 'x', { ttlMs: 10 })
  await store.put('kept', 'x')
  const batches: number[] = []
  const stop = startSweeping(
    { sweep: async (limit) => (batches.push(await store.sweep(limit)), batches.at(-1)!) },
    () => undefined,
  )
  await vi.advanceTimersByTimeAsync(60_000)
  expect(batches.reduce((sum, gone) => sum + gone, 0)).toBe(1000)
  expect(Math.max(...batches)).toBe(200)
  expect((await store.get('kept'))?.value).toBe('x')
  stop()
})

test('an outage of the storage is a warning, and sweeping goes on after it', async () => {
  const answers = [
    (): number => {
      throw new Error('storage.unavailable: locked')
    },
    () => 0,
    () => 0,
  ]
  const logged: unknown[] = []
  const stop = startSweeping({ sweep: async () => answers.shift()!() }, (...line) => void logged.push(line))
  await vi.advanceTimersByTimeAsync(95_000)
  expect(answers).toHaveLength(0)
  expect(logged).toEqual([['warn', 'sweep.failed', { why: 'Error: storage.unavailable: locked' }]])
  stop()
})

test('after stopping nothing is swept any more, not even when a sweep was under way', async () => {
  let sweeps = 0
  const under = Promise.withResolvers<number>()
  const stop = startSweeping({ sweep: () => (sweeps++, under.promise) }, () => undefined)
  await vi.advanceTimersByTimeAsync(30_000)
  stop()
  under.resolve(200)
  await vi.advanceTimersByTimeAsync(120_000)
  expect(sweeps).toBe(1)
})
