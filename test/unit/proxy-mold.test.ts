// Header objects that serve one call after another, and the one timer of a call.
import { describe, expect, it } from 'vitest'
import { createDeadline, createHeaderPool } from '../../src/proxy/fetch.ts'
import { headersOf } from '../../src/proxy/response-sources.ts'
import { createTestClock } from '../runtimes/clock.ts'

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
  const item = (deadline: number, comment = Infinity) => {
    const told: string[] = []
    const timed = {
      deadline,
      comment,
      at: -1,
      late() {
        told.push('late')
        timed.deadline = Infinity
      },
      idle() {
        told.push('idle')
        timed.comment += 10
      },
    }
    return { timed, told }
  }

  it('tells what is late, and nothing sooner', () => {
    const clock = createTestClock()
    const { timed, told } = item(10)
    createDeadline(clock.now, clock.timer).add(timed)
    clock.advance(9)
    expect(told).toEqual([])
    clock.advance(1)
    expect(told).toEqual(['late'])
  })

  it('follows a time that has moved away, and one that has come nearer', () => {
    const clock = createTestClock()
    const { timed, told } = item(10)
    const deadlines = createDeadline(clock.now, clock.timer)
    deadlines.add(timed)
    clock.advance(5)
    timed.deadline = 30
    clock.advance(20)
    expect(told).toEqual([])
    timed.comment = 27
    deadlines.sooner(timed)
    clock.advance(2)
    expect(told).toEqual(['idle'])
    clock.advance(3)
    expect(told).toEqual(['idle', 'late'])
    clock.advance(7)
    expect(told).toEqual(['idle', 'late', 'idle'])
  })

  it('is over with its call', () => {
    const clock = createTestClock()
    const { timed, told } = item(10)
    const deadlines = createDeadline(clock.now, clock.timer)
    deadlines.add(timed)
    deadlines.delete(timed)
    clock.advance(20)
    expect(told).toEqual([])
  })
})
