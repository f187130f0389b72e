// The authorization server over real HTTP: discovery as clients walk it, registration, tokens for every kind
// of client, and giving them up.
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { allow, authorizeUrl, form, logIn, redeem, refresh, register } from '../runtimes/login.ts'
import { holdsAfter } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

type Json = Record<string, unknown>
const monitor = {
  name: 'Monitor',
  redirect_uris: ['https://monitor.example/cb'],
  token_endpoint_auth_method: 'client_secret_basic' as const,
  client_secret: 'Kq7vX2mZ9tLw4sRb8nYc1fHd6gJp3aUe',
}
const wellKnown = '/.well-known/oauth-authorization-server'

describe.each(runtimes)('%s', (_name, open) => {
  let upstream: Upstream
  let house: TestGateway
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: { clients: { monitor }, mcp_services: { second: { url: upstream.url } } },
    })
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  const at = (path: string, init?: RequestInit) => house.fetch(`${house.origin}${path}`, init)
  const json = async (path: string, init?: RequestInit): Promise<Json> =>
    (await (await at(path, init)).json()) as Json
  const echo = () => `${house.origin}/echo/mcp`
  const call = (token: string, path = '/echo/mcp') =>
    at(path, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${token}`,
      },
      body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
    })

  it('[A2, A3, A12, A15] [H-A1, H-A11] answers discovery with one document, every endpoint of which is there', async () => {
    const metadata = await json(wellKnown)
    expect(metadata['issuer']).toBe(house.origin)
    for (const place of [
      '/.well-known/openid-configuration',
      `${wellKnown}/echo/mcp`,
      '/.well-known/openid-configuration/echo/mcp',
      '/echo/mcp/.well-known/openid-configuration',
      `/echo/mcp${wellKnown}`,
    ])
      expect(await json(place)).toEqual(metadata)
    const urls = Object.entries(metadata).filter(
      ([name]) => name.endsWith('_endpoint') || name === 'jwks_uri',
    )
    expect(urls).toHaveLength(6)
    for (const [name, url] of urls) {
      const answer = await house.fetch(String(url), {
        method: name === 'jwks_uri' || name === 'authorization_endpoint' ? 'GET' : 'POST',
      })
      expect([name, answer.status === 404 || answer.status >= 500]).toEqual([name, false])
    }
    for (const alias of ['/authorize', '/jwks']) expect((await at(alias)).status).not.toBe(404)
    for (const alias of ['/token', '/register', '/revoke', '/introspect'])
      expect((await at(alias, { method: 'POST' })).status).not.toBe(404)
    for (const probe of ['/.well-known/nothing', `${wellKnown}/nope`]) {
      const answer = await at(probe)
      expect([
        answer.status,
        answer.headers.get('content-type'),
        answer.headers.get('access-control-allow-origin'),
      ]).toEqual([404, 'application/json', '*'])
    }
  })

  it('[A12] [H-A15] lets browser clients read metadata and tokens, and nobody the pages', async () => {
    const ask = {
      method: 'OPTIONS',
      headers: {
        origin: 'http://localhost:6274',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type,mcp-protocol-version',
      },
    }
    for (const path of [
      wellKnown,
      '/oauth/token',
      '/oauth/register',
      '/oauth/revoke',
      '/oauth/jwks',
      '/token',
    ]) {
      const answer = await at(path, ask)
      expect([path, answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([
        path,
        204,
        '*',
      ])
    }
    for (const path of ['/oauth/authorize', '/authorize', '/oauth/consent', '/oauth/callback', '/login', '/'])
      expect([path, (await at(path, ask)).headers.get('access-control-allow-origin')]).toEqual([path, null])
    expect(
      (
        await at('/oauth/token', {
          ...form({}),
          headers: { ...(form({}).headers as Json), origin: 'http://localhost:6274' },
        } as RequestInit)
      ).headers.get('access-control-allow-origin'),
    ).toBe('*')
  })

  it('[A1, A8, A10] logs in a public client, a client with a secret and a configured one, each to the service it named', async () => {
    const browser = createBrowser(house.fetch, house.origin)
    const basic = (id: string, secret: string) => ({
      authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
    })
    const post = await register(house, { token_endpoint_auth_method: 'client_secret_post' })
    const open = await register(house)
    const configured = { id: 'monitor', redirectUri: 'https://monitor.example/cb' }
    for (const client of [open, post, configured]) {
      const asking = authorizeUrl(house, client, { resource: echo() })
      const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
      const answer =
        client.id === 'monitor'
          ? await at('/oauth/token', {
              ...form({
                grant_type: 'authorization_code',
                code,
                redirect_uri: client.redirectUri,
                code_verifier: asking.verifier,
              }),
              headers: {
                'content-type': 'application/x-www-form-urlencoded',
                ...basic('monitor', monitor.client_secret),
              },
            })
          : await redeem(house, client, code, asking.verifier)
      expect(answer.status).toBe(200)
      const { access_token } = (await answer.json()) as { access_token: string }
      expect((await call(access_token)).status).toBe(200)
      expect((await call(access_token, '/second/mcp')).status).toBe(401)
    }
  })

  it('[A4] [H-D16] answers the client with code, state and iss, and a no with error, state and iss', async () => {
    const client = await register(house)
    const browser = createBrowser(house.fetch, house.origin)
    const asking = authorizeUrl(house, client, { resource: echo() })
    const back = await allow(browser, asking.url)
    expect(Object.fromEntries(back.searchParams)).toEqual({
      code: expect.stringMatching(/^pc_/) as string,
      state: asking.state,
      iss: house.origin,
    })
    const again = authorizeUrl(house, client, { resource: echo(), prompt: 'consent' })
    const denied = new URL(
      (await browser.submit(await browser.go(again.url), '/oauth/consent', { decision: 'deny' })).url,
    )
    expect(Object.fromEntries(denied.searchParams)).toMatchObject({
      error: 'access_denied',
      state: again.state,
      iss: house.origin,
    })
    const wrong = authorizeUrl(house, client, { resource: 'https://elsewhere.example/mcp' })
    const told = new URL((await at(wrong.url.slice(house.origin.length))).headers.get('location') ?? '')
    expect(Object.fromEntries(told.searchParams)).toMatchObject({
      error: 'invalid_target',
      state: wrong.state,
      iss: house.origin,
    })
  })

  it('[A9] [H-H2] refreshes fifty times at once to one successor, and revoked means dead within a second [H-I1]', async () => {
    const { client, tokens } = await logIn(house)
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => refresh(house, client, tokens.refresh_token)),
    )
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    const bodies = (await Promise.all(answers.map((answer) => answer.json()))) as {
      refresh_token: string
      access_token: string
    }[]
    expect(new Set(bodies.map(({ refresh_token }) => refresh_token)).size).toBe(1)
    expect((await call(bodies[7]?.access_token ?? '')).status).toBe(200)
    expect(
      (await at('/oauth/revoke', form({ token: bodies[0]?.refresh_token ?? '', client_id: client.id })))
        .status,
    ).toBe(200)
    for (const token of [tokens.access_token, bodies[7]?.access_token ?? ''])
      await holdsAfter(
        1000,
        async () =>
          String((await call(token)).headers.get('www-authenticate')).includes('error="invalid_token"'),
        'the token is refused',
      )
  })

  it("introspects by the operator's own client and publishes the key that signed", async () => {
    const { tokens } = await logIn(house)
    const headers = {
      'content-type': 'application/x-www-form-urlencoded',
      authorization: `Basic ${Buffer.from(`monitor:${monitor.client_secret}`).toString('base64')}`,
    }
    const told = await json('/oauth/introspect', { ...form({ token: tokens.access_token }), headers })
    expect(told).toMatchObject({ active: true, username: 'ana', aud: echo(), scope: 'mcp' })
    const { keys } = (await json('/oauth/jwks')) as { keys: { kid: string }[] }
    const { kid } = JSON.parse(
      Buffer.from(tokens.access_token.split('.')[0] ?? '', 'base64url').toString(),
    ) as { kid: string }
    expect(keys.map((key) => key.kid)).toContain(kid)
  })

  it('lets a client read, replace and delete its registration, and deletes its tokens with it', async () => {
    const body = {
      client_name: 'Managed',
      redirect_uris: ['http://127.0.0.1:5000/cb'],
      token_endpoint_auth_method: 'none',
    }
    const made = await json('/register', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const url = String(made['registration_client_uri'])
    const headers = {
      authorization: `Bearer ${String(made['registration_access_token'])}`,
      'content-type': 'application/json',
    }
    expect(await (await house.fetch(url, { headers })).json()).toMatchObject({
      client_id: made['client_id'],
      client_name: 'Managed',
    })
    const changed = await house.fetch(url, {
      method: 'PUT',
      headers,
      body: JSON.stringify({ ...body, client_id: made['client_id'], client_name: 'Renamed' }),
    })
    expect(await changed.json()).toMatchObject({ client_name: 'Renamed' })
    expect((await house.fetch(url, { method: 'DELETE', headers })).status).toBe(204)
    expect((await house.fetch(url, { headers })).status).toBe(404)
    expect((await house.fetch(url)).status).toBe(401)
  })

  it('[H-D2, H-B21] shows a person a page where it may not redirect, with the request id and no way to the client', async () => {
    const client = await register(house)
    const browser = createBrowser(house.fetch, house.origin)
    for (const params of [
      { redirect_uri: 'https://evil.example/cb' },
      { client_id: 'client_aaaaaaaaaaaaaaaaaaaaaa' },
    ]) {
      const page = await browser.go(authorizeUrl(house, client, params).url)
      expect(page.status).toBe(400)
      expect(page.headers.get('content-type')).toContain('text/html')
      expect(page.body).toContain(page.headers.get('x-request-id') ?? 'no request id')
      expect(page.body).not.toMatch(/href="https:\/\/evil/)
    }
  })

  it('keeps no token, code, secret, cookie or verifier in its log', async () => {
    const { client, tokens } = await logIn(house)
    const verifier = 'canary-verifier-canary-verifier-canary-verifier'
    await at(
      '/oauth/token',
      form({
        grant_type: 'authorization_code',
        code: `pc_${'c'.repeat(32)}.canary-code-canary-code-canary-c`,
        client_id: client.id,
        redirect_uri: client.redirectUri,
        code_verifier: verifier,
      }),
    )
    await at(
      '/oauth/token',
      form({ grant_type: 'refresh_token', refresh_token: `${tokens.refresh_token}x`, client_id: client.id }),
    )
    await at(
      '/oauth/token',
      form({
        grant_type: 'refresh_token',
        refresh_token: tokens.refresh_token,
        client_id: client.id,
        client_secret: 'canary-secret',
      }),
    )
    await call(`${tokens.access_token}x`)
    const written = JSON.stringify(house.log)
    for (const canary of [
      'canary',
      tokens.access_token.split('.')[2] ?? '',
      tokens.refresh_token.split('.')[3] ?? '',
      createHash('sha256').update(verifier).digest('base64url'),
    ])
      expect(written).not.toContain(canary)
    if (house.log.length > 0) expect(written).toContain('grant.issued')
  })
})

describe.each(runtimes)('with registration switched off, %s', (_name, open) => {
  it('has no registration endpoint and does not advertise one', async () => {
    const upstream = await openUpstream()
    const house = await open({ upstream: upstream.url, config: { dynamic_registration: false } })
    const metadata = (await (await house.fetch(`${house.origin}${wellKnown}`)).json()) as Json
    expect(Object.keys(metadata)).not.toContain('registration_endpoint')
    for (const path of ['/oauth/register', '/register'])
      expect(
        (
          await house.fetch(`${house.origin}${path}`, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: '{}',
          })
        ).status,
      ).toBe(404)
    await house.close()
    await upstream.close()
  })
})
