// What must never come of an authorization request with an error: a browser sent to an address that anybody
// registered.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Outbound } from '../../src/ports/runtime.ts'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { createBrowser, type Page } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { allow, authorizeUrl, person, register } from '../runtimes/login.ts'
import { ana } from '../runtimes/people.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const monitor = {
  name: 'Monitor',
  redirect_uris: ['https://monitor.example/cb'],
  token_endpoint_auth_method: 'client_secret_basic' as const,
  client_secret: 'Kq7vX2mZ9tLw4sRb8nYc1fHd6gJp3aUe',
}
const errors: readonly (readonly [Record<string, string>, string])[] = [
  [{ response_type: 'token' }, 'unsupported_response_type'],
  [{ code_challenge_method: 'plain' }, 'invalid_request'],
  [{ resource: 'https://nothing.example/mcp' }, 'invalid_target'],
  [{ request_uri: 'https://x.example/r' }, 'request_uri_not_supported'],
  [{ prompt: 'none' }, 'login_required'],
]

/** A public server that an administrator adds, as the guarded outbound function would find it. */
const far: Outbound = async (_url, { body = '' } = {}) => {
  const { id } = JSON.parse(body || '{}') as { id?: unknown }
  const result = {
    protocolVersion: '2025-11-25',
    capabilities: {},
    serverInfo: { name: 'Far', version: '3' },
  }
  return {
    status: id === undefined ? 202 : 200,
    headers: new Headers({ 'content-type': 'application/json' }),
    body: new TextEncoder().encode(id === undefined ? '' : JSON.stringify({ jsonrpc: '2.0', id, result })),
  }
}

/**
 * Where the link of an error page to its client leads, with what it says; undefined where a page has none.
 */
const linkOf = (page: string): { readonly label: string; readonly url: URL } | undefined => {
  const [, href, label] = /<a href="([^"]+)" rel="noreferrer">([^<]+)<\/a>/.exec(page) ?? []
  return href === undefined || label === undefined
    ? undefined
    : { label, url: new URL(href.replaceAll('&amp;', '&')) }
}

describe.each(runtimes)('%s', (where, open) => {
  let upstream: Upstream
  let house: TestGateway
  let admin: Administrator
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      outbound: far,
      config: { clients: { monitor }, admins: ['ana@example.com'], local_users: [ana] },
    })
    admin = await signInAs(house, ana)
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  const resource = () => `${house.origin}/echo/mcp`
  const ask = (url: string, accept = 'text/html') =>
    house.fetch(url, { headers: { accept, 'sec-fetch-site': 'none' }, redirect: 'manual' })

  test.each([
    ['https://app.example/cb', 'app.example'],
    ['http://127.0.0.1:5000/cb', '127.0.0.1:5000'],
    ['com.example.app:/cb', 'com.example.app:'],
  ])(
    'never to %s before a person approved the client, then at once [H-D6, H-D7, H-D10, H-D13, H-D15]',
    async (redirectUri, host) => {
      const client = await register(house, { client_name: 'App <b>', redirect_uris: [redirectUri] })
      const urls = errors.map(
        ([more, error]) =>
          [authorizeUrl(house, client, { resource: resource(), ...more }).url, error] as const,
      )
      for (const [url, error] of urls) {
        const shown = await ask(url)
        const page = await shown.text()
        expect([error, shown.status < 500 && shown.status >= 400, shown.headers.get('location')]).toEqual([
          error,
          true,
          null,
        ])
        const link = linkOf(page)
        expect(link?.label).toBe(`Return to App &lt;b&gt; (${host})`)
        expect([link?.url.href.startsWith(redirectUri), link?.url.searchParams.get('error')]).toEqual([
          true,
          error,
        ])
        expect(page).not.toContain('http-equiv="refresh"')
        const told = await ask(url, 'application/json')
        expect([told.headers.get('location'), ((await told.json()) as { error: string }).error]).toEqual([
          null,
          error,
        ])
      }
      const browser = createBrowser(house.fetch, house.origin)
      if (redirectUri.startsWith('com.')) {
        const login = await browser.go(authorizeUrl(house, client, { resource: resource() }).url)
        const question = await browser.submit(login, '/login', person)
        expect((await browser.submit(question, '/oauth/consent', { decision: 'allow' })).status).toBe(200)
      } else await allow(browser, authorizeUrl(house, client, { resource: resource() }).url)
      for (const [url, error] of urls) {
        const sent = new URL((await ask(url)).headers.get('location') ?? 'x:')
        expect([sent.href.startsWith(redirectUri), sent.searchParams.get('error')]).toEqual([true, error])
      }
      // Another address of the same client is another matter.
      const other = await register(house, { redirect_uris: [redirectUri] })
      expect(
        (
          await ask(authorizeUrl(house, other, { resource: resource(), response_type: 'token' }).url)
        ).headers.get('location'),
      ).toBeNull()
    },
  )

  test('never at prompt=none of somebody who is signed in, nor after a no, which alone is sent [H-D15]', async () => {
    const client = await register(house, { redirect_uris: ['https://app.example/cb'] })
    const browser = createBrowser(house.fetch, house.origin)
    const silent = authorizeUrl(house, client, { resource: resource(), prompt: 'none' })
    const signIn = () => browser.go(authorizeUrl(house, client, { resource: resource() }).url)
    const expectShown = (page: Page): void => {
      const { url, label } = linkOf(page.body) ?? {}
      expect([page.status, label, url?.origin, url?.searchParams.get('error')]).toEqual([
        400,
        'Return to Flow test (app.example)',
        'https://app.example',
        'consent_required',
      ])
      expect([url?.searchParams.get('state'), url?.searchParams.get('iss')]).toEqual([
        silent.state,
        house.origin,
      ])
    }
    const consent = await browser.submit(await signIn(), '/login', person)
    expectShown(await browser.go(silent.url))
    const denied = new URL((await browser.submit(consent, '/oauth/consent', { decision: 'deny' })).url)
    expect([denied.origin, denied.searchParams.get('error')]).toEqual([
      'https://app.example',
      'access_denied',
    ])
    expectShown(await browser.go(silent.url))
    await browser.submit(await signIn(), '/oauth/consent', { decision: 'allow' })
    const told = new URL((await browser.go(silent.url)).url)
    expect([told.origin, told.searchParams.has('code')]).toEqual(['https://app.example', true])
  })

  itWhere(where !== 'in workerd')(
    'never from a page of a login whose service was removed meanwhile',
    async () => {
      const client = await register(house, { redirect_uris: ['https://app.example/cb'] })
      const far = `${house.origin}/far/mcp`
      const began = async () => {
        const browser = createBrowser(house.fetch, house.origin)
        return { browser, page: await browser.go(authorizeUrl(house, client, { resource: far }).url) }
      }
      const service = { id: 'far', service: { url: 'https://far.example/mcp' } }
      expect((await admin.ask('POST', '/api/services', service)).status).toBe(201)
      const [login, consent] = [await began(), await began()]
      const question = await consent.browser.submit(consent.page, '/login', person)
      expect((await admin.ask('DELETE', '/api/services/far')).status).toBe(204)
      const pages = [
        await login.browser.go(login.page.url),
        await login.browser.submit(login.page, '/login', person),
        await consent.browser.go(question.url),
      ]
      for (const page of pages) {
        expect([page.status, new URL(page.url).origin]).toEqual([400, house.origin])
        expect(linkOf(page.body)?.url.searchParams.get('error')).toBe('invalid_target')
      }
    },
  )

  test('never a page for a client that the operator configured: it hears its errors', async () => {
    const client = { id: 'monitor', redirectUri: 'https://monitor.example/cb' }
    const sent = await ask(authorizeUrl(house, client, { resource: resource(), response_type: 'token' }).url)
    expect([sent.status, new URL(sent.headers.get('location') ?? 'x:').origin]).toEqual([
      303,
      'https://monitor.example',
    ])
  })
})
