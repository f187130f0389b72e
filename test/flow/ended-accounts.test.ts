// Accounts at MCP servers that end with the access of apps, on request: their tokens are revoked where the authorization
// server can, and said to live on where it cannot.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import type { Browser } from '../runtimes/browser.ts'
import { connectAt, logInThrough } from '../runtimes/connecting.ts'
import { type Somebody, ana, callerOf, yamada } from '../runtimes/people.ts'
import { call, until } from '../runtimes/proxied.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, openInProcess } from '../runtimes/runtimes.ts'

const kim: Somebody = { username: 'kim', password: 'horse correct battery', email: 'kim@example.com' }

describe('accounts at MCP servers', () => {
  let far: FarServer
  let house: TestGateway
  let admin: Administrator
  beforeAll(async () => {
    far = await openFarServer()
    house = await openInProcess({
      upstream: far.url,
      config: {
        local_users: [ana, yamada, kim],
        admins: ['local:ana'],
        mcp_services: {
          far: { name: 'Far', url: far.url },
          again: { name: 'Again', url: far.url, upstream_auth: { type: 'oauth' } },
          // Written down without a revocation endpoint.
          written: {
            name: 'Written',
            url: far.url,
            upstream_auth: {
              type: 'oauth',
              issuer: far.origin,
              authorization_endpoint: `${far.origin}/authorize`,
              token_endpoint: `${far.origin}/token`,
              client_id: 'written',
              client_secret: 'the-secret-of-the-written-client',
            },
          },
        },
      },
    })
    admin = await signInAs(house, ana)
  })
  afterAll(async () => {
    await house.close()
    await far.close()
  })

  const ask = async (method: string, path: string, body?: unknown) => {
    const answer = await admin.ask(method, path, body)
    return [answer.status, answer.body === '' ? {} : (JSON.parse(answer.body) as object)] as const
  }
  /** One app and one account at each service. */
  const connected = async (who: Somebody, ...services: string[]) => {
    const [first = '', ...more] = services
    const one = await logInThrough(house, first, { who })
    for (const service of more) await logInThrough(house, service, { who, browser: one.browser })
    expect((await one.caller.post(call())).status).toBe(200)
    return one
  }
  const hasAccount = async (browser: Browser, service: string): Promise<boolean> =>
    (await browser.go(`/connect/${service}`)).body.includes('value="disconnect"')
  const removedBy = (): readonly unknown[] =>
    house.log
      .filter(({ event }) => event === 'connection.removed')
      .map(({ fields }) => `${String(fields['person'])} ${String(fields['service'])} ${String(fields['by'])}`)

  it('stay when access ends, unless it is asked for: then they go, counted first', async () => {
    const { browser, caller } = await connected(kim, 'far', 'written')
    const query = '/api/grants?user=local:kim&service=far'
    expect(await ask('DELETE', `${query}&dry_run=1&revoke_upstream=1`)).toEqual([
      200,
      { would_end: { grants: 1, users: 1, clients: 1, accounts: 1 } },
    ])
    expect([await hasAccount(browser, 'far'), (await caller.post(call())).status]).toEqual([true, 200])
    expect(await ask('DELETE', query)).toEqual([200, { ended: { grants: 1, users: 1, clients: 1 } }])
    expect(await hasAccount(browser, 'far')).toBe(true)
    await logInThrough(house, 'far', { who: kim, browser })
    const before = far.count('/revoke')
    expect(await ask('DELETE', `${query}&revoke_upstream=1`)).toEqual([
      200,
      {
        ended: { grants: 1, users: 1, clients: 1, accounts: 1, revoked: 1, pending: 0, not_revoked: [] },
      },
    ])
    expect(
      far.asked
        .filter(({ path }) => path === '/revoke')
        .slice(before)
        .map(({ fields }) => fields['token_type_hint']),
    ).toEqual(['refresh_token', 'access_token'])
    expect([await hasAccount(browser, 'far'), await hasAccount(browser, 'written')]).toEqual([false, true])
    expect(removedBy()).toEqual(['local:kim far local:ana'])
  })

  it('of a user who is named alone all go, and those that nobody can revoke are named', async () => {
    const { browser } = await connected(kim, 'far', 'written')
    await connectAt(house, `${house.origin}/connect/again`, { who: kim, browser })
    far.script.instead.set('/revoke', ({ n }) =>
      n % 2 === 0 ? { status: 503, body: {} } : { status: 400, body: { error: 'invalid_client' } },
    )
    const [status, { ended }] = (await ask('DELETE', '/api/grants?user=local:kim&revoke_upstream=1')) as [
      number,
      { ended: object },
    ]
    far.script.instead.delete('/revoke')
    expect([status, ended]).toMatchObject([
      200,
      { accounts: 3, revoked: 0, pending: 0, not_revoked: ['again', 'far', 'written'] },
    ])
    for (const service of ['far', 'again', 'written']) expect(await hasAccount(browser, service)).toBe(false)
    expect(JSON.stringify(house.log)).not.toMatch(/access-\d|refresh-\d/)
  })

  it('go with one grant, and with a block, of that user only', async () => {
    const other = await connected(yamada, 'far')
    await connected(kim, 'far')
    const [, { grants }] = (await ask('GET', '/api/grants?user=local:kim')) as [
      number,
      { grants: readonly { id: string }[] },
    ]
    expect(await ask('DELETE', `/api/grants/${grants[0]?.id}?revoke_upstream=1`)).toEqual([
      200,
      { ended: { accounts: 1, revoked: 1, pending: 0, not_revoked: [] } },
    ])
    await connected(kim, 'far')
    expect(await ask('POST', '/api/blocks', { user: 'local:kim', revoke_upstream: 'yes' })).toMatchObject([
      400,
      {},
    ])
    const all = { user: 'local:kim', revoke_upstream: true }
    expect(await ask('POST', '/api/blocks', { ...all, dry_run: true })).toEqual([
      200,
      { would_end: { grants: 1, users: 1, clients: 1, accounts: 1 } },
    ])
    expect(await ask('GET', '/api/blocks')).toEqual([200, { blocks: [] }])
    expect(await ask('POST', '/api/blocks', all)).toMatchObject([201, { ended: { accounts: 1, revoked: 1 } }])
    expect(await ask('DELETE', '/api/blocks?user=local:kim')).toMatchObject([204, {}])
    expect([await hasAccount(other.browser, 'far'), (await other.caller.post(call())).status]).toEqual([
      true,
      200,
    ])
  })

  it('are waited for no longer than a while', async () => {
    await connected(kim, 'far')
    const held = Promise.withResolvers<void>()
    far.script.before.set('/revoke', () => held.promise)
    const before = far.count('/revoke')
    const asked = ask('DELETE', '/api/grants?user=local:kim&revoke_upstream=1')
    await until(() => far.count('/revoke') > before, 'the revocation')
    house.advance(5_000)
    expect(await asked).toMatchObject([
      200,
      { ended: { accounts: 1, revoked: 0, pending: 1, not_revoked: [] } },
    ])
    far.script.before.delete('/revoke')
    held.resolve()
    await until(() => far.count('/revoke') >= before + 2, 'the end of the revocation')
  })

  const textOf = (body: string): string => body.replaceAll(/<[^>]+>/g, ' ').replaceAll(/\s+/g, ' ')
  const disconnect = async (fields: Record<string, string>, csrf = admin.csrf): Promise<number> =>
    (
      await admin.browser.go(`${house.origin}/console/connections`, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          'origin': house.origin,
          'sec-fetch-site': 'same-origin',
        },
        body: new URLSearchParams({ csrf, action: 'end', ...fields }).toString(),
      })
    ).status

  it('are listed on the console with whose they are, and ended there', async () => {
    const { browser, caller } = await connected(kim, 'far', 'written')
    const shown = (await admin.browser.go('/console/connections?q=kim@example.com')).body
    expect(textOf(shown)).toMatch(/ Written default kim@example.com Connected /)
    expect(textOf(shown)).toMatch(/ Far default kim@example.com Connected /)
    expect(shown).not.toMatch(/access-\d|refresh-\d/)
    expect(textOf((await admin.browser.go('/console/connections?only=needs-user')).body)).toContain(
      'No connection needs its user',
    )
    const id = /name="connection" value="([\w-]+:far)"/.exec(shown)?.[1] ?? ''
    const other = await signInAs(house, yamada)
    const before = far.count('/revoke')
    expect([
      await disconnect({ connection: id, account: 'default' }, other.csrf),
      await disconnect({ connection: id, account: 'another' }),
      await disconnect({ connection: '../access-rules', account: 'default' }),
      await disconnect({ connection: id.replace(/:far$/, ':idp:local'), account: 'default' }),
      await hasAccount(browser, 'far'),
    ]).toEqual([403, 400, 400, 400, true])
    expect(await disconnect({ connection: id, account: 'default' })).toBe(200)
    expect([await hasAccount(browser, 'far'), await hasAccount(browser, 'written')]).toEqual([false, true])
    // Apps keep their access; the call asks for an account.
    expect((await caller.post(call())).status).not.toBe(401)
    await until(() => far.count('/revoke') >= before + 2, 'the revocation')
    expect(removedBy().at(-1)).toBe('local:kim far local:ana')
    expect(await disconnect({ connection: id, account: 'default' })).toBe(400)
  })

  it('go with what a person ends on their own page, if they tick it', async () => {
    const page = await connected(yamada, 'far')
    const end = async (fields: Record<string, string>) => {
      const shown = await page.browser.go('/account/apps')
      expect(shown.body).toContain('name="revoke_upstream"')
      await page.browser.submit(shown, '/account/apps', fields)
    }
    await end({ action: 'end', client: page.client.id })
    expect([(await page.caller.post(call())).status, await hasAccount(page.browser, 'far')]).toEqual([
      401,
      true,
    ])
    const again = await logInThrough(house, 'far', { who: yamada, browser: page.browser })
    const before = far.count('/revoke')
    await end({ action: 'end', client: again.client.id, revoke_upstream: '1' })
    expect(await hasAccount(page.browser, 'far')).toBe(false)
    await until(() => far.count('/revoke') >= before + 2, 'the revocation')
    expect(removedBy().at(-1)).toBe('local:yamada far local:yamada')
    expect((await callerOf(house, again.caller.url, again.caller.token).post(call())).status).toBe(401)
  })
})
