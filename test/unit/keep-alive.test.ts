// Comments on a silent stream: after one interval of silence, however the stream began.
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createKeepAlive } from '../../src/kit/sse.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

it('come one interval after the last thing that went out, and then once an interval', () => {
  const at: number[] = []
  const begun = Date.now()
  const alive = createKeepAlive(1000, () => void at.push(Date.now() - begun))
  // A fresh stream says something at once; its first comment is not two intervals away.
  vi.advanceTimersByTime(10)
  alive.wrote()
  vi.advanceTimersByTime(3500)
  alive.wrote()
  vi.advanceTimersByTime(1500)
  alive.stop()
  vi.advanceTimersByTime(5000)
  expect(at).toEqual([1010, 2010, 3010, 4510])
})
