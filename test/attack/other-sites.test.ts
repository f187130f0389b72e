// What pages of other sites must never get from a gateway that somebody's browser can reach: services without
// login, addresses, and changes.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { routeTable } from '../../src/routes.ts'
import { signInAs, type Administrator } from '../runtimes/administrator.ts'
import { type TestGateway, runtimes, openInProcess } from '../runtimes/runtimes.ts'
import { ana } from '../runtimes/people.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const evil = 'https://evil.example'
const json = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
const list = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
const crossOrigin = ({ headers }: Response): readonly string[] =>
  [...headers.keys()].filter((name) => name.startsWith('access-control-'))
const strangers = [evil, 'null', 'http://192.168.1.7:8080', 'http://localhost.evil.example:80']

const services = (upstream: Upstream) => ({ free: { name: 'Free', url: upstream.url, auth_required: false } })

/**
 * Every route by which a browser with a session changes something: all of the table but those that programs call
 * without cookies (OAuth, SCIM, logout over the back channel, forward auth), and the authorization endpoint, at
 * which others begin.
 */
const anything: unknown = new Proxy(() => undefined, { get: () => anything })
const cookieRoutes = routeTable({
  handlers: anything as Parameters<typeof routeTable>[0]['handlers'],
  registration: true,
})
  .filter(
    ({ surface, paths }) =>
      surface !== 'oauth' &&
      !/^\/(?:oauth\/authorize$|admin\/scim\/|verify$|.*back-?channel)/.test(paths[0] ?? ''),
  )
  .flatMap(({ paths, methods }) =>
    paths.flatMap((path) =>
      Object.keys(methods)
        .filter((method) => method !== 'GET')
        .map((method) => [method, path.replace(':provider', 'local').replaceAll(/:\w+/g, 'echo')] as const),
    ),
  )

/** Each method at each address of a service without login. */
const callAll = async (house: TestGateway, headers: Record<string, string>): Promise<readonly Response[]> =>
  Promise.all(
    ['/free/mcp', '/free/mcp/below', '/free/sse'].flatMap((path) =>
      ['POST', 'GET', 'DELETE', 'OPTIONS'].map((method) =>
        house.fetch(`${house.origin}${path}`, {
          method,
          headers: { ...json, ...headers },
          ...(method === 'POST' ? { body: list } : {}),
        }),
      ),
    ),
  )

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let house: TestGateway
  let admin: Administrator
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [ana],
        admins: ['local:ana'],
        device: { clients: ['*'] },
        mcp_services: services(upstream),
      },
    })
    admin = await signInAs(house, ana)
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  test.each(strangers)(
    'never a call of a service without login, nor an answer of it, for a page of %s [H-M7]',
    async (origin) => {
      upstream.heard.length = 0
      for (const answer of await callAll(house, { origin })) {
        expect([answer.status, await answer.text(), crossOrigin(answer), answer.headers.get('vary')]).toEqual(
          [403, 'Unauthorized origin', [], 'Origin'],
        )
      }
      expect(upstream.heard).toEqual([])
    },
  )

  test.each(['cross-site', 'same-site', 'x'])(
    'never a call of it for an element of a page: Sec-Fetch-Site %s without an Origin',
    async (site) => {
      upstream.heard.length = 0
      for (const answer of await callAll(house, { 'sec-fetch-site': site }))
        expect([answer.status, await answer.text()]).toEqual([403, 'Unauthorized origin'])
      expect(upstream.heard).toEqual([])
      for (const own of ['same-origin', 'none']) {
        const answer = await house.fetch(`${house.origin}/free/mcp`, {
          method: 'POST',
          headers: { ...json, 'sec-fetch-site': own },
          body: list,
        })
        expect([own, answer.status]).toEqual([own, 200])
        await answer.body?.cancel()
      }
    },
  )

  test('never an address of a service for a page of another site', async () => {
    const own = { name: 'Free', url: `${house.origin}/free/mcp`, auth_required: false, scopes: ['mcp'] }
    const { url: _address, ...told } = own
    for (const headers of [
      { origin: evil },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
    ] as Record<string, string>[]) {
      expect(await (await house.fetch(`${house.origin}/services/free`, { headers })).json()).toEqual(told)
      expect(await (await house.fetch(`${house.origin}/services`, { headers })).text()).not.toMatch(
        /https?:|\/mcp/,
      )
    }
    for (const headers of [{}, { origin: 'http://localhost:6274' }] as Record<string, string>[]) {
      expect(await (await house.fetch(`${house.origin}/services/free`, { headers })).json()).toEqual(own)
    }
  })

  test('never a change that another site sent, whatever cookies and tokens come with it [H-E5, H-P2]', async () => {
    const routes = [
      ...cookieRoutes,
      ...(['/api/services', '/api/services/echo', '/api/processes', '/api/lock'] as const).map(
        (path) => ['GET', path] as const,
      ),
    ]
    expect(routes.length).toBeGreaterThan(20)
    const senders = [
      { origin: evil },
      { origin: 'null' },
      { origin: house.origin, 'sec-fetch-site': 'cross-site' },
      { origin: house.origin, 'sec-fetch-site': 'same-site' },
      { origin: house.origin, 'sec-fetch-site': 'x' },
    ] as Record<string, string>[]
    for (const [method, path] of routes) {
      const type = path.startsWith('/api/') ? 'application/json' : 'application/x-www-form-urlencoded'
      const body = path.startsWith('/api/') ? '{}' : `csrf=${encodeURIComponent(admin.csrf)}&decision=allow`
      for (const sender of senders) {
        const refused = await admin.ask(method, path, method === 'POST' ? body : undefined, {
          'content-type': type,
          ...sender,
        })
        expect([method, path, sender, refused.status]).toEqual([method, path, sender, 403])
      }
    }
    const known = await admin.ask('GET', '/api/services')
    expect([
      known.status,
      (JSON.parse(known.body) as { services: { id: string }[] }).services.map(({ id }) => id),
    ]).toEqual([200, ['echo', 'free']])
  })
})

describe('never open to the internet', () => {
  let upstream: Upstream
  let house: TestGateway
  beforeAll(async () => {
    upstream = await openUpstream()
    const config = {
      issuer: 'https://gw.example',
      local_users: [ana],
      cors: { allow_origins: ['*', 'https://app.example'] },
      mcp_services: services(upstream),
    }
    house = await openInProcess({ upstream: upstream.url, config })
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  test.each([...strangers, 'http://localhost:6274', 'http://127.0.0.1'])(
    'never lets a page of %s call a service without login',
    async (origin) => {
      upstream.heard.length = 0
      for (const answer of await callAll(house, { origin }))
        expect([answer.status, crossOrigin(answer)]).toEqual([403, []])
      expect(upstream.heard).toEqual([])
      const listed = await house.fetch(`${house.origin}/free/mcp`, {
        method: 'POST',
        headers: { ...json, origin: 'https://app.example' },
        body: list,
      })
      expect([
        listed.status,
        listed.headers.get('access-control-allow-origin'),
        listed.headers.get('vary'),
      ]).toEqual([200, 'https://app.example', 'Origin'])
    },
  )

  test('never tells a stranger where services are, but somebody who is signed in', async () => {
    const told = { name: 'Free', auth_required: false, scopes: ['mcp'] }
    for (const origin of [undefined, evil, 'https://app.example']) {
      const answer = await house.fetch(`${house.origin}/services/free`, {
        headers: { ...(origin !== undefined && { origin }) },
      })
      expect(await answer.json()).toEqual(told)
    }
    const person = await signInAs(house, ana)
    expect(JSON.parse((await person.ask('GET', '/services/free')).body)).toEqual({
      ...told,
      url: `${house.origin}/free/mcp`,
    })
  })
})
