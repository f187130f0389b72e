// The flow record: one attempt of an app, from its registration to its first call, under one ID, and what is said of
// attempts that stop.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { refusals } from '../../src/kit/refusal.ts'
import { signInAs } from '../runtimes/administrator.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { type FlowWorld, credentials, openFlowWorld, stepsOf } from '../runtimes/flow-world.ts'
import {
  type Client,
  type Tokens,
  allow,
  authorizeUrl,
  logIn,
  redeem,
  refresh,
  register,
} from '../runtimes/login.ts'
import { fromNetwork } from '../runtimes/networks.ts'
import { ana, callerOf, yamada } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { type WorkerGateway, openInProcess, runtimes } from '../runtimes/runtimes.ts'

describe.each(runtimes)('%s', (name, gatewayOf) => {
  let world: FlowWorld
  beforeAll(async () => {
    world = await openFlowWorld(gatewayOf, { trusted_proxies: ['127.0.0.1'] })
  }, 120_000)
  afterAll(() => world.close())

  it('joins the steps from the registration to the first call and the refreshes', async () => {
    const { house, flowOf } = world
    const { client, tokens } = await logIn(house)
    expect([await world.status(tokens), await world.status(tokens)]).toEqual([200, 200])
    const again = (await (await refresh(house, client, tokens.refresh_token)).json()) as Tokens
    expect(await world.status(again)).toBe(200)
    const flow = await flowOf(client.id)
    expect(stepsOf(flow)).toEqual([
      'register done',
      'authorize done',
      'sign-in asked',
      'sign-in done',
      'consent asked',
      'consent done',
      'code done',
      'redirect done',
      'token done',
      'first-call done',
      'refresh done',
    ])
    expect(flow).toMatchObject({
      id: expect.stringMatching(/^[0-9a-z]{21}$/),
      state: 'completed',
      client: client.id,
      client_name: 'Flow test',
      service: 'echo',
      user: 'local:ana',
      grant: expect.stringMatching(/^[\w-]{32}$/),
    })
    expect(flow.finding).toBeUndefined()
    const [registered, authorized, , , , , , back, issued, called] = flow.steps
    expect(registered).toMatchObject({
      status: 201,
      request: { client_name: 'Flow test', redirect_uris: [client.redirectUri] },
      answer: { client_id: client.id },
    })
    expect(authorized?.request).toEqual({
      client_id: client.id,
      redirect_uri: client.redirectUri,
      resource: `${house.origin}/echo/mcp`,
      response_type: 'code',
      code_challenge_method: 'S256',
      code_challenge: expect.stringMatching(/^‹[\w-]{12}›$/),
      state: expect.stringMatching(/^‹[\w-]{12}›$/),
    })
    expect(back?.answer).toEqual({ to: new URL(client.redirectUri).origin })
    expect(issued?.answer).toEqual({ scopes: ['mcp'] })
    expect(called?.request).toEqual({ method: 'tools/call', name: 'whoami' })
    // Whatever of it somebody has at hand leads to it.
    for (const id of [flow.id, flow.grant, called?.request_id])
      expect((await flowOf(String(id))).id).toBe(flow.id)
    const text = JSON.stringify(flow)
    for (const secret of [tokens.access_token, tokens.refresh_token, again.refresh_token])
      expect(text).not.toContain(secret.slice(0, 20))
  })

  it('joins what an app did before it registered, as far as that can be known', async () => {
    const { origin, fetch } = fromNetwork(world.house, '192.0.2.9')
    const agent = { 'user-agent': 'Notes/2.1' }
    const app = {
      origin,
      fetch: (url: string, init: RequestInit = {}) =>
        fetch(url, { ...init, headers: { ...Object.fromEntries(new Headers(init.headers)), ...agent } }),
    }
    const wellKnown = `${origin}/.well-known/oauth`
    expect((await callerOf(app, `${origin}/echo/mcp`, '').post(call())).status).toBe(401)
    expect((await app.fetch(`${wellKnown}-protected-resource/echo/mcp`)).status).toBe(200)
    expect((await app.fetch(`${wellKnown}-authorization-server`)).status).toBe(200)
    const client = await register(app, { client_name: 'Notes' })
    const flow = await world.flowOf(client.id)
    expect(stepsOf(flow)).toEqual([
      'challenge done',
      'resource-metadata done',
      'server-metadata done',
      'register done',
    ])
    expect(flow.steps.map(({ confidence = 1 }) => confidence)).toEqual([0.5, 0.5, 0.5, 1])
    expect(flow.steps[0]).toMatchObject({
      lane: 'client',
      status: 401,
      request: { method: 'POST', path: '/echo/mcp', agent: 'notes' },
      meaning: 'The app called without a token and was told where to get one.',
    })
    // Whoever it was is not told twice.
    const { flows } = await world.list('?service=echo')
    expect(flows.filter(({ steps }) => steps[0]?.name === 'challenge')).toEqual([])
  })

  it('hands its ID to the events of the audit trail', async () => {
    const { house, flowOf } = world
    const { client, tokens } = await logIn(house)
    await world.status(tokens)
    const { id } = await flowOf(client.id)
    const kinds = () =>
      house.log.filter(({ fields }) => fields['flow'] === id).map(({ fields }) => fields['event'])
    await expect
      .poll(kinds)
      .toEqual(['client.registered', 'sign-in', 'consent.allowed', 'code.issued', 'grant.issued', 'call'])
  })

  itWhere(name !== 'in process')('records what has stopped, although nobody looks', async () => {
    const { house } = world
    const { client } = await logIn(house)
    const { id } = await world.flowOf(client.id)
    house.advance(15_000)
    const told = async () => {
      if ('tell' in house) await (house as WorkerGateway).tell('__alarms')
      return house.log.filter(({ event, fields }) => fields['flow'] === id && event === 'flow.finding')
    }
    await expect.poll(told, { timeout: 20_000 }).toMatchObject([
      {
        fields: {
          refusal: 'flow.token-unused',
          outcome: 'stalled',
          acts: 'app',
          after: 'token',
          client: client.id,
        },
      },
    ])
  })

  it('is drawn on the console, for administrators alone', async () => {
    const { house, admin } = world
    const { client, tokens } = await logIn(house)
    await world.status(tokens)
    const { id } = await world.flowOf(client.id)
    const [overview, list, one] = await Promise.all(
      ['/console', '/console/flows?state=completed', `/console/flows/${id}`].map((path) =>
        admin.browser.go(path),
      ),
    )
    expect([overview?.status, list?.status, one?.status]).toEqual([200, 200, 200])
    expect(overview?.body).toMatch(
      /<h1>\d+ (?:person|people), \d+ clients?, 1 service\. (?:Nothing needs|\d+ things? needs?) you\.<\/h1>/,
    )
    expect(list?.body).toContain(`<a class="strong" href="/console/flows/${id}"><bdi>ana</bdi></a>`)
    expect(list?.body).toContain('postern flows ls --outcome completed')
    expect(one?.body).toContain('<bdi>Flow test</bdi> made its first call.')
    expect(one?.body).toContain('<dt>Service</dt><dd><bdi>Echo</bdi></dd>')
    expect(one?.body.match(/<li(?: class="gap")?><span class="at">/g)).toHaveLength(10)
    expect(one?.body).toContain(`postern flows show ${id}`)
    // Selected at once where no script puts a button beside it.
    expect(one?.body).toContain('<code class="copy" data-what="report">### `Flow test`: ')
    const taro = await signInAs(house, yamada)
    const paths = ['/console', '/console/access', '/console/flows', `/console/flows/${id}`]
    for (const path of paths) {
      expect([path, (await taro.browser.go(path)).status]).toEqual([path, 403])
      expect(
        (await house.fetch(`${house.origin}${path}`, { redirect: 'manual' })).headers.get('location'),
      ).toBe(`/login?return_to=${encodeURIComponent(path)}`)
    }
    expect((await admin.browser.go('/console/flows/nothing')).status).toBe(404)
    const homes = await Promise.all([admin, taro].map(({ browser }) => browser.go('/')))
    expect(homes.map(({ body }) => body.includes('<a href="/console">Console</a>'))).toEqual([true, false])
  })

  it('shows users their own flows alone, without what is for the operator', async () => {
    const { house } = world
    const taro = await signInAs(house, yamada)
    const theirs = await logIn(house, undefined, undefined, credentials(yamada))
    const others = await logIn(house)
    const { flows } = await world.list('', taro)
    expect(flows.map(({ user }) => user)).toEqual(flows.map(() => 'local:yamada'))
    expect(flows.map(({ client }) => client)).toContain(theirs.client.id)
    const other = await world.flowOf(others.client.id)
    for (const id of [other.id, others.client.id])
      expect(await world.ask(`/api/flows/${encodeURIComponent(id)}`, taro)).toMatchObject({
        status: 404,
        body: { code: 'flow.unknown' },
      })
    expect((await house.fetch(`${house.origin}/api/flows`)).status).toBe(401)
    expect((await world.list('?user=local:yamada&service=echo')).flows.length).toBe(flows.length)
    expect((await world.list('?limit=1')).truncated).toBe(true)
    expect((await world.list('?state=failed')).flows).toEqual([])
    for (const query of ['?limit=0', '?since=soon'])
      expect((await world.ask(`/api/flows${query}`)).status).toBe(400)
  })
})

describe('an attempt that stops', () => {
  let world: FlowWorld
  beforeAll(async () => {
    world = await openFlowWorld(openInProcess)
  })
  afterAll(() => world.close())

  let apps = 0
  /** Apps of one name that register one after the other are something to be told of. */
  const another = () => register(world.house, { client_name: `App ${++apps}` })
  const browserOf = () => createBrowser(world.house.fetch, world.house.origin)
  const resource = () => `${world.house.origin}/echo/mcp`
  const told = async ({ id }: Client) => {
    const { state, finding, steps } = await world.flowOf(id)
    return [state, finding?.code, finding?.acts, steps.at(-1)?.name]
  }
  const allowed = async (client: Client) => {
    const asking = authorizeUrl(world.house, client, { resource: resource() })
    const back = await allow(browserOf(), asking.url, credentials(ana))
    return { ...asking, code: back.searchParams.get('code') ?? '' }
  }

  const loggedIn = async () => {
    const client = await another()
    const { code, verifier } = await allowed(client)
    const tokens = (await (await redeem(world.house, client, code, verifier)).json()) as Tokens
    return { client, tokens }
  }

  it('tells of an app that registered and sent nobody', async () => {
    const client = await another()
    expect(await told(client)).toEqual(['open', undefined, undefined, 'register'])
    world.house.advance(120_000)
    expect(await told(client)).toEqual(['stalled', 'flow.registered-only', 'app', 'register'])
    await allowed(client)
    expect(await told(client)).toEqual(['open', 'flow.late', 'nobody', 'redirect'])
  })

  it('has a request that the browser repeats once, and another attempt by itself', async () => {
    const client = await another()
    await browserOf().go(authorizeUrl(world.house, client, { resource: resource() }).url)
    const { url } = authorizeUrl(world.house, client, { resource: resource() })
    const browser = browserOf()
    await browser.go(url)
    await browser.go(url)
    await allowed(client)
    const { url: later } = authorizeUrl(world.house, client, { resource: resource() })
    await browser.go(later)
    await browser.go(later)
    const { flows } = await world.list(`?client=${client.id}`)
    expect(flows.map((flow) => stepsOf(flow).filter((step) => step === 'authorize done').length)).toEqual([
      2, 4,
    ])
  })

  it('tells of a page that the user left', async () => {
    const client = await another()
    await browserOf().go(authorizeUrl(world.house, client, { resource: resource() }).url)
    expect(await told(client)).toEqual(['waiting', undefined, undefined, 'sign-in'])
    world.house.advance(600_000)
    expect(await told(client)).toEqual(['abandoned', 'flow.left', 'user', 'sign-in'])
  })

  it('tells of a code that the app did not redeem, and why it cannot any more', async () => {
    const client = await another()
    const { code, verifier } = await allowed(client)
    world.house.advance(59_000)
    expect(await told(client)).toEqual(['open', undefined, undefined, 'redirect'])
    world.house.advance(1_000)
    expect(await told(client)).toEqual(['stalled', 'flow.loopback-closed', 'user', 'redirect'])
    world.house.advance(300_000)
    expect((await redeem(world.house, client, code, verifier)).status).toBe(400)
    expect(await told(client)).toEqual(['failed', 'code.expired', 'app', 'token'])
  })

  it('tells of a token that the app has not used for 15 s, and how late it came', async () => {
    const { client, tokens } = await loggedIn()
    world.house.advance(14_000)
    expect(await told(client)).toEqual(['open', undefined, undefined, 'token'])
    world.house.advance(1_000)
    expect(await told(client)).toEqual(['stalled', 'flow.token-unused', 'app', 'token'])
    world.house.advance(7_000)
    expect(await world.status(tokens)).toBe(200)
    expect(await told(client)).toEqual(['completed', 'flow.late', 'nobody', 'first-call'])
    expect((await world.flowOf(client.id)).finding?.say).toBe(
      'The first call came 22 s after the token, late by 7 s.',
    )
  })

  it('tells why a step was refused, in the sentence of the refusal', async () => {
    const client = await another()
    const { code } = await allowed(client)
    await redeem(world.house, client, code, 'v'.repeat(43))
    expect(await told(client)).toEqual(['failed', 'pkce.verifier', 'app', 'token'])
    const mismatch = await another()
    await browserOf().go(
      authorizeUrl(world.house, { ...mismatch, redirectUri: 'https://elsewhere.example/cb' }).url,
    )
    expect(await told(mismatch)).toEqual(['failed', 'redirect.mismatch', 'app', 'authorize'])
    const { finding, steps } = await world.flowOf(mismatch.id)
    expect(finding?.say).toBe(refusals['redirect.mismatch'].say)
    expect(steps.at(-1)?.request).toMatchObject({ redirect_uri: 'https://elsewhere.example/cb' })
  })

  it('tells of a wrong password, of a user who denied, and of access that was ended', async () => {
    const client = await another()
    const browser = browserOf()
    const { url } = authorizeUrl(world.house, client, { resource: resource() })
    const page = await browser.go(url)
    const again = await browser.submit(page, '/login', { username: 'ana', password: 'wrong' })
    expect(await told(client)).toEqual(['waiting', 'sign-in.failed', 'user', 'sign-in'])
    const consent = await browser.submit(again, '/login', credentials(ana))
    await browser.submit(consent, '/oauth/consent', { decision: 'deny' })
    expect(await told(client)).toEqual(['failed', 'consent.denied', 'user', 'consent'])

    const had = await loggedIn()
    await world.status(had.tokens)
    const { grant } = await world.flowOf(had.client.id)
    await world.admin.ask('DELETE', `/api/grants/${grant}`)
    expect(await told(had.client)).toEqual(['failed', 'flow.revoked', 'user', 'revoke'])
  })

  it('begins a flow of its own for each further attempt of an app that has access', async () => {
    const { client } = await loggedIn()
    const first = await world.flowOf(client.id)
    await allowed(client)
    const { flows } = await world.list(`?client=${client.id}`)
    expect(flows.map(({ id }) => id)).toEqual([expect.not.stringMatching(first.id), first.id])
    expect(flows[0]?.steps[0]?.name).toBe('authorize')
  })
})
