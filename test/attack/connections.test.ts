// Upstreams and authorization servers that lie, browsers that are not the one that went out, and people who
// are not the ones meant.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { connectAt, linkIn, logInThrough, through } from '../runtimes/connecting.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'

describe.each(runtimes)('never %s', (_name, open) => {
  let far: FarServer
  let other: FarServer
  let house: TestGateway
  let usual: FarServer['script']
  beforeAll(async () => {
    far = await openFarServer()
    other = await openFarServer()
    usual = { ...far.script }
    house = await open({
      upstream: far.url,
      config: {
        local_users: [ana, yamada],
        mcp_services: {
          far: { name: 'Far', url: far.url, upstream_auth: { type: 'oauth', allow_origins: [other.origin] } },
          near: { name: 'Near', url: far.url, upstream_auth: { type: 'oauth' } },
        },
      },
    })
  })
  afterAll(async () => {
    await house.close()
    await far.close()
    await other.close()
  })
  beforeEach(() => {
    Object.assign(far.script, usual, { absent: new Set(), instead: new Map(), before: new Map() })
    far.asked.length = 0
    far.calls.length = 0
  })

  /** A fresh browser, signed in as nobody yet, presses the button of the connect page. */
  const connect = (service = 'near', fields: Record<string, string> = {}) =>
    connectAt(house, `/connect/${service}`, { fields })
  const refusedBeforeLeaving = async (why: RegExp): Promise<void> => {
    const page = await connect()
    expect([page.status, far.count('/authorize'), far.count('/token')]).toEqual([502, 0, 0])
    expect(page.body).not.toContain('evil')
    expect(
      house.log.findLast(({ fields }) => String(fields['refusal']).startsWith('connection.'))?.fields['why'],
    ).toMatch(why)
  }

  it('never asks a server for a token that is good elsewhere: metadata about another resource is refused [D1]', async () => {
    far.script.prm = (prm) => ({ ...prm, resource: 'https://evil.test/mcp' })
    await refusedBeforeLeaving(/about "https:\/\/evil.test/)
  })

  it('never believes an authorization server that calls itself something else [D1] [H-Q3]', async () => {
    far.script.metadata = (metadata) => ({ ...metadata, issuer: 'https://evil.test' })
    await refusedBeforeLeaving(/calls itself/)
  })

  it.each([
    'javascript:alert(1)//evil',
    'file:///etc/passwd',
    'http://evil.test/$(calc)',
    '-flag',
    'data:text/html,evil',
    'https://evil.test/authorize',
    'https://user:evil@as.test/',
  ])('never sends a browser to %s [D5] [H-Q2, H-Q3]', async (endpoint) => {
    far.script.metadata = (metadata) => ({ ...metadata, authorization_endpoint: endpoint })
    await refusedBeforeLeaving(/authorization_endpoint/)
  })

  it('never sends a code to a token endpoint of somebody else [H-Q3]', async () => {
    far.script.metadata = (metadata) => ({ ...metadata, token_endpoint: `${other.origin}/token` })
    await refusedBeforeLeaving(/token_endpoint/)
    expect(other.count('/token')).toBe(0)
  })

  it('never goes on without S256 [D2]', async () => {
    for (const methods of [undefined, [], ['plain']]) {
      far.script.metadata = ({ code_challenge_methods_supported: _, ...metadata }) => ({
        ...metadata,
        ...(methods && { code_challenge_methods_supported: methods }),
      })
      await refusedBeforeLeaving(/PKCE/)
    }
  })

  it('never follows an upstream to private places, whatever it names [D5]', async () => {
    for (const place of [
      'http://169.254.169.254/latest',
      'https://127.0.0.1:1/',
      'https://10.0.0.1/',
      'http://localhost:9/',
      'https://metadata.internal/',
    ]) {
      far.script.challenge = () => `Bearer resource_metadata="${place}"`
      far.script.prm = (prm) => ({ ...prm, authorization_servers: [place] })
      const page = await connect()
      expect([page.status, far.count('/authorize')], place).toEqual([502, 0])
    }
  })

  it('never takes what is no metadata for metadata [H-F7]', async () => {
    for (const body of ['<!doctype html>', '[]', 'null', '{']) {
      far.script.instead.set('/.well-known/oauth-authorization-server', () => ({ body }))
      const page = await connect()
      expect([page.status, far.count('/authorize')], body).toEqual([502, 0])
    }
    far.script.instead.set('/.well-known/oauth-authorization-server', () => ({ status: 500, body: 'down' }))
    expect((await connect()).status).toBe(503)
  })

  it.each([
    ['of another server', (answer: Record<string, string>) => ({ ...answer, iss: 'https://evil.test' })],
    [
      'that differs by a slash',
      (answer: Record<string, string>) => ({ ...answer, iss: `${answer['iss']}/` }),
    ],
    ['that is missing where it was promised', ({ iss: _, ...answer }: Record<string, string>) => answer],
    [
      'of another server, with an error',
      ({ code: _, ...answer }: Record<string, string>) => ({
        ...answer,
        iss: 'https://evil.test',
        error: 'access_denied',
        error_description: 'evil words',
      }),
    ],
  ])(
    'never redeems the code of an answer with an iss %s, nor shows its words [D2] [H-Q3]',
    async (_what, answer) => {
      far.script.answer = answer as (usual: Record<string, string>) => Record<string, string>
      const page = await connect()
      expect([page.status, far.count('/token')]).toEqual([502, 0])
      expect(page.body).not.toMatch(/evil/)
    },
  )

  it('never shows what a server says in its errors [H-F3]', async () => {
    far.script.answer = ({ code: _, ...answer }) => ({
      ...answer,
      error: 'access_denied',
      error_description: '<script>alert(1)</script>',
      error_uri: 'javascript:alert(1)',
    })
    const denied = await connect()
    expect([denied.status, denied.body.includes('alert(1)')]).toEqual([403, false])
    far.script.answer = (answer) => answer
    far.script.instead.set('/token', () => ({
      status: 400,
      body: { error: 'invalid_grant', error_description: '<script>alert(1)</script>' },
    }))
    const refused = await connect()
    expect([refused.status, refused.body.includes('alert(1)')]).toEqual([403, false])
  })

  it.each([
    ['HTML', { body: '<html>' }, 503],
    ['an error with 200', { body: { error: 'bad_verification_code' } }, 403],
    ['no access token', { body: { token_type: 'bearer' } }, 503],
    ['a token bound to a key', { body: { access_token: 'a', token_type: 'DPoP' } }, 503],
    ['500', { status: 500, body: { error: 'invalid_grant' } }, 503],
    [
      'ten million characters',
      { body: `{"access_token":"a","token_type":"Bearer","x":"${'x'.repeat(10_000_000)}"}` },
      503,
    ],
    ['a redirect', { status: 302, headers: { location: 'https://evil.test/' }, body: '' }, 503],
    [
      'another client',
      { status: 401, headers: { 'www-authenticate': 'Basic' }, body: { error: 'invalid_client' } },
      502,
    ],
  ])('never takes %s for tokens', async (_what, answer, status) => {
    far.script.instead.set('/token', () => answer as { status?: number; body: string })
    const page = await connect()
    expect(page.status).toBe(status)
    expect((await connectPage()).body).toContain('Continue to')
  })
  const connectPage = async () => {
    const browser = createBrowser(house.fetch, house.origin)
    const page = await browser.go('/connect/near')
    return browser.submit(page, '/login', { username: ana.username, password: ana.password })
  }

  it('never lets an odd answer do harm: lifetimes that make no sense, members that are null [H-F8]', async () => {
    for (const tokens of [
      { expires_in: -1 },
      { expires_in: 0 },
      { expires_in: 'soon' },
      { expires_in: 1e18 },
      { expires_in: null },
      { refresh_token: null },
      { refresh_token: '' },
      { scope: null },
      { token_type: null },
    ]) {
      far.script.tokens = (answer) => ({ ...answer, ...tokens })
      await connect('near', { action: 'connect', account: 'odd' }).catch(() => undefined)
      const { caller } = await logInThrough(house, 'near')
      const before = far.count('/token')
      expect(
        [(await caller.post(call())).status, (await caller.post(call())).status],
        JSON.stringify(tokens),
      ).toEqual([200, 200])
      expect(far.count('/token')).toBe(before)
    }
  })

  it('never shows one server’s credentials to another: after a change of authorization server it registers and asks anew [D3]', async () => {
    const { caller, browser } = await logInThrough(house, 'far')
    expect((await caller.post(call())).status).toBe(200)
    const client = far.asked.find(({ path }) => path === '/authorize')?.fields['client_id'] ?? 'none'
    far.revoke()
    far.script.prm = (prm) => ({ ...prm, authorization_servers: [other.origin] })
    other.asked.length = 0
    await connectAt(house, linkIn(await (await caller.post(call())).text()), { browser })
    expect([other.count('/register'), other.count('/authorize'), other.count('/token')]).toEqual([1, 1, 1])
    expect(JSON.stringify(other.asked)).not.toContain(client)
    expect(JSON.stringify(other.asked)).not.toMatch(/refresh-|access-/)
  })

  it('never leaves before the person agreed, nor for a form of another site or session [H-E4, H-E5, H-E13]', async () => {
    const browser = createBrowser(house.fetch, house.origin)
    const page = await browser.submit(await browser.go('/connect/near'), '/login', {
      username: yamada.username,
      password: yamada.password,
    })
    expect([page.status, far.count('/register'), far.count('/authorize')]).toEqual([200, 0, 0])
    const { fields } = page.form('/connect/near')
    const send = (body: Record<string, string>, headers: Record<string, string> = {}) =>
      browser.go('/connect/near', {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
        body: new URLSearchParams(body).toString(),
      })
    for (const [body, headers] of [
      [{ ...fields, csrf: '' }, {}],
      [{ ...fields, csrf: 'x'.repeat(43) }, {}],
      [fields, { origin: 'https://evil.test' }],
      [fields, { origin: 'null' }],
      [fields, { 'sec-fetch-site': 'cross-site' }],
    ] as const)
      expect((await send(body, headers)).status).toBe(403)
    expect(
      await (
        await house.fetch(`${house.origin}/connect/near`, {
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
          body: new URLSearchParams(fields).toString(),
        })
      ).json(),
    ).toMatchObject({ code: 'connection.form' })
    expect(far.count('/register')).toBe(0)
  })

  it('never connects in a browser that is not the one that went out, nor twice [H-E14, H-E15, H-F1]', async () => {
    const mine = createBrowser(house.fetch, house.origin)
    const page = await mine.submit(await mine.go('/connect/near'), '/login', {
      username: ana.username,
      password: ana.password,
    })
    const out = await mine.submit(page, '/connect/near', { action: 'connect', account: 'mine' })
    const back = await through(out.url)
    const theirs = createBrowser(house.fetch, house.origin)
    expect((await theirs.go(back)).status).toBe(403)
    await theirs.submit(await theirs.go('/connect/near'), '/login', {
      username: yamada.username,
      password: yamada.password,
    })
    expect([(await theirs.go(back)).status, far.count('/token')]).toEqual([403, 0])
    const again = createBrowser(house.fetch, house.origin)
    await again.submit(await again.go('/connect/near'), '/login', {
      username: ana.username,
      password: ana.password,
    })
    expect([(await again.go(back)).status, far.count('/token')]).toEqual([403, 0])
    expect((await mine.go(back)).body).toContain('mine')
    expect([(await mine.go(back)).status, far.count('/token')]).toEqual([400, 1])
    for (const query of ['', '?state=', '?state=up_unknown&code=x', '?state=a&state=b'])
      expect((await mine.go(`/connect/callback${query}`)).status).toBe(400)
    house.advance(601_000)
    expect(far.count('/token')).toBe(1)
  })

  it('never connects a link’s account for somebody else than the person of the token [D6]', async () => {
    const { caller } = await logInThrough(house, 'near', { who: yamada })
    far.revoke()
    const link = linkIn(await (await caller.post(call())).text())
    const browser = createBrowser(house.fetch, house.origin)
    const page = await browser.submit(await browser.go(link), '/login', {
      username: ana.username,
      password: ana.password,
    })
    expect([page.status, page.body]).toEqual([
      403,
      expect.stringContaining('This link belongs to another user than the one signed in.'),
    ])
    expect(link).not.toMatch(/yamada|taro|local:/)
  })

  it('never calls an upstream that everybody needs an account at for somebody without one [B5]', async () => {
    const caller = callerOf(
      house,
      `${house.origin}/near/mcp`,
      await tokenOf(
        house,
        { ...ana, username: 'yamada', password: yamada.password },
        `${house.origin}/near/mcp`,
      ).catch(() => ''),
    )
    const before = far.calls.length
    await caller.post(call())
    expect(far.calls.length).toBe(before)
  })

  it('never is fooled by a service of the gateway that nobody connects to', async () => {
    const browser = createBrowser(house.fetch, house.origin)
    for (const path of ['/connect/nobody', '/connect/..%2foauth', '/connect/echo%00'])
      expect((await browser.go(path)).status, path).toBe(404)
  })
})
