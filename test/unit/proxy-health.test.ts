// When a server counts as away, and when as back.
import { beforeEach, describe, expect, it } from 'vitest'
import { type CircuitBreaker, createCircuitBreaker } from '../../src/proxy/upstream-endpoint.ts'

let time: number
let there: boolean
let looks: number
let health: CircuitBreaker
beforeEach(() => {
  time = 1_000_000
  there = false
  looks = 0
  health = createCircuitBreaker({
    now: () => time,
    look: () => (looks++, there ? Promise.resolve() : Promise.reject(new Error('nobody'))),
  })
})
const miss = (times: number, tookMs = 60_000): void => {
  for (let i = 0; i < times; i++) health.missed(tookMs)
}

/** What each is told in the end. */
const told = (gates: readonly (boolean | Promise<boolean>)[]): Promise<boolean[]> =>
  Promise.all(gates.map((gate) => Promise.resolve(gate)))

describe('a server', () => {
  it('is not doubted for failures that are quick, few, or mixed with answers', () => {
    miss(1000, 900)
    miss(2)
    health.heard()
    miss(2)
    expect([health.gate(), looks]).toEqual([true, 0])
  })

  it('that only some calls hang at is looked at once, and serves all others', async () => {
    there = true
    miss(50)
    const gates = [health.gate(), health.gate(), health.gate()]
    expect([await told(gates), looks]).toEqual([[true, true, true], 1])
    expect([health.gate(), looks]).toEqual([true, 1])
  })

  it('that is away is looked for every two seconds, by one call; all others hear of it at once [H-T12]', async () => {
    miss(3)
    expect(await told([health.gate(), health.gate()])).toEqual([false, false])
    for (let second = 0; second < 600; second++) {
      time += 1000
      const gates = Array.from({ length: 50 }, () => health.gate())
      expect(gates.filter((gate) => gate !== false).length).toBe(second % 2)
      await told(gates)
    }
    expect(looks).toBe(301)
    there = true
    expect(health.gate()).toBe(false)
    time += 2000
    expect([await health.gate(), health.gate(), looks]).toEqual([true, true, 302])
  })

  it('is back with the first answer, whoever got it', async () => {
    miss(3)
    expect(await health.gate()).toBe(false)
    health.heard()
    expect([health.gate(), looks]).toEqual([true, 1])
  })
})
