// Header objects that serve one call after another, and the one timer of a call.
import { describe, expect, it } from 'vitest'
import { createHeaderPool, createFirstByteTimeout, headersOf } from '../../src/proxy/fetch.ts'

const held = (headers: Headers): string[] => [...headers].map(([name, value]) => `${name}: ${value}`)

describe('a header object that is used again', () => {
  const lists: readonly (readonly string[])[] = [
    ['X-User-Id', 'ada', 'Accept', 'a/b'],
    ['X-User-Id', 'bea', 'Accept', 'a/b'],
    ['X-User-Id', 'bea', 'Accept', 'c/d', 'X-Extra', '1'],
    ['X-User-Id', 'ada', 'Accept', 'c/d', 'Accept', 'e/f'],
    ['X-User-Id', 'bea', 'Accept', 'c/d', 'Accept', 'g/h'],
    ['X-User-Id', 'bea', 'accept', 'c/d', 'Accept', 'i/j'],
    ['X-User-Id', 'bea', 'Connection', 'close'],
    ['X-User-Id', 'cyd', 'Connection', 'keep-alive'],
    [],
    ['X-User-Id', 'ada', 'Accept', 'a/b'],
  ]

  it('holds what a new one would hold, whatever was asked before', () => {
    for (const first of lists) {
      for (const then of lists) {
        const mold = createHeaderPool()
        mold(first)
        expect(held(mold(then))).toEqual(held(headersOf(then)))
        expect(held(mold(first))).toEqual(held(headersOf(first)))
      }
    }
  })

  it('keeps nothing of a list that could not be sent', () => {
    const mold = createHeaderPool()
    const ada = ['X-User-Id', 'ada', 'X-Note', 'one']
    mold(ada)
    expect(() => mold(['X-User-Id', 'bea', 'X-Note', 'two\nlines'])).toThrow(TypeError)
    expect(held(mold(ada))).toEqual(['x-note: one', 'x-user-id: ada'])
  })

  it('does not change what was made of it before', () => {
    const mold = createHeaderPool()
    const response = new Response('', { headers: mold(['X-User-Id', 'ada']) })
    const request = new Request('http://upstream.test', { headers: mold(['X-User-Id', 'bea']) })
    mold(['X-User-Id', 'cyd'])
    expect([response.headers.get('x-user-id'), request.headers.get('x-user-id')]).toEqual(['ada', 'bea'])
  })
})

describe('the timer of a call', () => {
  const never = (): Promise<never> => new Promise(() => undefined)
  const late = { code: 'upstream.timeout' }

  it('refuses what takes too long, and tells that it did', async () => {
    let told = 0
    const patience = createFirstByteTimeout(
      10,
      () => performance.now(),
      () => void told++,
    )
    await expect(patience.wait(never())).rejects.toMatchObject(late)
    expect(told).toBe(1)
  })

  it('counts each wait from its own beginning', async () => {
    const patience = createFirstByteTimeout(
      30,
      () => performance.now(),
      () => undefined,
    )
    await patience.wait(new Promise<void>((wake) => void setTimeout(wake, 20)))
    const began = performance.now()
    await expect(patience.wait(never())).rejects.toMatchObject(late)
    expect(performance.now() - began).toBeGreaterThan(28)
  })

  it('says nothing of the time between two waits, however long', async () => {
    let told = 0
    const patience = createFirstByteTimeout(
      5,
      () => performance.now(),
      () => void told++,
    )
    await patience.wait(Promise.resolve())
    await new Promise<void>((wake) => void setTimeout(wake, 15))
    expect(told).toBe(0)
    await expect(patience.wait(never())).rejects.toMatchObject(late)
  })

  it('lets an error through as it is', async () => {
    const patience = createFirstByteTimeout(
      1000,
      () => performance.now(),
      () => undefined,
    )
    await expect(patience.wait(Promise.reject(new TypeError('gone')))).rejects.toThrow('gone')
    patience.stop()
  })
})
