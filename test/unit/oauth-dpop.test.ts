// Bound tokens where time and restarts decide: nonces, what is remembered of proofs, and the operator's own API.
import { describe, expect, it } from 'vitest'
import type { ConfigInput } from '../../src/config/schema.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import { apiTarget, createApiSessions } from '../../src/oauth/api-tokens.ts'
import { createProofMemory } from '../../src/oauth/dpop-uses.ts'
import type { Handler, ProvenRequest } from '../../src/ports/modules.ts'
import type { Principal } from '../../src/ports/people.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { createProver, type ProofOf } from '../runtimes/proofs.ts'
import { createPersonalTokenCheck } from '../../src/oauth/personal-token.ts'
import { type World, ana, createWorld, get, origin, resource, run } from './oauth-world.ts'

const key = await createProver()

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (thrown: unknown) => (thrown instanceof Refusal ? thrown.code : String(thrown)),
  )

const bound = async (world: World, more: object = {}, jkt: string | false = key.jkt) => {
  const grant = {
    id: 'g'.repeat(32),
    state: 'live',
    person: ana,
    clientId: 'app',
    clientName: 'App',
    resource,
    scopes: ['mcp'],
    refreshable: false,
    salt: '',
    generation: 0,
    usedAt: {},
    keyIds: {},
    createdAt: world.clock.now,
    ...more,
  } as const
  await world.grants.keep(grant, 'absent')
  return world.tokens.access(grant, grant.scopes, jkt || undefined)
}

const worldWith = async (dpop: ConfigInput['dpop'], more: Parameters<typeof createWorld>[0] = {}) => {
  const world = await createWorld({ ...more, config: { ...more.config, dpop } })
  const token = await bound(world)
  const address = world.directory.addresses.find(({ path }) => path === '/echo/mcp') as never
  const nonceOf = async () => (await world.dpop?.fresh()) ?? ''
  const proofWith = async (of: Partial<ProofOf> = {}) =>
    key.proof({ url: resource, token, now: world.clock.now, nonce: await nonceOf(), ...of })
  const call = async (proof: string, head: Partial<ProvenRequest['head']> = {}) => {
    const request: ProvenRequest = {
      head: { method: 'POST', target: '/echo/mcp?x=1', ...head },
      inbound: { proof },
      nonce: undefined,
    }
    const code = await codeOf(world.guard([`DPoP ${token}`], address, origin, request))
    return { code, nonce: request.nonce }
  }
  return { world, token, address, nonceOf, proofWith, call }
}

const minute = 60_000

describe('a proof', () => {
  it('whose signature is of another key, or of nothing, is refused', async () => {
    const { proofWith, call } = await worldWith({})
    const [head, payload] = (await proofWith()).split('.')
    const [, , other] = (await proofWith({ url: `${resource}/x` })).split('.')
    for (const signature of [other, 'A'.repeat(86)])
      expect((await call(`${head}.${payload}.${signature}`)).code).toBe('proof.signature')
  })
})

describe('nonces', () => {
  it('are good for two minutes at most, and a newer one comes with the answer', async () => {
    const { world, nonceOf, proofWith, call } = await worldWith({})
    const nonce = await nonceOf()
    expect(await call(await proofWith({ nonce }))).toEqual({ code: 'none', nonce: undefined })
    world.clock.now += minute
    const next = await nonceOf()
    expect(next).not.toBe(nonce)
    expect(await call(await proofWith({ nonce }))).toEqual({ code: 'none', nonce: next })
    world.clock.now += minute
    expect((await call(await proofWith({ nonce }))).code).toBe('proof.nonce')
    // A clock that is set back makes nothing good again.
    world.clock.now -= 2 * minute
    expect((await call(await proofWith({ nonce }))).code).toBe('proof.nonce')
  })

  it('are the same in every process on one store, and another process has others where it remembers alone', async () => {
    const store = createMemoryStore({ now: () => Date.UTC(2026, 0, 1) })
    const { keys } = (await createWorld()).runtime
    const open = async (replay: 'store' | 'memory') => {
      const { nonceOf } = await worldWith({ replay }, { store: () => store, keys })
      return nonceOf()
    }
    const [one, other, alone, again] = [
      await open('store'),
      await open('store'),
      await open('memory'),
      await open('memory'),
    ]
    expect(one).toBe(other)
    expect(new Set([one, alone, again]).size).toBe(3)
  })

  it('are not asked for where the operator wants none', async () => {
    const { proofWith, call, nonceOf } = await worldWith({ nonce: 'off' })
    expect(await nonceOf()).toBe('')
    expect(await call(await proofWith({ nonce: undefined }))).toEqual({ code: 'none', nonce: undefined })
  })
})

describe('a proof', () => {
  it.each([
    ['in memory', { replay: 'memory' }],
    ['in the store', { replay: 'store' }],
    ['in the store, without nonces', { replay: 'auto', nonce: 'off' }],
  ] as const)('is remembered %s for as long as it could be used again', async (_, dpop) => {
    const { world, proofWith, call } = await worldWith({ ...dpop, window: '1m' })
    const early = await proofWith({ now: world.clock.now + 59_000 })
    expect((await call(early)).code).toBe('none')
    for (let seconds = 0; seconds <= 200; seconds += 10) {
      expect((await call(early)).code).not.toBe('none')
      world.clock.now += 10_000
    }
  })

  it('that is good for something else than the call leaves the token unused, and one that was judged elsewhere is not asked for', async () => {
    const { call, proofWith } = await worldWith({})
    const proof = await proofWith({ method: 'GET' })
    expect((await call(proof)).code).toBe('proof.method')
    expect((await call(proof, { method: 'GET' })).code).toBe('none')
    expect((await call('', { proven: true })).code).toBe('none')
  })

  it('is not accepted once a process remembers as many as it can, until a minute is over', () => {
    const remember = createProofMemory(2)
    const use = (id: string, minute: number) => {
      try {
        return remember({ id, minute, until: 0, here: true })
      } catch (error) {
        return (error as Refusal).code
      }
    }
    expect(['a', 'b', 'c', 'a'].map((id) => use(id, 7))).toEqual([true, true, 'storage.unavailable', false])
    expect(['a', 'c'].map((id) => use(id, 8))).toEqual([true, true])
    // Still known, though its minute is over.
    expect(use('b', 7)).toBe(false)
  })

  it('is not accepted while the store does not answer', async () => {
    const { proofWith, call, world } = await worldWith({ replay: 'store' })
    const { store } = world
    const put = store.put
    store.put = () => Promise.reject(new Refusal('storage.unavailable', 'down'))
    expect((await call(await proofWith())).code).toBe('storage.unavailable')
    store.put = put
    expect((await call(await proofWith())).code).toBe('none')
  })
})

describe('a bound token', () => {
  it('is of no use once DPoP is off, and is never taken for a bearer token', async () => {
    const world = await createWorld()
    const token = await bound(world)
    const address = world.directory.addresses[0] as never
    expect(await codeOf(world.guard([`Bearer ${token}`], address))).toBe('token.bound')
    expect(await codeOf(world.guard([`DPoP ${token}`], address))).toBe('token.malformed')
  })

  it('that was shown once is not remembered without its proof', async () => {
    const { world, token, address, call, proofWith } = await worldWith({})
    expect((await call(await proofWith())).code).toBe('none')
    expect(await codeOf(world.guard([`DPoP ${token}`], address))).toBe('proof.missing')
    expect(await codeOf(world.guard([`Bearer ${token}`], address))).toBe('token.bound')
  })

  it('is asked for in its own scheme where it must become more', async () => {
    const { world, address } = await worldWith({})
    const principal = {
      personKey: 'local:ana',
      clientId: 'app',
      scopes: ['mcp'],
      grantId: 'g',
    } as never as Principal
    const schemeFor = async (by: Principal) => {
      const call = { address, principal: by, origin, need: 'write', what: 'create' } as const
      const { detail } = await world.stepUps.askForMore(call)
      return detail.headers?.['www-authenticate']?.split(' ')[0]
    }
    expect(await schemeFor(principal)).toBe('Bearer')
    expect(await schemeFor({ ...principal, jkt: key.jkt })).toBe('DPoP')
  })

  it('is required of one client alone, and of all but one service', async () => {
    const clients = {
      app: { name: 'App', redirect_uris: ['https://app.test/cb'], dpop: 'required' as const },
    }
    const world = await createWorld({ config: { dpop: {}, clients } })
    const address = world.directory.addresses[0] as never
    const token = await bound(world, {}, false)
    expect(await codeOf(world.guard([`Bearer ${token}`], address))).toBe('token.unbound')
    const other = await bound(world, { id: 'h'.repeat(32), clientId: 'other' }, false)
    expect(await codeOf(world.guard([`Bearer ${other}`], address))).toBe('none')
    const strict = await createWorld({
      config: { dpop: { mode: 'required' } },
      services: { echo: {}, open: { dpop: 'off' } },
    })
    for (const [id, code] of [
      ['echo', 'token.unbound'],
      ['open', 'none'],
    ] as const) {
      const made = await bound(strict, { id: id.padEnd(32, '-'), resource: `${origin}/${id}/mcp` }, false)
      const at = strict.directory.addresses.find(({ path }) => path === `/${id}/mcp`) as never
      expect(await codeOf(strict.guard([`Bearer ${made}`], at)), id).toBe(code)
    }
  })
})

it('at the operator’s own API a bound token needs its proof too, once for each request', async () => {
  const world = await createWorld({ config: { dpop: {} } })
  const policy = { of: () => undefined, services: { ruled: false }, fresh: () => undefined }
  const api = createApiSessions({
    ...world,
    issuer: origin,
    sessions: { of: () => Promise.resolve(undefined) },
    personal: createPersonalTokenCheck({ ...world, policy }),
    isAdmin: () => true,
  })
  const token = await bound(world, { resource: origin + apiTarget, scopes: ['admin'] })
  const url = `${origin}/api/grants`
  const ask = (scheme: string, dpop?: string) =>
    new Request(url, {
      headers: { authorization: `${scheme} ${token}`, ...(dpop !== undefined && { dpop }) },
    })
  const proof = await key.proof({
    url,
    method: 'GET',
    token,
    now: world.clock.now,
    nonce: await world.dpop?.fresh(),
  })
  const request = ask('DPoP', proof)
  expect(await api.of(request)).toMatchObject({ person: ana })
  // The same request, asked about again.
  expect(await api.of(request)).toMatchObject({ person: ana })
  expect(await codeOf(api.of(ask('DPoP', proof)))).toBe('proof.replayed')
  expect(await codeOf(api.of(ask('DPoP')))).toBe('proof.missing')
  expect(await codeOf(api.of(ask('Bearer', proof)))).toBe('token.bound')
})

it('metadata and challenges say what is on, bearer tokens first where both are taken', async () => {
  const services = { echo: {}, strict: { dpop: 'required' as const }, open: { dpop: 'off' as const } }
  const world = await createWorld({ config: { dpop: {} }, services })
  const { handlers, directory, guard } = world
  const algorithms = ['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256']
  const told = async (handler: Handler, path: string) => {
    const { body } = await run(handler, get(`/.well-known/${path}`))
    return [body['dpop_signing_alg_values_supported'], body['dpop_bound_access_tokens_required']]
  }
  const server = 'oauth-authorization-server'
  expect(await told(handlers.authorizationServer, server)).toEqual([algorithms, undefined])
  const off = await createWorld({ services: { echo: {}, other: {} } })
  expect(await told(off.handlers.authorizationServer, server)).toEqual([undefined, undefined])
  const params = (id: string) =>
    `resource_metadata="${origin}/.well-known/oauth-protected-resource/${id}/mcp", scope="mcp"`
  const algs = `algs="${algorithms.join(' ')}"`
  for (const [id, members, challenge] of [
    ['echo', [algorithms, undefined], `Bearer ${params('echo')}, DPoP ${algs}`],
    ['strict', [algorithms, true], `DPoP ${params('strict')}, ${algs}`],
    ['open', [undefined, undefined], `Bearer ${params('open')}`],
  ] as const) {
    expect(await told(handlers.protectedResource, `oauth-protected-resource/${id}/mcp`), id).toEqual(members)
    const address = directory.addresses.find(({ path }) => path === `/${id}/mcp`) as never
    const thrown = await guard([], address).catch((error: unknown) => error as Refusal)
    expect((thrown as Refusal).detail.headers?.['www-authenticate']).toBe(challenge)
  }
})
