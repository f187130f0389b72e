// Upstreams that answer 401: once, for ever, below their endpoint, with and without a word of how to sign
// in. Nobody's
// login depends on it, whoever can help is told what to do, and a server that is well again is served
// without a restart.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { connectAt, linkIn, logInThrough } from '../runtimes/connecting.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { call, until } from '../runtimes/proxied.ts'

const prm = '/.well-known/oauth-protected-resource'
const sentence =
  'The MCP server rejected the credentials of the gateway. The administrator must set upstream_auth.'
type Answer = {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: Record<string, unknown>
}

describe.each(runtimes)('%s', (_name, open) => {
  let far: FarServer
  let usual: FarServer['script']
  let house: TestGateway
  let answer: (path: string) => Answer | undefined
  const well = (): Answer => ({ body: { jsonrpc: '2.0', id: 7, result: { content: [] } } })
  const bare = (): Answer => ({ status: 401, body: { error: 'unauthorized' } })
  beforeAll(async () => {
    far = await openFarServer()
    usual = { ...far.script }
    const key = {
      name: 'Key',
      url: far.url,
      upstream_auth: { type: 'static', token: 'not-the-right-token' },
    } as const
    const fresh = { name: 'Fresh', url: far.url }
    house = await open({
      upstream: 'http://127.0.0.1:9/mcp',
      config: {
        local_users: [ana, yamada],
        mcp_services: { far: { name: 'Far', url: far.url }, fresh, key },
      },
    })
  })
  afterAll(async () => {
    await house.close()
    await far.close()
  })
  beforeEach(() => {
    // What one test found out about the server lapses before the next.
    house.advance(400_000)
    Object.assign(far.script, usual, { absent: new Set(), instead: new Map(), before: new Map() })
    answer = well
    for (const path of ['/mcp', '/mcp/private']) far.script.instead.set(path, () => answer(path))
    far.asked.length = 0
  })

  /** No metadata, and nothing that registers clients. */
  const nameless = (): void => {
    for (const path of [
      `${prm}/mcp`,
      prm,
      '/.well-known/oauth-authorization-server',
      '/.well-known/openid-configuration',
      '/register',
    ])
      far.script.absent.add(path)
  }
  const callerAt = async (service = 'far', who = ana) => {
    const { caller, end, consent } = await logInThrough(house, service, { who })
    expect([
      consent.body.includes('will also ask for your approval'),
      new URL(end.url).searchParams.has('code'),
    ]).toEqual([false, true])
    return caller
  }
  const answered = async (response: Response) => ({
    status: response.status,
    body: (await response.json()) as { id: unknown; error?: { code: number; message: string } },
  })
  const told = async (response: Response): Promise<void> => {
    const { status, body } = await answered(response)
    expect([status, body.id, body.error?.code, body.error?.message]).toEqual([502, 7, 1502, sentence])
  }
  const why = (): string =>
    String(
      house.log.findLast(
        ({ event, fields }) => event === 'refused' && fields['refusal'] === 'upstream.credential',
      )?.fields['why'],
    )

  it('one bare 401 is answered as such, and is forgotten: calls and logins go on', async () => {
    nameless()
    const mine = await callerAt()
    answer = bare
    await told(await mine.post(call()))
    answer = well
    expect((await mine.post(call())).status).toBe(200)
    const theirs = await callerAt('far', yamada)
    expect((await theirs.post(call())).status).toBe(200)
    expect((await createBrowser(house.fetch, house.origin).go('/connect/far')).status).toBe(200)
  })

  it('a bare 401 for ever keeps nobody from logging in, and call, page and log name the operator', async () => {
    nameless()
    answer = bare
    const [mine, theirs] = [await callerAt(), await callerAt('far', yamada)]
    await told(await mine.post(call()))
    await told(await theirs.post(call()))
    expect(why()).toBe(
      `mcp_services.far.upstream_auth: ${far.origin} answered 401 without WWW-Authenticate and no metadata names an authorization server (${far.origin}${prm}/mcp, ${far.origin}${prm}), and nothing there takes the gateway as a client;` +
        ' set type: static with the token or headers that it expects from everybody',
    )
    const page = await connectAt(house, `${house.origin}/connect/far`, { fields: { action: 'connect' } })
    expect([page.status, page.body.includes('Contact your administrator')]).toEqual([502, true])
    expect(page.body.replaceAll('&#39;', "'")).toContain(
      'The MCP server rejected the credentials of the gateway. The administrator must set',
    )
    expect(page.body).toContain('mcp_services.far.upstream_auth')
    answer = well
    expect((await mine.post(call())).status).toBe(200)
  })

  it('a static credential that is refused is the operator’s matter', async () => {
    nameless()
    answer = bare
    await told(await (await callerAt('key')).post(call()))
    expect(why()).toBe(
      `mcp_services.key.upstream_auth: ${far.origin} answered 401 without WWW-Authenticate and no metadata names an authorization server (${far.origin}${prm}/mcp, ${far.origin}${prm});` +
        ' it does not accept the token written there',
    )
    expect(JSON.stringify(house.log)).not.toContain('not-the-right-token')
    answer = well
    expect((await (await callerAt('key', yamada)).post(call())).status).toBe(200)
  })

  it.each([
    ['bare', undefined],
    ['with Basic', 'Basic realm="theirs"'],
    ['that names metadata of something else', 'Bearer resource_metadata="{far}/about"'],
  ])('a 401 %s below the endpoint is heard by who asked, and by nobody else', async (_what, challenge) => {
    nameless()
    far.script.instead.set('/about', () => ({
      body: { resource: 'https://elsewhere.test/mcp', authorization_servers: [far.origin] },
    }))
    const headers = {
      ...(challenge !== undefined && { 'www-authenticate': challenge.replace('{far}', far.origin) }),
    }
    answer = (path) => (path === '/mcp' ? well() : { status: 401, headers, body: {} })
    const mine = await callerAt()
    const below = callerOf(house, `${mine.url}/private`, mine.token)
    expect((await answered(await below.post(call()))).status).toBe(502)
    expect((await mine.post(call())).status).toBe(200)
    const theirs = await callerAt('far', yamada)
    expect((await theirs.post(call())).status).toBe(200)
  })

  it('an authorization server that is named and away stops no login; the call says that it passes, and then leads there', async () => {
    answer = () => undefined
    far.script.instead.set(`${prm}/mcp`, () => ({ status: 500, body: {} }))
    const mine = await callerAt()
    const away = await answered(await mine.post(call()))
    expect([away.status, away.body.error?.message]).toEqual([
      503,
      'The authorization server of the MCP server did not respond as expected. Try again in a moment.',
    ])
    far.script.instead.delete(`${prm}/mcp`)
    house.advance(6_000)
    const text = await (await mine.post(call())).text()
    expect(linkIn(text)).toMatch(/\/connect\/far\?for=/)
    const link = await connectAt(house, linkIn(text))
    expect([link.status, (await mine.post(call())).status]).toEqual([200, 200])
  })

  it('what goes wrong after Allow leads on without the account: the client gets its code', async () => {
    answer = () => undefined
    far.script.instead.set('/register', () => ({ status: 403, body: { error: 'access_denied' } }))
    far.script.instead.set('/token', () => ({ status: 503, body: {} }))
    for (const [service, status] of [
      ['fresh', 502],
      ['far', 503],
    ] as const) {
      const { end, browser } = await logInThrough(house, service, { who: yamada })
      expect([end.status, end.body.includes('Continue without this account')]).toEqual([status, true])
      const href = /href="(\/oauth\/consent\?flow=[\w-]+)"/.exec(end.body)?.[1] ?? ''
      const onward = await browser.go(href)
      expect([onward.status, new URL(onward.url).searchParams.has('code')]).toEqual([0, true])
    }
  })

  it('that accounts are asked for lapses: a server that asks for none any more is called without', async () => {
    answer = () => undefined
    const { caller } = await logInThrough(house, 'far', { who: ana })
    expect((await caller.post(call())).status).toBe(200)
    far.revoke()
    expect(linkIn(await (await caller.post(call())).text())).toContain('/connect/far')
    answer = well
    expect((await caller.post(call())).status).toBe(200)
    nameless()
    const theirs = await callerAt('far', yamada)
    expect((await theirs.post(call())).status).toBe(200)
  })

  it('a refused account below the endpoint is still good at the endpoint', async () => {
    answer = (path) =>
      path === '/mcp' ? undefined : { status: 401, headers: { 'www-authenticate': 'Bearer' }, body: {} }
    await connectAt(house, `${house.origin}/connect/far`, { fields: { action: 'connect' } })
    const mine = callerOf(
      house,
      `${house.origin}/far/mcp`,
      await tokenOf(house, ana, `${house.origin}/far/mcp`),
    )
    expect((await mine.post(call())).status).toBe(200)
    const refused = await answered(await callerOf(house, `${mine.url}/private`, mine.token).post(call()))
    expect([refused.status, refused.body.error?.message]).toEqual([
      502,
      'The MCP server does not accept your account at its current URL.',
    ])
    const calls = far.calls.length
    expect((await mine.post(call())).status).toBe(200)
    await until(() => far.calls.length > calls, 'the call with the account')
  })
})
