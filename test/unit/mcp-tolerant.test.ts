// Messages that a careless server writes: what is recovered, what looks like an answer, and what is a log
// line.
import { describe, expect, it } from 'vitest'
import {
  answerLike,
  withoutControls,
  createTolerantReader,
  repairAnswer,
} from '../../src/mcp/tolerant-messages.ts'

const heard = (...lines: readonly string[]) => {
  const all: unknown[] = []
  const reader = createTolerantReader({
    value: (_, text) => void all.push(['value', text]),
    unreadable: (text) => void all.push(['unreadable', text]),
  })
  for (const line of lines) reader.line(line)
  return [...all, ...(reader.open ? ['open'] : [])]
}

describe('lines that are no message by themselves', () => {
  it.each<readonly [string, readonly string[], readonly unknown[]]>([
    ['a byte order mark', ['\ufeff{"id":1}'], [['value', '{"id":1}']]],
    ['escape codes before the brace', ['\u001b[0m\u001b[2;31m{"id":1}'], [['value', '{"id":1}']]],
    ['a window title before the brace', ['\u001b]0;server\u0007{"id":1}'], [['value', '{"id":1}']]],
    [
      'two messages',
      ['{"id":1}{"id":2} [3]'],
      [
        ['value', '{"id":1}'],
        ['value', '{"id":2}'],
        ['value', '[3]'],
      ],
    ],
    [
      'a message and a log line',
      ['{"id":1}done'],
      [
        ['value', '{"id":1}'],
        ['unreadable', 'done'],
      ],
    ],
    [
      'several lines',
      ['{', '  "id": 1,', '  "result": {', '  }', '}'],
      [['value', '{\n  "id": 1,\n  "result": {\n  }\n}']],
    ],
    [
      'several lines with braces and escaped quotes in strings',
      ['{', '  "a": "}\\"}",', '  "b": "{"', '}'],
      [['value', '{\n  "a": "}\\"}",\n  "b": "{"\n}']],
    ],
    [
      'several lines, and the next message on the last',
      ['{', '  "id": 1', '}{"id":2}'],
      [
        ['value', '{\n  "id": 1\n}'],
        ['value', '{"id":2}'],
      ],
    ],
    [
      'a beginning that never ends, and one that does',
      ['{', '  name: "x",', '{', '  "id": 1', '}'],
      [
        ['unreadable', '{'],
        ['value', '{\n  "id": 1\n}'],
      ],
    ],
    ['what a console prints of an object', ['{', "  name: 'x'", '}'], [['unreadable', "{\n  name: 'x'\n}"]]],
    [
      'no numbers',
      ['{"a":NaN,"b":[Infinity,-Infinity],"c":"NaN, \\"Infinity"}'],
      [['value', '{"a":null,"b":[null,null],"c":"NaN, \\"Infinity"}']],
    ],
    [
      'a log line',
      ['[info] listening'],
      [
        ['unreadable', '[info]'],
        ['unreadable', 'listening'],
      ],
    ],
    ['a log line with a message in it', ['got {"id":1}'], [['unreadable', 'got {"id":1}']]],
    ['nothing', ['\u001b[0m', '  '], []],
  ])('hold %s', (_what, lines, all) => {
    expect(heard(...lines)).toEqual(all)
  })

  it('are given up when a message comes by itself', () => {
    const all: unknown[] = []
    const reader = createTolerantReader({
      value: (value) => void all.push(value),
      unreadable: (text) => void all.push(text),
    })
    reader.line('{ begun')
    expect(reader.open).toBe(true)
    reader.interrupt()
    expect([all, reader.open]).toEqual([['{ begun'], false])
  })
})

describe('an answer', () => {
  it('that lacks something, or has null too much, means one thing', () => {
    expect(repairAnswer({ id: 1, result: { a: 1 } })).toEqual({ jsonrpc: '2.0', id: 1, result: { a: 1 } })
    expect(repairAnswer({ jsonrpc: '2.0', id: 1, result: {}, error: null })).toEqual({
      jsonrpc: '2.0',
      id: 1,
      result: {},
    })
    expect(repairAnswer({ jsonrpc: '2.0', id: 1, result: null })).toEqual({
      jsonrpc: '2.0',
      id: 1,
      result: {},
    })
    expect(repairAnswer({ jsonrpc: '2.0', id: null, error: { code: 1, message: 'x' } })).toEqual({
      jsonrpc: '2.0',
      id: null,
      error: { code: 1, message: 'x' },
    })
    expect(repairAnswer({ jsonrpc: '2.0', id: 1, error: 'x' })).toEqual({
      jsonrpc: '2.0',
      id: 1,
      error: { code: -32603, message: 'x' },
    })
    for (const none of [
      { jsonrpc: '1.0', id: 1, result: {} },
      { id: 1 },
      { result: {} },
      { jsonrpc: '2.0', id: 1, method: 'x' },
      { jsonrpc: '2.0', id: 1, result: [] },
      1,
      null,
    ])
      expect(repairAnswer(none)).toBeUndefined()
  })

  it('is known by what it looks like where it cannot be read', () => {
    expect(answerLike('{"jsonrpc":"2.0","id":7,"result":{')).toEqual({ ids: [7] })
    expect(answerLike('working... {"result":{},"id":"7"}')).toEqual({ ids: [7] })
    expect(answerLike('{"jsonrpc":"2.0","result":', 'x","id":12}')).toEqual({ ids: [12] })
    expect(answerLike('{"jsonrpc":"2.0","error":{')).toEqual({ ids: [] })
    for (const none of [
      'Error: type mismatch',
      '{"level":"info","id":3}',
      'sending {"jsonrpc":"2.0","id":1,"method":"x","params":{"result":1}}',
      '{ result: 1 }',
    ])
      expect(answerLike(none)).toBeUndefined()
  })

  it('is looked at without escape codes', () => {
    expect(withoutControls('\u001b[1mError\u001b[0m: x')).toBe('Error: x')
  })
})
