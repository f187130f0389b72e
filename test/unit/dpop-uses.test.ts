// Where proofs of bound tokens are remembered, and which nonces are handed out, by processes that share their records.
import { describe, expect, it } from 'vitest'
import { Refusal } from '../../src/kit/refusal.ts'
import { createProofUses } from '../../src/oauth/dpop-uses.ts'
import type { Counters } from '../../src/ports/store.ts'
import { createWorld } from './oauth-world.ts'

describe('processes that share their records', () => {
  const shared = async () => {
    const world = await createWorld()
    const { clock, store } = world
    let works: Promise<unknown>[] = []
    const settled = async () => {
      await Promise.all(works)
      works = []
    }
    const open = (more: object = {}) => {
      const runtime = {
        ...world.runtime,
        counters: {} as Counters,
        defer: (work: Promise<unknown>) => void works.push(work),
        ...more,
      }
      const { nonces, remember } = createProofUses(runtime, { replay: 'auto', nonce: 'required' })
      const use = async (id: string, nonce: string | undefined) => {
        const judged = await nonces?.judge(nonce)
        await settled()
        if (judged?.minute === undefined) return { is: 'nonce', newer: judged?.newer }
        const is = await remember({ id, until: clock.now, minute: judged.minute, here: judged.own })
        return { is: is ? 'accepted' : 'replayed', newer: judged.newer }
      }
      const fresh = async () => {
        const nonce = await nonces?.current()
        await settled()
        return nonce
      }
      return { use, fresh }
    }
    const kept = async () => (await store.list('proof:')).length
    return { clock, store, open, kept }
  }

  it('keep proofs in memory while there is one, and in the store while there are two (case 65)', async () => {
    const { clock, open, kept } = await shared()
    const first = open()
    const early = await first.fresh()
    // Known to be alone from here on. What was handed out before is good as well, and leads to a nonce of its own.
    const { is, newer: own } = await first.use('a', early)
    expect([is, await kept(), own]).toEqual(['accepted', 1, await first.fresh()])
    expect(own).not.toBe(early)
    expect([await first.use('b', own), await first.use('b', own)]).toEqual([
      { is: 'accepted', newer: undefined },
      { is: 'replayed', newer: undefined },
    ])
    expect((await first.use('a', early)).is).toBe('replayed')
    expect(await kept()).toBe(1)

    const second = open()
    const told = await second.use('b', own)
    // Nobody else's nonce, and what it hands out is good at both.
    expect(told.is).toBe('nonce')
    const ours = told.newer
    expect(ours).toBe(early)
    expect((await second.use('c', ours)).is).toBe('accepted')
    expect((await first.use('c', ours)).is).toBe('replayed')
    clock.now += 30_000
    await first.fresh()
    const common = await first.fresh()
    expect(common).toBe(await second.fresh())
    expect([(await first.use('d', common)).is, (await second.use('d', common)).is]).toEqual([
      'accepted',
      'replayed',
    ])
    // What it had handed out before is good where it was.
    expect([(await first.use('e', own)).is, (await first.use('e', own)).is]).toEqual(['accepted', 'replayed'])
  })

  it('are one again when the other is gone, and know nothing of each other while the store is away', async () => {
    const { clock, store, open } = await shared()
    const [first, second] = [open(), open()]
    for (const process of [first, second, first, second]) {
      await process.fresh()
      clock.now += 30_000
    }
    await Promise.all([first.fresh(), second.fresh()])
    expect(await first.fresh()).toBe(await second.fresh())
    for (let times = 0; times < 4; times++) {
      clock.now += 30_000
      await first.fresh()
    }
    const alone = await first.fresh()
    expect(alone).not.toBe(await open({ transports: { sessionLocations: {} } }).fresh())
    const { list } = store
    store.list = () => Promise.reject(new Refusal('storage.unavailable', 'down'))
    clock.now += 30_000
    await first.fresh()
    expect(await first.fresh()).not.toBe(alone)
    store.list = list
  })

  it('are never one on Workers', async () => {
    const { open, kept } = await shared()
    const isolate = open({ transports: { sessionLocations: {} } })
    const nonce = await isolate.fresh()
    await isolate.fresh()
    expect([(await isolate.use('a', nonce)).is, (await isolate.use('a', nonce)).is]).toEqual([
      'accepted',
      'replayed',
    ])
    expect(await kept()).toBe(1)
  })
})
