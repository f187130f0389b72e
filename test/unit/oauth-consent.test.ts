// The question to the person: shown in one browser, answered once, from our own page, and remembered only for
// the very same question.
import { describe, expect, it } from 'vitest'
import { mayCopy } from '../../src/oauth/consent-request.ts'
import { ask, cookiesOf, decide, register, toConsent, type Asked, type Registered } from './oauth-steps.ts'
import { ana, createWorld, get, origin, post, resource, run, type World } from './oauth-world.ts'

const page = (
  { handlers }: World,
  { flow, cookie }: Pick<Asked, 'flow' | 'cookie'>,
  headers: Record<string, string> = {},
) => run(handlers.consentPage, get(`/oauth/consent?flow=${flow}`, { cookie, ...headers }))
const signedIn = async (options?: Parameters<typeof createWorld>[0]) => {
  const world = await createWorld(options)
  world.signIn()
  return { world, client: await register(world) }
}

describe('the consent page', () => {
  it('[A7, A14] [H-E1] says who asks, where the answer goes, for what, and in whose name', async () => {
    const { world } = await signedIn()
    const client = await register(world, {
      client_name: 'Clever app',
      redirect_uris: ['http://127.0.0.1:7777/cb'],
    })
    const { page: shown } = await toConsent(world, client)
    expect(shown.status).toBe(200)
    for (const text of [
      'Clever app',
      '127.0.0.1:7777',
      'on this computer',
      'ana@example.com',
      'name="csrf"',
      'value="allow"',
      'value="deny"',
    ])
      expect(shown.text).toContain(text)
  })

  it('sends whoever is not signed in to sign in first, and comes back', async () => {
    const { world, client } = await signedIn()
    world.who.session = undefined
    const asked = await toConsent(world, client)
    expect([asked.page.status, asked.page.location?.href]).toEqual([
      303,
      `${origin}/login?flow=${asked.flow}`,
    ])
    world.signIn()
    expect((await page(world, asked)).status).toBe(200)
  })

  it('[H-D22] tells a person of another provider, offers another account, and issues nothing', async () => {
    const { world } = await signedIn({ services: { echo: { provider: 'google' } } })
    const { page: shown, flow } = await toConsent(world, await register(world))
    expect([shown.status, shown.code]).toEqual([403, 'person.wrong-provider'])
    expect(shown.refusal?.detail.page?.onward?.href).toBe(`/login?flow=${flow}&switch=1`)
    expect(shown.location).toBeUndefined()
  })

  it('[H-E15] of one pending request is of no use to another, nor to another browser', async () => {
    const { world, client } = await signedIn()
    const first = await toConsent(world, client, { state: 'first' })
    const second = await toConsent(world, client, { state: 'second' })
    expect((await page(world, { flow: first.flow, cookie: second.cookie })).code).toBe('flow.other-browser')
    expect((await page(world, { flow: first.flow, cookie: '' })).code).toBe('flow.other-browser')
    expect(
      (
        await page(world, {
          flow: first.flow,
          cookie: `${first.cookie}; ${first.cookie.replace(/\.[\w-]+$/, '.forged')}`,
        })
      ).code,
    ).toBe('flow.other-browser')
    const both = `${first.cookie}; ${second.cookie}`
    expect((await decide(world, { ...first, cookie: both, csrf: second.csrf }, 'allow')).code).toBe(
      'consent.form',
    )
    expect(
      (await decide(world, { ...first, cookie: both }, 'allow')).location?.searchParams.get('state'),
    ).toBe('first')
    expect(
      (await decide(world, { ...second, cookie: both }, 'allow')).location?.searchParams.get('state'),
    ).toBe('second')
  })

  it('[H-E17] leaves at most twenty cookies of pending requests in a browser, the newest', async () => {
    const { world, client } = await signedIn()
    const jar = new Map<string, string>()
    for (let i = 0; i < 60; i++) {
      world.clock.now += 1000
      const { headers } = await ask(
        world,
        client,
        {},
        { cookie: [...jar].map((pair) => pair.join('=')).join('; ') },
      )
      for (const line of headers.getSetCookie()) {
        expect(line).toMatch(
          /^__Host-postern-flow-[\w-]{8}=.*; Max-Age=\d+; Path=\/; Secure; HttpOnly; SameSite=Lax$/,
        )
        const [name = '', value = ''] = (line.split(';')[0] ?? '').split('=')
        if (/Max-Age=0/.test(line)) jar.delete(name)
        else jar.set(name, value)
      }
    }
    expect(jar.size).toBe(20)
    expect([...jar].map((pair) => pair.join('=')).join('; ').length).toBeLessThan(4000)
  })

  it('is gone after ten minutes', async () => {
    const { world, client } = await signedIn()
    const asked = await toConsent(world, client)
    world.clock.now += 600_000
    expect((await decide(world, asked, 'allow')).code).toBe('flow.expired')
  })
})

describe('an answer', () => {
  it('[H-E4] without the token, with the token of another session, or without the cookies changes nothing', async () => {
    const { world, client } = await signedIn()
    const asked = await toConsent(world, client)
    const answers = [
      await decide(world, { ...asked, csrf: '' }, 'allow'),
      await decide(world, { ...asked, csrf: 'x' }, 'allow'),
      await decide(world, { ...asked, cookie: '' }, 'allow'),
    ]
    world.signIn({ ...ana, subject: 'bob' })
    answers.push(await decide(world, asked, 'allow'))
    world.who.session = undefined
    answers.push(await decide(world, asked, 'allow'))
    expect(answers.map(({ status, location }) => [status, location])).toEqual(
      Array.from({ length: 5 }, () => [403, undefined]),
    )
    world.signIn()
    expect((await decide(world, asked, 'allow')).location?.searchParams.has('code')).toBe(true)
  })

  it('[H-E5] sent from another site counts for nothing; without an Origin the double token is enough', async () => {
    const { world, client } = await signedIn()
    const asked = await toConsent(world, client)
    const from: Record<string, string>[] = [
      { origin: 'https://evil.test' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ]
    for (const headers of from) expect((await decide(world, asked, 'allow', headers)).status).toBe(403)
    const bare = post(
      '/oauth/consent',
      { flow: asked.flow, csrf: asked.csrf, decision: 'allow' },
      { cookie: asked.cookie },
    )
    expect((await run(world.handlers.decide, bare)).location?.searchParams.has('code')).toBe(true)
  })

  it('[H-E6] given twice yields one code and a readable page', async () => {
    const { world, client } = await signedIn()
    const asked = await toConsent(world, client)
    const again = await page(world, asked)
    expect(again.status).toBe(200)
    const answers = await Promise.all(Array.from({ length: 10 }, () => decide(world, asked, 'allow')))
    expect(answers.filter(({ location }) => location?.searchParams.has('code'))).toHaveLength(1)
    expect(
      new Set(answers.filter(({ location }) => !location).map(({ code, status }) => `${code} ${status}`)),
    ).toEqual(new Set(['flow.used 409']))
    expect((await world.store.list('grant:')).length).toBe(1)
    expect((await page(world, asked)).code).toBe('flow.used')
  })

  it('tells the client access_denied when the person denies, and issues nothing', async () => {
    const { world, client } = await signedIn()
    const answer = await decide(world, await toConsent(world, client), 'deny')
    expect(Object.fromEntries(answer.location?.searchParams ?? [])).toMatchObject({
      error: 'access_denied',
      state: 's-1',
      iss: origin,
    })
    expect(await world.store.list('grant:')).toEqual([])
    expect(world.events.filter(({ event }) => event === 'consent.denied')).toHaveLength(1)
  })

  it('of neither kind is refused', async () => {
    const { world, client } = await signedIn()
    expect((await decide(world, await toConsent(world, client), 'maybe')).status).toBe(400)
  })

  it('goes to an app with a scheme of its own by a page with a way back', async () => {
    const { world } = await signedIn()
    const client = await register(world, { redirect_uris: ['cursor://anysphere.cursor-mcp/oauth/callback'] })
    const answer = await decide(world, await toConsent(world, client), 'allow')
    expect(answer.status).toBe(200)
    expect(answer.text).toMatch(
      /href="cursor:\/\/anysphere\.cursor-mcp\/oauth\/callback\?code=pc_[^"]+&amp;state=s-1&amp;iss=/,
    )
  })
})

describe('a remembered answer', () => {
  const own = { 'sec-fetch-site': 'none' }
  const skipped = async (
    world: World,
    client: Pick<Registered, 'id' | 'redirectUri'>,
    more: Record<string, string | undefined> = {},
    headers: Record<string, string> = own,
    at: Record<string, string> = headers,
  ) => {
    const asked = await ask(world, client, more, headers)
    const shown = await page(
      world,
      { flow: asked.location?.searchParams.get('flow') ?? '', cookie: cookiesOf(asked) },
      at,
    )
    return shown.location?.searchParams.has('code') ?? false
  }

  it('[A14] [H-E10] spares the same question, or a smaller one, and no other', async () => {
    const { world } = await signedIn({ services: { echo: { scopes: ['read', 'write'] }, other: {} } })
    const client = await register(world, { redirect_uris: ['https://app.test/cb', 'https://app.test/cb2'] })
    expect(await skipped(world, client, { resource, scope: 'read' })).toBe(false)
    await decide(world, await toConsent(world, client, { resource, scope: 'read' }), 'allow')
    expect(await skipped(world, client, { resource, scope: 'read' })).toBe(true)
    expect(await skipped(world, client, { resource, scope: 'read write' })).toBe(false)
    expect(
      await skipped(world, { ...client, redirectUri: 'https://app.test/cb2' }, { resource, scope: 'read' }),
    ).toBe(false)
    expect(await skipped(world, client, { resource: `${origin}/other/mcp` })).toBe(false)
    expect(await skipped(world, await register(world), { resource, scope: 'read' })).toBe(false)
    expect(await skipped(world, client, { resource, scope: 'read', prompt: 'consent' })).toBe(false)
    world.signIn({ ...ana, subject: 'bob' })
    expect(await skipped(world, client, { resource, scope: 'read' })).toBe(false)
    world.signIn()
    await decide(world, await toConsent(world, client, { resource, scope: 'write' }), 'allow')
    expect(await skipped(world, client, { resource, scope: 'read write' })).toBe(true)
    world.clock.now += 30 * 86_400_000
    expect(await skipped(world, client, { resource, scope: 'read' })).toBe(false)
  })

  it('[H-E12] is no silent code for another site that sends the browser here', async () => {
    const { world, client } = await signedIn()
    await decide(world, await toConsent(world, client), 'allow')
    expect(await skipped(world, client, {}, { 'sec-fetch-site': 'cross-site' })).toBe(false)
    expect(await skipped(world, client, {}, {})).toBe(false)
    expect(await skipped(world, client, {}, { 'sec-fetch-site': 'cross-site' }, own)).toBe(false)
    expect(await skipped(world, client, {}, own, { 'sec-fetch-site': 'cross-site' })).toBe(false)
    expect(await skipped(world, client, { prompt: 'none' }, { 'sec-fetch-site': 'cross-site' })).toBe(false)
    expect(await skipped(world, client, { prompt: 'none' })).toBe(true)
  })

  it('[H-D15] is what prompt=none needs; without one an approved client is told, and of another the person is shown', async () => {
    const { world, client } = await signedIn()
    const silent = async () => {
      const asked = await ask(world, client, { prompt: 'none' }, own)
      return page(
        world,
        { flow: asked.location?.searchParams.get('flow') ?? '', cookie: cookiesOf(asked) },
        own,
      )
    }
    const { status, code, location } = await silent()
    expect([status, code, location]).toEqual([400, 'consent.required', undefined])
    await world.clients.approvals.keep(
      { id: client.id, name: 'Test app', kind: 'dynamic' },
      client.redirectUri,
    )
    expect(Object.fromEntries((await silent()).location?.searchParams ?? [])).toMatchObject({
      error: 'consent_required',
      iss: origin,
    })
  })

  it('ends when the document of the client changes', async () => {
    const { world } = await signedIn()
    const url = 'https://cimd.test/client.json'
    const document = { client_id: url, client_name: 'Doc', redirect_uris: ['https://app.test/cb'] }
    const client = { id: url, redirectUri: 'https://app.test/cb' }
    world.web.pages.set(url, { body: document, headers: { 'cache-control': 'no-store' } })
    await decide(world, await toConsent(world, client), 'allow')
    expect(await skipped(world, client)).toBe(true)
    world.web.pages.set(url, {
      body: { ...document, client_uri: 'https://elsewhere.test/' },
      headers: { 'cache-control': 'no-store' },
    })
    expect(await skipped(world, client)).toBe(false)
  })
})

describe('what sign-in learns of a pending authorization request', () => {
  it('is the client and the service, in the browser that began it only', async () => {
    const { world, client } = await signedIn()
    const asked = await ask(world, client)
    const flow = asked.location?.searchParams.get('flow') ?? ''
    expect(await world.consent.describeFlow(flow, get('/login', { cookie: cookiesOf(asked) }))).toMatchObject(
      {
        client: { id: client.id, name: 'Test app', kind: 'dynamic' },
        address: { resource },
        redirect: { uri: client.redirectUri },
      },
    )
    expect(await world.consent.describeFlow(flow, get('/login'))).toBeUndefined()
    expect(await world.consent.describeFlow('nonsense', get('/login'))).toBeUndefined()
  })
})

it('shows a redirect URL for copying where the operator has said so, and it leads to a computer of the user', () => {
  const may = (redirectUri: string | undefined, offered: boolean) =>
    mayCopy({ ...(redirectUri !== undefined && { redirectUri }) }, { copy_redirect_url: offered })
  expect(may('http://127.0.0.1:5000/cb', true)).toBe(true)
  for (const [uri, offered] of [
    ['http://127.0.0.1:5000/cb', false],
    ['https://app.example/cb', true],
    ['cursor://anysphere/cb', true],
    [undefined, true],
  ] as const)
    expect([uri, may(uri, offered)]).toEqual([uri, false])
})
