// The bearer token at a service: one token, of this gateway, for this service, valid at this moment.
import { SignJWT, generateKeyPair } from 'jose'
import { describe, expect, it } from 'vitest'
import { Refusal } from '../../src/kit/refusal.ts'
import type { Store } from '../../src/ports/store.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { codeFor, exchange, logIn, register } from './oauth-steps.ts'
import { createWorld, origin, resource, type World } from './oauth-world.ts'

const at = (world: World, path = '/echo/mcp') =>
  world.directory.addresses.find((address) => address.path === path) as never
const refusal = async (work: Promise<unknown>) => {
  const thrown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return thrown instanceof Refusal
    ? {
        code: thrown.code,
        status: thrown.row.status,
        challenge: thrown.detail.headers?.['www-authenticate'] ?? '',
      }
    : undefined
}
const breakable = () => {
  const state = { down: false }
  const store = (now: () => number): Store => {
    const inner = createMemoryStore({ now })
    const guarded =
      <Args extends unknown[], T>(work: (...args: Args) => Promise<T>) =>
      (...args: Args): Promise<T> =>
        state.down ? Promise.reject(new Refusal('storage.unavailable', 'down')) : work(...args)
    return {
      get: guarded(inner.get),
      put: guarded(inner.put),
      take: guarded(inner.take),
      list: guarded(inner.list),
    }
  }
  return { state, store }
}

describe('a call', () => {
  it('[B2] [H-A12] without credentials is told where the metadata is and which scopes it needs, and no error', async () => {
    const world = await createWorld({ services: { echo: { scopes: ['read', 'write'] } } })
    expect(await refusal(world.guard([], at(world)))).toEqual({
      code: 'token.missing',
      status: 401,
      challenge: `Bearer resource_metadata="${origin}/.well-known/oauth-protected-resource/echo/mcp", scope="read write"`,
    })
    expect((await refusal(world.guard([], at(world), 'http://127.0.0.1:8080')))?.challenge).toContain(
      'resource_metadata="http://127.0.0.1:8080/.well-known/oauth-protected-resource/echo/mcp"',
    )
  })

  it('[B3, B4] [H-J1] with anything but one bearer token is refused, in any spelling of the scheme', async () => {
    const world = await createWorld()
    const { access } = await logIn(world)
    for (const good of [`Bearer ${access}`, `bearer ${access}`, `BEARER ${access}`])
      await expect(world.guard([good], at(world))).resolves.toMatchObject({
        person: { provider: 'local', subject: 'ana' },
        redirectHost: 'app.test',
      })
    const bad = [
      'Bearer garbage',
      'bearer x',
      'Bearer  x',
      'Bearer',
      'Bearer ',
      'Basic dTpw',
      `Bearer ${access},${access}`,
      `Bearer ${access} ${access}`,
      `Bearer ${access}, Bearer ${access}`,
      `Bearer ${'x'.repeat(65_536)}`,
      access,
      '',
      `Token ${access}`,
      `Bearer ${access.slice(0, -2)}`,
      `Bearer "${access}"`,
    ]
    for (const header of bad) {
      const told = await refusal(world.guard([header], at(world)))
      expect([
        header.slice(0, 40),
        told?.status,
        told?.challenge.startsWith('Bearer error="invalid_token", error_description="'),
      ]).toEqual([header.slice(0, 40), 401, true])
    }
    expect(await refusal(world.guard([`Bearer ${access}`, `Bearer ${access}`], at(world)))).toMatchObject({
      status: 400,
      code: 'token.repeated',
    })
  })

  it('[B4] [H-J4, H-J6] with a token for another service, of another issuer, or of another type is refused', async () => {
    const world = await createWorld({ services: { echo: {}, other: {} } })
    const { access } = await logIn(world, {}, { resource })
    expect(await refusal(world.guard([`Bearer ${access}`], at(world, '/other/mcp')))).toMatchObject({
      status: 401,
      code: 'token.audience',
    })
    const { privateKey } = await generateKeyPair('ES256')
    const header = { alg: 'ES256', typ: 'at+jwt', kid: 'foreign' }
    const foreign = await new SignJWT({ sub: 'local:ana', aud: resource, scope: 'mcp', jti: 'x' })
      .setProtectedHeader(header)
      .setIssuer(origin)
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(privateKey)
    const assertion = await world.signer.sign(
      { sub: 'local:ana', aud: resource },
      { typ: 'JWT', lifetimeMs: 60_000 },
    )
    for (const token of [foreign, assertion])
      expect(await refusal(world.guard([`Bearer ${token}`], at(world)))).toMatchObject({
        status: 401,
        code: 'token.malformed',
      })
  })

  it('works at both addresses of the service it was asked for', async () => {
    const world = await createWorld()
    const { access } = await logIn(world)
    await expect(world.guard([`Bearer ${access}`], at(world, '/mcp'))).resolves.toMatchObject({ resource })
  })

  it('[B3] [H-J8] without a scope it needs is told all of them', async () => {
    const world = await createWorld({ services: { echo: { scopes: ['read', 'write'] } } })
    const { access } = await logIn(world, {}, { scope: 'read' })
    const told = await refusal(world.guard([`Bearer ${access}`], at(world)))
    expect(told).toMatchObject({ status: 403, code: 'scope.insufficient' })
    expect(told?.challenge).toMatch(
      /^Bearer error="insufficient_scope", .*resource_metadata=".*", scope="read write"$/,
    )
  })

  it('[H-J10] with a token past its end is told so, before anything about scopes', async () => {
    const world = await createWorld({ services: { echo: { scopes: ['read', 'write'] } } })
    const { access } = await logIn(world, {}, { scope: 'read' })
    world.clock.now += 3_599_000
    expect((await refusal(world.guard([`Bearer ${access}`], at(world))))?.code).toBe('scope.insufficient')
    world.clock.now += 1_000
    expect(await refusal(world.guard([`Bearer ${access}`], at(world)))).toMatchObject({
      status: 401,
      code: 'token.expired',
    })
    const early = await createWorld()
    const { access: fresh } = await logIn(early)
    early.clock.now -= 59_000
    await expect(early.guard([`Bearer ${fresh}`], at(early))).resolves.toMatchObject({
      person: { provider: 'local', subject: 'ana' },
    })
  })

  it('[H-J9, H-A17] while storage is down is never let through and never sent to log in; a call without a token is told as always', async () => {
    const { state, store } = breakable()
    const world = await createWorld({ store })
    const { access } = await logIn(world)
    await world.guard([`Bearer ${access}`], at(world))
    world.clock.now += 501
    state.down = true
    expect(await refusal(world.guard([`Bearer ${access}`], at(world)))).toMatchObject({
      status: 503,
      code: 'storage.unavailable',
    })
    expect(await refusal(world.guard(['Bearer garbage'], at(world)))).toMatchObject({ status: 401 })
    expect(await refusal(world.guard([], at(world)))).toMatchObject({ status: 401 })
    world.clock.now += 120_000
    expect((await world.signer.jwks()).keys).toHaveLength(1)
    state.down = false
    await expect(world.guard([`Bearer ${access}`], at(world))).resolves.toMatchObject({
      person: { provider: 'local', subject: 'ana' },
    })
  })

  it('[H-J16] is answered for thousands of tokens from bounded memory, and bad ones displace no good one', async () => {
    const world = await createWorld()
    const { access } = await logIn(world)
    let verified = 0
    const { createAuthenticateBearer: createGuard } = await import('../../src/oauth/bearer.ts')
    const counting = {
      ...world.signer,
      verify: (token: string, typ: string) => ((verified += 1), world.signer.verify(token, typ)),
    }
    const guard = createGuard({
      runtime: world.runtime,
      directory: world.directory,
      signer: counting,
      grants: world.grants,
      personal: world.personal,
    })
    await guard([`Bearer ${access}`], at(world))
    for (let i = 0; i < 1_000; i++)
      await Promise.resolve(guard([`Bearer bad${i}`], at(world))).catch(() => undefined)
    verified = 0
    await guard([`Bearer ${access}`], at(world))
    expect(verified).toBe(0)
  })

  it('asks the store at most twice a second for one grant, however many calls there are', async () => {
    let reads = 0
    const world = await createWorld({
      store: (now) => {
        const inner = createMemoryStore({ now })
        return { ...inner, get: (key) => ((reads += key.startsWith('grant:') ? 1 : 0), inner.get(key)) }
      },
    })
    const { access } = await logIn(world)
    reads = 0
    await Promise.all(Array.from({ length: 100 }, () => world.guard([`Bearer ${access}`], at(world))))
    expect(reads).toBe(1)
    world.clock.now += 500
    await Promise.all(Array.from({ length: 100 }, () => world.guard([`Bearer ${access}`], at(world))))
    expect(reads).toBe(2)
  })

  it('with a grant of which only the code exists finds nothing alive', async () => {
    const world = await createWorld()
    const client = await register(world)
    const code = await codeFor(world, client)
    const id = code.slice(3, 35)
    expect(await world.grants.live(id)).toBeUndefined()
    world.clock.now += 500
    expect((await exchange(world, client, code)).status).toBe(200)
    expect(await world.grants.live(id)).toMatchObject({ state: 'live' })
  })
})
