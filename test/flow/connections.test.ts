// Upstreams with a login of their own: each person connects an account once, and calls are made with it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { callbackPathOf } from '../../src/kit/urls.ts'
import { connectAt, linkIn, logInThrough, through } from '../runtimes/connecting.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, runtimes, openOnSocket } from '../runtimes/runtimes.ts'
import { allow, person } from '../runtimes/login.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { call, modernCall, modernHeaders, until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const hour = 3_600_000
const textOf = async (response: Response): Promise<string> => response.text()

describe.each(runtimes)('%s', (_name, open) => {
  let echo: Upstream
  let far: FarServer
  let second: TestGateway
  let house: TestGateway
  beforeAll(async () => {
    echo = await openUpstream()
    far = await openFarServer()
    second = await openOnSocket({ upstream: echo.url })
    house = await open({
      upstream: echo.url,
      config: {
        local_users: [ana, yamada],
        mcp_services: {
          far: { name: 'Far', url: far.url, timeout: 60_000 },
          again: { name: 'Again', url: far.url, upstream_auth: { type: 'oauth' } },
          postern: { name: 'Other gateway', url: `${second.origin}/echo/mcp` },
          key: {
            name: 'Key',
            url: echo.url,
            upstream_auth: { type: 'static', token: 'a-token-for-all', headers: { 'X-Api-Key': 'k-1' } },
          },
          machine: {
            name: 'Machine',
            url: far.url,
            upstream_auth: {
              type: 'client_credentials',
              issuer: far.origin,
              client_id: 'gateway',
              client_secret: 'a secret of the gateway alone',
            },
          },
          written: {
            name: 'Written',
            url: far.url,
            upstream_auth: {
              type: 'oauth',
              issuer: far.origin,
              authorization_endpoint: `${far.origin}/authorize`,
              token_endpoint: `${far.origin}/token`,
              client_id: 'written',
              redirect_uri: 'http://localhost:8080/oauth/callback',
              client_secret: 'the-secret-of-the-written-client',
              scopes: ['a', 'b'],
              extra_params: { audience: 'x', client_id: 'nobody' },
            },
          },
          quiet: { name: 'Quiet', url: far.url, upstream_auth: { type: 'none' } },
        },
      },
    })
  })
  afterAll(async () => {
    await house.close()
    await second.close()
    await far.close()
    await echo.close()
  })

  it('takes a person through the upstream’s own login once, with nothing configured, and calls it with their token [D1, D2, D3, D4] [H-K1]', async () => {
    const { caller, consent } = await logInThrough(house, 'far')
    expect(consent.body).toContain('will also ask for your approval')
    expect(consent.body).toContain(new URL(far.url).host)
    const answer = await caller.post(call())
    expect([answer.status, await textOf(answer)]).toEqual([200, expect.stringContaining('access-')])
    const asked = far.asked.find(({ path }) => path === '/authorize')?.fields
    expect(asked).toMatchObject({
      response_type: 'code',
      code_challenge_method: 'S256',
      resource: far.url,
      redirect_uri: `${house.origin}${await callbackPathOf(far.origin)}`,
    })
    expect(asked?.['state']).toMatch(/^up_[\w-]{43}$/)
    expect(
      far.asked.find(({ path, fields }) => path === '/token' && fields['grant_type'] === 'authorization_code')
        ?.fields,
    ).toMatchObject({ resource: far.url })
    expect(JSON.stringify(far.calls)).not.toContain(caller.token)
    expect(JSON.stringify(house.log)).not.toMatch(/access-\d|refresh-\d|code-\d/)
  })

  it('asks nobody twice: another client of the same person finds the account connected', async () => {
    const before = far.count('/authorize')
    const { caller, consent } = await logInThrough(house, 'far')
    expect(consent.body).not.toContain('will also ask for your approval')
    expect((await caller.post(call())).status).toBe(200)
    expect(far.count('/authorize')).toBe(before)
  })

  it('gives each person an account of their own [D3]', async () => {
    const { caller } = await logInThrough(house, 'far', { who: yamada })
    const [mine, theirs] = [
      await textOf(await caller.post(call())),
      await textOf(await (await logInThrough(house, 'far')).caller.post(call())),
    ]
    expect(mine).not.toBe(theirs)
  })

  it('stands in front of another gateway of its kind as in front of any upstream', async () => {
    const there = createBrowser(second.fetch, second.origin)
    const { caller } = await logInThrough(house, 'postern', {
      way: async (url) => (await allow(there, url, person)).href,
    })
    const answer = (await (await caller.post(call())).json()) as {
      result: { headers: Record<string, string> }
    }
    expect(answer.result.headers).toMatchObject({ 'x-user-id': 'ana' })
    second.advance(2 * hour)
    house.advance(2 * hour)
    const fresh = await logInThrough(house, 'postern')
    expect((await fresh.caller.post(call())).status).toBe(200)
  })

  it('renews a token that has run out with one request, however many calls wait [D7] [H-H15]', async () => {
    const { caller } = await logInThrough(house, 'far')
    await caller.post(call())
    const before = far.count('/token', 'refresh_token')
    house.advance(hour + 1000)
    far.expire()
    const fresh = await logInThrough(house, 'far')
    const answers = await Promise.all(Array.from({ length: 40 }, () => fresh.caller.post(call())))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    await Promise.all(answers.map((answer) => answer.text()))
    expect(far.count('/token', 'refresh_token') - before).toBe(1)
  })

  it('renews a token that the upstream refuses before its time, and makes the call again [D7]', async () => {
    const { caller } = await logInThrough(house, 'far')
    far.expire()
    const before = far.count('/token', 'refresh_token')
    const answers = await Promise.all(Array.from({ length: 20 }, () => caller.post(call())))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    expect(far.count('/token', 'refresh_token') - before).toBe(1)
  })

  it('says what is missing in the form of each revision, and the link leads to a working call [D6] [C12]', async () => {
    const { caller, browser } = await logInThrough(house, 'far', { who: yamada })
    far.revoke()
    const tool = (await (await caller.post(call(), { 'mcp-protocol-version': '2025-06-18' })).json()) as {
      result: { isError: boolean; content: { text: string }[] }
    }
    expect(tool.result.isError).toBe(true)
    const link = linkIn(tool.result.content[0]?.text ?? '')
    expect(link).toMatch(new RegExp(`^${house.origin}/connect/far\\?for=[\\w-]{22}$`))
    expect(
      await (
        await caller.post(
          { jsonrpc: '2.0', id: 3, method: 'tools/list' },
          { 'mcp-protocol-version': '2025-06-18' },
        )
      ).json(),
    ).toMatchObject({ id: 3, error: { code: 1403, message: expect.stringContaining(link) as string } })
    expect(await (await caller.post(call(), { 'mcp-protocol-version': '2025-11-25' })).json()).toMatchObject({
      id: 7,
      error: { code: -32_042, data: { elicitations: [{ mode: 'url', url: link }] } },
    })
    expect(await (await caller.post(modernCall(), modernHeaders())).json()).toMatchObject({
      error: { code: 1403, data: { url: link } },
    })
    const asking = structuredClone(modernCall())
    Object.assign(asking.params._meta, {
      'io.modelcontextprotocol/clientCapabilities': { elicitation: { url: {} } },
    })
    const { result } = (await (await caller.post(asking, modernHeaders())).json()) as {
      result: {
        resultType: string
        requestState: string
        inputRequests: Record<string, { method: string; params: Record<string, string> }>
      }
    }
    expect(result).toMatchObject({
      resultType: 'input_required',
      inputRequests: {
        postern_connect: { method: 'elicitation/create', params: { mode: 'url', url: link } },
      },
    })
    expect(far.calls.every(({ message }) => !JSON.stringify(message).includes('postern'))).toBe(true)

    const page = await connectAt(house, link, { who: yamada, browser, fields: {} })
    expect([page.status, page.body]).toEqual([200, expect.stringContaining('You can return to your app.')])
    const retry = {
      ...asking,
      id: 8,
      params: {
        ...asking.params,
        requestState: result.requestState,
        inputResponses: { postern_connect: { action: 'accept' } },
      },
    }
    expect(await (await caller.post(retry, modernHeaders())).json()).toMatchObject({
      id: 8,
      result: { content: [{ type: 'text' }] },
    })
    expect(JSON.stringify(far.calls.at(-1)?.message)).not.toMatch(/requestState|inputResponses/)
    expect(
      await (
        await caller.post({ ...retry, params: { ...retry.params, name: 'other' } }, modernHeaders('other'))
      ).json(),
    ).toMatchObject({ error: { code: -32_600 } })
  })

  it('asks for more when the upstream does, once, and keeps what was granted [D4]', async () => {
    const { caller, browser } = await logInThrough(house, 'again', { who: ana })
    far.script.needs = () => ['files:write']
    const first = await textOf(await caller.post(call()))
    expect(first).toContain('files:write')
    await connectAt(house, linkIn(first), { browser })
    expect(
      far.asked
        .filter(({ path }) => path === '/authorize')
        .at(-1)
        ?.fields['scope']?.split(' '),
    ).toContain('files:write')
    expect((await caller.post(call())).status).toBe(200)
    far.script.grants = (scope) => scope.replace('never', '')
    far.script.needs = () => ['never']
    await connectAt(house, linkIn(await textOf(await caller.post(call()))), { browser })
    expect(
      far.asked
        .filter(({ path }) => path === '/authorize')
        .at(-1)
        ?.fields['scope']?.split(' '),
    ).toEqual(expect.arrayContaining(['files:write', 'never']))
    const stop = await caller.post(call())
    expect([stop.status, await stop.json()]).toEqual([
      403,
      expect.objectContaining({ error: expect.objectContaining({ code: 1403 }) as unknown }),
    ])
    far.script.needs = () => []
    far.script.grants = (scope) => scope
  })

  it('lets a person keep several accounts, choose one, and take one back, which revokes it there', async () => {
    const { caller, browser } = await logInThrough(house, 'far', { who: ana })
    const first = await textOf(await caller.post(call()))
    const page = await connectAt(house, `${house.origin}/connect/far`, {
      browser,
      fields: { action: 'connect', account: 'work' },
    })
    expect(page.body).toContain('work')
    expect(await textOf(await caller.post(call()))).toBe(first)
    const submit = (fields: Record<string, string>) =>
      browser.go('/connect/far').then((shown) => browser.submit(shown, '/connect/far', fields))
    await submit({ action: 'choose', account: 'work' })
    const other = await textOf(await caller.post(call()))
    expect(other).not.toBe(first)
    const revoked = far.count('/revoke')
    await submit({ action: 'disconnect', account: 'work' })
    await until(() => far.count('/revoke') >= revoked + 2, 'the revocation')
    expect(await textOf(await caller.post(call()))).toBe(first)
  })

  it('sends a token for all, or one of its own, or none, as the operator wrote, and no caller speaks in its place [D9] [H-K1]', async () => {
    const key = callerOf(
      house,
      `${house.origin}/key/mcp`,
      await tokenOf(house, ana, `${house.origin}/key/mcp`),
    )
    const heard = (await (await key.post(call(), { 'x-api-key': 'mine', x_api_key: 'mine too' })).json()) as {
      result: { headers: Record<string, string> }
    }
    expect(heard.result.headers).toMatchObject({
      authorization: 'Bearer a-token-for-all',
      'x-api-key': 'k-1',
    })
    const machine = callerOf(
      house,
      `${house.origin}/machine/mcp`,
      await tokenOf(house, ana, `${house.origin}/machine/mcp`),
    )
    expect(
      (await Promise.all([machine.post(call()), machine.post(call())])).map(({ status }) => status),
    ).toEqual([200, 200])
    expect(far.count('/token', 'client_credentials')).toBe(1)
    far.expire()
    expect((await machine.post(call())).status).toBe(200)
    expect(far.count('/token', 'client_credentials')).toBe(2)
    const quiet = callerOf(
      house,
      `${house.origin}/quiet/mcp`,
      await tokenOf(house, ana, `${house.origin}/quiet/mcp`),
    )
    expect([(await quiet.post(call())).status]).toEqual([502])
  })

  it('signs in to servers of 2025-03-26: metadata at the origin, or endpoints at the default paths [D1]', async () => {
    for (const absent of [
      ['/.well-known/oauth-protected-resource/mcp'],
      ['/.well-known/oauth-protected-resource/mcp', '/.well-known/oauth-authorization-server'],
    ]) {
      far.script.absent = new Set(absent)
      far.script.challenge = () => undefined
      const before = far.count('/authorize')
      const page = await connectAt(house, `${house.origin}/connect/again`, {
        fields: { action: 'connect', account: `old ${absent.length}` },
      })
      expect([page.status, far.count('/authorize') - before]).toEqual([200, 1])
    }
    far.script.absent = new Set()
    far.script.challenge = (usual) => usual
  })

  it('uses what the operator registered, and asks nobody where that is [D3]', async () => {
    const before = far.asked.length
    // The address of the first gateway of this kind, where the operator wrote it: answers come there too.
    const page = await connectAt(house, `${house.origin}/connect/written`, {
      way: async (url) => (await through(url)).replace('http://localhost:8080', house.origin),
    })
    expect(page.status).toBe(200)
    const asked = far.asked.slice(before)
    expect(asked.map(({ path }) => path)).toEqual(['/authorize', '/token'])
    expect(asked[0]?.fields).toMatchObject({
      client_id: 'written',
      scope: 'a b',
      redirect_uri: 'http://localhost:8080/oauth/callback',
      audience: 'x',
    })
    const [, basic = ''] = (asked[1]?.headers.authorization ?? '').split(' ')
    expect(decodeURIComponent(atob(basic))).toBe('written:the-secret-of-the-written-client')
  })

  it('finds a service by id and by host', async () => {
    const start = (server: string) =>
      house.fetch(`${house.origin}/oauth/start${server}`, { redirect: 'manual' })
    expect((await start('?server=far')).headers.get('location')).toBe('/connect/far')
    expect((await start(`?server=${new URL(far.url).host}`)).headers.get('location')).toBe('/connect/far')
    expect([(await start('')).status, (await start('?server=nobody')).status]).toEqual([400, 400])
    expect(
      (await house.fetch(`${house.origin}/connect/far`, { redirect: 'manual' })).headers.get('location'),
    ).toBe('/login?return_to=%2Fconnect%2Ffar')
  })
})
