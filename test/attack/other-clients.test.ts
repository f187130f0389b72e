// What must never come of a client that shows what is not its own: another's credentials, tokens, codes,
// registration, or more than it was granted.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { allow, authorizeUrl, type Client, form, redeem, refresh, register } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const formType = 'application/x-www-form-urlencoded'
/** Everything that RFC 6749 §2.3.1 makes clients encode, and much that they forget to. */
const oddSecret = 'Kq7 vX+2%6DZ:9tLw&sRb=nYc1/Hd6gJp3%zz-é-"\\'
const monitor = {
  name: 'Monitor',
  redirect_uris: ['https://monitor.example/cb'],
  token_endpoint_auth_method: 'client_secret_basic' as const,
  client_secret: oddSecret,
}

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let house: TestGateway
  let browser: Browser
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: {
        clients: { monitor },
        mcp_services: { wide: { url: upstream.url, scopes: ['read', 'write'] } },
      },
    })
    browser = createBrowser(house.fetch, house.origin)
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  const at = (path: string, init?: RequestInit) => house.fetch(`${house.origin}${path}`, init)
  const echo = (): string => `${house.origin}/echo/mcp`
  const send = (path: string, body: string, headers: Record<string, string> = {}) =>
    at(path, { method: 'POST', body, headers: { 'content-type': formType, ...headers } })
  const told = async (answer: Response): Promise<[number, unknown]> => [
    answer.status,
    ((await answer.json()) as { error?: unknown }).error,
  ]
  const codeFor = async (client: Client, params: Record<string, string> = {}) => {
    const asking = authorizeUrl(house, client, { resource: echo(), ...params })
    return {
      code: (await allow(browser, asking.url)).searchParams.get('code') ?? '',
      verifier: asking.verifier,
    }
  }
  const grantOf = async (client: Client, params: Record<string, string> = {}) => {
    const { code, verifier } = await codeFor(client, params)
    return (await (await redeem(house, client, code, verifier)).json()) as {
      access_token: string
      refresh_token: string
      scope: string
    }
  }
  const basic = (id: string, secret: string): string =>
    `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`
  const formEncoded = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1)

  test('never a client by credentials that are not exactly its own, and always by those that are, encoded as RFC 6749 says or as they are [H-B2, H-I3]', async () => {
    const introspect = (authorization: string, more = '') =>
      send('/oauth/introspect', `token=x${more}`, { authorization })
    for (const authorization of [
      basic('monitor', oddSecret),
      basic('monitor', formEncoded(oddSecret)),
      basic(formEncoded('monitor'), encodeURIComponent(oddSecret)),
      basic('monitor', oddSecret).replace('Basic', 'bASIC'),
      basic('monitor', oddSecret).replace('Basic ', 'Basic   '),
    ]) {
      expect([authorization, (await introspect(authorization)).status]).toEqual([authorization, 200])
    }
    expect((await introspect(basic('monitor', oddSecret), '&client_id=monitor')).status).toBe(200)
    const wrong = [
      basic('monitor', formEncoded(formEncoded(oddSecret))),
      basic('monitor', oddSecret.toLowerCase()),
      basic('monitor', oddSecret.slice(0, -1)),
      basic('monitor', `${oddSecret} `),
      basic('monitor', `${oddSecret}\0`),
      basic('monitor', ''),
      basic('Monitor', oddSecret),
      basic('monitor\0', oddSecret),
      basic('', oddSecret),
      basic('__proto__', oddSecret),
      `Basic ${Buffer.from('monitor').toString('base64')}`,
      'Basic',
      'Basic ',
      'Basic =',
      'Basic %%%',
      `Basic ${Buffer.from(`monitor:${oddSecret}`, 'latin1').toString('base64')}`,
    ]
    for (const authorization of wrong) {
      const answer = await introspect(authorization)
      expect([
        authorization,
        answer.headers.get('www-authenticate')?.startsWith('Basic '),
        ...(await told(answer)),
      ]).toEqual([authorization, true, 401, 'invalid_client'])
    }
    // Two ways at once, even when both are right; another client in the body than in the header.
    for (const more of [
      `&client_secret=${encodeURIComponent(oddSecret)}`,
      '&client_id=somebody',
      '&client_assertion=a.b.c&client_assertion_type=x',
    ])
      expect(await told(await introspect(basic('monitor', oddSecret), more))).toEqual([
        400,
        'invalid_request',
      ])
    // The right secret in the wrong place.
    expect(
      await told(
        await send(
          '/oauth/introspect',
          `token=x&client_id=monitor&client_secret=${encodeURIComponent(oddSecret)}`,
        ),
      ),
    ).toEqual([401, 'invalid_client'])
    expect(await told(await send('/oauth/introspect', 'token=x&client_id=monitor'))).toEqual([
      401,
      'invalid_client',
    ])
  })

  test('never less than the whole grant left on a refresh token, however narrow the access token it was used for [H-H9, H-H10]', async () => {
    const client = await register(house)
    const wide = await grantOf(client, { resource: `${house.origin}/wide/mcp`, scope: 'read write' })
    const narrow = (await (await refresh(house, client, wide.refresh_token, { scope: 'read' })).json()) as {
      refresh_token: string
      scope: string
    }
    expect(narrow.scope).toBe('read')
    for (const more of [
      { scope: 'read write admin' },
      { scope: 'mcp' },
      { scope: 'READ' },
      { resource: echo() },
      { resource: 'https://evil.example/' },
    ] as Record<string, string>[]) {
      const [status, error] = await told(await refresh(house, client, narrow.refresh_token, more))
      expect([more, status, error]).toEqual([more, 400, 'scope' in more ? 'invalid_scope' : 'invalid_target'])
    }
    const again = (await (
      await refresh(house, client, narrow.refresh_token, { scope: '  write   read ' })
    ).json()) as { refresh_token: string; scope: string }
    expect(again.scope.split(' ').toSorted()).toEqual(['read', 'write'])
    expect(
      ((await (await refresh(house, client, again.refresh_token)).json()) as { scope: string }).scope
        .split(' ')
        .toSorted(),
    ).toEqual(['read', 'write'])
  })

  test('never anything done to, or told of, a token by a client whose it is not [H-I3, H-I6, H-P6]', async () => {
    const [client, stranger, confidential] = [
      await register(house),
      await register(house),
      await register(house, { token_endpoint_auth_method: 'client_secret_post' }),
    ]
    const { access_token, refresh_token } = await grantOf(client)
    const { code } = await codeFor(client)
    const strangers = [
      { client_id: stranger.id },
      { client_id: confidential.id, client_secret: confidential.secret ?? '' },
    ]
    for (const credentials of strangers) {
      for (const token of [access_token, refresh_token, code])
        expect(
          (await at('/oauth/revoke', form({ token, token_type_hint: 'refresh_token', ...credentials })))
            .status,
        ).toBe(200)
      for (const token of [refresh_token, code, client.id, 'x', `${access_token}x`])
        expect(await (await at('/oauth/introspect', form({ token, ...credentials }))).json()).toEqual({
          active: false,
        })
      expect(
        await told(
          await at('/oauth/token', form({ grant_type: 'refresh_token', refresh_token, ...credentials })),
        ),
      ).toEqual([400, 'invalid_grant'])
    }
    expect(
      await (await at('/oauth/introspect', form({ token: access_token, client_id: stranger.id }))).json(),
    ).toEqual({ active: false })
    // Everybody may register a client with a secret; what it learns of a token that it holds stands in the
    // token, and no name does.
    const seen = (await (
      await at(
        '/oauth/introspect',
        form({ token: access_token, client_id: confidential.id, client_secret: confidential.secret ?? '' }),
      )
    ).json()) as Record<string, unknown>
    expect(Object.keys(seen)).not.toContain('username')
    expect(JSON.stringify(seen)).not.toContain('example.com')
    for (const credentials of [
      {},
      { client_id: client.id, client_secret: 'wrong' },
      { client_id: confidential.id, client_secret: 'wrong' },
      { client_id: confidential.id },
    ] as Record<string, string>[]) {
      for (const path of ['/oauth/revoke', '/oauth/introspect'])
        expect([
          path,
          ...(await told(await at(path, form({ token: refresh_token, ...credentials })))),
        ]).toEqual([path, 401, 'invalid_client'])
    }
    expect((await refresh(house, client, refresh_token)).status).toBe(200)
  })

  test('never a registration read, changed or deleted by anybody but the client it is of [H-P6]', async () => {
    const made = async (name: string) =>
      (await (
        await at('/register', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({
            client_name: name,
            redirect_uris: ['http://127.0.0.1:5000/cb'],
            token_endpoint_auth_method: 'none',
          }),
        })
      ).json()) as Record<string, string>
    const [mine, other] = [await made('Mine'), await made('Other')]
    const manage = (id: string, method: string, authorization?: string) =>
      at(`/oauth/register/${id}`, {
        method,
        headers: {
          'content-type': 'application/json',
          ...(authorization !== undefined && { authorization }),
        },
        ...(method === 'PUT' && {
          body: JSON.stringify({ client_id: id, redirect_uris: ['https://evil.example/cb'] }),
        }),
      })
    const theirs = `Bearer ${other['registration_access_token']}`
    for (const method of ['GET', 'PUT', 'DELETE']) {
      for (const authorization of [
        undefined,
        theirs,
        'Bearer',
        'Bearer reg-',
        `${theirs}, Bearer ${mine['registration_access_token']}`,
        `Basic ${mine['registration_access_token']}`,
        `Bearer ${mine['registration_access_token']}x`,
      ]) {
        const answer = await manage(mine['client_id'] ?? '', method, authorization)
        expect([method, authorization, [401, 403].includes(answer.status)]).toEqual([
          method,
          authorization,
          true,
        ])
        expect(await answer.text()).not.toContain('Mine')
      }
      for (const id of [
        'monitor',
        '..',
        `${other['client_id']}%2f..%2f${mine['client_id']}`,
        'client_aaaaaaaaaaaaaaaaaaaaaa',
      ])
        expect([id, [404, 405].includes((await manage(id, method, theirs)).status)]).toEqual([id, true])
    }
    // A new name by PUT is the client's own word, in its own registration alone.
    const put = await at(`/oauth/register/${mine['client_id']}`, {
      method: 'PUT',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${mine['registration_access_token']}`,
      },
      body: JSON.stringify({ client_id: other['client_id'], redirect_uris: ['https://evil.example/cb'] }),
    })
    expect(put.status).toBe(400)
    expect(
      await (
        await manage(mine['client_id'] ?? '', 'GET', `bearer ${mine['registration_access_token']}`)
      ).json(),
    ).toMatchObject({ client_name: 'Mine', redirect_uris: ['http://127.0.0.1:5000/cb'] })
  })
})
