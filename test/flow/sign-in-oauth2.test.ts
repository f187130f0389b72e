// People sign in with a provider of plain OAuth 2.0: three URLs, and a profile in whatever shape it has.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { asJson, codeOf, leave, signedIn } from '../providers/leaving.ts'
import { straightBack } from '../providers/openid-provider.ts'
import { type RunningProvider, runProvider } from '../providers/process.ts'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { runtimes, type TestGateway } from '../runtimes/runtimes.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let provider: RunningProvider
let upstream: Upstream
beforeAll(async () => {
  ;[provider, upstream] = await Promise.all([runProvider('test/providers/oauth2.ts', {}), openUpstream()])
})
afterAll(async () => {
  await Promise.all([provider.close(), upstream.close()])
})

interface Heard {
  readonly authorize: Record<string, string>[]
  readonly token: Record<string, string>[]
}
const heard = async (): Promise<Heard> => (await fetch(`${provider.url}/heard`)).json() as Promise<Heard>

const admitted = 'usual google-v2 nested user-id unverified no-word basic public own-iss id-token'.split(' ')
const untrusted =
  'no-id object-id long-id crlf-id float-id array forbidden other-iss odd-type no-token'.split(' ')

describe.each(runtimes)('%s', (_, open) => {
  let house: TestGateway
  let browser: Browser
  const at = (kind: string, more: object = {}) => ({
    name: kind,
    authorization_url: `${provider.url}/${kind}/authorize`,
    token_url: `${provider.url}/${kind}/token`,
    userinfo_url: `${provider.url}/${kind}/me`,
    client_id: provider.clientId,
    client_secret: provider.clientSecret,
    ...more,
  })

  beforeAll(async () => {
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [],
        oauth_providers: {
          ...Object.fromEntries(
            [...admitted, ...untrusted, 'html', 'broken', 'cancel'].map((kind) => [kind, at(kind)]),
          ),
          usual: at('usual', { scopes: ['profile', 'email'], extra_params: { audience: 'api' } }),
          nested: at('nested', {
            claims: {
              subject: 'data.id',
              login: 'data.username',
              email: 'data.mail.address',
              email_verified: 'data.mail.ok',
            },
            groups_claim: 'data.teams',
            allowed_groups: ['dev'],
            allowed_logins: ['Ana'],
            allowed_domains: ['corp.test'],
          }),
          basic: at('basic', { token_endpoint_auth_method: 'client_secret_basic' }),
          public: at('public', { client_secret: undefined }),
          'own-iss': at('own-iss', { type: 'oauth2', issuer: 'https://issuer.test/tenant' }),
          'listed-unverified': at('unverified', { allowed_domains: ['corp.test'] }),
          'listed-no-word': at('no-word', { allowed_domains: ['corp.test'] }),
          'false-is-final': at('unverified', { allowed_domains: ['corp.test'], email_verified: 'trust' }),
          'trusted-word': at('no-word', { allowed_domains: ['corp.test'], email_verified: 'trust' }),
          'wrong-secret': at('usual', { client_secret: 'another' }),
        },
      },
    })
  })
  afterAll(() => house.close())

  const signIn = async (id: string) => {
    browser = createBrowser(house.fetch, house.origin)
    return browser.go(await straightBack(await leave(browser, id)), asJson)
  }
  const person = (): unknown => house.log.findLast(({ event }) => event === 'sign-in')?.fields['person']

  test.each([
    ['usual', 'usual:77'],
    ['google-v2', 'google-v2:108'],
    ['nested', 'nested:99'],
    ['user-id', 'user-id:u-1'],
    ['unverified', 'unverified:1'],
    ['no-word', 'no-word:1'],
    ['basic', 'basic:b'],
    ['public', 'public:p'],
    ['own-iss', 'own-iss:i'],
    ['id-token', 'id-token:t'],
    ['trusted-word', 'trusted-word:1'],
  ])('%s signs in %s', async (id, key) => {
    await signIn(id)
    expect([signedIn(browser), person()]).toEqual([true, key])
  })

  test('the request carries PKCE, state, scopes and the operator’s parameters, and no nonce', async () => {
    await signIn('usual')
    const { authorize, token } = await heard()
    expect(authorize.at(-1)).toMatchObject({
      response_type: 'code',
      scope: 'profile email',
      audience: 'api',
      code_challenge_method: 'S256',
      code_challenge: expect.stringMatching(/^[\w-]{43}$/) as unknown,
      state: expect.stringMatching(/^[\w-]{43}$/) as unknown,
    })
    expect(authorize.at(-1)).not.toHaveProperty('nonce')
    expect(token.at(-1)?.['code_verifier']).toMatch(/^[\w-]{43}$/)
  })

  test.each(untrusted)('never signs anybody in on %s [H-F5]', async (id) => {
    const refused = await signIn(id)
    expect([refused.status, codeOf(refused), signedIn(browser)]).toEqual([400, 'provider.untrusted', false])
  })

  test.each([
    ['html', 503, 'provider.unreachable'],
    ['broken', 503, 'provider.unreachable'],
    ['wrong-secret', 502, 'provider.client'],
    ['cancel', 403, 'provider.denied'],
    ['listed-unverified', 403, 'person.not-allowed'],
    ['listed-no-word', 403, 'person.not-allowed'],
    ['false-is-final', 403, 'person.not-allowed'],
  ] as const)('%s: nobody is signed in, and the page says who must act', async (id, status, code) => {
    const refused = await signIn(id)
    expect([refused.status, codeOf(refused), signedIn(browser)]).toEqual([status, code, false])
  })

  test('the log says why an address does not count', async () => {
    await signIn('listed-no-word')
    await vi.waitFor(
      () =>
        expect(house.log.findLast(({ event }) => event === 'refused')?.fields['why']).toBe(
          'allowed_domains: the provider does not say that ana@corp.test is verified; if it gives out only addresses that it has checked, set oauth_providers.listed-no-word.email_verified: trust',
        ),
      { timeout: 20_000 },
    )
  })
})
