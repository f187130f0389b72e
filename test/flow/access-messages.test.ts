// What the access rules leave of messages over the wire: of batches, of what servers ask of clients, of
// subscriptions.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Upstream } from '../runtimes/upstream.ts'
import { changes, openAskingUpstream } from '../runtimes/asking-upstream.ts'
import { dialSocket } from '../runtimes/socket-client.ts'
import { type SocketUpstream, openSocketUpstream } from '../runtimes/socket-upstream.ts'
import { type Caller, ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { signInAs } from '../runtimes/administrator.ts'
import { until } from '../runtimes/proxied.ts'
import { beginLegacy } from '../runtimes/revisions.ts'
import {
  type RuledUpstream,
  type Told,
  call,
  openRuledUpstream,
  rpc,
  told,
} from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, openInWorkerd, runtimes } from '../runtimes/runtimes.ts'
import { serverScript } from '../stdio/world.ts'

const access = { groups: ['staff'], permissions: ['write' as const] }

const asked = {
  groups: ['staff'],
  permissions: ['execute' as const],
  resources: { deny: ['doc://secret/**'] },
  from_server: { sampling: 'deny' as const, roots: 'deny' as const },
  instructions: 'drop' as const,
}
const everything = { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } }

/** The messages of an answer: of one in JSON, or of a stream. */
const allTold = (text: string): readonly Told[] =>
  (text.startsWith('[')
    ? [text]
    : [...text.matchAll(/data: (\{.*|\[.*)/g)].map(([, data = '']) => data)
  ).flatMap((data) => JSON.parse(data) as Told | Told[])

describe.each(runtimes)('messages under access rules %s', (where, open) => {
  let plain: RuledUpstream
  let stream: RuledUpstream
  let asking: Upstream
  let socket: SocketUpstream
  let gateway: RuntimeGateway
  const tokens = new Map<string, string>()
  const at = async (id: string): Promise<Caller> => {
    const token = tokens.get(id) ?? (await tokenOf(gateway, ana, `${gateway.origin}/${id}/mcp`))
    tokens.set(id, token)
    return callerOf(gateway, `${gateway.origin}/${id}/mcp`, token)
  }

  beforeAll(async () => {
    ;[plain, stream, asking, socket] = await Promise.all([
      openRuledUpstream(),
      openRuledUpstream(true),
      openAskingUpstream(),
      openSocketUpstream(),
    ])
    gateway = await open({
      upstream: plain.url,
      config: {
        local_users: [ana],
        admins: ['local:ana'],
        mcp_services: {
          ruled: { url: plain.url, access },
          streamed: { url: stream.url, access },
          asking: { url: asking.url, access: asked },
          socketed: { url: socket.url, access: asked },
          ...(open !== openInWorkerd && {
            command: {
              command: process.execPath,
              args: [serverScript],
              sandbox: 'none' as const,
              access: {
                groups: ['staff'],
                tools: { echo: 'read', elicit: 'read', sample: 'read', roots: 'read', '*': 'admin' },
                from_server: { sampling: 'deny' as const, roots: 'deny' as const },
              },
            },
          }),
        },
      },
    })
  }, 60_000)
  afterAll(async () => {
    await gateway?.close()
    await Promise.all([plain, stream, asking, socket].map((server) => server?.close()))
  })
  beforeEach(() => {
    plain.heard.length = 0
    stream.heard.length = 0
    asking.heard.length = 0
  })

  it('answer the denied messages of a batch, and pass the others on (access rule A12)', async () => {
    const ids = where === 'in workerd' ? ['ruled', 'streamed'] : ['ruled', 'streamed', 'command']
    for (const id of ids) {
      const caller = await at(id)
      const { session } = await beginLegacy(caller, '2025-03-26')
      await told(await caller.post(rpc('tools/list'), session))
      const upstream = id === 'streamed' ? stream : plain
      upstream.heard.length = 0
      const [good, bad] = id === 'command' ? ['echo', 'whoami'] : ['search', 'delete_all']
      const batch = [
        { ...call(good, { text: 'x', n: 1 }), id: 1 },
        { ...call(bad), id: 2 },
        { jsonrpc: '2.0', method: 'notifications/initialized' },
        { ...rpc('acme/export'), id: '3' },
        { jsonrpc: '2.0', method: 'notifications/acme' },
      ]
      const response = await caller.post(batch, session)
      const answers = allTold(await response.text()).toSorted((a, b) => Number(a.id) - Number(b.id))
      const seen = answers.map((one) => [one.id, one.error?.data?.['code'] ?? 'passed'])
      expect([id, response.status, seen]).toEqual([
        ...[id, 200],
        [
          [1, 'passed'],
          [2, id === 'command' ? expect.stringMatching(/^policy\./) : 'policy.permission'],
          ['3', 'policy.method'],
        ],
      ])
      if (id === 'command') continue
      const sent = JSON.parse(upstream.heard.at(-1)?.body ?? '') as { readonly method: string }[]
      expect(sent.map(({ method }) => method)).toEqual(['tools/call', 'notifications/initialized'])
    }
  })

  it('answer a batch of which only notifications may go on with its errors (access rule A12)', async () => {
    const caller = await at('ruled')
    const said = [
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      { ...rpc('acme/export'), id: 2 },
    ]
    const version = { 'mcp-protocol-version': '2025-03-26' }
    const response = await caller.post(said, version)
    const answers = (await response.json()) as Told[]
    expect([response.status, response.headers.get('content-type'), answers.map(({ id }) => id)]).toEqual([
      ...[200, 'application/json'],
      [2],
    ])
    expect(plain.heard.map(({ body }) => JSON.parse(body) as unknown)).toEqual([[said[0]]])
    const dropped = await caller.post([{ jsonrpc: '2.0', method: 'notifications/acme' }], version)
    expect([dropped.status, await dropped.text(), plain.heard.length]).toEqual([202, '', 1])
    const twice = await caller.post(
      [
        { ...call('search'), id: 1 },
        { ...rpc('acme/x'), id: 1 },
      ],
      version,
    )
    expect([twice.status, (await told(twice)).error?.code, plain.heard.length]).toEqual([400, -32_600, 1])
  })

  it('write down each message of a batch that was denied', async () => {
    const before = gateway.log.length
    const caller = await at('ruled')
    await (
      await caller.post(
        [
          { ...call('search'), id: 1 },
          { ...call('delete_all'), id: 2 },
        ],
        {
          'mcp-protocol-version': '2025-03-26',
        },
      )
    ).text()
    await until(
      () => gateway.log.slice(before).filter(({ fields }) => fields['event'] === 'call').length === 2,
      'both calls are recorded',
    )
    const calls = gateway.log.slice(before).filter(({ fields }) => fields['event'] === 'call')
    expect(calls.map(({ fields }) => [fields['name'], fields['result'], fields['refusal']])).toEqual([
      ['delete_all', 'refused', 'policy.permission'],
      ['search', 'answered', undefined],
    ])
  })

  const bodies = ({ heard }: Upstream): readonly Told[] =>
    heard.flatMap(({ body }) => (body === '' ? [] : [JSON.parse(body) as Told]))
  const methodsIn = (messages: readonly unknown[]): unknown[] =>
    messages.flatMap((message) => (message as { method?: unknown }).method ?? [])
  const denied = [
    ['s1', -1],
    ['s3', -1],
    ['s4', -32_601],
  ]
  /** What the server was answered. */
  const replies = (messages: readonly Told[]): unknown[] =>
    messages
      .filter(({ id, error }) => error !== undefined && String(id).startsWith('s'))
      .map(({ id, error }) => [id, error?.code])
      .toSorted(([a], [b]) => String(a).localeCompare(String(b)))

  it('keep from clients what a server may not ask, and answer it for them (access rule F7)', async () => {
    const caller = await at('asking')
    const { begun, session } = await beginLegacy(caller, '2025-11-25', everything)
    expect((await told(begun)).result).not.toHaveProperty('instructions')
    const initialize = asking.heard.find(({ body }) => body.includes('"initialize"'))?.body ?? ''
    expect(initialize).toContain('"capabilities":{"elicitation":{"form":{}}}')
    const messages = allTold(await (await caller.post(call('ask'), session)).text())
    expect([methodsIn(messages), messages.at(-1)?.result]).toEqual([
      ['elicitation/create', 'ping'],
      { content: [{ type: 'text', text: 'done' }] },
    ])
    await until(() => replies(bodies(asking)).length === 3, 'the server has its answers')
    expect(replies(bodies(asking))).toEqual(denied)
    expect(asking.heard.findLast(({ body }) => body.includes('"s1"'))?.headers['mcp-session-id']).toBe(
      'asking',
    )
  })

  it('read the stream that a client listens to, and what of it changes (access rules F6, F7)', async () => {
    const caller = await at('asking')
    const { session } = await beginLegacy(caller, '2025-11-25', everything)
    asking.heard.length = 0
    const response = await caller.get(session)
    const reader = (response.body as ReadableStream<Uint8Array>)
      .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
      .getReader()
    let heard = ''
    while (!heard.includes('"s5"')) heard += (await reader.read()).value ?? ''
    await reader.cancel()
    expect(methodsIn(allTold(heard))).toEqual([
      'notifications/resources/updated',
      'elicitation/create',
      'ping',
    ])
    // Where the stream goes on is said of what was kept back too (WHATWG HTML §9.2.6).
    expect([heard.includes('secret'), heard.startsWith('id: 0\n\nid: 1\ndata: ')]).toEqual([false, true])
    await until(() => replies(bodies(asking)).length === 3, 'the server has its answers')
    expect(replies(bodies(asking))).toEqual(denied)
  })

  it('let a server say in any words that it has no stream', async () => {
    const response = await (await at('ruled')).get()
    expect([response.status, await response.text()]).toEqual([405, ''])
  })

  it('hold for clients of HTTP+SSE', async () => {
    const { token } = await at('asking')
    const client = callerOf(gateway, `${gateway.origin}/asking/sse`, token)
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
    await endpoint.post(rpc('initialize', { protocolVersion: '2024-11-05', capabilities: everything }, 1))
    await hear('"id":1')
    await endpoint.post({ ...call('ask'), id: 2 })
    await hear('"id":2')
    await reader.cancel()
    expect(heard).toContain('elicitation/create')
    expect(heard).not.toMatch(/sampling|roots|acme|secret|instructions/)
    await until(() => replies(bodies(asking)).length >= 3, 'the server has its answers')
  })

  it('tell who listens that other rules change what they are shown (access rule F6)', async () => {
    const caller = await at('asking')
    const { session } = await beginLegacy(caller)
    const response = await caller.get(session)
    const reader = (response.body as ReadableStream<Uint8Array>)
      .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
      .getReader()
    let heard = ''
    const hear = async (what: string): Promise<void> => {
      while (!heard.includes(what)) heard += (await reader.read()).value ?? ''
    }
    await hear('"s5"')
    const admin = await signInAs(gateway, ana)
    const store = async (deny: object): Promise<string> => {
      const { status, body } = await admin.ask('POST', '/api/access', { deny })
      expect([status, body]).toEqual([201, expect.any(String)])
      return String((JSON.parse(body) as { readonly id: unknown }).id)
    }
    // Whom a rule does not concern hears nothing of it.
    const ids = [await store({ services: ['asking'], people: ['local:ben'], tools: ['ask'] })]
    const other = heard.length
    ids.push(await store({ services: ['asking'], tools: ['ask'] }))
    await hear('notifications/resources/list_changed')
    expect(methodsIn(allTold(heard.slice(other)))).toEqual([
      'notifications/tools/list_changed',
      'notifications/prompts/list_changed',
      'notifications/resources/list_changed',
    ])
    expect((await told(await caller.post(rpc('tools/list'), session))).result?.['tools']).toHaveLength(3)
    await reader.cancel()
    for (const id of ids) await admin.ask('DELETE', `/api/access/${id}`)
  })

  it('hold for stdio servers', async () => {
    if (where === 'in workerd') return
    const caller = await at('command')
    const { begun, session } = await beginLegacy(caller, '2025-11-25', everything)
    // The client hears of changes, whatever the server says of them (access rule F6).
    expect((await told(begun)).result?.['capabilities']).toMatchObject({ tools: { listChanged: true } })
    for (const name of ['sample', 'roots']) {
      const messages = allTold(`data: ${await (await caller.post(call(name), session)).text()}`)
      expect([methodsIn(messages), JSON.stringify(messages.at(-1)?.result)]).toEqual([
        [],
        expect.stringContaining('"code\\":-1'),
      ])
    }
  })

  it('hold on a WebSocket, to a server over HTTP and to one on a WebSocket', async () => {
    // In process there are no sockets to upgrade.
    if (where === 'in process') return
    for (const id of ['asking', 'socketed']) {
      const { token } = await at(id)
      const url = `${(gateway.listens ?? gateway.origin).replace('http', 'ws')}/${id}/mcp`
      const client = await dialSocket(url, { headers: { authorization: `Bearer ${token}` } })
      const hears = (what: unknown) => until(() => client.said.some((one) => one.id === what), String(what))
      const clientInfo = { name: 'a', version: '1' }
      const params = { protocolVersion: '2025-11-25', capabilities: everything, clientInfo }
      client.socket.send(JSON.stringify(rpc('initialize', params, 1)))
      await hears(1)
      if (id === 'asking') {
        client.socket.send(JSON.stringify({ ...call('ask'), id: 2 }))
        await hears(2)
        await until(() => replies(bodies(asking)).length >= 3, 'the server has its answers')
      } else {
        expect(socket.said[0]).not.toMatch(/sampling|roots/)
        expect(client.said[0]?.result).toMatchObject({ capabilities: { tools: { listChanged: true } } })
        for (const open of socket.open) for (const message of changes) open.send(JSON.stringify(message))
        await hears('s2')
        const answered = () => socket.said.map((text) => JSON.parse(text) as Told)
        await until(() => replies(answered()).length === 3, 'the server has its answers')
        expect(replies(answered())).toEqual(denied)
      }
      client.socket.close()
      const heard = JSON.stringify(client.said)
      expect(heard).toContain('elicitation/create')
      expect(heard).not.toMatch(/sampling|roots|acme|secret|instructions/)
    }
  })
})
