// What counters promise: one suite, run by each backend.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Counters, CountAction } from '../../src/ports/store.ts'

export interface CountersBackend {
  /** Of two processes; one twice where there cannot be two. */
  readonly both: readonly [Counters, Counters]
  advance(ms: number): void | Promise<void>
  /** As in the suite of stores. */
  readonly grainMs?: number
  close(): void | Promise<void>
}

export const countersContract = (
  name: string,
  create: () => CountersBackend | Promise<CountersBackend>,
): void => {
  describe(`counters ${name}`, () => {
    let backend: CountersBackend
    let one: Counters
    let two: Counters
    beforeAll(async () => {
      backend = await create()
      ;[one, two] = backend.both
    })
    afterAll(() => backend.close())
    const advance = (ms: number) => backend.advance(ms)
    /** So long, but for what the clock of the backend did meanwhile. */
    const about = (ms: number): unknown => {
      const grain = backend.grainMs ?? 0
      return grain === 0
        ? ms
        : expect.toSatisfy((found: number) => found <= ms && found > Math.max(0, ms - grain), `about ${ms}`)
    }

    it('count what is allowed, for all, and say what is left and for how long it is counted', async () => {
      const hit = { cost: 2, limit: 5, windowMs: 60_000 }
      expect(await one.hit('a', hit)).toEqual({ allowed: true, remaining: 3, resetMs: about(60_000) })
      await advance(1000)
      expect(await two.hit('a', hit)).toEqual({ allowed: true, remaining: 1, resetMs: about(59_000) })
      expect(await one.hit('a', hit)).toEqual({ allowed: false, remaining: 1, resetMs: about(59_000) })
      expect(await one.hit('b', hit)).toMatchObject({ allowed: true })
      await advance(59_000)
      expect(await two.hit('a', hit)).toEqual({ allowed: true, remaining: 3, resetMs: about(60_000) })
    })

    it('allow exactly as many as there are, of many at once', async () => {
      const hit = { cost: 1, limit: 30, windowMs: 60_000 }
      const results = await Promise.all(
        Array.from({ length: 200 }, (__, i) => (i % 2 === 0 ? one : two).hit('many', hit)),
      )
      expect(results.filter((result) => result.allowed)).toHaveLength(30)
    })

    it('count passwords, and what strangers may have kept, for all', async () => {
      const use = (kind: 'sign-in' | 'kept-flows', cost: number): readonly CountAction[] => [
        { do: 'use', kind, who: { ip: '192.0.2.1' }, cost },
      ]
      for (let i = 0; i < 10; i++) expect(await (i % 2 === 0 ? one : two).act(use('sign-in', 1))).toBe(0)
      expect([await one.act(use('sign-in', 1)), await two.act(use('sign-in', 1))]).toEqual([
        about(60_000),
        about(60_000),
      ])
      expect(await one.act(use('kept-flows', 59_990))).toBe(0)
      expect(await two.act(use('kept-flows', 16))).toEqual(about(600_000))
      for (let i = 0; i < 20; i++) await (i % 2 === 0 ? one : two).act([{ do: 'wrong', account: 'ana' }])
      expect(await one.act([{ do: 'guess', account: 'ana', ip: '192.0.2.9' }])).toEqual(about(1000))
      await advance(1000)
      expect(await two.act([{ do: 'guess', account: 'ana', ip: '192.0.2.9' }])).toBe(0)
    })
  })
}
