// The SDK's providers for programs and for apps of a company, as real callers. The company is oidc-provider with a token
// exchange registered: an app signs a person in there, exchanges the ID token for an assertion (ID-JAG), and comes in.
import {
  Client,
  ClientCredentialsProvider,
  CrossAppAccessProvider,
  DpopSession,
  type OAuthClientProvider,
  PrivateKeyJwtProvider,
  StaticPrivateKeyJwtProvider,
  StreamableHTTPClientTransport,
  discoverAndRequestJwtAuthGrant,
} from '@modelcontextprotocol/client'
import { SignJWT, decodeJwt, exportJWK, generateKeyPair } from 'jose'
import { createHash, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Company, openCompany } from '../providers/company.ts'
import { signInAtProvider } from '../providers/openid-provider.ts'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { ana } from '../runtimes/people.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, openOnSocket } from '../runtimes/runtimes.ts'

const secrets = { desk: 'Wm3yP9kT6vC2nX8qL5rJ1hB4dS7gF0aZ', job: 'Kq7vX2mZ9tLw4sRb8nYc1fHd6gJp3aUe' }
const idToken = 'urn:ietf:params:oauth:token-type:id_token'
const keys = await generateKeyPair('ES256', { extractable: true })
const job = { name: 'Nightly job', grant_types: ['client_credentials' as const], service_account: 'nightly' }

const configOf = async (company: Company, upstream: string) => ({
  admins: ['local:ana'],
  local_users: [ana],
  dpop: {},
  mcp_services: Object.fromEntries(['ruled', 'second', 'jobs', 'more'].map((id) => [id, { url: upstream }])),
  oauth_providers: {
    sso: {
      name: 'Company',
      issuer: company.url,
      client_id: company.clientId,
      client_secret: company.clientSecret,
    },
  },
  access: {
    allow: [
      { groups: ['service:ci'], services: ['jobs', 'more'], permissions: ['write' as const] },
      { people: ['sso:olga'], services: ['ruled'], permissions: ['write' as const] },
      { people: ['local:ana'], permissions: ['admin' as const] },
    ],
  },
  service_accounts: { nightly: { groups: ['ci'], services: ['jobs', 'more'] } },
  clients: {
    'desk': {
      name: 'Desk',
      token_endpoint_auth_method: 'client_secret_basic' as const,
      client_secret: secrets.desk,
    },
    'job': {
      ...job,
      token_endpoint_auth_method: 'client_secret_basic' as const,
      client_secret: secrets.job,
    },
    'key-job': {
      ...job,
      token_endpoint_auth_method: 'private_key_jwt' as const,
      jwks: { keys: [{ ...(await exportJWK(keys.publicKey)) }] },
    },
  },
  assertion_issuers: {
    company: {
      type: 'id_jag' as const,
      issuer: company.url,
      allow_origins: [company.url],
      provider: 'sso',
      clients: ['desk'],
    },
  },
})

/** An app of the company signs its person in there (authorization code, PKCE): the ID token. */
const signInToApp = async ({ url, app }: Company): Promise<string> => {
  const verifier = randomBytes(32).toString('base64url')
  const redirect_uri = 'http://127.0.0.1/oauth/callback'
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: app.clientId,
    redirect_uri,
    scope: 'openid',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  })
  const back = new URL(await signInAtProvider(`${url}/auth?${query}`, 'olga'))
  const answer = await fetch(`${url}/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code: back.searchParams.get('code') ?? '',
      redirect_uri,
      code_verifier: verifier,
      client_id: app.clientId,
      client_secret: app.clientSecret,
    }),
  })
  return ((await answer.json()) as { id_token: string }).id_token
}

describe('SDK 2.4 against the gateway, with oidc-provider as the company', () => {
  let company: Company
  let upstream: RuledUpstream
  let gateway: RuntimeGateway
  let admin: Administrator
  let signedIn: string
  beforeAll(async () => {
    ;[company, upstream] = await Promise.all([openCompany(), openRuledUpstream()])
    gateway = await openOnSocket({ upstream: upstream.url, config: await configOf(company, upstream.url) })
    admin = await signInAs(gateway, ana)
    // The gateway knows the person by a sign-in of its own, at the same company.
    const browser = createBrowser(gateway.fetch, gateway.origin)
    const out = await browser.submit(await browser.go(`${gateway.origin}/login`), '/login/sso', {})
    await browser.go(await signInAtProvider(out.url, 'olga'))
    signedIn = await signInToApp(company)
  })
  afterEach(() => {
    Object.assign(company.script, { deny: undefined, claims: {} })
  })
  afterAll(async () => {
    await gateway.close()
    await Promise.all([company.close(), upstream.close()])
  })

  const resource = (id = 'ruled') => `${gateway.origin}/${id}/mcp`
  const crossApp = () =>
    new CrossAppAccessProvider({
      clientId: 'desk',
      clientSecret: secrets.desk,
      expectedIssuer: gateway.origin,
      assertion: async ({ authorizationServerUrl: audience, resourceUrl, scope }) =>
        (
          await discoverAndRequestJwtAuthGrant({
            idpUrl: company.url,
            audience,
            resource: resourceUrl,
            idToken: signedIn,
            clientId: company.app.clientId,
            clientSecret: company.app.clientSecret,
            ...(scope !== undefined && { scope }),
          })
        ).jwtAuthGrant,
    })
  const connect = async (authProvider: OAuthClientProvider, id?: string): Promise<Client> => {
    const sdk = new Client({ name: 'caller', version: '1' })
    await sdk.connect(new StreamableHTTPClientTransport(new URL(resource(id)), { authProvider }))
    return sdk
  }
  const create = (sdk: Client) => sdk.callTool({ name: 'create', arguments: {} })
  const caller = () => upstream.heard.at(-1)?.headers['x-user-id']
  const events = (event: string) => gateway.log.filter((line) => line.event === event)
  const assertion = () =>
    new SignJWT({ iss: 'key-job', sub: 'key-job', aud: gateway.origin, jti: crypto.randomUUID() })
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(keys.privateKey)

  it('CrossAppAccessProvider: the company exchanges the sign-in, and its word lets the person in', async () => {
    const sdk = await connect(crossApp())
    expect((await sdk.listTools()).tools.map(({ name }) => name)).toContain('create')
    await create(sdk)
    await sdk.close()
    expect(caller()).toBe('sso:olga')
    expect(company.exchanges).toHaveLength(1)
    expect(company.exchanges[0]).toMatchObject({
      form: {
        requested_token_type: 'urn:ietf:params:oauth:token-type:id-jag',
        subject_token_type: idToken,
        resource: resource(),
      },
      subject: { sub: 'olga', aud: company.app.clientId },
    })
    expect(new URL(String(company.exchanges[0]?.form['audience'])).origin).toBe(gateway.origin)
    expect(events('assertion.accepted').at(-1)?.fields).toMatchObject({
      kind: 'id_jag',
      issuer: 'company',
      subject: 'olga',
      client: 'desk',
      service: 'ruled',
    })
    expect(JSON.stringify(gateway.log)).not.toContain(signedIn)
  })

  it('CrossAppAccessProvider: what was ended while it is connected comes back with another exchange', async () => {
    const provider = crossApp()
    const sdk = await connect(provider)
    const before = [company.exchanges.length, provider.tokens()?.access_token] as const
    await admin.ask('DELETE', '/api/grants?user=sso:olga')
    gateway.advance(1000)
    await create(sdk)
    await sdk.close()
    expect(company.exchanges).toHaveLength(before[0] + 1)
    expect(provider.tokens()?.access_token).not.toBe(before[1])
    expect(decodeJwt(provider.tokens()?.access_token ?? '').sub).toBe('sso:olga')
  })

  it('CrossAppAccessProvider with a key: the token is bound to it, and its calls prove it', async () => {
    const session = await DpopSession.create()
    const provider = Object.assign(crossApp(), { dpop: () => session })
    const sdk = await connect(provider)
    await create(sdk)
    await sdk.close()
    const { token_type, access_token = '' } = provider.tokens() ?? {}
    expect(token_type).toBe('DPoP')
    expect(decodeJwt(access_token)['cnf']).toEqual({ jkt: expect.any(String) })
    // The token alone is worth nothing.
    const alone = await gateway.fetch(resource(), {
      method: 'POST',
      headers: { authorization: `Bearer ${access_token}` },
    })
    expect(alone.status).toBe(401)
  })

  it('CrossAppAccessProvider: what the company denies never reaches the gateway', async () => {
    company.script.deny = { error: 'access_denied', error_description: 'not for contractors' }
    const before = events('assertion.accepted').length + events('assertion.refused').length
    await expect(connect(crossApp())).rejects.toThrow(/not for contractors/)
    expect(events('assertion.accepted').length + events('assertion.refused').length).toBe(before)
  })

  it.each([
    ['another client', { client_id: 'job' }, 'assertion.client'],
    ['another gateway', { aud: 'https://other.example' }, 'assertion.audience'],
    ['another service', { resource: 'second' }, 'assertion.resource'],
  ])('CrossAppAccessProvider: an assertion for %s opens nothing', async (_, claims, code) => {
    const named = 'resource' in claims ? { resource: resource(claims.resource) } : claims
    Object.assign(company.script, { claims: named })
    await expect(connect(crossApp())).rejects.toThrow()
    expect(events('assertion.refused').at(-1)?.fields['refusal']).toBe(code)
  })

  it('ClientCredentialsProvider and PrivateKeyJwtProvider: programs of a service account', async () => {
    const providers = {
      jobs: new ClientCredentialsProvider({
        clientId: 'job',
        clientSecret: secrets.job,
        expectedIssuer: gateway.origin,
      }),
      more: new PrivateKeyJwtProvider({
        clientId: 'key-job',
        privateKey: { ...(await exportJWK(keys.privateKey)) },
        algorithm: 'ES256',
        expectedIssuer: gateway.origin,
      }),
    }
    for (const [id, provider] of Object.entries(providers)) {
      const sdk = await connect(provider, id)
      await create(sdk)
      // Ended while it is connected: both ask again by themselves.
      await admin.ask('DELETE', '/api/grants?user=service:nightly')
      gateway.advance(1000)
      await create(sdk)
      await sdk.close()
      expect(caller()).toBe('service:nightly')
    }
  })

  it('StaticPrivateKeyJwtProvider: its one assertion gives one token', async () => {
    const provider = new StaticPrivateKeyJwtProvider({
      clientId: 'key-job',
      jwtBearerAssertion: await assertion(),
      expectedIssuer: gateway.origin,
    })
    const sdk = await connect(provider, 'more')
    await create(sdk)
    await admin.ask('DELETE', '/api/grants?user=service:nightly')
    gateway.advance(1000)
    await expect(create(sdk)).rejects.toThrow()
    await sdk.close()
  })
})
