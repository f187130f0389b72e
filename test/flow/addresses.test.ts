// Services at hosts of their own: by exact name, below a base domain, and by the encoded name of their
// domain. One issuer for all of them.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Fetch } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { underAnyName } from '../runtimes/named.ts'
import { ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const atlassian = 'nvrxaltborwgc43tnfqw4ltdn5wq-enc.root.localhost'

describe.each(runtimes)('%s', (name, open) => {
  let house: TestGateway
  let upstream: Upstream
  let fetch: Fetch
  let port: string
  const at = (host: string, path = ''): string => `http://${host}:${port}${path}`
  const json = async (url: string, init?: RequestInit): Promise<Record<string, unknown>> =>
    (await (await fetch(url, init)).json()) as Record<string, unknown>

  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: {
        domain_root: 'root.localhost',
        base_domain: 'base.localhost',
        hosts: { 'mcp.exact.localhost': 'echo' },
        local_users: [ana],
        mcp_services: {
          jira: { name: 'Jira', url: 'https://mcp.atlassian.com/v1/mcp' },
          deep: { name: 'Deep', url: `${new URL(upstream.url).origin}/v1/own/mcp`, alias: 'deep' },
          open_door: { name: 'Open', url: upstream.url, auth_required: false },
        },
      },
    })
    fetch = underAnyName(house, name !== 'in process')
    ;({ port } = new URL(house.origin))
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  beforeEach(() => void (upstream.heard.length = 0))

  const resources = (): string[] => [
    at('mcp.exact.localhost', '/mcp'),
    at('echo.base.localhost', '/mcp'),
    at('deep-enc.root.localhost', '/v1/own/mcp'),
    at('deep.base.localhost', '/mcp'),
    at(atlassian, '/v1/mcp'),
  ]

  it('challenges at each address with the metadata of that address, on its own host [B1] [H-A8]', async () => {
    for (const resource of resources()) {
      const { origin, pathname } = new URL(resource)
      const answer = await fetch(resource, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(call()),
      })
      expect([resource, answer.status]).toEqual([resource, 401])
      const metadata = `${origin}/.well-known/oauth-protected-resource${pathname}`
      expect(answer.headers.get('www-authenticate')).toContain(`resource_metadata="${metadata}"`)
      expect(await json(metadata)).toMatchObject({
        resource,
        authorization_servers: [house.origin],
        scopes_supported: ['mcp'],
      })
      // RFC 9728 §3: the root of a host with one server means that one.
      expect(await json(`${origin}/.well-known/oauth-protected-resource`)).toMatchObject({ resource })
    }
    expect(upstream.heard).toEqual([])
  })

  it('carries a call from each address to the same server, and the token of one address is for that service alone [A10]', async () => {
    for (const resource of resources().slice(0, 3)) {
      const token = await tokenOf(house, ana, resource)
      const caller = callerOf({ ...house, fetch }, resource, token)
      expect([resource, (await caller.post(call())).status]).toEqual([resource, 200])
      expect(upstream.heard.at(-1)?.url).toBe(resource.includes('deep') ? '/v1/own/mcp' : '/mcp')
      const other = resource.includes('deep')
        ? at('echo.base.localhost', '/mcp')
        : at('deep.base.localhost', '/mcp')
      expect((await callerOf({ ...house, fetch }, other, token).post(call())).status).toBe(401)
    }
    expect(
      (await callerOf({ ...house, fetch }, at('open-door.base.localhost', '/mcp/below?x=1'), '').post(call()))
        .status,
    ).toBe(200)
    expect(upstream.heard.at(-1)?.url).toBe('/mcp/below?x=1')
  })

  it('answers authorization server metadata at the root of every host, with the one issuer [A2] [A15]', async () => {
    for (const resource of [...resources(), `${house.origin}/echo/mcp`]) {
      const { origin } = new URL(resource)
      for (const name of ['oauth-authorization-server', 'openid-configuration']) {
        expect(await json(`${origin}/.well-known/${name}`)).toMatchObject({
          issuer: house.origin,
          token_endpoint: `${house.origin}/oauth/token`,
          registration_endpoint: `${house.origin}/oauth/register`,
        })
      }
    }
  })

  it('leads clients without metadata from the default endpoints of a host to the issuer, with the resource they mean [A15]', async () => {
    const origin = at('deep-enc.root.localhost')
    const metadata = await json(`${origin}/.well-known/oauth-authorization-server`)
    expect(metadata['authorization_endpoint']).toBe(`${origin}/authorize`)
    const asked = await fetch(`${origin}/authorize?response_type=code&client_id=x&state=a%20b`)
    expect([asked.status, new URL(asked.headers.get('location') ?? '').origin]).toEqual([307, house.origin])
    expect(Object.fromEntries(new URL(asked.headers.get('location') ?? '').searchParams)).toEqual({
      response_type: 'code',
      client_id: 'x',
      state: 'a b',
      resource: at('deep-enc.root.localhost', '/v1/own/mcp'),
    })
    const named = await fetch(
      `${origin}/authorize?resource=${encodeURIComponent('https://elsewhere.test/mcp')}`,
    )
    expect(new URL(named.headers.get('location') ?? '').searchParams.getAll('resource')).toEqual([
      'https://elsewhere.test/mcp',
    ])
    for (const path of ['token', 'register']) {
      const moved = await fetch(`${origin}/${path}`, {
        method: 'POST',
        body: 'x=1',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      })
      expect([
        moved.status,
        moved.headers.get('location'),
        moved.headers.get('access-control-allow-origin'),
      ]).toEqual([307, `${house.origin}/oauth/${path}`, '*'])
    }
  })

  it('keeps pages, cookies and every other endpoint on the issuer’s host', async () => {
    for (const path of [
      '/',
      '/login',
      '/oauth/authorize',
      '/oauth/consent',
      '/oauth/token',
      '/oauth/callback',
      '/services',
      '/encode?domain=a.com',
      '/echo/mcp',
      '/deep/mcp',
    ]) {
      const answer = await fetch(at('deep-enc.root.localhost', path), { headers: { accept: 'text/html' } })
      expect([path, answer.status, answer.headers.get('set-cookie')]).toEqual([path, 404, null])
    }
    expect((await fetch(at('deep-enc.root.localhost', '/healthz'))).status).toBe(200)
    const page = await fetch(at('deep-enc.root.localhost', '/v1/own/mcp'), {
      headers: { accept: 'text/html' },
    })
    expect([
      page.status,
      (await page.text()).replaceAll(/<[^>]*>/g, '').includes(at('deep-enc.root.localhost', '/v1/own/mcp')),
    ]).toEqual([200, true])
    expect(upstream.heard).toEqual([])
  })
})
