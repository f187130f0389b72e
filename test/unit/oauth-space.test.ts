// What strangers may make the store hold: a registration lives as long as it is told, and a flood of
// newcomers ends before the store does.
import { describe, expect, it } from 'vitest'
import { createLimit, paces } from '../../src/policy/rate-limit.ts'
import type { Limit } from '../../src/ports/modules.ts'
import { ask, codeFor, decide, exchange, logIn, refresh, register, toConsent } from './oauth-steps.ts'
import { createWorld, origin, post, postJson, run, context, type World } from './oauth-world.ts'

const day = 86_400_000
const kept = async (world: World) => (await world.store.list('client:')).length

describe('a registration that nobody has signed in with', () => {
  it.each([
    ['with a secret', { token_endpoint_auth_method: 'client_secret_post' }, 90 * day],
    ['of a public client', {}, 90 * day],
  ])('[A8] %s lives as long as it is told, to the second, and ends then', async (_, metadata, lives) => {
    const world = await createWorld({ config: { client_lifetime: lives / 1000 } })
    const { body } = await run(
      world.handlers.register,
      postJson('/oauth/register', {
        redirect_uris: ['https://app.test/cb'],
        token_endpoint_auth_method: 'none',
        ...metadata,
      }),
    )
    expect(body['client_secret_expires_at']).toBe(
      'client_secret' in body ? (world.clock.now + lives) / 1000 : undefined,
    )
    const client = { id: String(body['client_id']), redirectUri: 'https://app.test/cb' }
    world.clock.now += lives - 1
    expect((await ask(world, client)).code).toBeUndefined()
    world.clock.now += 1
    expect((await ask(world, client)).code).toBe('client.unknown')
    expect(await refresh(world, client, 'pr_x')).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    })
  })

  it('never ends where that is what it is told: 0', async () => {
    const world = await createWorld({ config: { client_lifetime: 0 } })
    const { body } = await run(
      world.handlers.register,
      postJson('/oauth/register', { redirect_uris: ['https://app.test/cb'] }),
    )
    expect(body['client_secret_expires_at']).toBe(0)
    world.clock.now += 3650 * day
    expect(
      (await ask(world, { id: String(body['client_id']), redirectUri: 'https://app.test/cb' })).code,
    ).toBeUndefined()
  })

  it('is not kept alive by whoever knows its id, nor by a no', async () => {
    const world = await createWorld({ config: { client_lifetime: (2 * day) / 1000 } })
    world.signIn()
    const client = await register(world)
    world.clock.now += 2 * day - 60_000
    await decide(world, await toConsent(world, client), 'deny')
    await refresh(world, client, 'pr_x')
    await run(
      world.handlers.token,
      post('/oauth/token', {
        grant_type: 'authorization_code',
        code: 'pc_x',
        code_verifier: 'v'.repeat(43),
        client_id: client.id,
      }),
    )
    world.clock.now += 60_001
    expect((await ask(world, client)).code).toBe('client.unknown')
  })

  it('that its owner replaces is told anew how long it lives, and does', async () => {
    const world = await createWorld({ config: { client_lifetime: (2 * day) / 1000 } })
    const client = await register(world, { token_endpoint_auth_method: 'client_secret_post' })
    world.clock.now += day
    const sent = {
      client_id: client.id,
      redirect_uris: [client.redirectUri],
      token_endpoint_auth_method: 'client_secret_post',
    }
    const put = new Request(`${origin}/oauth/register/${client.id}`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${client.access}`, 'content-type': 'application/json' },
      body: JSON.stringify(sent),
    })
    expect((await run(world.handlers.manage, put)).body['client_secret_expires_at']).toBe(
      (world.clock.now + 2 * day) / 1000,
    )
    world.clock.now += 2 * day - 1
    expect((await ask(world, client)).code).toBeUndefined()
  })

  it('lives its whole life again from the moment somebody allows it something, even at the last minute', async () => {
    const world = await createWorld({ config: { client_lifetime: 30 * 86_400 } })
    world.signIn()
    const client = await register(world)
    world.clock.now += 30 * day - 1000
    await decide(world, await toConsent(world, client), 'allow')
    world.clock.now += 29 * day
    expect((await ask(world, client)).code).toBeUndefined()
    world.clock.now += 2 * day
    expect((await ask(world, client)).code).toBe('client.unknown')
  })
})

/** Uses up what all addresses together may have kept. */
const fill = async (limit: Limit, kind: 'kept-registrations' | 'kept-flows', ip: string): Promise<void> => {
  await limit(kind, { ip }, paces[kind].points - 100)
  for (let i = 0; i < 101; i++) await limit(kind, { ip }).catch(() => undefined)
}

describe('a flood of newcomers', () => {
  it('[H-R8] from elsewhere hits nobody', async () => {
    const limit = createLimit({ now: () => 0, loopback: false })
    const world = await createWorld({ limit })
    await fill(limit, 'kept-registrations', '2001:db8::1')
    await fill(limit, 'kept-flows', '2001:db8::1')
    const client = await register(world)
    expect((await ask(world, client)).code).toBeUndefined()
    expect(await world.store.list('authorization-request:')).toHaveLength(1)
  })

  const flooded = async () => {
    const limit = createLimit({ now: () => 0, loopback: false })
    const world = await createWorld({ limit })
    const session = await logIn(world)
    world.who.session = undefined
    return { world, limit, ...session }
  }

  it('[H-R8] of registrations hits the address it came from, and nobody who has a grant', async () => {
    const { world, limit, client, ...tokens } = await flooded()
    await fill(limit, 'kept-registrations', context.ip)
    const before = await kept(world)
    expect(
      await run(
        world.handlers.register,
        postJson('/oauth/register', { redirect_uris: ['https://app.test/cb'] }),
      ),
    ).toMatchObject({ status: 429, code: 'rate.limited' })
    expect(await kept(world)).toBe(before)
    expect((await refresh(world, client, tokens.refresh)).status).toBe(200)
    expect((await exchange(world, client, await codeFor(world, client))).status).toBe(200)
  })

  it('[H-R8] of authorization requests hits browsers at its address, and nobody who is signed in or refreshes', async () => {
    const { world, limit, client, ...tokens } = await flooded()
    await fill(limit, 'kept-flows', context.ip)
    expect((await ask(world, client)).code).toBe('rate.limited')
    expect(await world.store.list('authorization-request:')).toHaveLength(1)
    expect((await refresh(world, client, tokens.refresh)).status).toBe(200)
    world.signIn()
    expect((await exchange(world, client, await codeFor(world, client))).status).toBe(200)
  })

  it('is counted by size, for the address as for all, and one registration is at most 16 KiB', async () => {
    const { world } = await flooded()
    const uris = (n: number) =>
      Array.from({ length: n }, (_, i) => `https://app.test/${i}/${'x'.repeat(1000)}`)
    const send = (n: number) =>
      run(
        world.handlers.register,
        postJson('/oauth/register', { redirect_uris: uris(n), token_endpoint_auth_method: 'none' }),
      )
    expect((await send(17)).body['error']).toBe('invalid_client_metadata')
    let made = 0
    while ((await send(14)).status === 201) made++
    expect(made).toBe(Math.floor((paces.register.points - 1) / 15))
  })

  it('[H-R8] of one kind of client leaves room for others at its address, which has room for five kinds', async () => {
    const world = await createWorld({ limit: createLimit({ now: () => 0, loopback: false }) })
    const send = async (uri: string): Promise<number> =>
      (
        await run(
          world.handlers.register,
          postJson('/oauth/register', { redirect_uris: [uri], token_endpoint_auth_method: 'none' }),
        )
      ).status
    const flood = async (uriOf: (i: number) => string): Promise<number> => {
      for (let made = 0; ; made++) if ((await send(uriOf(made))) !== 201) return made
    }
    const { points } = paces.register
    // The port and the scheme of a program are no kind of their own.
    expect(await flood((i) => (i % 2 === 0 ? `http://127.0.0.1:${4000 + i}/cb` : `app${i}://cb`))).toBe(
      points,
    )
    expect(await flood(() => 'https://app.test/cb')).toBe(points)
    expect([await send('https://other.test/cb'), await send('https://app.test/cb2')]).toEqual([201, 429])
    // Those that were refused counted for the address, too.
    const rest = paces['register-address'].points - 2 * points - 4
    expect(await flood((i) => `https://app${i}.test/cb`)).toBe(rest)
  })
})
