// Comments on a silent stream: after one interval of silence, however the stream began.
import { expect, it } from 'vitest'
import { createKeepAlive } from '../../src/kit/sse.ts'
import { createTestClock } from '../runtimes/clock.ts'

it('come one interval after the last thing that went out, and then once an interval', () => {
  const clock = createTestClock()
  const at: number[] = []
  const alive = createKeepAlive(clock.timer, 1000, () => void at.push(clock.now()))
  // A fresh stream says something at once; its first comment is not two intervals away.
  clock.advance(10)
  alive.wrote()
  clock.advance(3500)
  alive.wrote()
  clock.advance(1500)
  alive.stop()
  clock.advance(5000)
  expect(at).toEqual([1010, 2010, 3010, 4510])
})
