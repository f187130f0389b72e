// A device without a browser (RFC 8628): it asks, a person answers in a browser elsewhere, and the device polls. Every
// request is made by hand, with the addresses that device and browser have.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { type Browser, type Page, createBrowser } from '../runtimes/browser.ts'
import { form } from '../runtimes/login.ts'
import { fromNetwork } from '../runtimes/networks.ts'
import { ana, callerOf, yamada } from '../runtimes/people.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, openInProcess, runtimes } from '../runtimes/runtimes.ts'

type Json = Readonly<Record<string, unknown>>
interface Answer {
  readonly status: number
  readonly body: Json
}

const grantType = 'urn:ietf:params:oauth:grant-type:device_code'
const boxSecret = 'Kq7vX2mZ9tLw4sRb8nYc1fHd6gJp3aUe'
const [office, elsewhere] = ['192.0.2.10', '198.51.100.7']

const config = {
  trusted_proxies: ['127.0.0.1'],
  admins: ['local:ana'],
  local_users: [ana, yamada],
  flows: {},
  // So long that no slow machine takes two polls for one too late.
  device: { clients: ['tv', 'box'], interval: '1m' },
  access: {
    allow: [
      { people: ['local:ana'], permissions: ['admin' as const] },
      { people: ['local:yamada'], services: ['ruled'], permissions: ['write' as const] },
    ],
  },
  clients: {
    tv: { name: 'Television' },
    box: {
      name: 'Box',
      token_endpoint_auth_method: 'client_secret_post' as const,
      client_secret: boxSecret,
    },
    web: { name: 'Web', redirect_uris: ['https://web.example/cb'] },
  },
}

describe.each(runtimes)('%s', (_, open) => {
  let upstream: RuledUpstream
  let gateway: RuntimeGateway
  let admin: Administrator
  beforeAll(async () => {
    upstream = await openRuledUpstream()
    gateway = await open({
      upstream: upstream.url,
      config: { ...config, mcp_services: { ruled: { url: upstream.url }, second: { url: upstream.url } } },
    })
    admin = await signInAs(gateway, ana)
  }, 120_000)
  afterAll(async () => {
    await gateway.close()
    await upstream.close()
  })

  const resource = (id = 'ruled') => `${gateway.origin}/${id}/mcp`
  const send = async (path: string, fields: Record<string, string>, ip = office): Promise<Answer> => {
    const answer = await fromNetwork(gateway, ip).fetch(`${gateway.origin}${path}`, form(fields))
    return { status: answer.status, body: (await answer.json()) as Json }
  }
  const ask = (fields: Record<string, string> = {}, ip = office) =>
    send('/oauth/device_authorization', { client_id: 'tv', resource: resource(), ...fields }, ip)
  const poll = async (device: Answer, fields: Record<string, string> = {}) =>
    send('/oauth/token', {
      grant_type: grantType,
      device_code: String(device.body['device_code']),
      client_id: 'tv',
      ...fields,
    })
  const errorOf = ({ status, body }: Answer) => [status, body['error'], body['code']]
  const browserOf = async (who = ana, ip = office): Promise<Browser> => {
    const browser = createBrowser(fromNetwork(gateway, ip).fetch, gateway.origin)
    const page = await browser.go(`${gateway.origin}/login`)
    await browser.submit(page, '/login', { username: who.username, password: who.password })
    return browser
  }
  const enter = async (browser: Browser, code: unknown): Promise<Page> =>
    browser.submit(await browser.go(`${gateway.origin}/device`), '/device', { user_code: String(code) })
  const decide = (browser: Browser, page: Page, decision: string) =>
    browser.submit(page, '/oauth/consent', { decision, preset: 'execute' })
  /** A device, and what its person answered. */
  const decided = async (decision = 'allow', who = ana, fields: Record<string, string> = {}) => {
    const device = await ask(fields)
    const browser = await browserOf(who)
    const page = await decide(browser, await enter(browser, device.body['user_code']), decision)
    return { device, browser, page }
  }
  const events = (name: string) =>
    gateway.log.filter(({ event }) => event === name).map(({ fields }) => fields)
  const block = async (user: string, method: 'POST' | 'DELETE') => {
    const answer = await (method === 'POST'
      ? admin.ask(method, '/api/blocks', { user })
      : admin.ask(method, `/api/blocks?user=${user}`))
    expect(answer.status, answer.body).toBeLessThan(300)
  }

  it('is announced where the operator has listed clients', async () => {
    const metadata = await (
      await gateway.fetch(`${gateway.origin}/.well-known/oauth-authorization-server`)
    ).json()
    expect(metadata).toMatchObject({
      device_authorization_endpoint: `${gateway.origin}/oauth/device_authorization`,
      grant_types_supported: ['authorization_code', 'refresh_token', grantType],
    })
  })

  it('a person allows a device by its code, and it gets a token for one service, once [H-W17, H-W18]', async () => {
    const device = await ask({ scope: 'mcp:write' }, elsewhere)
    expect(device).toMatchObject({
      status: 200,
      body: { verification_uri: `${gateway.origin}/device`, expires_in: 900, interval: 60 },
    })
    const { user_code, verification_uri_complete } = device.body
    expect(user_code).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/)
    expect(errorOf(await poll(device))).toEqual([400, 'authorization_pending', 'device.pending'])

    // A link only fills the field, and leads through the sign-in.
    const browser = createBrowser(fromNetwork(gateway, office).fetch, gateway.origin)
    const login = await browser.go(String(verification_uri_complete))
    const linked = await browser.submit(login, '/login', { username: ana.username, password: ana.password })
    expect(linked.url).toBe(verification_uri_complete)
    expect(linked.body).toContain(`value="${String(user_code)}"`)
    expect(linked.body).toContain('must be on a device in front of you')
    const consent = await browser.submit(linked, '/device', {})
    expect(consent.body).toContain('Allow <bdi>Television</bdi> to use')
    expect(consent.body).toContain(elsewhere)
    expect(consent.body).toContain('another network than yours')
    const done = await decide(browser, consent, 'allow')
    expect([done.status, done.body.includes('Access granted')]).toEqual([200, true])

    const tokens = await poll(device)
    expect(tokens).toMatchObject({
      status: 200,
      body: { token_type: 'Bearer', scope: 'mcp mcp:read mcp:write' },
    })
    const caller = callerOf(gateway, resource(), String(tokens.body['access_token']))
    const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'create', arguments: {} } }
    expect((await caller.post(call)).status).toBe(200)

    const refreshed = await send('/oauth/token', {
      grant_type: 'refresh_token',
      client_id: 'tv',
      refresh_token: String(tokens.body['refresh_token']),
    })
    expect(refreshed.status).toBe(200)
    const apps = await browser.go(`${gateway.origin}/account/apps`)
    expect(apps.body).toContain(
      `Device: it asked from <bdi>${elsewhere}</bdi>, and you approved it from <bdi>${office}`,
    )
    const listed = await admin.ask('GET', '/api/grants?client=tv')
    expect(JSON.parse(listed.body)).toMatchObject({ grants: [{ kind: 'device', redirect_host: '' }] })
    // Presented again long after: it leaked, and everything that came of it ends.
    gateway.advance(10_000)
    expect(errorOf(await poll(device))).toEqual([400, 'invalid_grant', 'device.replayed'])
    gateway.advance(1000)
    expect((await caller.post(call)).status).toBe(401)
    if (gateway.log.length > 0) {
      const [started] = events('device.started')
      expect(started).toMatchObject({ client: 'tv', from: elsewhere })
      expect(events('device.replayed')).toHaveLength(1)
      for (const written of [JSON.stringify(gateway.log)])
        for (const secret of ['device_code', 'user_code'])
          expect(written).not.toContain(String(device.body[secret]))
    }
  })

  it('a device that polls too fast waits longer, and is let through once it waits long enough [H-W21]', async () => {
    const device = await ask()
    expect((await poll(device)).body['error']).toBe('authorization_pending')
    for (let i = 0; i < 3; i++) expect(errorOf(await poll(device))).toEqual([400, 'slow_down', 'device.slow'])
    gateway.advance(61_000)
    expect((await poll(device)).body['error']).toBe('authorization_pending')
    gateway.advance(900_000)
    expect(errorOf(await poll(device))).toEqual([400, 'expired_token', 'device.expired'])
    const browser = await browserOf()
    expect((await enter(browser, device.body['user_code'])).status).toBe(400)
  })

  it('hears that it was denied, and so do the administrators of what somebody did not start', async () => {
    const { device, page } = await decided('deny')
    expect(page.body).toContain('Access denied')
    expect(errorOf(await poll(device))).toEqual([400, 'access_denied', 'device.denied'])
    const reported = await decided('report')
    expect(errorOf(await poll(reported.device))).toEqual([400, 'access_denied', 'device.denied'])
    // A code is decided once.
    expect((await enter(reported.browser, reported.device.body['user_code'])).status).toBe(400)
    if (gateway.log.length > 0) expect(events('device.reported')).toHaveLength(1)
    await expect
      .poll(async () => {
        const { flows } = JSON.parse((await admin.ask('GET', '/api/flows?client=tv&state=failed')).body) as {
          flows: readonly { finding?: Json }[]
        }
        return flows.map(({ finding }) => [finding?.['code'], finding?.['acts']])
      })
      .toContainEqual(['device.reported', 'operator'])
  })

  it('a confidential client authenticates at both endpoints', async () => {
    const box = { client_id: 'box', client_secret: boxSecret }
    expect((await ask({ client_id: 'box' })).status).toBe(401)
    expect((await ask({ ...box, client_secret: 'wrong' })).status).toBe(401)
    const { device } = await decided('allow', ana, box)
    expect((await poll(device, { client_id: 'box' })).status).toBe(401)
    expect((await poll(device, box)).status).toBe(200)
  })

  it('is refused to a client that is not listed, for a service that is not there, and for another client’s code [H-W17, H-W25b]', async () => {
    expect(errorOf(await ask({ client_id: 'web' }))).toEqual([400, 'unauthorized_client', 'client.grant'])
    expect((await ask({ client_id: 'nobody' })).status).toBe(401)
    expect(errorOf(await ask({ resource: `${gateway.origin}/none/mcp` }))).toEqual([
      400,
      'invalid_target',
      'resource.unknown',
    ])
    const { device } = await decided()
    expect((await poll(device, { client_id: 'web' })).body['error']).toBe('unauthorized_client')
    const box = { client_id: 'box', client_secret: boxSecret }
    expect(errorOf(await poll(device, box))).toEqual([400, 'invalid_grant', 'device.unknown'])
    expect(errorOf(await poll(device, { resource: resource('second') }))[1]).toBe('invalid_target')
    for (const [field, grant] of [
      ['code', 'authorization_code'],
      ['refresh_token', 'refresh_token'],
    ] as const)
      expect(
        (
          await send('/oauth/token', {
            grant_type: grant,
            client_id: 'tv',
            code_verifier: 'v'.repeat(43),
            [field]: String(device.body['device_code']),
          })
        ).body['error'],
      ).toBe('invalid_grant')
    // None of it has used the code up.
    expect((await poll(device, { resource: resource() })).status).toBe(200)
  })

  it('asks at the redemption again whether the person may: blocked, ended and ruled out [H-W22]', async () => {
    const blocked = await decided('allow', yamada)
    await block('local:yamada', 'POST')
    expect((await poll(blocked.device)).body['error']).toBe('invalid_grant')
    await block('local:yamada', 'DELETE')
    const ended = await decided('allow', yamada)
    const apps = await ended.browser.go(`${gateway.origin}/account/apps`)
    await ended.browser.submit(apps, '/account/apps', { action: 'end-all' })
    expect(errorOf(await poll(ended.device))).toEqual([400, 'invalid_grant', 'device.unknown'])
  })

  it('is asked for on the page of a person with access alone, in a form of this session [H-W19]', async () => {
    const { body } = await ask({ resource: resource('second') })
    const browser = await browserOf(yamada)
    expect((await enter(browser, body['user_code'])).status).toBe(403)
    const page = await browser.go(`${gateway.origin}/device`)
    const forged = await browser.submit(page, '/device', { csrf: 'x', user_code: 'BBBB-BBBB' })
    expect([forged.status, forged.body.includes('device.form')]).toEqual([403, true])
    const crossSite = await browser.go(page.form('/device').action, {
      method: 'POST',
      body: new URLSearchParams(page.form('/device').fields).toString(),
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'origin': 'https://evil.example',
        'sec-fetch-site': 'cross-site',
      },
    })
    expect(crossSite.status).toBe(403)
  })

  it('never is a device allowed by another account than the page showed [H-W25]', async () => {
    const device = await ask()
    const browser = await browserOf(yamada)
    const shown = await enter(browser, device.body['user_code'])
    const login = await browser.go(`${gateway.origin}/login?switch=1`)
    await browser.submit(login, '/login', { username: ana.username, password: ana.password })
    const answer = await decide(browser, shown, 'allow')
    expect([answer.status, answer.body.includes('Access granted')]).toEqual([403, false])
    expect((await poll(device)).body['error']).toBe('authorization_pending')
  })

  it('codes are read in every spelling, and five wrong ones of a person are the last for a while [H-W20, H-W23, H-W24]', async () => {
    const [first, second] = [await ask(), await ask()]
    const browser = await browserOf(yamada)
    const plain = String(first.body['user_code']).replace('-', '').toLowerCase()
    const wide = Array.from(plain, (letter) => String.fromCharCode(letter.charCodeAt(0) + 0xfee0)).join(' ')
    const allowed = await decide(browser, await enter(browser, wide), 'allow')
    expect(allowed.body).toContain('Access granted')
    for (let i = 0; i < 5; i++)
      expect((await enter(browser, i === 2 ? 'no code' : 'BCDF-GHJK')).status).toBe(400)
    // A right one is refused as well now, and nobody else is.
    expect((await enter(browser, second.body['user_code'])).status).toBe(429)
    const other = await browserOf()
    expect((await enter(other, second.body['user_code'])).body).toContain('Allow <bdi>Television</bdi>')
  })

  it('the flow record tells its way', async () => {
    // Of one network, and of one person, only so many are recorded in a minute.
    gateway.advance(61_000)
    const device = await ask({}, '203.0.113.9')
    const browser = await browserOf(ana, '203.0.113.9')
    await decide(browser, await enter(browser, device.body['user_code']), 'allow')
    await poll(device)
    await expect
      .poll(async () => {
        const { flows } = JSON.parse((await admin.ask('GET', '/api/flows?client=tv&limit=1')).body) as {
          flows: readonly { steps: readonly Json[] }[]
        }
        return flows[0]?.steps.map(({ name, result }) => `${String(name)} ${String(result)}`)
      })
      .toEqual(['device done', 'consent asked', 'consent done', 'token done'])
  })
})

it('is refused from another network where the operator wants it so', async () => {
  const gateway = await openInProcess({
    upstream: 'http://127.0.0.1:9/mcp',
    config: { ...config, access: undefined, device: { clients: ['tv'], other_network: 'refuse' } },
  })
  const at = (ip: string) => fromNetwork(gateway, ip).fetch
  const answer = await at(elsewhere)(
    `${gateway.origin}/oauth/device_authorization`,
    form({ client_id: 'tv' }),
  )
  const { verification_uri_complete: url } = (await answer.json()) as { verification_uri_complete: string }
  for (const [ip, status] of [
    [office, 403],
    [elsewhere, 200],
  ] as const) {
    const browser = createBrowser(at(ip), gateway.origin)
    const { username, password } = ana
    const page = await browser.submit(await browser.go(url), '/login', { username, password })
    const shown = await browser.submit(page, '/device', {})
    expect([shown.status, shown.body.includes('device.network')]).toEqual([status, status === 403])
  }
  await gateway.close()
})
