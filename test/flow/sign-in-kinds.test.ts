// People sign in with well-known providers, each with its quirks: one contract for all, and what is particular to each.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { asJson, codeOf, leave, signedIn } from '../providers/leaving.ts'
import { straightBack } from '../providers/openid-provider.ts'
import { type RunningProvider, runProvider } from '../providers/process.ts'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { type Client, type Tokens, authorizeUrl, redeem, refresh, register } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { call, until } from '../runtimes/proxied.ts'
import { runtimes, type TestGateway } from '../runtimes/runtimes.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let provider: RunningProvider
let upstream: Upstream
beforeAll(async () => {
  ;[provider, upstream] = await Promise.all([
    runProvider('test/providers/openid-kinds.ts', {}),
    openUpstream(),
  ])
})
afterAll(async () => {
  await Promise.all([provider.close(), upstream.close()])
})

const home = '5c1a3b0e-8a7e-4a57-9f0e-0d8f0c1f2a3b'
const entraPath = `${home}/v2.0`
const corp = { allowed_domains: ['corp.test'] }

/** Path of the issuer, the person who signs in there, and what the operator wrote. */
type Case = readonly [path: string, person: string, settings: object]

/** The contract: each of these is let in, by a verified address at the allowed domain. */
const contract: Readonly<Record<string, Case>> = {
  google: ['google', 'workspace', { type: 'google', ...corp, allowed_tenants: ['corp.test'] }],
  entra: [
    entraPath,
    'member',
    { type: 'entra', ...corp, allowed_tenants: [home], allowed_groups: ['staff-id'] },
  ],
  'entra-by-domain': ['corp.test/v2.0', 'member', { type: 'entra', ...corp }],
  okta: ['okta', 'ana', { type: 'okta', ...corp, allowed_groups: ['Everyone'] }],
  auth0: [
    'auth0',
    'ana',
    { type: 'auth0', ...corp, groups_claim: 'https://corp.test/roles', allowed_groups: ['admin'] },
  ],
  keycloak: [
    'realms/corp',
    'ana',
    { type: 'keycloak', ...corp, groups_claim: 'realm_access.roles', allowed_groups: ['staff'] },
  ],
  'cloudflare-access': [
    'cdn-cgi/access/sso/oidc/app1',
    'ana',
    { type: 'cloudflare-access', ...corp, allowed_groups: ['staff'] },
  ],
  cognito: ['cognito', 'ana', { ...corp, groups_claim: 'cognito:groups', allowed_groups: ['a'] }],
  authentik: ['application/o/postern', 'ana', corp],
}

const admitted: Readonly<Record<string, Case>> = {
  'google-gmail': ['google', 'gmail', { type: 'google', allowed_domains: ['gmail.com'] }],
  'google-personal-by-address': [
    'google',
    'personal',
    { type: 'google', allowed_emails: ['former@corp.test'] },
  ],
  'entra-every-tenant': [
    'organizations/v2.0',
    'home',
    { type: 'entra', allowed_tenants: [home.toUpperCase()] },
  ],
  'entra-overage': [entraPath, 'overage', { type: 'entra', ...corp }],
  'entra-guest': [entraPath, 'guest', { type: 'entra' }],
  'entra-proven-guest': [entraPath, 'proven-guest', { type: 'entra', allowed_domains: ['partner.test'] }],
}

const keptOut: Readonly<Record<string, readonly [...Case, why: string]>> = {
  'google-personal': [
    'google',
    'personal',
    { type: 'google', ...corp },
    'allowed_domains: former@corp.test is a personal Google account, of no Google Workspace organization',
  ],
  'google-no-organization': [
    'google',
    'gmail',
    { type: 'google', allowed_tenants: ['corp.test'] },
    'allowed_tenants: the account belongs to no organization, which is not in it',
  ],
  'entra-other-tenant': [
    'organizations/v2.0',
    'foreign',
    { type: 'entra', allowed_tenants: [home] },
    'allowed_tenants: 0f9a1c5d-1111-4222-8333-944445555666 is not in it',
  ],
  'entra-groups-elsewhere': [
    entraPath,
    'overage',
    { type: 'entra', allowed_groups: ['staff-id'] },
    'allowed_groups: none of its groups (the provider has groups of this user and did not send them: for Entra, send only groups assigned to the application, or application roles) is in it',
  ],
  'entra-guest-as-boss': [
    entraPath,
    'guest',
    { type: 'entra', ...corp },
    'allowed_domains: the provider does not say that boss@corp.test is verified',
  ],
  'entra-two-ats': [
    entraPath,
    'two-ats',
    { type: 'entra', ...corp },
    'allowed_domains: the provider sent no email address',
  ],
}

/** Tokens that nobody may believe. */
const untrusted: Readonly<Record<string, Case>> = {
  'entra-mixed-tenant': ['organizations/v2.0', 'mixed', { type: 'entra', allowed_tenants: [home] }],
  'entra-unnamed-tenant': ['organizations/v2.0', 'unnamed', { type: 'entra', allowed_tenants: [home] }],
  hs256: ['hs256', 'ana', {}],
}

/** People who come back later: what is asked of the provider then. Each is signed in by a provider of the same name. */
const later: Readonly<Record<string, object>> = {
  'moves-groups': {},
  'is-removed': {},
  'loses-list': { allowed_groups: ['staff'] },
  'is-away': {},
  'sends-no-token': {},
  'lies-later': {},
  'forgets-gateway': {},
  'is-not-asked': { scopes: ['openid', 'email', 'profile'] },
}
const minutes = 60_000

describe.each(runtimes)('%s', (_, open) => {
  let house: TestGateway
  let browser: Browser

  beforeAll(async () => {
    const settings = ([path, person, more]: readonly [string, string, object, ...unknown[]]) => ({
      issuer: `${provider.url}/${path}`,
      client_id: provider.clientId,
      client_secret: provider.clientSecret,
      extra_params: { login_hint: person },
      ...more,
    })
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [],
        oauth_providers: Object.fromEntries(
          Object.entries({
            ...contract,
            ...admitted,
            ...keptOut,
            ...untrusted,
            'not-entra': ['not-entra/v2.0', 'ana', {}] as const,
            ...Object.fromEntries(
              Object.entries(later).map(([id, more]) => [
                id,
                ['offline', id, { scopes: ['openid', 'email', 'offline_access'], ...more }] as const,
              ]),
            ),
          }).map(([id, one]) => [id, { ...settings(one), name: id }]),
        ),
        access: { default: 'everyone' },
        mcp_services: {
          ruled: {
            url: upstream.url,
            access: {
              groups: Object.keys(later).map((id) => `${id}:staff`),
              tools: { whoami: 'read' },
            },
          },
        },
      },
    })
  })
  afterAll(() => house.close())

  const signIn = async (id: string) => {
    browser = createBrowser(house.fetch, house.origin)
    return browser.go(await straightBack(await leave(browser, id)), asJson)
  }

  test.each(Object.keys(contract))('%s: name, verified address and groups let a person in', async (id) => {
    await signIn(id)
    expect(signedIn(browser)).toBe(true)
    expect((await browser.go('/')).body).toContain('Ana Example')
  })

  test.each(Object.keys(admitted))('lets in %s', async (id) => {
    await signIn(id)
    expect(signedIn(browser)).toBe(true)
  })

  test.each(Object.entries(keptOut))(
    'keeps out %s, and says why in the log [H-F6]',
    async (id, [, , , why]) => {
      const refused = await signIn(id)
      expect([refused.status, codeOf(refused), signedIn(browser)]).toEqual([403, 'person.not-allowed', false])
      await vi.waitFor(() =>
        expect(house.log.findLast(({ event }) => event === 'refused')?.fields['why']).toContain(why),
      )
    },
  )

  test.each(Object.keys(untrusted))('never believes %s [H-F5]', async (id) => {
    const refused = await signIn(id)
    expect([refused.status, codeOf(refused), signedIn(browser)]).toEqual([400, 'provider.untrusted', false])
  })

  test('never takes the issuer of another tenant for one that is not Microsoft’s', async () => {
    browser = createBrowser(house.fetch, house.origin)
    const page = await browser.submit(await browser.go('/login'), '/login/not-entra', {})
    expect(page.status).toBe(502)
  })

  test('groups that the token only points at are asked nowhere', async () => {
    await signIn('entra-overage')
    const heard = (await (await fetch(`${provider.url}/heard`)).json()) as { graph: number }
    expect(heard.graph).toBe(0)
  })

  describe('later', () => {
    const says = async (person: string, said: object): Promise<unknown> =>
      (
        await fetch(
          `${provider.url}/offline/set?${new URLSearchParams({ person, later: JSON.stringify(said) })}`,
        )
      ).text()
    interface Visitor {
      readonly id: string
      readonly client: Client
      tokens: Tokens
    }
    const visit = async (id: string): Promise<Visitor> => {
      await says(id, {})
      browser = createBrowser(house.fetch, house.origin)
      const client = await register(house)
      const asking = authorizeUrl(house, client, { resource: `${house.origin}/ruled/mcp` })
      const consent = await browser.go(await straightBack(await leave(browser, id, asking.url)))
      const back = new URL((await browser.submit(consent, '/oauth/consent', { decision: 'allow' })).url)
      const answer = await redeem(house, client, back.searchParams.get('code') ?? '', asking.verifier)
      return { id, client, tokens: (await answer.json()) as Tokens }
    }
    /** `allowed`, `denied` by a rule, or the status. */
    const called = async ({ tokens }: Visitor): Promise<unknown> => {
      const answer = await callerOf(house, `${house.origin}/ruled/mcp`, tokens.access_token).post(call())
      if (answer.status !== 200) return answer.status
      return (await answer.text()).includes('"error"') ? 'denied' : 'allowed'
    }
    const refreshed = async (visitor: Visitor): Promise<unknown> => {
      const answer = await refresh(house, visitor.client, visitor.tokens.refresh_token)
      const body = (await answer.json()) as Tokens & { readonly code?: string }
      if (answer.status === 200) visitor.tokens = body
      return answer.status === 200 ? 200 : `${answer.status} ${body.code}`
    }
    const home = async (): Promise<boolean> => !(await browser.go('/')).url.includes('/login')

    test('a group reaches an access rule, and its loss and its return take effect in use', async () => {
      const visitor = await visit('moves-groups')
      expect(await called(visitor)).toBe('allowed')
      await says('moves-groups', { claims: { groups: ['dev'] } })
      expect(await called(visitor)).toBe('allowed')
      house.advance(16 * minutes)
      await until(async () => (await called(visitor)) === 'denied', 'the lost group')
      await says('moves-groups', {})
      expect(await refreshed(visitor)).toBe(200)
      expect(await called(visitor)).toBe('denied')
      house.advance(16 * minutes)
      expect(await refreshed(visitor)).toBe(200)
      await until(async () => (await called(visitor)) === 'allowed', 'the group')
      expect(house.log.findLast(({ event }) => event === 'person.changed')?.fields).toMatchObject({
        person: 'moves-groups:moves-groups',
        groups_added: ['staff'],
        groups_removed: ['dev'],
      })
    })

    test.each([
      ['is-removed', { mode: 'refused' }],
      ['loses-list', { claims: { groups: [] } }],
    ] as const)('never keeps access for who %s [H-D22]', async (id, said) => {
      const visitor = await visit(id)
      await says(id, said)
      expect([await refreshed(visitor), await home()]).toEqual([200, true])
      house.advance(16 * minutes)
      expect(await refreshed(visitor)).toBe('400 person.removed')
      await until(async () => (await called(visitor)) === 401, 'the end of access')
      expect([await refreshed(visitor), await home()]).toEqual(['400 refresh.unknown', false])
      expect(house.log.findLast(({ event }) => event === 'person.removed')?.fields['person']).toBe(
        `${id}:${id}`,
      )
      const again = await visit(id)
      expect([await called(again), await refreshed(again)]).toEqual(['allowed', 200])
    })

    test('a provider that is away leaves access as it is for a day, then there is none until it is back', async () => {
      const visitor = await visit('is-away')
      await says('is-away', { mode: 'down' })
      house.advance(16 * minutes)
      expect([await refreshed(visitor), await called(visitor)]).toEqual([200, 'allowed'])
      house.advance(24 * 60 * minutes)
      expect(await refreshed(visitor)).toBe('503 provider.unreachable')
      expect(await refreshed(visitor)).toBe('503 provider.unreachable')
      await says('is-away', {})
      house.advance(2 * minutes)
      expect([await refreshed(visitor), await called(visitor)]).toEqual([200, 'allowed'])
    })

    test('without a new ID token, groups come from userinfo', async () => {
      const visitor = await visit('sends-no-token')
      await says('sends-no-token', { mode: 'no-id-token', claims: { groups: ['dev'] } })
      house.advance(16 * minutes)
      expect(await refreshed(visitor)).toBe(200)
      await until(async () => (await called(visitor)) === 'denied', 'the lost group')
    })

    test.each(['other-person', 'other-key'] as const)(
      'never believes a later ID token of %s [H-F5]',
      async (mode) => {
        const visitor = await visit('lies-later')
        await says('lies-later', { mode, claims: { groups: ['dev'] } })
        house.advance(16 * minutes)
        expect([await refreshed(visitor), await called(visitor)]).toEqual([200, 'allowed'])
        expect(house.log.findLast(({ event }) => event === 'profile.not-refreshed')?.fields['person']).toBe(
          'lies-later:lies-later',
        )
      },
    )

    test('a provider that does not know the gateway any more says nothing of the person', async () => {
      const visitor = await visit('forgets-gateway')
      await says('forgets-gateway', { mode: 'unknown-client' })
      house.advance(16 * minutes)
      expect([await refreshed(visitor), await called(visitor)]).toEqual([200, 'allowed'])
      await says('forgets-gateway', { claims: { groups: [] } })
      house.advance(2 * minutes)
      expect(await refreshed(visitor)).toBe(200)
      await until(async () => (await called(visitor)) === 'denied', 'the lost group')
    })

    test('a provider that was not asked for offline access is not asked again', async () => {
      const visitor = await visit('is-not-asked')
      await says('is-not-asked', { mode: 'refused', claims: { groups: [] } })
      house.advance(16 * minutes)
      expect([await refreshed(visitor), await called(visitor)]).toEqual([200, 'allowed'])
    })
  })
})
