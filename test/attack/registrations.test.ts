// Registrations that two readers of the same bytes understand differently, and what a client that anybody may
// register can find out about others.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { form, logIn, register } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const uri = 'https://app.example/cb'
const utf8 = (text: string): Uint8Array<ArrayBuffer> =>
  new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>
const joined = (...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(parts.flatMap((part) => [...part]))
const bent: readonly (readonly [string, Uint8Array<ArrayBuffer>, string])[] = [
  [
    'a byte order mark',
    joined(Uint8Array.of(0xef, 0xbb, 0xbf), utf8(`{"redirect_uris":["${uri}"]}`)),
    'invalid_client_metadata',
  ],
  [
    'a byte that is no UTF-8',
    joined(utf8(`{"redirect_uris":["${uri}"],"client_name":"`), Uint8Array.of(0xff), utf8('"}')),
    'invalid_client_metadata',
  ],
  [
    'redirect_uris twice',
    utf8(`{"redirect_uris":["https://one.example/"],"redirect_uris":["${uri}"]}`),
    'invalid_client_metadata',
  ],
  [
    'an encoded NUL in the redirect URI',
    utf8('{"redirect_uris":["https://app.example/cb%00"]}'),
    'invalid_redirect_uri',
  ],
]

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let house: TestGateway
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({ upstream: upstream.url })
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  it.each(bent)('never takes a registration with %s', async (__, body, error) => {
    const answer = await house.fetch(`${house.origin}/oauth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
    expect([answer.status, ((await answer.json()) as { error: string }).error]).toEqual([400, error])
  })

  it('never tells a client that registered itself about tokens of another, with a secret or without', async () => {
    const { tokens, client } = await logIn(house)
    for (const method of ['none', 'client_secret_post']) {
      const stranger = await register(house, { token_endpoint_auth_method: method })
      const credentials = {
        client_id: stranger.id,
        ...(stranger.secret !== undefined && { client_secret: stranger.secret }),
      }
      for (const token of [tokens.access_token, tokens.refresh_token]) {
        const answer = await house.fetch(`${house.origin}/oauth/introspect`, form({ token, ...credentials }))
        expect([answer.status, await answer.json()]).toEqual([200, { active: false }])
      }
    }
    const own = await house.fetch(
      `${house.origin}/oauth/introspect`,
      form({ token: tokens.access_token, client_id: client.id }),
    )
    expect(await own.json()).toMatchObject({ active: true, username: 'ana' })
  })
})
