// People sign in: with a password, and through a real OpenID provider over HTTP, on the way to an MCP
// client's consent page and for themselves.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openIdProvider, providerConfig, signInAtProvider } from '../providers/openid-provider.ts'
import type { RunningProvider } from '../providers/process.ts'
import { createBrowser, type Browser, type Page } from '../runtimes/browser.ts'
import { runtimes, type TestGateway, type TestGatewayOptions } from '../runtimes/runtimes.ts'
import {
  type Tokens,
  allow,
  authorizeUrl,
  form,
  logIn,
  person,
  redeem,
  refresh,
  register,
} from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const people = [
  {
    login: 'operator',
    claims: {
      sub: '1001',
      name: 'Olga Operator',
      email: 'olga@corp.test',
      groups: ['admins', 'staff'],
      picture: 'https://img.test/o.png',
    },
  },
  { login: 'outsider', claims: { sub: '1002', email: 'out@else.test' } },
  {
    login: 'renamed',
    claims: { sub: '1001', name: 'Olga Renamed', email: 'olga.new@corp.test', groups: [] },
  },
]

let idp: RunningProvider
let upstream: Upstream
beforeAll(async () => {
  ;[idp, upstream] = await Promise.all([openIdProvider(people), openUpstream()])
})
afterAll(async () => {
  await Promise.all([idp.close(), upstream.close()])
})

const viaProvider = async (browser: Browser, page: Page, login: string, id = 'sso'): Promise<Page> => {
  const out = await browser.submit(page, `/login/${id}`, {})
  return browser.go(await signInAtProvider(out.url, login))
}

describe.each(runtimes)('%s', (where, open) => {
  const inHouse = async (
    config: TestGatewayOptions['config'],
    work: (house: TestGateway, browser: Browser) => Promise<void>,
  ): Promise<void> => {
    const house = await open({ upstream: upstream.url, ...(config ? { config } : {}) })
    try {
      await work(house, createBrowser(house.fetch, house.origin))
    } finally {
      await house.close()
    }
  }
  const withProvider = (more: object = {}, rest: object = {}) => ({
    local_users: [],
    oauth_providers: { sso: { ...providerConfig(idp), ...more } },
    ...rest,
  })

  test('a person with a password comes home, and signs out again', () =>
    inHouse({}, async (_house, browser) => {
      const home = await browser.submit(await browser.go('/login'), '/login', person)
      expect(home.status).toBe(200)
      expect(home.body).toContain('Ana Example')
      const out = await browser.submit(home, '/logout', {})
      expect(new URL(out.url).pathname).toBe('/login')
      expect([...browser.cookies.keys()]).not.toContain(browser.session)
    }))

  test('a person of the provider is met on the consent page of the client that made them sign in', () =>
    inHouse(withProvider(), async (house, browser) => {
      const client = await register(house, { client_name: 'Sign-in test client' })
      const asking = authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` })
      const login = await browser.go(asking.url)
      expect(login.body).toContain('Sign-in test client')
      expect(login.body).toContain('Company SSO')
      const consent = await viaProvider(browser, login, 'operator')
      expect(new URL(consent.url).pathname).toBe('/oauth/consent')
      expect(consent.body).toContain('olga@corp.test')
      const back = new URL((await browser.submit(consent, '/oauth/consent', { decision: 'allow' })).url)
      expect(back.searchParams.get('state')).toBe(asking.state)
      expect((await redeem(house, client, back.searchParams.get('code') ?? '', asking.verifier)).status).toBe(
        200,
      )
    }))

  if (where === 'on a node socket') {
    test('a real provider ends access by its back-channel logout', () =>
      inHouse(withProvider(), async (house, browser) => {
        const client = await register(house)
        const asking = authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` })
        await viaProvider(browser, await browser.go(asking.url), 'operator')
        const back = await allow(browser, asking.url)
        const answer = await redeem(house, client, back.searchParams.get('code') ?? '', asking.verifier)
        const { access_token, refresh_token } = (await answer.json()) as Tokens
        const status = async () =>
          (await callerOf(house, `${house.origin}/echo/mcp`, access_token).post(call())).status
        const signOut = (sub: string) =>
          fetch(`${idp.url}/sign-out`, form({ sub, uri: `${house.origin}/oauth/backchannel-logout/sso` }))
        expect([(await signOut('1002')).status, await status()]).toEqual([200, 200])
        expect((await signOut('1001')).status).toBe(200)
        house.advance(500)
        expect(await status()).toBe(401)
        expect((await refresh(house, client, refresh_token)).status).toBe(400)
        expect((await browser.go('/')).url).toContain('/login')
      }))
  }

  test('the upstream learns who the provider said is calling', () =>
    inHouse(withProvider(), async (house, browser) => {
      const client = await register(house)
      const asking = authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` })
      await viaProvider(browser, await browser.go(asking.url), 'operator')
      const back = await allow(browser, asking.url)
      const { access_token } = (await (
        await redeem(house, client, back.searchParams.get('code') ?? '', asking.verifier)
      ).json()) as { access_token: string }
      const call = { jsonrpc: '2.0', id: 1, method: 'tools/list' }
      await house.fetch(`${house.origin}/echo/mcp`, {
        method: 'POST',
        body: JSON.stringify(call),
        headers: {
          authorization: `Bearer ${access_token}`,
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
        },
      })
      expect(upstream.heard.at(-1)?.headers).toMatchObject({
        'x-user-sub': '1001',
        'x-user-provider': 'sso',
        'x-user-email': 'olga@corp.test',
        'x-user-login': 'operator',
      })
    }))

  test('one who is known by the subject stays the same person when name and address change [H-F9]', () =>
    inHouse(withProvider(), async (house, browser) => {
      await viaProvider(browser, await browser.go('/login'), 'operator')
      const other = createBrowser(house.fetch, house.origin)
      await viaProvider(other, await other.go('/login'), 'renamed')
      const signIns = house.log
        .filter(({ event }) => event === 'sign-in')
        .map(({ fields }) => fields['person'])
      expect(signIns).toEqual(['sso:1001', 'sso:1001'])
    }))

  test('the page offers the providers in the order of the configuration, and passwords where there are some', () =>
    inHouse(
      {
        oauth_providers: {
          second: { ...providerConfig(idp), name: 'Second SSO' },
          first: { ...providerConfig(idp), name: 'First SSO' },
        },
      },
      async (_house, browser) => {
        const { body } = await browser.go('/login')
        expect(body.indexOf('Second SSO')).toBeGreaterThan(0)
        expect(body.indexOf('First SSO')).toBeGreaterThan(body.indexOf('Second SSO'))
        expect(body).toContain('name="password"')
      },
    ))

  test('a service that insists on one provider is offered that one alone', () =>
    inHouse(
      {
        oauth_providers: { sso: providerConfig(idp), other: { ...providerConfig(idp), name: 'Other SSO' } },
        mcp_services: { pinned: { url: upstream.url, oauth_provider: 'sso' } },
      },
      async (house, browser) => {
        await browser.submit(await browser.go('/login'), '/login', person)
        const asking = authorizeUrl(house, await register(house), { resource: `${house.origin}/pinned/mcp` })
        const refused = await browser.go(asking.url)
        expect(refused.status).toBe(403)
        const [, onward = ''] = /href="(\/login\?[^"]*flow=[^"]*)"/.exec(refused.body) ?? []
        const login = await browser.go(onward.replaceAll('&amp;', '&'))
        expect(login.body).toContain('Company SSO')
        expect(login.body).not.toContain('Other SSO')
        expect(login.body).not.toContain('name="password"')
        expect(new URL((await viaProvider(browser, login, 'operator')).url).pathname).toBe('/oauth/consent')
      },
    ))

  test('a client that wants a fresh sign-in gets one, from the provider too [H-D15]', () =>
    inHouse(withProvider(), async (house, browser) => {
      await viaProvider(browser, await browser.go('/login'), 'operator')
      const asking = authorizeUrl(house, await register(house), {
        resource: `${house.origin}/echo/mcp`,
        prompt: 'login',
      })
      house.advance(1000)
      for (const visitor of [browser, createBrowser(house.fetch, house.origin)]) {
        const out = await visitor.submit(await visitor.go(asking.url), '/login/sso', {})
        expect(new URL(out.url).searchParams.get('prompt')).toBe('login')
        expect(new URL((await visitor.go(await signInAtProvider(out.url, 'operator'))).url).pathname).toBe(
          '/oauth/consent',
        )
      }
    }))

  test('an account that may not come in is named, nothing is issued, and another one is a click away [H-D22]', () =>
    inHouse(withProvider({ allowed_domains: ['corp.test'] }), async (house, browser) => {
      const asking = authorizeUrl(house, await register(house), { resource: `${house.origin}/echo/mcp` })
      const refused = await viaProvider(browser, await browser.go(asking.url), 'outsider')
      expect(refused.status).toBe(403)
      expect(refused.body).toContain('out@else.test')
      expect(refused.body).toContain('corp.test')
      expect([...browser.cookies.keys()]).not.toContain(browser.session)
      const [, onward = ''] = /href="(\/login\?[^"]*switch=1)"/.exec(refused.body) ?? []
      const again = await browser.go(onward.replaceAll('&amp;', '&'))
      const out = await browser.submit(again, '/login/sso', {})
      expect(new URL(out.url).searchParams.get('prompt')).toBe('login')
      const consent = await browser.go(await signInAtProvider(out.url, 'operator'))
      expect(new URL(consent.url).pathname).toBe('/oauth/consent')
    }))

  test.each([
    ['is not allowed', 'outsider', false],
    ['cancels at the provider', 'operator', true],
  ])('who %s can return to the app, which learns access_denied [H-D22]', (_what, login, cancel) =>
    inHouse(withProvider({ allowed_domains: ['corp.test'] }), async (house, browser) => {
      const client = await register(house, { client_name: 'Sign-in test client' })
      const asking = authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` })
      const out = await browser.submit(await browser.go(asking.url), '/login/sso', {})
      const refused = await browser.go(await signInAtProvider(out.url, login, { cancel }))
      expect(refused.status).toBe(403)
      expect(refused.body).toContain('Return to Sign-in test client')
      const [, link = ''] = /href="([^"]*error=access_denied[^"]*)"/.exec(refused.body) ?? []
      const told = new URL(link.replaceAll('&amp;', '&'))
      expect(told.href.startsWith(client.redirectUri)).toBe(true)
      expect(Object.fromEntries(told.searchParams)).toMatchObject({
        error: 'access_denied',
        state: asking.state,
        iss: house.origin,
      })
      expect(told.searchParams.has('code')).toBe(false)
    }),
  )

  test('who cancels at the provider reads so, and can sign in again [H-F3]', () =>
    inHouse(withProvider(), async (_house, browser) => {
      const out = await browser.submit(await browser.go('/login'), '/login/sso', {})
      const page = await browser.go(await signInAtProvider(out.url, 'operator', { cancel: true }))
      expect(page.status).toBe(403)
      expect(page.body).toContain('href="/login"')
      expect((await viaProvider(browser, await browser.go('/login'), 'operator')).status).toBe(200)
    }))

  test.each([
    ['/oauth/callback', '/oauth/callback'],
    ['/callback', '/callback'],
    ['/authorize/callback', '/authorize/callback'],
    ['/oauth/callback/{provider}', '/oauth/callback/sso'],
  ] as const)('redirect_path %s is sent to the provider, and brings a person home', (written, path) =>
    inHouse(withProvider({ redirect_path: written }), async (house, browser) => {
      const out = await browser.submit(await browser.go('/login'), '/login/sso', {})
      expect(new URL(out.url).searchParams.get('redirect_uri')).toBe(`${house.origin}${path}`)
      expect((await browser.go(await signInAtProvider(out.url, 'operator'))).body).toContain('Olga Operator')
    }),
  )

  test('every one of the four callback paths brings a person home', () =>
    inHouse(withProvider(), async (house) => {
      for (const path of ['/oauth/callback', '/callback', '/authorize/callback', '/oauth/callback/sso']) {
        const browser = createBrowser(house.fetch, house.origin)
        const out = await browser.submit(await browser.go('/login'), '/login/sso', {})
        const callback = new URL(await signInAtProvider(out.url, 'operator'))
        callback.pathname = path
        expect((await browser.go(callback.href)).body).toContain('Olga Operator')
      }
    }))

  test('never takes the response of a provider with its own path at another path', () =>
    inHouse(withProvider({ redirect_path: '/oauth/callback/{provider}' }), async (house) => {
      for (const path of ['/oauth/callback', '/callback', '/authorize/callback', '/oauth/callback/other']) {
        const browser = createBrowser(house.fetch, house.origin)
        const out = await browser.submit(await browser.go('/login'), '/login/sso', {})
        const callback = new URL(await signInAtProvider(out.url, 'operator'))
        callback.pathname = path
        const page = await browser.go(callback.href)
        expect(page.status).toBe(400)
        expect([...browser.cookies.keys()]).not.toContain(browser.session)
      }
    }))

  test('where there are several ways to sign in, servers get ids that name the way', () =>
    inHouse({ oauth_providers: { sso: providerConfig(idp) } }, async (house) => {
      const { tokens } = await logIn(house)
      await callerOf(house, `${house.origin}/echo/mcp`, tokens.access_token).post({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/list',
      })
      expect(upstream.heard.at(-1)?.headers).toMatchObject({
        'x-user-id': 'local:ana',
        'x-user-sub': 'local:ana',
        'x-user-provider': 'local',
      })
    }))
})
