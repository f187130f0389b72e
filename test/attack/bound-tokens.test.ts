// Tokens that are bound to a key of the client (RFC 9449): the SDK's own client gets and uses them, and whoever has
// the token alone gets nothing.
import {
  type OAuthClientProvider,
  type OAuthTokens,
  Client,
  DpopSession,
  SSEClientTransport,
  StreamableHTTPClientTransport,
  auth,
} from '@modelcontextprotocol/client'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { type Client as App, allow, authorizeUrl, form, register } from '../runtimes/login.ts'
import { type Prover, createProver } from '../runtimes/proofs.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, runtimes } from '../runtimes/runtimes.ts'
import { type Upstream, openUpstream } from '../runtimes/upstream.ts'

type Json = Readonly<Record<string, unknown>>

const listing = { jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} }
const secret = 'Vw3kQ8nB5tZ1xR7mC4pL9sD2fH6gJ0yA'
const nonceShape = /^[\w-]{24}$/
const refused = { error: 'invalid_dpop_proof' }

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let server: RuledUpstream
  let gateway: RuntimeGateway
  let app: App
  let key: Prover
  let browser: ReturnType<typeof createBrowser>
  beforeAll(async () => {
    upstream = await openUpstream()
    server = await openRuledUpstream()
    gateway = await open({
      upstream: upstream.url,
      config: {
        dpop: { mode: 'optional' },
        service_accounts: { nightly: { services: ['echo', 'strict'] } },
        clients: {
          job: {
            name: 'Job',
            grant_types: ['client_credentials'],
            service_account: 'nightly',
            token_endpoint_auth_method: 'client_secret_post',
            client_secret: secret,
          },
          web: {
            name: 'Web',
            redirect_uris: ['http://127.0.0.1:5000/cb'],
            token_endpoint_auth_method: 'client_secret_post',
            client_secret: secret,
          },
        },
        mcp_services: { strict: { url: server.url, dpop: 'required' } },
      },
    })
    app = await register(gateway)
    key = await createProver()
    browser = createBrowser(gateway.fetch, gateway.origin)
  }, 120_000)
  afterAll(async () => {
    await gateway.close()
    await Promise.all([upstream.close(), server.close()])
  })

  const at = (id = 'echo') => `${gateway.origin}/${id}/mcp`
  const tokenUrl = () => `${gateway.origin}/oauth/token`

  const ask = async (fields: Record<string, string>, proof?: string) => {
    const init = form(fields)
    const headers = {
      ...(init.headers as Record<string, string>),
      ...(proof !== undefined && { dpop: proof }),
    }
    const answer = await gateway.fetch(tokenUrl(), { ...init, headers })
    return {
      status: answer.status,
      nonce: answer.headers.get('dpop-nonce'),
      body: (await answer.json()) as Json,
    }
  }
  /** Good for a minute more at least. */
  let nonce = ''
  beforeEach(async () => {
    const asked = await ask({ grant_type: 'refresh_token' }, await key.proof({ url: tokenUrl() }))
    nonce = asked.nonce ?? ''
  })
  const tokenProof = (by = key, more: Json = {}) => by.proof({ url: tokenUrl(), nonce, ...more })

  /** A code for the app, and what redeems it. */
  const codeFor = async (params: Record<string, string> = {}, client = app) => {
    const asking = authorizeUrl(gateway, client, { resource: at(), ...params })
    const back = await allow(browser, asking.url)
    return {
      grant_type: 'authorization_code',
      code: back.searchParams.get('code') ?? '',
      redirect_uri: client.redirectUri,
      client_id: client.id,
      code_verifier: asking.verifier,
      ...(client.secret !== undefined && { client_secret: client.secret }),
    }
  }
  const tokensFor = async (by: Prover | undefined) => {
    const { body } = await ask(await codeFor(), by && (await tokenProof(by)))
    return { access: String(body['access_token']), refresh: String(body['refresh_token']), body }
  }
  const call = async (
    headers: Record<string, string>,
    { url = at(), method = 'POST' }: { readonly url?: string; readonly method?: string } = {},
  ) => {
    const answer = await gateway.fetch(url, {
      method,
      headers: {
        'content-type': 'application/json',
        'accept': 'application/json, text/event-stream',
        'mcp-protocol-version': '2025-11-25',
        ...headers,
      },
      ...(method === 'POST' && { body: JSON.stringify(listing) }),
    })
    const text = await answer.text()
    return {
      status: answer.status,
      nonce: answer.headers.get('dpop-nonce'),
      challenge: answer.headers.get('www-authenticate'),
      body: (text === '' ? {} : JSON.parse(text)) as Json,
    }
  }
  const callBound = async (access: string, by = key, more: Json = {}, url = at()) =>
    call(
      {
        authorization: `DPoP ${access}`,
        dpop: await by.proof({ url, token: access, nonce, ...more }),
      },
      { url },
    )

  it('the SDK logs in and calls with proofs, and is told of nonces', async () => {
    const session = await DpopSession.create()
    let tokens: OAuthTokens | undefined
    let verifier = ''
    let back: URL | undefined
    const authProvider: OAuthClientProvider = {
      redirectUrl: app.redirectUri,
      clientMetadata: { redirect_uris: [app.redirectUri] },
      clientInformation: () => ({ client_id: app.id }),
      tokens: () => tokens,
      saveTokens: (saved) => void (tokens = saved),
      redirectToAuthorization: async (url) => void (back = await allow(browser, url.href)),
      saveCodeVerifier: (saved) => void (verifier = saved),
      codeVerifier: () => verifier,
      dpop: () => session,
    }
    const fetchFn = gateway.fetch as typeof fetch
    const options = { serverUrl: at('strict'), fetchFn }
    expect(await auth(authProvider, options)).toBe('REDIRECT')
    const iss = back?.searchParams.get('iss') ?? undefined
    const authorizationCode = back?.searchParams.get('code') ?? ''
    expect(await auth(authProvider, { ...options, authorizationCode, ...(iss && { iss }) })).toBe(
      'AUTHORIZED',
    )
    expect(tokens?.token_type).toBe('DPoP')
    const sdk = new Client({ name: 'flow', version: '1' })
    await sdk.connect(
      new StreamableHTTPClientTransport(new URL(at('strict')), { authProvider, fetch: fetchFn }),
    )
    await sdk.listTools()
    await sdk.close()
    expect(session.nonceFor(gateway.origin)).toMatch(nonceShape)
  })

  it('a client of HTTP+SSE opens its stream and sends messages, each with a proof of its own', async () => {
    const { body } = await ask(await codeFor({ resource: at('strict') }), await tokenProof())
    const token = String(body['access_token'])
    const sent: string[] = []
    const signing: typeof fetch = async (input, init) => {
      const url = input instanceof Request ? input.url : String(input)
      const headers = new Headers(init?.headers)
      const proof = await key.proof({ url, method: init?.method ?? 'GET', token, nonce })
      headers.set('authorization', `DPoP ${token}`)
      headers.set('dpop', proof)
      sent.push(proof)
      return (gateway.fetch as typeof fetch)(url, { ...init, headers })
    }
    const client = new Client({ name: 'flow', version: '1' })
    const url = `${gateway.origin}/strict/sse`
    await client.connect(new SSEClientTransport(new URL(url), { fetch: signing }))
    for (let times = 0; times < 2; times++)
      expect((await client.listTools()).tools.map((tool) => tool.name)).toContain('search')
    await client.close()
    const reused = await gateway.fetch(url, {
      headers: { authorization: `DPoP ${token}`, dpop: sent[0] ?? '' },
    })
    expect([reused.status, await reused.json()]).toMatchObject([401, { code: 'proof.replayed' }])
  })

  it('never is a bound token good without its key: as Bearer, with another key, for another request', async () => {
    const { access, body } = await tokensFor(key)
    expect(body['token_type']).toBe('DPoP')
    const good = await callBound(access)
    expect(good.status).toBe(200)

    // Case 60.
    const bearer = await call({ authorization: `Bearer ${access}` })
    expect(bearer).toMatchObject({ status: 401, body: { error: 'invalid_token', code: 'token.bound' } })
    expect(bearer.challenge).toContain('send it with DPoP')
    const before = upstream.heard.length
    const other = await createProver()
    const cases: readonly (readonly [string, string, Promise<Awaited<ReturnType<typeof call>>>])[] = [
      ['61', 'proof.key', callBound(access, other)],
      ['62 url', 'proof.url', callBound(access, key, { url: at('strict') })],
      ['62 method', 'proof.method', callBound(access, key, { method: 'GET' })],
      ['62 service', 'token.audience', callBound(access, key, {}, at('strict'))],
      [
        '63',
        'proof.url',
        call({
          'authorization': `DPoP ${access}`,
          'dpop': await key.proof({ url: 'https://evil.example/echo/mcp', token: access, nonce }),
          'x-forwarded-host': 'evil.example',
          'x-forwarded-proto': 'https',
        }),
      ],
      ['64', 'proof.token', callBound(access, key, { token: `${access}x` })],
      ['66', 'proof.time', callBound(access, key, { claims: { iat: Math.floor(Date.now() / 1000) - 360 } })],
      ['66', 'proof.time', callBound(access, key, { claims: { iat: Math.floor(Date.now() / 1000) + 360 } })],
      ['67', 'proof.key', callBound(access, key, { header: { jwk: { ...key.jwk, d: 'AA' } } })],
      ['missing', 'proof.missing', call({ authorization: `DPoP ${access}` })],
      ['type', 'proof.type', callBound(access, key, { header: { typ: 'JWT' } })],
    ]
    for (const [name, code, answer] of cases)
      expect(await answer, name).toMatchObject({ status: 401, body: { code } })
    const missing = await call({ authorization: `DPoP ${access}` })
    expect(missing.challenge).toMatch(/^DPoP error="invalid_dpop_proof", .*algs="ES256 /)
    expect(upstream.heard.length).toBe(before)
  })

  it('never is a proof accepted twice, in whatever spelling (case 65)', async () => {
    const replays = () => gateway.log.filter(({ event }) => event === 'proof.replayed').length
    const before = replays()
    const { access } = await tokensFor(key)
    const jti = crypto.randomUUID()
    const [first, again, respelt] = [
      await callBound(access, key, { claims: { jti } }),
      await callBound(access, key, { claims: { jti } }),
      await callBound(access, key, { claims: { jti, htu: `${at()}/?x=1` } }),
    ]
    expect(first.status).toBe(200)
    for (const answer of [again, respelt])
      expect(answer).toMatchObject({ status: 401, body: { ...refused, code: 'proof.replayed' } })
    const proof = await tokenProof()
    const job = { grant_type: 'client_credentials', client_id: 'job', client_secret: secret, resource: at() }
    const answers = await Promise.all([1, 2, 3, 4].map(() => ask(job, proof)))
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 400, 400, 400])
    await expect.poll(() => replays() - before).toBe(5)
  })

  it('never is a token that is bound to nothing sent by DPoP, or taken where a key is required', async () => {
    const { access, body } = await tokensFor(undefined)
    expect(body['token_type']).toBe('Bearer')
    expect((await call({ authorization: `Bearer ${access}` })).status).toBe(200)
    expect((await callBound(access)).body).toMatchObject({ code: 'token.unbound' })
    const code = await codeFor({ resource: at('strict') })
    expect(await ask(code)).toMatchObject({ status: 400, body: { ...refused, code: 'proof.missing' } })
    // Nothing was used up by that.
    const bound = await ask(code, await tokenProof())
    expect(bound.body['token_type']).toBe('DPoP')
    const answer = await callBound(String(bound.body['access_token']), key, {}, at('strict'))
    expect(answer.status).toBe(200)
  })

  it('never does the question for a nonce use anything up (cases 68, 70)', async () => {
    const code = await codeFor()
    const foreign = await key.proof({ url: tokenUrl(), nonce: 'AAAAAAAAAAAAAAAAAAAAAAAA' })
    for (const proof of [await key.proof({ url: tokenUrl() }), foreign]) {
      const asked = await ask(code, proof)
      expect(asked).toMatchObject({ status: 400, body: { error: 'use_dpop_nonce', code: 'proof.nonce' } })
      expect(asked.nonce).toMatch(nonceShape)
    }
    const { status, body } = await ask(code, await tokenProof())
    expect(status).toBe(200)
    const access = String(body['access_token'])
    for (const none of [undefined, 'AAAAAAAAAAAAAAAAAAAAAAAA']) {
      const asked = await callBound(access, key, { nonce: none })
      expect(asked).toMatchObject({ status: 401, body: { error: 'use_dpop_nonce' } })
      expect(asked.nonce).toMatch(nonceShape)
      expect(asked.challenge).toMatch(/^DPoP error="use_dpop_nonce"/)
    }
  })

  it('never does a refresh token of a public client work with another key (case 69)', async () => {
    const { refresh } = await tokensFor(key)
    const fields = { grant_type: 'refresh_token', refresh_token: refresh, client_id: app.id }
    const other = await createProver()
    for (const proof of [undefined, await tokenProof(other)])
      expect(await ask(fields, proof)).toMatchObject({
        status: 400,
        body: { error: 'invalid_grant', code: 'refresh.key' },
      })
    // The family lives on, and a lost answer is asked for again with the same key alone.
    const renewed = await ask(fields, await tokenProof())
    expect(renewed).toMatchObject({ status: 200, body: { token_type: 'DPoP' } })
    expect(await ask(fields, await tokenProof(other))).toMatchObject({ body: { code: 'refresh.key' } })
    const repeated = await ask(fields, await tokenProof())
    expect(repeated.body['refresh_token']).toBe(renewed.body['refresh_token'])
    expect((await callBound(String(repeated.body['access_token']))).status).toBe(200)
  })

  it('a client that proves who it is may come with a new key', async () => {
    const web = { id: 'web', redirectUri: 'http://127.0.0.1:5000/cb', secret }
    const { body } = await ask(await codeFor({}, web), await tokenProof())
    const other = await createProver()
    const fields = { grant_type: 'refresh_token', refresh_token: String(body['refresh_token']) }
    const renewed = await ask({ ...fields, client_id: 'web', client_secret: secret }, await tokenProof(other))
    expect(renewed).toMatchObject({ status: 200, body: { token_type: 'DPoP' } })
    const access = String(renewed.body['access_token'])
    expect((await callBound(access, other)).status).toBe(200)
    expect((await callBound(access)).body).toMatchObject({ code: 'proof.key' })
    await expect
      .poll(() => gateway.log.findLast(({ event }) => event === 'grant.refreshed')?.fields['jkt'])
      .toBe(other.jkt)
    const told = await gateway.fetch(
      `${gateway.origin}/oauth/introspect`,
      form({ token: access, client_id: 'web', client_secret: secret }),
    )
    expect(await told.json()).toMatchObject({ active: true, token_type: 'DPoP', cnf: { jkt: other.jkt } })
  })

  it('never is a code redeemed with another key than its request named', async () => {
    const code = await codeFor({ dpop_jkt: key.jkt })
    const other = await createProver()
    for (const proof of [undefined, await tokenProof(other)])
      expect(await ask(code, proof)).toMatchObject({
        status: 400,
        body: { error: 'invalid_grant', code: 'code.key' },
      })
    expect((await ask(code, await tokenProof())).status).toBe(200)
  })

  it('never does a proof, or a nonce of the server, pass the gateway (case 72)', async () => {
    const { access } = await tokensFor(key)
    const proof = await key.proof({ url: at(), token: access, nonce })
    upstream.heard.length = 0
    for (const name of ['DPoP', 'dpop'])
      await call({ authorization: `DPoP ${access}`, [name]: name === 'DPoP' ? proof : 'x' })
    expect(upstream.heard.length).toBeGreaterThan(0)
    for (const { headers } of upstream.heard) {
      expect(Object.keys(headers).filter((name) => /^d.?pop/i.test(name))).toEqual([])
      expect(headers['authorization']).toBeUndefined()
    }
    expect(JSON.stringify(gateway.log)).not.toContain(proof)
  })
})
