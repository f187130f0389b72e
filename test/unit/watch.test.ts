// When somebody who holds something open is cut off: by a look every two seconds, or by what the storage
// tells; and never by one look that fails.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { timer } from '../../src/node/runtime.ts'
import type { Principal } from '../../src/ports/people.ts'
import type { Address, Service } from '../../src/ports/services.ts'
import type { Notice, Subscribe } from '../../src/ports/store.ts'
import { createRevalidation } from '../../src/proxy/revalidate.ts'

beforeEach(() => void vi.useFakeTimers({ now: 0 }))
afterEach(() => void vi.useRealTimers())

const service = { id: 'echo' } as Service
const principal = { grantId: 'g1', expiresAt: 600_000 } as Principal
const holder = { address: { service } as Address, principal }
const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)

/** A storage that answers what `state` says, and counts what it is asked. */
const newest = (principal: Principal): Principal => principal

const world = (told: boolean, record?: string) => {
  const state = {
    alive: true as boolean | 'silent',
    known: true,
    served: true as boolean | 'silent',
    reachable: true,
    looks: 0,
  }
  const heard = new Map<string, (notice: Notice) => void>()
  const log: string[] = []
  const say = (answer: boolean | 'silent'): Promise<boolean> => {
    state.looks++
    return answer === 'silent' ? Promise.reject(new Error('silent')) : Promise.resolve(answer)
  }
  const subscribe: Subscribe = (key, on) => {
    log.push(`+${key}`)
    if (!state.reachable) return Promise.reject(new Error('unreachable'))
    heard.set(key, on)
    return Promise.resolve(() => void log.push(`-${key}`))
  }
  const ends: string[] = []
  const watch = createRevalidation({
    runtime: { now: () => Date.now(), timer, ...(told && { subscribe }) },
    alive: () => say(state.alive),
    newest,
    serving: {
      known: () => state.known,
      served: () => (state.served === true ? Promise.resolve(true) : say(state.served)),
      record: () => record,
    },
  })
  return {
    state,
    ends,
    log,
    watch,
    tell: (key: string, notice: Notice) => heard.get(key)?.(notice),
    end: (why: string) => void ends.push(why),
  }
}

describe('where the storage tells nothing', () => {
  it('looks every two seconds, and ends once with the first no', async () => {
    const { watch, state, ends, end } = world(false)
    watch.caller(holder, end)
    await pass(10_000)
    expect([state.looks, ends]).toEqual([5, []])
    state.alive = false
    await pass(10_000)
    expect([state.looks, ends]).toEqual([6, ['access']])
  })

  it('ends with the second look in a row that brings no answer', async () => {
    const { watch, state, ends, end } = world(false)
    watch.caller(holder, end)
    for (let round = 0; round < 3; round++) {
      state.alive = 'silent'
      await pass(2000)
      state.alive = true
      await pass(2000)
    }
    expect(ends).toEqual([])
    state.alive = 'silent'
    await pass(4000)
    expect(ends).toEqual(['storage'])
  })

  it('counts a look that is never answered', async () => {
    const { watch, ends, end } = world(false)
    const hanging = createRevalidation({
      runtime: { now: () => 0, timer },
      alive: () => new Promise(() => undefined),
      newest,
      serving: { known: () => true, served: () => Promise.resolve(true), record: () => undefined },
    })
    watch.caller(holder, () => undefined)
    hanging.caller(holder, end)
    await pass(6000)
    expect(ends).toEqual(['storage'])
  })

  it('ends what is idle, what is expired and what belongs to a service that is gone, without a look', async () => {
    const { watch, state, ends, end } = world(false)
    let idle = false
    watch.service(
      service,
      () => end('idle'),
      () => idle,
    )
    watch.caller({ ...holder, principal: { ...principal, expiresAt: 4000 } }, end)
    const stop = watch.caller({ ...holder, principal: { ...principal, expiresAt: 4000 } }, end, true)
    await pass(4000)
    expect(ends).toEqual(['access'])
    idle = true
    await pass(2000)
    state.known = false
    await pass(2000)
    expect(ends).toEqual(['access', 'idle', 'service'])
    stop()
  })
})

describe('where the storage tells of changes', () => {
  it('costs nothing for two seconds, then one subscription and one look, and nothing more', async () => {
    const { watch, state, log, ends, end } = world(true)
    const stop = watch.caller(holder, end)
    await pass(1900)
    expect([log, state.looks]).toEqual([[], 0])
    await pass(3_600_000 / 8)
    expect([log, state.looks, ends]).toEqual([['+grant:g1'], 1, []])
    stop()
    expect(log).toEqual(['+grant:g1', '-grant:g1'])
  })

  it('looks again when it is told, once for many words, and ends with a no', async () => {
    const { watch, state, ends, end, tell } = world(true)
    watch.caller(holder, end)
    await pass(5000)
    for (let word = 0; word < 5; word++) tell('grant:g1', 'changed')
    await pass(5000)
    expect([state.looks, ends]).toEqual([2, []])
    state.alive = false
    tell('grant:g1', 'changed')
    await pass(1000)
    expect(ends).toEqual(['access'])
  })

  it('subscribes anew when a subscription is lost, and looks at what it may have missed', async () => {
    const { watch, state, ends, log, end, tell } = world(true, 'services-version')
    watch.caller(holder, end)
    await pass(5000)
    state.alive = false
    tell('services-version', 'lost')
    await pass(1000)
    expect(log).toEqual([
      '+services-version',
      '+grant:g1',
      '-services-version',
      '-grant:g1',
      '+services-version',
      '+grant:g1',
      '-services-version',
      '-grant:g1',
    ])
    expect(ends).toEqual(['access'])
  })

  it.each([
    ['no subscription can be had', { reachable: false }],
    ['no look is answered', { alive: 'silent' as const }],
  ])('ends when %s, twice in a row', async (_, broken) => {
    const { watch, state, ends, end } = world(true)
    watch.caller(holder, end)
    await pass(3000)
    Object.assign(state, broken)
    await pass(60_000)
    expect(ends).toEqual([])
    const late = world(true)
    Object.assign(late.state, broken)
    late.watch.caller(holder, late.end)
    await pass(12_000)
    expect(late.ends).toEqual(['storage'])
  })

  it('gives back a subscription that comes after the end', async () => {
    const made = Promise.withResolvers<() => void>()
    const log: string[] = []
    const watch = createRevalidation({
      runtime: { now: () => 0, timer, subscribe: () => made.promise },
      alive: () => Promise.resolve(true),
      newest,
      serving: { known: () => true, served: () => Promise.resolve(true), record: () => undefined },
    })
    const stop = watch.caller(holder, () => undefined)
    await pass(2100)
    stop()
    made.resolve(() => void log.push('given back'))
    await pass(0)
    expect(log).toEqual(['given back'])
  })

  it('asks nothing about a service that needs no token, but hears of a lock', async () => {
    const { watch, state, log, ends, end } = world(true)
    watch.caller({ ...holder, principal: undefined }, end)
    await pass(60_000)
    expect([log, state.looks, ends]).toEqual([['+closures'], 0, []])
  })
})
