// Clients and servers of MCP 2024-11-05 (HTTP with SSE) through the gateway, in each combination with those
// of Streamable HTTP. The clients are the official SDK's.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { type LegacyUpstream, openLegacyUpstream } from '../runtimes/legacy-upstream.ts'
import { logIn } from '../runtimes/login.ts'
import { ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { holdsWithin, until } from '../runtimes/proxied.ts'
import { connectWithRoots } from '../runtimes/sdk-sessions.ts'
import { createTwins, type Twin } from '../runtimes/twins.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? ''

describe.each(runtimes)('HTTP+SSE %s', (_name, open) => {
  let house: TestGateway
  let streamable: Upstream
  let legacy: LegacyUpstream
  let liar: LegacyUpstream
  const tokens = new Map<string, string>()
  const tokenFor = async (path: string, who = ana): Promise<string> => {
    const key = `${path} ${who.username}`
    const token = tokens.get(key) ?? (await tokenOf(house, who, `${house.origin}${path}`))
    tokens.set(key, token)
    return token
  }

  beforeAll(async () => {
    streamable = await openUpstream((request, response, body) => {
      if (request.method === 'DELETE') return void response.writeHead(200).end()
      if (request.method !== 'POST') return void response.writeHead(405).end()
      const { id, method, params } = JSON.parse(body) as {
        id?: unknown
        method: string
        params?: { protocolVersion?: string }
      }
      if (id === undefined) return void response.writeHead(202).end()
      response.setHeader('content-type', 'application/json')
      if (method === 'initialize') response.setHeader('mcp-session-id', 'theirs-1')
      const result =
        method === 'initialize'
          ? {
              protocolVersion: params?.protocolVersion,
              capabilities: { tools: {} },
              serverInfo: { name: 's', version: '1' },
            }
          : { content: [{ type: 'text', text: JSON.stringify(request.headers) }] }
      response.end(JSON.stringify({ jsonrpc: '2.0', id, result }))
    })
    legacy = await openLegacyUpstream()
    liar = await openLegacyUpstream(() => 'http://169.254.169.254/messages')
    house = await open({
      upstream: streamable.url,
      config: {
        local_users: [ana, yamada],
        max_open_streams: 24,
        mcp_services: {
          old: { url: legacy.url, transport: 'sse' },
          found: { url: legacy.url },
          liar: { url: liar.url, transport: 'sse' },
        },
      },
    })
  })
  afterAll(async () => {
    await house?.close()
    await Promise.all([streamable?.close(), legacy?.close(), liar?.close()])
  })

  it.each(['/echo/sse', '/old/sse', '/old/mcp', '/found/mcp', '/found/sse'])(
    'a client at %s meets the server, whatever that speaks, and the server meets the person [C6]',
    async (path) => {
      const client = await connectWithRoots(house, path, await tokenFor(path))
      const headers = JSON.parse(textOf(await client.callTool({ name: 'whoami', arguments: {} }))) as Record<
        string,
        string
      >
      expect(headers).toMatchObject({ 'x-user-id': 'ana', 'x-user-email': 'ana@example.com' })
      expect(headers['authorization']).toBeUndefined()
      await client.close()
    },
  )

  it.each(['/old/sse', '/old/mcp'])(
    'a request of a legacy server reaches the client at %s and is answered, and its progress is reported [C5]',
    async (path) => {
      const client = await connectWithRoots(house, path, await tokenFor(path))
      expect(textOf(await client.callTool({ name: 'ask', arguments: {} }))).toContain('file:///ana')
      const seen: number[] = []
      expect(
        textOf(
          await client.callTool(
            { name: 'count', arguments: {} },
            { onprogress: ({ progress }) => void seen.push(progress) },
          ),
        ),
      ).toBe('counted')
      expect(seen).toEqual([1, 2, 3])
      await client.close()
    },
  )

  it('the endpoint event comes first and at once, on our own origin, and says nothing of the server behind [C6]', async () => {
    const caller = callerOf(house, `${house.origin}/old/sse`, await tokenFor('/old/sse'))
    const gone = new AbortController()
    const response = await caller.get({}, { signal: gone.signal })
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    expect(response.headers.get('cache-control')).toContain('no-transform')
    expect(response.headers.get('x-accel-buffering')).toBe('no')
    const first = new TextDecoder().decode((await response.body?.getReader().read())?.value)
    expect(first).toMatch(/^event: endpoint\ndata: \/old\/sse\/message\?sessionId=[\w-]{43}\n\n$/)
    gone.abort()
  })

  it('both directions are authenticated, and a stream of somebody else is unknown [B4, B7, C6]', async () => {
    const mine = callerOf(house, `${house.origin}/old/sse`, await tokenFor('/old/sse'))
    const theirs = await tokenFor('/old/sse', yamada)
    const gone = new AbortController()
    const stream = await mine.get({}, { signal: gone.signal })
    const data = /data: (.*)\n/.exec(
      new TextDecoder().decode((await stream.body?.getReader().read())?.value),
    )?.[1] as string
    const post = (token: string) =>
      callerOf(house, `${house.origin}${data}`, token).post({ jsonrpc: '2.0', id: 1, method: 'ping' })
    expect((await post('')).status).toBe(401)
    expect((await post(theirs)).status).toBe(404)
    expect((await post(await tokenFor('/echo/mcp'))).status).toBe(401)
    expect(JSON.stringify(house.log).includes('session.foreign')).toBe(true)
    expect((await post(mine.token)).status).toBe(202)
    expect(
      (await callerOf(house, `${house.origin}/old/sse`, '').get()).headers.get('www-authenticate'),
    ).toContain(`${house.origin}/.well-known/oauth-protected-resource/old/sse`)
    const metadata = (await (
      await house.fetch(`${house.origin}/.well-known/oauth-protected-resource/old/sse`)
    ).json()) as { resource: string }
    expect(metadata.resource).toBe(`${house.origin}/old/sse`)
    gone.abort()
  })

  it('a POST to the stream’s own address is told so, as clients that try Streamable HTTP first expect [C6]', async () => {
    const caller = callerOf(house, `${house.origin}/old/sse`, await tokenFor('/old/sse'))
    const refused = await caller.post({ jsonrpc: '2.0', id: 1, method: 'initialize', params: {} })
    expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'GET'])
  })

  it('a client that leaves takes the server’s stream with it within a second', async () => {
    const before = legacy.streams.size
    const client = await connectWithRoots(house, '/old/sse', await tokenFor('/old/sse'))
    await until(() => legacy.streams.size === before + 1, 'the upstream stream')
    await client.close()
    await holdsWithin(1000, () => legacy.streams.size === before, 'its end')
  })

  it('a server that dies in mid-call fails the call in words, and the session is over', async () => {
    const client = await connectWithRoots(house, '/old/mcp', await tokenFor('/old/mcp'))
    const before = legacy.waiting.length
    const calling = client.callTool({ name: 'never', arguments: {} })
    await until(() => legacy.waiting.length > before, 'the call')
    for (const stream of legacy.streams.values()) stream.destroy()
    await expect(calling).rejects.toThrow('closed the connection before it responded')
    await expect(client.ping()).rejects.toThrow()
    await client.close().catch(() => undefined)
  })

  it('a server whose endpoint lies elsewhere is refused, and nothing is sent there', async () => {
    const token = await tokenFor('/liar/mcp')
    const before = liar.heard.length
    await expect(connectWithRoots(house, '/liar/mcp', token)).rejects.toThrow()
    expect(liar.heard.slice(before).map(({ method }) => method)).toEqual(['GET'])
  })

  it('one person’s sessions at a server on a connection are bounded, and one that is ended makes room', async () => {
    const caller = callerOf(
      house,
      `${house.origin}/old/mcp`,
      await tokenOf(house, ana, `${house.origin}/old/mcp`),
    )
    const begin = () =>
      caller.post({
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '1' } },
      })
    const begun = await Promise.all(Array.from({ length: 24 }, begin))
    await Promise.all(begun.map((answer) => answer.text()))
    expect((await begin()).status).toBe(429)
    expect(
      (await caller.delete({ 'mcp-session-id': begun[0]?.headers.get('mcp-session-id') ?? '' })).status,
    ).toBe(204)
    const again = await begin()
    expect(await again.text()).toContain('serverInfo')
    await Promise.all(
      [...begun.slice(1), again].map((answer) =>
        caller.delete({ 'mcp-session-id': answer.headers.get('mcp-session-id') ?? '' }),
      ),
    )
  })

  it('a client of a legacy server takes up the stream of a call where it lost it, beside other streams', async () => {
    const caller = callerOf(house, `${house.origin}/old/mcp`, await tokenFor('/old/mcp'))
    const begun = await caller.post({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '1' } },
    })
    await begun.text()
    const session = { 'mcp-session-id': begun.headers.get('mcp-session-id') as string }
    const params = { name: 'count', arguments: {}, _meta: { progressToken: 'p' } }
    const counted = await (
      await caller.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }, session)
    ).text()
    const first = /^id: (.*)\nevent: message\ndata: .*"progress":1/m.exec(counted)?.[1] ?? ''
    const gone = new AbortController()
    const listening = await Promise.all([1, 2].map(() => caller.get(session, { signal: gone.signal })))
    expect(listening.map(({ status }) => status)).toEqual([200, 200])
    const rest = await (await caller.get({ ...session, 'last-event-id': first })).text()
    expect(rest).toBe(counted.slice(counted.indexOf('id: ', counted.indexOf(first) + first.length)))
    expect(
      rest.match(/^data: .*$/gm)?.map((data) => Object.keys(JSON.parse(data.slice(6)) as object)),
    ).toEqual([
      ['jsonrpc', 'method', 'params'],
      ['jsonrpc', 'method', 'params'],
      ['jsonrpc', 'id', 'result'],
    ])
    expect((await caller.get({ ...session, 'last-event-id': '9-9999' })).status).toBe(400)
    gone.abort()
    expect((await caller.delete(session)).status).toBe(204)
  })

  it('a session of a legacy server belongs to the person and client who began it [B7]', async () => {
    const caller = callerOf(house, `${house.origin}/old/mcp`, await tokenFor('/old/mcp'))
    const begun = await caller.post({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '1' } },
    })
    const session = { 'mcp-session-id': begun.headers.get('mcp-session-id') as string }
    expect(await begun.text()).toContain('"serverInfo"')
    const other = callerOf(house, `${house.origin}/old/mcp`, await tokenFor('/old/mcp', yamada))
    expect((await other.post({ jsonrpc: '2.0', id: 2, method: 'ping' }, session)).status).toBe(404)
    expect((await caller.post({ jsonrpc: '2.0', id: 2, method: 'ping' })).status).toBe(400)
    expect((await caller.delete(session)).status).toBe(204)
    expect((await caller.post({ jsonrpc: '2.0', id: 2, method: 'ping' }, session)).status).toBe(404)
  })
})

it('a session on a connection is unknown in every other process, and after a restart, so that its client begins anew [H-M16]', async () => {
  const legacy = await openLegacyUpstream()
  // Nothing says what the server speaks: only the process that began the session has found out.
  const twins = createTwins(legacy.url)
  const shared = { session_secret: 'rZ8pWq3mVx1nLk6tYb9cGh2sDf5jAe7u' }
  const [one, other] = [await twins.open(shared), await twins.open(shared)]
  const { tokens } = await logIn(one)
  const post = (house: Twin, message: unknown, session: Record<string, string> = {}): Promise<Response> =>
    callerOf(house, `${house.origin}/echo/mcp`, tokens.access_token).post(message, session)
  const begun = await post(one, {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '1' } },
  })
  const session = { 'mcp-session-id': begun.headers.get('mcp-session-id') ?? '' }
  expect(await begun.text()).toContain('serverInfo')
  const heard = legacy.heard.length
  expect((await post(other, { jsonrpc: '2.0', id: 2, method: 'ping' }, session)).status).toBe(404)
  expect(legacy.heard.length).toBe(heard)
  expect(await (await post(one, { jsonrpc: '2.0', id: 2, method: 'ping' }, session)).text()).toContain(
    '"id":2',
  )
  await twins.close()
  await legacy.close()
})
