// Timers of the Runtime: once, in order, until cancelled.
import { describe, expect, it } from 'vitest'
import { timer } from '../../src/node/runtime.ts'
import { createTestClock } from '../runtimes/clock.ts'

describe('the timer of the Node runtime', () => {
  it('runs the function once after its time, and never when it was cancelled', async () => {
    const ran: string[] = []
    timer(1, () => ran.push('cancelled'))()
    const cancel = await new Promise<() => void>((resolve) => {
      const ended = timer(5, () => {
        ran.push('fired')
        resolve(ended)
      })
    })
    cancel()
    expect(ran).toEqual(['fired'])
  })
})

describe('the clock that a test moves', () => {
  it('fires what becomes due in order, each at its own time, timers of timers too', () => {
    const clock = createTestClock({ start: 1000 })
    const ran: string[] = []
    clock.timer(30, () => ran.push(`third at ${clock.now()}`))
    clock.timer(10, () => {
      ran.push(`first at ${clock.now()}`)
      clock.timer(10, () => ran.push(`second at ${clock.now()}`))
    })
    clock.timer(15, () => ran.push('never'))()
    clock.advance(29)
    expect(ran).toEqual(['first at 1010', 'second at 1020'])
    clock.advance(1)
    expect(ran).toEqual(['first at 1010', 'second at 1020', 'third at 1030'])
    expect(clock.now()).toBe(1030)
  })

  it('fires by itself too where time runs, and once at most', async () => {
    const clock = createTestClock({ runs: true })
    const ran: string[] = []
    clock.timer(60_000, () => ran.push('moved'))
    const passed = new Promise<void>((resolve) => {
      clock.timer(1, () => {
        ran.push('passed')
        resolve()
      })
    })
    await passed
    clock.advance(60_000)
    clock.advance(60_000)
    expect(ran).toEqual(['passed', 'moved'])
  })
})
