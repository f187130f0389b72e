// Servers of HTTP+SSE that break off, stall, point elsewhere or send half a character: what the calls that
// wait for them hear.
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { createListeners } from '../unit/listeners.ts'

const listeners = createListeners()
afterAll(() => listeners.close())

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
}
const half = Buffer.from('€').subarray(0, 2)

/** What the server does on its stream when a tool is called by that name; everything else is answered. */
const faults: Readonly<Record<string, (stream: ServerResponse) => void>> = {
  'resets its stream in an answer': (stream) =>
    void stream.write('event: message\ndata: {"jsonrpc":"2.0","id":7,', () =>
      stream.socket?.resetAndDestroy(),
    ),
  'ends its stream in an answer': (stream) =>
    void stream.end('event: message\ndata: {"jsonrpc":"2.0","id":7,"result":{}\n'),
  'sends half a character': (stream) =>
    void stream.write(
      Buffer.concat([
        Buffer.from('event: message\ndata: {"jsonrpc":"2.0","id":7,"result":"'),
        half,
        Buffer.from('"}\n\n'),
      ]),
    ),
  'answers with no JSON': (stream) =>
    void stream.write('event: message\ndata: <html>\n\n', () => stream.destroy()),
}

/** What its caller hears where the connection is not lost. */
const answers: Readonly<
  Record<
    string,
    readonly [status: number, error: { readonly code: number; readonly message: string }, code: string]
  >
> = {
  'takes no message': [504, { code: 1504, message: 'Request to Old timed out' }, 'upstream.timeout'],
  'redirects its messages': [
    502,
    {
      code: 1502,
      message:
        'The MCP server responded with a redirect, which the gateway does not follow. The administrator must configure the final URL.',
    },
    'upstream.redirect',
  ],
}

const openServer = async (inner: string): Promise<{ readonly origin: string; close(): void }> => {
  const streams = new Map<string, ServerResponse>()
  let count = 0
  const server: Server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://here')
    if (pathname === '/away') return void response.writeHead(307, { location: inner }).end()
    if (pathname === '/silent')
      return response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    if (pathname === '/nothing') return
    if (pathname === '/elsewhere')
      return void response
        .writeHead(200, { 'content-type': 'text/event-stream' })
        .write(`event: endpoint\ndata: ${inner}messages\n\n`)
    if (request.method === 'GET') {
      const id = String(++count)
      streams.set(id, response)
      response
        .writeHead(200, { 'content-type': 'text/event-stream' })
        .write(`event: endpoint\ndata: /messages?id=${id}\n\n`)
      return
    }
    let body = ''
    request.on('data', (part: Buffer) => (body += part.toString('utf8')))
    request.on('end', () => {
      const { id, params } = JSON.parse(body) as {
        id?: unknown
        params?: { name?: string; protocolVersion?: string }
      }
      const stream = streams.get(searchParams.get('id') ?? '')
      if (params?.name === 'takes no message') return
      if (params?.name === 'redirects its messages')
        return void response.writeHead(308, { location: inner }).end()
      response.writeHead(202).end()
      const fault = faults[params?.name ?? '']
      if (stream && fault) fault(stream)
      else if (id !== undefined)
        stream?.write(
          `event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion: params?.protocolVersion, who: request.headers['x-user-email'] } })}\n\n`,
        )
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

describe.each(runtimes)('%s', (_, open) => {
  let house: TestGateway
  let server: Awaited<ReturnType<typeof openServer>>
  let inside: Awaited<ReturnType<typeof listeners.trap>>
  const session = async (who: typeof ana) => {
    const caller = callers.get(who) as Caller
    const begun = await caller.post(initialize)
    await begun.text()
    const headers = {
      'mcp-session-id': begun.headers.get('mcp-session-id') ?? '',
      'mcp-protocol-version': '2025-11-25',
    }
    return { ask: (name: string) => caller.post(call(name), headers) }
  }

  const callers = new Map<typeof ana, Caller>()
  beforeAll(async () => {
    inside = await listeners.trap()
    server = await openServer(`http://127.0.0.1:${inside.port}/`)
    const at = (path: string) => ({
      url: `${server.origin}${path}`,
      transport: 'sse' as const,
      timeout: 1000,
      name: 'Old',
      auth_required: path === '/sse',
    })
    house = await open({
      upstream: `${server.origin}/sse`,
      config: {
        local_users: [ana, yamada],
        mcp_services: {
          old: at('/sse'),
          away: at('/away'),
          silent: at('/silent'),
          nothing: at('/nothing'),
          elsewhere: at('/elsewhere'),
        },
      },
    })
    const url = `${house.origin}/old/mcp`
    for (const who of [ana, yamada]) callers.set(who, callerOf(house, url, await tokenOf(house, who, url)))
  }, 120_000)
  afterAll(async () => {
    await house.close()
    server.close()
  })

  it.each([...Object.keys(faults), ...Object.keys(answers)])(
    'never lets a server that %s look as if it had answered, nor reach anybody else [H-M13] [H-R10]',
    async (name) => {
      const [mine, theirs] = [await session(ana), await session(yamada)]
      const since = performance.now()
      const [broken, whole] = await Promise.all([mine.ask(name), theirs.ask('whoami')])
      const said = await broken.text()
      expect(performance.now() - since).toBeLessThan(2000)
      const [status, error, code] = answers[name] ?? [
        502,
        {
          code: 1502,
          message:
            'The MCP server closed the connection before it responded. The request may have been processed.',
        },
        'upstream.closed',
      ]
      const data = { code, request_id: broken.headers.get('x-request-id') }
      expect([broken.status, JSON.parse(said)]).toEqual([
        status,
        { jsonrpc: '2.0', id: 7, error: { ...error, data } },
      ])
      expect(await whole.text()).toContain('taro@example.com')
      expect(await (await theirs.ask('whoami')).text()).toContain('taro@example.com')
      // A new session of the same person works.
      expect(await (await (await session(ana)).ask('whoami')).text()).toContain('ana@example.com')
      expect(inside.seen.connections).toBe(0)
      expect(house.log.filter(({ fields }) => fields['refusal'] === 'fault')).toEqual([])
    },
  )

  it.each([
    [
      'away',
      502,
      'The MCP server responded with a redirect, which the gateway does not follow. The administrator must configure the final URL.',
    ],
    ['elsewhere', 502, 'The MCP server sent an invalid HTTP response.'],
    ['silent', 504, 'Request to Old timed out'],
    ['nothing', 504, 'Request to Old timed out'],
  ] as const)(
    'never goes where a server points, nor waits for one that does not begin: %s [H-K7] [H-R10]',
    async (id, status, message) => {
      const answer = await callerOf(house, `${house.origin}/${id}/mcp`, '').post(initialize)
      expect([answer.status, await answer.json()]).toMatchObject([
        status,
        { jsonrpc: '2.0', id: 1, error: { code: 1000 + status, message } },
      ])
      expect(inside.seen.connections).toBe(0)
    },
  )
})
