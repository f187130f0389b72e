// The flow record of apps that come again and again, and of ways through identity providers and upstream
// authorization servers.
import { type Server, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { through } from '../runtimes/connecting.ts'
import { type FlowWorld, credentials, openFlowWorld, stepsOf } from '../runtimes/flow-world.ts'
import { allow, authorizeUrl, logIn, register } from '../runtimes/login.ts'
import { callerOf, yamada } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { openInProcess } from '../runtimes/runtimes.ts'
import { openUpstream } from '../runtimes/upstream.ts'

describe('an app that comes again and again', () => {
  let world: FlowWorld
  beforeAll(async () => {
    world = await openFlowWorld(openInProcess)
  })
  afterAll(() => world.close())

  it('is told of when it asks a user three times in ten minutes, and each flow names the one before it', async () => {
    const { house } = world
    const { client, browser } = await logIn(house)
    const again = async () => {
      house.advance(60_000)
      await allow(browser, authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` }).url)
      return (await world.list(`?client=${client.id}`)).flows
    }
    const [second, first] = await again()
    expect([second?.finding, second?.previous]).toEqual([undefined, first?.id])
    expect(await world.flowOf(second?.id ?? '')).toMatchObject({
      previous_access: 'Flow test has a token and has not used it.',
    })
    const [third] = await again()
    const told = house.log.filter(({ event }) => event === 'flow.finding').map(({ fields }) => fields)
    expect(told).toMatchObject([{ flow: third?.id, refusal: 'flow.login-repeated', outcome: 'open' }])
    expect([third?.finding?.code, third?.finding?.say, third?.previous]).toEqual([
      'flow.login-repeated',
      'Flow test asked this user for access 3 times within 10 minutes.',
      second?.id,
    ])
    house.advance(600_000)
    expect((await again())[0]?.finding).toBeUndefined()
  })

  it('is told of when its service is gone', async () => {
    const { house } = world
    const upstream = await openUpstream()
    const served = async () => (await house.fetch(`${house.origin}/extra/mcp`)).status !== 404
    const until = async (is: boolean) => {
      house.advance(60_000)
      await expect.poll(served, { timeout: 20_000 }).toBe(is)
    }
    await house.supply('extra', { url: upstream.url })
    await until(true)
    const { client, tokens } = await logIn(house, `${house.origin}/extra/mcp`)
    const caller = callerOf(house, `${house.origin}/extra/mcp`, tokens.access_token)
    expect((await caller.post(call())).status).toBe(200)
    expect((await world.flowOf(client.id)).finding).toBeUndefined()
    await house.supply('extra')
    await until(false)
    expect(await world.flowOf(client.id)).toMatchObject({
      state: 'completed',
      finding: { code: 'flow.service-gone', acts: 'operator' },
    })
    await upstream.close()
  })

  it('is told of when it registers three times in an hour, and another app is not', async () => {
    const { house } = world
    const credentialsOf = credentials(yamada)
    for (let i = 0; i < 2; i++) {
      await logIn(house, undefined, undefined, credentialsOf)
      house.advance(900_000)
    }
    const { client, tokens } = await logIn(house, undefined, undefined, credentialsOf)
    await world.status(tokens)
    expect(await world.flowOf(client.id)).toMatchObject({
      state: 'completed',
      finding: {
        code: 'flow.registers-again',
        acts: 'app',
        say: 'Flow test registered 3 times within an hour.',
      },
    })
    const other = await register(house, { client_name: 'Another app' })
    await allow(createBrowser(house.fetch, house.origin), authorizeUrl(house, other).url, credentialsOf)
    expect((await world.flowOf(other.id)).finding).toBeUndefined()
  })
})

describe('the way through an identity provider and an upstream authorization server', () => {
  let provider: Server
  let far: FarServer
  let world: FlowWorld
  /** What the provider answers at its authorization endpoint. */
  let refusal: string | undefined
  beforeAll(async () => {
    provider = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://provider.test')
      if (url.pathname === '/authorize') {
        const back = new URL(url.searchParams.get('redirect_uri') ?? '')
        back.searchParams.set('state', url.searchParams.get('state') ?? '')
        back.searchParams.set(
          ...((refusal === undefined ? ['code', 'c1'] : ['error', refusal]) as [string, string]),
        )
        response.writeHead(302, { location: back.href }).end()
        return
      }
      const body =
        url.pathname === '/token' ? { access_token: 't1', token_type: 'Bearer' } : { id: 7, login: 'eve' }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
    await new Promise<void>((resolve) => void provider.listen(0, '127.0.0.1', resolve))
    far = await openFarServer()
    const at = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`
    const usual = {
      name: 'Usual',
      authorization_url: `${at}/authorize`,
      token_url: `${at}/token`,
      userinfo_url: `${at}/me`,
      client_id: 'gateway',
      client_secret: 'a secret of the gateway',
    }
    world = await openFlowWorld(openInProcess, {
      oauth_providers: {
        usual: { ...usual, allowed_logins: ['eve'] },
        closed: { ...usual, allowed_logins: ['ben'] },
      },
      mcp_services: { far: { name: 'Far', url: far.url } },
    })
  })
  afterAll(async () => {
    await world.close()
    await far.close()
    provider.close()
  })

  /** To the provider's page and back, as often as asked. */
  const signInWith = async (id: string, service = 'echo') => {
    const { house } = world
    const client = await register(house)
    const browser = createBrowser(house.fetch, house.origin)
    const page = await browser.go(
      authorizeUrl(house, client, { resource: `${house.origin}/${service}/mcp` }).url,
    )
    const out = await browser.submit(page, `/login/${id}`, {})
    return { client, browser, at: out.url, back: async () => browser.go(await through(out.url)) }
  }

  it('has the steps there and back', async () => {
    const { client, browser, back } = await signInWith('usual', 'far')
    const consent = await back()
    const away = await browser.submit(consent, '/oauth/consent', { decision: 'allow' })
    expect(stepsOf(await world.flowOf(client.id)).slice(-1)).toEqual(['upstream-connect asked'])
    await browser.go(await through(away.url))
    const flow = await world.flowOf(client.id)
    expect(stepsOf(flow)).toEqual([
      'register done',
      'authorize done',
      'sign-in asked',
      'provider-redirect asked',
      'provider-callback done',
      'consent asked',
      'upstream-connect asked',
      'upstream-connect done',
      'consent done',
      'code done',
      'redirect done',
    ])
    expect([flow.user, flow.service]).toEqual(['usual:7', 'far'])
  })

  it('tells who was not let in, who was refused there, and who never came back', async () => {
    const kept = await signInWith('closed')
    await kept.back()
    expect(await world.flowOf(kept.client.id)).toMatchObject({
      state: 'failed',
      user: 'closed:7',
      finding: { code: 'person.not-allowed', acts: 'user' },
    })
    refusal = 'access_denied'
    const denied = await signInWith('usual')
    await denied.back()
    refusal = undefined
    expect(await world.flowOf(denied.client.id)).toMatchObject({
      state: 'failed',
      finding: { code: 'provider.denied', acts: 'user' },
    })
    expect((await world.flowOf(denied.client.id)).steps.at(-1)?.request).toEqual({ error: 'access_denied' })
    const away = await signInWith('usual')
    expect((await world.flowOf(away.client.id)).state).toBe('waiting')
    world.house.advance(600_000)
    expect((await world.flowOf(away.client.id)).finding).toMatchObject({
      code: 'flow.left',
      say: `The user was sent to ${new URL(away.at).origin} and has not come back.`,
    })
  })
})
