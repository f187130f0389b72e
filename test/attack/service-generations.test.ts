// Another service under an id that was somebody's: what people allowed the former one is of no use at it, and
// each is asked anew.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { runtimes, type RuntimeGateway } from '../runtimes/runtimes.ts'
import {
  allow,
  authorizeUrl,
  form,
  logIn,
  person,
  redeem,
  refresh,
  register,
  type Tokens,
} from '../runtimes/login.ts'
import { startProcess, temporaryState } from '../runtimes/process.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const call = async (
  { origin, fetch }: Pick<RuntimeGateway, 'origin' | 'fetch'>,
  path: string,
  { access_token: token }: Tokens,
): Promise<number> => {
  const headers = {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  }
  return (
    await fetch(`${origin}${path}`, {
      method: 'POST',
      headers,
      body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
    })
  ).status
}

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let house: RuntimeGateway
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({ upstream: upstream.url })
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  /** Resolves when the gateway has seen the change. */
  const supply = async (id: string, service?: Record<string, unknown>): Promise<void> => {
    await house.supply(id, service)
    house.advance(1_000)
    const status = async (): Promise<number> => (await house.fetch(`${house.origin}/services/${id}`)).status
    await expect.poll(status, { timeout: 10_000 }).toBe(service ? 200 : 404)
  }

  it('never does a service that was removed and added again under the same id inherit grants, codes or remembered answers', async () => {
    const service = { url: upstream.url }
    await supply('notes', service)
    const resource = `${house.origin}/notes/mcp`
    const { client, tokens, browser } = await logIn(house, resource)
    const app = await register(house, { redirect_uris: ['https://app.example/cb'] })
    const before = authorizeUrl(house, app, { resource })
    const code = (await allow(browser, before.url)).searchParams.get('code') ?? ''
    expect(await call(house, '/notes/mcp', tokens)).toBe(200)
    await supply('notes')
    await supply('notes', service)
    expect(await call(house, '/notes/mcp', tokens)).toBe(401)
    expect((await refresh(house, client, tokens.refresh_token)).status).toBe(400)
    expect((await redeem(house, app, code, before.verifier)).status).toBe(400)
    const headers = { 'sec-fetch-site': 'none' }
    const own = createBrowser(
      (url, init) =>
        house.fetch(url, {
          ...init,
          headers: { ...Object.fromEntries(new Headers(init?.headers)), ...headers },
        }),
      house.origin,
    )
    const signedIn = await logIn(house, resource, own)
    expect(await call(house, '/notes/mcp', signedIn.tokens)).toBe(200)
    const asked = await own.go(authorizeUrl(house, app, { resource }).url)
    expect([asked.status, asked.body.includes('name="decision"')]).toEqual([200, true])
  })

  it('never is an answer counted that was given to the page about the former one', async () => {
    await supply('files', { url: upstream.url })
    const browser = createBrowser(house.fetch, house.origin)
    const client = await register(house)
    const page = await browser.go(authorizeUrl(house, client, { resource: `${house.origin}/files/mcp` }).url)
    const question = await browser.submit(page, '/login', person)
    await supply('files')
    await supply('files', { url: upstream.url })
    const answered = await browser.submit(question, '/oauth/consent', { decision: 'allow' })
    expect([answered.status, answered.body.includes('was not sent from a page of this gateway')]).toEqual([
      403,
      true,
    ])
  })
})

describe('never does a service of the configuration', () => {
  it('inherit the grants of the one that its URL led to before; put back, it has them again', async () => {
    const state = temporaryState()
    const [first, second] = [await openUpstream(), await openUpstream()]
    let port = 0
    const begin = async (url: string) => {
      const gateway = await startProcess({
        config: { local_users: [person], mcp_services: { echo: { url } } },
        stateDir: state.dir,
        port,
      })
      port = Number(new URL(gateway.origin).port)
      return gateway
    }
    try {
      let gateway = await begin(first.url)
      const { client, tokens } = await logIn(gateway)
      await gateway.end()
      gateway = await begin(second.url)
      const introspected = await gateway.fetch(
        `${gateway.origin}/oauth/introspect`,
        form({ token: tokens.access_token, client_id: client.id }),
      )
      expect([
        await call(gateway, '/echo/mcp', tokens),
        (await refresh(gateway, client, tokens.refresh_token)).status,
        await introspected.json(),
      ]).toEqual([401, 400, { active: false }])
      expect(second.heard).toEqual([])
      await gateway.end()
      gateway = await begin(first.url)
      expect([
        await call(gateway, '/echo/mcp', tokens),
        (await refresh(gateway, client, tokens.refresh_token)).status,
      ]).toEqual([200, 200])
      await gateway.end()
    } finally {
      await Promise.all([first.close(), second.close()])
      state.remove()
    }
  })
})
