// Bytes that no HTTP library sends, on the real socket of the Node door: framing, hosts, targets, upgrades,
// expectations.
import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type TestGateway, openOnSocket } from '../runtimes/runtimes.ts'
import { ana, tokenOf } from '../runtimes/people.ts'
import { sendRaw } from '../runtimes/raw.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let upstream: Upstream
let house: TestGateway
let port: number
let host: string
let token: string
const body = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
const post = (lines: readonly string[], content = body): string =>
  [`POST /open/mcp HTTP/1.1`, `Host: ${host}`, 'Content-Type: application/json', ...lines, '', content].join(
    '\r\n',
  )

beforeAll(async () => {
  upstream = await openUpstream()
  house = await openOnSocket({
    upstream: upstream.url,
    config: {
      local_users: [ana],
      mcp_services: { open: { url: upstream.url, auth_required: false, max_body: 65_536 } },
    },
  })
  host = new URL(house.origin).host
  port = Number(new URL(house.origin).port)
  token = await tokenOf(house, ana, `${house.origin}/echo/mcp`)
})
afterAll(async () => {
  await house.close()
  await upstream.close()
})
beforeEach(() => void (upstream.heard.length = 0))

const send = (bytes: string) =>
  sendRaw(port, bytes, {
    enough: (text) =>
      /\r\n\r\n/.test(text) && /HTTP\/1\.1 [2-5]/.test(text) && !text.includes('HTTP/1.1 100'),
  })

describe('never believes a request that two servers read differently', () => {
  it.each([
    [
      'Content-Length and Transfer-Encoding',
      ['Content-Length: 4', 'Transfer-Encoding: chunked'],
      '0\r\n\r\nGET /open/mcp HTTP/1.1\r\nHost: x\r\n\r\n',
    ],
    ['Transfer-Encoding twice', ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], '0\r\n\r\n'],
    ['chunked, identity', ['Transfer-Encoding: chunked, identity'], '0\r\n\r\n'],
    ['identity, chunked', ['Transfer-Encoding: identity, chunked'], '0\r\n\r\n'],
    ['xchunked', ['Transfer-Encoding: xchunked'], '0\r\n\r\n'],
    ['a space before the colon', ['Transfer-Encoding : chunked'], '0\r\n\r\n'],
    ['two different lengths', ['Content-Length: 0', 'Content-Length: 5'], 'AAAAA'],
    ['a list of lengths', ['Content-Length: 5, 5'], 'AAAAA'],
    ['a length with a sign', ['Content-Length: +5'], 'AAAAA'],
    ['a negative length', ['Content-Length: -1'], ''],
    ['a length in hex', ['Content-Length: 0x5'], 'AAAAA'],
    ['a length beyond numbers', ['Content-Length: 99999999999999999999999'], ''],
    ['a chunk size beyond numbers', ['Transfer-Encoding: chunked'], 'ffffffffffffffff1\r\nA\r\n0\r\n\r\n'],
    ['a bare line feed in a chunk extension', ['Transfer-Encoding: chunked'], '1;a\nb\r\nA\r\n0\r\n\r\n'],
    ['a folded header', ['X: a', ' b', 'Content-Length: 0'], ''],
    ['a NUL in a value', ['X: a\u0000b', 'Content-Length: 0'], ''],
    ['a space in a name', ['X Y: b', 'Content-Length: 0'], ''],
    ['a bare CR in a value', ['X: a\rY: b', 'Content-Length: 0'], ''],
  ])('%s', async (_name, lines, content) => {
    const answer = await send(post(lines, content))
    expect(answer.statuses[0]).toBe(400)
    expect(answer.statuses).toHaveLength(1)
    expect(upstream.heard).toEqual([])
  })
})

describe('never takes its address from the caller', () => {
  it.each([
    ['two Host headers', (h: string) => `GET /open/mcp HTTP/1.1\r\nHost: ${h}\r\nHost: evil.test\r\n\r\n`],
    [
      'two Host headers, the evil one first',
      (h: string) => `GET /open/mcp HTTP/1.1\r\nHost: evil.test\r\nHost: ${h}\r\n\r\n`,
    ],
    ['the same Host twice', (h: string) => `GET /open/mcp HTTP/1.1\r\nHost: ${h}\r\nhOST: ${h}\r\n\r\n`],
    ['no Host', () => 'GET /open/mcp HTTP/1.1\r\n\r\n'],
    ['an empty Host', () => 'GET /open/mcp HTTP/1.1\r\nHost: \r\n\r\n'],
    ['a Host with a path', (h: string) => `GET /open/mcp HTTP/1.1\r\nHost: ${h}/public?\r\n\r\n`],
    ['a Host with userinfo', (h: string) => `GET /open/mcp HTTP/1.1\r\nHost: user@${h}\r\n\r\n`],
    ['a Host with a port beyond ports', () => 'GET /open/mcp HTTP/1.1\r\nHost: localhost:99999\r\n\r\n'],
    ['a Host with a space', () => 'GET /open/mcp HTTP/1.1\r\nHost: a b\r\n\r\n'],
    ['a Host of 300 bytes', () => `GET /open/mcp HTTP/1.1\r\nHost: ${'x'.repeat(300)}\r\n\r\n`],
    ['half an IPv6 address', () => 'GET /open/mcp HTTP/1.1\r\nHost: [::1\r\n\r\n'],
    [
      'an absolute target elsewhere',
      (h: string) => `GET http://evil.test/open/mcp HTTP/1.1\r\nHost: ${h}\r\n\r\n`,
    ],
    ['an absolute target here', (h: string) => `GET http://${h}/open/mcp HTTP/1.1\r\nHost: ${h}\r\n\r\n`],
    ['a target of two slashes', (h: string) => `GET //evil.test/open/mcp HTTP/1.1\r\nHost: ${h}\r\n\r\n`],
    [
      'a target of slash and backslash',
      (h: string) => `GET /\\evil.test/open/mcp HTTP/1.1\r\nHost: ${h}\r\n\r\n`,
    ],
    ['a target with a fragment', (h: string) => `GET /open/mcp?x# HTTP/1.1\r\nHost: ${h}\r\n\r\n`],
    [
      'the metadata by an absolute target elsewhere',
      (h: string) =>
        `GET http://evil.test/.well-known/oauth-authorization-server HTTP/1.1\r\nHost: ${h}\r\n\r\n`,
    ],
  ])('%s [B6] [H-A4, H-A6, H-A7]', async (_name, request) => {
    const answer = await send(request(host))
    expect(answer.statuses[0]).toBe(400)
    expect(answer.text).not.toContain('evil.test')
    expect(upstream.heard).toEqual([])
    expect((await house.fetch(`${house.origin}/health`)).status).toBe(200)
  })

  it('a Host that is another name [B6]', async () => {
    for (const name of [
      'evil.test',
      `evil.test:${port}`,
      `localhost.evil.test:${port}`,
      `localhost:${port + 1}`,
    ]) {
      for (const path of ['/open/mcp', '/.well-known/oauth-authorization-server', '/'])
        expect((await send(`GET ${path} HTTP/1.1\r\nHost: ${name}\r\n\r\n`)).statuses[0]).toBe(421)
    }
    expect(upstream.heard).toEqual([])
  })
})

describe('never finds a service behind a path that means something else', () => {
  it.each([
    '/open/mcp/..;/admin',
    '/open/mcp/%2e%2e/admin',
    '/open/mcp%23',
    '/open/..%2fmcp',
    '/open/mcp/%c0%ae%c0%ae/x',
    '/open//mcp',
    '/open/./mcp',
    '/echo/mcp/../../open/mcp',
    '/open/mcp;x',
    '/OPEN/mcp',
    '/open%2fmcp',
    '/open/mcp%00',
  ])('%s [H-J4, H-K11]', async (path) => {
    const answer = await send(
      `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
    // The plain way answers a page's address to GET alone.
    expect([400, 401, 404, 405]).toContain(answer.statuses[0])
    expect(upstream.heard).toEqual([])
  })

  it('raw bytes beyond ASCII [H-K11]', async () => {
    expect(
      (await send(`POST /open/mcp/\u00ff HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\n\r\n`))
        .statuses[0],
    ).toBe(400)
    expect(upstream.heard).toEqual([])
  })
})

describe('never speaks another protocol on the same socket', () => {
  it.each([
    [
      'h2c',
      (h: string) =>
        `GET /open/mcp HTTP/1.1\r\nHost: ${h}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`,
      400,
    ],
    [
      'foo',
      (h: string) => `GET /open/mcp HTTP/1.1\r\nHost: ${h}\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n`,
      400,
    ],
    ['the HTTP/2 preface', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['HTTP/0.9', () => 'GET /open/mcp\r\n\r\n', 400],
    ['CONNECT', (h: string) => `CONNECT evil.test:443 HTTP/1.1\r\nHost: ${h}\r\n\r\n`, 405],
    ['TRACE', (h: string) => `TRACE /open/mcp HTTP/1.1\r\nHost: ${h}\r\n\r\n`, 405],
    ['PURGE', (h: string) => `PURGE /open/mcp HTTP/1.1\r\nHost: ${h}\r\n\r\n`, 405],
    ['lower-case methods', (h: string) => `post /open/mcp HTTP/1.1\r\nHost: ${h}\r\n\r\n`, 400],
    [
      'GET with a body',
      (h: string) => `GET /open/mcp HTTP/1.1\r\nHost: ${h}\r\nContent-Length: 5\r\n\r\nAAAAA`,
      400,
    ],
    ['OPTIONS of everything', (h: string) => `OPTIONS * HTTP/1.1\r\nHost: ${h}\r\n\r\n`, 400],
  ])('%s [H-K6, H-K15]', async (_name, request, status) => {
    expect((await send(request(host))).statuses[0]).toBe(status)
    expect(upstream.heard).toEqual([])
  })
})

describe('never lets framing carry what headers may not', () => {
  it('an identity in a trailer [B5] [H-K4]', async () => {
    const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\nX-User-Email: root@evil.test\r\nAuthorization: Bearer x\r\n\r\n`
    const answer = await send(post(['Transfer-Encoding: chunked', 'Trailer: X-User-Email'], chunked))
    expect(answer.statuses[0]).toBe(200)
    expect(JSON.stringify(upstream.heard)).not.toMatch(/root@evil|Trailer/i)
    expect(upstream.heard[0]?.body).toBe(body)
  })

  it('an identity hidden behind Connection, nor does Connection remove the gateway’s own [H-K2]', async () => {
    const answer = await send(
      `POST /echo/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nAuthorization: Bearer ${token}\r\nConnection: X-User-Email, Authorization, x-mcp-identity, keep-alive\r\nX-User-Email: root@evil.test\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
    expect(answer.statuses[0]).toBe(200)
    expect(upstream.heard[0]?.headers).toMatchObject({
      'x-user-email': 'ana@example.com',
      'x-mcp-identity': expect.stringMatching(/^ey/),
    })
    expect(upstream.heard[0]?.headers).not.toHaveProperty('authorization')
  })

  it('an identity in another spelling of its name [B5] [H-L1]', async () => {
    const names = [
      'X-User-Email',
      'x-user-email',
      'X_User_Email',
      'X-User_Email',
      'X_USER-EMAIL',
      'X-User-Email ',
      'Mcp_Session_Id',
      'X-Forwarded_User',
    ]
    const legal = names.filter((name) => !name.endsWith(' '))
    const lines = legal.map((name) => `${name}: root@evil.test`).join('\r\n')
    await send(
      `POST /echo/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nAuthorization: Bearer ${token}\r\n${lines}\r\nX-User-Email: \t root@evil.test \t\r\nX-User-Name:\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
    expect(JSON.stringify(upstream.heard[0]?.rawHeaders)).not.toContain('root@evil.test')
    expect(upstream.heard[0]?.rawHeaders.filter((name) => /^x.user.email$/i.test(name))).toEqual([
      'X-User-Email',
    ])
  })

  it('the rights of one pipelined request to the next [H-K5]', async () => {
    const anonymous = `POST /open/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    const guarded = `POST /echo/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    const allowed = `POST /echo/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`
    const answer = await sendRaw(port, anonymous + guarded + allowed)
    expect(answer.statuses).toEqual([200, 401, 200])
    expect(upstream.heard.map(({ headers }) => headers['x-user-id'])).toEqual([undefined, 'ana'])
  })

  it('half a request to the upstream [H-K5]', async () => {
    await new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(post([`Content-Length: ${body.length + 10}`]))
        setImmediate(() => socket.destroy())
      })
      socket.on('close', () => resolve())
    })
    expect((await house.fetch(`${house.origin}/health`)).status).toBe(200)
    expect(upstream.heard).toEqual([])
  })
})

describe('never asks for a body it will not take', () => {
  it('from a caller it does not know [H-K6]', async () => {
    const head = `POST /echo/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: ${body.length}\r\n`
    const refused = await sendRaw(port, `${head}\r\n`, { enough: (text) => text.includes('\r\n\r\n') })
    expect(refused.statuses).toEqual([401])
    const asked = await sendRaw(port, `${head}Authorization: Bearer ${token}\r\n\r\n`, {
      enough: (text) => text.includes('\r\n\r\n'),
    })
    expect(asked.statuses).toEqual([100])
    const other = await sendRaw(
      port,
      `POST /echo/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nExpect: 200-maybe\r\nContent-Length: 0\r\n\r\n`,
    )
    expect(other.statuses).toEqual([417])
    expect(upstream.heard).toEqual([])
  })

  it('beyond the bound, announced or not, and closes the connection [H-R3]', async () => {
    const announced = await send(post(['Content-Length: 70000'], ''))
    expect(announced.statuses[0]).toBe(413)
    expect(announced.text.toLowerCase()).toContain('connection: close')
    const piece = `8000\r\n${'x'.repeat(0x8000)}\r\n`
    const streamed = await sendRaw(port, post(['Transfer-Encoding: chunked'], piece + piece + piece), {
      enough: (text) => text.includes('413'),
    })
    expect(streamed.statuses[0]).toBe(413)
    expect(upstream.heard).toEqual([])
  })

  it('with a head that is too large [H-R4]', async () => {
    const huge = await sendRaw(
      port,
      `GET /open/mcp HTTP/1.1\r\nHost: ${host}\r\nX: ${'a'.repeat(17_000)}\r\n\r\n`,
    )
    expect([huge.statuses[0], huge.closed]).toEqual([431, true])
  })
})

describe('never gives a caller its token back, nor an upstream', () => {
  it('for any malformed credential [B4] [H-J1, H-L8]', async () => {
    const bad = [
      'Bearer garbage',
      `bearer  x${token}`,
      'Bearer',
      'Bearer ',
      `Basic ${Buffer.from('a:b').toString('base64')}`,
      `Bearer ${token},${token}`,
      `Bearer ${'a'.repeat(9000)}`,
      `Bearer ${token.slice(0, -3)}`,
      token,
    ]
    for (const value of bad) {
      const answer = await send(
        `POST /echo/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nUser-Agent: kube-probe/1.0\r\nAuthorization: ${value}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      )
      expect([value.slice(0, 20), answer.statuses[0]]).toEqual([value.slice(0, 20), 401])
      expect(answer.text).not.toContain(token)
    }
    const twice = await send(
      `POST /echo/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nAuthorization: Bearer ${token}\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
    expect(twice.statuses[0]).toBe(400)
    const lower = await send(
      `POST /echo/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nauthorization: bearer ${token}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
    expect(lower.statuses[0]).toBe(200)
    expect(upstream.heard).toHaveLength(1)
    expect(JSON.stringify(upstream.heard)).not.toContain(token)
  })
})
