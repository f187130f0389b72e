// The token endpoint: codes that are spent once and only by who may, refreshes that are idempotent, and
// errors that keep clients logged in.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { afterAll, describe, expect, it } from 'vitest'
import { openSqliteStore } from '../../src/node/store.ts'
import type { Store } from '../../src/ports/store.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { codeFor, exchange, logIn, refresh, register } from './oauth-steps.ts'
import { createWorld, get, origin, post, postJson, resource, run, type World } from './oauth-world.ts'

const live = (world: World, access: string) =>
  world.guard([`Bearer ${access}`], world.directory.only as never)
const statuses = (outcomes: readonly { status: number }[]) =>
  Object.entries(Object.groupBy(outcomes, ({ status }) => String(status)))
    .map(([status, list]) => `${list?.length}x${status}`)
    .toSorted()
    .join(' ')

describe('an authorization code', () => {
  it('that was issued while a block was written comes to nothing, and is not spent by that', async () => {
    let blocked = false
    const world = await createWorld({ blocked: () => blocked })
    const client = await register(world)
    const code = await codeFor(world, client)
    blocked = true
    expect(await exchange(world, client, code)).toMatchObject({
      status: 400,
      code: 'code.blocked',
      body: { error: 'invalid_grant' },
    })
    blocked = false
    expect((await exchange(world, client, code)).status).toBe(200)
  })

  it('[A1] [H-G1] becomes a bearer token for one resource, with nothing left out and nothing null', async () => {
    const world = await createWorld()
    const client = await register(world)
    const answer = await exchange(world, client, await codeFor(world, client, { resource }))
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('pragma')).toBe('no-cache')
    expect(Object.keys(answer.body).toSorted()).toEqual([
      'access_token',
      'expires_in',
      'refresh_token',
      'scope',
      'token_type',
    ])
    expect(answer.body).toMatchObject({ token_type: 'Bearer', expires_in: 3600, scope: 'mcp' })
    const access = String(answer.body['access_token'])
    expect(decodeProtectedHeader(access)).toMatchObject({ alg: 'ES256', typ: 'at+jwt' })
    expect(Object.keys(decodeJwt(access)).toSorted()).toEqual([
      'aud',
      'client_id',
      'exp',
      'gid',
      'iat',
      'iss',
      'jti',
      'scope',
      'sub',
    ])
    expect(decodeJwt(access)).toMatchObject({
      iss: origin,
      aud: resource,
      sub: 'local:ana',
      client_id: client.id,
      scope: 'mcp',
    })
    expect(await live(world, access)).toMatchObject({
      clientId: client.id,
      resource,
      scopes: ['mcp'],
      person: { email: 'ana@example.com' },
    })
  })

  it('[H-G5, H-G6, H-G7, H-G9, H-G10, H-G13] stays good through every wrong attempt', async () => {
    const world = await createWorld({ services: { echo: {}, other: {} } })
    const client = await register(world)
    const stranger = await register(world)
    const code = await codeFor(world, client, { resource })
    const wrong: [Record<string, string>, string][] = [
      [{ code_verifier: 'w'.repeat(43) }, 'invalid_grant'],
      [{ code_verifier: 'v'.repeat(42) }, 'invalid_grant'],
      [{ code_verifier: 'v'.repeat(129) }, 'invalid_grant'],
      [{ code_verifier: `${'v'.repeat(42)}=` }, 'invalid_grant'],
      [{ code_verifier: 'V'.repeat(43) }, 'invalid_grant'],
      [{ code_verifier: '' }, 'invalid_request'],
      [{ redirect_uri: '' }, 'invalid_grant'],
      [{ redirect_uri: 'https://app.test/cb2' }, 'invalid_grant'],
      [{ redirect_uri: 'https%3A%2F%2Fapp.test%2Fcb' }, 'invalid_grant'],
      [{ client_id: stranger.id }, 'invalid_grant'],
      [{ client_id: 'client_aaaaaaaaaaaaaaaaaaaaaa' }, 'invalid_client'],
      [{ client_id: '' }, 'invalid_client'],
      [{ resource: `${origin}/other/mcp` }, 'invalid_target'],
      [{ resource: 'https://evil.test' }, 'invalid_target'],
    ]
    for (const [more, error] of wrong) {
      const answer = await exchange(world, client, code, more)
      expect([more, answer.status, answer.body['error']]).toEqual([
        more,
        error === 'invalid_client' ? 401 : 400,
        error,
      ])
    }
    expect((await exchange(world, client, code, { resource: 'HTTPS://GW.TEST:443/echo/mcp/' })).status).toBe(
      200,
    )
  })

  it('[H-G15, H-G16] is read from one form alone, each parameter once', async () => {
    const world = await createWorld()
    const client = await register(world)
    const code = await codeFor(world, client)
    const fields = {
      grant_type: 'authorization_code',
      code,
      client_id: client.id,
      redirect_uri: client.redirectUri,
      code_verifier: 'v'.repeat(43),
    }
    const query = new URLSearchParams(fields).toString()
    const requests = [
      get(`/oauth/token?${query}`),
      post(`/oauth/token?${query}`, ''),
      postJson('/oauth/token', fields),
      post('/oauth/token', query, { 'content-type': 'text/plain' }),
      post('/oauth/token', query, { 'content-type': 'multipart/form-data; boundary=x' }),
      post('/oauth/token', query, { 'content-type': 'application/x-www-form-urlencoded; charset=utf-16' }),
      post('/oauth/token', `${query}&code=${code}`),
      post('/oauth/token', `${query}&grant_type=authorization_code`),
      post('/oauth/token', `${query}&client_id=${client.id}`),
    ]
    const answers = await Promise.all(requests.map((request) => run(world.handlers.token, request)))
    expect(answers.map(({ status, body }) => [status, body['error']])).toEqual([
      [405, 'invalid_request'],
      ...Array.from({ length: 8 }, () => [400, 'invalid_request']),
    ])
    expect((await exchange(world, client, code)).status).toBe(200)
  })

  it('[H-D5] is bound to the port that was asked for', async () => {
    const world = await createWorld()
    const client = {
      ...(await register(world, { redirect_uris: ['http://127.0.0.1/cb'] })),
      redirectUri: 'http://127.0.0.1:49152/cb',
    }
    const code = await codeFor(world, client)
    expect(
      (await exchange(world, client, code, { redirect_uri: 'http://127.0.0.1:49153/cb' })).body['error'],
    ).toBe('invalid_grant')
    expect((await exchange(world, client, code)).status).toBe(200)
  })

  it.each([
    [0, 'code.expired'],
    [599_999, 'code.expired'],
    [600_000, 'code.unknown'],
  ])('%d ms after its lifetime is refused as %s', async (late, why) => {
    const world = await createWorld({ config: { code_lifetime: 60 } })
    const client = await register(world)
    const code = await codeFor(world, client)
    world.clock.now += 60_000 + late
    expect(await exchange(world, client, code)).toMatchObject({
      status: 400,
      code: why,
      body: { error: 'invalid_grant' },
    })
    expect(await exchange(world, client, code, { code_verifier: 'w'.repeat(43) })).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    })
  })

  it('[H-G18] is no refresh token, no bearer token, and no other kind of token is a code', async () => {
    const world = await createWorld()
    const { client, access, refresh: token } = await logIn(world)
    const code = await codeFor(world, client)
    expect((await refresh(world, client, code)).body['error']).toBe('invalid_grant')
    for (const other of [token, access, client.access, 'x', 'pc_'.padEnd(300, 'x')])
      expect((await exchange(world, client, other)).body['error']).toBe('invalid_grant')
    expect((await refresh(world, client, access)).body['error']).toBe('invalid_grant')
    for (const other of [code, token, client.access, world.who.session?.id ?? ''])
      await expect(live(world, other)).rejects.toMatchObject({ code: 'token.malformed' })
  })
})

describe('a refresh token', () => {
  it('[A9] [H-H1, H-H9, H-H10] is replaced, keeps scope and audience, and narrows one access token only', async () => {
    const world = await createWorld({ services: { echo: { scopes: ['read', 'write'] }, other: {} } })
    const { client, refresh: token } = await logIn(world, {}, { resource, scope: 'read write' })
    expect((await refresh(world, client, token, { scope: 'read admin' })).body['error']).toBe('invalid_scope')
    expect((await refresh(world, client, token, { resource: `${origin}/other/mcp` })).body['error']).toBe(
      'invalid_target',
    )
    const narrow = await refresh(world, client, token, { scope: 'read', resource })
    expect(narrow).toMatchObject({ status: 200, body: { scope: 'read' } })
    expect(narrow.body['refresh_token']).not.toBe(token)
    const full = await refresh(world, client, String(narrow.body['refresh_token']), { scope: '' })
    expect(full).toMatchObject({ status: 200, body: { scope: 'read write' } })
    expect(decodeJwt(String(full.body['access_token'])).aud).toBe(resource)
  })

  it('[H-H3] answers a lost answer again, however late, with the same successor', async () => {
    const world = await createWorld()
    const { client, refresh: token } = await logIn(world)
    const successors = new Set<unknown>()
    for (const wait of [0, 300_000, 7_200_000]) {
      world.clock.now += wait
      successors.add((await refresh(world, client, token)).body['refresh_token'])
    }
    expect(successors.size).toBe(1)
    expect((await refresh(world, client, String([...successors][0]))).status).toBe(200)
  })

  it('[H-H4, H-H5, H-H6] still answers within the grace after its successor was used; beyond it the family ends, its access tokens too, and the trail says so', async () => {
    const world = await createWorld()
    const { client, refresh: first } = await logIn(world)
    const second = String((await refresh(world, client, first)).body['refresh_token'])
    const third = await refresh(world, client, second)
    world.clock.now += 59_000
    expect((await refresh(world, client, first)).body['refresh_token']).toBe(second)
    expect((await refresh(world, client, second)).body['refresh_token']).toBe(third.body['refresh_token'])
    world.clock.now += 2_000
    await expect(live(world, String(third.body['access_token']))).resolves.toMatchObject({
      person: { provider: 'local', subject: 'ana' },
    })
    const reused = await refresh(world, client, first)
    expect([reused.status, reused.body['error'], reused.code]).toEqual([
      400,
      'invalid_grant',
      'refresh.reuse',
    ])
    world.clock.now += 1_000
    await expect(live(world, String(third.body['access_token']))).rejects.toMatchObject({
      code: 'token.revoked',
    })
    expect((await refresh(world, client, String(third.body['refresh_token']))).body['error']).toBe(
      'invalid_grant',
    )
    expect(world.events.find(({ event }) => event === 'refresh.reuse')).toMatchObject({
      reason: 'refresh_reuse',
      client: client.id,
      ip: '192.0.2.1',
    })
  })

  it('never harms its family when it is forged, cut or sent by another client', async () => {
    const world = await createWorld()
    const { client, access, refresh: token } = await logIn(world)
    const stranger = await register(world)
    const [head, generation, key, mac] = token.split('.') as [string, string, string, string]
    const forged = [
      `${head}.9.${key}.${mac}`,
      `${head}.${generation}.${key}.${'A'.repeat(43)}`,
      `${head}.${generation}.00000000.${mac}`,
      token.slice(0, -1),
      `${token}x`,
      `${head}.-1.${key}.${mac}`,
      `pr_${'A'.repeat(32)}.0.${key}.${mac}`,
    ]
    for (const bad of forged) expect((await refresh(world, client, bad)).body['error']).toBe('invalid_grant')
    expect((await refresh(world, stranger, token)).body['error']).toBe('invalid_grant')
    await expect(live(world, access)).resolves.toMatchObject({
      person: { provider: 'local', subject: 'ana' },
    })
    expect((await refresh(world, client, token)).status).toBe(200)
  })

  it('ends when it lies unused for its lifetime, and slides when it is used', async () => {
    const world = await createWorld({ config: { refresh_token_lifetime: 86_400, client_lifetime: 0 } })
    const { client, refresh: token } = await logIn(world)
    world.clock.now += 80_000_000
    const next = await refresh(world, client, token)
    world.clock.now += 80_000_000
    expect((await refresh(world, client, String(next.body['refresh_token']))).status).toBe(200)
    world.clock.now += 86_400_000
    expect((await refresh(world, client, String(next.body['refresh_token']))).body['error']).toBe(
      'invalid_grant',
    )
  })

  it('[H-H17] is absent, never null, for a client that did not register the grant type', async () => {
    const world = await createWorld()
    const client = await register(world, { grant_types: ['authorization_code'] })
    const answer = await exchange(world, client, await codeFor(world, client))
    expect(Object.keys(answer.body)).not.toContain('refresh_token')
    const asked = await exchange(world, client, await codeFor(world, client, { scope: 'mcp offline_access' }))
    expect(asked.body).toMatchObject({
      scope: 'mcp offline_access',
      refresh_token: expect.stringMatching(/^pr_/) as string,
    })
  })
})

const folders: string[] = []
afterAll(() => folders.forEach((dir) => rmSync(dir, { recursive: true, force: true })))
const sqlite = (now: () => number): Store => {
  const dir = mkdtempSync(join(tmpdir(), 'postern-oauth-'))
  folders.push(dir)
  return openSqliteStore(join(dir, 'postern.db'), { now }).store
}

describe.each([
  ['memory', (now: () => number): Store => createMemoryStore({ now })],
  ['SQLite', sqlite],
])('at once, on %s', (_, store) => {
  it('[H-G2] one code and 50 exchanges make exactly one grant, whose tokens live', async () => {
    const world = await createWorld({ store })
    const client = await register(world)
    for (let round = 0; round < 5; round++) {
      const code = await codeFor(world, client)
      const outcomes = await Promise.all(Array.from({ length: 50 }, () => exchange(world, client, code)))
      expect(statuses(outcomes)).toBe('1x200 49x400')
      expect(
        new Set(outcomes.filter(({ status }) => status === 400).map(({ body }) => body['error'])),
      ).toEqual(new Set(['invalid_grant']))
      const winner = outcomes.find(({ status }) => status === 200)
      await expect(live(world, String(winner?.body['access_token']))).resolves.toMatchObject({
        person: { provider: 'local', subject: 'ana' },
      })
    }
  })

  it('[H-H2] one refresh token and 50 refreshes yield one successor, which works', async () => {
    const world = await createWorld({ store })
    const { client, ...tokens } = await logIn(world)
    let token = tokens.refresh
    for (let round = 0; round < 5; round++) {
      const outcomes = await Promise.all(Array.from({ length: 50 }, () => refresh(world, client, token)))
      expect(statuses(outcomes)).toBe('50x200')
      expect(new Set(outcomes.map(({ body }) => body['refresh_token'])).size).toBe(1)
      token = String(outcomes[0]?.body['refresh_token'])
    }
  })
})
