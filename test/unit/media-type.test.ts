// A media type read whole: one type and its parameters, or nothing.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isUtf8, readMediaType } from '../../src/kit/http.ts'
import { isEventStream } from '../../src/kit/sse.ts'

const readOf = (value: string) => {
  const media = readMediaType(value)
  return media && [media.essence, Object.fromEntries(media.parameters), isUtf8(media)]
}

describe('a media type', () => {
  it.each([
    ['application/json', ['application/json', {}, true]],
    [' Application/JSON ; Charset="UTF-8" ; ', ['application/json', { charset: 'utf-8' }, true]],
    ['application/json;charset=utf8', ['application/json', { charset: 'utf8' }, true]],
    [
      'text/plain;charset=latin1;format=flowed',
      ['text/plain', { charset: 'latin1', format: 'flowed' }, false],
    ],
    [
      'application/ld+json; profile="https://x.example/a?b=c"',
      ['application/ld+json', { profile: 'https://x.example/a?b=c' }, true],
    ],
    ['text/plain; charset=""', ['text/plain', { charset: '' }, false]],
  ])('%s is one', (value, told) => expect(readOf(value)).toEqual(told))

  it.each([
    '',
    ' ',
    'json',
    'application/',
    '/json',
    'application/json/x',
    'application /json',
    'application/json x=y',
    'application/json, text/html',
    'application/json; a, text/html',
    'application/json; a=b, text/html',
    'application/json; a="b, text/html"',
    'application/json; a="b; c"',
    'application/json; a="b',
    'application/json; a="b\\"c"',
    'application/json; a',
    'application/json; =b',
    'application/json; a =b',
    'application/json; a= b',
    'application/json; a=',
    'application/json; a=b; A=c',
    'application/json\u00a0',
    'application/json\n',
    'application/json\r\nx: y',
    'application/j\u017fon',
    `application/json; a=${'b'.repeat(256)}`,
  ])('%j is none', (value) => expect(readMediaType(value)).toBeUndefined())

  it('is never read where another one may begin', () => {
    const part = fc.constantFrom(
      'application/json',
      'text/event-stream',
      'text/html',
      ';',
      ',',
      '"',
      ' ',
      '=',
      'a',
      '\\',
      '\t',
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const value = parts.join('')
        if (readMediaType(value) !== undefined) expect(value).not.toMatch(/,|\\/)
        expect(isEventStream(value)).toBe(readMediaType(value)?.essence === 'text/event-stream')
      }),
    )
  })
})
