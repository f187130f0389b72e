// What a person lets an app do, within what the access rules allow: the consent page, the scopes of the token, and
// the way to more.
import {
  type OAuthClientProvider,
  type OAuthTokens,
  Client as SdkClient,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from '@modelcontextprotocol/client'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import {
  type Client,
  type Tokens,
  allow,
  authorizeUrl,
  redeem,
  refresh,
  register,
} from '../runtimes/login.ts'
import { type Caller, ana, callerOf, yamada } from '../runtimes/people.ts'
import { until } from '../runtimes/proxied.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, runtimes } from '../runtimes/runtimes.ts'
import { dialSocket } from '../runtimes/socket-client.ts'

interface Told {
  readonly id?: unknown
  readonly result?: { readonly tools?: readonly { readonly name: string }[] }
  readonly error?: {
    readonly code: number
    readonly message: string
    readonly data?: Record<string, unknown>
  }
}

const rpc = (method: string, params: Readonly<Record<string, unknown>> = {}, id: unknown = 7) => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
})
const call = (name: string, id: unknown = 7) => rpc('tools/call', { name, arguments: {} }, id)

type Choice = Parameters<Browser['submit']>[2]
const signIn = { username: ana.username, password: ana.password }
const readOnly = { decision: 'allow', preset: 'read' }

describe.each(runtimes)('consent %s', (where, open) => {
  let upstream: RuledUpstream
  let gateway: RuntimeGateway
  beforeAll(async () => {
    upstream = await openRuledUpstream()
    gateway = await open({
      upstream: upstream.url,
      config: {
        local_users: [ana, yamada],
        mcp_services: {
          ruled: {
            url: upstream.url,
            access: {
              allow: [
                { groups: ['staff'], permissions: ['admin'] },
                { people: ['local:yamada'], permissions: ['write'] },
              ],
              tools: { unmarked: 'admin', delete_all: 'execute' },
            },
          },
          redirected: { url: upstream.url, access: { everyone: true, clients: ['redirect:app.example'] } },
          closed: { url: upstream.url, access: { people: ['local:nobody'] } },
        },
      },
    })
  }, 60_000)
  afterAll(async () => {
    await gateway?.close()
    await upstream?.close()
  })
  beforeEach(() => void (upstream.heard.length = 0))

  const resource = (): string => `${gateway.origin}/ruled/mcp`
  const browserOf = (): Browser => createBrowser(gateway.fetch, gateway.origin)

  /** The way of one client: it asks, the person answers, and the client gets its tokens. */
  const ask = async (
    client: Client,
    browser: Browser,
    {
      choice = readOnly,
      who = ana,
      ...params
    }: { choice?: Choice; who?: typeof ana } & Record<string, unknown> = {},
  ): Promise<Tokens & { caller: Caller }> => {
    const asking = authorizeUrl(gateway, client, {
      resource: resource(),
      ...(params as Record<string, string>),
    })
    const back = await allow(browser, asking.url, who, choice)
    const response = await redeem(gateway, client, back.searchParams.get('code') ?? '', asking.verifier)
    const tokens = (await response.json()) as Tokens
    return { ...tokens, caller: callerOf(gateway, resource(), tokens.access_token) }
  }
  const told = async (response: Response): Promise<Told> => (await response.json()) as Told
  /** The consent page of a request, as it is shown. */
  const pageOf = async (client: Client, browser: Browser, params: Record<string, string> = {}) => {
    const page = await browser.go(authorizeUrl(gateway, client, { resource: resource(), ...params }).url)
    return page.body.includes('name="password"') ? browser.submit(page, '/login', signIn) : page
  }

  it('advertises the levels where there are rules', async () => {
    const at = async (path: string) =>
      ((await (await gateway.fetch(`${gateway.origin}${path}`)).json()) as { scopes_supported: string[] })
        .scopes_supported
    expect(await at('/.well-known/oauth-protected-resource/ruled/mcp')).toEqual([
      'mcp',
      ...['mcp:read', 'mcp:write', 'mcp:execute', 'mcp:admin'],
    ])
    expect(await at('/.well-known/oauth-authorization-server')).toEqual([
      'mcp',
      ...['mcp:admin', 'mcp:execute', 'mcp:read', 'mcp:write'],
      'offline_access',
    ])
  })

  it('a call beyond it is challenged for all that it needs and all that there is, before the server hears of it', async () => {
    const client = await register(gateway)
    const { caller, scope } = await ask(client, browserOf(), { scope: 'mcp offline_access' })
    expect(scope).toBe('mcp mcp:read offline_access')
    // What could be had is listed.
    expect((await told(await caller.post(rpc('tools/list')))).result?.tools?.map(({ name }) => name)).toEqual(
      ['search', 'create', 'query'],
    )
    upstream.heard.length = 0
    expect((await told(await caller.post(call('search')))).error).toBeUndefined()
    const refused = await caller.post(call('create'))
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
      403,
      'Bearer error="insufficient_scope", scope="mcp mcp:read offline_access mcp:write", ' +
        `resource_metadata="${gateway.origin}/.well-known/oauth-protected-resource/ruled/mcp", ` +
        'error_description="create needs write access."',
    ])
    expect(await refused.json()).toMatchObject({ error: 'insufficient_scope', code: 'consent.level' })
    expect(upstream.called()).toEqual(['search'])
  })

  it('a larger one makes the same call succeed and keeps the scopes there were', async () => {
    const [client, browser] = [await register(gateway), browserOf()]
    const { caller } = await ask(client, browser)
    const challenge = (await caller.post(call('create'))).headers.get('www-authenticate') ?? ''
    const scope = /scope="([^"]*)"/.exec(challenge)?.[1] ?? ''
    const page = await pageOf(client, browser, { scope })
    expect(page.body).toContain('Give <bdi>Flow test</bdi> more access')
    const more = await ask(client, browser, { scope, choice: { decision: 'allow' } })
    expect(more.scope).toBe('mcp mcp:read mcp:write')
    expect((await told(await more.caller.post(call('create')))).error).toBeUndefined()
    // What was given before goes on as it was.
    expect((await caller.post(call('create'))).status).toBe(403)
  })

  it('an SDK client asks the person for more, and keeps the scopes there were', async () => {
    const [app, browser] = [await register(gateway), browserOf()]
    let tokens: Partial<Tokens> = await ask(app, browser, { scope: 'mcp offline_access' })
    const kept = { verifier: '', asked: [] as URL[] }
    const authProvider: OAuthClientProvider = {
      redirectUrl: app.redirectUri,
      clientMetadata: { redirect_uris: [app.redirectUri] },
      clientInformation: () => ({ client_id: app.id }),
      tokens: () => tokens as OAuthTokens,
      saveTokens: (saved) => void (tokens = saved as Tokens),
      redirectToAuthorization: (url) => void kept.asked.push(url),
      saveCodeVerifier: (verifier) => void (kept.verifier = verifier),
      codeVerifier: () => kept.verifier,
    }
    const transport = new StreamableHTTPClientTransport(new URL(resource()), {
      authProvider,
      fetch: gateway.fetch as typeof fetch,
    })
    const client = new SdkClient({ name: 'flow', version: '1' }, {})
    await client.connect(transport)
    await client.listTools()
    const create = () => client.callTool({ name: 'create', arguments: {} })
    await expect(create()).rejects.toThrow(UnauthorizedError)
    const [url] = kept.asked as [URL]
    expect(new Set(url.searchParams.get('scope')?.split(' '))).toEqual(
      new Set(['mcp', 'offline_access', 'mcp:read', 'mcp:write']),
    )
    await transport.finishAuth((await allow(browser, url.href, ana, { decision: 'allow' })).searchParams)
    expect(tokens.scope).toBe('mcp mcp:read mcp:write offline_access')
    expect((await create()).content).toEqual([{ type: 'text', text: 'did tools/call create' }])
    expect(kept.asked.length).toBe(1)
    await client.close()
  })

  it('who declined twice is not asked again', async () => {
    const [client, browser] = [await register(gateway), browserOf()]
    const { caller } = await ask(client, browser)
    const scope = 'mcp mcp:read mcp:write'
    const decline = async (choice: Choice): Promise<void> => {
      expect((await caller.post(call('create'))).status).toBe(403)
      await allow(browser, authorizeUrl(gateway, client, { resource: resource(), scope }).url, ana, choice)
    }
    await decline({ decision: 'deny' })
    await decline({ decision: 'allow', preset: 'read' })
    const refused = await caller.post(call('create'))
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([200, null])
    expect((await told(refused)).error).toMatchObject({
      code: 1403,
      message:
        'Access denied: create needs write access, which the user declined. Ask them before you try again.',
      data: { code: 'consent.declined', need: 'write' },
    })
    const batch = await caller.post([call('search', 1), call('create', 2)], {
      'mcp-protocol-version': '2025-03-26',
    })
    const answers = (await batch.json()) as Told[]
    expect([batch.status, answers.map(({ id, error }) => [id, error?.data?.['code']])]).toEqual([
      200,
      [
        [1, undefined],
        [2, 'consent.declined'],
      ],
    ])
    gateway.advance(600_001)
    expect((await caller.post(call('create'))).status).toBe(403)
    expect(upstream.called()).toEqual(['search'])
  })

  it('goes no further than the person may, and a page tells who may nothing', async () => {
    const client = await register(gateway)
    const { scope } = await ask(client, browserOf(), {
      who: yamada,
      scope: 'mcp mcp:read mcp:write mcp:execute mcp:admin',
      choice: { decision: 'allow', preset: 'execute', admin: 'on' },
    })
    expect(scope).toBe('mcp mcp:read mcp:write')
    const browser = browserOf()
    const asking = authorizeUrl(gateway, client, { resource: `${gateway.origin}/closed/mcp` })
    const page = await browser.submit(await browser.go(asking.url), '/login', signIn)
    expect(page.status).toBe(403)
    expect(page.body).toMatch(/Your account has no access to this service\.[\s\S]*ana@example\.com/)
    const link = /href="(http:\/\/127\.0\.0\.1:5000\/cb[^"]*)"/.exec(page.body)?.[1]?.replaceAll('&amp;', '&')
    expect(new URL(link ?? '').searchParams.get('error')).toBe('access_denied')
    // The page knows of the app what a call will know of it.
    const other = await register(gateway, { redirect_uris: ['https://app.example/cb'] })
    const { url } = authorizeUrl(gateway, other, { resource: `${gateway.origin}/redirected/mcp` })
    expect((await allow(browser, url)).searchParams.has('code')).toBe(true)
  })

  it('shows the tools by what they do, ticks nothing destructive, and leaves out what was unticked', async () => {
    const [client, browser] = [await register(gateway), browserOf()]
    const { caller } = await ask(client, browser)
    for (const cursor of [{}, { cursor: 'two' }]) await told(await caller.post(rpc('tools/list', cursor)))
    const look = async () => (await pageOf(await register(gateway), browser)).form('/oauth/consent')
    // In workerd the page may come from an isolate that has seen no list, and reads what another one wrote.
    await until(async () => (await look()).fields['shown']?.includes('unmarked') === true, 'all tools')
    const { fields, pairs } = await look()
    expect(fields['preset']).toBe('write')
    expect(pairs.flatMap(([name, value]) => (name === 'tool' ? [value] : []))).toEqual([
      'search',
      'query',
      'create',
    ])
    expect(JSON.parse(fields['shown'] ?? '')).toEqual({
      read: ['search', 'query'],
      write: ['create'],
      execute: ['delete_all'],
      admin: ['unmarked'],
    })
    const choice = { decision: 'allow', preset: 'execute', tool: ['search', 'create'] }
    const other = await ask(await register(gateway), browser, { choice })
    expect(other.scope).toBe('mcp mcp:read mcp:write mcp:execute')
    expect((await told(await other.caller.post(call('query')))).error).toMatchObject({
      code: 1403,
      message: 'Access denied: the user did not allow this app to use query.',
      data: { code: 'consent.tool' },
    })
    const list = await told(await other.caller.post(rpc('tools/list')))
    expect(list.result?.tools?.map(({ name }) => name)).toEqual(['search', 'create'])
    expect((await told(await other.caller.post(call('delete_all')))).error).toBeUndefined()
    expect((await other.caller.post(call('unmarked'))).status).toBe(403)
  })

  it('administration is the step above everything, and no way around a smaller choice', async () => {
    const choose = async (preset: string): Promise<string> => {
      const choice = { decision: 'allow', preset, admin: 'on' }
      return (await ask(await register(gateway), browserOf(), { choice })).scope
    }
    expect(await choose('read')).toBe('mcp mcp:read')
    expect(await choose('execute')).toBe('mcp mcp:read mcp:write mcp:execute mcp:admin')
    await expect(choose('root')).rejects.toThrow('The form is not one of the consent page.')
  })

  it('clients of HTTP+SSE are told on their stream', async () => {
    const { access_token: token } = await ask(await register(gateway), browserOf())
    const stream = await callerOf(gateway, `${gateway.origin}/ruled/sse`, token).get()
    const reader = (stream.body as ReadableStream<Uint8Array>)
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
    await endpoint.post(call('create', 3))
    await hear('"id":3')
    await reader.cancel()
    expect(heard).toMatch(/"scope":"mcp mcp:read mcp:write".*"code":"consent.level"/)
    expect(upstream.called()).toEqual([])
  })

  it('a refresh may ask for less of it, never for more', async () => {
    const client = await register(gateway)
    const first = await ask(client, browserOf(), { choice: { decision: 'allow', preset: 'write' } })
    expect(first.scope).toBe('mcp mcp:read mcp:write')
    const renew = async (token: string, scope: string): Promise<Tokens> =>
      (await (await refresh(gateway, client, token, { scope })).json()) as Tokens
    const narrow = await renew(first.refresh_token, 'mcp mcp:read')
    expect(narrow.scope).toBe('mcp mcp:read')
    const caller = callerOf(gateway, resource(), narrow.access_token)
    expect((await caller.post(call('create'))).status).toBe(403)
    // SDKs of version 1 refresh at a challenge, and ask the person at this error.
    const early = await refresh(gateway, client, narrow.refresh_token)
    expect([early.status, early.headers.get('retry-after')]).toEqual([503, '30'])
    expect(await early.json()).toMatchObject({ error: 'server_error', code: 'refresh.step-up' })
    gateway.advance(30_001)
    expect(await renew(narrow.refresh_token, 'mcp mcp:execute')).toMatchObject({ error: 'invalid_scope' })
    // Who names no level means the one there is.
    expect((await renew(narrow.refresh_token, 'mcp')).scope).toBe('mcp mcp:read mcp:write')
  })

  it('of a batch one challenge says all that is needed, and nothing of it is sent', async () => {
    const client = await register(gateway)
    const { caller } = await ask(client, browserOf())
    const legacy = { 'mcp-protocol-version': '2025-03-26' }
    const refused = await caller.post([call('search', 1), call('create', 2), call('delete_all', 3)], legacy)
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
      403,
      'Bearer error="insufficient_scope", scope="mcp mcp:read mcp:write mcp:execute", ' +
        `resource_metadata="${gateway.origin}/.well-known/oauth-protected-resource/ruled/mcp", ` +
        'error_description="delete_all needs execute access."',
    ])
    const twice = await caller.post([call('search', 1), call('query', 1)], legacy)
    expect([twice.status, (await told(twice)).error?.code]).toEqual([400, -32600])
    expect(upstream.called()).toEqual([])
  })

  it('on a WebSocket the error says what the header would', async () => {
    // In process there are no sockets to upgrade.
    if (where === 'in process') return
    const { access_token: token } = await ask(await register(gateway), browserOf())
    const client = await dialSocket(
      `${(gateway.listens ?? gateway.origin).replace('http', 'ws')}/ruled/mcp`,
      {
        headers: { authorization: `Bearer ${token}` },
      },
    )
    const send = async (message: { id: unknown }): Promise<Told> => {
      client.socket.send(JSON.stringify(message))
      await until(() => client.said.some((one) => one.id === message.id), `answer ${String(message.id)}`)
      return client.said.find((one) => one.id === message.id) as Told
    }
    const clientInfo = { name: 'a', version: '1' }
    await send(rpc('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }, 1))
    expect((await send(call('create', 2))).error).toMatchObject({
      code: 1403,
      message: 'create needs write access.',
      data: {
        code: 'consent.level',
        need: 'write',
        scope: 'mcp mcp:read mcp:write',
        resource_metadata: `${gateway.listens ?? gateway.origin}/.well-known/oauth-protected-resource/ruled/mcp`,
      },
    })
    client.socket.close()
  })
})
