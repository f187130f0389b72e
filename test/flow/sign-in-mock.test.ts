// For tests, people sign in as whoever they say they are.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { authorizeUrl, redeem, register } from '../runtimes/login.ts'
import { runtimes, type TestGateway } from '../runtimes/runtimes.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let upstream: Upstream
beforeAll(async () => {
  upstream = await openUpstream()
})
afterAll(() => upstream.close())

describe.each(runtimes)('%s', (_, open) => {
  let house: TestGateway
  beforeAll(async () => {
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [],
        oauth_providers: {
          mock: { type: 'mock' },
          listed: { type: 'mock', name: 'Listed', allowed_domains: ['corp.test'] },
        },
      },
    })
  })
  afterAll(() => house.close())

  test('any email address is a person, up to the code of the client', async () => {
    const browser = createBrowser(house.fetch, house.origin)
    const client = await register(house)
    const asking = authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` })
    const login = await browser.go(asking.url)
    expect(login.body).toContain('Continue with <bdi>any email address</bdi>')
    const consent = await browser.submit(login, '/login/mock', {
      email: 'Ana@Corp.Test',
      name: 'Ana Example',
    })
    expect(new URL(consent.url).pathname).toBe('/oauth/consent')
    expect(consent.body).toContain('ana@corp.test')
    const back = new URL((await browser.submit(consent, '/oauth/consent', { decision: 'allow' })).url)
    expect((await redeem(house, client, back.searchParams.get('code') ?? '', asking.verifier)).status).toBe(
      200,
    )
    expect(house.log.findLast(({ event }) => event === 'sign-in')?.fields['person']).toBe(
      'mock:ana@corp.test',
    )
    expect(login.body).not.toContain('Last used')
    const again = await browser.go('/login?switch=1')
    expect(again.body.match(/<button class="provider[^"]*">.*?<bdi>(.*?)<\/bdi>.*?<\/button>/g)).toEqual([
      expect.stringMatching(/class="provider last".*any email address.*Last used/),
      expect.stringMatching(/class="provider".*Listed/),
    ])
  })

  test('the lists apply', async () => {
    const browser = createBrowser(house.fetch, house.origin)
    const refused = await browser.submit(await browser.go('/login'), '/login/listed', {
      email: 'a@else.test',
    })
    expect(refused.status).toBe(403)
    expect(refused.body).toContain('a@else.test')
    expect([...browser.cookies.keys()]).not.toContain(browser.session)
  })

  test.each(['', 'ana', 'a@evil.test@corp.test', '"a b"@corp.test', 'a@corp.test, b@else.test'])(
    'never takes %j for an address',
    async (email) => {
      const browser = createBrowser(house.fetch, house.origin)
      const refused = await browser.submit(await browser.go('/login'), '/login/mock', { email })
      expect(refused.status).toBe(400)
      expect([...browser.cookies.keys()]).not.toContain(browser.session)
    },
  )

  test('never signs anybody in for another site', async () => {
    const response = await house.fetch(`${house.origin}/login/mock`, {
      method: 'POST',
      redirect: 'manual',
      body: 'email=boss%40corp.test',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        origin: 'https://evil.test',
        'sec-fetch-site': 'cross-site',
      },
    })
    expect(response.status).toBeGreaterThanOrEqual(400)
    expect(response.headers.get('set-cookie') ?? '').not.toContain('session')
  })
})
