// Single flight.
import { expect, test } from 'vitest'
import { createSingleFlight } from '../../src/kit/single-flight.ts'

let time = 0
const deferred: Promise<unknown>[] = []
const runtime = { now: () => time, defer: (work: Promise<unknown>) => void deferred.push(work) }

const gate = <T>(): { promise: Promise<T>; open: (value: T) => void; fail: (error: Error) => void } => {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  return { promise, open: resolve, fail: reject }
}

test('a hundred who ask at once share one run and its answer', async () => {
  const once = createSingleFlight(runtime)
  const work = gate<number>()
  let runs = 0
  const answers = Array.from({ length: 100 }, () => once('key', () => (runs++, work.promise)))
  work.open(7)
  expect(new Set(await Promise.all(answers))).toEqual(new Set([7]))
  expect(runs).toBe(1)
})

test('different keys run side by side', async () => {
  const once = createSingleFlight(runtime)
  const [a, b] = [gate<string>(), gate<string>()]
  const both = Promise.all([once('a', () => a.promise), once('b', () => b.promise)])
  b.open('b')
  a.open('a')
  expect(await both).toEqual(['a', 'b'])
})

test('the next one to ask after the answer starts a new run', async () => {
  const once = createSingleFlight(runtime)
  let runs = 0
  const work = async (): Promise<number> => ++runs
  expect(await once('key', work)).toBe(1)
  expect(await once('key', work)).toBe(2)
})

test('an error reaches everybody who waited and nobody who comes later', async () => {
  const once = createSingleFlight(runtime)
  const work = gate<number>()
  const waiting = [once('key', () => work.promise), once('key', () => work.promise)]
  work.fail(new Error('down'))
  expect((await Promise.allSettled(waiting)).map((one) => one.status)).toEqual(['rejected', 'rejected'])
  expect(await once('key', async () => 1)).toBe(1)
})

test('work that throws before its first await is forgotten like any other', async () => {
  const once = createSingleFlight(runtime)
  const broken = (): Promise<number> => {
    throw new Error('at once')
  }
  await expect(once('key', broken)).rejects.toThrow('at once')
  expect(await once('key', async () => 2)).toBe(2)
})

test('a run outlives whoever began it, and its failure is told to nobody but those who wait', async () => {
  deferred.length = 0
  const once = createSingleFlight(runtime)
  const work = gate<number>()
  const waiting = once('key', () => work.promise)
  expect(deferred).toHaveLength(1)
  work.fail(new Error('down'))
  await expect(waiting).rejects.toThrow('down')
  await expect(deferred[0]).resolves.toBeUndefined()
})

test('a run that was cut off and never ends is joined for 20 seconds and no longer', async () => {
  const once = createSingleFlight(runtime)
  let runs = 0
  const never = (): Promise<never> => (runs++, new Promise<never>(() => undefined))
  void once('key', never)
  time += 19_999
  void once('key', never)
  expect(runs).toBe(1)
  time += 1
  expect(await once('key', async () => 'anew')).toBe('anew')
})
