// What the authorization server does to its store, and what the store can do to it: outages, lost answers,
// altered records, and a thief with a dump.
import { describe, expect, it } from 'vitest'
import { type KeyRing, createKeyRing } from '../../src/kit/keyring.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import type { Store } from '../../src/ports/store.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { ask, codeFor, decide, exchange, logIn, refresh, register, toConsent } from './oauth-steps.ts'
import { createWorld, post, random, run, type World } from './oauth-world.ts'

/** A store that can be down, or carry out a write and lose its answer. */
const troubled = () => {
  const trouble = { down: false, loseAnswers: 0 }
  const store = (now: () => number): Store => {
    const inner = createMemoryStore({ now })
    const lost = () => new Refusal('storage.unavailable', 'connection lost')
    const around =
      <Args extends unknown[], T>(work: (...args: Args) => Promise<T>) =>
      (...args: Args): Promise<T> =>
        trouble.down ? Promise.reject(lost()) : work(...args)
    const put: Store['put'] = async (key, value, options) => {
      const mark = await inner.put(key, value, options)
      if (!key.startsWith('grant:') || trouble.loseAnswers === 0) return mark
      trouble.loseAnswers -= 1
      throw lost()
    }
    return { get: around(inner.get), put: around(put), take: around(inner.take), list: around(inner.list) }
  }
  return { trouble, store }
}
const live = (world: World, access: string) =>
  world.guard([`Bearer ${access}`], world.directory.only as never)
const revoke = (world: World, fields: Record<string, string>) =>
  run(world.handlers.revoke, post('/oauth/revoke', fields))

describe('while storage is down', () => {
  it('[H-S2, H-I7] every endpoint says 503 and to try again, and afterwards the same code, token and form work', async () => {
    const { trouble, store } = troubled()
    const world = await createWorld({ store })
    const { client, refresh: token } = await logIn(world)
    const code = await codeFor(world, client)
    const question = await toConsent(world, client)
    trouble.down = true
    const attempts = [
      await exchange(world, client, code),
      await refresh(world, client, token),
      await revoke(world, { token, client_id: client.id }),
      await ask(world, client),
      await decide(world, question, 'allow'),
    ]
    expect(attempts.map(({ status, body, location }) => [status, body['error'], location])).toEqual(
      attempts.map(() => [503, 'temporarily_unavailable', undefined]),
    )
    trouble.down = false
    expect((await exchange(world, client, code)).status).toBe(200)
    expect((await refresh(world, client, token)).status).toBe(200)
    expect((await decide(world, question, 'allow')).location?.searchParams.has('code')).toBe(true)
    expect((await revoke(world, { token, client_id: client.id })).status).toBe(200)
  })

  it('[H-S8] a refresh whose answer the store lost is simply asked again, and yields the same successor', async () => {
    const { trouble, store } = troubled()
    const world = await createWorld({ store })
    const { client, refresh: token } = await logIn(world)
    trouble.loseAnswers = 1
    expect((await refresh(world, client, token)).status).toBe(503)
    const again = await refresh(world, client, token)
    expect(again.status).toBe(200)
    expect((await refresh(world, client, token)).body['refresh_token']).toBe(again.body['refresh_token'])
  })

  it('[H-S8] a code whose answer the store lost was spent: asked again it is refused cleanly, and nothing of it lives on unseen', async () => {
    const { trouble, store } = troubled()
    const world = await createWorld({ store })
    const client = await register(world)
    const code = await codeFor(world, client)
    trouble.loseAnswers = 1
    expect((await exchange(world, client, code)).status).toBe(503)
    expect((await exchange(world, client, code)).body['error']).toBe('invalid_grant')
    world.clock.now += 5_000
    expect((await exchange(world, client, code)).body['error']).toBe('invalid_grant')
    expect(await world.grants.live(code.slice(3, 35))).toBeUndefined()
  })
})

describe('a record', () => {
  it('[H-S11] that was altered, or moved to the place of another, is an outage and no verdict, and leaves a line in the log', async () => {
    const world = await createWorld()
    const mine = await logIn(world)
    world.signIn({ provider: 'local', subject: 'bob', groups: [] })
    const theirs = await logIn(world)
    const records = await world.store.list('grant:')
    expect(records).toHaveLength(2)
    const keyOf = (token: string) => `grant:${token.slice(3, 35)}`
    const value = records.find(({ key }) => key === keyOf(mine.refresh))?.value ?? ''
    await world.store.put(keyOf(theirs.refresh), value)
    expect(await refresh(world, theirs.client, theirs.refresh)).toMatchObject({
      status: 503,
      code: 'storage.sealed',
      body: { error: 'temporarily_unavailable' },
    })
    await expect(live(world, theirs.access)).rejects.toMatchObject({ code: 'storage.sealed' })
    await world.store.put(keyOf(mine.refresh), `${value.slice(0, -3)}AAA`)
    await expect(live(world, mine.access)).rejects.toMatchObject({ code: 'storage.sealed' })
    expect(world.events.filter(({ event }) => event === 'record.unreadable').length).toBeGreaterThan(0)
  })

  it('holds nothing that a thief of the store could use or read: no code, token, secret, cookie, name or address', async () => {
    const world = await createWorld()
    const confidential = await register(world, { token_endpoint_auth_method: 'client_secret_post' })
    const pending = await toConsent(world, confidential).catch(() => undefined)
    const code = await codeFor(world, confidential)
    const { access, refresh: token, client } = await logIn(world)
    const dump = JSON.stringify(await world.store.list('', { limit: 1000 }))
    const secrets = [
      code.slice(36),
      token.split('.')[3],
      access,
      access.split('.')[2],
      confidential.secret,
      confidential.access,
      client.access,
      pending?.cookie.split('.')[1],
      String.raw`\"ana\"`,
      'ana@example.com',
      'Test app',
      'app.test',
    ]
    for (const secret of secrets.filter((one) => one !== undefined)) expect(dump).not.toContain(secret)
  })
})

describe('never', () => {
  const now = Date.UTC(2026, 0, 1)
  /**
   * A world in which somebody is logged in, and the same store in the hands of a gateway with another secret.
   */
  const lockedOut = async (sealing?: Uint8Array<ArrayBuffer>) => {
    const shared = createMemoryStore({ now: () => now })
    const [right, wrong] = await Promise.all(
      [random(32), random(32)].map((secret) => createKeyRing([secret], random, sealing)),
    )
    const inside = await createWorld({ store: () => shared, keys: right as KeyRing })
    const { client, access, refresh: token } = await logIn(inside)
    const code = await codeFor(inside, client)
    return {
      shared,
      inside,
      outside: await createWorld({ store: () => shared, keys: wrong as KeyRing }),
      client,
      access,
      token,
      code,
    }
  }

  it('calls a client, a code or a token unknown because the secret of the store is missing, and never writes over a record', async () => {
    const { shared, inside, outside, client, access, token, code } = await lockedOut()
    const before = await shared.list('', { limit: 1000 })
    outside.signIn()
    const attempts = [
      await exchange(outside, client, code),
      await refresh(outside, client, token),
      await revoke(outside, { token, client_id: client.id }),
      await ask(outside, client),
    ]
    expect(attempts.map(({ status, code: why, body }) => [status, why, body['error']])).toEqual(
      attempts.map(() => [503, 'storage.sealed', 'temporarily_unavailable']),
    )
    await expect(live(outside, access)).rejects.toMatchObject({ code: 'storage.sealed' })
    expect(await shared.list('', { limit: 1000 })).toEqual(before)
    expect((await exchange(inside, client, code)).status).toBe(200)
    expect((await refresh(inside, client, token)).status).toBe(200)
  })

  it('calls a refresh token unknown because its root is missing, where another secret opens the records', async () => {
    const { outside, client, token } = await lockedOut(random(32))
    expect(await refresh(outside, client, token)).toMatchObject({ status: 503, code: 'storage.sealed' })
    expect(
      await run(outside.handlers.introspect, post('/oauth/introspect', { token, client_id: client.id })),
    ).toMatchObject({ status: 503, code: 'storage.sealed' })
  })
})

describe('a change of the root secret', () => {
  it('[H-T9] lets every code, grant and token of the former one go on, as long as that is kept', async () => {
    const [former, next] = [random(32), random(32)]
    const shared = createMemoryStore({ now: () => Date.UTC(2026, 0, 1) })
    const before = await createWorld({ store: () => shared, keys: await createKeyRing([former], random) })
    const { client, access, refresh: token } = await logIn(before)
    const code = await codeFor(before, client)
    const after = await createWorld({
      store: () => shared,
      keys: await createKeyRing([next, former], random),
    })
    await expect(live(after, access)).resolves.toMatchObject({
      person: { provider: 'local', subject: 'ana' },
    })
    expect((await exchange(after, client, code)).status).toBe(200)
    const rotated = await refresh(after, client, token)
    expect(rotated.status).toBe(200)
    const dropped = await createWorld({ store: () => shared, keys: await createKeyRing([next], random) })
    expect((await refresh(dropped, client, token)).status).toBe(401)
  })
})
