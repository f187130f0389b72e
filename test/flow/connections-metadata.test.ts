// What authorization servers publish about themselves, and how they register clients, as it is met: two
// documents of which
// one is wrong, slashes that come and go, endpoints elsewhere, and registrations that are refused.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectAt } from '../runtimes/connecting.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana } from '../runtimes/people.ts'

const [oauthPlace, openidPlace] = [
  '/.well-known/oauth-authorization-server',
  '/.well-known/openid-configuration',
]
const client = { client_id: 'gateway', client_secret: 'a-secret-that-is-long-enough-to-be-one' }
type Document = Record<string, unknown>

describe.each(runtimes)('%s', (_name, open) => {
  let far: FarServer
  let usual: FarServer['script']
  let house: TestGateway
  beforeAll(async () => {
    far = await openFarServer()
    usual = { ...far.script }
    const written = { type: 'oauth' as const, issuer: `${far.origin}/`, ...client }
    house = await open({
      upstream: 'http://127.0.0.1:9/mcp',
      config: {
        local_users: [ana],
        mcp_services: {
          far: { name: 'Far', url: far.url },
          written: { url: far.url, upstream_auth: written },
        },
      },
    })
  })
  afterAll(async () => {
    await house.close()
    await far.close()
  })
  beforeEach(() => {
    Object.assign(far.script, usual, { absent: new Set(), instead: new Map(), before: new Map() })
    far.asked.length = 0
  })

  let names = 0
  const connect = async (service = 'far', action = 'connect') => {
    const fields = { action, account: `account ${++names}` }
    const page = await connectAt(house, `${house.origin}/connect/${service}`, { fields })
    return { status: page.status, body: page.body.replaceAll('<wbr>', ''), sent: far.count('/authorize') }
  }
  const whole = (): Document => ({
    issuer: far.origin,
    authorization_endpoint: `${far.origin}/authorize`,
    token_endpoint: `${far.origin}/token`,
    registration_endpoint: `${far.origin}/register`,
    code_challenge_methods_supported: ['S256'],
  })
  const why = (): string => {
    const line = house.log.findLast(
      ({ fields }) => String(fields['refusal']).startsWith('connection.') && fields['why'],
    )
    return String(line?.fields['why'])
  }

  it.each([
    ['', '/'],
    ['/', ''],
    ['/tenant', '/tenant/'],
    ['/tenant/', '/tenant'],
  ])(
    'an issuer that is named with the end %j and calls itself with the end %j is one',
    async (named, own) => {
      far.script.prm = (about) => ({ ...about, authorization_servers: [`${far.origin}${named}`] })
      far.script.answer = (answer) => ({ ...answer, iss: `${far.origin}${own}` })
      const place = named.startsWith('/tenant') ? `${oauthPlace}/tenant` : oauthPlace
      far.script.instead.set(place, () => ({ body: { ...whole(), issuer: `${far.origin}${own}` } }))
      const page = await connect()
      expect([page.status, page.sent]).toEqual([200, 1])
    },
  )

  it.each([
    ['does not say S256', { code_challenge_methods_supported: undefined }],
    ['calls itself something else', { issuer: 'https://somebody.test' }],
    ['has no token endpoint', { token_endpoint: undefined }],
    ['has no authorization endpoint', { authorization_endpoint: undefined }],
    ['names an endpoint of somebody else', { token_endpoint: 'https://somebody.test/token' }],
    ['takes no clients', { registration_endpoint: undefined }],
  ])('a first document that %s is no reason to refuse where the second is whole', async (_what, change) => {
    for (const [first, second] of [
      [oauthPlace, openidPlace],
      [openidPlace, oauthPlace],
    ] as const) {
      far.script.instead.set(first, () => ({ body: { ...whole(), ...change } }))
      far.script.instead.set(second, () => ({ body: whole() }))
      far.asked.length = 0
      const page = await connect('far', 'anew')
      expect([first, page.status, page.sent]).toEqual([first, 200, 1])
    }
  })

  it.each([
    [
      'no S256',
      { code_challenge_methods_supported: undefined },
      ' does not say that it supports PKCE with S256; if it is right all the same, set mcp_services.far.upstream_auth.client_id, authorization_endpoint and token_endpoint (in place of issuer)',
    ],
    [
      'another name',
      { issuer: 'https://somebody.test' },
      ' calls itself "https://somebody.test"; if it is right all the same, set mcp_services.far.upstream_auth.client_id, authorization_endpoint and token_endpoint (in place of issuer)',
    ],
    [
      'an endpoint elsewhere',
      { token_endpoint: 'https://tokens.test/token' },
      ' names https://tokens.test as its token_endpoint; if that is right, add "https://tokens.test" to mcp_services.far.upstream_auth.allow_origins',
    ],
  ])(
    'where both documents have %s, the log names the key that lets it through',
    async (_what, change, said) => {
      for (const place of [oauthPlace, openidPlace])
        far.script.instead.set(place, () => ({ body: { ...whole(), ...change } }))
      const page = await connect()
      expect([page.status, page.sent]).toEqual([502, 0])
      const about = 'issuer' in change ? `the authorization server at ${far.origin}` : far.origin
      expect(why()).toBe(`Far: ${about}${said}`)
    },
  )

  it('an issuer that the operator wrote is believed about endpoints elsewhere, and compared with slash and without', async () => {
    const metadata = {
      ...whole(),
      token_endpoint: 'https://tokens.test/token',
      registration_endpoint: undefined,
    }
    far.script.instead.set(oauthPlace, () => ({ body: metadata }))
    expect((await connect('written')).sent).toBe(1)
  })

  it.each([
    [401, '', '401', ' answered 401'],
    [
      401,
      { error: 'invalid_token', error_description: 'An initial access token is needed' },
      '401 invalid_token',
      ' answered 401: invalid_token "An initial access token is needed"',
    ],
    [
      403,
      { error: 'insufficient_scope', error_description: "Policy 'Trusted Hosts' rejected request" },
      '403 insufficient_scope',
      ` answered 403: insufficient_scope "Policy 'Trusted Hosts' rejected request"`,
    ],
    [404, '<style>h1 {}</style><h1>Not\nfound</h1>', '404', ' answered 404: "Not found"'],
    [405, '', '405', ' answered 405'],
    [
      422,
      { message: 'Validation failed: redirect_uris' },
      '422',
      ' answered 422: "Validation failed: redirect_uris"',
    ],
  ])(
    'a registration that is answered with %i %j is for the operator, with status and sentence',
    async (status, body, fact, said) => {
      far.script.instead.set('/register', () => ({ status, body }))
      const page = await connect('far', 'anew')
      expect([page.status, page.sent]).toEqual([502, 0])
      expect(why()).toBe(
        `Far: registration: ${far.origin}/register${said}; register an OAuth client there and set mcp_services.far.upstream_auth.client_id and issuer`,
      )
      expect(page.body).toContain('Contact your administrator')
      expect(page.body).toContain(`<code>${fact}</code>`)
      expect(page.body).toMatch(/<dt>Redirect URI<\/dt><dd><code>[^<]*\/connect\/callback\/[\w-]{22}<\/code>/)
      expect(page.body).not.toMatch(/Try again|Trusted Hosts|Validation failed|initial access/)
    },
  )

  it.each([408, 429, 500, 503])('one that is answered with %i may pass', async (status) => {
    far.script.instead.set('/register', () => ({ status, body: { error: 'invalid_client_metadata' } }))
    const page = await connect('far', 'anew')
    expect([page.status, page.body.includes('Try again')]).toEqual([503, true])
  })

  it('a token endpoint that turns the gateway away is for the operator, and no secret of ours comes back in the log', async () => {
    for (const status of [401, 404]) {
      far.script.instead.set('/token', ({ body }) => ({
        status,
        body: { message: `no ${body.get('code')} ${body.get('code_verifier')}` },
      }))
      expect((await connect()).status).toBe(502)
      expect(why()).toMatch(
        new RegExp(`^Far: code: ${far.origin}/token answered ${status}: "no … …"; register`),
      )
    }
  })
})
