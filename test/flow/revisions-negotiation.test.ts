// Which revision a server speaks is judged by its message, whatever it came in: HTTP 200 with an error, an
// event stream, a stream without its blank line.
import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { endsWithin } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

type Say = (response: ServerResponse, message: object) => void
const json: Say = (response, message) =>
  void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(message))
const events: Say = (response, message) =>
  void response
    .writeHead(200, { 'content-type': 'text/event-stream' })
    .end(`event: message\ndata: ${JSON.stringify(message)}\n\n`)
const unended: Say = (response, message) =>
  void response
    .writeHead(200, { 'content-type': 'text/event-stream' })
    .end(`data: ${JSON.stringify(message)}\n`)
const open: Say = (response, message) =>
  void response
    .writeHead(200, { 'content-type': 'text/event-stream' })
    .write(`data: ${JSON.stringify(message)}\n`)

const meta = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}
const ask = (method: string) =>
  [
    { jsonrpc: '2.0', id: 5, method, params: { _meta: meta } },
    { 'mcp-protocol-version': '2026-07-28', 'mcp-method': method },
  ] as const
const tools = [{ name: 'echo', inputSchema: { type: 'object' } }]

describe.each(runtimes)('%s', (_where, openHouse) => {
  let house: TestGateway
  const upstreams: Upstream[] = []
  const calls: string[] = []

  /** A server of 2025 that refuses what comes before `initialize`; or one that needs no session. */
  const serverOf = async (say: Say, refuse: Say, stateless: boolean): Promise<string> => {
    let sessions = 0
    const upstream = await openUpstream((request, response, body) => {
      const { id, method } = (body === '' ? {} : JSON.parse(body)) as { id?: unknown; method?: string }
      if (request.method !== 'POST' || id === undefined)
        return void response.writeHead(request.method === 'POST' ? 202 : 405).end()
      if (method === 'initialize') {
        response.setHeader('mcp-session-id', `session-${++sessions}`)
        return say(response, {
          jsonrpc: '2.0',
          id,
          result: {
            protocolVersion: '2025-06-18',
            capabilities: { tools: {} },
            serverInfo: { name: 's', version: '1' },
          },
        })
      }
      if (method === 'server/discover')
        return refuse(response, { jsonrpc: '2.0', id, error: { code: -32_601, message: 'Method not found' } })
      if (!stateless && request.headers['mcp-session-id'] === undefined)
        return refuse(response, {
          jsonrpc: '2.0',
          id,
          error: { code: -32_600, message: 'initialize comes first' },
        })
      calls.push(String(method))
      return say(response, { jsonrpc: '2.0', id, result: { tools } })
    })
    upstreams.push(upstream)
    return upstream.url
  }

  beforeAll(async () => {
    const urls = {
      json: await serverOf(json, json, false),
      events: await serverOf(events, events, false),
      unended: await serverOf(unended, unended, false),
      open: await serverOf(json, open, false),
      stateless: await serverOf(json, json, true),
    }
    house = await openHouse({
      upstream: urls.json,
      config: {
        local_users: [ana],
        mcp_services: Object.fromEntries(
          Object.entries(urls).map(([id, url]) => [`s${id}`, { url, upstream_auth: { type: 'none' } }]),
        ),
      },
    })
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await Promise.all(upstreams.map((upstream) => upstream.close()))
  })

  it.each(['json', 'events', 'unended', 'open', 'stateless'])(
    'a client of 2026-07-28 is served by a server of 2025, and its call is made once: %s',
    async (kind) => {
      const resource = `${house.origin}/s${kind}/mcp`
      const caller = callerOf(house, resource, await tokenOf(house, ana, resource))
      calls.length = 0
      const asked = caller.post(...ask('tools/list'))
      // A stream that never ends its first event is waited for.
      const answer = await (kind === 'open' ? endsWithin(5000, house, asked) : asked)
      const text = await answer.text()
      expect(answer.status).toBe(200)
      expect(
        JSON.parse(text.startsWith('{') ? text : (/^data: ?(.*)$/m.exec(text)?.[1] ?? '')),
      ).toMatchObject({ id: 5, result: { tools, resultType: 'complete' } })
      expect(calls).toEqual(['tools/list'])
    },
  )

  it('a stream without a message yet is passed on', async () => {
    let said: ServerResponse | undefined
    const upstream = await openUpstream((_request, response) => {
      said = response
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': here\n\n')
    })
    upstreams.push(upstream)
    const quiet = await openHouse({ upstream: upstream.url, config: { local_users: [ana] } })
    const resource = `${quiet.origin}/echo/mcp`
    const caller = callerOf(quiet, resource, await tokenOf(quiet, ana, resource))
    const answer = await caller.post(...ask('subscriptions/listen'))
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
    said?.end('data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged"}\n\n')
    expect(await answer.text()).toBe(
      ': here\n\ndata: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged"}\n\n',
    )
    await quiet.close()
  })
})
