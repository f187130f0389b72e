// Tokens of MCP servers that the company grants for the sign-in of a person: identity assertions that the server's own
// authorization server takes (Enterprise-Managed Authorization), and tokens that the identity provider issues itself
// (RFC 8693). The company is oidc-provider.
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Company, openCompany } from '../providers/company.ts'
import { signInAtProvider } from '../providers/openid-provider.ts'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { allow, authorizeUrl, redeem, register } from '../runtimes/login.ts'
import { type Caller, ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { type Upstream, openUpstream } from '../runtimes/upstream.ts'

const idJag = 'urn:ietf:params:oauth:token-type:id-jag'
const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const minute = 60_000

// What differs between the runtimes is the same on a socket.
describe.each(runtimes.filter(([name]) => name !== 'on a node socket'))('%s', (_name, open) => {
  let far: FarServer
  let echo: Upstream
  let company: Company
  let house: TestGateway
  let browser: Browser
  beforeAll(async () => {
    ;[far, echo, company] = await Promise.all([openFarServer(), openUpstream(), openCompany()])
    const granted = {
      type: 'id_jag',
      provider: 'sso',
      issuer: far.origin,
      client_id: 'gateway-at-server',
      client_secret: 'a secret: 100%',
    } as const
    house = await open({
      upstream: echo.url,
      config: {
        local_users: [ana],
        oauth_providers: {
          sso: {
            name: 'Company',
            issuer: company.url,
            client_id: company.clientId,
            client_secret: company.clientSecret,
          },
        },
        mcp_services: {
          granted: { url: far.url, name: 'Tracker', upstream_auth: { ...granted, scopes: ['read'] } },
          other: { url: far.url, name: 'Other', upstream_auth: granted },
          third: { url: far.url, name: 'Third', upstream_auth: granted },
          access: {
            url: echo.url,
            upstream_auth: { type: 'token_exchange', subject: 'access_token', resource: '' },
          },
          refresh: {
            url: echo.url,
            upstream_auth: {
              type: 'token_exchange',
              subject: 'refresh_token',
              resource: '',
              provider: 'sso',
              idp: { client_id: 'exchanger', client_secret: 'secret of the exchanger' },
            },
          },
          exchanged: {
            url: echo.url,
            upstream_auth: { type: 'token_exchange', resource: 'https://echo.example/', audience: 'echo' },
          },
        },
      },
    })
    browser = createBrowser(house.fetch, house.origin)
    await signIn('/login')
  })
  afterEach(() => {
    Object.assign(company.script, { deny: undefined, claims: {}, header: {}, answer: {} })
    Object.assign(company.script, { silent: false, over: false })
    far.script.prm = (usual) => usual
  })
  afterAll(async () => {
    await house.close()
    await Promise.all([far.close(), echo.close(), company.close()])
  })

  const signIn = async (page: string): Promise<void> => {
    const out = await browser.submit(await browser.go(`${house.origin}${page}`), '/login/sso', {})
    await browser.go(await signInAtProvider(out.url, 'olga'))
  }
  const callers = new Map<string, Promise<Caller>>()
  const callerAt = (service: string): Promise<Caller> => {
    const caller = callers.get(service) ?? logIn(service)
    callers.set(service, caller)
    return caller
  }
  const logIn = async (service: string): Promise<Caller> => {
    const client = await register(house)
    const resource = `${house.origin}/${service}/mcp`
    const asking = authorizeUrl(house, client, { resource })
    const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
    const { access_token } = (await (await redeem(house, client, code, asking.verifier)).json()) as {
      access_token: string
    }
    return callerOf(house, resource, access_token)
  }
  const older = { 'mcp-protocol-version': '2025-06-18' }
  const heardBy = async (caller: Caller): Promise<string> => (await caller.post(call(), older)).text()
  const assertions = () =>
    far.asked.flatMap(({ path, fields }) =>
      path === '/token' && fields['grant_type'] === jwtBearer ? [fields['assertion'] ?? ''] : [],
    )

  it('the sign-in is exchanged once for all who call, and the server’s own login is never seen', async () => {
    const caller = await callerAt('granted')
    const answers = await Promise.all(Array.from({ length: 20 }, () => caller.post(call())))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(await answers[0]?.text()).toMatch(/access-\d+/)
    expect(company.exchanges).toHaveLength(1)
    expect(company.exchanges[0]).toMatchObject({
      form: {
        requested_token_type: idJag,
        audience: far.origin,
        resource: far.url,
        scope: 'read',
        subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
      },
      subject: { sub: 'olga', aud: company.clientId },
    })
    const asked = far.asked.find(({ fields }) => fields['grant_type'] === jwtBearer)
    expect(asked?.fields).toMatchObject({ scope: 'read', resource: far.url })
    expect(atob((asked?.headers.authorization ?? '').slice(6))).toBe('gateway-at-server:a+secret%3A+100%25')
    expect(decodeProtectedHeader(assertions()[0] ?? '').typ).toBe('oauth-id-jag+jwt')
    expect([far.count('/authorize'), far.count('/register')]).toEqual([0, 0])
    const log = JSON.stringify(house.log)
    expect([
      log.includes(assertions()[0] ?? ''),
      log.includes(String(company.exchanges[0]?.form['subject_token'])),
    ]).toEqual([false, false])
  })

  it('a token that the server refuses is followed by a fresh assertion, once', async () => {
    const caller = await callerAt('granted')
    const before = assertions().length
    far.expire()
    expect((await caller.post(call())).status).toBe(200)
    const jtis = assertions().map((jag) => decodeJwt(jag).jti)
    expect([jtis.length - before, new Set(jtis).size]).toEqual([1, jtis.length])
  })

  it('49 what the company denies is final: no link, no login at the server, nothing sent to it', async () => {
    const caller = await callerAt('third')
    company.script.deny = { error: 'access_denied', error_description: 'not for contractors' }
    const before = far.asked.length
    const answer = await caller.post(call(), older)
    const text = await answer.text()
    expect([answer.status, text]).toEqual([
      403,
      expect.stringContaining('identity provider of your company denied'),
    ])
    expect(text).not.toMatch(/https?:|contractors/)
    expect(far.asked.slice(before).filter(({ path }) => /token|authorize|register/.test(path))).toEqual([])
    expect(JSON.stringify(house.log)).toContain('not for contractors')
    house.advance(6_000)
    company.script.deny = undefined
    expect((await caller.post(call())).status).toBe(200)
  })

  it('where the company wants another sign-in, the link leads to that provider alone, and says how old it may be', async () => {
    const caller = await callerAt('third')
    far.expire()
    company.script.deny = { error: 'insufficient_user_authentication', max_age: 300 }
    const text = await heardBy(caller)
    const link = `${house.origin}/login/sso?max_age=300`
    expect(text).toContain(link)
    company.script.deny = undefined
    house.advance(6_000)
    const page = await browser.go(link)
    expect(page.body).not.toContain('name="password"')
    await signIn('/login/sso?max_age=300')
    expect(company.authorizations.at(-1)).toMatchObject({ max_age: '300', prompt: 'login' })
    expect((await caller.post(call())).status).toBe(200)
  })

  it.each([
    ['another server', { claims: { aud: 'https://other.example' } }],
    ['two servers', { claims: { aud: ['https://other.example', 'https://third.example'] } }],
    ['another resource', { claims: { resource: 'https://other.example/mcp' } }],
    ['no resource', { claims: { resource: undefined } }],
    ['another client', { claims: { client_id: 'other' } }],
    ['another kind', { header: { typ: 'JWT' } }],
    [
      'a token in place of one',
      { answer: { issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' } },
    ],
    ['no JWT', { answer: { access_token: 'opaque' } }],
  ])('48 an assertion for %s is passed on to nobody', async (_what, script) => {
    const caller = await callerAt('granted')
    far.expire()
    house.advance(6_000)
    Object.assign(company.script, script)
    const before = assertions().length
    expect((await caller.post(call())).status).toBe(502)
    expect(assertions()).toHaveLength(before)
  })

  it('50 a server that trusts another authorization server by now gets nothing', async () => {
    const caller = await callerAt('granted')
    far.expire()
    house.advance(6_000)
    far.script.prm = (usual) => ({ ...usual, authorization_servers: ['https://elsewhere.example'] })
    const [before, exchanged] = [assertions().length, company.exchanges.length]
    expect((await caller.post(call())).status).toBe(502)
    expect([assertions().length, company.exchanges.length]).toEqual([before, exchanged])
  })

  it('a token can be issued by the identity provider itself', async () => {
    const caller = await callerAt('exchanged')
    expect(await heardBy(caller)).toContain(`Bearer exchanged-${company.exchanges.length}`)
    expect(company.exchanges.at(-1)?.form).toMatchObject({
      requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      audience: 'echo',
      resource: 'https://echo.example/',
    })
  })

  it('other tokens of the sign-in are exchanged where the operator says so, by a client of its own', async () => {
    for (const [service, kind, client] of [
      ['access', 'access_token', `${company.clientId}:${company.clientSecret}`],
      ['refresh', 'refresh_token', 'exchanger:secret+of+the+exchanger'],
    ] as const) {
      expect(await heardBy(await callerAt(service))).toContain(`Bearer exchanged-${company.exchanges.length}`)
      const last = company.exchanges.at(-1)
      expect(last?.form['subject_token_type']).toBe(`urn:ietf:params:oauth:token-type:${kind}`)
      expect([last?.form['resource'], last?.form['audience']]).toEqual([undefined, undefined])
      expect(atob((last?.authorization ?? '').slice(6))).toBe(client)
    }
  })

  it('an ID token that is nearly over is renewed first, with openid asked for', async () => {
    const caller = await callerAt('other')
    // A minute and a bit have passed in the cases above, of ten.
    house.advance(8 * minute)
    const from = company.exchanges.length
    const old = company.exchanges[0]?.form['subject_token']
    expect((await caller.post(call())).status).toBe(200)
    expect(company.exchanges.slice(from).map(({ form }) => form['subject_token'] === old)).toEqual([false])
    expect(company.refreshes.at(-1)?.['scope']).toContain('openid')
  })

  it('and ends with the sign-in that it came from', async () => {
    const caller = await callerAt('exchanged')
    expect(await heardBy(caller)).toContain('Bearer exchanged-')
    company.script.over = true
    far.expire()
    house.advance(2 * minute)
    expect(await heardBy(await callerAt('granted'))).toContain(`${house.origin}/login/sso`)
    expect(await heardBy(caller)).toContain(`${house.origin}/login/sso`)
    company.script.over = false
  })

  it('there is nothing to connect, and the pages say why', async () => {
    const home = await browser.go(`${house.origin}/`)
    expect(home.body).toContain('Your company grants access with your sign-in.')
    const page = await browser.go(`${house.origin}/connect/granted`)
    expect([page.status, page.body]).toEqual([404, expect.stringContaining('There is no account to connect')])
    const made = house.log.filter(({ event }) => event === 'connection.made')
    expect(made.find(({ fields }) => fields['service'] === 'granted')?.fields).toMatchObject({
      account: 'company',
      issuer: far.origin,
      person: 'sso:olga',
    })
  })

  it('somebody who signed in with a password here has nothing to exchange', async () => {
    const resource = `${house.origin}/granted/mcp`
    const answer = await callerOf(house, resource, await tokenOf(house, ana, resource)).post(call())
    expect([answer.status, await answer.text()]).toEqual([
      502,
      expect.stringContaining('you signed in with a password'),
    ])
  })
})
