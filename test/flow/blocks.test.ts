// What administrators see and end over HTTP: grants by user, client and service, and blocks, which last until they
// are lifted.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { allow, authorizeUrl, logIn, redeem, refresh, register } from '../runtimes/login.ts'
import { ana, callerOf, type Somebody, yamada } from '../runtimes/people.ts'
import { call, endsWithin } from '../runtimes/proxied.ts'
import { type TestGateway, openOnSocket, runtimes } from '../runtimes/runtimes.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

interface Listed {
  readonly id: string
  readonly user: string
  readonly client: string
  readonly service: string
}

describe.each(runtimes)('%s', (_, open) => {
  let house: TestGateway
  let upstream: Upstream
  let admin: Administrator
  const resource = (id = 'echo') => `${house.origin}/${id}/mcp`
  beforeAll(async () => {
    upstream = await openUpstream((request, response, body) => {
      if (request.method === 'GET')
        return void response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': here\n\n')
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(
        JSON.stringify({ jsonrpc: '2.0', id: (JSON.parse(body) as { id: unknown }).id, result: {} }),
      )
    })
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [ana, yamada],
        admins: ['ANA@example.com'],
        mcp_services: {
          other: { name: 'Other', url: upstream.url },
          open: { url: upstream.url, auth_required: false },
        },
      },
    })
    admin = await signInAs(house, ana)
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  const ask = async (method: string, path: string, body?: unknown, who = admin) => {
    const answer = await who.ask(method, path, body)
    return {
      status: answer.status,
      body: answer.body === '' ? {} : (JSON.parse(answer.body) as Record<string, unknown>),
    }
  }
  const status = async (token: string, id = 'echo'): Promise<number> =>
    (await callerOf(house, resource(id), token).post(call())).status
  const browserOf = () => createBrowser(house.fetch, house.origin)
  const credentials = ({ username, password }: Somebody) => ({ username, password })
  const login = (who: Somebody, id = 'echo') => logIn(house, resource(id), browserOf(), credentials(who))
  const listed = async (query = '') =>
    ((await ask('GET', `/api/grants${query}`)).body as { grants: readonly Listed[] }).grants
  const endAll = async () => {
    for (const id of ['echo', 'other']) await ask('DELETE', `/api/grants?service=${id}`)
  }

  it('lists grants by user, client and service, shows one, and ends one or all, counted first', async () => {
    await endAll()
    const [one, two, three] = [await login(ana), await login(yamada), await login(yamada, 'other')]
    expect((await listed()).map(({ user, service }) => `${user} ${service}`).toSorted()).toEqual([
      'local:ana echo',
      'local:yamada echo',
      'local:yamada other',
    ])
    expect(await listed('?user=TARO@example.com')).toHaveLength(2)
    expect(await listed(`?client=${two.client.id}`)).toMatchObject([
      { user: 'local:yamada', service: 'echo' },
    ])
    expect(await listed('?user=local:ana&service=other')).toEqual([])
    const [grant] = await listed('?user=local:ana')
    expect((await ask('GET', `/api/grants/${grant?.id}`)).body).toMatchObject({
      ...grant,
      client_name: 'Flow test',
      client_kind: 'dynamic',
      redirect_host: '127.0.0.1:5000',
      last_used_at: expect.any(String),
    })
    expect((await ask('DELETE', '/api/grants?user=local:yamada&dry_run=1')).body).toEqual({
      // A process that serves counts the calls that run in it.
      would_end: { grants: 2, users: 1, clients: 2, ...(open === openOnSocket && { running_calls: 0 }) },
    })
    expect(await status(three.tokens.access_token, 'other')).toBe(200)
    expect((await ask('DELETE', `/api/grants/${grant?.id}`)).status).toBe(204)
    expect([await status(one.tokens.access_token), await status(two.tokens.access_token)]).toEqual([401, 200])
    expect((await ask('DELETE', '/api/grants?user=local:yamada')).body).toEqual({
      ended: { grants: 2, users: 1, clients: 2 },
      ...(open === openOnSocket && { processes: 1, applied: 1, ms: expect.any(Number) as number }),
    })
    expect([await status(two.tokens.access_token), await status(three.tokens.access_token, 'other')]).toEqual(
      [401, 401],
    )
    expect((await ask('DELETE', `/api/grants/${grant?.id}`)).status).toBe(404)
    expect((await ask('DELETE', '/api/grants')).status).toBe(400)
  })

  it('a blocked app of a user is ended, and cannot be had again until it is unblocked; others can', async () => {
    const { client, tokens, browser } = await login(yamada)
    const asking = authorizeUrl(house, client, { resource: resource() })
    const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
    const party = { user: 'local:yamada', client: client.id }
    expect(await ask('POST', '/api/blocks', party)).toMatchObject({
      status: 201,
      body: { ended: { users: 1, clients: 1 } },
    })
    expect(await status(tokens.access_token)).toBe(401)
    for (const answer of [
      await refresh(house, client, tokens.refresh_token),
      await redeem(house, client, code, asking.verifier),
    ])
      expect([answer.status, await answer.json()]).toMatchObject([400, { error: 'invalid_grant' }])
    // The person approved this app before, so that the app is told.
    const refused = await browser.go(authorizeUrl(house, client, { resource: resource() }).url)
    expect([refused.status, new URL(refused.url).searchParams.get('error')]).toEqual([0, 'access_denied'])
    const another = await login(yamada)
    expect(await status(another.tokens.access_token)).toBe(200)
    expect((await ask('GET', '/api/blocks')).body).toMatchObject({ blocks: [{ ...party, by: 'local:ana' }] })
    const lift = `/api/blocks?user=local:yamada&client=${client.id}`
    expect((await ask('DELETE', lift)).status).toBe(204)
    expect((await ask('DELETE', lift)).status).toBe(404)
    const again = authorizeUrl(house, client, { resource: resource() })
    const back = await allow(browser, again.url)
    const redeemed = await redeem(house, client, back.searchParams.get('code') ?? '', again.verifier)
    expect(redeemed.status).toBe(200)
  })

  it('a blocked app that nobody approved yet is explained on a page; a blocked user cannot sign in', async () => {
    const client = await register(house)
    await ask('POST', '/api/blocks', { client: client.id })
    const browser = browserOf()
    const asked = await browser.go(authorizeUrl(house, client, { resource: resource() }).url)
    const page = await browser.submit(asked, '/login', credentials(yamada))
    expect([page.status, page.body]).toEqual([403, expect.stringContaining('Access blocked')])
    const kept = await login(yamada)
    const open = await signInAs(house, yamada)
    expect((await ask('POST', '/api/blocks', { user: 'TARO@example.com' })).status).toBe(201)
    expect(await status(kept.tokens.access_token)).toBe(401)
    expect((await open.browser.go('/account/apps')).url).toContain('/login')
    const stranger = browserOf()
    const denied = await stranger.submit(await stranger.go('/login'), '/login', credentials(yamada))
    expect([denied.status, denied.body]).toEqual([403, expect.stringContaining('Account blocked')])
    expect(stranger.cookies.has(stranger.session)).toBe(false)
    expect((await ask('DELETE', '/api/blocks?user=TARO@example.com')).status).toBe(204)
    expect((await ask('DELETE', `/api/blocks?client=${client.id}`)).status).toBe(204)
    expect(await status((await login(yamada)).tokens.access_token)).toBe(200)
  })

  it('a locked gateway refuses every MCP request and goes on with everything else', async () => {
    const { tokens } = await login(yamada)
    const streams = [
      await callerOf(house, resource(), tokens.access_token).get(),
      await callerOf(house, resource('open'), '').get(),
    ]
    expect([await status(tokens.access_token), ...streams.map((one) => one.status)]).toEqual([200, 200, 200])
    expect((await ask('PUT', '/api/lock')).status).toBe(204)
    expect((await ask('PUT', '/api/lock')).status).toBe(204)
    const refused = await callerOf(house, resource(), tokens.access_token).post(call())
    expect([refused.status, refused.headers.get('retry-after'), await refused.json()]).toMatchObject([
      503,
      '60',
      { error: { data: { code: 'gateway.locked' } } },
    ])
    await endsWithin(5000, house, Promise.all(streams.map((one) => one.text())))
    expect(await status((await login(yamada, 'other')).tokens.access_token, 'other')).toBe(503)
    expect((await callerOf(house, resource('open'), '').post(call())).status).toBe(503)
    expect((await ask('GET', '/api/lock')).body).toMatchObject({
      locked: true,
      by: 'local:ana',
      disabled: [],
    })
    expect((await ask('GET', '/api/grants')).status).toBe(200)
    expect((await ask('DELETE', '/api/lock')).status).toBe(204)
    expect((await ask('GET', '/api/lock')).body).toEqual({ locked: false, disabled: [] })
    expect([
      await status(tokens.access_token),
      (await callerOf(house, resource('open'), '').post(call())).status,
    ]).toEqual([200, 200])
  })

  it('a disabled service refuses every request to it, and others go on', async () => {
    const [one, two] = [await login(yamada), await login(yamada, 'other')]
    expect((await ask('PUT', '/api/services/echo/disabled')).status).toBe(204)
    expect([await status(one.tokens.access_token), await status(two.tokens.access_token, 'other')]).toEqual([
      503, 200,
    ])
    expect((await ask('GET', '/api/lock')).body).toMatchObject({
      locked: false,
      disabled: [{ service: 'echo', by: 'local:ana' }],
    })
    expect((await ask('PUT', '/api/services/nothing/disabled')).status).toBe(404)
    expect((await ask('DELETE', '/api/services/echo/disabled')).status).toBe(204)
    expect(await status(one.tokens.access_token)).toBe(200)
  })

  it('a blocked domain is that of every client whose document is there or below', async () => {
    expect(await ask('POST', '/api/blocks', { domain: 'Evil.Example' })).toMatchObject({ status: 201 })
    expect((await ask('GET', '/api/blocks')).body).toMatchObject({ blocks: [{ domain: 'evil.example' }] })
    expect((await ask('DELETE', '/api/blocks?domain=EVIL.example')).status).toBe(204)
    const { client, tokens } = await login(yamada)
    await ask('POST', '/api/blocks', { domain: '127.0.0.1' })
    expect([client.id.startsWith('https:'), await status(tokens.access_token)]).toEqual([false, 200])
    await ask('DELETE', '/api/blocks?domain=127.0.0.1')
    for (const body of [
      { domain: 'https://evil.example' },
      { domain: 'evil.example/x' },
      { domain: 'evil' },
      { domain: '*.example' },
      { domain: 'evil.example', client: 'x' },
      { domain: '' },
      { domain: 7 },
    ])
      expect([body, (await ask('POST', '/api/blocks', body)).status]).toEqual([body, 400])
  })

  it('ends all browser sessions of a user', async () => {
    const open = await signInAs(house, yamada)
    expect((await ask('DELETE', '/api/sessions?user=local:yamada')).body['sessions']).toBeGreaterThan(0)
    expect((await open.browser.go('/account/apps')).url).toContain('/login')
    expect((await ask('DELETE', '/api/sessions')).status).toBe(400)
  })

  it('is for administrators alone, from pages of this gateway, and none blocks themselves', async () => {
    const { tokens } = await login(yamada)
    const [grant] = await listed('?user=local:yamada')
    const other = await signInAs(house, yamada)
    const paths: [string, string, unknown?][] = [
      ['GET', '/api/grants'],
      ['GET', `/api/grants/${grant?.id}`],
      ['DELETE', `/api/grants/${grant?.id}`],
      ['DELETE', '/api/grants?user=local:yamada'],
      ['GET', '/api/blocks'],
      ['POST', '/api/blocks', { user: 'local:ana' }],
      ['DELETE', '/api/blocks?user=local:ana'],
      ['DELETE', '/api/sessions?user=local:ana'],
      ['GET', '/api/lock'],
      ['PUT', '/api/lock'],
      ['DELETE', '/api/lock'],
      ['PUT', '/api/services/echo/disabled'],
      ['DELETE', '/api/services/echo/disabled'],
    ]
    for (const [method, path, body] of paths) {
      expect([path, (await ask(method, path, body, other)).status]).toEqual([path, 403])
      for (const headers of [{ origin: 'https://evil.example' }, { 'x-csrf-token': other.csrf }] as Record<
        string,
        string
      >[])
        if (method !== 'GET')
          expect([path, (await admin.ask(method, path, body, headers)).status]).toEqual([path, 403])
      const bare = await house.fetch(`${house.origin}${path}`, { method, ...(body ? { body: '{}' } : {}) })
      expect([path, bare.status]).toEqual([path, 401])
    }
    for (const body of [{ user: 'local:ana' }, { user: 'Ana@Example.com' }, {}, { user: 7 }, []])
      expect([body, (await ask('POST', '/api/blocks', body)).status]).toEqual([body, 400])
    for (const id of ['x', '..%2Fsession', `${grant?.id}x`, 'A'.repeat(32)])
      expect([id, (await ask('GET', `/api/grants/${id}`)).status]).toEqual([id, 404])
    expect(await status(tokens.access_token)).toBe(200)
  })

  describe('the page', () => {
    const path = '/account/access'
    const textOf = (body: string): string =>
      body
        .slice(body.indexOf('<main'))
        .replaceAll(/<[^>]+>/g, ' ')
        .replaceAll(/\s+/g, ' ')
    const act = (fields: Record<string, string>, query = '', who = admin, headers = {}) =>
      who.browser.go(`${house.origin}${path}${query}`, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          'origin': house.origin,
          'sec-fetch-site': 'same-origin',
          ...headers,
        },
        body: new URLSearchParams({ csrf: who.csrf, ...fields }).toString(),
      })

    it('shows who may use what through which app, by user, app and service, and ends one or all', async () => {
      await endAll()
      const [one, two] = [await login(ana), await login(yamada)]
      const other = await login(yamada, 'other')
      const whole = await admin.browser.go(path)
      expect([whole.status, /<h1[^>]*>(.*?)<\/h1>/.exec(whole.body)?.[1]]).toEqual([
        200,
        '3 apps of 2 users have access',
      ])
      const shown = await admin.browser.go(`${path}?user=local:yamada&service=other`)
      const today = new Date().toISOString().slice(0, 10)
      expect(textOf(shown.body)).toMatch(
        new RegExp(
          `1 app of 1 user has access .* local:yamada Flow test Unverified name, sends back to 127\\.0\\.0\\.1:5000 Other .*${today} ${today} from this computer End `,
        ),
      )
      expect(textOf(shown.body)).toContain('postern grants ls --user local:yamada --service other')
      expect(textOf((await admin.browser.go(`${path}?user=local:nobody`)).body)).toContain(
        'Nothing matches this filter',
      )
      const [grant] = await listed('?user=local:ana')
      expect((await act({ action: 'end', grant: grant?.id ?? '' }, '?user=local:ana')).url).toBe(
        `${house.origin}${path}?user=local%3Aana`,
      )
      const again = await act({ action: 'end', grant: grant?.id ?? '' }, '?user=local:ana')
      expect([again.status, again.url]).toEqual([200, `${house.origin}${path}?user=local%3Aana`])
      expect([await status(one.tokens.access_token), await status(two.tokens.access_token)]).toEqual([
        401, 200,
      ])
      await act({ action: 'end-all' }, '?user=local:yamada')
      expect([
        await status(two.tokens.access_token),
        await status(other.tokens.access_token, 'other'),
      ]).toEqual([401, 401])
      expect(textOf((await admin.browser.go(path)).body)).toContain('No app has access')
      expect([(await act({ action: 'end-all' })).status, (await act({ action: 'toString' })).status]).toEqual(
        [400, 400],
      )
    })

    it('blocks, unblocks and signs out a user', async () => {
      const { tokens } = await login(yamada)
      const open = await signInAs(house, yamada)
      await act({ action: 'sign-out', user: 'local:yamada' })
      expect([(await open.browser.go('/account/apps')).url, await status(tokens.access_token)]).toEqual([
        expect.stringContaining('/login'),
        200,
      ])
      await act({ action: 'block', user: 'local:yamada' }, '?user=local:yamada')
      expect(await status(tokens.access_token)).toBe(401)
      expect(textOf((await admin.browser.go(path)).body)).toMatch(
        /Blocked .* local:yamada Any app .* by local:ana/,
      )
      await act({ action: 'unblock', user: 'local:yamada' })
      expect((await ask('GET', '/api/blocks')).body).toEqual({ blocks: [] })
      expect((await act({ action: 'block', user: 'ANA@example.com' })).status).toBe(400)
    })

    it('is for administrators alone, by forms of its own; others do not see the way there', async () => {
      const other = await signInAs(house, yamada)
      const { tokens } = await login(yamada)
      expect((await browserOf().go(path)).url).toBe(`${house.origin}/login?return_to=%2Faccount%2Faccess`)
      expect((await other.browser.go(path)).status).toBe(403)
      const end = { action: 'end-all' }
      const query = '?user=local:yamada'
      expect([
        (await act(end, query, other)).status,
        (await act({ ...end, csrf: other.csrf }, query)).status,
        (await act(end, query, admin, { 'origin': 'https://evil.example', 'sec-fetch-site': 'cross-site' }))
          .status,
      ]).toEqual([403, 403, 403])
      expect(await status(tokens.access_token)).toBe(200)
      const ways = await Promise.all([admin, other].map(({ browser }) => browser.go('/')))
      expect(ways.map(({ body }) => body.includes('<a href="/console">Console</a>'))).toEqual([true, false])
      expect((await admin.browser.go('/console/access')).body).toContain(`href="${path}"`)
    })
  })
})
