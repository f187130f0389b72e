// What must never happen before a person comes: browsers fetch links ahead of a click, scanners and previews
// ask by HEAD.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store } from '../../src/ports/store.ts'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { allow, authorizeUrl, type Client, redeem, register } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const ahead: readonly RequestInit[] = [
  { method: 'HEAD' },
  { headers: { 'sec-purpose': 'prefetch' } },
  { headers: { 'sec-purpose': 'prefetch;prerender' } },
  { headers: { 'sec-purpose': 'Prefetch;anonymous-client-ip' } },
  { headers: { purpose: 'prefetch' } },
  { headers: { 'x-purpose': 'preview' } },
  { headers: { 'x-moz': 'prefetch' } },
]

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let house: TestGateway
  let client: Client
  let browser: Browser
  /** Keys that were written, where the store can be watched. */
  const written: string[] = []
  const watched = (inner: Store): Store => ({
    ...inner,
    put: (key, ...rest) => {
      written.push(key)
      return inner.put(key, ...rest)
    },
  })
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({ upstream: upstream.url, store: watched })
    client = await register(house, {
      redirect_uris: ['https://app.example/cb'],
      token_endpoint_auth_method: 'client_secret_post',
    })
    browser = createBrowser(house.fetch, house.origin)
    await allow(browser, asking().url)
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  const asking = () => authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` })
  const ask = (url: string, init: RequestInit = {}) => {
    const cookie = [...browser.cookies].map((pair) => pair.join('=')).join('; ')
    const own = { accept: 'text/html', 'sec-fetch-site': 'none', cookie }
    return house.fetch(url, {
      ...init,
      redirect: 'manual',
      headers: { ...own, ...(init.headers as Record<string, string>) },
    })
  }
  const expectNothing = (answer: Response, { method = 'GET' }: RequestInit, url: string): void => {
    const { status, headers } = answer
    expect([
      url,
      status,
      headers.get('cache-control'),
      headers.get('location'),
      headers.getSetCookie(),
    ]).toEqual([url, method === 'HEAD' ? 200 : 503, 'no-store', null, []])
  }

  test.each(ahead)(
    'never a flow, a cookie or a code of an authorization request that %j makes',
    async (init) => {
      const before = written.length
      for (const url of [asking().url, asking().url.replace('/oauth/authorize', '/authorize')])
        expectNothing(await ask(url, init), init, url)
      expect(written.slice(before)).toEqual([])
    },
  )

  test.each(ahead)(
    'never an answer to a question that waits, and the person finds it as it was: %j',
    async (init) => {
      const { url, verifier } = asking()
      const begun = await ask(url)
      for (const line of begun.headers.getSetCookie())
        browser.cookies.set(
          line.split('=')[0] ?? '',
          (line.split(';')[0] ?? '').split('=').slice(1).join('='),
        )
      const question = new URL(begun.headers.get('location') ?? '', house.origin).href
      expect(question).toContain('/oauth/consent?flow=')
      expectNothing(await ask(question, init), init, question)
      const code = (await allow(browser, question)).searchParams.get('code') ?? ''
      expect((await redeem(house, client, code, verifier)).status).toBe(200)
    },
  )

  test.each(ahead)('never anything at any other page that acts: %j', async (init) => {
    const before = written.length
    for (const path of [
      '/login',
      '/login?flow=x',
      '/oauth/callback?code=x&state=y',
      '/oauth/callback/p?code=x&state=y',
      '/callback?code=x&state=y',
      '/connect/callback?code=x&state=y',
      '/connect/echo',
      '/oauth/start?server=echo',
    ]) {
      expectNothing(await ask(`${house.origin}${path}`, init), init, path)
    }
    const link = await ask(`${house.origin}/?t=x`, init)
    expect([link.status, link.headers.getSetCookie()]).toEqual([405, []])
    expect(written.slice(before)).toEqual([])
  })
})
