// Turns of password checks on a Worker, and the platform's own limit in front of sign-ins.
import { describe, expect, it } from 'vitest'
import type { CountAction } from '../../src/ports/store.ts'
import { behindRateLimit, createTurns } from '../../src/worker/passwords.ts'

const createWorld = () => {
  let time = 1_000_000
  const slept: number[] = []
  const turn = createTurns({ now: () => time, sleep: async (ms) => void slept.push(ms) })
  return { slept, turn, pass: (ms: number) => void (time += ms) }
}
const outcome = (work: Promise<void>): Promise<unknown> =>
  work.then(
    () => 'turn',
    (error: { code: string; detail: { headers: object } }) => [error.code, error.detail.headers],
  )

describe('turns', () => {
  it('are a quarter of a second apart, for strangers within one second and for known browsers within two', async () => {
    const { turn, slept, pass } = createWorld()
    for (let i = 0; i < 5; i++) await turn(false)
    expect(slept).toEqual([250, 500, 750, 1000])
    expect(await outcome(turn(false))).toEqual(['sign-in.busy', { 'retry-after': '2' }])
    for (let i = 0; i < 4; i++) await turn(true)
    expect(slept.slice(4)).toEqual([1250, 1500, 1750, 2000])
    expect(await outcome(turn(true))).toEqual(['sign-in.busy', { 'retry-after': '3' }])
    pass(2250)
    expect(await outcome(turn(false))).toBe('turn')
    expect(slept).toHaveLength(8)
  })

  it('begin anew when the clock is set back', async () => {
    const { turn, slept, pass } = createWorld()
    await turn(false)
    pass(-3_600_000)
    await turn(false)
    expect(slept).toEqual([])
  })
})

describe('the Rate Limiting binding', () => {
  const stranger: readonly CountAction[] = [
    { do: 'use', kind: 'sign-in-address', who: { ip: '2001:db8:1:2::7' }, cost: 1 },
    { do: 'guess', account: 'a', ip: '2001:db8:1:2::7' },
  ]
  const known: readonly CountAction[] = [{ do: 'use', kind: 'sign-in', who: 'browser', cost: 1 }]

  it('is asked for strangers alone, by network, and whom it refuses the object is not asked about', async () => {
    const [keys, asked] = [[] as string[], [] as (readonly CountAction[])[]]
    const limiter = {
      limit: ({ key }: { readonly key: string }) => (
        keys.push(key),
        Promise.resolve({ success: keys.length < 2 })
      ),
    }
    const counts = behindRateLimit(limiter, (actions) => (asked.push(actions), Promise.resolve(0)))
    expect([await counts(stranger), await counts(known), await counts(stranger)]).toEqual([0, 0, 60_000])
    expect(keys).toEqual(['20010db800010002/64', '20010db800010002/64'])
    expect(asked).toEqual([stranger, known])
    expect(await behindRateLimit(undefined, () => Promise.resolve(7))(stranger)).toBe(7)
  })
})
