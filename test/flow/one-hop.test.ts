// What belongs to one hop is said in one way: to the server what every server takes, to the client what every
// client takes.
import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf } from '../runtimes/people.ts'
import { call, until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

type Say = (response: ServerResponse) => void
const json =
  (status: number, body: string, type = 'application/json'): Say =>
  (response) =>
    void response.writeHead(status, { 'content-type': type }).end(body)

describe.each(runtimes)('%s', (_where, open) => {
  let house: TestGateway
  let upstream: Upstream
  let caller: Caller
  let say: Say = json(200, '{}')

  beforeAll(async () => {
    upstream = await openUpstream((_request, response, body) => {
      const { method, id } = (body.startsWith('{') ? JSON.parse(body) : {}) as {
        method?: string
        id?: unknown
      }
      if (method === 'initialize') response.setHeader('mcp-session-id', `session-${upstream.heard.length}`)
      if (method === 'initialize' || method === 'ping')
        json(
          200,
          JSON.stringify({
            jsonrpc: '2.0',
            id,
            result: {
              protocolVersion: '2025-06-18',
              capabilities: {},
              serverInfo: { name: 's', version: '1' },
            },
          }),
        )(response)
      else say(response)
    })
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [ana],
        mcp_services: { raw: { name: 'Raw', url: upstream.url, upstream_auth: { type: 'none' } } },
      },
    })
    const resource = `${house.origin}/raw/mcp`
    caller = callerOf(house, resource, await tokenOf(house, ana, resource))
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  beforeEach(() => void (upstream.heard.length = 0))

  it.each([
    ['application/json; charset=utf-8', 'application/json'],
    ['Application/JSON;charset="UTF-8"', '*/*'],
    ['application/json', 'text/event-stream, application/json;q=0.5'],
  ])(
    'says to the server that both types are accepted, and the usual media type: [%s] [%s]',
    async (type, accept) => {
      say = json(200, '{"jsonrpc":"2.0","id":7,"result":{}}')
      expect((await caller.post(call(), { 'content-type': type, accept })).status).toBe(200)
      expect(
        upstream.heard.map(({ rawHeaders }) =>
          rawHeaders
            .flatMap((name, i) =>
              i % 2 === 0 && /^(accept|content-type)$/i.test(name)
                ? [`${name.toLowerCase()}: ${rawHeaders[i + 1]}`]
                : [],
            )
            .toSorted(),
        ),
      ).toEqual([['accept: application/json, text/event-stream', 'content-type: application/json']])
    },
  )

  it.each([
    ['null', json(200, 'null')],
    ['nothing', json(200, '')],
    ['204', (response) => void response.writeHead(204).end()],
    ['a text', json(200, 'Accepted', 'text/plain; charset=utf-8')],
    ['a page', json(200, '<html></html>', 'text/html')],
    ['an object', json(200, '{}')],
    ['a reply', json(200, '{"jsonrpc":"2.0","id":null,"result":{}}')],
    ['202 with a body', json(202, '{"status":"ok"}')],
    ['much', json(200, 'x'.repeat(300_000), 'text/plain')],
    [
      'a stream that stays open',
      (response) =>
        void response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n'),
    ],
  ] as readonly (readonly [string, Say])[])(
    'answers a notification with 202 and no body, whatever the server says: %s',
    async (_name, odd) => {
      say = odd
      for (const message of [
        { jsonrpc: '2.0', method: 'notifications/initialized' },
        { jsonrpc: '2.0', id: 3, result: {} },
      ]) {
        const answer = await caller.post(message)
        expect([
          answer.status,
          answer.headers.get('content-type'),
          answer.headers.get('content-length') ?? '0',
          await answer.text(),
        ]).toEqual([202, null, '0', ''])
      }
      // The connection serves the next call, and nothing of the odd answer is read as its own.
      expect(await (await caller.post({ jsonrpc: '2.0', id: 9, method: 'ping' })).json()).toMatchObject({
        id: 9,
      })
    },
  )

  it('passes on a refusal of a notification', async () => {
    say = json(400, '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}')
    const answer = await caller.post({ jsonrpc: '2.0', method: 'notifications/initialized' })
    expect([answer.status, await answer.json()]).toMatchObject([400, { error: { code: -32600 } }])
  })

  it('says 404 of a session that the server has lost, whichever status the server says it by', async () => {
    const opened = await caller.post({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
    })
    const session = { 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '' }
    const said =
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}'
    say = json(400, '{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"missing argument"}}')
    expect((await caller.post(call(), session)).status).toBe(400)
    say = json(400, said)
    expect((await caller.post(call())).status).toBe(400)
    const lost = await caller.post(call(), session)
    expect([lost.status, await lost.text()]).toEqual([404, said])
    // From here on the gateway knows by itself.
    await until(() => true, 'the session to be forgotten')
    upstream.heard.length = 0
    expect((await caller.post(call(), session)).status).toBe(404)
  })

  it.each([
    ['a page that calls itself JSON', '<html>Sign in to continue</html>'],
    ['broken JSON', '{"jsonrpc":"2.0","id":7,"result":{"conte'],
    ['nothing', ''],
    ['null', 'null'],
    ['a text', '"ok"'],
    ['an object that is no message', '{"message":"please sign in"}'],
    ['an empty list', '[]'],
    ['a large page', `<html>${'x'.repeat(30_000)}</html>`],
    ['large JSON that is cut off', `{"jsonrpc":"2.0","id":7,"result":{"a":"${'x'.repeat(6000)}"`],
  ])('refuses with 502 what says JSON under 200 and is no JSON-RPC: %s', async (_name, body) => {
    say = json(200, body)
    const answer = await caller.post(call('whoami', 5))
    expect([answer.status, await answer.json()]).toMatchObject([
      502,
      {
        jsonrpc: '2.0',
        id: 5,
        error: { code: 1502, message: 'Raw answered with something that is not a JSON-RPC message.' },
      },
    ])
    const record = house.log.filter(({ event }) => event === 'call').at(-1)
    expect(record?.fields).toMatchObject({ result: 'failed', status: 502, refusal: 'upstream.message' })
  })

  it.each([
    ['a batch', '[{"jsonrpc":"2.0","id":7,"result":{}}]'],
    ['spaces around it', ' \r\n{"jsonrpc":"2.0","id":7,"result":{}}\n'],
    ['an error', '{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no"}}'],
    ['a large result', `{"jsonrpc":"2.0","id":7,"result":{"a":"${'x'.repeat(100_000)}"}}`],
  ])('passes on unchanged what is: %s', async (_name, body) => {
    say = json(200, body)
    const answer = await caller.post(call())
    expect([answer.status, await answer.text()]).toEqual([200, body])
  })
})
