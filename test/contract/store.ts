// What every Store promises: one suite, run by each backend. Web standards only, so that it runs inside
// workerd too.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Mark, Store } from '../../src/ports/store.ts'

export interface Backend {
  readonly store: Store
  /**
   * Another way to the same records: a second connection, another process's view. The same store where there
   * is none.
   */
  readonly other: Store
  /** Moves the backend's own time. */
  advance(ms: number): void | Promise<void>
  /**
   * How far that time may move by itself during a test, ms: a server's own clock cannot be stopped. Default: not at all.
   */
  readonly grainMs?: number
  sweep?(limit: number): Promise<number>
  close?(): void | Promise<void>
}

const many = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i))
const won = <T>(answers: readonly (T | undefined)[]): T[] => answers.filter((answer) => answer !== undefined)
const keysIn = async (
  store: Store,
  prefix: string,
  options?: { after?: string; limit?: number },
): Promise<string[]> => (await store.list(prefix, options)).map(({ key }) => key)

export const storeContract = (name: string, make: () => Backend | Promise<Backend>): void => {
  describe(`a store in ${name}`, () => {
    let backend: Backend
    let store: Store
    let other: Store
    beforeEach(async () => {
      backend = await make()
      ;({ store, other } = backend)
    })
    afterEach(() => backend.close?.())
    const put = async (key: string, value: string, options?: Parameters<Store['put']>[2]): Promise<Mark> =>
      (await store.put(key, value, options)) as Mark

    describe('get and put', () => {
      test('what was put is what is got, exactly, and through every connection', async () => {
        for (const [i, value] of [
          '',
          'text',
          'ünï 日本語 \u{1F511}',
          "'; DROP TABLE records; --",
          '{"a":[1,2]}',
          'line\nline\ttab',
          '\uFEFFmark',
        ].entries()) {
          await put(`k:${i}`, value)
          expect((await store.get(`k:${i}`))?.value).toBe(value)
          expect((await other.get(`k:${i}`))?.value).toBe(value)
        }
      })
      test('a large value is kept whole (256 kB)', async () => {
        const value = many(256 * 1024, (i) => String.fromCharCode(33 + (i % 90))).join('')
        await put('large', value)
        expect((await other.get('large'))?.value).toBe(value)
        expect((await other.take('large'))?.value).toBe(value)
      })
      test('what was never put is absent', async () => {
        expect(await store.get('nothing')).toBeUndefined()
        expect(await store.take('nothing')).toBeUndefined()
        expect(await store.list('nothing')).toEqual([])
      })
      test('a put replaces what was there, and the mark says so', async () => {
        const before = await put('k', 'one')
        expect((await other.get('k'))?.mark).toBe(before)
        const after = (await other.put('k', 'two')) as Mark
        expect(after).not.toBe(before)
        expect(await store.get('k')).toEqual({ value: 'two', mark: after })
      })
      test('writing the same value again is still a new version', async () =>
        expect(await put('k', 'same')).not.toBe(await put('k', 'same')))
      test('keys differ in case, and none is a pattern', async () => {
        for (const key of ['a:b', 'A:b', 'a%b', 'a_b', 'a*b', "a'b", 'a"b', 'a\\b', 'a b'])
          await put(key, key)
        for (const key of ['a:b', 'A:b', 'a%b', 'a_b', 'a*b', "a'b", 'a"b', 'a\\b', 'a b'])
          expect((await store.get(key))?.value).toBe(key)
        await store.take('a%b')
        expect((await store.get('a_b'))?.value).toBe('a_b')
      })
    })

    describe('only where absent', () => {
      test('writes once, and a second time only after the record is gone', async () => {
        expect(await store.put('k', 'one', { only: 'absent' })).toEqual(expect.any(String))
        expect(await other.put('k', 'two', { only: 'absent' })).toBeUndefined()
        expect((await store.get('k'))?.value).toBe('one')
        await store.take('k')
        expect(await other.put('k', 'two', { only: 'absent' })).toEqual(expect.any(String))
      })
      test('of 50 at once exactly one writes', async () => {
        for (const round of many(5, String)) {
          const answers = await Promise.all(
            many(50, (i) => (i % 2 ? other : store).put(`k:${round}`, String(i), { only: 'absent' })),
          )
          expect(won(answers)).toHaveLength(1)
          expect((await store.get(`k:${round}`))?.value).toBe(
            String(answers.findIndex((answer) => answer !== undefined)),
          )
        }
      })
    })

    describe('only over a version (compare-and-set)', () => {
      test('writes over that version and over no other', async () => {
        const one = await put('k', 'one')
        const two = (await other.put('k', 'two', { only: one })) as Mark
        expect([typeof two, two === one]).toEqual(['string', false])
        expect(await store.put('k', 'three', { only: one })).toBeUndefined()
        expect(await store.get('k')).toEqual({ value: 'two', mark: two })
      })
      test('a mark of another key, an invented one or an empty one writes nothing', async () => {
        const mark = await put('a', 'one')
        await put('b', 'one')
        for (const wrong of [mark, 'invented', '', '0', "' OR 1=1 --"])
          expect(await store.put('b', 'two', { only: wrong as Mark })).toBeUndefined()
        expect(await store.put('c', 'two', { only: mark })).toBeUndefined()
        expect(await store.get('c')).toBeUndefined()
        expect((await store.get('b'))?.value).toBe('one')
      })
      test('of 50 at once exactly one writes', async () => {
        for (const round of many(5, String)) {
          const mark = await put(`k:${round}`, 'start')
          const answers = await Promise.all(
            many(50, (i) => (i % 2 ? other : store).put(`k:${round}`, String(i), { only: mark })),
          )
          expect(won(answers)).toHaveLength(1)
        }
      })
      test('fifty who read, add one and retry count to fifty', async () => {
        await put('counter', '0')
        const add = async (through: Store): Promise<void> => {
          const entry = (await through.get('counter'))!
          if (
            (await through.put('counter', String(Number(entry.value) + 1), { only: entry.mark })) ===
            undefined
          )
            await add(through)
        }
        await Promise.all(many(50, (i) => add(i % 2 ? other : store)))
        expect((await store.get('counter'))?.value).toBe('50')
      })
      test('an old mark never revives a taken record, not even after the key was written again', async () => {
        const mark = await put('k', 'one')
        await other.take('k')
        expect(await store.put('k', 'revived', { only: mark })).toBeUndefined()
        expect(await store.get('k')).toBeUndefined()
        const marks = [mark]
        for (const value of many(20, String)) {
          marks.push(await put('k', value))
          await store.take('k')
        }
        expect(new Set(marks).size).toBe(21)
        await put('k', 'new')
        for (const old of marks) expect(await store.put('k', 'revived', { only: old })).toBeUndefined()
        expect((await store.get('k'))?.value).toBe('new')
      })
    })

    describe('take', () => {
      test('answers the record and leaves nothing', async () => {
        const mark = await put('k', 'one')
        expect(await other.take('k')).toEqual({ value: 'one', mark })
        expect(await store.take('k')).toBeUndefined()
        expect(await store.get('k')).toBeUndefined()
      })
      test('of 50 at once exactly one receives the record', async () => {
        for (const round of many(5, String)) {
          await put(`k:${round}`, round)
          const answers = await Promise.all(many(50, (i) => (i % 2 ? other : store).take(`k:${round}`)))
          expect(won(answers).map(({ value }) => value)).toEqual([round])
        }
      })
      test('of a take and a compare-and-set at once, never both win', async () => {
        for (const round of many(20, String)) {
          const mark = await put(`k:${round}`, 'one')
          const [taken, set] = await Promise.all([
            store.take(`k:${round}`),
            other.put(`k:${round}`, 'two', { only: mark }),
          ])
          const left = await store.get(`k:${round}`)
          // Set, then taken: the taker has the new value. Taken, then set: the set was refused. Either way
          // nothing is left.
          expect([taken?.value, set === undefined]).toEqual(
            set === undefined ? ['one', true] : ['two', false],
          )
          expect(left).toBeUndefined()
        }
      })
    })

    describe('lifetimes', () => {
      /** Times of these tests, ms: far beyond what a clock that runs could do to them. */
      const long = (ms: number): number => (backend.grainMs ? ms * 10_000 : ms)
      test('a record lives for its time and not one millisecond longer', async () => {
        const grain = backend.grainMs ?? 0
        await put('k', 'one', { ttlMs: long(1000) })
        await backend.advance(long(1000) - grain - 1)
        expect((await store.get('k'))?.value).toBe('one')
        await backend.advance(grain + 1)
        expect(await store.get('k')).toBeUndefined()
      })
      test('an expired record is absent to every operation', async () => {
        const marks = new Map<string, Mark>()
        for (const key of ['get', 'take', 'list', 'set', 'absent'])
          marks.set(key, await put(`k:${key}`, 'old', { ttlMs: long(10) }))
        await backend.advance(long(10))
        expect(await store.get('k:get')).toBeUndefined()
        expect(await store.take('k:take')).toBeUndefined()
        expect(await store.list('k:')).toEqual([])
        expect(await store.put('k:set', 'new', { only: marks.get('set')! })).toBeUndefined()
        expect(await store.put('k:absent', 'new', { only: 'absent' })).toEqual(expect.any(String))
        expect((await other.get('k:absent'))?.value).toBe('new')
        expect(await keysIn(store, 'k:')).toEqual(['k:absent'])
      })
      test('of 50 who find an expired record at once exactly one writes where absent', async () => {
        await put('k', 'old', { ttlMs: long(10) })
        await backend.advance(long(10))
        expect(
          won(
            await Promise.all(
              many(50, (i) => (i % 2 ? other : store).put('k', String(i), { only: 'absent' })),
            ),
          ),
        ).toHaveLength(1)
      })
      test('every write sets the lifetime anew, and without one the record stays', async () => {
        const mark = await put('longer', 'one', { ttlMs: long(10) })
        await put('kept', 'one', { ttlMs: long(10) })
        await put('shorter', 'one')
        await store.put('longer', 'two', { only: mark, ttlMs: long(1000) })
        await put('kept', 'two')
        await put('shorter', 'two', { ttlMs: long(10) })
        await backend.advance(long(10))
        expect(await keysIn(store, '')).toEqual(['kept', 'longer'])
        await backend.advance(400 * 86_400_000)
        expect(await keysIn(store, '')).toEqual(['kept'])
      })
      test('sweeping removes expired records in bounded batches and touches no other', async () => {
        if (!backend.sweep) return
        for (const i of many(25, String)) await put(`old:${i}`, 'x', { ttlMs: long(10) })
        await put('young', 'x', { ttlMs: long(1000) })
        await put('kept', 'x')
        expect(await backend.sweep(100)).toBe(0)
        await backend.advance(long(10))
        expect([
          await backend.sweep(10),
          await backend.sweep(10),
          await backend.sweep(10),
          await backend.sweep(10),
        ]).toEqual([10, 10, 5, 0])
        expect(await keysIn(store, '')).toEqual(['kept', 'young'])
      })
    })

    describe('list', () => {
      test('gives the records of a prefix in ascending byte order, values included', async () => {
        for (const key of ['p:b', 'p:', 'p:B', 'p:a', 'p:aa', 'p:10', 'p:9', 'p:~', 'p:_', 'p:-'])
          await put(key, `v ${key}`)
        const expected = ['p:', 'p:-', 'p:10', 'p:9', 'p:B', 'p:_', 'p:a', 'p:aa', 'p:b', 'p:~']
        expect(await other.list('p:')).toEqual(expected.map((key) => ({ key, value: `v ${key}` })))
      })
      test('a prefix is text, never a pattern, and ends where it ends', async () => {
        for (const key of [
          'a%b:1',
          'a_b:1',
          'axb:1',
          'ab:1',
          'a:1',
          'a;1',
          'a9',
          'A:1',
          'a',
          'b:1',
          'a:\x7f',
          "a':1",
          'a\\:1',
          'a*:1',
          'a[b]:1',
        ])
          await put(key, '')
        expect(await keysIn(store, 'a%')).toEqual(['a%b:1'])
        expect(await keysIn(store, 'a_')).toEqual(['a_b:1'])
        expect(await keysIn(store, 'a:')).toEqual(['a:1', 'a:\x7f'])
        expect(await keysIn(store, "a'")).toEqual(["a':1"])
        expect(await keysIn(store, 'a*')).toEqual(['a*:1'])
        expect(await keysIn(store, 'a[b]')).toEqual(['a[b]:1'])
        expect(await keysIn(store, 'a\\')).toEqual(['a\\:1'])
        expect(await keysIn(store, 'a:1')).toEqual(['a:1'])
        expect(await keysIn(store, 'A')).toEqual(['A:1'])
        expect(await keysIn(store, 'c')).toEqual([])
        expect(await keysIn(store, '')).toHaveLength(15)
      })
      test('pages meet without gap or overlap, also when records come and go in between', async () => {
        const keys = many(250, (i) => `p:${String(i).padStart(3, '0')}`)
        for (const key of keys) await put(key, '')
        await put('q:1', '')
        expect(await keysIn(store, 'p:')).toEqual(keys.slice(0, 100))
        expect(await keysIn(store, 'p:', { after: 'p:099' })).toEqual(keys.slice(100, 200))
        expect(await keysIn(store, 'p:', { after: 'p:199' })).toEqual(keys.slice(200))
        expect(await keysIn(store, 'p:', { after: 'p:249' })).toEqual([])
        expect(await keysIn(store, 'p:', { limit: 3, after: 'p:0' })).toEqual(keys.slice(0, 3))
        expect(await keysIn(store, 'p:', { limit: 1000 })).toEqual(keys)
        await store.take('p:099')
        expect(await keysIn(store, 'p:', { after: 'p:099', limit: 2 })).toEqual(['p:100', 'p:101'])
      })
      test('a place to start before the prefix starts at the prefix, one behind it finds nothing', async () => {
        for (const key of ['a:1', 'b:1', 'b:2', 'c:1']) await put(key, '')
        expect(await keysIn(store, 'b:', { after: 'a:1' })).toEqual(['b:1', 'b:2'])
        expect(await keysIn(store, 'b:', { after: 'b:' })).toEqual(['b:1', 'b:2'])
        expect(await keysIn(store, 'b:', { after: 'c:1' })).toEqual([])
      })
    })
  })
}
