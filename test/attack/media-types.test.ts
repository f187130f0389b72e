// What must never come of a media type that two readers take differently: forms of other sites as messages,
// and pages as answers.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf } from '../runtimes/people.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const message = '{"jsonrpc":"2.0","id":7,"method":"tools/list"}'

const notJson: readonly (string | undefined)[] = [
  undefined,
  'text/plain',
  'text/plain;charset=UTF-8',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'text/plain; application/json',
  'text/plain; a="; application/json"',
  'application/json, text/plain',
  'text/plain, application/json',
  'application/json, application/json',
  'application/json; a, text/plain',
  'application/json; a=b, text/plain',
  'application/json; a=", text/plain"',
  'application/json; charset=utf-8; charset=utf-8',
  'application/json; =utf-8',
  'application/json; charset',
  'application/json charset=utf-8',
  'application/jsonp',
  'application/json-seq',
  'application/problem+json',
  'text/json',
  'application /json',
  '"application/json"',
  'json',
]
const otherEncodings = ['application/json; charset=utf-16', 'application/json;charset="latin1"']
const usual = [
  'Application/JSON;charset=utf8',
  'application/json; charset="UTF-8"',
  'application/json ; Charset=UTF-8',
  'application/json;',
  'application/json; profile="https://x.example/a?b=c"',
]

const inert = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "sandbox; default-src 'none'; frame-ancestors 'none'",
}
const inertOf = ({ headers }: Response) =>
  Object.fromEntries(Object.keys(inert).map((name) => [name, headers.get(name)]))

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let house: TestGateway
  let callers: readonly Caller[]
  let answer = { status: 200, type: undefined as string | readonly string[] | undefined, body: '' }
  beforeAll(async () => {
    upstream = await openUpstream((_request, response) => {
      if (answer.type !== undefined) response.setHeader('content-type', answer.type)
      response.writeHead(answer.status).end(answer.body)
    })
    const services = { free: { name: 'Free', url: upstream.url, auth_required: false } }
    house = await open({ upstream: upstream.url, config: { local_users: [ana], mcp_services: services } })
    const resource = `${house.origin}/echo/mcp`
    const token = await tokenOf(house, ana, resource)
    callers = [
      callerOf(house, resource, token),
      callerOf(house, `${house.origin}/free/mcp`, ''),
      callerOf(house, `${house.origin}/free/sse`, ''),
    ]
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  beforeEach(() => {
    upstream.heard.length = 0
    answer = { status: 200, type: 'application/json', body: '{"jsonrpc":"2.0","id":7,"result":{}}' }
  })

  const send = ({ url, token }: Caller, type: string | undefined) => {
    const authorization: Record<string, string> = token === '' ? {} : { authorization: `Bearer ${token}` }
    const accept = 'application/json, text/event-stream'
    // Bytes, because fetch adds a type of its own to text.
    return house.fetch(url, {
      method: 'POST',
      headers: { accept, ...authorization, ...(type !== undefined && { 'content-type': type }) },
      body: new TextEncoder().encode(message),
    })
  }

  test.each(notJson)('never a message of type %s for a server', async (type) => {
    for (const caller of callers) {
      const refused = await send(caller, type)
      const body = {
        jsonrpc: '2.0',
        id: null,
        error: { code: 1415, message: 'Send the message with Content-Type: application/json.' },
      }
      expect([
        caller.url,
        refused.status,
        refused.headers.get('accept-post'),
        await refused.json(),
      ]).toMatchObject([caller.url, 415, 'application/json', body])
    }
    expect(upstream.heard).toEqual([])
  })

  test.each(otherEncodings)('never a message in another encoding: %s', async (type) => {
    for (const caller of callers) expect((await send(caller, type)).status).toBe(415)
    expect(upstream.heard).toEqual([])
  })

  test.each(usual)('never a refusal of the usual type in another spelling: %s', async (type) => {
    for (const caller of callers.slice(0, 2)) expect((await send(caller, type)).status).toBe(200)
    expect(upstream.heard).toHaveLength(2)
  })

  test.each([
    [200, 'application/json; a, text/html'],
    [200, 'application/json, text/html'],
    [200, 'text/html, application/json'],
    [200, ['application/json', 'text/html']],
    [404, ['text/html', 'application/json']],
    [200, 'application/json; a=", text/html"'],
    [404, 'application/json; a=b, text/html'],
    [500, 'text/event-stream; a, text/html'],
    [200, 'text/event-stream, text/event-stream'],
    [200, 'text/html'],
    [201, 'text/html; charset=utf-8'],
    [200, 'application/xhtml+xml'],
    [404, 'application/xhtml+xml'],
    [200, 'image/svg+xml'],
    [400, 'image/svg+xml'],
    [200, 'text/xml'],
    [200, 'application/pdf'],
    [200, 'text/javascript'],
    [404, 'multipart/x-mixed-replace; boundary=x'],
    [200, 'application/octet-stream'],
    [200, 'json'],
    [404, '*/*; q=1, text/html'],
  ] as const)('never a %i answer of type %s for a caller', async (status, type) => {
    answer = { status, type, body: '<script>1</script>' }
    for (const caller of callers.slice(0, 2)) {
      const told = await send(caller, 'application/json')
      const said =
        'The MCP server responded with a Content-Type that MCP does not allow. Its operator must fix this.'
      expect([told.status, told.headers.get('content-type')]).toEqual([502, 'application/json'])
      expect(await told.json()).toMatchObject({ jsonrpc: '2.0', id: 7, error: { code: 1502, message: said } })
    }
  })

  test.each([
    [200, 'application/json'],
    [200, 'Application/JSON; charset=utf-8'],
    [200, 'text/event-stream'],
    [200, 'text/event-stream;charset=utf-8'],
    [202, 'text/plain'],
    [202, undefined],
    [400, 'application/json'],
    [404, 'text/html; charset=utf-8'],
    [405, 'text/plain'],
    [500, 'application/problem+json'],
    [503, 'application/xml'],
  ] as const)('never a %i answer of type %s that a browser would run', async (status, type) => {
    answer = {
      status,
      type,
      body:
        status === 202
          ? ''
          : type?.includes('event-stream')
            ? 'data: {}\n\n'
            : '{"jsonrpc":"2.0","id":7,"result":{"text":"<script>1</script>"}}',
    }
    for (const caller of callers.slice(0, 2)) {
      const told = await send(caller, 'application/json')
      expect([told.status, told.headers.get('content-type'), inertOf(told)]).toEqual([
        status,
        type ?? null,
        inert,
      ])
      await told.body?.cancel()
    }
  })
})
