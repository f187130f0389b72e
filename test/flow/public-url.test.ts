// What the gateway is called: one issuer, further names that it was told of, and nothing that a request says
// of it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Fetch } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { underAnyName } from '../runtimes/named.ts'
import { ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

describe.each(runtimes)('%s', (where, open) => {
  let house: TestGateway
  let upstream: Upstream
  let fetch: Fetch
  let port: string
  const metadata = (host: string, headers: Record<string, string> = {}) =>
    fetch(`http://${host}:${port}/.well-known/oauth-protected-resource/echo/mcp`, { headers })

  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [ana],
        allowed_hosts: ['gw.internal', 'exact.internal:1234'],
        trusted_proxies: ['127.0.0.1', '::1'],
        default_service: 'echo',
        mcp_services: { other: { url: `${new URL(upstream.url).origin}/other` } },
      },
    })
    fetch = underAnyName(house, where !== 'in process')
    ;({ port } = new URL(house.origin))
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  itWhere(where === 'in workerd')(
    'guesses no public URL: without one it answers 503 with what is missing, and no challenge',
    async () => {
      const token = { authorization: 'Bearer x' }
      for (const answer of [
        await metadata('gw.internal'),
        await fetch(`http://gw.internal:${port}/echo/mcp`, { method: 'POST', headers: token, body: '{}' }),
      ]) {
        expect([answer.status, answer.headers.get('www-authenticate'), await answer.json()]).toMatchObject([
          503,
          null,
          { faults: [expect.stringContaining('MCP_ISSUER')] },
        ])
      }
    },
  )

  itWhere(where !== 'in workerd')(
    'answers under the names it was told of, as the issuer, and under no other',
    async () => {
      expect(await (await metadata('gw.internal')).json()).toMatchObject({
        resource: `${house.origin}/echo/mcp`,
        authorization_servers: [house.origin],
      })
      for (const host of ['exact.internal', 'evil.test', 'gw.internal.evil.test', 'x.gw.internal'])
        expect([host, (await metadata(host)).status]).toEqual([host, 421])
      const token = await tokenOf(house, ana, `${house.origin}/echo/mcp`)
      expect(
        (await callerOf({ ...house, fetch }, `http://gw.internal:${port}/echo/mcp`, token).post(call()))
          .status,
      ).toBe(200)
    },
  )

  it('never takes its name from what a proxy forwards, even a trusted one: its issuer is pinned, or is this computer [H-A3]', async () => {
    const forwarded = {
      'x-forwarded-host': 'evil.test',
      'x-forwarded-proto': 'https',
      'x-forwarded-port': '443',
      forwarded: 'host=evil.test;proto=https',
      'x-original-host': 'evil.test',
    }
    for (const path of [
      '/.well-known/oauth-protected-resource/echo/mcp',
      '/.well-known/oauth-authorization-server',
      '/',
      '/services',
    ]) {
      const [plain, bent] = await Promise.all([
        house.fetch(`${house.origin}${path}`),
        house.fetch(`${house.origin}${path}`, { headers: forwarded }),
      ])
      expect([path, await bent.text()]).toEqual([path, await plain.text()])
    }
    const refused = await callerOf(house, `${house.origin}/echo/mcp`, '').post(call(), forwarded)
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
      401,
      expect.not.stringContaining('evil.test'),
    ])
  })

  itWhere(where === 'on a node socket')('knows who calls from the proxies it was told to trust', async () => {
    await house.fetch(`${house.origin}/nowhere`, {
      headers: { 'x-forwarded-for': '198.51.100.1, 203.0.113.9' },
    })
    expect(house.log.findLast(({ event }) => event === 'refused')?.fields).toMatchObject({
      path: '/nowhere',
      ip: '203.0.113.9',
    })
  })

  it('compares a resource with what the client typed: with a final slash or without, capitals in the host, the default service or its own path', async () => {
    const capital = house.origin.replace('localhost', 'LOCALHOST').replace('http:', 'HTTP:')
    for (const [resource, canonical] of [
      [`${house.origin}/echo/mcp/`, '/echo/mcp'],
      [`${capital}/echo/mcp`, '/echo/mcp'],
      [`${house.origin}/mcp`, '/mcp'],
    ] as const) {
      const token = await tokenOf(house, ana, resource)
      const { aud } = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as {
        aud: string
      }
      expect([resource, aud]).toEqual([resource, `${house.origin}${canonical}`])
      expect((await callerOf(house, `${house.origin}${canonical}`, token).post(call())).status).toBe(200)
    }
  })

  it('serves the default service at /mcp and /sse as a resource of its own, beside others', async () => {
    for (const path of ['/mcp', '/sse']) {
      const answer = await callerOf(house, `${house.origin}${path}`, '').get()
      expect([path, answer.status, answer.headers.get('www-authenticate')]).toEqual([
        path,
        401,
        expect.stringContaining(
          `resource_metadata="${house.origin}/.well-known/oauth-protected-resource${path}"`,
        ),
      ])
      expect(
        await (await house.fetch(`${house.origin}/.well-known/oauth-protected-resource${path}`)).json(),
      ).toMatchObject({ resource: `${house.origin}${path}` })
    }
    const token = await tokenOf(house, ana, `${house.origin}/mcp`)
    upstream.heard.length = 0
    expect((await callerOf(house, `${house.origin}/mcp`, token).post(call())).status).toBe(200)
    expect(upstream.heard.map(({ url }) => url)).toEqual(['/mcp'])
    expect((await callerOf(house, `${house.origin}/other/mcp`, token).post(call())).status).toBe(401)
  })
})
