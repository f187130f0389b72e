// The small rules of HTTP fields and bodies.
import { describe, expect, it } from 'vitest'
import { utf8, utf8Text } from '../../src/kit/bytes.ts'
import { fieldOf, isHost, readBounded, trimWhitespace } from '../../src/kit/http.ts'

const streamOf = (...parts: string[]) =>
  new Response(
    new ReadableStream({
      start(controller) {
        for (const part of parts) controller.enqueue(utf8(part))
        controller.close()
      },
    }),
  ).body

describe('a field', () => {
  it('is read without the whitespace around it, in linear time', () => {
    expect(trimWhitespace(' \t a b \t')).toBe('a b')
    expect(trimWhitespace('\u00a0a')).toBe('\u00a0a')
    expect(trimWhitespace(' '.repeat(1_000_000))).toBe('')
  })

  it('is found by its name in any case', () => {
    expect(fieldOf(['ORIGIN', 'a', 'Host', 'b'], 'origin')).toBe('a')
    expect(fieldOf(['a', 'origin'], 'origin')).toBeUndefined()
    expect(fieldOf(['origin'], 'origin')).toBeUndefined()
  })
})

describe('a host', () => {
  it('is a name or an address with a port that exists', () => {
    for (const host of [
      'a',
      'a.b',
      'a_b.c',
      'localhost:1',
      '127.0.0.1:65535',
      '[::1]',
      '[::ffff:127.0.0.1]:80',
    ])
      expect(isHost(host)).toBe(true)
    for (const host of ['', '.', ':1', 'a:', 'a:65536', 'a:0x1', '[]', '[::1]x', 'a..b/', 'a\tb', 'ä'])
      expect([host, isHost(host)]).toEqual([host, false])
  })
})

describe('a body', () => {
  it('is read whole up to its bound and refused one byte beyond', async () => {
    expect(utf8Text(await readBounded(streamOf('ab', 'cd'), 4))).toBe('abcd')
    expect((await readBounded(null, 0)).byteLength).toBe(0)
    await expect(readBounded(streamOf('ab', 'cde'), 4)).rejects.toMatchObject({ code: 'request.too-large' })
  })
})
