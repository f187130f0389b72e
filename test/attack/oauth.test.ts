// What must never come of the authorization server, whoever tries: another site, another client, another
// browser, an old link, a bent request.
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createBrowser, type Browser, type Page } from '../runtimes/browser.ts'
import { type TestGateway, runtimes, openInProcess } from '../runtimes/runtimes.ts'
import { allow, authorizeUrl, form, logIn, person, redeem, refresh, register } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let house: TestGateway
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: { mcp_services: { second: { url: upstream.url } } },
    })
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  const at = (path: string, init?: RequestInit) => house.fetch(`${house.origin}${path}`, init)
  const resource = () => `${house.origin}/echo/mcp`
  const call = (token: string, path = '/echo/mcp') =>
    at(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
    })

  /** A browser that is signed in and looks at the question of a client. */
  const asked = async (
    params: Record<string, string> = {},
  ): Promise<{ browser: Browser; page: Page; client: Awaited<ReturnType<typeof register>> }> => {
    const browser = createBrowser(house.fetch, house.origin)
    const client = await register(house)
    let page = await browser.go(authorizeUrl(house, client, { resource: resource(), ...params }).url)
    if (page.body.includes('name="password"')) page = await browser.submit(page, '/login', person)
    expect(page.status).toBe(200)
    return { browser, page, client }
  }

  test('never a redirect to anywhere but a registered address, however the request is bent [H-D2, H-D3, H-D8, H-D9]', async () => {
    const client = await register(house, { redirect_uris: ['https://app.example/cb'] })
    const url = new URL(authorizeUrl(house, client, { resource: resource() }).url)
    const uris = [
      'https://evil.example/cb',
      'https://app.example/cb/',
      'https://app.example/CB',
      'https://app.example/cb%2f',
      'https://app.example/cb?x=1',
      'https://app.example:443/cb',
      'https://u@app.example/cb',
      'https://app.example/x/../cb',
      'https://app.example//cb',
      'https://app.example\\cb',
      'https://app.example.evil.example/cb',
      '//evil.example/cb',
      'javascript:alert(1)',
      'data:text/html,x',
      'https://app.example/cb#',
      'https://app.example/cb\r\nx: y',
      ' https://app.example/cb',
    ]
    for (const uri of uris) {
      url.searchParams.set('redirect_uri', uri)
      const answer = await at(url.pathname + url.search)
      expect([uri, answer.status, answer.headers.get('location')]).toEqual([uri, 400, null])
    }
    url.searchParams.set('redirect_uri', 'https://app.example/cb')
    for (const more of ['&redirect_uri=https%3A%2F%2Fevil.example', '&client_id=other'])
      expect((await at(url.pathname + url.search + more)).headers.get('location')).toBeNull()
    const bad = new URLSearchParams(url.search)
    bad.set('redirect_uri', 'https://evil.example/cb')
    const posted = await at(url.pathname + url.search, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: bad.toString(),
    })
    expect([posted.status, posted.headers.get('location')]).toEqual([400, null])
  })

  test('never a code for a decision that did not come from our own page in the same browser [H-E4, H-E5, H-E15]', async () => {
    const { browser, page } = await asked()
    const { action, fields } = page.form('/oauth/consent')
    const cookie = [...browser.cookies].map((pair) => pair.join('=')).join('; ')
    const flowCookie =
      [...browser.cookies].find(([name]) => name.startsWith('__Host-postern-flow-'))?.join('=') ?? ''
    const send = (body: Record<string, string>, headers: Record<string, string>) =>
      house.fetch(action, {
        ...form({ decision: 'allow', ...body }),
        headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'text/html', ...headers },
      })
    const own = { origin: house.origin, 'sec-fetch-site': 'same-origin', cookie }
    const { browser: other, page: theirs } = await asked()
    const attempts = [
      await send({ ...fields, csrf: '' }, own),
      await send({ ...fields, csrf: theirs.form('/oauth/consent').fields['csrf'] ?? '' }, own),
      await send(fields, { ...own, origin: 'https://evil.example' }),
      await send(fields, { ...own, origin: 'null' }),
      await send(fields, { ...own, 'sec-fetch-site': 'cross-site' }),
      await send(fields, { ...own, cookie: '' }),
      await send(fields, { ...own, cookie: flowCookie }),
      await send(fields, { ...own, cookie: cookie.replace(flowCookie, '') }),
      await send(fields, { ...own, cookie: [...other.cookies].map((pair) => pair.join('=')).join('; ') }),
    ]
    expect(attempts.map(({ status, headers }) => [status, headers.get('location')])).toEqual(
      attempts.map(() => [403, null]),
    )
    const good = await send(fields, own)
    expect(new URL(good.headers.get('location') ?? '').searchParams.get('code')).toMatch(/^pc_/)
    expect(good.status).toBe(303)
    expect((await send(fields, own)).status).toBe(409)
  })

  test('never a silent code for another site, not even where the person allowed it before [H-E12]', async () => {
    const client = await register(house, { redirect_uris: ['https://app.example/cb'] })
    const browser = createBrowser(house.fetch, house.origin)
    await allow(browser, authorizeUrl(house, client, { resource: resource() }).url)
    const again = await browser.go(authorizeUrl(house, client, { resource: resource() }).url)
    expect(again.status).toBe(0)
    for (const site of ['cross-site', 'same-site']) {
      const page = await browser.go(authorizeUrl(house, client, { resource: resource() }).url, {
        headers: { 'sec-fetch-site': site },
      })
      expect([page.status, page.body.includes('value="allow"')]).toEqual([200, true])
    }
  })

  test('never tokens for a code in other hands: another client, another verifier, another address, another service [H-G5, H-G9, H-G10, H-G13]', async () => {
    const client = await register(house)
    const stranger = await register(house)
    const browser = createBrowser(house.fetch, house.origin)
    const asking = authorizeUrl(house, client, { resource: resource() })
    const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
    const thefts = [
      redeem(house, { ...client, id: stranger.id }, code, asking.verifier),
      redeem(house, client, code, 'x'.repeat(43)),
      redeem(house, client, code, asking.verifier, { redirect_uri: 'http://127.0.0.1:6000/cb' }),
      redeem(house, client, code, asking.verifier, { resource: `${house.origin}/second/mcp` }),
    ]
    for (const answer of await Promise.all(thefts)) expect(answer.status).toBe(400)
    expect((await redeem(house, client, code, asking.verifier)).status).toBe(200)
  })

  test('never two grants of one code, however many exchange it at once [H-G2]', async () => {
    const client = await register(house)
    const browser = createBrowser(house.fetch, house.origin)
    const asking = authorizeUrl(house, client, { resource: resource() })
    const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => redeem(house, client, code, asking.verifier)),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 400)).toHaveLength(49)
    const winner = (await answers.find(({ status }) => status === 200)?.json()) as { access_token: string }
    expect((await call(winner.access_token)).status).toBe(200)
  })

  test('never one kind of token in the place of another [H-G18, H-J4, H-J6]', async () => {
    const { client, tokens } = await logIn(house)
    const before = upstream.heard.length
    for (const token of [
      tokens.refresh_token,
      client.id,
      `pc_${'a'.repeat(32)}.${'b'.repeat(32)}`,
      'reg-x',
      `${tokens.access_token.split('.').slice(0, 2).join('.')}.`,
    ])
      expect((await call(token)).status).toBe(401)
    expect((await call(tokens.access_token, '/second/mcp')).status).toBe(401)
    expect(upstream.heard.length).toBe(before)
    for (const token of [tokens.access_token, 'x', `${tokens.refresh_token}x`])
      expect((await refresh(house, client, token)).status).toBe(400)
    for (const code of [tokens.access_token, tokens.refresh_token])
      expect((await redeem(house, client, code, 'x'.repeat(43))).status).toBe(400)
  })

  test('never an error at the token endpoint that clients take for the end: always JSON, a registered code, no store [H-G15, H-G16, H-G22, H-I4]', async () => {
    const registered = new Set([
      'invalid_request',
      'invalid_client',
      'invalid_grant',
      'unauthorized_client',
      'unsupported_grant_type',
      'invalid_scope',
      'invalid_target',
      'temporarily_unavailable',
    ])
    const url = { 'content-type': 'application/x-www-form-urlencoded' }
    const requests: [string, RequestInit][] = [
      ['/oauth/token', { method: 'GET' }],
      ['/oauth/token?grant_type=authorization_code&code=x', { method: 'POST' }],
      [
        '/oauth/token',
        {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '{"grant_type":"authorization_code"}',
        },
      ],
      [
        '/oauth/token',
        { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'grant_type=refresh_token' },
      ],
      ['/oauth/token', { method: 'POST', headers: url, body: 'grant_type=password&username=a&password=b' }],
      ['/oauth/token', { method: 'POST', headers: url, body: 'grant_type=constructor&client_id=x' }],
      ['/oauth/token', { method: 'POST', headers: url, body: '%' }],
      ['/oauth/token', { method: 'POST', headers: url, body: '%ff=%fe&grant_type=%00' }],
      ['/oauth/token', { method: 'POST', headers: url, body: 'a&'.repeat(5000) }],
      ['/oauth/token', { method: 'POST', headers: url, body: 'x'.repeat(100_000) }],
      [
        '/oauth/token',
        { method: 'POST', headers: { ...url, authorization: 'Basic %%%' }, body: 'grant_type=refresh_token' },
      ],
      [
        '/oauth/token',
        {
          method: 'POST',
          headers: { ...url, authorization: `Basic ${Buffer.from('nobody:nothing').toString('base64')}` },
          body: 'grant_type=refresh_token',
        },
      ],
      [
        '/oauth/token',
        {
          method: 'POST',
          headers: url,
          body: 'grant_type=refresh_token&client_id=__proto__&refresh_token=x',
        },
      ],
      ['/oauth/revoke', { method: 'POST', headers: url, body: 'token=x' }],
      ['/oauth/introspect', { method: 'POST', headers: url, body: 'token=x&client_id=x' }],
      [
        '/oauth/register',
        {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '{"redirect_uris":{"length":1}}',
        },
      ],
    ]
    for (const [path, init] of requests) {
      const answer = await at(path, init)
      const body = (await answer.json()) as Record<string, string>
      expect([init.body, answer.status >= 400 && answer.status < 500, Object.keys(body).toSorted()]).toEqual([
        init.body,
        true,
        ['code', 'error', 'error_description', 'request_id'],
      ])
      expect(
        path === '/oauth/register'
          ? /^invalid_(client_metadata|redirect_uri)$/.test(body['error'] ?? '')
          : registered.has(body['error'] ?? ''),
      ).toBe(true)
      expect(body['error_description']).toMatch(/^[\x20-\x21\x23-\x5B\x5D-\x7E]+$/)
      expect(answer.headers.get('cache-control')).toContain('no-store')
    }
  })

  test('never a fetch of what a request or a registration names, where none is due [H-B11, H-D13, H-C17]', async () => {
    const trap = await openUpstream()
    const client = await register(house, {
      logo_uri: trap.url,
      client_uri: trap.url,
      policy_uri: trap.url,
      tos_uri: trap.url,
      jwks_uri: undefined,
    })
    const url = authorizeUrl(house, client, { resource: resource() }).url
    for (const more of [
      `request_uri=${encodeURIComponent(trap.url)}`,
      `registration=${encodeURIComponent(trap.url)}`,
      `claims=${encodeURIComponent(trap.url)}`,
    ])
      await house.fetch(`${url}&${more}`)
    for (const id of [trap.url, trap.url.replace('http', 'https'), `${house.origin}/client.json`]) {
      const answer = await house.fetch(authorizeUrl(house, { ...client, id }, { resource: resource() }).url)
      expect([id, answer.status, answer.headers.get('location')]).toEqual([id, 400, null])
    }
    expect(trap.heard).toEqual([])
    await trap.close()
  })

  test('never a script from a client that names itself one [H-B10, H-D12]', async () => {
    const browser = createBrowser(house.fetch, house.origin)
    const client = await register(house, {
      client_name: '<img src=x onerror=alert(1)>"\'><script>alert(2)</script>',
    })
    let page = await browser.go(
      authorizeUrl(house, client, { resource: resource(), state: '"><script>alert(3)</script>' }).url,
    )
    if (page.body.includes('name="password"')) page = await browser.submit(page, '/login', person)
    expect(page.body).toContain('value="allow"')
    expect(page.body).not.toMatch(/<script>alert|<img src=x/)
  })
})

test('never a request to the operator’s own identity provider because a client names it [H-C4]', async () => {
  let connections = 0
  const idp = createServer((socket) => {
    connections++
    socket.destroy()
  })
  await once(idp.listen(0, '127.0.0.1'), 'listening')
  const issuer = `https://127.0.0.1:${(idp.address() as AddressInfo).port}`
  const house = await openInProcess({
    upstream: 'http://localhost:9/mcp',
    config: { oauth_providers: { company: { issuer, client_id: 'x', client_secret: 'y' } } },
  })
  const browser = createBrowser(house.fetch, house.origin)
  for (const id of [`${issuer}/c.json`, `${issuer}/logout?all=1`])
    expect(
      (await browser.go(authorizeUrl(house, { id, redirectUri: 'http://127.0.0.1:5000/cb' }).url)).status,
    ).toBe(400)
  expect(connections).toBe(0)
  // The sign-in itself goes there.
  await browser.submit(await browser.go('/login'), '/login/company', {})
  expect(connections).toBe(1)
  await house.close()
  idp.close()
})
