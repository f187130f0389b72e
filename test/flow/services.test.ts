// Services that come and go while the gateway runs: by an administrator, seen by every process, and nothing
// else restarts.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Browser, createBrowser, type Page } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, yamada } from '../runtimes/people.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

describe.each(runtimes)('%s', (_, open) => {
  let house: TestGateway
  let upstream: Upstream
  let admin: Browser
  let csrf: string

  const signIn = async (who: typeof ana): Promise<{ browser: Browser; csrf: string }> => {
    const browser = createBrowser(house.fetch, house.origin)
    await browser.submit(await browser.go(`${house.origin}/login`), '/login', {
      username: who.username,
      password: who.password,
    })
    const home = await browser.go(`${house.origin}/`)
    return { browser, csrf: /name="csrf" value="([^"]+)"/.exec(home.body)?.[1] ?? '' }
  }
  const ask = (
    browser: Browser,
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Page> =>
    browser.go(`${house.origin}${path}`, {
      method,
      headers: {
        accept: 'application/json',
        origin: house.origin,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        'x-csrf-token': csrf,
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })

  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: { admins: ['local:ana'], local_users: [ana, yamada] },
    })
    ;({ browser: admin, csrf } = await signIn(ana))
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  it('lists what the configuration holds, for administrators alone [H-P6]', async () => {
    const listed = JSON.parse((await ask(admin, 'GET', '/api/services')).body) as { services: unknown[] }
    expect(listed.services).toEqual([{ id: 'echo', name: 'Echo', url: upstream.url, from: 'config' }])
    expect((await house.fetch(`${house.origin}/api/services`)).status).toBe(401)
    const other = await signIn(yamada)
    for (const [method, path] of [
      ['GET', '/api/services'],
      ['GET', '/api/services/echo'],
      ['POST', '/api/services'],
      ['DELETE', '/api/services/echo'],
    ] as const) {
      expect([
        method,
        path,
        (
          await ask(other.browser, method, path, method === 'POST' ? {} : undefined, {
            'x-csrf-token': other.csrf,
          })
        ).status,
      ]).toEqual([method, path, 403])
    }
  })

  it('never changes anything for another site, another form or another method [H-P2]', async () => {
    const addition = { id: 'fresh', service: { url: 'https://mcp.example.com/mcp' } }
    expect((await ask(admin, 'POST', '/api/services', addition, { 'x-csrf-token': '' })).status).toBe(403)
    expect(
      (await ask(admin, 'POST', '/api/services', addition, { origin: 'https://evil.test' })).status,
    ).toBe(403)
    expect(
      (await ask(admin, 'POST', '/api/services', addition, { 'sec-fetch-site': 'cross-site' })).status,
    ).toBe(403)
    expect(
      (await ask(admin, 'POST', '/api/services', JSON.stringify(addition), { 'content-type': 'text/plain' }))
        .status,
    ).toBe(415)
    expect((await ask(admin, 'PUT', '/api/services', addition)).status).toBe(405)
    expect((await ask(admin, 'GET', '/api/services/fresh')).status).toBe(404)
  })

  it('never goes to an address that is not public because somebody typed it, and refuses what the configuration would refuse', async () => {
    const heard = upstream.heard.length
    const inner = await ask(admin, 'POST', '/api/services', { id: 'inner', service: { url: upstream.url } })
    expect([inner.status, (JSON.parse(inner.body) as { code: string }).code]).toEqual([
      422,
      'service.unusable',
    ])
    expect(upstream.heard.length).toBe(heard)
    for (const [id, service, code] of [
      ['oauth', { url: 'https://a.example/mcp' }, 'service.invalid'],
      ['x', { url: 'ftp://a.example/mcp' }, 'service.invalid'],
      ['x', { url: 'https://a.example/mcp', nonsense: 1 }, 'service.invalid'],
      ['x', { url: 'https://a.example/${HOME}' }, 'service.invalid'],
      ['x', { command: 'id' }, 'service.invalid'],
      ['X', { url: 'https://a.example/mcp' }, 'service.invalid'],
      ['echo', { url: 'https://a.example/mcp' }, 'service.taken'],
    ] as const) {
      const answer = JSON.parse((await ask(admin, 'POST', '/api/services', { id, service })).body) as {
        code: string
      }
      expect([id, service, answer.code]).toEqual([id, service, code])
    }
    expect((await ask(admin, 'DELETE', '/api/services/echo')).status).toBe(409)
    expect((await ask(admin, 'DELETE', '/api/services/nobody')).status).toBe(404)
  })
})
