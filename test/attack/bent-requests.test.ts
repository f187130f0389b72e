// What must never come of requests that are bent: parameters said twice or in two places, odd encodings, odd
// credentials, odd but lawful addresses, very much of anything.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { allow, authorizeUrl, type Client, redeem, refresh, register } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const formType = 'application/x-www-form-urlencoded'
const nasty = [
  '%00',
  '%ff%fe',
  '%c0%af',
  '%ed%a0%80',
  '%f5%80%80%80',
  '%',
  '%zz',
  '%EF%BF%BE',
  '%0d%0ax:y',
  '%F0%9F%A6%86',
  '..%2f..',
  '__proto__',
  'constructor',
  '%E2%80%AEtxt',
  'x'.repeat(6000),
]
const registered = new Set([
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
  'invalid_target',
])

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let house: TestGateway
  let browser: Browser
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: { mcp_services: { wide: { url: upstream.url, scopes: ['read', 'write'] } } },
    })
    browser = createBrowser(house.fetch, house.origin)
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  const at = (path: string, init?: RequestInit) => house.fetch(`${house.origin}${path}`, init)
  const echo = (): string => `${house.origin}/echo/mcp`
  const send = (path: string, body: string, headers: Record<string, string> = {}) =>
    at(path, { method: 'POST', body, headers: { 'content-type': formType, ...headers } })
  const told = async (answer: Response): Promise<[number, unknown]> => [
    answer.status,
    ((await answer.json()) as { error?: unknown }).error,
  ]
  const codeFor = async (client: Client, params: Record<string, string> = {}) => {
    const asking = authorizeUrl(house, client, { resource: echo(), ...params })
    return {
      code: (await allow(browser, asking.url)).searchParams.get('code') ?? '',
      verifier: asking.verifier,
    }
  }

  test('never a token for parameters in the query, said twice, or in a body that says it is something else, and never a code spent by them [H-D9, H-G15, H-G16]', async () => {
    const client = await register(house)
    const { code, verifier } = await codeFor(client)
    const fields = {
      grant_type: 'authorization_code',
      code,
      redirect_uri: client.redirectUri,
      client_id: client.id,
      code_verifier: verifier,
    }
    const body = new URLSearchParams(fields).toString()
    const bent: [string, string, Record<string, string>?][] = [
      [`?${body}`, ''],
      [
        `?code=${code}&code_verifier=${verifier}`,
        `grant_type=authorization_code&client_id=${client.id}&redirect_uri=${encodeURIComponent(client.redirectUri)}`,
      ],
      ...Object.entries(fields).map(([name, value]): [string, string] => [
        '',
        `${body}&${name}=${encodeURIComponent(value)}`,
      ]),
      ['', `${body}&grant_type=refresh_token`],
      [
        '',
        `${body}&resource=${encodeURIComponent(echo())}&resource=${encodeURIComponent(`${house.origin}/wide/mcp`)}`,
      ],
      ['', `${body}&resource=${encodeURIComponent('https://evil.example/')}`],
      ['', body.replaceAll('&', ';')],
      ...[
        'text/plain',
        'application/json',
        'multipart/form-data; boundary=x',
        `${formType}; charset=utf-16`,
        `${formType}; charset=utf-7`,
        `${formType}, text/plain`,
        '',
      ].map((type): [string, string, Record<string, string>] => ['', body, { 'content-type': type }]),
      ...[
        'Authorization_Code',
        'authorization_code ',
        ' authorization_code',
        'authorization_code%00',
        'authorization_code%0a',
        'authorization-code',
        'code',
      ].map((type): [string, string] => ['', body.replace('=authorization_code', `=${type}`)]),
      ...['CODE', 'Code', 'code[]', 'code%00', ' code'].map((name): [string, string] => [
        '',
        body.replace('&code=', `&${name}=`),
      ]),
    ]
    for (const [query, sent, headers] of bent) {
      const [status, error] = await told(await send(`/oauth/token${query}`, sent, headers))
      expect([query, sent, status >= 400 && status < 500, registered.has(String(error))]).toEqual([
        query,
        sent,
        true,
        true,
      ])
    }
    const good = await send('/oauth/token?code=x&grant_type=refresh_token', body, {
      'content-type': 'Application/X-WWW-Form-Urlencoded ; Charset="UTF-8"',
    })
    expect(good.status).toBe(200)
  })

  test('never a request that the next server would read differently: compressed, with two authorizations, or at an address written in another way [H-G15]', async () => {
    const client = await register(house)
    const { code, verifier } = await codeFor(client)
    const body = new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: client.redirectUri,
      client_id: client.id,
      code_verifier: verifier,
    }).toString()
    const bent: [number, string, Record<string, string>][] = [
      ...['gzip', 'deflate', 'br', 'x', 'identity, gzip'].map(
        (coding): [number, string, Record<string, string>] => [
          415,
          '/oauth/token',
          { 'content-encoding': coding },
        ],
      ),
      ...['Bearer x, Basic eDp5', 'Basic eDp5, Bearer x', 'Bearer x, Bearer y'].map(
        (authorization): [number, string, Record<string, string>] => [400, '/oauth/token', { authorization }],
      ),
      ...[
        '/oauth/%74oken',
        '/%6fauth/token',
        '/oauth%2ftoken',
        '/tok%65n',
        '/oauth/token/',
        '/oauth//token',
        '/oauth/token;x',
        '/OAuth/Token',
        '/oauth/x/..;/token',
      ].map((path): [number, string, Record<string, string>] => [404, path, {}]),
    ]
    for (const [status, path, headers] of bent)
      expect([path, headers, ...(await told(await send(path, body, headers)))]).toEqual([
        path,
        headers,
        status,
        'invalid_request',
      ])
    for (const path of [
      '/oauth/%61uthorize',
      '/log%69n',
      '/%2ewell-known/oauth-authorization-server',
      '/oauth/%72egister/x',
      '/h%65alth',
    ])
      expect([path, (await at(path)).status]).toEqual([path, 404])
    // Some clients send the token of before along; it says nothing here.
    expect(
      (await send('/oauth/token', body, { authorization: 'Bearer x', 'content-encoding': 'identity' }))
        .status,
    ).toBe(200)
  })

  test('never an error for parameters without a value, which count as left out', async () => {
    const client = await register(house)
    const empty = {
      scope: '',
      prompt: '',
      max_age: '',
      nonce: '',
      response_mode: '',
      request: '',
      request_uri: '',
      registration: '',
      display: '',
    }
    const { code, verifier } = await codeFor(client, { ...empty, state: '' })
    expect((await redeem(house, client, code, verifier, { redirect_uri: '' })).status).toBe(400)
    const answer = await redeem(house, client, code, verifier, {
      client_secret: '',
      client_assertion: '',
      client_assertion_type: '',
      resource: '',
      scope: '',
    })
    expect(answer.status).toBe(200)
    const { refresh_token } = (await answer.json()) as { refresh_token: string }
    expect(
      (await refresh(house, client, refresh_token, { scope: '', resource: '', client_secret: '' })).status,
    ).toBe(200)
  })

  test('never a fault of ours for bytes that are no text, too long, or mean something elsewhere [H-G7, H-G22]', async () => {
    const client = await register(house)
    const paths = ['/oauth/token', '/oauth/revoke', '/oauth/introspect']
    for (const bad of nasty) {
      const base = `grant_type=refresh_token&client_id=${client.id}`
      const bodies = [
        `${base}&refresh_token=${bad}`,
        `grant_type=${bad}&client_id=${client.id}`,
        `grant_type=refresh_token&client_id=${bad}&refresh_token=x`,
        `${base}&token=${bad}`,
        `${bad}=${bad}`,
        `grant_type=authorization_code&client_id=${client.id}&code=${bad}&code_verifier=${bad}&redirect_uri=${bad}`,
      ]
      for (const path of paths)
        for (const body of bodies)
          expect([path, body, (await send(path, body)).status < 500]).toEqual([path, body, true])
      for (const query of [
        `client_id=${bad}`,
        `client_id=${client.id}&redirect_uri=${bad}`,
        `client_id=${client.id}&redirect_uri=${encodeURIComponent(client.redirectUri)}&${bad}=x&scope=${bad}&resource=${bad}&prompt=${bad}`,
      ]) {
        const answer = await at(`/oauth/authorize?${query}`)
        expect([
          query,
          answer.status < 500,
          new URL(answer.headers.get('location') ?? client.redirectUri).origin,
        ]).toEqual([query, true, 'http://127.0.0.1:5000'])
      }
    }
  })

  test('never a fault of ours for a path that is no text', async () => {
    for (const path of [
      '/services/%ff',
      '/services/%',
      '/services/%E0%A4%A',
      '/services/__proto__',
      '/login/%ff',
      '/oauth/register/%ff',
      '/oauth/callback/%ff',
      '/.well-known/oauth-protected-resource/%ff',
      '/.well-known/oauth-protected-resource?service_id=%ff',
      '/%ff',
      '/%c0%ae%c0%ae/',
      '/assets/%ff',
      '/assets/..%2f..%2fpackage.json',
      '/%ff/mcp/.well-known/openid-configuration',
    ]) {
      for (const accept of ['application/json', 'text/html']) {
        const answer = await at(path, { headers: { accept } })
        expect([path, answer.status >= 400 && answer.status < 500]).toEqual([path, true])
      }
    }
  })

  test('never a registration that costs more than it says: no depth, no thousands of names, no member twice [H-B9, H-R6]', async () => {
    const post = (body: string, type = 'application/json') =>
      at('/oauth/register', { method: 'POST', headers: { 'content-type': type }, body })
    const deep = (n: number): string => '['.repeat(n) + ']'.repeat(n)
    const names = (n: number): string => Array.from({ length: n }, (__, i) => `${i.toString(36)}=`).join('&')
    const bodies: [string, string?][] = [
      [deep(30_000)],
      [`{"redirect_uris":${deep(30_000)}}`],
      [`{"redirect_uris":["https://app.example/cb"],"jwks":{"keys":[${deep(30_000)}]}}`],
      [
        `{"redirect_uris":["https://app.example/cb"],"jwks":{"keys":[{"kty":"EC","crv":"P-256","x":${deep(30_000)},"y":"y"}]}}`,
      ],
      [
        `{"redirect_uris":["https://app.example/cb"],${Array.from({ length: 5000 }, (__, i) => `"m${i}":1`).join(',')}}`,
      ],
      [`redirect_uris=https://app.example/cb&${names(11_000)}`, formType],
      ['redirect_uris=https://app.example/cb&client_name=A&client_name=B', formType],
      [
        'redirect_uris=https://app.example/cb&token_endpoint_auth_method=none&token_endpoint_auth_method=client_secret_post',
        formType,
      ],
    ]
    for (const [body, type] of bodies)
      expect([body.slice(0, 60), ...(await told(await post(body, type)))]).toEqual([
        body.slice(0, 60),
        400,
        expect.stringMatching(/^invalid_(client_metadata|redirect_uri)$/),
      ])
    // What is no part of a public key is not kept with it.
    const noted = (n: number) =>
      post(
        `{"redirect_uris":["https://app.example/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"eA","y":"eQ","note":${deep(n)}}],"more":1}}`,
      )
    const kept = await noted(46)
    expect([kept.status, ((await kept.json()) as { jwks: unknown }).jwks]).toEqual([
      201,
      { keys: [{ kty: 'EC', crv: 'P-256', kid: '1', x: 'eA', y: 'eQ' }] },
    ])
    // The note stands four deep, and fifty are read.
    for (const n of [47, 20_000])
      expect([n, ...(await told(await noted(n)))]).toEqual([n, 400, 'invalid_client_metadata'])
    for (const key of [
      '{"kty":"oct","k":"c2VjcmV0"}',
      '{"kty":"EC","crv":"P-256","x":"eA","y":"eQ","d":"ZA"}',
      '{"kty":"RSA","n":"bg","e":"AQAB","p":"cA"}',
      '{"kty":"EC","crv":7}',
      '"EC"',
      'null',
    ]) {
      expect([
        key,
        ...(await told(
          await post(
            `{"redirect_uris":["https://app.example/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[${key}]}}`,
          ),
        )),
      ]).toEqual([key, 400, 'invalid_client_metadata'])
    }
  })

  test('never a body, in query or form, larger than what a request line may hold [H-D12, H-R3]', async () => {
    const client = await register(house)
    const query = new URL(authorizeUrl(house, client, { resource: echo(), state: '' }).url).search.slice(1)
    const state = 's'.repeat(8000)
    const long = query.replace('state=&', `state=${state}&`)
    for (const asked of [await at(`/oauth/authorize?${long}`), await send('/oauth/authorize', long)])
      expect(asked.status).toBe(303)
    expect(
      (await send('/oauth/authorize', query.replace('state=&', `state=${'s'.repeat(20_000)}&`))).status,
    ).toBe(413)
    expect((await send('/oauth/authorize', `${query}&${'a=&'.repeat(120)}`)).status).toBe(400)
  })

  test('never a byte of state lost, added or taken for a header, whatever it holds [H-D12, H-D16]', async () => {
    const client = await register(house)
    const stranger = await register(house)
    for (const state of [
      '"><script>alert(1)</script>',
      '\0',
      '\r\nSet-Cookie: x=y\r\n\r\n<html>',
      '🦆 山',
      'a+b c%20d',
      '&code=evil&iss=https://evil.example',
      '#fragment',
      '\u202E\uFEFF',
      's'.repeat(8000),
      'undefined',
      '0',
      ' ',
    ]) {
      const refuse = (asking: Client) =>
        at(
          authorizeUrl(house, asking, { state, resource: 'https://evil.example/' }).url.slice(
            house.origin.length,
          ),
        )
      const allowed = await allow(browser, authorizeUrl(house, client, { state, resource: echo() }).url)
      const refused = await refuse(client)
      // Nobody has approved the stranger, so its error is a page with a link (RFC 9700 §4.11.2).
      const shown = await (await refuse(stranger)).text()
      expect(shown).not.toMatch(/<script>|<html>/)
      const link = /<a href="(http:\/\/127[^"]+)"/.exec(shown)?.[1]?.replaceAll('&amp;', '&') ?? ''
      for (const back of [new URL(refused.headers.get('location') ?? ''), new URL(link), allowed])
        expect([back.searchParams.getAll('state'), back.searchParams.getAll('iss'), back.hash]).toEqual([
          [state],
          [house.origin],
          '',
        ])
      expect(refused.headers.has('set-cookie')).toBe(false)
      expect(allowed.searchParams.getAll('code')).toEqual([expect.stringMatching(/^pc_/)])
    }
  })

  test('never a lawful redirect URI refused or altered, however unusual, and never one that speaks in the place of the answer [H-D3, H-D4, H-D16]', async () => {
    const lawful: [registered: string, asked?: string][] = [
      ['http://[::1]:51004/cb'],
      ['http://[::1]/cb', 'http://[::1]:1/cb'],
      ['http://127.0.0.1/', 'http://127.0.0.1:65535/'],
      ['http://localhost/', 'http://localhost:33418/'],
      ['https://xn--bcher-kva.example/cb'],
      ['https://app.example:8443/cb?x=1&y=%20z&empty='],
      ["https://app.example/cb;a=b/(c)!$'*,@:"],
      ['https://app.example/%E4%BD%A0?%E5%A5%BD'],
      ['https://app.example'],
      ['https://a_b.example/cb'],
      ['https://8.8.8.8/cb'],
      ['https://app.example/cb?next=https://other.example/#'.slice(0, -1)],
    ]
    for (const [uri, asked = uri] of lawful) {
      const client = await register(house, { redirect_uris: [uri] })
      const page = await browser.go(
        authorizeUrl(house, client, { resource: echo(), redirect_uri: asked }).url,
      )
      const answered = page.body.includes('name="password"')
        ? await browser.submit(page, '/login', { username: 'ana', password: 'correct horse battery' })
        : page
      const back = await browser.submit(answered, '/oauth/consent', { decision: 'allow' })
      const at = asked.includes('?')
        ? `${asked}&code=pc_`
        : `${new URL(asked).pathname === '/' && !asked.endsWith('/') ? `${asked}/` : asked}?code=pc_`
      expect([uri, back.url.slice(0, at.length)]).toEqual([uri, at])
    }
    const speaking = await register(house, {
      redirect_uris: [
        'https://app.example/cb?code=evil&x=1&%69ss=https://evil.example&state=evil&error=access_denied',
      ],
    })
    const back = await allow(browser, authorizeUrl(house, speaking, { resource: echo(), state: 'mine' }).url)
    expect([...back.searchParams.keys()]).toEqual(['x', 'code', 'state', 'iss'])
    expect([back.searchParams.get('state'), back.searchParams.get('iss')]).toEqual(['mine', house.origin])
  })

  test('never another origin in metadata, links or challenges than the configured one, whatever a request says [H-A3]', async () => {
    const lies = {
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'https',
      'x-forwarded-port': '444',
      'x-forwarded-prefix': '/evil',
      'x-forwarded-server': 'evil.example',
      'x-original-host': 'evil.example',
      'x-original-url': 'https://evil.example/',
      'x-rewrite-url': '/evil',
      forwarded: 'host=evil.example;proto=https',
    }
    for (const path of [
      '/.well-known/oauth-authorization-server',
      '/.well-known/oauth-protected-resource/echo/mcp',
      '/services',
      '/',
      '/oauth/jwks',
      '/echo/mcp',
      '/login',
    ]) {
      for (const accept of ['application/json', 'text/html']) {
        const [plain, lied] = [
          await at(path, { headers: { accept } }),
          await at(path, { headers: { accept, ...lies } }),
        ]
        expect([
          path,
          lied.status,
          lied.headers.get('www-authenticate'),
          lied.headers.get('location'),
        ]).toEqual([path, plain.status, plain.headers.get('www-authenticate'), plain.headers.get('location')])
        expect(`${await lied.text()} ${JSON.stringify([...lied.headers])}`).not.toContain('evil')
        await plain.text()
      }
    }
  })

  test('never a hint which services exist in what is said of those that do not [H-A10]', async () => {
    const said = async (path: string) => {
      const answer = await at(path)
      const { request_id: __, ...body } = (await answer.json()) as Record<string, unknown>
      return [answer.status, answer.headers.get('content-type'), body]
    }
    const unknown = await said('/.well-known/oauth-protected-resource/nope/mcp')
    expect(unknown[0]).toBe(404)
    for (const path of [
      '/nope',
      '/echo%2fmcp',
      '/echo',
      '/echo/mcp/more',
      '/ECHO/mcp',
      '//echo/mcp',
      `/${'x'.repeat(4096)}`,
      '?service_id=nope',
      '?service_id=',
      '?service_id=__proto__',
      '?service_id=echo%00',
    ].map((rest) => `/.well-known/oauth-protected-resource${rest}`))
      expect([path, await said(path)]).toEqual([path, unknown])
  })
})
