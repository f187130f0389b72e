// People sign in with GitHub, which is not OpenID Connect: a process that answers as GitHub does, quirks included.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { asJson, codeOf, leave, signedIn } from '../providers/leaving.ts'
import { straightBack } from '../providers/openid-provider.ts'
import { type RunningProvider, runProvider } from '../providers/process.ts'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { allow, authorizeUrl, redeem, refresh, register, type Tokens } from '../runtimes/login.ts'
import { runtimes, type TestGateway } from '../runtimes/runtimes.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let github: RunningProvider
let upstream: Upstream
beforeAll(async () => {
  ;[github, upstream] = await Promise.all([runProvider('test/providers/github.ts', {}), openUpstream()])
})
afterAll(async () => {
  await Promise.all([github.close(), upstream.close()])
})

interface Heard {
  readonly authorize: Record<string, string>[]
  readonly token: Record<string, string>[]
  readonly api: string[]
}
const heard = async (): Promise<Heard> => (await fetch(`${github.url}/heard`)).json() as Promise<Heard>

const everyAccount =
  'octocat renamed boaster form no-type refused-code fewer-scopes sso limited cancels down joiner no-id text-id'

describe.each(runtimes)('%s', (_, open) => {
  let house: TestGateway
  let browser: Browser
  /** One provider for each account, so that a sign-in there is that account's; and one for each rule. */
  const provider = (login: string, more: object = {}) => ({
    type: 'github' as const,
    name: `as ${login}`,
    base_url: github.url,
    client_id: github.clientId,
    client_secret: github.clientSecret,
    scopes: ['read:user', 'user:email', 'read:org'],
    extra_params: { login },
    ...more,
  })

  beforeAll(async () => {
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [],
        oauth_providers: {
          ...Object.fromEntries(everyAccount.split(' ').map((login) => [login, provider(login)])),
          'by-login': provider('octocat', { allowed_logins: ['someone', 'OctoCat'] }),
          'old-login': provider('renamed', { allowed_logins: ['octocat'] }),
          nobody: provider('octocat', { allowed_logins: [] }),
          'by-domain': provider('octocat', { allowed_domains: ['corp.test'] }),
          'unverified-domain': provider('boaster', { allowed_domains: ['corp.test'] }),
          'by-team': provider('octocat', { allowed_groups: ['acme/platform'] }),
          'other-team': provider('octocat', { allowed_groups: ['acme/admins'] }),
          'wrong-secret': provider('octocat', { client_secret: 'another-secret' }),
          plain: provider('octocat', { scopes: undefined }),
          leaver: provider('leaver', { allowed_groups: ['acme'] }),
        },
      },
    })
  })
  afterAll(() => house.close())

  const signIn = async (id: string) => {
    browser = createBrowser(house.fetch, house.origin)
    return browser.go(await straightBack(await leave(browser, id)), asJson)
  }

  test('the server learns the numeric id, the username, the hidden verified address, organizations and teams', async () => {
    browser = createBrowser(house.fetch, house.origin)
    const client = await register(house)
    const asking = authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` })
    const out = await browser.submit(await browser.go(asking.url), '/login/octocat', {})
    expect(new URL((await browser.go(await straightBack(out.url))).url).pathname).toBe('/oauth/consent')
    const back = await allow(browser, asking.url)
    const { access_token } = (await (
      await redeem(house, client, back.searchParams.get('code') ?? '', asking.verifier)
    ).json()) as { access_token: string }
    await house.fetch(`${house.origin}/echo/mcp`, {
      method: 'POST',
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
      headers: {
        authorization: `Bearer ${access_token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
    })
    expect(upstream.heard.at(-1)?.headers).toMatchObject({
      'x-user-sub': 'octocat:583231',
      'x-user-login': 'octocat',
      'x-user-email': 'octo@corp.test',
      'x-user-provider': 'octocat',
      'x-user-avatar': 'https://avatars.test/u/583231',
      'x-user-groups': 'acme,open-source,acme/platform',
    })
  })

  test.each(['org=other', 'gone=1&org=Acme'])(
    'never keeps access for who is no longer there: %s [H-D22]',
    async (change) => {
      await fetch(`${github.url}/set?org=Acme`)
      browser = createBrowser(house.fetch, house.origin)
      const client = await register(house)
      const asking = authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` })
      const consent = await browser.go(await straightBack(await leave(browser, 'leaver', asking.url)))
      const back = new URL((await browser.submit(consent, '/oauth/consent', { decision: 'allow' })).url)
      const code = back.searchParams.get('code') ?? ''
      const tokens = (await (await redeem(house, client, code, asking.verifier)).json()) as Tokens
      house.advance(16 * 60_000)
      const kept = await refresh(house, client, tokens.refresh_token)
      expect(kept.status).toBe(200)
      await fetch(`${github.url}/set?${change}`)
      house.advance(16 * 60_000)
      const refused = await refresh(house, client, ((await kept.json()) as Tokens).refresh_token)
      expect([refused.status, await refused.json()]).toEqual([
        400,
        expect.objectContaining({ error: 'invalid_grant', code: 'person.removed' }),
      ])
      expect((await browser.go('/')).url).toContain('/login')
    },
  )

  test('the request has state and PKCE, and the code is redeemed with the verifier and the same redirect URI', async () => {
    await signIn('octocat')
    expect(signedIn(browser)).toBe(true)
    const { authorize, token } = await heard()
    const redirect = `${house.origin}/oauth/callback`
    expect(authorize.at(-1)).toMatchObject({
      response_type: 'code',
      client_id: github.clientId,
      redirect_uri: redirect,
      scope: 'read:user user:email read:org',
      code_challenge: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/) as unknown,
      code_challenge_method: 'S256',
      state: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/) as unknown,
    })
    expect(authorize.at(-1)).not.toHaveProperty('nonce')
    expect(token.at(-1)).toMatchObject({
      redirect_uri: redirect,
      code_verifier: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/) as unknown,
    })
  })

  test('organizations and teams are asked only where groups decide', async () => {
    const before = (await heard()).api.length
    await signIn('plain')
    expect(signedIn(browser)).toBe(true)
    const { api, authorize } = await heard()
    expect(api.slice(before)).toEqual(['/user', '/user/emails'])
    expect(authorize.at(-1)?.['scope']).toBe('read:user user:email')
  })

  test.each(['form', 'no-type', 'fewer-scopes', 'sso', 'joiner', 'renamed', 'boaster'])(
    'odd but honest answers sign a person in: %s',
    async (id) => {
      await signIn(id)
      expect(signedIn(browser)).toBe(true)
    },
  )

  test('a person who changed the username is the same person', async () => {
    await signIn('renamed')
    expect(house.log.findLast(({ event }) => event === 'sign-in')?.fields['person']).toBe('renamed:583231')
  })

  test.each([
    ['refused-code', 400, 'provider.untrusted'],
    ['no-id', 400, 'provider.untrusted'],
    ['text-id', 400, 'provider.untrusted'],
    ['wrong-secret', 502, 'provider.client'],
    ['limited', 503, 'provider.unreachable'],
    ['down', 503, 'provider.unreachable'],
    ['cancels', 403, 'provider.denied'],
  ] as const)('%s: nobody is signed in, and the page says who must act', async (id, status, code) => {
    const refused = await signIn(id)
    expect([refused.status, codeOf(refused), signedIn(browser)]).toEqual([status, code, false])
  })

  test('the log names the error that GitHub sent with 200', async () => {
    const { body } = await signIn('wrong-secret')
    const { request_id: requestId } = JSON.parse(body) as { request_id: string }
    const line = () =>
      house.log.find(({ event, fields }) => event === 'refused' && fields['request_id'] === requestId)
    await vi.waitFor(
      () =>
        expect(line()?.fields['why']).toBe(
          'wrong-secret: token endpoint: answered 400 with error incorrect_client_credentials: The client_id and/or client_secret passed are incorrect.',
        ),
      { timeout: 20_000 },
    )
  })

  test.each(['by-login', 'by-domain', 'by-team'])(
    'a list that names the person admits them: %s',
    async (id) => {
      await signIn(id)
      expect(signedIn(browser)).toBe(true)
    },
  )

  test.each([
    ['old-login', 'octo-cat is not in it'],
    ['nobody', 'octocat is not in it'],
    ['unverified-domain', 'GitHub told no verified email address'],
    ['other-team', 'none of its groups'],
  ])('a list that does not name the person keeps them out: %s', async (id, why) => {
    const refused = await signIn(id)
    expect([refused.status, codeOf(refused), signedIn(browser)]).toEqual([403, 'person.not-allowed', false])
    await vi.waitFor(
      () => expect(house.log.findLast(({ event }) => event === 'refused')?.fields['why']).toContain(why),
      { timeout: 20_000 },
    )
  })

  test('no code, verifier, state or token reaches the log', async () => {
    await signIn('octocat')
    const { token, authorize } = await heard()
    const log = JSON.stringify(house.log)
    for (const values of [...token, ...authorize])
      for (const name of ['code', 'code_verifier', 'state'])
        if (values[name]) expect(log).not.toContain(values[name])
    expect(log).not.toContain('gho_')
    expect(log).not.toContain(github.clientSecret)
  })
})
