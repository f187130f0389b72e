// The transport over real HTTP: what reaches the upstream, what comes back, and what never gets that far.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { type Caller, callerOf } from '../runtimes/people.ts'
import { call, modernCall, modernHeaders, openProxied, type Proxied, until } from '../runtimes/proxied.ts'
import type { Upstream } from '../runtimes/upstream.ts'

describe.each(runtimes)('%s', (house_, open) => {
  let proxied: Proxied
  let house: TestGateway
  let upstream: Upstream
  let caller: Caller
  const heard = () => proxied.heard()

  beforeAll(async () => {
    proxied = await openProxied(open)
    ;({ house, upstream, caller } = proxied)
  }, 120_000)
  afterAll(() => proxied.close())
  beforeEach(() => proxied.clear())

  it('passes POST, GET and DELETE to the one endpoint, and answers of both kinds back [C1]', async () => {
    const answer = await caller.post(call())
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json'])
    expect(((await answer.json()) as { id: unknown }).id).toBe(7)
    const stream = caller.get()
    await until(() => proxied.held.length === 1, 'the GET')
    proxied.held[0]!.writeHead(200, { 'content-type': 'text/event-stream' }).end('id: 1\ndata: {}\n\n')
    const events = await stream
    expect(await events.text()).toBe('id: 1\ndata: {}\n\n')
    expect(events.headers.get('x-accel-buffering')).toBe('no')
    expect((await caller.post({ jsonrpc: '2.0', method: 'notifications/initialized' })).status).toBe(202)
    expect((await caller.delete()).status).toBe(200)
    expect(upstream.heard.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'POST /mcp',
      'GET /mcp',
      'POST /mcp',
      'DELETE /mcp',
    ])
  })

  it('passes each event on before the next one is written, byte for byte [C1] [C2] [C3]', async () => {
    const answer = caller.post(call('hold'))
    await until(() => proxied.held.length === 1, 'the call')
    const pieces = [
      'id: 7-1\r\nretry: 100\r\ndata:\r\n\r\n',
      ': comment\n\ndata: {"a":1}\ndata: 2\n\n',
      'event: x\ndata: é\n\n',
    ]
    proxied.held[0]!.writeHead(200, { 'content-type': 'text/event-stream' }).write(': here it comes\n\n')
    const reader = (await answer).body!.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader.read()).value).toBe(': here it comes\n\n')
    for (const piece of pieces) {
      proxied.held[0]!.write(piece)
      let got = ''
      while (got.length < piece.length) got += (await reader.read()).value
      expect(got).toBe(piece)
    }
    proxied.held[0]!.end()
    expect((await reader.read()).done).toBe(true)
  })

  it('keeps sub-path and query, and lets no token travel in it [B4]', async () => {
    const below = callerOf(
      house,
      `${house.origin}/echo/mcp/a/b%20c?x=1&access_token=${caller.token}&y`,
      caller.token,
    )
    expect((await below.post(call())).status).toBe(200)
    expect(heard()?.url).toBe('/mcp/a/b%20c?x=1&y')
    const inQuery = callerOf(house, `${house.origin}/echo/mcp?access_token=${caller.token}`, '')
    expect((await inQuery.post(call())).status).toBe(401)
    const slash = callerOf(house, `${house.origin}/echo/mcp/`, caller.token)
    expect((await slash.post(call())).status).toBe(200)
    expect(heard()?.url).toBe('/mcp')
  })

  it('refuses an unknown revision in the words of the first gateway, and passes a known or a missing one unchanged [C2] [H-J14]', async () => {
    for (const version of ['1999-01-01', '2025-06-19', 'x']) {
      const all = ['2026-07-28', '2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']
      // A client that sends Mcp-Method names a revision on each request, and may try again only with one that
      // can be named so.
      for (const [fields, supported] of [
        [{}, all],
        [{ 'mcp-method': 'tools/call' }, ['2026-07-28']],
      ] as const) {
        const response = await caller.post(call('whoami', 'id-1'), {
          'mcp-protocol-version': version,
          ...fields,
        })
        expect(response.status).toBe(400)
        const message = `Unsupported MCP protocol version: ${version}. Supported versions: ${supported.join(', ')}`
        const data = {
          supported,
          requested: version,
          code: 'mcp.version',
          request_id: response.headers.get('x-request-id'),
        }
        expect(await response.json()).toEqual({
          jsonrpc: '2.0',
          id: 'id-1',
          error: { code: -32022, message, data },
        })
      }
      expect(
        (await callerOf(house, caller.url, '').post(call(), { 'mcp-protocol-version': version })).status,
      ).toBe(400)
    }
    expect(upstream.heard).toEqual([])
    for (const version of ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']) {
      expect((await caller.post(call(), { 'mcp-protocol-version': version })).status).toBe(200)
      expect(heard()?.headers['mcp-protocol-version']).toBe(version)
    }
    await caller.post(call())
    expect(heard()?.headers).not.toHaveProperty('mcp-protocol-version')
    expect(
      (
        await house.fetch(`${house.origin}/.well-known/oauth-protected-resource/echo/mcp`, {
          headers: { 'mcp-protocol-version': 'x' },
        })
      ).status,
    ).toBe(200)
  })

  it('lets a 2026-07-28 request through when it agrees with itself, without sessions, and answers each disagreement [C7] [C8] [C16] [H-M10, H-J13]', async () => {
    expect(
      (
        await caller.post(modernCall(), {
          ...modernHeaders(),
          'mcp-session-id': 'of somebody',
          'last-event-id': '4',
        })
      ).status,
    ).toBe(200)
    const { headers, body } = heard()!
    expect(headers).toMatchObject({
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'whoami',
    })
    expect(headers).not.toHaveProperty('mcp-session-id')
    expect(headers).not.toHaveProperty('last-event-id')
    expect(body).toBe(JSON.stringify(modernCall()))
    upstream.heard.length = 0
    const answers = [
      [await caller.post(modernCall(), modernHeaders('other')), -32020],
      [await caller.post(modernCall(), { 'mcp-method': 'tools/call', 'mcp-name': 'whoami' }), -32020],
      [await caller.post(call(), modernHeaders()), -32602],
      [await caller.post([modernCall()], modernHeaders()), -32600],
      [await caller.post('{"jsonrpc":', modernHeaders()), -32700],
      [await caller.post('', modernHeaders()), -32700],
    ] as const
    for (const [response, code] of answers) {
      expect(response.status).toBe(400)
      expect(await response.json()).toMatchObject({ error: { code } })
    }
    expect(upstream.heard).toEqual([])
  })

  it('passes batches of the revisions that have them as they are [C4]', async () => {
    const batch = [call('a', 1), call('b', 2)]
    expect(await (await caller.post(batch, { 'mcp-protocol-version': '2025-03-26' })).json()).toEqual(batch)
    expect(heard()?.body).toBe(JSON.stringify(batch))
  })

  it('refuses a batch of more than a hundred messages, and an empty one, before the server hears of it [C4]', async () => {
    const answers = [
      Array.from({ length: 101 }, (_, id) => call('a', id)),
      `[${'{},'.repeat(135_299)}{}]`,
      [],
    ]
    for (const [index, size] of [101, 135_300, 0].entries()) {
      const answer = await caller.post(answers[index], { 'mcp-protocol-version': '2025-03-26' })
      expect(answer.status).toBe(400)
      const message =
        size === 0
          ? 'A batch must contain at least one message.'
          : `A batch has at most 100 messages; this one has ${size}.`
      expect(await answer.json()).toMatchObject({
        jsonrpc: '2.0',
        id: null,
        error: { code: -32600, message },
      })
    }
    expect(upstream.heard).toEqual([])
  })

  it.each(['param\u017f', 'PARAMS'])(
    'refuses a message with "%s" beside "params", which a server might take for it [C14]',
    async (name) => {
      const text = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"},"${name}":{"name":"drop"}}`
      const answer = await caller.post(text)
      expect([answer.status, ((await answer.json()) as { error: { code: number } }).error.code]).toEqual([
        400, -32600,
      ])
      expect(upstream.heard).toEqual([])
    },
  )

  it('passes schemas and unknown members through untouched [C14]', async () => {
    const odd =
      '{"jsonrpc":"2.0","id":1,"method":"x/unknown","params":{"schema":{"$ref":"http://127.0.0.1:9/evil.json","$defs":{"a":{}}},"n":1.0,"big":12345678901234567890}}'
    await caller.post(odd)
    expect(heard()?.body).toBe(odd)
    expect(upstream.heard).toHaveLength(1)
  })

  it('answers 504 in the words of the first gateway, as a JSON-RPC error about the request [C15]', async () => {
    const slow = await (await proxied.at('slow')).post(call('hold', 'slow-1'))
    expect(slow.status).toBe(504)
    expect(await slow.json()).toEqual({
      jsonrpc: '2.0',
      id: 'slow-1',
      error: {
        code: 1504,
        message: 'Request to Slow Server timed out',
        data: { code: 'upstream.timeout', request_id: slow.headers.get('x-request-id') },
      },
    })
  })

  it('answers 502 in the words of the first gateway, as a JSON-RPC error about the request [C15]', async () => {
    const gone = await (await proxied.at('gone')).post(call('whoami', 3))
    expect(gone.status).toBe(502)
    expect(await gone.json()).toEqual({
      jsonrpc: '2.0',
      id: 3,
      error: {
        code: 1502,
        message: 'Cannot connect to Gone Server',
        data: { code: 'upstream.unreachable', request_id: gone.headers.get('x-request-id') },
      },
    })
  })

  it('keeps an upstream’s login, redirects, cookies and pages to itself [H-K7]', async () => {
    const login = await caller.post(call('status-401'))
    expect([login.status, login.headers.get('www-authenticate'), login.headers.get('set-cookie')]).toEqual([
      502,
      null,
      null,
    ])
    expect(await login.json()).toMatchObject({ id: 7, error: { code: 1502 } })
    const forbidden = await caller.post(call('status-403'))
    expect([forbidden.status, forbidden.headers.get('www-authenticate'), await forbidden.text()]).toEqual([
      403,
      null,
      '{}',
    ])
    const page = await caller.post(call('html'))
    expect([page.status, page.headers.get('set-cookie'), (await page.text()).includes('<script>')]).toEqual([
      502,
      null,
      false,
    ])
  })

  it('follows no redirect of an upstream and sends nobody after it [H-K7]', async () => {
    const away = await caller.post(call('status-302'))
    expect([away.status, away.headers.get('location')]).toEqual([502, null])
  })

  it('ends the upstream’s work when the caller leaves [C10] [H-M12]', async () => {
    const leaving = new AbortController()
    const answer = caller.post(modernCall('hold'), modernHeaders('hold'), { signal: leaving.signal })
    answer.catch(() => undefined)
    await until(() => proxied.held.length === 1, 'the call')
    let closed = false
    proxied.held[0]!.on('close', () => (closed = true))
    proxied.held[0]!.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    const reader = (await answer).body!.getReader()
    await reader.read()
    leaving.abort()
    await reader.read().catch(() => undefined)
    await until(() => {
      // workerd alone hears of it when it writes on; Cloudflare's network tells it at once
      // (enable_request_signal).
      if (house_ === 'in workerd' && !closed) proxied.held[0]!.write(': still here\n\n')
      return closed
    }, 'the upstream to notice')
  })

  it('never makes a broken answer look whole [H-M13]', async () => {
    const answer = caller.post(call('hold'))
    await until(() => proxied.held.length === 1, 'the call')
    proxied.held[0]!.writeHead(200, { 'content-type': 'application/json' })
    proxied.held[0]!.write('{"jsonrpc":"2.0","id":7,"result":{"half":')
    // Some runtimes wait for the whole of it, and answer 502; what has begun is cut off.
    const whole = answer.then(async (came) =>
      came.status === 200 ? came.text() : Promise.reject(new Error(String(came.status))),
    )
    proxied.held[0]!.destroy()
    await expect(whole).rejects.toThrow()
  })

  it.each(['GET', 'HEAD', 'POST', 'DELETE', 'PUT', 'PATCH'])(
    'answers a %s without a token by the way to one [B1] [H-A10]',
    async (method) => {
      const response = await house.fetch(`${house.origin}/echo/mcp`, { method })
      const challenge = response.headers.get('www-authenticate')
      expect([response.status, challenge]).toEqual([
        401,
        `Bearer resource_metadata="${house.origin}/.well-known/oauth-protected-resource/echo/mcp", scope="mcp"`,
      ])
      expect(upstream.heard).toEqual([])
    },
  )

  it('answers HEAD with the head of the stream that GET would open, and does not ask the server (RFC 9110 §9.3.2)', async () => {
    const response = await house.fetch(caller.url, {
      method: 'HEAD',
      headers: { authorization: `Bearer ${caller.token}` },
    })
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
      200,
      'text/event-stream',
      '',
    ])
    expect(upstream.heard).toEqual([])
  })

  it('refuses bodies beyond the service’s bound, and methods that MCP does not have [H-R3, H-K15]', async () => {
    const anybody = callerOf(house, `${house.origin}/open/mcp`, '')
    expect((await anybody.post(call('x'.repeat(3000)))).status).toBe(413)
    for (const method of ['PUT', 'PATCH']) {
      const response = await house.fetch(anybody.url, { method })
      expect([response.status, response.headers.get('allow')]).toEqual([
        405,
        'GET, HEAD, POST, DELETE, OPTIONS',
      ])
    }
    expect(
      (await anybody.post(JSON.stringify(call()), { 'content-type': 'application/json; charset=utf-16' }))
        .status,
    ).toBe(415)
    expect((await anybody.post(JSON.stringify(call()), { 'content-encoding': 'gzip' })).status).toBe(415)
    expect(upstream.heard).toEqual([])
  })
})
