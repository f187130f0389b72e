// What a lying, failing or careless identity provider must never achieve.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { asJson, codeOf, heardBy, leave, signedIn } from '../providers/leaving.ts'
import { hostileProvider, providerConfig, straightBack } from '../providers/openid-provider.ts'
import type { RunningProvider } from '../providers/process.ts'
import { type Browser, createBrowser, type Page } from '../runtimes/browser.ts'
import { runtimes, type TestGateway } from '../runtimes/runtimes.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let liar: RunningProvider
let upstream: Upstream
beforeAll(async () => {
  ;[liar, upstream] = await Promise.all([hostileProvider(), openUpstream()])
})
afterAll(async () => {
  await Promise.all([liar.close(), upstream.close()])
})

/** Lies in an ID token: each is believed by nobody. */
const forged = (
  'alg-none hs256 wrong-aud two-auds no-aud wrong-iss no-exp wrong-nonce no-nonce wrong-azp ' +
  'no-sub empty-sub number-sub long-sub crlf-sub unknown-kid other-key cut-signature odd-signature altered not-a-jwt'
)
  .split(' ')
  .map((lie) => `id-${lie}`)

const untrusted = [
  ...forged,
  'discovery-none',
  'answer-other-iss',
  'answer-no-iss',
  'answer-no-code',
  'token-no-id',
  'type-odd',
  'userinfo-other-sub',
  'jwks-elsewhere',
  'token-invalid-grant',
]
const failing = [
  '500',
  '503-json',
  'html',
  'huge',
  'reset',
  'redirect',
  'gzip-bomb',
  'array',
  'null',
  'cut',
  'invalid-client',
].map((failure) => `token-${failure}`)
/** What only the operator can mend: code, and what the log says of it. */
const misconfigured: readonly (readonly [lie: string, code: string, why: RegExp])[] = [
  [
    'id-expired',
    'provider.clock',
    /^id-expired: token endpoint: exp of the ID token is 36\d\d s in the past by this gateway's clock; 60 s allowed$/,
  ],
  [
    'id-not-yet',
    'provider.clock',
    /^id-not-yet: token endpoint: nbf of the ID token is (?:3600|359\d) s in the future by this gateway's clock; 60 s allowed$/,
  ],
  [
    'id-future',
    'provider.clock',
    /^id-future: token endpoint: iat of the ID token is (?:3600|359\d) s in the future by this gateway's clock; 60 s allowed$/,
  ],
  [
    'token-invalid-client',
    'provider.client',
    /^token-invalid-client: token endpoint: answered 401 with error invalid_client: <script>alert\(1\)<\/script>$/,
  ],
]
const odd = [
  'type-missing',
  'expires-negative',
  'expires-text',
  'expires-zero',
  'expires-huge',
  'expires-null',
  'refresh-empty',
  'refresh-null',
  'scope-list',
]

describe.each(runtimes)('%s', (_, open) => {
  let house: TestGateway
  let browser: Browser
  /** A sign-in at the provider that says nothing, and how long it took. It goes on beside the other tests. */
  let stalled: Promise<readonly [page: Page, tookMs: number]>
  const lies = [
    ...untrusted,
    ...misconfigured.map(([lie]) => lie),
    ...failing,
    ...odd,
    'truth',
    'rotating',
    'answer-script',
    'answer-server-error',
    'answer-odd-error',
    'userinfo-500',
    'userinfo-other-email',
    'token-stall',
  ]
  const beforehand = [
    'discovery-other-issuer',
    'discovery-javascript',
    'discovery-http',
    'discovery-500',
    'discovery-html',
    'discovery-huge',
    'discovery-reset',
    'discovery-redirect',
    'discovery-array',
  ]

  beforeAll(async () => {
    const lying = Object.fromEntries(
      [...lies, ...beforehand].map((lie) => [
        lie,
        { ...providerConfig(liar), name: lie, issuer: `${liar.url}/${lie}` },
      ]),
    )
    house = await open({ upstream: upstream.url, config: { oauth_providers: lying } })
    const waiting = fresh()
    const callback = await through('token-stall')
    const started = Date.now()
    stalled = waiting.go(callback, asJson).then((page) => [page, Date.now() - started])
  })
  afterAll(() => house.close())
  const fresh = (): Browser => (browser = createBrowser(house.fetch, house.origin))
  const through = async (lie: string): Promise<string> => straightBack(await leave(browser, lie))

  test.each(untrusted)('never signs anybody in on %s [H-F5]', async (lie) => {
    fresh()
    const refused = await browser.go(await through(lie), asJson)
    expect([refused.status, codeOf(refused), signedIn(browser)]).toEqual([400, 'provider.untrusted', false])
  })

  test.each(misconfigured)(
    'never blames %s on anybody but the operator, who reads %s and why at level warn [H-F7]',
    async (lie, code, why) => {
      fresh()
      const refused = await browser.go(await through(lie), asJson)
      expect([refused.status, codeOf(refused), signedIn(browser)]).toEqual([502, code, false])
      const { request_id: requestId, error_description: said } = JSON.parse(refused.body) as Record<
        string,
        string
      >
      const line = () =>
        house.log.find(({ event, fields }) => event === 'refused' && fields['request_id'] === requestId)
      await vi.waitFor(
        () =>
          expect(line()).toMatchObject({
            level: 'warn',
            fields: { refusal: code, provider: lie, why: expect.stringMatching(why) as unknown },
          }),
        { timeout: 20_000 },
      )
      expect(said).toContain('Contact your administrator.')
    },
  )

  test('never takes another issuer for the configured one, and names both', async () => {
    fresh()
    const page = await browser.submit(await browser.go('/login'), '/login/discovery-other-issuer', {})
    expect(page.status).toBe(502)
    const line = () => house.log.findLast(({ fields }) => fields['refusal'] === 'provider.issuer')
    const why = `discovery-other-issuer: metadata: issuer mismatch: metadata says ${liar.url}/truth, configured is ${liar.url}/discovery-other-issuer`
    await vi.waitFor(
      () =>
        expect(line()).toMatchObject({ level: 'warn', fields: { provider: 'discovery-other-issuer', why } }),
      { timeout: 20_000 },
    )
  })

  test.each(failing)(
    'never leaves a person without a way on when the provider answers %s [H-F7]',
    async (lie) => {
      fresh()
      const started = Date.now()
      const callback = await through(lie)
      const refused = await browser.go(callback)
      expect([400, 502, 503]).toContain(refused.status)
      expect(refused.body).toContain('href="/login"')
      expect(refused.body).not.toContain('<script>alert')
      expect(signedIn(browser)).toBe(false)
      expect(Date.now() - started).toBeLessThan(10_000)
      // The same person can go again at once.
      expect((await browser.go(await through('truth'))).status).toBe(200)
    },
  )

  test.each(odd)('never loses its way over %s: the person is in, or is told [H-F8]', async (lie) => {
    fresh()
    const page = await browser.go(await through(lie))
    expect([200, 400]).toContain(page.status)
    expect(signedIn(browser)).toBe(page.status === 200)
  })

  test('never believes userinfo about an address that the signed token does not name as verified', async () => {
    fresh()
    const home = await browser.go(await through('userinfo-other-email'))
    expect(home.status).toBe(200)
    expect(home.body).not.toContain('ana@corp.test')
  })

  test('never asks for keys again and again: a rotated key costs one look, strangers cost none [H-F5]', async () => {
    fresh()
    expect((await browser.go(await through('rotating'))).status).toBe(200)
    const { jwks } = await heardBy(liar, 'rotating')
    fresh()
    expect((await browser.go(await through('rotating'))).status).toBe(200)
    expect((await heardBy(liar, 'rotating')).jwks).toBe(jwks + 1)
    for (let i = 0; i < 5; i++) {
      fresh()
      await browser.go(await through('rotating'), asJson)
    }
    expect((await heardBy(liar, 'rotating')).jwks).toBe(jwks + 1)
  })

  test.each(['answer-script', 'answer-odd-error', 'answer-server-error'])(
    'never draws what %s wrote [H-F3]',
    async (lie) => {
      fresh()
      const page = await browser.go(await through(lie))
      expect([403, 503]).toContain(page.status)
      for (const text of ['alert(1)', 'javascript:', '<img']) expect(page.body).not.toContain(text)
      expect(signedIn(browser)).toBe(false)
    },
  )

  test.each(beforehand)('never sends a browser away on %s [H-Q2]', async (lie) => {
    fresh()
    const page = await browser.submit(await browser.go('/login'), `/login/${lie}`, {})
    expect([400, 502, 503]).toContain(page.status)
    expect(page.headers.get('location')).toBeNull()
    expect(page.body).toContain('href="/login"')
  })

  test(
    'never waits longer than ten seconds for a provider that says nothing [H-F7]',
    { timeout: 15_000 },
    async () => {
      const [refused, tookMs] = await stalled
      expect([refused.status, codeOf(refused)]).toEqual([503, 'provider.unreachable'])
      expect(tookMs).toBeLessThan(10_000)
    },
  )

  test('never writes a state, a code, a verifier or a token of the provider to the log [H-V1]', async () => {
    fresh()
    const callback = await through('truth')
    await browser.go(callback)
    const cookie = browser.cookies.get(browser.session) ?? '-'
    fresh()
    await browser.go(await through('id-wrong-nonce'))
    const { token, authorize } = await heardBy(liar, 'truth')
    const secrets = [...token, ...authorize]
      .flatMap(({ code, code_verifier, state, nonce }) => [
        code_verifier,
        state,
        nonce,
        code && code.length > 8 ? code : undefined,
      ])
      .filter((text) => text !== undefined && text !== '')
    const log = JSON.stringify(house.log)
    for (const secret of [...secrets, 'upstream-access-token', liar.clientSecret, cookie])
      expect(log).not.toContain(secret)
  })
})
