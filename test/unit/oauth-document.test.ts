// Client ID Metadata Documents: a URL that describes its client is believed as far as its host vouches for
// it, on every leg, and costs one small fetch at most.
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import { describe, expect, it } from 'vitest'
import { freshnessOf } from '../../src/oauth/client-id-document.ts'
import { ask, codeFor, decide, exchange, refresh, toConsent } from './oauth-steps.ts'
import { createWorld, origin, post, run, verifier, type World } from './oauth-world.ts'

const url = 'https://cimd.test/client.json'
const client = { id: url, redirectUri: 'https://app.test/cb' }
const document = {
  client_id: url,
  client_name: 'Doc app',
  redirect_uris: ['https://app.test/cb', 'http://localhost/callback'],
}
const worldWith = async (body: unknown = document, headers: Record<string, string> = {}) => {
  const world = await createWorld()
  world.web.pages.set(url, { body, headers })
  return world
}

describe('a client that names its document', () => {
  it('[A5] [H-C1] is shown with its name, its host and the host of its redirect, and logs in without registering', async () => {
    const world = await worldWith()
    world.signIn()
    const asked = await toConsent(world, client)
    for (const text of ['Doc app', 'cimd.test', 'app.test']) expect(asked.page.text).toContain(text)
    const code = (await decide(world, asked, 'allow')).location?.searchParams.get('code') ?? ''
    const tokens = await exchange(world, client, code)
    expect(tokens.status).toBe(200)
    expect((await refresh(world, client, String(tokens.body['refresh_token']))).status).toBe(200)
    expect(world.web.asked).toEqual([url])
  })

  it('[A6] [H-D4] may come back on any port of a loopback redirect in its document', async () => {
    const world = await worldWith()
    expect(
      (await ask(world, { ...client, redirectUri: 'http://localhost:51234/callback' })).location?.pathname,
    ).toBe('/login')
    expect((await ask(world, { ...client, redirectUri: 'http://127.0.0.1:51234/callback' })).code).toBe(
      'redirect.mismatch',
    )
  })

  it.each([
    ['https://cimd.test/client.jso'],
    ['https://cimd.test/client.json/'],
    ['https://CIMD.test/client.json'],
    ['https://cimd.test:443/client.json'],
    [undefined],
    [42],
  ])('[H-C2] is refused when the document names %s', async (client_id) => {
    const world = await worldWith({ ...document, client_id })
    expect(await ask(world, client)).toMatchObject({ status: 400, code: 'client.document' })
  })

  it('[H-C3, H-C17] is refused without any connection when the id is no such URL, or one of ours', async () => {
    const world = await createWorld()
    const bad = [
      'http://cimd.test/c.json',
      'https://cimd.test/c#x',
      'https://u:p@cimd.test/c',
      'https://cimd.test/a/../c',
      'https://cimd.test/%2e/c',
      'https://cimd.test',
      'https://cimd.test/',
      `https://cimd.test/${'x'.repeat(3000)}`,
      'https://xn--clude-2va.ai/c',
      'https:cimd.test/c',
      `${origin}/anything.json`,
      `${origin}:443/x.json`,
      'https://echo.upstream.test/client.json',
      'https://gw.test./c',
    ]
    for (const id of bad) {
      const answer = await ask(world, { ...client, id })
      expect([id, answer.status, answer.location]).toEqual([id, 400, undefined])
    }
    expect(world.web.asked).toEqual([])
  })

  it('[H-C9] is refused for a document that is none, and asked again after a minute at the latest', async () => {
    const bodies: [unknown, Record<string, string>?][] = [
      ['<html>', { 'content-type': 'text/html' }],
      [document, { 'content-type': 'text/html' }],
      ['{'],
      [[document]],
      [{ ...document, redirect_uris: undefined }],
      [{ ...document, redirect_uris: [] }],
      [{ ...document, redirect_uris: 'https://app.test/cb' }],
      [{ ...document, redirect_uris: ['http://app.test/cb'] }],
      [{ ...document, client_name: undefined }],
      [{ ...document, client_name: ' ' }],
      [{ ...document, client_secret: 'x' }],
      [{ ...document, client_secret_expires_at: 0 }],
      [{ ...document, token_endpoint_auth_method: 'client_secret_post' }],
      [{ ...document, token_endpoint_auth_method: 'private_key_jwt' }],
      [
        {
          ...document,
          token_endpoint_auth_method: 'private_key_jwt',
          jwks: { keys: [{ kty: 'oct', k: 'x' }] },
        },
      ],
      [{ ...document, grant_types: ['client_credentials'] }],
      [{ ...document, padding: 'x'.repeat(5 * 1024) }],
    ]
    for (const [body, headers] of bodies) {
      const world = await worldWith(body, headers)
      const answers = await Promise.all([ask(world, client), ask(world, client)])
      expect([JSON.stringify(body).slice(0, 200), ...answers.map(({ code }) => code)]).toEqual([
        JSON.stringify(body).slice(0, 200),
        'client.document',
        'client.document',
      ])
      expect(world.web.asked).toHaveLength(1)
      world.web.pages.set(url, { body: document })
      world.clock.now += 60_000
      expect((await ask(world, client)).location?.pathname).toBe('/login')
    }
    for (const status of [201, 204, 301, 404, 500]) {
      const world = await createWorld()
      world.web.pages.set(url, { status, body: document })
      expect([status, (await ask(world, client)).code]).toEqual([
        status,
        status === 500 ? 'client.document-unreachable' : 'client.document',
      ])
    }
  })

  it('[H-C4, H-C6, H-C8] is refused with a page when the guard forbids the connection, or it fails', async () => {
    for (const [failure, status, code] of [
      ['refused', 400, 'client.document'],
      ['down', 503, 'client.document-unreachable'],
    ] as const) {
      const world = await createWorld()
      world.web.pages.set(url, failure)
      expect(await ask(world, client)).toMatchObject({ status, code })
    }
  })
})

describe('the document', () => {
  it('is kept as long as HTTP says, a day at most, and read once however many ask', async () => {
    const now = Date.UTC(2026, 0, 1)
    const age = (headers: Record<string, string>) => freshnessOf(new Headers(headers), now)
    expect(age({ 'cache-control': 'max-age=60' })).toBe(60_000)
    expect(age({ 'cache-control': 'public, max-age=60', age: '20' })).toBe(40_000)
    expect(age({ 'cache-control': 'max-age=99999999' })).toBe(86_400_000)
    expect(age({ 'cache-control': 'no-cache' })).toBe(0)
    expect(age({ 'cache-control': 'no-store, max-age=60' })).toBeUndefined()
    expect(age({ expires: new Date(now + 5000).toUTCString() })).toBe(5000)
    expect(age({ expires: '0' })).toBe(0)
    expect(age({})).toBe(600_000)
    const world = await worldWith(document, { 'cache-control': 'max-age=60' })
    await Promise.all(Array.from({ length: 20 }, () => ask(world, client)))
    expect(world.web.asked).toHaveLength(1)
    world.clock.now += 60_000
    await ask(world, client)
    expect(world.web.asked).toHaveLength(2)
  })

  it('[H-C15] is taken from the last good copy while its host is down, and without one the client is told to wait', async () => {
    const world = await worldWith(document, { 'cache-control': 'max-age=60' })
    const tokens = await exchange(world, client, await codeFor(world, client))
    world.clock.now += 3_600_000
    world.web.pages.set(url, 'down')
    const again = await refresh(world, client, String(tokens.body['refresh_token']))
    expect(again.status).toBe(200)
    expect(await ask(world, client)).toMatchObject({ status: 503, code: 'client.document-unreachable' })
    const unkept = await worldWith(document, { 'cache-control': 'no-store' })
    const { body } = await exchange(unkept, client, await codeFor(unkept, client))
    for (const failure of ['down', { status: 503 }, { status: 429 }] as const) {
      unkept.clock.now += 60_000
      unkept.web.pages.set(url, failure)
      const told = await refresh(unkept, client, String(body['refresh_token']))
      expect([told.status, told.body['error'], told.headers.get('retry-after')]).toEqual([
        503,
        'temporarily_unavailable',
        '5',
      ])
    }
    unkept.clock.now += 60_000
    unkept.web.pages.set(url, { status: 404 })
    expect(await refresh(unkept, client, String(body['refresh_token']))).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    })
  })
})

describe('a client with a key', () => {
  const jwksUri = 'https://cimd.test/jwks.json'
  const preferring = {
    ...document,
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_methods_supported: ['none', 'private_key_jwt'],
    jwks_uri: jwksUri,
    token_endpoint_auth_signing_alg: 'RS256',
  }

  const keyed = async (alg = 'RS256', kid = 'k1') => {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
    return { privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
  }
  const setUp = async () => {
    const world = await worldWith(preferring)
    const key = await keyed()
    world.web.pages.set(jwksUri, { body: { keys: [key.jwk] }, headers: { 'cache-control': 'max-age=86400' } })
    return { world, key }
  }
  const assertion = async (
    world: World,
    { privateKey }: { privateKey: CryptoKey | Uint8Array },
    { header, ...claims }: Record<string, unknown> = {},
  ) => {
    const now = Math.floor(world.clock.now / 1000)
    const payload = {
      iss: url,
      sub: url,
      aud: origin,
      iat: now,
      exp: now + 60,
      jti: crypto.randomUUID(),
      ...claims,
    }
    return new SignJWT(Object.fromEntries(Object.entries(payload).filter(([, value]) => value !== undefined)))
      .setProtectedHeader({ alg: 'RS256', kid: 'k1', ...(header as Record<string, string> | undefined) })
      .sign(privateKey)
  }
  const type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
  const send = (world: World, code: string, jwt: string | undefined, more: Record<string, string> = {}) =>
    run(
      world.handlers.token,
      post('/oauth/token', {
        grant_type: 'authorization_code',
        code,
        client_id: url,
        redirect_uri: client.redirectUri,
        code_verifier: verifier,
        ...(jwt !== undefined && { client_assertion: jwt, client_assertion_type: type }),
        ...more,
      }),
    )

  it('[A5] [H-C11] proves itself by RS256 for the issuer or the token endpoint, with or without its id beside', async () => {
    const { world, key } = await setUp()
    expect((await send(world, await codeFor(world, client), await assertion(world, key))).status).toBe(200)
    expect(
      (
        await send(
          world,
          await codeFor(world, client),
          await assertion(world, key, { aud: [`${origin}/oauth/token`] }),
          { client_id: '' },
        )
      ).status,
    ).toBe(200)
  })

  it('[H-C12] is refused for every assertion that is replayed, misdirected, stale or forged, and never taken for a public client', async () => {
    const { world, key } = await setUp()
    const stranger = await keyed()
    const code = await codeFor(world, client)
    const now = Math.floor(world.clock.now / 1000)
    const used = await assertion(world, key)
    // A refusal of something else does not use it up.
    expect((await send(world, 'pc_x', used)).body['error']).toBe('invalid_grant')
    expect((await send(world, await codeFor(world, client), used)).status).toBe(200)
    const publicAsSecret = new TextEncoder().encode(JSON.stringify(key.jwk))
    const forged: (string | undefined)[] = [
      used,
      await assertion(world, key, { aud: 'https://other.test' }),
      await assertion(world, key, { aud: [origin, 'https://other.test'] }),
      await assertion(world, key, { aud: undefined }),
      await assertion(world, key, { exp: now - 120 }),
      await assertion(world, key, { exp: now + 315_360_000 }),
      await assertion(world, key, { exp: undefined }),
      await assertion(world, key, { iat: now + 600 }),
      await assertion(world, key, { nbf: now + 600 }),
      await assertion(world, key, { sub: 'https://cimd.test/other.json' }),
      await assertion(world, key, { iss: 'https://cimd.test/other.json' }),
      await assertion(world, stranger),
      await assertion(world, key, { header: { kid: 'k9' } }),
      await assertion(world, { privateKey: publicAsSecret }, { header: { alg: 'HS256' } }),
      `${btoa('{"alg":"none"}').replaceAll('=', '')}.${used.split('.')[1]}.`,
      'x',
      'x.y.z',
      undefined,
    ]
    const answers: unknown[] = []
    for (const jwt of forged) answers.push((await send(world, code, jwt)).body['error'])
    expect(answers).toEqual(forged.map(() => 'invalid_client'))
    expect((await send(world, code, used, { client_assertion_type: 'urn:x' })).body['error']).toBe(
      'invalid_client',
    )
    expect((await send(world, code, await assertion(world, key), { client_secret: 'x' })).body['error']).toBe(
      'invalid_request',
    )
    expect((await send(world, code, await assertion(world, key))).status).toBe(200)
  })

  it('[H-C12] without an id is used once too, in whatever spelling of its signature', async () => {
    const { world, key } = await setUp()
    const used = await assertion(world, key, { jti: undefined })
    // RS256: 256 bytes leave four bits of the last character unused, and verifiers overlook them.
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const respelt = used.slice(0, -1) + alphabet[alphabet.indexOf(used.at(-1) ?? '') + 1]
    // A refusal of something else does not use it up.
    expect((await send(world, 'pc_x', used)).body['error']).toBe('invalid_grant')
    expect((await send(world, await codeFor(world, client), used)).status).toBe(200)
    for (const again of [used, respelt, `${used}=`])
      expect((await send(world, 'pc_x', again)).body['error']).toBe('invalid_client')
  })

  it('may rotate its keys: an unknown key id is looked up once more, at most every half minute', async () => {
    const { world, key } = await setUp()
    expect((await send(world, await codeFor(world, client), await assertion(world, key))).status).toBe(200)
    const next = await keyed('RS256', 'k2')
    world.web.pages.set(jwksUri, { body: { keys: [next.jwk] } })
    world.clock.now += 31_000
    expect(
      (
        await send(
          world,
          await codeFor(world, client),
          await assertion(world, next, { header: { kid: 'k2' } }),
        )
      ).status,
    ).toBe(200)
    const before = world.web.asked.length
    for (const kid of ['x1', 'x2', 'x3'])
      expect(
        (await send(world, await codeFor(world, client), await assertion(world, next, { header: { kid } })))
          .body['error'],
      ).toBe('invalid_client')
    expect(world.web.asked.length).toBe(before)
  })

  it('waits while its keys cannot be fetched, and is not logged out', async () => {
    const world = await worldWith(preferring)
    world.web.pages.set(jwksUri, 'down')
    const key = await keyed()
    expect(await send(world, await codeFor(world, client), await assertion(world, key))).toMatchObject({
      status: 503,
      body: { error: 'temporarily_unavailable' },
    })
  })
})
