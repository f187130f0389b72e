// What people do with personal access tokens on their page, in a gateway of other tests: ana is its administrator, and
// yamada may do everything at `ruled` and read at `streams`.
import { beforeAll, expect, it } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { form } from '../runtimes/login.ts'
import { ana, callerOf, yamada } from '../runtimes/people.ts'
import { endsWithin } from '../runtimes/proxied.ts'
import type { RuntimeGateway } from '../runtimes/runtimes.ts'

export const path = '/account/tokens'
export const shown = /ppat_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}/

/** A form of the page, sent as a browser sends it. */
export const send = (
  { browser, csrf }: Administrator,
  origin: string,
  fields: Record<string, string>,
  headers = {},
) =>
  browser.go(`${origin}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      origin,
      'sec-fetch-site': 'same-origin',
      ...headers,
    },
    body: new URLSearchParams({ csrf, ...fields }).toString(),
  })
const idOn = (body: string): string => /name="id" value="(\w{12})"/.exec(body)?.[1] ?? ''

const tool = (name: string) => ({
  jsonrpc: '2.0',
  id: 7,
  method: 'tools/call',
  params: { name, arguments: {} },
})

export const tokensOnThePage = (opened: () => RuntimeGateway): void => {
  let gateway: RuntimeGateway
  let mine: Administrator
  beforeAll(async () => {
    gateway = opened()
    mine = await signInAs(gateway, yamada)
  })

  const create = async (fields: Record<string, string> = {}, who = mine) => {
    const { body } = await who.browser.go(path)
    const sent = {
      'action': 'create',
      'id': idOn(body),
      'name': 'CI',
      'service.ruled': 'on',
      'lifetime': '86400',
    }
    const page = await send(who, gateway.origin, { ...sent, permission: 'write', ...fields })
    return { page, id: sent.id, token: shown.exec(page.body)?.[0] ?? '', sent }
  }
  const status = async (token: string, name = 'search') => {
    const answer = await callerOf(gateway, `${gateway.origin}/ruled/mcp`, token).post(tool(name))
    const { error, code } = (await answer.json()) as { error?: { data?: { code?: string } }; code?: string }
    return [answer.status, error?.data?.code ?? code]
  }

  it('a token is shown once, on no page that is kept, and works', async () => {
    const { page, id, token, sent } = await create()
    expect([page.status, page.headers.get('cache-control'), page.url]).toEqual([
      200,
      'no-store',
      `${gateway.origin}${path}`,
    ])
    expect(token.slice(5, 17)).toBe(id)
    expect(page.body).toContain(
      `claude mcp add --transport http ruled ${gateway.origin}/ruled/mcp --header "Authorization: Bearer ${token}"`,
    )
    expect(await status(token, 'create')).toEqual([200, undefined])
    expect(await status(token, 'delete_all')).toEqual([200, 'account.permission'])
    const again = await mine.browser.go(path)
    expect(again.body).not.toContain(token.slice(18))
    expect(again.body).toContain(`ppat_${id.slice(0, 4)}…`)
    // Sent again by a reload: one token, and what it is can no longer be said.
    const twice = await send(mine, gateway.origin, { ...sent, permission: 'write' })
    expect(twice.body).toContain('already created')
    expect(shown.test(twice.body)).toBe(false)
    expect(await status(token)).toEqual([200, undefined])
    const apps = await mine.browser.go('/account/apps')
    expect(apps.body).toContain('Personal access token')
    const said = JSON.stringify(gateway.log)
    expect(said).toContain('token.created')
    expect(said).not.toContain(token.slice(18))
  })

  it('ends at once on the page, with its streams, and nobody ends that of another [H-W9]', async () => {
    const { id, token } = await create({ 'service.streams': 'on', 'permission': 'read' })
    const stream = await callerOf(gateway, `${gateway.origin}/streams/mcp`, token).get()
    expect(stream.status).toBe(200)
    const other = await signInAs(gateway, ana)
    await send(other, gateway.origin, { action: 'end', token: id })
    expect(await status(token)).toEqual([200, undefined])
    const page = await send(mine, gateway.origin, { action: 'end', token: id })
    expect([page.status, page.body.includes(`ppat_${id.slice(0, 4)}…`)]).toEqual([200, false])
    gateway.advance(600)
    expect(await status(token)).toEqual([401, 'personal-token.ended'])
    await endsWithin(5000, gateway, stream.text())
  })

  it('may no more than its user at each call, and nothing once the user is blocked [H-W6]', async () => {
    const { token } = await create()
    const admin = await signInAs(gateway, ana)
    expect(await status(token, 'create')).toEqual([200, undefined])
    const rule = { people: ['local:yamada'], services: ['ruled'], tools: ['create'] }
    const added = await admin.ask('POST', '/api/access', { deny: rule })
    expect(added.status).toBe(201)
    gateway.advance(1100)
    expect(await status(token, 'create')).toEqual([200, 'policy.denied'])
    expect(await status(token)).toEqual([200, undefined])
    const { id } = JSON.parse(added.body) as { id: string }
    await admin.ask('DELETE', `/api/access/${id}`)
    await admin.ask('POST', '/api/blocks', { user: 'local:yamada', client: `personal:${token.slice(5, 17)}` })
    gateway.advance(1100)
    expect(await status(token)).toEqual([401, 'personal-token.ended'])
  })

  it('ends when its user signs out everywhere, or is signed out', async () => {
    const [one, two] = [await create(), await create()]
    const elsewhere = await signInAs(gateway, yamada)
    const signOut = { action: 'sign-out', csrf: elsewhere.csrf }
    const headers = {
      'content-type': 'application/x-www-form-urlencoded',
      'origin': gateway.origin,
      'sec-fetch-site': 'same-origin',
    }
    const body = new URLSearchParams(signOut).toString()
    await elsewhere.browser.go(`${gateway.origin}/account/apps`, { method: 'POST', headers, body })
    gateway.advance(600)
    for (const { token } of [one, two]) expect(await status(token)).toEqual([401, 'personal-token.ended'])
    mine = await signInAs(gateway, yamada)
    const { token } = await create()
    expect(await status(token)).toEqual([200, undefined])
    const admin = await signInAs(gateway, ana)
    await admin.ask('DELETE', '/api/sessions?user=local:yamada')
    gateway.advance(600)
    expect(await status(token)).toEqual([401, 'personal-token.ended'])
    mine = await signInAs(gateway, yamada)
  })

  it('is ended by whoever holds it, at the revocation endpoint', async () => {
    const { token } = await create()
    const revoke = async (fields: Record<string, string>) =>
      (await gateway.fetch(`${gateway.origin}/oauth/revoke`, form(fields))).status
    const forged = `${token.slice(0, 18)}${'A'.repeat(38)}`
    expect(await revoke({ token: forged })).toBe(200)
    expect(await status(token)).toEqual([200, undefined])
    expect(await revoke({ token })).toBe(200)
    gateway.advance(600)
    expect(await status(token)).toEqual([401, 'personal-token.ended'])
  })

  it('at the API acts as its administrator, without a cookie and a form token, and nowhere else', async () => {
    const admin = await signInAs(gateway, ana)
    const fields = { 'service./api': 'on', 'permission': 'admin', 'lifetime': '3600' }
    const form = await admin.browser.go(path)
    const sent = { action: 'create', id: idOn(form.body), name: 'Script', ...fields }
    expect(form.body).toContain('API of this gateway')
    expect((await mine.browser.go(path)).body).not.toContain('API of this gateway')
    const token = shown.exec((await send(admin, gateway.origin, sent)).body)?.[0] ?? ''
    const ask = async (method: string, at: string, headers: Record<string, string> = {}, body?: unknown) => {
      const answer = await gateway.fetch(`${gateway.origin}${at}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      return { status: answer.status, body: await answer.text() }
    }
    expect((await ask('GET', '/api/grants')).status).toBe(200)
    const party = { user: 'local:nobody', client: 'x' }
    expect((await ask('POST', '/api/blocks', {}, party)).status).toBe(201)
    expect((await ask('GET', '/api/blocks')).body).toContain('"by":"local:ana"')
    expect((await ask('DELETE', '/api/blocks?user=local:nobody&client=x')).status).toBe(204)
    // Beside it a cookie says nothing, and a token of another kind is not taken for none.
    const cookie = [...mine.browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    expect((await ask('GET', '/api/grants', { cookie })).status).toBe(200)
    const own = [...admin.browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const { token: other } = await create()
    for (const wrong of [other, 'eyJhbGciOiJFUzI1NiJ9.e30.x', `${token}x`])
      expect(
        (await ask('GET', '/api/grants', { cookie: own, authorization: `Bearer ${wrong}` })).status,
      ).toBe(401)
    expect((await ask('POST', '/api/blocks', { origin: 'https://evil.example' }, party)).status).toBe(403)
    expect(await status(token)).toEqual([401, 'personal-token.unknown'])
    expect((await ask('GET', '/account/apps')).status).toBe(303)
    await send(admin, gateway.origin, { action: 'end', token: sent.id })
    gateway.advance(600)
    expect((await ask('GET', '/api/grants')).status).toBe(401)
    for (const more of [{ permission: 'write' }, { 'service.ruled': 'on' }]) {
      const id = idOn((await admin.browser.go(path)).body)
      expect((await send(admin, gateway.origin, { ...sent, ...more, id })).status).toBe(400)
    }
    const id = idOn((await mine.browser.go(path)).body)
    expect((await send(mine, gateway.origin, { ...sent, id })).status).toBe(400)
  })

  it('never has markup in its name become a part of a page [H-W10b]', async () => {
    const { id } = await create({ name: '<img src=x onerror=alert(1)>' })
    for (const at of [path, '/account/apps']) {
      const { body } = await mine.browser.go(at)
      expect(body).toContain('&lt;img src=x onerror=alert(1)')
      expect(body).not.toContain('<img src=x')
    }
    await send(mine, gateway.origin, { action: 'end', token: id })
  })

  it('says in the form what was wrong with it, and keeps what was typed', async () => {
    const { page } = await create({ 'service.streams': 'on', 'name': 'Mine' })
    expect([page.status, shown.test(page.body)]).toEqual([400, false])
    expect(page.body).toContain('At streams this user has no more than read access.')
    expect(page.body).toContain('value="Mine"')
    for (const wrong of [{ lifetime: '99999999' }, { lifetime: 'x' }, { name: 'x'.repeat(61) }, { id: 'x' }])
      expect((await create(wrong)).page.status).toBe(400)
  })

  it('never makes a token for another site, without the form token, or for a token [H-W8]', async () => {
    const fields = { 'action': 'create', 'name': 'x', 'service.ruled': 'on', 'lifetime': '86400' }
    const count = async () => (await mine.browser.go(path)).body.split('End token</button>').length
    const before = await count()
    const id = idOn((await mine.browser.go(path)).body)
    for (const [more, headers] of [
      [{ csrf: 'wrong' }, {}],
      [{ csrf: '' }, {}],
      [{}, { 'origin': 'https://evil.example' }],
      [{}, { 'origin': 'null' }],
      [{}, { 'sec-fetch-site': 'cross-site' }],
    ] as const)
      expect((await send(mine, gateway.origin, { ...fields, id, ...more }, headers)).status).toBe(403)
    const { token } = await create()
    const nobody = { ...mine, browser: (await signInAs(gateway, yamada)).browser }
    nobody.browser.cookies.clear()
    const answer = await send(nobody, gateway.origin, { ...fields, id }, { authorization: `Bearer ${token}` })
    expect([answer.status, shown.test(answer.body)]).toEqual([403, false])
    for (const ask of [`${path}?action=create`, '/api/grants'])
      expect(
        (
          await nobody.browser.go(`${gateway.origin}${ask}`, {
            headers: { authorization: `Bearer ${token}` },
          })
        ).body,
      ).not.toMatch(shown)
    expect(await count()).toBe(before + 1)
  })

  it('never makes one in a browser that signed in more than ten minutes ago', async () => {
    const old = await signInAs(gateway, yamada)
    const id = idOn((await old.browser.go(path)).body)
    gateway.advance(600_000)
    expect((await old.browser.go(path)).body).toContain('Sign in again to create a token')
    const late = await send(old, gateway.origin, {
      'action': 'create',
      id,
      'name': 'x',
      'service.ruled': 'on',
      'lifetime': '86400',
    })
    expect([late.url, shown.test(late.body)]).toEqual([
      `${gateway.origin}/login?switch=1&return_to=%2Faccount%2Ftokens`,
      false,
    ])
  })
}
