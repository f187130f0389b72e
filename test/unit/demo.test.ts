// The demo server, driven in process by real SDK clients for legacy and modern revisions.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterEach, describe, expect, it } from 'vitest'
import { createDemo } from '../../src/demo/demo.ts'
import { encodeBase64url, utf8 } from '../../src/kit/bytes.ts'
import { timer } from '../../src/node/runtime.ts'

const assertion = `e30.${encodeBase64url(utf8(JSON.stringify({ sub: 'local:ada', name: 'Ada Łovelace' })))}.c2ln`
const identity = { 'X-User-Id': 'ada', 'X-User-Name': 'Ada', 'X-MCP-Identity': assertion }

const clients = [
  { client: 'a client of 2026-07-28', mode: 'auto', options: {}, speaks: '2026-07-28' },
  {
    client: 'a client of 2025-11-25 with a session',
    mode: 'legacy',
    options: { sessionId: () => crypto.randomUUID() },
    speaks: '2025-11-25',
  },
  { client: 'a client of 2025-11-25 without a session', mode: 'legacy', options: {}, speaks: '2025-11-25' },
] as const

const open = new Set<Client>()
afterEach(async () => {
  for (const client of open) await client.close()
  open.clear()
})

const connect = async (
  demo: (request: Request) => Promise<Response>,
  mode: 'auto' | 'legacy',
  headers: Record<string, string> = identity,
): Promise<Client> => {
  const client = new Client({ name: 'test', version: '0' }, { versionNegotiation: { mode } })
  open.add(client)
  const fetch = (url: string | URL, init?: RequestInit): Promise<Response> => demo(new Request(url, init))
  await client.connect(
    new StreamableHTTPClientTransport(new URL('http://demo.test/demo/mcp'), {
      fetch,
      requestInit: { headers },
    }),
  )
  return client
}

const textOf = (result: { content?: unknown }): string =>
  (result.content as { text: string }[]).map((part) => part.text).join('')

describe.each(clients)('The demo server for $client', ({ mode, options, speaks }) => {
  const demo = createDemo({ timer, ...options })

  it('speaks that revision and lists four tools, three of them read-only and one destructive', async () => {
    const client = await connect(demo, mode)
    expect(client.getNegotiatedProtocolVersion()).toBe(speaks)
    const { tools } = await client.listTools()
    expect(
      tools.map((tool) => [tool.name, tool.annotations?.readOnlyHint, tool.annotations?.destructiveHint]),
    ).toEqual([
      ['whoami', true, false],
      ['slow_count', true, false],
      ['large_result', true, false],
      ['delete_everything', false, true],
    ])
  })

  it('tells the caller what the gateway said about them, and the claims of the assertion without the assertion itself', async () => {
    const client = await connect(demo, mode)
    const result = await client.callTool({ name: 'whoami', arguments: {} })
    expect(result.structuredContent).toEqual({
      headers: { 'x-user-id': 'ada', 'x-user-name': 'Ada' },
      assertion: { sub: 'local:ada', name: 'Ada Łovelace' },
      bearer_token_arrived: false,
    })
    expect(JSON.stringify(result)).not.toContain(assertion)
  })

  it('says when nothing was passed on, and survives an assertion that is none', async () => {
    const client = await connect(demo, mode, { 'X-MCP-Identity': 'a.%%.c' })
    expect(textOf(await client.callTool({ name: 'whoami', arguments: {} }))).toContain('said nothing')
  })

  it('reports progress step by step', async () => {
    const client = await connect(demo, mode)
    const seen: number[] = []
    const result = await client.callTool(
      { name: 'slow_count', arguments: { to: 4, interval_ms: 5 } },
      { onprogress: ({ progress }) => void seen.push(progress) },
    )
    expect(textOf(result)).toBe('Counted to 4.')
    expect(seen).toEqual([1, 2, 3, 4])
  })

  it('answers with exactly as much as asked for', async () => {
    const client = await connect(demo, mode)
    for (const bytes of [1, 100, 1_048_576])
      expect(textOf(await client.callTool({ name: 'large_result', arguments: { bytes } }))).toHaveLength(
        bytes,
      )
  })

  it('deletes nothing', async () => {
    const client = await connect(demo, mode)
    expect(textOf(await client.callTool({ name: 'delete_everything', arguments: {} }))).toContain(
      'Nothing was deleted',
    )
  })
})

const post = (body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal): Request =>
  new Request('http://demo.test/demo/mcp', {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
      ...headers,
    },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  })

/** Reads the stream until it holds the text. */
const readUntil = async (reader: ReadableStreamDefaultReader<Uint8Array>, text: string): Promise<string> => {
  const decoder = new TextDecoder()
  let seen = ''
  while (!seen.includes(text)) {
    const { done, value } = await reader.read()
    if (done) return `${seen}<end>`
    seen += decoder.decode(value, { stream: true })
  }
  return seen
}

describe('A slow call of the demo server is cancelled', () => {
  const call = {
    jsonrpc: '2.0',
    id: 7,
    method: 'tools/call',
    params: { name: 'slow_count', arguments: { to: 100, interval_ms: 20 }, _meta: { progressToken: 'p' } },
  }

  it('by closing the answer on 2026-07-28 (Streamable HTTP, Cancellation)', async () => {
    const demo = createDemo({ timer })
    const meta = {
      ...call.params._meta,
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientCapabilities': {},
    }
    const abort = new AbortController()
    const headers = {
      'MCP-Protocol-Version': '2026-07-28',
      'Mcp-Method': 'tools/call',
      'Mcp-Name': 'slow_count',
    }
    const response = await demo(
      post({ ...call, params: { ...call.params, _meta: meta } }, headers, abort.signal),
    )
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    expect(await readUntil(reader, '"progress":2')).toContain('2 of 100')
    abort.abort()
    expect(await readUntil(reader, '"progress":100').catch(() => '<end>')).toContain('<end>')
  })

  it('by notifications/cancelled within a session on 2025-11-25, and the session goes on', async () => {
    const demo = createDemo({ timer, sessionId: () => 's-1' })
    const version = { 'MCP-Protocol-Version': '2025-11-25' }
    const initialize = {
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '0' } },
    }
    const session = {
      ...version,
      'Mcp-Session-Id': (await demo(post(initialize))).headers.get('mcp-session-id') ?? '',
    }
    expect(session['Mcp-Session-Id']).toBe('s-1')
    await demo(post({ jsonrpc: '2.0', method: 'notifications/initialized' }, session))
    const reader = ((await demo(post(call, session))).body as ReadableStream<Uint8Array>).getReader()
    let seen = await readUntil(reader, '1 of 100')
    expect(
      (
        await demo(
          post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 7 } }, session),
        )
      ).status,
    ).toBe(202)
    const rest = readUntil(reader, '100 of 100').then(
      (more) => (seen += more),
      () => '',
    )
    // Twenty steps of the same pace: had the first call gone on, it would have come about as far.
    const other = { ...call, id: 8, params: { name: 'slow_count', arguments: { to: 20, interval_ms: 20 } } }
    expect(await (await demo(post(other, session))).text()).toContain('Counted to 20.')
    await reader.cancel()
    await rest
    expect(seen).not.toContain('10 of 100')
    const ping = await demo(post({ jsonrpc: '2.0', id: 9, method: 'ping' }, session))
    expect(await ping.text()).toContain('"result":{}')
  })
})

describe('Sessions of the demo server', () => {
  const initialize = {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '0' } },
  }

  it('end with DELETE, and an unknown one is 404, so that the client begins anew', async () => {
    const demo = createDemo({ timer, sessionId: () => 's-2' })
    await demo(post(initialize))
    const session = { 'Mcp-Session-Id': 's-2', 'MCP-Protocol-Version': '2025-11-25' }
    expect(
      (await demo(new Request('http://demo.test/demo/mcp', { method: 'DELETE', headers: session }))).status,
    ).toBe(200)
    expect((await demo(post({ jsonrpc: '2.0', id: 2, method: 'ping' }, session))).status).toBe(404)
  })

  it('are bounded: the one unused for longest ends first', async () => {
    let count = 0
    const demo = createDemo({ timer, sessionId: () => `s-${count++}` })
    const ping = (id: number): Promise<Response> =>
      demo(
        post(
          { jsonrpc: '2.0', id: 2, method: 'ping' },
          { 'Mcp-Session-Id': `s-${id}`, 'MCP-Protocol-Version': '2025-11-25' },
        ),
      )
    for (let i = 0; i < 200; i++) await demo(post(initialize))
    expect((await ping(0)).status).toBe(200)
    await demo(post(initialize))
    expect([(await ping(0)).status, (await ping(1)).status, (await ping(2)).status]).toEqual([200, 404, 200])
  })
})
