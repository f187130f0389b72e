// Revocation and introspection: what a client gives up is dead at once, and of dead tokens nothing is said.
import { describe, expect, it } from 'vitest'
import { codeFor, exchange, logIn, refresh, register } from './oauth-steps.ts'
import { createWorld, get, post, postJson, resource, run, type World } from './oauth-world.ts'

const revoke = (world: World, fields: Record<string, string>) =>
  run(world.handlers.revoke, post('/oauth/revoke', fields))
const introspect = (world: World, fields: Record<string, string>, headers: Record<string, string> = {}) =>
  run(world.handlers.introspect, post('/oauth/introspect', fields, headers))
const alive = async (world: World, access: string) => {
  world.clock.now += 500
  return world.guard([`Bearer ${access}`], world.directory.only as never).then(
    () => true,
    () => false,
  )
}

describe('revocation', () => {
  it.each(['refresh', 'access'] as const)(
    '[H-I1] of the %s token ends both within a second',
    async (kind) => {
      const world = await createWorld()
      const { client, ...tokens } = await logIn(world)
      expect(await alive(world, tokens.access)).toBe(true)
      const { status, headers } = await revoke(world, { token: tokens[kind], client_id: client.id })
      expect([status, headers.get('cache-control')]).toEqual([200, 'no-store'])
      expect(await alive(world, tokens.access)).toBe(false)
      expect((await refresh(world, client, tokens.refresh)).body['error']).toBe('invalid_grant')
      expect(world.events.filter(({ event }) => event === 'token.revoked')).toHaveLength(1)
    },
  )

  it('[H-I3] of a foreign or unknown token says 200 and does nothing; without authentication it says 401', async () => {
    const world = await createWorld()
    const { client, ...tokens } = await logIn(world)
    const stranger = await register(world, { token_endpoint_auth_method: 'client_secret_post' })
    const answers = [
      await revoke(world, {
        token: tokens.refresh,
        client_id: stranger.id,
        client_secret: stranger.secret ?? '',
      }),
      await revoke(world, {
        token: tokens.access,
        client_id: stranger.id,
        client_secret: stranger.secret ?? '',
      }),
      await revoke(world, { token: 'unknown', client_id: client.id }),
      await revoke(world, { token: `${tokens.refresh}x`, client_id: client.id }),
      await revoke(world, { token: tokens.refresh }),
      await revoke(world, { token: tokens.refresh, client_id: stranger.id }),
      await revoke(world, { token: tokens.refresh, client_id: stranger.id, client_secret: 'wrong' }),
      await revoke(world, { token: tokens.refresh, client_id: 'client_aaaaaaaaaaaaaaaaaaaaaa' }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 401, 401, 401, 401])
    expect(await alive(world, tokens.access)).toBe(true)
  })

  it('[H-I4] comes as a posted form with a token; its hint is of no importance', async () => {
    const world = await createWorld()
    const { client, access, refresh: token } = await logIn(world)
    expect((await run(world.handlers.revoke, get(`/oauth/revoke?token=${token}`))).status).toBe(405)
    expect(
      (await run(world.handlers.revoke, postJson('/oauth/revoke', { token, client_id: client.id }))).status,
    ).toBe(400)
    expect((await revoke(world, { client_id: client.id })).body['error']).toBe('invalid_request')
    expect(await alive(world, access)).toBe(true)
    expect((await revoke(world, { token, client_id: client.id, token_type_hint: 'nonsense' })).status).toBe(
      200,
    )
    expect(await alive(world, access)).toBe(false)
  })

  it('of a code that was not redeemed leaves nothing to redeem', async () => {
    const world = await createWorld()
    const client = await register(world)
    const code = await codeFor(world, client)
    await revoke(world, { token: code, client_id: client.id })
    expect((await exchange(world, client, code)).body['error']).toBe('invalid_grant')
  })
})

describe('introspection', () => {
  it('tells a client what its own tokens are worth', async () => {
    const world = await createWorld()
    const { client, access, refresh: token } = await logIn(world)
    const told = await introspect(world, { token: access, client_id: client.id })
    expect(told.body).toMatchObject({
      active: true,
      scope: 'mcp',
      client_id: client.id,
      sub: 'local:ana',
      username: 'ana',
      aud: resource,
      token_type: 'Bearer',
      exp: world.clock.now / 1000 + 3600,
    })
    expect((await introspect(world, { token, client_id: client.id })).body).toMatchObject({
      active: true,
      client_id: client.id,
    })
  })

  it('[H-I6] says of every other token that it is not active, and nothing else', async () => {
    const world = await createWorld()
    const { client, access, refresh: token } = await logIn(world)
    const stranger = await register(world)
    const code = await codeFor(world, client)
    const asked = [
      await introspect(world, { token: access, client_id: stranger.id }),
      await introspect(world, { token, client_id: stranger.id }),
      await introspect(world, { token: 'garbage', client_id: client.id }),
      await introspect(world, { token: code, client_id: client.id }),
      await introspect(world, { token: client.access, client_id: client.id }),
    ]
    const next = await refresh(world, client, token)
    await refresh(world, client, String(next.body['refresh_token']))
    asked.push(await introspect(world, { token, client_id: client.id }))
    world.clock.now += 3_600_000
    asked.push(await introspect(world, { token: access, client_id: client.id }))
    for (const { status, text } of asked) expect([status, text]).toEqual([200, '{"active":false}'])
  })

  it('answers a client of the configuration that authenticates for any access token, and registered ones for their own alone', async () => {
    const secret = 's'.repeat(32)
    const monitor = {
      name: 'Monitor',
      redirect_uris: ['https://m.test/'],
      token_endpoint_auth_method: 'client_secret_basic' as const,
      client_secret: secret,
    }
    const world = await createWorld({
      config: { clients: { monitor, open: { name: 'Open', redirect_uris: ['https://o.test/'] } } },
    })
    const { access, refresh: token } = await logIn(world)
    const basic = { authorization: `Basic ${btoa(`monitor:${secret}`)}` }
    expect((await introspect(world, { token: access }, basic)).body).toMatchObject({
      active: true,
      username: 'ana',
    })
    expect((await introspect(world, { token }, basic)).body).toEqual({ active: false })
    expect((await introspect(world, { token: access, client_id: 'open' })).body).toEqual({ active: false })
    for (const method of ['client_secret_post', 'client_secret_basic', 'none']) {
      const anybody = await register(world, { token_endpoint_auth_method: method })
      const credentials = {
        client_id: anybody.id,
        ...(method === 'client_secret_post' && { client_secret: String(anybody.secret) }),
      }
      const header =
        method === 'client_secret_basic'
          ? { authorization: `Basic ${btoa(`${anybody.id}:${anybody.secret}`)}` }
          : {}
      for (const shown of [access, token])
        expect((await introspect(world, { token: shown, ...credentials }, header)).body, method).toEqual({
          active: false,
        })
    }
    expect(
      (await introspect(world, { token: access }, { authorization: `Basic ${btoa('monitor:wrong')}` }))
        .status,
    ).toBe(401)
    expect((await introspect(world, { token: access })).status).toBe(401)
  })
})
