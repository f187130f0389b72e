// Programs without a person: clients that act as service accounts, with the SDK's own providers as callers and with
// requests by hand.
import {
  Client,
  ClientCredentialsProvider,
  PrivateKeyJwtProvider,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client'
import { SignJWT, exportJWK } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { form } from '../runtimes/login.ts'
import { ana, callerOf } from '../runtimes/people.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, runtimes } from '../runtimes/runtimes.ts'
import { type Upstream, openUpstream } from '../runtimes/upstream.ts'
import { config, exchangeGrant, keys, secrets } from './programs.ts'
import { apiTokens } from './api-tokens.ts'
import { exchangedTokens } from './exchanged-tokens.ts'
import { tokensOnThePage } from './token-page.ts'

type Json = Readonly<Record<string, unknown>>

const tool = (name: string) => ({
  jsonrpc: '2.0',
  id: 7,
  method: 'tools/call',
  params: { name, arguments: {} },
})

describe.each(runtimes)('%s', (_, open) => {
  let upstream: RuledUpstream
  let gateway: RuntimeGateway
  let admin: Administrator
  let streaming: Upstream
  beforeAll(async () => {
    upstream = await openRuledUpstream()
    streaming = await openUpstream((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': here\n\n')
    })
    gateway = await open({
      upstream: upstream.url,
      config: {
        ...config,
        mcp_services: {
          ruled: { url: upstream.url },
          second: { url: upstream.url },
          streams: { url: streaming.url },
        },
      },
    })
    admin = await signInAs(gateway, ana)
  }, 120_000)
  afterAll(async () => {
    await gateway.close()
    await Promise.all([upstream.close(), streaming.close()])
  })

  const resource = (id = 'ruled') => `${gateway.origin}/${id}/mcp`
  const ask = async (fields: Record<string, string>, headers: Record<string, string> = {}) => {
    const init = form({ grant_type: 'client_credentials', ...fields })
    const answer = await gateway.fetch(`${gateway.origin}/oauth/token`, {
      ...init,
      headers: { ...(init.headers as Record<string, string>), ...headers },
    })
    return { status: answer.status, body: (await answer.json()) as Json }
  }
  const asReader = (fields: Record<string, string> = {}) =>
    ask({ client_id: 'post', client_secret: secrets.post, ...fields })
  const basic = (id: string, secret: string) => ({
    authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
  })
  const asBasic = (fields: Record<string, string> = {}) =>
    ask({ resource: resource(), ...fields }, basic('basic', secrets.basic))
  const token = ({ body }: { readonly body: Json }): string => String(body['access_token'])
  const callWith = async (access: string, name = 'search', id = 'ruled') => {
    const answer = await callerOf(gateway, resource(id), access).post(tool(name))
    const text = await answer.text()
    return {
      status: answer.status,
      body: text === '' ? {} : (JSON.parse(text) as { error?: { message: string; data?: Json } }),
    }
  }
  const claimsOf = (access: string) =>
    JSON.parse(Buffer.from(access.split('.')[1] ?? '', 'base64url').toString()) as Json
  const assertion = (claims: Json = {}, header: Json = {}, key = keys[1].privateKey) =>
    new SignJWT({ iss: 'key', sub: 'key', aud: gateway.origin, jti: crypto.randomUUID(), ...claims })
      .setProtectedHeader({ alg: 'ES256', ...header })
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(key)
  const withAssertion = async (claims: Json = {}, fields: Record<string, string> = {}) =>
    ask({
      resource: resource(),
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: await assertion(claims),
      ...fields,
    })
  const grants = async (user: string) =>
    (JSON.parse((await admin.ask('GET', `/api/grants?user=${user}`)).body) as { grants: readonly Json[] })
      .grants

  it('the SDK connects with a secret and with a key, and the upstream learns of the account', async () => {
    const providers = {
      ruled: new ClientCredentialsProvider({
        clientId: 'basic',
        clientSecret: secrets.basic,
        expectedIssuer: gateway.origin,
      }),
      second: new PrivateKeyJwtProvider({
        clientId: 'key',
        privateKey: { ...(await exportJWK(keys[1].privateKey)) },
        algorithm: 'ES256',
        expectedIssuer: gateway.origin,
      }),
    }
    for (const [id, authProvider] of Object.entries(providers)) {
      const sdk = new Client({ name: 'nightly', version: '1' })
      await sdk.connect(
        new StreamableHTTPClientTransport(new URL(resource(id)), {
          authProvider,
          fetch: gateway.fetch as typeof fetch,
        }),
      )
      expect((await sdk.listTools()).tools.map(({ name }) => name)).toContain('create')
      await sdk.callTool({ name: 'create', arguments: {} })
      await sdk.close()
      expect(upstream.heard.at(-1)?.headers['x-user-id']).toBe('service:nightly')
    }
    expect(upstream.called()).toEqual(['create', 'create'])
  })

  it('an assertion is used up by the token that it gives, and by no refusal', async () => {
    const client_assertion = await assertion()
    expect((await withAssertion({}, { client_assertion, resource: resource('none') })).status).toBe(400)
    expect((await withAssertion({}, { client_assertion, scope: 'mcp:admin' })).status).toBe(400)
    const good = { client_assertion, resource: resource('second') }
    expect((await withAssertion({}, good)).status).toBe(200)
    expect((await withAssertion({}, good)).body).toMatchObject({ error: 'invalid_client' })
  })

  it('a token names the account and one service, has the scopes asked for, and cannot be refreshed', async () => {
    const answer = await asBasic()
    expect(answer.body).toEqual({
      access_token: token(answer),
      token_type: 'Bearer',
      expires_in: 3600,
      scope: 'mcp mcp:read mcp:write mcp:execute',
    })
    expect(claimsOf(token(answer))).toMatchObject({
      sub: 'service:nightly',
      aud: resource(),
      client_id: 'basic',
    })
    const narrow = await asBasic({ scope: 'mcp:read offline_access' })
    expect(narrow.body['scope']).toBe('mcp mcp:read')
    expect(claimsOf(token(narrow))['gid']).toBe(claimsOf(token(answer))['gid'])
    expect((await callWith(token(narrow), 'search')).status).toBe(200)
    const more = await callerOf(gateway, resource(), token(narrow)).post(tool('create'))
    expect([more.status, /scope="([^"]*)"/.exec(more.headers.get('www-authenticate') ?? '')?.[1]]).toEqual([
      403,
      'mcp mcp:read mcp:write',
    ])
    expect((await callWith(token(answer), 'create')).body.error).toBeUndefined()
    // The only service of the account needs no name.
    expect(claimsOf(token(await asReader()))['aud']).toBe(resource())
    const listed = await grants('service:nightly')
    expect(listed.toSorted((a, b) => String(a['client']).localeCompare(String(b['client'])))).toMatchObject([
      { client: 'basic', kind: 'client_credentials', service: 'ruled', redirect_host: '' },
      { client: 'key', service: 'second' },
    ])
  })

  it('an account has no more than its own permissions, and is not asked for more', async () => {
    const answer = await asReader({ scope: 'mcp:read mcp:write' })
    expect(answer.body['scope']).toBe('mcp mcp:read')
    const denied = await callWith(token(answer), 'create')
    expect([denied.status, denied.body.error?.data?.['code']]).toEqual([200, 'account.permission'])
    expect((await callWith(token(answer), 'delete_all')).body.error?.data?.['code']).toBe('policy.permission')
  })

  const inBody = (client_id: string, client_secret: string) => ({ client_id, client_secret })
  const refused: readonly (readonly [
    string,
    number,
    string,
    () => Promise<{ status: number; body: Json }>,
  ])[] = [
    [
      'a client of people',
      400,
      'unauthorized_client',
      () => ask(inBody('people', config.clients.people.client_secret)),
    ],
    ['a public client [H-W11]', 400, 'unauthorized_client', () => ask({ client_id: 'open' })],
    ['the wrong secret', 401, 'invalid_client', () => ask(inBody('post', secrets.basic))],
    ['no secret', 401, 'invalid_client', () => ask({ client_id: 'post' })],
    ['another method', 401, 'invalid_client', () => ask(inBody('basic', secrets.basic))],
    [
      'two methods',
      400,
      'invalid_request',
      () => ask(inBody('basic', secrets.basic), basic('basic', secrets.basic)),
    ],
    ['a scope of nobody', 400, 'invalid_scope', () => asReader({ scope: 'openid' })],
    ['administration', 400, 'invalid_scope', () => asBasic({ scope: 'mcp:admin' })],
    ['several services and no name', 400, 'invalid_target', () => ask({}, basic('basic', secrets.basic))],
    ['a service of others', 400, 'invalid_target', () => asReader({ resource: resource('second') })],
    ['a service without rules for it', 400, 'invalid_target', () => asBasic({ resource: resource('echo') })],
    [
      'an account to which the rules grant nothing',
      400,
      'invalid_target',
      () => ask({ ...inBody('idle', config.clients.idle.client_secret), resource: resource() }),
    ],
    [
      'a foreign resource [H-W16]',
      400,
      'invalid_target',
      () => asReader({ resource: 'https://elsewhere.example/mcp' }),
    ],
    ['iss that is not sub [H-W13]', 401, 'invalid_client', () => withAssertion({ iss: 'basic' })],
    [
      'sub that is not the client',
      401,
      'invalid_client',
      () => withAssertion({ sub: 'basic' }, { client_id: 'key' }),
    ],
    [
      'two audiences [H-W14]',
      401,
      'invalid_client',
      () => withAssertion({ aud: [gateway.origin, 'https://b.example'] }),
    ],
    [
      'another grant type',
      400,
      'unsupported_grant_type',
      () => ask({ ...inBody('post', secrets.post), grant_type: 'password' }),
    ],
    [
      'a code',
      400,
      'unauthorized_client',
      () =>
        ask({
          ...inBody('post', secrets.post),
          grant_type: 'authorization_code',
          code: 'x',
          code_verifier: 'y',
        }),
    ],
  ]
  it.each(refused)('never gives a token to %s', async (_what, status, error, attempt) => {
    const answer = await attempt()
    expect([answer.status, answer.body['error'], 'access_token' in answer.body]).toEqual([
      status,
      error,
      false,
    ])
  })

  it('never gives a token for an assertion twice', async () => {
    const client_assertion = await assertion()
    expect((await withAssertion({}, { client_assertion })).status).toBe(200)
    expect(await withAssertion({}, { client_assertion })).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    })
  })

  it('never registers a client for itself [H-W12]', async () => {
    const registered = async (grant_types: readonly string[]) => {
      const answer = await gateway.fetch(`${gateway.origin}/oauth/register`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ redirect_uris: ['https://app.example/cb'], grant_types }),
      })
      return { status: answer.status, body: (await answer.json()) as Json }
    }
    const { body } = await registered(['authorization_code', 'client_credentials'])
    expect(body['grant_types']).toEqual(['authorization_code'])
    const secret = inBody(String(body['client_id']), String(body['client_secret']))
    const { client_id, client_secret } = secret
    expect((await ask({ resource: resource() }, basic(client_id, client_secret))).body['error']).toBe(
      'unauthorized_client',
    )
    expect((await registered(['client_credentials'])).status).toBe(400)
  })

  it('what was ended comes back with the next request, its old tokens never', async () => {
    const [before, sameGrant] = [token(await asBasic()), token(await asBasic())]
    expect((await callWith(before)).status).toBe(200)
    await admin.ask('DELETE', '/api/grants?user=service:nightly')
    gateway.advance(1000)
    for (const old of [before, sameGrant]) expect((await callWith(old)).status).toBe(401)
    const after = token(await asBasic())
    gateway.advance(1000)
    expect((await callWith(after)).status).toBe(200)
    expect((await callWith(before)).status).toBe(401)
  })

  it('what is blocked stays away until the block is lifted', async () => {
    const before = token(await asBasic())
    expect((await withAssertion()).status).toBe(200)
    await admin.ask('POST', '/api/blocks', { client: 'basic' })
    gateway.advance(1000)
    expect((await callWith(before)).status).toBe(401)
    expect(await asBasic()).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
    expect(await grants('service:nightly')).toMatchObject([{ client: 'key' }])
    expect((await withAssertion()).status).toBe(200)
    await admin.ask('DELETE', '/api/blocks?client=basic')
    expect((await asBasic()).status).toBe(200)
  })

  it('each token is in the trail, and no secret is', async () => {
    await asBasic({ scope: 'mcp:read' })
    const issued = gateway.log.filter(({ event }) => event === 'grant.issued').at(-1)
    expect(issued?.fields).toMatchObject({
      kind: 'client_credentials',
      person: 'service:nightly',
      client: 'basic',
      resource: resource(),
      scopes: ['mcp', 'mcp:read'],
    })
    const text = JSON.stringify(gateway.log)
    for (const secret of Object.values(secrets)) expect(text).not.toContain(secret)
  })

  it('metadata says it', async () => {
    const answer = await gateway.fetch(`${gateway.origin}/.well-known/oauth-authorization-server`)
    expect(((await answer.json()) as Json)['grant_types_supported']).toEqual([
      'authorization_code',
      'refresh_token',
      'client_credentials',
      exchangeGrant,
    ])
  })

  describe('programs at the API', () => apiTokens(() => ({ gateway, admin })))

  describe('agents that exchange tokens of people', () =>
    exchangedTokens(() => ({ gateway, upstream, admin })))

  // The last, because they move the clock by minutes.
  describe('people with personal access tokens', () => tokensOnThePage(() => gateway))
})
