// One gateway in front of another, which takes tokens bound to a key alone, or grants access to the people of a company
// for identity assertions: both sides of DPoP and of Enterprise-Managed Authorization are the product's own.
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Company, openCompany } from '../providers/company.ts'
import { signInAtProvider } from '../providers/openid-provider.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { logInThrough } from '../runtimes/connecting.ts'
import { allow, authorizeUrl, redeem, register } from '../runtimes/login.ts'
import { ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { type TestGateway, openInProcess, openOnSocket } from '../runtimes/runtimes.ts'
import { type Upstream, openUpstream } from '../runtimes/upstream.ts'

describe('a gateway behind another', () => {
  let echo: Upstream
  let company: Company
  let behind: TestGateway
  let front: TestGateway
  beforeAll(async () => {
    ;[echo, company] = await Promise.all([openUpstream(), openCompany()])
    const platform = await generateKeyPair('ES256', { extractable: true })
    const provider = {
      issuer: company.url,
      client_id: company.clientId,
      client_secret: company.clientSecret,
    }
    behind = await openOnSocket({
      upstream: echo.url,
      config: {
        local_users: [ana],
        oauth_providers: { company: provider },
        dpop: {},
        clients: {
          'gateway-at-server': {
            name: 'Front',
            token_endpoint_auth_method: 'client_secret_basic',
            client_secret: 'a secret of the gateway in front',
          },
          'job': {
            name: 'Job',
            grant_types: ['client_credentials'],
            service_account: 'nightly',
            token_endpoint_auth_method: 'client_secret_post',
            client_secret: 'a secret of the job',
          },
        },
        service_accounts: { nightly: { name: 'Nightly', services: ['bound'] } },
        assertion_issuers: {
          platform: {
            type: 'workload',
            issuer: 'https://platform.example',
            jwks: { keys: [{ ...(await exportJWK(platform.publicKey)), alg: 'ES256', kid: 'one' }] },
            replay: 'until_expiry',
            rules: [{ claims: { sub: 'system:gateway' }, service_account: 'nightly' }],
          },
          company: {
            type: 'id_jag',
            issuer: company.url,
            allow_origins: [company.url],
            provider: 'company',
            clients: ['gateway-at-server'],
            services: ['granted', 'both'],
            accounts: 'create',
          },
        },
        mcp_services: {
          bound: { url: echo.url, dpop: 'required' },
          granted: { url: echo.url },
          both: { url: echo.url, dpop: 'required' },
        },
      },
    })
    process.env['POSTERN_TEST_PLATFORM'] = await new SignJWT({ sub: 'system:gateway' })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setIssuer('https://platform.example')
      .setAudience(behind.origin)
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(platform.privateKey)
    const granted = {
      type: 'id_jag',
      issuer: behind.origin,
      client_id: 'gateway-at-server',
      client_secret: 'a secret of the gateway in front',
    } as const
    front = await openInProcess({
      upstream: echo.url,
      config: {
        local_users: [ana],
        oauth_providers: { sso: provider },
        mcp_services: {
          bound: { url: `${behind.origin}/bound/mcp` },
          itself: {
            url: `${behind.origin}/bound/mcp`,
            upstream_auth: {
              type: 'client_credentials',
              issuer: behind.origin,
              client_id: 'job',
              client_secret: 'a secret of the job',
              token_endpoint_auth_method: 'client_secret_post',
            },
          },
          workload: {
            url: `${behind.origin}/bound/mcp`,
            upstream_auth: {
              type: 'workload',
              issuer: behind.origin,
              assertion_env: 'POSTERN_TEST_PLATFORM',
              dpop: 'required',
            },
          },
          granted: { url: `${behind.origin}/granted/mcp`, upstream_auth: granted },
          both: { url: `${behind.origin}/both/mcp`, upstream_auth: granted },
        },
      },
    })
  })
  afterAll(async () => {
    delete process.env['POSTERN_TEST_PLATFORM']
    await front.close()
    await behind.close()
    await Promise.all([echo.close(), company.close()])
  })
  const heard = async (answer: Response): Promise<Record<string, string>> =>
    ((await answer.json()) as { result: { headers: Record<string, string> } }).result.headers

  it('that takes bound tokens alone is shown them with proofs, by a person who connected an account', async () => {
    const there = createBrowser(behind.fetch, behind.origin)
    const { caller } = await logInThrough(front, 'bound', {
      who: ana,
      way: async (url) => (await allow(there, url, ana)).href,
    })
    expect(await heard(await caller.post(call()))).toMatchObject({ 'x-user-id': 'local:ana' })
    const answers = await Promise.all([1, 2, 3].map(() => caller.post(call())))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
  })

  it.each(['itself', 'workload'])('knows the gateway in front as a program (%s)', async (service) => {
    const resource = `${front.origin}/${service}/mcp`
    const caller = callerOf(front, resource, await tokenOf(front, ana, resource))
    const answers = [await caller.post(call()), await caller.post(call())]
    for (const answer of answers)
      expect(await heard(answer)).toMatchObject({ 'x-user-id': 'service:nightly' })
  })

  it.each(['granted', 'both'])(
    'grants access to the people of the company without a page (%s)',
    async (service) => {
      const browser = createBrowser(front.fetch, front.origin)
      const out = await browser.submit(await browser.go(`${front.origin}/login`), '/login/sso', {})
      await browser.go(await signInAtProvider(out.url, 'olga'))
      const client = await register(front)
      const resource = `${front.origin}/${service}/mcp`
      const asking = authorizeUrl(front, client, { resource })
      const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
      const { access_token } = (await (await redeem(front, client, code, asking.verifier)).json()) as {
        access_token: string
      }
      const answer = await callerOf(front, resource, access_token).post(call())
      expect(await heard(answer)).toMatchObject({ 'x-user-id': 'company:olga' })
    },
  )
})
