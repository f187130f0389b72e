// A gateway whose issuer is https, reached over plain http: nothing is served there, and browsers learn to
// come by https (RFC 6797, RFC 9700 §2.6).
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Fetch } from '../runtimes/browser.ts'
import { type TestGateway, openInWorkerd, openOnSocket } from '../runtimes/runtimes.ts'
import { underAnyName } from '../runtimes/named.ts'
import { ana } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const issuer = 'https://gw.example'
const json = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }

describe.each([
  ['on a node socket behind a proxy that says so', openOnSocket, { 'x-forwarded-proto': 'http' }],
  ['in workerd', openInWorkerd, {}],
] as const)('%s', (_where, open, plain: Record<string, string>) => {
  let house: TestGateway
  let upstream: Upstream
  let fetch: Fetch
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: {
        issuer,
        local_users: [ana],
        trusted_proxies: ['127.0.0.1'],
        mcp_services: { open: { url: upstream.url, auth_required: false } },
      },
    })
    fetch = underAnyName(house, true)
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  it.each(['/', '/login', '/oauth/authorize?client_id=x&state=y', '/.well-known/oauth-authorization-server'])(
    'sends %s to https',
    async (path) => {
      const answer = await fetch(`http://gw.example${path}`, { headers: plain })
      expect([answer.status, answer.headers.get('location')]).toEqual([308, `${issuer}${path}`])
    },
  )

  it.each([
    ['POST', '/echo/mcp'],
    ['GET', '/echo/mcp'],
    ['POST', '/open/mcp'],
    ['POST', '/oauth/token'],
    ['POST', '/oauth/register'],
    ['POST', '/login'],
  ])('refuses %s %s, without a challenge that says http', async (method, path) => {
    const headers = { ...json, ...plain, authorization: 'Bearer x' }
    const answer = await fetch(`http://gw.example${path}`, {
      method,
      headers,
      ...(method === 'POST' && { body: JSON.stringify(call()) }),
    })
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([400, null])
    const text = await answer.text()
    expect(text).toContain('This gateway accepts HTTPS only.')
    expect(text).not.toContain('http://')
    expect(upstream.heard).toEqual([])
  })

  it('is well for whoever asks over plain http', async () => {
    expect((await fetch('http://gw.example/healthz', { headers: plain })).status).toBe(200)
  })
})

describe.each([
  [
    'on a node socket behind a proxy that ends TLS',
    openOnSocket,
    [{ 'x-forwarded-proto': 'https' }, { 'x-forwarded-proto': 'https, http' }, {}],
  ],
  ['in workerd by https', openInWorkerd, [{ 'x-scheme': 'https' }]],
] as const)('%s', (_where, open, schemes: readonly Record<string, string>[]) => {
  let house: TestGateway
  let upstream: Upstream
  let fetch: Fetch
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: {
        issuer,
        local_users: [ana],
        trusted_proxies: ['127.0.0.1'],
        mcp_services: { open: { url: upstream.url, auth_required: false } },
      },
    })
    fetch = underAnyName(house, true)
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  it.each(schemes.map((headers) => [headers]))(
    'serves with %j, and every answer says that this host is for https',
    async (headers: Record<string, string>) => {
      for (const path of ['/login', '/.well-known/oauth-authorization-server', '/services', '/healthz']) {
        const answer = await fetch(`http://gw.example${path}`, { headers })
        expect([path, answer.status, answer.headers.get('strict-transport-security')]).toEqual([
          path,
          200,
          'max-age=31536000',
        ])
      }
      const asked = { method: 'POST', headers: { ...json, ...headers }, body: JSON.stringify(call()) }
      const [refused, relayed] = [
        await fetch('http://gw.example/echo/mcp', asked),
        await fetch('http://gw.example/open/mcp', asked),
      ]
      expect([refused.status, relayed.status]).toEqual([401, 200])
      for (const answer of [refused, relayed])
        expect(answer.headers.get('strict-transport-security')).toBe('max-age=31536000')
    },
  )
})
