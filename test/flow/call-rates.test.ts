// Rate limits of calls over the wire: what is counted for whom, and how a caller is told to wait.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Caller, ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { until } from '../runtimes/proxied.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, openInWorkerd, runtimes } from '../runtimes/runtimes.ts'
import { dialSocket } from '../runtimes/socket-client.ts'
import { type SocketUpstream, openSocketUpstream } from '../runtimes/socket-upstream.ts'
import { serverScript } from '../stdio/world.ts'

const rpc = (method: string, params: Readonly<Record<string, unknown>> = {}, id: unknown = 7) => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
})
const call = (name: string, id: unknown = 7) => rpc('tools/call', { name, arguments: {} }, id)
const clientInfo = { name: 'a', version: '1' }
const opening = rpc('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }, 1)

interface Told {
  readonly id?: unknown
  readonly result?: unknown
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown }
}

const minute = 60_000
const three = [{ calls: 3, tools: ['search'] }]

describe.each(runtimes)('rate limits of calls %s', (where, open) => {
  let upstream: RuledUpstream
  let socket: SocketUpstream
  let gateway: RuntimeGateway
  const at = async (id: string, who = ana): Promise<Caller> => {
    const url = `${gateway.origin}/${id}/mcp`
    return callerOf(gateway, url, await tokenOf(gateway, who, url))
  }
  const statuses = async (caller: Caller, messages: readonly unknown[]): Promise<number[]> => {
    const found: number[] = []
    for (const message of messages) {
      const response = await caller.post(message)
      await response.text()
      found.push(response.status)
    }
    return found
  }

  beforeAll(async () => {
    ;[upstream, socket] = await Promise.all([openRuledUpstream(), openSocketUpstream()])
    const { url } = upstream
    gateway = await open({
      upstream: url,
      config: {
        local_users: [ana, yamada],
        rate_limits: [{ calls: 4, within: '1m', services: ['both_*'] }],
        mcp_services: {
          tool: { url, rate_limits: three },
          deletes: { url, rate_limits: [{ calls: 2, within: '1h', tools: ['delete_*', 'create'] }] },
          everything: { url, rate_limits: [{ calls: 3 }] },
          apps: { url, rate_limits: [{ calls: 2, per: 'client' }] },
          both_one: { url },
          both_two: { url },
          plain: { url, rate_limits: [{ calls: 5 }] },
          socketed: { url: socket.url, rate_limits: [{ calls: 3, tools: ['open_tool'] }] },
          ...(open !== openInWorkerd && {
            command: {
              command: process.execPath,
              args: [serverScript],
              sandbox: 'none' as const,
              rate_limits: [{ calls: 1, tools: ['echo'] }],
            },
          }),
        },
      },
    })
  }, 60_000)
  afterAll(async () => {
    await gateway?.close()
    await Promise.all([upstream?.close(), socket?.close()])
  })
  beforeEach(() => {
    gateway.advance(3_600_000)
    upstream.heard.length = 0
  })

  it('refuse a call that is one too many before its server hears of it, and say when to come again [H-R9]', async () => {
    const caller = await at('tool')
    expect(await statuses(caller, [call('search'), call('search'), call('search')])).toEqual([200, 200, 200])
    const response = await caller.post(call('search'))
    const wait = Number(response.headers.get('retry-after'))
    expect([response.status, wait > 0 && wait <= 60, response.headers.get('content-type')]).toEqual([
      429,
      true,
      'application/json',
    ])
    expect(await response.json()).toEqual({
      jsonrpc: '2.0',
      id: 7,
      error: {
        code: 1429,
        message: `Too many calls. Try again in ${wait} seconds.`,
        data: { retry_after: wait, code: 'calls.rate', request_id: response.headers.get('x-request-id') },
      },
    })
    expect(upstream.called()).toEqual(['search', 'search', 'search'])
    // Other tools, and other people, have room.
    expect(await statuses(caller, [call('query'), rpc('ping')])).toEqual([200, 200])
    expect(await statuses(await at('tool', yamada), [call('search')])).toEqual([200])
    gateway.advance(minute)
    expect(await statuses(caller, [call('search')])).toEqual([200])
  })

  it('count the tools of one limit together, in whatever spelling, each other call not', async () => {
    const caller = await at('deletes')
    const messages = [call('delete_all'), call('search'), call('Delete_\u200Ball'), call('create')]
    expect(await statuses(caller, messages)).toEqual([200, 200, 200, 429])
    gateway.advance(59 * minute)
    expect(await statuses(caller, [call('create')])).toEqual([429])
  })

  it('count each message of a batch, and pass nothing on of one that is too many', async () => {
    const caller = await at('everything')
    const headers = { 'mcp-protocol-version': '2025-03-26' }
    const initialized = { jsonrpc: '2.0', method: 'notifications/initialized' }
    expect((await caller.post([call('search', 1), call('query', 2)], headers)).status).toBe(200)
    upstream.heard.length = 0
    const response = await caller.post([call('search', 1), initialized, call('query', 'b')], headers)
    const answers = (await response.json()) as Told[]
    expect([response.status, response.headers.get('retry-after') !== null]).toEqual([429, true])
    expect(answers.map(({ id, error }) => [id, error?.code])).toEqual([
      [1, 1429],
      ['b', 1429],
    ])
    expect(upstream.heard).toEqual([])
    // A refused batch is not counted; a notification is; what a client answers its server is not.
    expect((await caller.post(initialized)).status).toBeLessThan(300)
    expect((await caller.post(initialized)).status).toBe(429)
    expect((await caller.post({ jsonrpc: '2.0', id: 1, result: {} })).status).not.toBe(429)
  })

  it('are for a user over all their apps, or for each app of a user', async () => {
    const [first, second] = [await at('apps'), await at('apps')]
    expect(await statuses(first, [rpc('ping'), rpc('ping'), rpc('ping')])).toEqual([200, 200, 429])
    expect(await statuses(second, [rpc('ping'), rpc('ping'), rpc('ping')])).toEqual([200, 200, 429])
    const [here, there] = [await at('both_one'), await at('both_two')]
    expect(await statuses(here, [rpc('ping'), rpc('ping'), rpc('ping')])).toEqual([200, 200, 200])
    expect(await statuses(there, [rpc('ping'), rpc('ping')])).toEqual([200, 429])
    expect(await statuses(await at('both_two', yamada), [rpc('ping')])).toEqual([200])
  })

  it('hold for a service that is added while the gateway runs', async () => {
    await gateway.supply('added', { url: upstream.url, rate_limits: [{ calls: 1 }] })
    // Requests are what makes the gateway look.
    await until(
      async () => (await gateway.fetch(`${gateway.origin}/added/mcp`)).status === 401,
      'the service',
    )
    expect(await statuses(await at('added'), [rpc('ping'), rpc('ping')])).toEqual([200, 429])
  })

  it('let an SDK client go on in its session after a call that was too many', async () => {
    const { url, token } = await at('plain')
    const client = new Client(clientInfo)
    const transport = new StreamableHTTPClientTransport(new URL(url), {
      fetch: (to, init) => gateway.fetch(String(to), init as RequestInit),
      requestInit: { headers: { authorization: `Bearer ${token}` } },
    })
    await client.connect(transport)
    // `initialize` and `notifications/initialized` count.
    for (let i = 0; i < 3; i++) await client.callTool({ name: 'search', arguments: {} })
    await expect(client.callTool({ name: 'search', arguments: {} })).rejects.toThrow(/Too many calls/)
    gateway.advance(minute)
    await client.callTool({ name: 'search', arguments: {} })
    await client.close()
  })

  it('hold for stdio servers', async () => {
    if (where === 'in workerd') return
    const caller = await at('command')
    const begun = await caller.post(opening)
    await begun.text()
    const session = { 'mcp-session-id': begun.headers.get('mcp-session-id') ?? '' }
    const echo = rpc('tools/call', { name: 'echo', arguments: { text: 'x' } })
    const found: number[] = []
    for (let i = 0; i < 2; i++) found.push((await caller.post(echo, session)).status)
    expect(found).toEqual([200, 429])
  })

  it('hold for clients of HTTP+SSE, which read the error on their stream', async () => {
    const { token } = await at('tool')
    const client = callerOf(gateway, `${gateway.origin}/tool/sse`, token)
    const response = await client.get()
    const reader = (response.body as ReadableStream<Uint8Array>)
      .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
      .getReader()
    let heard = ''
    const hear = async (what: string): Promise<void> => {
      while (!heard.includes(what)) heard += (await reader.read()).value ?? ''
    }
    await hear('\n\n')
    const endpoint = callerOf(gateway, `${gateway.origin}${/data: (\S+)/.exec(heard)?.[1] ?? ''}`, token)
    await endpoint.post(opening)
    await hear('"id":1')
    for (const id of [2, 3, 4, 5]) {
      expect((await endpoint.post(call('search', id))).status).toBe(202)
      await hear(`"id":${id}`)
    }
    await reader.cancel()
    expect(heard.split('calls.rate')).toHaveLength(2)
    expect(heard).toMatch(/"id":5,"error":\{"code":1429,.*"retry_after":\d+/)
    expect(upstream.called()).toHaveLength(3)
  })

  it('hold on a WebSocket, to a server over HTTP and to one on a WebSocket', async () => {
    // In process there are no sockets to upgrade.
    if (where === 'in process') return
    for (const [id, tool] of [
      ['tool', 'search'],
      ['socketed', 'open_tool'],
    ] as const) {
      const { token } = await at(id)
      const client = await dialSocket(
        `${(gateway.listens ?? gateway.origin).replace('http', 'ws')}/${id}/mcp`,
        { headers: { authorization: `Bearer ${token}` } },
      )
      const ask = async (message: { id: unknown }): Promise<Told> => {
        client.socket.send(JSON.stringify(message))
        await until(() => client.said.some((one) => one.id === message.id), `answer ${String(message.id)}`)
        return client.said.find((one) => one.id === message.id) as Told
      }
      await ask(opening)
      client.socket.send(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }))
      for (const number of [2, 3, 4]) expect((await ask(call(tool, number))).error?.code).not.toBe(1429)
      const { error } = await ask(call(tool, 5))
      expect(error).toMatchObject({
        code: 1429,
        data: { code: 'calls.rate', retry_after: expect.any(Number) as number },
      })
      expect((await ask(rpc('ping', {}, 6))).error?.code).not.toBe(1429)
      client.socket.close()
    }
  })

  it('write down who was refused what', async () => {
    await statuses(await at('tool'), [call('search'), call('search'), call('search'), call('search')])
    const record = () =>
      gateway.log.findLast(({ fields }) => fields['refusal'] === 'calls.rate' && fields['event'] === 'call')
        ?.fields
    await expect.poll(record).toMatchObject({
      service: 'tool',
      person: 'local:ana',
      name: 'search',
      status: 429,
    })
  })
})
