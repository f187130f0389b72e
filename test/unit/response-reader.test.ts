// The reader of upstream answers: every way of cutting the bytes reads the same, and whatever is not plainly
// HTTP is refused.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createReadHead,
  createResponseReader,
  expectAnswer,
  feed,
  feedEnd,
} from '../../src/node/http-client/response-parser.ts'

interface Read {
  readonly told: string[]
  readonly body: string
  readonly error: string
  readonly whole: boolean
  readonly idleSeconds: number | undefined
}

/** Reads the pieces as answers to requests sent one after another, and then the end of the connection. */
const read = (pieces: readonly (string | Buffer)[], end = false): Read => {
  const told: string[] = []
  let body = ''
  let error = ''
  let whole = false
  const reader = createResponseReader(
    {
      head: (status, headers) => told.push(`head ${status} ${headers.join('|')}`),
      data: (piece) => (body += piece.toString('latin1')),
      end(reusable) {
        told.push(`end ${reusable}`)
        if (reusable) expectAnswer(reader)
      },
    },
    createReadHead(),
  )
  expectAnswer(reader)
  try {
    for (const piece of pieces) {
      // As from a socket: the memory of one read is that of the next.
      const memory = typeof piece === 'string' ? Buffer.from(piece, 'latin1') : Buffer.from(piece)
      feed(reader, memory)
      memory.fill('#')
    }
    if (end) whole = feedEnd(reader)
  } catch (thrown) {
    error = (thrown as Error).name
  }
  return { told, body, error, whole, idleSeconds: reader.idleSeconds }
}

const cutAt = (text: string, cuts: readonly number[]): string[] => {
  const places = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b)
  return [0, ...places]
    .map((from, i) => text.slice(from, places[i] ?? text.length))
    .filter((piece) => piece !== '')
}

const chunked = (parts: readonly string[], trailers = ''): string =>
  `${parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0\r\n${trailers}\r\n`

describe('an answer', () => {
  it('with a length, in chunks, without a body or until the connection ends is read to its end', () => {
    expect(read(['HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A:  b \r\n\r\nhi'])).toMatchObject({
      told: ['head 200 Content-Length|2|X-A|b', 'end true'],
      body: 'hi',
      error: '',
    })
    expect(
      read([`HTTP/1.1 200\r\ntransfer-encoding: CHUNKED\r\n\r\n${chunked(['hi', 'x'.repeat(300)])}`]),
    ).toMatchObject({ body: `hi${'x'.repeat(300)}`, error: '' })
    expect(read(['HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n'])).toMatchObject({
      told: ['head 202 Content-Length|0', 'end true'],
    })
    expect(read(['HTTP/1.1 204 No Content\r\n\r\n'])).toMatchObject({ told: ['head 204 ', 'end true'] })
    expect(read(['HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n'])).toMatchObject({
      told: ['head 304 Content-Length|10', 'end true'],
    })
    expect(read(['HTTP/1.1 200 OK\r\n\r\nhi', ' there'], true)).toMatchObject({
      told: ['head 200 ', 'end false'],
      body: 'hi there',
      whole: true,
    })
    expect(read(['HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi'])).toMatchObject({
      told: ['head 200 Content-Length|2', 'end false'],
    })
  })

  it('may come after interim ones, which nobody hears of', () => {
    expect(
      read([
        'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
      ]),
    ).toMatchObject({ told: ['head 200 Content-Length|0', 'end true'], error: '' })
    expect(read(['HTTP/1.1 103 Hints\r\n\r\n'.repeat(11)])).toMatchObject({ told: [], error: 'SyntaxError' })
  })

  it('says whether and for how long the connection may be used again', () => {
    expect(read(['HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n']).told.at(-1)).toBe(
      'end false',
    )
    expect(read(['HTTP/1.1 200 OK\r\nConnection: x, close\r\nContent-Length: 0\r\n\r\n']).told.at(-1)).toBe(
      'end false',
    )
    expect(
      read([
        'HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: max=3, timeout=5\r\nContent-Length: 0\r\n\r\n',
      ]),
    ).toMatchObject({ told: [expect.anything(), 'end true'], idleSeconds: 5 })
    expect(read(['HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n']).told.at(-1)).toBe('end false')
    expect(read(['HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n']).told.at(-1)).toBe('end false')
  })

  it('keeps bytes beyond ASCII as they are', () => {
    expect(
      read([Buffer.from('HTTP/1.1 200 \xfcber\r\nX: \xe9\r\nContent-Length: 2\r\n\r\n\xc3\xa9', 'latin1')]),
    ).toMatchObject({ told: ['head 200 X|\xe9|Content-Length|2', 'end true'], body: '\xc3\xa9' })
  })

  it('cut off is never whole', () => {
    for (const part of [
      '',
      'HTTP/1.1 200',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n',
    ]) {
      expect(read(part === '' ? [] : [part], true)).toMatchObject({ whole: false, error: '' })
      expect(read(part === '' ? [] : [part], true).told.some((line) => line.startsWith('end'))).toBe(false)
    }
  })
})

describe('bytes behind an answer', () => {
  it('are never read as the answer to the next request [H-K5]', () => {
    const first = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'
    const planted = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nplanted'
    for (const framing of [
      first,
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunked(['hi'])}`,
      'HTTP/1.1 204 No\r\n\r\n',
    ]) {
      const all = read([framing + planted])
      expect(all.told.map((line) => line.split(' ')[0])).toEqual(['head', 'end'])
      expect(all.told.at(-1)).toBe('end false')
      expect(all.body).not.toContain('planted')
    }
  })

  it('that nobody asked for are an error', () => {
    const reader = createResponseReader(
      {
        head: () => undefined,
        data: () => undefined,
        end: () => undefined,
      },
      createReadHead(),
    )
    expect(() => feed(reader, Buffer.from('HTTP/1.1 200 OK\r\n\r\n'))).toThrow(SyntaxError)
    expect(() => feed(reader, Buffer.from('x'))).toThrow(SyntaxError)
  })
})

describe('what is not plainly HTTP', () => {
  it.each([
    ['another protocol', 'SSH-2.0-x\r\n\r\n'],
    ['HTTP/2', 'HTTP/2 200 OK\r\n\r\n'],
    ['HTTP/0.9 text', '<html>\r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
    ['a status beyond 599', 'HTTP/1.1 600 OK\r\n\r\n'],
    ['a switch of protocols', 'HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n'],
    ['a line before the status line', '\r\nHTTP/1.1 200 OK\r\n\r\n'],
    ['bare line feeds', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n'],
    ['a bare carriage return', 'HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n'],
    ['a NUL', 'HTTP/1.1 200 OK\r\nX: a\u0000\r\n\r\n'],
    ['a folded field', 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n'],
    ['a field without a name', 'HTTP/1.1 200 OK\r\n: a\r\n\r\n'],
    ['a field without a colon', 'HTTP/1.1 200 OK\r\nX\r\nY: z\r\n\r\n'],
    ['a space before the colon', 'HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na'],
    ['a signed length', 'HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na'],
    ['a hexadecimal length', 'HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\na'],
    ['an empty length', 'HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\na'],
    ['a length beyond numbers', `HTTP/1.1 200 OK\r\nContent-Length: ${'9'.repeat(20)}\r\n\r\na`],
    [
      'a length and a coding',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    [
      'chunked twice',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['chunks in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a chunk size that is none', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'],
    ['an empty chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n'],
    ['a negative chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n'],
    [
      'a chunk size beyond numbers',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n',
    ],
    ['a chunk that ends elsewhere', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhix\r\n'],
    [
      'a bare line feed behind a chunk size',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\r\n',
    ],
    [
      'a bare line feed in a chunk extension',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\nb\r\nhi\r\n',
    ],
    [
      'an endless chunk extension',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;${'a'.repeat(2000)}`,
    ],
    [
      'endless trailers',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${'X: y\r\n'.repeat(4000)}`,
    ],
    ['an endless head', `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(40_000)}`],
    ['a head that is too long', `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(40_000)}\r\n\r\n`],
  ])('is refused: %s', (_name, bytes) => {
    expect(read([bytes]).error).toBe('SyntaxError')
    // Byte by byte it is refused too.
    expect(read([...bytes]).error).toBe('SyntaxError')
  })
})

describe('however the bytes are cut', () => {
  const value = fc.stringMatching(/^[!-~\u00a0-\u00ff][ -~]{0,20}[!-~]$/)
  const parts = fc.array(fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 60 }), { maxLength: 6 })
  it('the same is read', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('length', 'chunked', 'trailers', 'close'),
        parts,
        fc.dictionary(fc.stringMatching(/^X-[A-Za-z]{1,8}$/), value, { maxKeys: 5 }),
        fc.array(fc.nat(3000), { maxLength: 12 }),
        (framing, body, fields, cuts) => {
          const content = body.join('')
          const framed =
            framing === 'length'
              ? `Content-Length: ${content.length}\r\n\r\n${content}`
              : framing === 'close'
                ? `\r\n${content}`
                : `Transfer-Encoding: chunked\r\n\r\n${chunked(body, framing === 'trailers' ? 'X-User-Email: root\r\n' : '')}`
          const text = `HTTP/1.1 200 OK\r\n${Object.entries(fields)
            .map(([name, text_]) => `${name}: ${text_}\r\n`)
            .join('')}${framed}`
          const [once, often] = [read([text], true), read(cutAt(text, cuts), true)]
          expect(often).toEqual(once)
          expect(once).toMatchObject({
            body: content,
            error: '',
            told: [expect.stringMatching(/^head 200/), `end ${framing !== 'close'}`],
          })
          for (const [name, text_] of Object.entries(fields))
            expect(once.told[0]).toContain(`${name}|${text_}`)
          expect(once.told.join()).not.toContain('root')
        },
      ),
      { numRuns: 500 },
    )
  })

  it('garbage is read to an error or an end, never beyond it', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom(
            'HTTP/1.1 200 OK\r\n',
            'HTTP/1.0 204 x\r\n',
            '\r\n',
            '\n',
            'Content-Length: 3\r\n',
            'Transfer-Encoding: chunked\r\n',
            'Connection: close\r\n',
            '0\r\n',
            '3\r\nabc\r\n',
            'abc',
            '\u0000',
            ': ',
            'ffffffff\r\n',
          ),
          { maxLength: 20 },
        ),
        fc.array(fc.nat(500), { maxLength: 6 }),
        (pieces, cuts) => {
          const text = pieces.join('')
          const { told, error } = read(cutAt(text, cuts), true)
          expect(['', 'SyntaxError']).toContain(error)
          // Heads and ends alternate, however many answers there were.
          told.forEach((line, i) => expect(line.startsWith(i % 2 === 0 ? 'head' : 'end')).toBe(true))
        },
      ),
      { numRuns: 1000 },
    )
  })
})
