// Two gateways on one state: what one of them ended, a stream at the other does not outlive, whether the
// other's storage answers or not.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { authorizeUrl, form, logIn, person, refresh, register } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { endsWithin } from '../runtimes/proxied.ts'
import { createTwins, type Twin, type Twins } from '../runtimes/twins.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let upstream: Upstream
let twins: Twins
let here: Twin
let there: Twin
beforeEach(async () => {
  upstream = await openUpstream((request, response) => {
    if (request.method === 'GET')
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': here\n\n')
    else response.writeHead(405).end()
  })
  twins = createTwins(upstream.url)
  const shared = { session_secret: 'q3Vt8Zx1Lw6Bn4Rk9Yp2Hs7Dg5Fj0Cm_eU' }
  ;[here, there] = [await twins.open(shared), await twins.open(shared)]
})
afterEach(async () => {
  await twins.close()
  await upstream.close()
})

/** The stream ends within five seconds from now on. */
const ends = async (stream: Response): Promise<void> =>
  void (await endsWithin(5000, { ...here, advance: twins.advance }, stream.text()))

describe('never does a stream outlive the access of its caller', () => {
  it.each([
    ['whose gateway hears of the end', 0],
    ['whose gateway has lost its storage', Infinity],
  ])(
    '%s: it ends within five seconds',
    async (_, broken) => {
      const { client, tokens } = await logIn(here)
      const stream = await callerOf(here, `${here.origin}/echo/mcp`, tokens.access_token).get()
      expect(stream.status).toBe(200)
      here.breakStorage(broken)
      await there.fetch(
        `${there.origin}/oauth/revoke`,
        form({ token: tokens.refresh_token, client_id: client.id }),
      )
      await ends(stream)
    },
    60_000,
  )

  it('whom the person ended on the page at the other gateway: no message after a second, no stream after five, no refresh', async () => {
    const { client, tokens } = await logIn(here)
    const caller = callerOf(here, `${here.origin}/echo/mcp`, tokens.access_token)
    const stream = await caller.get()
    expect(stream.status).toBe(200)
    const browser = createBrowser(there.fetch, there.origin)
    await browser.submit(await browser.go('/login'), '/login', person)
    const page = await browser.go('/account/apps')
    await browser.submit(page, '/account/apps', { action: 'end', client: client.id })
    twins.advance(1000)
    expect((await caller.post({ jsonrpc: '2.0', id: 1, method: 'ping' })).status).toBe(401)
    expect((await refresh(here, client, tokens.refresh_token)).status).toBe(400)
    await ends(stream)
  }, 60_000)

  it('nor a message, where the clock is set back: what was read before it is read again', async () => {
    const { client, tokens } = await logIn(here)
    await here.supply('added', { url: upstream.url, auth_required: false })
    twins.advance(600)
    const caller = callerOf(here, `${here.origin}/echo/mcp`, tokens.access_token)
    const added = callerOf(here, `${here.origin}/added/mcp`, '')
    const statuses = async () => [
      (await caller.post({ jsonrpc: '2.0', id: 1, method: 'ping' })).status,
      (await added.post({ jsonrpc: '2.0', id: 1, method: 'ping' })).status,
    ]
    expect(await statuses()).toEqual([405, 405])
    here.setClock(-3_600_000)
    expect(await statuses()).toEqual([405, 405])
    await there.fetch(
      `${there.origin}/oauth/revoke`,
      form({ token: tokens.refresh_token, client_id: client.id }),
    )
    await there.remove('added')
    twins.advance(1000)
    expect(await statuses()).toEqual([401, 404])
    // Set forward and back again, with what was read in between.
    here.setClock(3_600_000)
    expect(await statuses()).toEqual([401, 404])
    here.setClock(0)
    const again = await logIn(here)
    expect(
      (
        await callerOf(here, caller.url, again.tokens.access_token).post({
          jsonrpc: '2.0',
          id: 1,
          method: 'ping',
        })
      ).status,
    ).toBe(405)
  }, 60_000)

  it('nor one to a service that may be gone, which asks for no token', async () => {
    await here.supply('passing', { url: upstream.url, auth_required: false })
    twins.advance(600)
    const stream = await callerOf(here, `${here.origin}/passing/mcp`, '').get()
    expect(stream.status).toBe(200)
    here.breakStorage(Infinity)
    await ends(stream)
  }, 60_000)
})

it('never an old sign-in where a fresh one is asked for, although the clock was set back since [H-D15]', async () => {
  const client = await register(here)
  const browser = createBrowser(here.fetch, here.origin)
  await browser.submit(await browser.go('/login'), '/login', person)
  here.setClock(-60_000)
  const asking = authorizeUrl(here, client, { resource: `${here.origin}/echo/mcp`, prompt: 'login' })
  const page = await browser.go(asking.url)
  expect(page.body).toContain('name="password"')
  expect((await browser.submit(page, '/login', person)).body).toContain('value="allow"')
})
