// Bytes that no HTTP library would send: requests bent in every place where parsers are known to disagree,
// cut, glued together, or no requests at all.
import fc from 'fast-check'
import type { Loot } from './requests.ts'

const crlf = '\r\n'

/** Pieces of a request that one parser takes and another does not. */
const lines = (host: string) => ({
  target: fc.constantFrom(
    '/',
    '/echo/mcp',
    '/open/mcp',
    '/oauth/token',
    '/healthz',
    '//evil.test/mcp',
    '/\\evil.test',
    'http://evil.test/mcp',
    'evil.test:443',
    '*',
    '',
    '/a b',
    '/a\tb',
    '/%',
    '/..;/x',
    '/open/mcp#x',
    '/\u0000',
    '/é',
    `/${'a'.repeat(20_000)}`,
    '/echo/mcp HTTP/1.1\r\nX: y\r\n\r\nGET /',
  ),
  method: fc.constantFrom(
    'GET',
    'POST',
    'PUT',
    'DELETE',
    'OPTIONS',
    'HEAD',
    'TRACE',
    'CONNECT',
    'PRI',
    'PURGE',
    'get',
    'G E T',
    '',
    'GET\u0000',
    'M'.repeat(300),
  ),
  version: fc.constantFrom(
    'HTTP/1.1',
    'HTTP/1.1',
    'HTTP/1.1',
    'HTTP/1.0',
    'HTTP/0.9',
    'HTTP/2.0',
    'HTTP/1.9',
    'http/1.1',
    'HTTP/1.1 ',
    '',
    'HTTPS/1.1',
  ),
  end: fc.constantFrom(crlf, crlf, crlf, crlf, '\n', '\r', '\r\r\n', `${crlf} `),
  header: fc.constantFrom(
    `Host: ${host}`,
    `Host: ${host}`,
    `Host: ${host}`,
    'Host: evil.test',
    'Host:',
    `Host : ${host}`,
    ` Host: ${host}`,
    'Host: a b',
    'Host: [::1',
    'Host: user@evil',
    'Host: a/b?',
    `host: ${host}`,
    'Content-Length: 5',
    'Content-Length: 5',
    'Content-Length: 05',
    'Content-Length: +5',
    'Content-Length: -1',
    'Content-Length: 5, 5',
    'Content-Length: 5 6',
    'Content-Length: 0x5',
    'Content-Length: 99999999999999999999',
    'Content-Length: ',
    'Content-Length: 5\u0000',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: Chunked',
    'Transfer-Encoding: gzip, chunked',
    'Transfer-Encoding: chunked, identity',
    'Transfer-Encoding: xchunked',
    'Transfer-Encoding:\tchunked',
    'Transfer-Encoding: \u000bchunked',
    'Transfer_Encoding: chunked',
    'Transfer-Encoding: identity',
    'Transfer-Encoding : chunked',
    'TE: trailers',
    'Connection: close',
    'Connection: keep-alive',
    'Connection: X-User-Email, Authorization',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Upgrade: h2c',
    'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: x',
    'Expect: 100-continue',
    'Expect: 200-ok',
    'Authorization: Bearer x',
    'Authorization: Bearer x\r\nAuthorization: Bearer y',
    'Content-Type: application/json',
    'X-User-Id: root',
    'X_User_Id: root',
    'Cookie: a=b',
    ': novalue',
    'NoColon',
    'X: \u0000',
    'X: \u007f',
    `X: ${'y'.repeat(17_000)}`,
    'Folded: a\r\n b',
    'Mcp-Session-Id: \u00ff',
    'Trailer: X-User-Id',
  ),
  body: fc.constantFrom(
    '',
    '',
    'hello',
    '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
    '5\r\nhello\r\n0\r\n\r\n',
    '5;ext=1\r\nhello\r\n0\r\n\r\n',
    `5;${'e'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`,
    '0x5\r\nhello\r\n0\r\n\r\n',
    '-1\r\nhello\r\n',
    'FFFFFFFFFFFFFFFFF\r\nhello',
    '5\nhello\n0\n\n',
    '5\r\nhelloXX0\r\n\r\n',
    '0\r\nX-User-Id: root\r\n\r\n',
    '0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n',
    '5\r\nhel',
  ),
})

const request = (loot: Loot): fc.Arbitrary<string> => {
  const host = new URL(loot.origin).host
  const { target, method, version, end, header, body } = lines(host)
  const held = fc.constantFrom(
    `Authorization: Bearer ${loot.accessToken}`,
    `Cookie: ${loot.cookie}`,
    'Accept: application/json, text/event-stream',
  )
  const fields = fc.array(fc.oneof({ weight: 8, arbitrary: header }, { weight: 1, arbitrary: held }), {
    maxLength: 9,
  })
  return fc
    .tuple(
      method,
      target,
      version,
      fc.constantFrom([`Host: ${host}`], [`Host: ${host}`], [`Host: ${host}`], []),
      fields,
      end,
      body,
    )
    .map(
      ([verb, where, protocol, first, more, line, rest]) =>
        [`${verb} ${where} ${protocol}`, ...first, ...more, '', ''].join(line) + rest,
    )
}

const flooded = fc
  .integer({ min: 100, max: 1500 })
  .map(
    (n) =>
      `GET / HTTP/1.1\r\nHost: x\r\n${Array.from({ length: n }, (_, i) => `X-${i}: y`).join(crlf)}\r\n\r\n`,
  )
const noise = fc.oneof(
  fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  // A TLS hello, the HTTP/2 preface, a SOCKS and a PROXY greeting, an RTSP request.
  fc.constantFrom(
    '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u0000\u0000\u0000\u0004\u0000\u0000\u0000\u0000\u0000',
    '\u0005\u0001\u0000',
    'PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n',
    'OPTIONS rtsp://x RTSP/1.0\r\n\r\n',
    '\r\n\r\n\r\n',
  ),
)

/** latin1 text of what goes down one connection. */
export const bytes = (loot: Loot): fc.Arbitrary<string> => {
  const one = request(loot)
  const cut = fc
    .tuple(one, fc.double({ min: 0, max: 1, noNaN: true }))
    .map(([text, part]) => text.slice(0, Math.floor(text.length * part)))
  const struck = fc
    .tuple(
      one,
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }),
    )
    .map(([text, marks]) => {
      const out = [...text]
      for (const [at, byte] of marks) if (out.length > 0) out[at % out.length] = String.fromCharCode(byte)
      return out.join('')
    })
  const glued = fc.array(one, { minLength: 2, maxLength: 5 }).map((all) => all.join(''))
  return fc.oneof(
    { weight: 6, arbitrary: one },
    { weight: 2, arbitrary: cut },
    { weight: 3, arbitrary: struck },
    { weight: 2, arbitrary: glued },
    { weight: 1, arbitrary: noise },
    { weight: 1, arbitrary: flooded },
  )
}
