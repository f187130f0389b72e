// Authorization servers that fail people who are connected already: when tokens are renewed, every kind of
// wrong answer has its consequence, and none of them another person's.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectAt, linkIn, logInThrough } from '../runtimes/connecting.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, type Caller, yamada } from '../runtimes/people.ts'
import { call, until } from '../runtimes/proxied.ts'

type Reply = {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: Record<string, unknown> | string
}

const older = { 'mcp-protocol-version': '2025-06-18' }

describe.each(runtimes)('never %s', (_name, open) => {
  let far: FarServer
  let usual: FarServer['script']
  let house: TestGateway
  let olga: Caller
  let taro: Caller
  beforeAll(async () => {
    far = await openFarServer()
    usual = { ...far.script }
    house = await open({
      upstream: 'http://127.0.0.1:9/mcp',
      config: {
        local_users: [ana, yamada],
        max_concurrent_calls: 100,
        mcp_services: { far: { name: 'Far', url: far.url, upstream_auth: { type: 'oauth' } } },
      },
    })
    olga = (await logInThrough(house, 'far')).caller
    taro = (await logInThrough(house, 'far', { who: yamada })).caller
  })
  afterAll(async () => {
    await house.close()
    await far.close()
  })
  const whole = (): void =>
    void Object.assign(far.script, usual, { absent: new Set(), instead: new Map(), before: new Map() })
  const textOf = async (caller: Caller): Promise<string> => (await caller.post(call(), older)).text()
  /** Both are connected with tokens of an hour, whatever became of it before. */
  beforeEach(async () => {
    whole()
    far.expire()
    for (const [caller, who] of [
      [olga, ana],
      [taro, yamada],
    ] as const) {
      // A failure that may pass is not asked about again for two seconds.
      house.advance(2100)
      const link = linkIn(await textOf(caller))
      if (link !== '')
        await connectAt(house, link, { who, browser: createBrowser(house.fetch, house.origin) })
      expect(await textOf(caller)).toMatch(/access-\d+/)
    }
    far.asked.length = 0
  })

  /** The access tokens have died, and this is what the renewal is answered with. */
  const renewalSays = (reply: Reply): void => {
    far.expire()
    far.script.instead.set('/token', () => reply)
  }
  const renewals = (): number => far.count('/token', 'refresh_token')

  it.each<[string, Reply]>([
    ['HTML', { body: '<!doctype html><title>Sorry</title>' }],
    ['HTML with an error’s status', { status: 400, body: '<!doctype html>invalid_grant' }],
    ['an error in words of its own, with 200', { body: { error: 'try_again' } }],
    ['a fault that calls itself invalid_grant', { status: 500, body: { error: 'invalid_grant' } }],
    ['too many requests', { status: 429, headers: { 'retry-after': '1' }, body: { error: 'invalid_grant' } }],
    ['neither tokens nor an error', { body: {} }],
    ['a token bound to a key', { body: { access_token: 'bound', token_type: 'DPoP' } }],
    ['a redirect', { status: 307, headers: { location: 'https://evil.test/token' }, body: '' }],
    ['another reason', { status: 400, body: { error: 'invalid_request' } }],
  ])(
    'takes %s for the end of an account: calls hear that it is for later, and the next but a moment after works',
    async (_what, reply) => {
      renewalSays(reply)
      const answer = await olga.post(call())
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5'])
      expect(await answer.text()).not.toMatch(/connect\/far|Sorry|evil/)
      whole()
      house.advance(2100)
      expect(await textOf(olga)).toMatch(/access-\d+/)
      expect(renewals()).toBe(2)
    },
  )

  it.each<[string, Reply]>([
    [
      'invalid_grant',
      { status: 400, body: { error: 'invalid_grant', error_description: '<script>evil</script>' } },
    ],
    ['invalid_grant with 200', { body: { error: 'invalid_grant' } }],
    [
      'invalid_client',
      { status: 401, headers: { 'www-authenticate': 'Basic' }, body: { error: 'invalid_client' } },
    ],
  ])(
    'asks again after %s: the person is asked instead, each time, and the server never',
    async (_what, reply) => {
      renewalSays(reply)
      for (let i = 0; i < 3; i++) {
        const text = await textOf(olga)
        expect(linkIn(text)).toContain(`${house.origin}/connect/far?for=`)
        expect(text).not.toContain('evil')
        house.advance(5000)
      }
      expect(renewals()).toBe(1)
    },
  )

  it.each([-1, 0, '-3600', null, 'soon'])(
    'spins on an expires_in of %j: the token serves until it is refused',
    async (seconds) => {
      far.expire()
      far.script.tokens = (tokens) => ({ ...tokens, expires_in: seconds })
      for (let i = 0; i < 5; i++) expect(await textOf(olga)).toMatch(/access-\d+/)
      expect(renewals()).toBe(1)
    },
  )

  it('renews a token that lives for seconds with every call', async () => {
    far.expire()
    far.script.tokens = (tokens) => ({ ...tokens, expires_in: 4 })
    for (let i = 0; i < 5; i++) expect(await textOf(olga)).toMatch(/access-\d+/)
    expect(renewals()).toBe(1)
  })

  it('has a hundred calls ask for what is refused: one renewal, the same clear answer for each, and nothing for anybody else [H-H15]', async () => {
    const theirs = await textOf(taro)
    const mine = await textOf(olga)
    far.script.instead.set('/mcp', ({ headers }) =>
      mine.includes((headers.authorization ?? 'none').slice(7))
        ? { status: 401, body: { error: 'no' } }
        : undefined,
    )
    far.script.instead.set('/token', () => ({ status: 400, body: { error: 'invalid_grant' } }))
    // The answer waits for all of them.
    const before = far.count('/mcp')
    far.script.before.set('/token', () => until(() => far.count('/mcp') >= before + 100, 'a hundred calls'))
    const texts = await Promise.all(Array.from({ length: 100 }, () => textOf(olga)))
    expect(new Set(texts.map(linkIn)).size).toBe(1)
    expect(texts.map(linkIn)[0]).toContain(`${house.origin}/connect/far?for=`)
    expect([renewals(), await textOf(taro)]).toEqual([1, theirs])
    expect(far.asked.filter(({ path }) => path === '/token')).toHaveLength(1)
  })

  it('has a hundred calls of two people share a token, or a failure, of one of them', async () => {
    far.expire()
    const texts = await Promise.all(Array.from({ length: 100 }, (_, i) => textOf(i % 2 === 0 ? olga : taro)))
    const tokens = (parity: number): Set<string | undefined> =>
      new Set(texts.filter((_, i) => i % 2 === parity).map((text) => /access-\d+/.exec(text)?.[0]))
    expect([tokens(0).size, tokens(1).size, new Set([...tokens(0), ...tokens(1)]).size, renewals()]).toEqual([
      1, 1, 2, 2,
    ])
  })

  it('leaves people with a client that the server has forgotten: the next connecting registers anew', async () => {
    renewalSays({ status: 401, body: { error: 'invalid_client' } })
    const link = linkIn(await textOf(olga))
    whole()
    const page = await connectAt(house, link, {})
    expect([page.status, far.count('/register'), far.count('/authorize')]).toEqual([200, 1, 1])
    expect(await textOf(olga)).toMatch(/access-\d+/)
  })
})
