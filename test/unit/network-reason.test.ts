// What the network said, in one line: the innermost cause with its code, and its kind for people.
import { describe, expect, it } from 'vitest'
import { isLostConnection, networkCause, networkReason } from '../../src/kit/log.ts'

const coded = (message: string, code: string, more: object = {}): Error =>
  Object.assign(new Error(message), { code }, more)

describe('the reason', () => {
  it.each([
    [
      new TypeError('fetch failed', { cause: coded('getaddrinfo ENOTFOUND mcp.invalid', 'ENOTFOUND') }),
      'getaddrinfo ENOTFOUND mcp.invalid',
    ],
    [
      new TypeError('fetch failed', {
        cause: coded('self-signed certificate', 'DEPTH_ZERO_SELF_SIGNED_CERT'),
      }),
      'DEPTH_ZERO_SELF_SIGNED_CERT: self-signed certificate',
    ],
    [
      new TypeError('fetch failed', { cause: coded('other side closed', 'UND_ERR_SOCKET') }),
      'other side closed',
    ],
    [
      Object.assign(
        new AggregateError([
          coded('connect ECONNREFUSED ::1:1', 'ECONNREFUSED'),
          coded('connect ECONNREFUSED 127.0.0.1:1', 'ECONNREFUSED'),
        ]),
        { code: 'ECONNREFUSED' },
      ),
      'connect ECONNREFUSED ::1:1; connect ECONNREFUSED 127.0.0.1:1',
    ],
    [coded('', 'EPIPE'), 'EPIPE'],
    ['a text', 'a text'],
    [undefined, 'undefined'],
    [new Error('two\r\nlines'), 'two lines'],
    [new Error('x'.repeat(500)), 'x'.repeat(300)],
  ])('of %s', (error, reason) => expect(networkReason(error)).toBe(reason))
})

it.each([
  ['https://a.example: getaddrinfo ENOTFOUND a.example', 'its name could not be resolved (DNS)'],
  ['https://a.example: connect ECONNREFUSED 192.0.2.1:443', 'it refused the connection'],
  [
    'https://a.example: DEPTH_ZERO_SELF_SIGNED_CERT: self-signed certificate',
    'its TLS certificate is not trusted, or it does not support TLS',
  ],
  [
    'https://a.example: the proxy http://p.example:3128 answered 403 to CONNECT a.example:443',
    'the HTTP proxy of this gateway could not connect to it',
  ],
  [
    'https://a.example: the proxy http://p.example:3128 cannot be reached: connect ECONNREFUSED 192.0.2.1:3128',
    'the HTTP proxy of this gateway could not connect to it',
  ],
  ['https://a.example: The operation was aborted due to timeout', 'it did not respond in time'],
  ['https://proxy.example: something else', undefined],
])('%s: %s', (reason, cause) => expect(networkCause(reason)).toBe(cause))

it.each([
  [coded('read ECONNRESET', 'ECONNRESET', { syscall: 'read' }), true],
  [coded('write EPIPE', 'EPIPE'), true],
  [coded('the other side closed', 'ECONNRESET'), true],
  [new TypeError('fetch failed', { cause: coded('other side closed', 'UND_ERR_SOCKET') }), true],
  [coded('connect ECONNREFUSED 127.0.0.1:9', 'ECONNREFUSED'), false],
  [coded('connect ECONNRESET 127.0.0.1:9', 'ECONNRESET'), false],
  [
    coded('Client network socket disconnected before secure TLS connection was established', 'ECONNRESET'),
    false,
  ],
  [coded('the proxy http://p.example:1 broke off: read ECONNRESET', 'ERR_PROXY'), false],
  [coded('getaddrinfo ENOTFOUND a.example', 'ENOTFOUND'), false],
])('%s is a connection that was made and lost: %s', (error, lost) =>
  expect(isLostConnection(error)).toBe(lost),
)
