// Lines of standard output, however the pipe cuts them.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLineBudget, createStdoutReader } from '../../src/node/process/supervise.ts'

const budgets = { shared: createLineBudget() }
const heard = () => {
  const all: unknown[] = []
  const lines = createStdoutReader(
    {
      line: (text) => void all.push(text.length > 1000 ? text.length : text),
      garbage: () => void all.push('no UTF-8'),
      oversized: (head, tail) => void all.push({ head: head.slice(0, 10), tail: tail.slice(-10) }),
    },
    budgets.shared,
  )
  return { all, lines }
}
const pieces = (count: number): Buffer[] => Array.from({ length: count }, () => Buffer.alloc(1_048_576, 'x'))

beforeEach(() => {
  budgets.shared = createLineBudget()
  vi.useFakeTimers()
})
afterEach(() => vi.useRealTimers())

describe('a line', () => {
  it('may end with CR LF, be empty, come in pieces, and hold bytes that are no UTF-8', () => {
    const { all, lines } = heard()
    for (const piece of ['one\r\n\r\n\nt', 'wo', '\nthr', 'ee']) lines.push(Buffer.from(piece))
    lines.push(Buffer.from([0x0a, 0x61, 0xff, 0xc3, 0x0a]))
    expect(all).toEqual(['one', 'two', 'three', 'no UTF-8', 'a\ufffd\ufffd'])
  })

  it('without a line feed is taken after a silence when it is a whole message, and at the end', () => {
    const { all, lines } = heard()
    lines.push(Buffer.from('{"a":'))
    lines.push(Buffer.from('{}'))
    vi.advanceTimersByTime(1000)
    expect(all).toEqual([])
    lines.push(Buffer.from('}'))
    vi.advanceTimersByTime(249)
    expect(all).toEqual([])
    vi.advanceTimersByTime(1)
    expect(all).toEqual(['{"a":{}}'])
    lines.push(Buffer.from('\n{"b":1}'))
    lines.end()
    lines.end()
    expect(all).toEqual(['{"a":{}}', '{"b":1}'])
  })

  it('of 32 MB is passed on, a longer one known by its two ends, and the next is whole again', () => {
    const { all, lines } = heard()
    for (const piece of pieces(31)) lines.push(piece)
    lines.push(Buffer.from('\nbeginning-'))
    for (const piece of pieces(33)) lines.push(piece)
    lines.push(Buffer.from('-the'))
    lines.push(Buffer.from('-end\nnext\n'))
    expect(all).toEqual([31 * 1_048_576, { head: 'beginning-', tail: 'xx-the-end' }, 'next'])
  })

  it('that is long is passed on only while all long lines together are within a bound', () => {
    const [one, two, three, four] = [heard(), heard(), heard(), heard()]
    for (const { lines } of [one, two, three]) for (const piece of pieces(31)) lines.push(piece)
    for (const piece of pieces(20)) four.lines.push(piece)
    for (const { lines } of [one, two, three, four]) lines.push(Buffer.from('\n'))
    expect([one.all, two.all, three.all, four.all]).toEqual([
      [31 * 1_048_576],
      [31 * 1_048_576],
      [31 * 1_048_576],
      [{ head: 'x'.repeat(10), tail: 'x'.repeat(10) }],
    ])
    for (const piece of pieces(20)) four.lines.push(piece)
    four.lines.push(Buffer.from('\n'))
    expect(four.all.at(-1)).toBe(20 * 1_048_576)
  })

  it('of more than 64 MB has no end', () => {
    const { all, lines } = heard()
    expect(
      pieces(65)
        .map((piece) => lines.push(piece))
        .indexOf(false),
    ).toBe(64)
    expect(all).toEqual([])
  })
})
