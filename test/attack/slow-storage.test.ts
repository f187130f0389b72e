// A store that takes two seconds for everything: who asks hears within a second that it is so, nobody is sent
// away for it, and nothing is lost by it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { timer } from '../../src/node/runtime.ts'
import type { Store } from '../../src/ports/store.ts'
import { createBoundedStore } from '../../src/stores/timeout.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { type TestGateway, runtimes, type RuntimeGateway } from '../runtimes/runtimes.ts'
import { allow, authorizeUrl, logIn, redeem, refresh } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { call, until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

/** Operations are held while `slow` says so, and carried out when they are let go. */
const createHeld = () => {
  const held: (() => void)[] = []
  const state = { slow: false }
  const around =
    <Args extends unknown[], T>(work: (...args: Args) => Promise<T>) =>
    async (...args: Args): Promise<T> => {
      if (state.slow) await new Promise<void>((resolve) => void held.push(resolve))
      return work(...args)
    }
  return {
    store: (inner: Store): Store => ({
      get: around(inner.get),
      put: around(inner.put),
      take: around(inner.take),
      list: around(inner.list),
    }),
    set(slow: boolean) {
      state.slow = slow
      if (!slow) for (const go of held.splice(0)) go()
    },
  }
}

describe.each(runtimes)('%s', (where, open) => {
  let house: TestGateway
  let upstream: Upstream
  const held = createHeld()
  /** In workerd the objects of the store are slow themselves. */
  const slowDown = async (slow: boolean): Promise<void> => {
    held.set(slow)
    if (where === 'in workerd') await house.fetch(`${house.origin}/__slow?ms=${slow ? 2000 : 0}`)
  }
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      store: (inner) => createBoundedStore(held.store(inner), { timer }),
    })
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  it('never has anybody wait for it longer than a second, never takes a token for a bad one, and never spends a code in vain [H-S7]', async () => {
    const { client, tokens, browser } = await logIn(house)
    const asking = authorizeUrl(house, client)
    const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
    const caller = callerOf(house, `${house.origin}/echo/mcp`, tokens.access_token)
    expect((await caller.post(call())).status).toBe(200)
    await slowDown(true)
    // What is known of the grant is older than half a second now.
    house.advance(1_000)
    const timed = async (work: Promise<Response>): Promise<readonly [number, number, string]> => {
      const since = performance.now()
      const response = await work
      return [response.status, performance.now() - since, await response.text()]
    }
    const [exchanged, refreshed, called, page, metadata, keys] = await Promise.all([
      timed(redeem(house, client, code, asking.verifier)),
      timed(refresh(house, client, tokens.refresh_token)),
      timed(caller.post(call())),
      createBrowser(house.fetch, house.origin).go(authorizeUrl(house, client).url),
      timed(house.fetch(`${house.origin}/.well-known/oauth-authorization-server`)),
      timed(house.fetch(`${house.origin}/oauth/jwks`)),
    ])
    for (const [status, took, text] of [exchanged, refreshed]) {
      expect([status, JSON.parse(text)]).toEqual([
        503,
        {
          error: 'temporarily_unavailable',
          error_description: expect.any(String) as string,
          code: 'storage.unavailable',
          request_id: expect.any(String) as string,
        },
      ])
      expect(took).toBeLessThan(1_900)
    }
    expect([called[0], (JSON.parse(called[2]) as { error: { code: number } }).error.code]).toEqual([
      503, 1503,
    ])
    expect([page.status, page.body.includes('cannot reach its storage')]).toEqual([503, true])
    for (const [status, took] of [metadata, keys]) expect([status, took < 1_900]).toEqual([200, true])
    await slowDown(false)
    expect((await redeem(house, client, code, asking.verifier)).status).toBe(200)
    expect((await refresh(house, client, tokens.refresh_token)).status).toBe(200)
    expect((await caller.post(call())).status).toBe(200)
  })
})

describe.each(runtimes)('%s, never says of a service that it is not there', (where, open) => {
  let house: RuntimeGateway
  let upstream: Upstream
  const held = createHeld()
  const slowDown = async (slow: boolean): Promise<void> => {
    held.set(slow)
    if (where === 'in workerd') await house.fetch(`${house.origin}/__slow?ms=${slow ? 2000 : 0}`)
  }
  beforeAll(async () => {
    upstream = await openUpstream()
    // Reads are slow from the start; what is added meanwhile is written.
    held.set(true)
    house = await open({
      upstream: upstream.url,
      store: (inner) => ({ ...createBoundedStore(held.store(inner), { timer }), put: inner.put }),
      config: { mcp_services: { echo: { url: upstream.url, auth_required: false } } },
    })
    await house.supply('added', { url: upstream.url, auth_required: false })
    await slowDown(true)
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  const statusOf = async (path: string, init?: RequestInit): Promise<number> =>
    (await house.fetch(`${house.origin}${path}`, init)).status
  const ping: RequestInit = {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' }),
  }
  const about = [
    '/.well-known/oauth-protected-resource/added/mcp',
    '/services/added',
    '/services',
    '/added/mcp',
    '/nowhere',
  ]

  it('before it could find out which there are, and what is locked: 503 until then', async () => {
    expect(await statusOf('/echo/mcp', ping)).toBe(503)
    expect(await Promise.all(about.map((path) => statusOf(path)))).toEqual([503, 503, 503, 503, 503])
    const call = await house.fetch(`${house.origin}/added/mcp`, ping)
    expect([call.status, call.headers.get('retry-after'), await call.json()]).toEqual([
      503,
      '1',
      {
        code: 'storage.unavailable',
        error: 'temporarily_unavailable',
        error_description: expect.any(String) as string,
        request_id: expect.any(String) as string,
      },
    ])
    await slowDown(false)
    // Whoever looks next knows.
    await until(async () => (await statusOf('/services/added')) === 200, 'the added service')
    expect(await Promise.all(about.map((path) => statusOf(path)))).toEqual([404, 200, 200, 200, 404])
    expect(await Promise.all([statusOf('/added/mcp', ping), statusOf('/echo/mcp', ping)])).toEqual([200, 200])
  }, 60_000)
})
