// A store that is slow, or never answers: how long its callers wait, and how many of them.
import { describe, expect, it } from 'vitest'
import { Refusal } from '../../src/kit/refusal.ts'
import type { Store } from '../../src/ports/store.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { createBoundedStore } from '../../src/stores/timeout.ts'
import { createTestClock, noTimer } from '../runtimes/clock.ts'

const whyOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'answered',
    (error: unknown) => (error instanceof Refusal ? `${error.code}: ${error.why}` : String(error)),
  )

/** Operations are carried out when `release` says so. */
const held = () => {
  const inner = createMemoryStore({ now: () => 0 })
  let open: (() => void)[] = []
  const hold =
    <Args extends unknown[], T>(work: (...args: Args) => Promise<T>) =>
    (...args: Args): Promise<T> =>
      new Promise<void>((resolve) => void open.push(resolve)).then(() => work(...args))
  const store: Store = {
    get: hold(inner.get),
    put: hold(inner.put),
    take: hold(inner.take),
    list: hold(inner.list),
  }
  return {
    store,
    waiting: () => open.length,
    release() {
      for (const go of open.splice(0)) go()
      open = []
    },
  }
}

describe('a store held to its time', () => {
  it('is given up by every operation after it, and none is tried again [H-S7]', async () => {
    const { store, waiting } = held()
    const clock = createTestClock()
    const { get, put, take, list } = createBoundedStore(store, { timer: clock.timer, timeoutMs: 20 })
    const asked = Promise.all([get('a'), put('a', '1'), take('a'), list('a')].map(whyOf))
    clock.advance(20)
    const whys = await asked
    expect(whys).toEqual(
      ['get', 'put', 'take', 'list'].map((what) => `storage.unavailable: ${what} took longer than 20 ms`),
    )
    expect(waiting()).toBe(4)
  })

  it('answers at once what came in time, and bothers nobody with what comes too late', async () => {
    const { store, release } = held()
    const clock = createTestClock()
    const bounded = createBoundedStore(store, { timer: clock.timer, timeoutMs: 20 })
    const writing = whyOf(bounded.put('a', '1'))
    clock.advance(20)
    expect(await writing).toContain('took longer')
    release()
    const reading = bounded.get('a')
    release()
    expect((await reading)?.value).toBe('1')
  })

  it('has no more than so many wait, refuses the others at once, and takes them again afterwards [H-S7]', async () => {
    const { store, release, waiting } = held()
    const bounded = createBoundedStore(store, { timer: noTimer, most: 3, timeoutMs: 10_000 })
    const going = [1, 2, 3].map((n) => bounded.get(`k${n}`))
    expect(await whyOf(bounded.get('k4'))).toBe(
      'storage.unavailable: 3 operations wait for the storage already',
    )
    expect(waiting()).toBe(3)
    release()
    expect(await Promise.all(going)).toEqual([undefined, undefined, undefined])
    const again = bounded.get('k4')
    release()
    expect(await again).toBeUndefined()
  })

  it('says what the store itself says', async () => {
    const broken = createBoundedStore(
      {
        ...createMemoryStore({ now: () => 0 }),
        get: () => Promise.reject(new Refusal('storage.unavailable', 'connection lost')),
      },
      { timer: noTimer },
    )
    expect(await whyOf(broken.get('a'))).toBe('storage.unavailable: connection lost')
  })

  it('gives a storage that is far away the time it needs, and one that has become slow no more', async () => {
    const clock = createTestClock()
    const inner = createMemoryStore({ now: () => 0 })
    let takesMs = 900
    const slow: Store = {
      ...inner,
      get: (key) => new Promise((resolve) => void clock.timer(takesMs, () => resolve(inner.get(key)))),
    }
    const bounded = createBoundedStore(slow, clock)
    const ask = async (): Promise<string> => {
      const said = whyOf(bounded.get('a'))
      // In steps, so that what follows from a timer is done soon after it.
      for (const step of [5, ...Array.from({ length: 100 }, () => 100)]) {
        clock.advance(step)
        await new Promise((resolve) => setImmediate(resolve))
      }
      return said
    }
    expect(await ask()).toBe('answered')
    takesMs = 2600
    expect(await ask()).toBe('answered')
    takesMs = 5
    expect(await ask()).toBe('answered')
    takesMs = 2000
    for (let i = 0; i < 20; i++) expect(await ask()).toBe('storage.unavailable: get took longer than 800 ms')
    // Where it stays slow, it is far away.
    for (let i = 0; i < 20; i++) await ask()
    expect(await ask()).toBe('answered')
    takesMs = 9000
    expect(await ask()).toBe('storage.unavailable: get took longer than 3000 ms')
  })
})
