// People sign in with well-known providers, each with its quirks: one contract for all, and what is particular to each.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { later, laterTests } from '../providers/later.ts'
import { asJson, codeOf, leave, signedIn } from '../providers/leaving.ts'
import { straightBack } from '../providers/openid-provider.ts'
import { type RunningProvider, runProvider } from '../providers/process.ts'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { authorizeUrl, form, register } from '../runtimes/login.ts'
import { runtimes, type TestGateway } from '../runtimes/runtimes.ts'
import { echo, openUpstream, type Upstream } from '../runtimes/upstream.ts'

let provider: RunningProvider
let upstream: Upstream
beforeAll(async () => {
  ;[provider, upstream] = await Promise.all([
    runProvider('test/providers/openid-kinds.ts', {}),
    openUpstream((request, response, body) => {
      if (request.method !== 'GET') return echo(request, response, body)
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': listening\n\n')
    }),
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
          listed: { url: upstream.url, oauth_providers: ['okta', 'auth0'] },
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
      await vi.waitFor(
        () => expect(house.log.findLast(({ event }) => event === 'refused')?.fields['why']).toContain(why),
        { timeout: 20_000 },
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

  test('never lets a service be used by people of a provider that is not on its list', async () => {
    const client = await register(house)
    const asking = (id: string) => authorizeUrl(house, client, { resource: `${house.origin}/${id}/mcp` })
    await signIn('cognito')
    const refused = await browser.go(asking('listed').url)
    expect([refused.status, refused.body]).toEqual([403, expect.stringContaining('person.wrong-provider')])
    browser = createBrowser(house.fetch, house.origin)
    const page = await browser.go(asking('listed').url)
    const offered = [...page.body.matchAll(/action="\/login\/([\w-]+)"/g)].map(([, id]) => id)
    expect(offered).toEqual(['okta', 'auth0'])
    const cookie = [...browser.cookies].map((pair) => pair.join('=')).join('; ')
    const sent = form(page.form('/login/okta').fields)
    const other = await house.fetch(`${house.origin}/login/cognito`, {
      ...sent,
      headers: { ...(sent.headers as Record<string, string>), cookie },
    })
    expect(other.status).toBe(404)
    const consent = await browser.go(await straightBack(await leave(browser, 'auth0', asking('listed').url)))
    expect(new URL(consent.url).pathname).toBe('/oauth/consent')
  })

  test('groups that the token only points at are asked nowhere', async () => {
    await signIn('entra-overage')
    const heard = (await (await fetch(`${provider.url}/heard`)).json()) as { graph: number }
    expect(heard.graph).toBe(0)
  })

  laterTests({ house: () => house, provider: () => provider })
})
