// What pages of other origins may read: every CORS field, compared whole, at every address that programs in a
// browser use (Fetch, CORS protocol).
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const app = 'https://app.example'
const stranger = 'https://stranger.example'
const wellKnown = '/.well-known/oauth-authorization-server'

/** Address and the methods that exist there, as its preflight lists them. */
const addresses: readonly (readonly [path: string, methods: string])[] = [
  [wellKnown, 'GET, OPTIONS'],
  [`${wellKnown}/echo/mcp`, 'GET, OPTIONS'],
  [`/echo/mcp${wellKnown}`, 'GET, OPTIONS'],
  ['/.well-known/openid-configuration', 'GET, OPTIONS'],
  ['/.well-known/openid-configuration/echo/mcp', 'GET, OPTIONS'],
  ['/.well-known/oauth-protected-resource', 'GET, OPTIONS'],
  ['/.well-known/oauth-protected-resource/echo/mcp', 'GET, OPTIONS'],
  ['/oauth/jwks', 'GET, OPTIONS'],
  ['/jwks', 'GET, OPTIONS'],
  ['/oauth/client-metadata.json', 'GET, OPTIONS'],
  ['/oauth/token', 'POST, OPTIONS'],
  ['/token', 'POST, OPTIONS'],
  ['/oauth/register', 'POST, OPTIONS'],
  ['/register', 'POST, OPTIONS'],
  ['/oauth/register/client_x', 'GET, PUT, DELETE, OPTIONS'],
  ['/oauth/revoke', 'POST, OPTIONS'],
  ['/revoke', 'POST, OPTIONS'],
  ['/oauth/introspect', 'POST, OPTIONS'],
  ['/introspect', 'POST, OPTIONS'],
  ['/services', 'GET, OPTIONS'],
  ['/services/echo', 'GET, OPTIONS'],
  ['/services/nothing', 'GET, OPTIONS'],
  ['/nothing/at/all', 'GET, POST, PUT, DELETE, OPTIONS'],
  ['/echo/mcp', 'GET, POST, DELETE, OPTIONS'],
  ['/echo/sse', 'GET, POST, DELETE, OPTIONS'],
]

const sent =
  'Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name, Last-Event-ID, DPoP'
const read = 'WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After, X-Request-Id, DPoP-Nonce'

/** Every field of CORS in the answer, and whether it varies. */
const crossOrigin = ({ headers }: Response): Record<string, string> =>
  Object.fromEntries([...headers].filter(([name]) => name === 'vary' || name.startsWith('access-control-')))

const answered = {
  any: { 'access-control-allow-origin': '*', 'access-control-expose-headers': read },
} as const
const named = {
  'access-control-allow-origin': app,
  'access-control-allow-credentials': 'true',
  'access-control-expose-headers': read,
  vary: 'Origin',
}
const preflighted = (methods: string) => ({
  'access-control-allow-methods': methods,
  'access-control-allow-headers': `${sent}, mcp-param-region`,
  'access-control-max-age': '600',
})

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let anybody: TestGateway
  let listed: TestGateway
  beforeAll(async () => {
    upstream = await openUpstream()
    const services = { open: { name: 'Open', url: upstream.url, auth_required: false } }
    anybody = await open({ upstream: upstream.url, config: { mcp_services: services } })
    listed = await open({
      upstream: upstream.url,
      config: { cors: { allow_origins: [app], allow_credentials: true }, mcp_services: services },
    })
  })
  afterAll(async () => {
    await anybody.close()
    await listed.close()
    await upstream.close()
  })

  const ask = (
    house: TestGateway,
    path: string,
    origin: string,
    method: string,
    headers: Record<string, string> = {},
  ) => house.fetch(`${house.origin}${path}`, { method, headers: { origin, ...headers } })
  const preflight = (house: TestGateway, path: string, origin: string, methods: string) =>
    ask(house, path, origin, 'OPTIONS', {
      'access-control-request-method': methods.split(',')[0] ?? '',
      'access-control-request-headers': 'authorization,content-type,mcp-param-region,mcp-protocol-version',
    })

  it.each(addresses)(
    'is said once at %s, for anybody and for a named origin [A12, C22]',
    async (path, methods) => {
      const inquiry = await preflight(anybody, path, app, methods)
      expect([inquiry.status, crossOrigin(inquiry), await inquiry.text()]).toEqual([
        204,
        { ...answered.any, ...preflighted(methods) },
        '',
      ])
      const one = await preflight(listed, path, app, methods)
      expect([one.status, crossOrigin(one)]).toEqual([204, { ...named, ...preflighted(methods) }])
      for (const method of methods.split(', ').filter((name) => name !== 'OPTIONS')) {
        for (const [house, fields] of [
          [anybody, answered.any],
          [listed, named],
        ] as const) {
          const answer = await ask(house, path, app, method)
          await answer.body?.cancel()
          expect([method, crossOrigin(answer)]).toEqual([method, fields])
        }
      }
    },
  )

  it.each(addresses)('is kept from an origin that is not listed at %s [H-M7]', async (path, methods) => {
    for (const method of methods.split(', ')) {
      const answer =
        method === 'OPTIONS'
          ? await preflight(listed, path, stranger, methods)
          : await ask(listed, path, stranger, method)
      await answer.body?.cancel()
      expect([method, crossOrigin(answer)]).toEqual([method, { vary: 'Origin' }])
    }
  })

  it('is never said of pages and of what has cookies [H-A15]', async () => {
    for (const house of [anybody, listed]) {
      for (const path of [
        '/oauth/authorize',
        '/authorize',
        '/oauth/consent',
        '/oauth/callback',
        '/connect/callback',
        '/connect/echo',
        '/oauth/start',
        '/login',
        '/logout',
        '/',
        '/encode',
        '/api/services',
        '/api/processes',
        '/health',
      ]) {
        for (const method of ['OPTIONS', 'GET', 'POST']) {
          const answer =
            method === 'OPTIONS'
              ? await preflight(house, path, app, 'GET, OPTIONS')
              : await ask(house, path, app, method)
          await answer.body?.cancel()
          expect([path, method, Object.keys(crossOrigin(answer)).filter((name) => name !== 'vary')]).toEqual([
            path,
            method,
            [],
          ])
        }
      }
    }
  })
})
