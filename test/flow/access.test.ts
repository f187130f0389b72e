// Access rules over the wire: who may use which tools, prompts and resources, what lists show, and how a caller
// is told that it may not.
import { Client, type OAuthClientProvider, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Caller, ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { until } from '../runtimes/proxied.ts'
import { askModern, beginLegacy } from '../runtimes/revisions.ts'
import {
  type RuledUpstream,
  type Told,
  call,
  openRuledUpstream,
  rpc,
  told,
} from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, openInWorkerd, runtimes } from '../runtimes/runtimes.ts'
import { dialSocket } from '../runtimes/socket-client.ts'
import { type SocketUpstream, openSocketUpstream } from '../runtimes/socket-upstream.ts'
import { serverScript } from '../stdio/world.ts'

/** Of group `staff`; `yamada` is of `a,b` and `c`. */
const access = {
  allow: [
    { groups: ['staff'], permissions: ['write' as const] },
    { people: ['local:yamada'], permissions: ['admin' as const], tools: ['delete_*'] },
  ],
  deny: [
    {
      id: 'no-drop',
      tools: ['query'],
      when: { sql: { glob: '*DROP *' } },
      reason: 'Nobody drops tables here.',
    },
  ],
  resources: { deny: ['doc://secret/**'] },
  prompts: { deny: ['admin_*'] },
}

const names = ({ result }: Told, member: string, key = 'name'): unknown[] =>
  ((result?.[member] ?? []) as Record<string, unknown>[]).map((item) => item[key])

describe.each(runtimes)('access rules %s', (where, open) => {
  let plain: RuledUpstream
  let stream: RuledUpstream
  let socket: SocketUpstream
  let gateway: RuntimeGateway
  const tokens = new Map<string, string>()
  const at = async (id: string, who = ana): Promise<Caller> => {
    const key = `${id} ${who.username}`
    const token = tokens.get(key) ?? (await tokenOf(gateway, who, `${gateway.origin}/${id}/mcp`))
    tokens.set(key, token)
    return callerOf(gateway, `${gateway.origin}/${id}/mcp`, token)
  }

  beforeAll(async () => {
    ;[plain, stream, socket] = await Promise.all([
      openRuledUpstream(),
      openRuledUpstream(true),
      openSocketUpstream(),
    ])
    gateway = await open({
      upstream: plain.url,
      config: {
        local_users: [ana, yamada],
        access: { allow: [{ people: ['ana@example.com'], services: ['top*'], permissions: ['admin'] }] },
        mcp_services: {
          ruled: { url: plain.url, access },
          streamed: { url: stream.url, access: { ...access, deny: [] } },
          topmost: { url: plain.url },
          // Nobody signs in, so that no page tells them before they call.
          shut: { url: plain.url, auth_required: false },
          socketed: {
            url: socket.url,
            access: { groups: ['staff'], tools: { hidden_tool: 'deny', '*': 'read' } },
          },
          ...(open !== openInWorkerd && {
            command: {
              command: process.execPath,
              args: [serverScript],
              sandbox: 'none' as const,
              access: { groups: ['staff'], tools: { echo: 'read', '*': 'admin' } },
            },
          }),
        },
      },
    })
  }, 60_000)
  afterAll(async () => {
    await gateway?.close()
    await Promise.all([plain?.close(), stream?.close(), socket?.close()])
  })
  beforeEach(() => {
    plain.heard.length = 0
    stream.heard.length = 0
  })

  it('let a call through that a rule grants', async () => {
    const caller = await at('ruled')
    expect(names(await told(await caller.post(rpc('tools/list'))), 'tools')).toEqual([
      'search',
      'create',
      'query',
    ])
    const answer = await told(await caller.post(call('create')))
    expect(answer.result?.['content']).toEqual([{ type: 'text', text: 'did tools/call create' }])
  })

  it('answer a call that needs more with an error of the call, not with a challenge', async () => {
    const response = await (await at('ruled')).post(call('delete_all'))
    const { error, id } = await told(response)
    expect([response.status, response.headers.get('www-authenticate'), id]).toEqual([200, null, 7])
    expect(error).toEqual({
      code: 1403,
      message: 'Access denied: delete_all needs execute; you have write.',
      data: {
        code: 'policy.permission',
        rule: 'services.ruled.access.allow[0]',
        need: 'execute',
        request_id: response.headers.get('x-request-id'),
      },
    })
    expect(plain.called()).toEqual([])
  })

  it('judge arguments', async () => {
    const caller = await at('ruled')
    const denied = await told(await caller.post(call('query', { sql: 'DROP TABLE a' })))
    expect([denied.error?.message, denied.error?.data?.['rule']]).toEqual([
      'Nobody drops tables here.',
      'no-drop',
    ])
    expect((await told(await caller.post(call('query', { sql: 'select 1' })))).error).toBeUndefined()
    expect(plain.called()).toEqual(['query'])
  })

  it('show of lists what may be used, page by page', async () => {
    for (const id of ['ruled', 'streamed']) {
      const caller = await at(id, yamada)
      const first = await told(await caller.post(rpc('tools/list')))
      expect([names(first, 'tools'), first.result?.['nextCursor']]).toEqual([[], 'two'])
      expect(names(await told(await caller.post(rpc('tools/list', { cursor: 'two' }))), 'tools')).toEqual([
        'delete_all',
      ])
    }
    const caller = await at('ruled')
    expect(names(await told(await caller.post(rpc('prompts/list'))), 'prompts')).toEqual(['summary'])
    expect(names(await told(await caller.post(rpc('resources/list'))), 'resources', 'uri')).toEqual([
      'doc://public/a',
    ])
    const templates = await told(await caller.post(rpc('resources/templates/list')))
    expect(names(templates, 'resourceTemplates', 'uriTemplate')).toEqual(['doc://public/{id}'])
  })

  it('judge prompts, resources and completions', async () => {
    const caller = await at('ruled')
    const codes: unknown[] = []
    for (const message of [
      rpc('prompts/get', { name: 'summary' }),
      rpc('prompts/get', { name: 'admin_reset' }),
      rpc('resources/read', { uri: 'doc://public/a' }),
      rpc('resources/read', { uri: 'doc://secret/b' }),
      rpc('resources/subscribe', { uri: 'DOC://secret/x/../b' }),
      rpc('completion/complete', { ref: { type: 'ref/prompt', name: 'admin_reset' }, argument: {} }),
      rpc('completion/complete', { ref: { type: 'ref/resource', uri: 'doc://secret/{id}' }, argument: {} }),
      rpc('completion/complete', { ref: { type: 'ref/prompt', name: 'summary' }, argument: {} }),
    ])
      codes.push((await told(await caller.post(message))).error?.data?.['code'] ?? 'passed')
    expect(codes).toEqual([
      ...['passed', 'policy.denied', 'passed', 'policy.denied', 'policy.denied'],
      ...['policy.denied', 'policy.denied', 'passed'],
    ])
  })

  it('answer a tool that is on no list as one that does not exist, having asked for the list once', async () => {
    const caller = await at('streamed', ana)
    const answer = await told(await caller.post(call('nowhere')))
    expect(answer.error).toMatchObject({ code: -32602, message: 'Unknown tool: nowhere' })
    await caller.post(call('nowhere_either'))
    const lists = stream.heard.filter(({ body }) => body.includes('tools/list'))
    expect([lists.length <= 2, stream.called()]).toEqual([true, []])
    // What the list showed can be called without asking for it again.
    expect((await told(await caller.post(call('search')))).result).toEqual({
      content: [{ type: 'text', text: 'did tools/call search' }],
    })
  })

  it('know no method that MCP does not define', async () => {
    const caller = await at('ruled')
    const answer = await told(await caller.post(rpc('acme/export')))
    expect(answer.error).toMatchObject({ code: -32601, message: 'Method not found: acme/export' })
    expect(plain.heard).toEqual([])
  })

  it('drop a notification that MCP does not define', async () => {
    const caller = await at('ruled')
    const response = await caller.post({ jsonrpc: '2.0', method: 'notifications/acme' })
    expect([response.status, await response.text(), plain.heard]).toEqual([202, '', []])
    await caller.post({ jsonrpc: '2.0', method: 'notifications/initialized' })
    expect(plain.heard.length).toBe(1)
  })

  it('close a service to those whom no rule names, streams and sessions too', async () => {
    const caller = callerOf(gateway, `${gateway.origin}/shut/mcp`, '')
    plain.heard.length = 0
    const answer = await told(await caller.post(rpc('initialize', { protocolVersion: '2025-11-25' })))
    expect(answer.error).toMatchObject({
      code: 1403,
      message: "Access denied: You don't have access to server 'shut'",
      data: { code: 'policy.service' },
    })
    expect([(await caller.get()).status, (await caller.delete()).status]).toEqual([403, 403])
    expect(plain.heard).toEqual([])
    expect((await told(await (await at('topmost', ana)).post(call('delete_all')))).error).toBeUndefined()
  })

  it('write down who was denied what', async () => {
    await (await at('ruled')).post(call('delete_all'))
    const record = () =>
      gateway.log.findLast(
        ({ fields }) => fields['refusal'] === 'policy.permission' && fields['event'] === 'call',
      )?.fields
    await expect.poll(record).toMatchObject({
      service: 'ruled',
      person: 'local:ana',
      method: 'tools/call',
      name: 'delete_all',
      result: 'refused',
      status: 200,
    })
  })

  it('hold for clients of 2026-07-28, which may keep a list for themselves alone', async () => {
    const caller = await at('ruled')
    const list = await told(await askModern(caller, 'tools/list'))
    expect(names(list, 'tools')).toEqual(['search', 'create', 'query'])
    expect(list.result?.['cacheScope'] ?? 'private').toBe('private')
    const denied = await told(await askModern(caller, 'tools/call', { name: 'delete_all', arguments: {} }))
    expect(denied.error?.data?.['code']).toBe('policy.permission')
    const unknown = await askModern(caller, 'acme/export')
    expect([unknown.status, (await told(unknown)).error?.code]).toEqual([404, -32601])
  })

  it('reach the user of an SDK client as a sentence, and begin no sign-in', async () => {
    const { token } = await at('ruled')
    const redirects: string[] = []
    const authProvider: OAuthClientProvider = {
      redirectUrl: 'http://127.0.0.1:5000/cb',
      clientMetadata: { redirect_uris: ['http://127.0.0.1:5000/cb'] },
      clientInformation: () => ({ client_id: 'client' }),
      tokens: () => ({ access_token: token, token_type: 'Bearer', refresh_token: 'refresh' }),
      saveTokens: () => void redirects.push('tokens'),
      redirectToAuthorization: (url) => void redirects.push(url.href),
      saveCodeVerifier: () => undefined,
      codeVerifier: () => '',
    }
    const client = new Client({ name: 'flow', version: '1' }, {})
    const url = new URL(`${gateway.origin}/ruled/mcp`)
    await client.connect(
      new StreamableHTTPClientTransport(url, { authProvider, fetch: gateway.fetch as typeof fetch }),
    )
    const { tools } = await client.listTools()
    // The SDK's own walk over both pages.
    expect(tools.map(({ name }) => name)).toEqual(['search', 'create', 'query'])
    await expect(client.callTool({ name: 'delete_all', arguments: {} })).rejects.toThrow(
      'Access denied: delete_all needs execute; you have write.',
    )
    expect(redirects).toEqual([])
    await client.close()
  })

  it('hold for stdio servers', async () => {
    if (where === 'in workerd') return
    const caller = await at('command')
    const { session } = await beginLegacy(caller)
    expect(names(await told(await caller.post(rpc('tools/list'), session)), 'tools')).toEqual(['echo'])
    const denied = await told(await caller.post(call('whoami'), session))
    expect(denied.error?.code === 1403 || denied.error?.code === -32602).toBe(true)
    expect((await told(await caller.post(call('echo', { text: 'x' }), session))).error).toBeUndefined()
  })

  it('hold for clients of HTTP+SSE', async () => {
    const { token } = await at('ruled')
    const client = callerOf(gateway, `${gateway.origin}/ruled/sse`, token)
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
    await endpoint.post(rpc('initialize', { protocolVersion: '2024-11-05', capabilities: {} }, 1))
    await hear('"id":1')
    await endpoint.post({ ...rpc('tools/list'), id: 2 })
    await hear('"id":2')
    await endpoint.post({ ...call('delete_all'), id: 3 })
    await hear('"id":3')
    await reader.cancel()
    expect(heard).toContain('"search"')
    expect(heard).toContain('policy.permission')
    expect(plain.called()).toEqual([])
  })

  it('hold on a WebSocket, to a server over HTTP and to one on a WebSocket', async () => {
    // In process there are no sockets to upgrade.
    if (where === 'in process') return
    for (const [id, allowed, denied] of [
      ['ruled', 'search', 'delete_all'],
      ['socketed', 'open_tool', 'hidden_tool'],
    ] as const) {
      const { token } = await at(id)
      const headers = { authorization: `Bearer ${token}` }
      const client = await dialSocket(
        `${(gateway.listens ?? gateway.origin).replace('http', 'ws')}/${id}/mcp`,
        { headers },
      )
      const ask = async (message: { id: unknown }): Promise<Told> => {
        client.socket.send(JSON.stringify(message))
        await until(() => client.said.some((one) => one.id === message.id), `answer ${String(message.id)}`)
        return client.said.find((one) => one.id === message.id) as Told
      }
      const clientInfo = { name: 'a', version: '1' }
      await ask(rpc('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }, 1))
      client.socket.send(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }))
      // A tool that no list has shown yet: the gateway asks for the list itself, and the client hears nothing of it.
      expect((await ask({ ...call(allowed), id: 4 })).error).toBeUndefined()
      expect((await ask({ ...call('nowhere'), id: 5 })).error).toMatchObject({ code: -32602 })
      expect(client.said.map((one) => one.id)).toEqual([1, 4, 5])
      const list = await ask(rpc('tools/list', {}, 2))
      expect(names(list, 'tools')).toContain(allowed)
      expect(names(list, 'tools')).not.toContain(denied)
      const refused = await ask({ ...call(denied), id: 3 })
      expect(refused.error?.data).toMatchObject({
        code: id === 'ruled' ? 'policy.permission' : 'policy.tool',
      })
      client.socket.close()
      await expect(
        dialSocket(`${(gateway.listens ?? gateway.origin).replace('http', 'ws')}/shut/mcp`, {}),
      ).rejects.toThrow('403')
    }
  })
})
