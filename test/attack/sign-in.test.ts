// What must never come of a sign-in, whoever tries: another site, another browser, a stolen or a mixed-up
// answer.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { asJson, codeOf, heardBy, leave, signedIn } from '../providers/leaving.ts'
import {
  hostileProvider,
  openIdProvider,
  providerConfig,
  signInAtProvider,
  straightBack,
} from '../providers/openid-provider.ts'
import type { RunningProvider } from '../providers/process.ts'
import { createBrowser, type Browser } from '../runtimes/browser.ts'
import { runtimes, type TestGateway } from '../runtimes/runtimes.ts'
import { authorizeUrl, person, register } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let idp: RunningProvider
let liar: RunningProvider
let upstream: Upstream
beforeAll(async () => {
  ;[idp, liar, upstream] = await Promise.all([openIdProvider(), hostileProvider(), openUpstream()])
})
afterAll(async () => {
  await Promise.all([idp.close(), liar.close(), upstream.close()])
})

describe.each(runtimes)('%s', (_, open) => {
  let house: TestGateway
  let browser: Browser
  beforeAll(async () => {
    const truth = { ...providerConfig(liar), name: 'Quick SSO', issuer: `${liar.url}/truth` }
    house = await open({
      upstream: upstream.url,
      config: { oauth_providers: { sso: providerConfig(idp), truth } },
    })
  })
  afterAll(() => house.close())
  const fresh = (): Browser => (browser = createBrowser(house.fetch, house.origin))
  const through = async (id: string): Promise<string> => straightBack(await leave(browser, id))

  test('never anything but our own values goes to the provider [H-F11]', async () => {
    fresh()
    const asking = authorizeUrl(house, await register(house), {
      resource: `${house.origin}/echo/mcp`,
      state: 'state-of-the-client',
      scope: 'mcp',
    })
    const url = new URL(await leave(browser, 'sso', asking.url))
    const sent = Object.fromEntries(url.searchParams)
    expect(sent).toEqual({
      response_type: 'code',
      client_id: idp.clientId,
      redirect_uri: `${house.origin}/oauth/callback`,
      scope: 'openid email profile',
      state: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/) as string,
      nonce: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/) as string,
      code_challenge: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/) as string,
      code_challenge_method: 'S256',
    })
    expect(sent['code_challenge']).not.toBe(new URL(asking.url).searchParams.get('code_challenge'))
    expect(url.href).not.toContain('state-of-the-client')
  })

  test('never reaches a provider by a link: only our own form, sent in our own page, goes there [A14], [H-E13]', async () => {
    fresh()
    const asking = authorizeUrl(house, await register(house, { client_name: 'Attacker client' }), {
      resource: `${house.origin}/echo/mcp`,
    })
    const before = (await heardBy(liar, 'truth')).authorize.length
    const login = await browser.go(asking.url)
    expect(new URL(login.url).origin).toBe(house.origin)
    expect(login.body).toContain('Attacker client')
    const page = await browser.go('/login/truth', asJson)
    expect([page.status, page.url]).toEqual([200, `${house.origin}/login/truth`])
    const forgery = await browser.go('/login/truth', {
      method: 'POST',
      body: '',
      headers: {
        ...asJson.headers,
        'content-type': 'application/x-www-form-urlencoded',
        origin: 'https://evil.test',
        'sec-fetch-site': 'cross-site',
      },
    })
    expect([forgery.status, codeOf(forgery)]).toEqual([403, 'login.form'])
    expect((await heardBy(liar, 'truth')).authorize).toHaveLength(before)
  })

  test('never skips consent for a client because the provider still knows the person [A14], [H-E13]', async () => {
    fresh()
    const jar = new Map<string, string>()
    await browser.go(await signInAtProvider(await leave(browser, 'sso'), 'operator', { cookies: jar }))
    const asking = authorizeUrl(house, await register(house, { client_name: 'Second client' }), {
      resource: `${house.origin}/echo/mcp`,
    })
    const consent = await browser.go(asking.url)
    expect(new URL(consent.url).pathname).toBe('/oauth/consent')
    expect(consent.body).toContain('Second client')
  })

  test('never finishes in another browser what began in this one [H-E14]', async () => {
    fresh()
    const callback = await signInAtProvider(await leave(browser, 'sso'), 'operator')
    const victim = createBrowser(house.fetch, house.origin)
    await victim.go('/login')
    const refused = await victim.go(callback, asJson)
    expect([refused.status, codeOf(refused), signedIn(victim)]).toEqual([403, 'login.other-browser', false])
    const without = await createBrowser(house.fetch, house.origin).go(callback, asJson)
    expect(without.status).toBe(403)
    expect(JSON.stringify(house.log)).toContain('callback_browser_mismatch')
    // The attempt of the other browser cost the right one nothing.
    expect((await browser.go(callback)).status).toBe(200)
    expect(signedIn(browser)).toBe(true)
  })

  test('never takes the code of one sign-in for another of the same browser [H-E15]', async () => {
    fresh()
    const first = new URL(await signInAtProvider(await leave(browser, 'sso'), 'operator'))
    const second = new URL(await signInAtProvider(await leave(browser, 'sso'), 'member'))
    const mixed = new URL(first)
    mixed.searchParams.set('state', second.searchParams.get('state') ?? '')
    const refused = await browser.go(mixed.href, asJson)
    expect([refused.status, codeOf(refused), signedIn(browser)]).toEqual([400, 'provider.untrusted', false])
    expect((await browser.go(first.href)).status).toBe(200)
  })

  test('never calls a provider for a state that is missing, unknown, doubled, used or old [H-F1]', async () => {
    fresh()
    const before = (await heardBy(liar, 'truth')).token.length
    for (const query of [
      '',
      '?state=',
      '?code=x',
      `?code=x&state=${'A'.repeat(43)}`,
      `?code=x&state=${'A'.repeat(8000)}`,
    ]) {
      const refused = await browser.go(`/oauth/callback${query}`, asJson)
      expect([refused.status, codeOf(refused)]).toEqual([400, 'login.state-unknown'])
    }
    const doubled = await through('truth')
    expect((await browser.go(`${doubled}&state=x`, asJson)).status).toBe(400)
    const elsewhere = new URL(doubled)
    elsewhere.pathname = '/oauth/callback/sso'
    expect((await browser.go(elsewhere.href, asJson)).status).toBe(400)
    expect((await heardBy(liar, 'truth')).token).toHaveLength(before)

    expect((await browser.go(doubled)).status).toBe(200)
    const used = await browser.go(doubled, asJson)
    expect([used.status, codeOf(used)]).toEqual([400, 'login.state-unknown'])
    expect((await heardBy(liar, 'truth')).token).toHaveLength(before + 1)
  })

  test('never lets a stranger guess on, nor lock the owner of the name out [H-P5]', async () => {
    const own = fresh()
    const login = await own.go('/login')
    expect((await own.submit(login, '/login', person)).status).toBe(200)
    const stranger = fresh()
    const page = await stranger.go('/login')
    const guesses = []
    for (let i = 0; i < 12; i++)
      guesses.push(
        (await stranger.submit(page, '/login', { username: person.username, password: `guess ${i}` })).status,
      )
    expect(new Set(guesses)).toEqual(new Set([401, 429]))
    expect(guesses.at(-1)).toBe(429)
    expect((await stranger.submit(page, '/login', person)).status).toBe(429)
    own.cookies.delete(own.session)
    expect((await own.submit(await own.go('/login'), '/login', person)).status).toBe(200)
  })

  test('never redeems one state twice, however many ask at once', async () => {
    fresh()
    const callback = await through('truth')
    const before = (await heardBy(liar, 'truth')).token.length
    const pages = await Promise.all(
      Array.from({ length: 20 }, () => createBrowserWith(browser, house).go(callback)),
    )
    expect(pages.filter(({ status }) => status === 200)).toHaveLength(1)
    expect((await heardBy(liar, 'truth')).token).toHaveLength(before + 1)
  })
})

/** Another tab: the same cookies. */
const createBrowserWith = (browser: Browser, house: TestGateway): Browser => {
  const tab = createBrowser(house.fetch, house.origin)
  for (const [name, value] of browser.cookies) tab.cookies.set(name, value)
  return tab
}
