// Where a call goes and what comes back of the answer.
import { describe, expect, it } from 'vitest'
import { parseConfig } from '../../src/config/schema.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import type { Service } from '../../src/ports/services.ts'
import { createRefuse } from '../../src/proxy/outcome.ts'
import { createCors, isNormalQuery } from '../../src/proxy/resolve.ts'
import { createRelay } from '../../src/proxy/client-response.ts'
import { createTarget } from '../../src/proxy/upstream-endpoint.ts'

const target = (url: string) => createTarget({ id: 'x', upstream: { kind: 'http', url } } as Service)
const pathOf = (url: string, rest: string, query: string): string => {
  const upstream = target(url).upstream(rest, query)
  return upstream.kind === 'http' ? `${upstream.origin}${upstream.path}` : ''
}

describe('the target of a call', () => {
  it('is the configured endpoint with what followed ours', () => {
    expect(pathOf('http://up:1/mcp', '', '')).toBe('http://up:1/mcp')
    expect(pathOf('http://up:1/mcp/', '', '')).toBe('http://up:1/mcp/')
    expect(pathOf('http://up:1/mcp/', '/a/b', 'x=1&y')).toBe('http://up:1/mcp/a/b?x=1&y')
    expect(pathOf('http://up:1/base/mcp?key=1', '/a', 'x=1')).toBe('http://up:1/base/mcp/a?key=1&x=1')
    expect(target('https://user:secret@up.test/mcp?key=1').shown).toBe('https://up.test/mcp')
  })

  it('never carries a token in its query, nor the caller’s word for a configured parameter [B4] [H-J4]', () => {
    expect(pathOf('http://up/mcp', '', 'access_token=secret&x=1')).toBe('http://up/mcp?x=1')
    expect(pathOf('http://up/mcp', '', 'access%5Ftoken=secret')).toBe('http://up/mcp')
    expect(pathOf('http://up/mcp?key=1', '', 'key=2&k%65y=3&other=4')).toBe('http://up/mcp?key=1&other=4')
    expect(pathOf('http://up/mcp', '', '%zz=1&&x=2')).toBe('http://up/mcp?x=2')
  })

  it('has a query of visible ASCII without a fragment', () => {
    for (const query of ['', 'a=b&c', 'x=%00', "it's=1"]) expect(isNormalQuery(query)).toBe(true)
    for (const query of ['a b', 'x#', '#', 'a\\b', 'é', '\u0000', 'x'.repeat(9000)])
      expect(isNormalQuery(query)).toBe(false)
  })
})

describe('the answer of an upstream', () => {
  const inert = [
    ...['X-Content-Type-Options', 'nosniff'],
    ...['Content-Security-Policy', "sandbox; default-src 'none'; frame-ancestors 'none'"],
  ]
  const relay = createRelay()
  const about = { service: 'demo', modern: false, asks: false, extra: ['X-Request-Id', 'r1'] }
  const codeOf = (status: number): string => {
    try {
      relay(status, [], about)
    } catch (error) {
      return (error as Refusal).code
    }
    return 'passed'
  }

  it('passes as it is, minus what belongs to another hop, another login or the whole origin', () => {
    const sent = [
      'Content-Type',
      'application/json',
      'Content-Length',
      '2',
      'Mcp-Session-Id',
      's',
      'ETag',
      '"x"',
      'X-Thing',
      '1',
      'Cache-Control',
      'private',
    ]
    const dropped = [
      'Connection',
      'x',
      'Keep-Alive',
      '1',
      'Transfer-Encoding',
      'chunked',
      'Set-Cookie',
      'a=b',
      'WWW-Authenticate',
      'Bearer',
      'Access-Control-Allow-Origin',
      '*',
      'access-control-anything',
      '1',
      'Strict-Transport-Security',
      'x',
      'Clear-Site-Data',
      '"*"',
      'Alt-Svc',
      'h3=":1"',
      'Trailer',
      'x',
      'X-Request-Id',
      'theirs',
      'Refresh',
      '0;url=x',
      'Cross-Origin-Opener-Policy',
      'x',
    ]
    const head = relay(200, [...sent, ...dropped], about)
    expect(head.headers).toEqual([...sent, ...inert, 'X-Request-Id', 'r1'])
    expect(head).toMatchObject({ status: 200, events: false, session: 's' })
  })

  it('that is a stream of events is marked for every buffer on its way [C1]', () => {
    const head = relay(200, ['content-type', 'text/event-stream; charset=utf-8'], about)
    expect(head.events).toBe(true)
    expect(head.headers.join(': ')).toContain('X-Accel-Buffering: no')
  })

  it('is put in a sandbox, whatever its type', () => {
    for (const [status, type] of [
      [200, 'application/json; charset=utf-8'],
      [404, 'text/html'],
    ] as const) {
      expect(relay(status, ['content-type', type], about).headers).toEqual([
        'content-type',
        type,
        ...inert,
        'X-Request-Id',
        'r1',
      ])
    }
  })

  it('has one media type, of those that servers of MCP use', () => {
    for (const fields of [
      ['content-type', 'text/html'],
      ['content-type', 'application/json', 'Content-Type', 'application/json'],
    ]) {
      expect(() => relay(200, fields, about)).toThrow('upstream.media-type')
    }
  })

  it('carries no session on a revision that has none [C7]', () => {
    expect(relay(200, ['Mcp-Session-Id', 's'], { ...about, modern: true })).toMatchObject({
      session: undefined,
      headers: expect.not.arrayContaining(['Mcp-Session-Id']),
    })
  })

  it('is never a login of its own, and never a way elsewhere [H-K7]', () => {
    expect([401, 407].map(codeOf)).toEqual(['upstream.credential', 'upstream.credential'])
    expect([300, 301, 302, 303, 307, 308].map(codeOf)).toEqual(
      Array.from({ length: 6 }, () => 'upstream.redirect'),
    )
    expect([200, 202, 204, 304, 400, 403, 404, 405, 429, 500, 503].map(codeOf)).toEqual(
      Array.from({ length: 11 }, () => 'passed'),
    )
    expect([101, 600, 999].map(codeOf)).toEqual(['upstream.answer', 'upstream.answer', 'upstream.answer'])
  })
})

describe('a refusal', () => {
  const lines: unknown[] = []
  const refuse = createRefuse({
    always: [],
    cors: createCors({ cors: parseConfig({}).cors, origins: ['https://gw.test'], debug: false }),
    log: (...line) => void lines.push(line),
  })
  const about = {
    rawHeaders: ['Origin', 'https://app.test'],
    requestId: 'r1',
    rpcId: 7,
    method: 'POST',
    target: '/demo/mcp?key=1',
    ip: '192.0.2.1',
  }

  it('is one JSON-RPC error with its request’s id, readable across origins, with a code outside the reserved range [C15]', () => {
    const answer = refuse(
      new Refusal('upstream.timeout', 'why not', { say: 'Request to Demo timed out' }),
      about,
    )
    expect(answer.status).toBe(504)
    expect(JSON.parse(answer.body)).toEqual({
      jsonrpc: '2.0',
      id: 7,
      error: {
        code: 1504,
        message: 'Request to Demo timed out',
        data: { code: 'upstream.timeout', request_id: 'r1' },
      },
    })
    expect(answer.headers).toEqual(
      expect.arrayContaining([
        'Access-Control-Allow-Origin',
        '*',
        'X-Request-Id',
        'r1',
        'Cache-Control',
        'no-store',
      ]),
    )
    expect(answer.body).not.toContain('why')
  })

  it('of a foreign origin is a plain sentence', () => {
    const answer = refuse(new Refusal('request.origin'), about)
    expect(answer).toMatchObject({ status: 403, body: 'Unauthorized origin' })
    expect(answer.headers).toContain('text/plain; charset=utf-8')
  })

  it('hides what went wrong inside, and tells the operator', () => {
    const answer = refuse(new TypeError('secret detail'), about)
    expect(answer.status).toBe(500)
    expect(answer.body).not.toContain('secret')
    expect(JSON.stringify(lines)).toContain('secret detail')
  })
})
