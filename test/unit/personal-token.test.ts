// Personal access tokens: what is kept of them, and the check of one that is presented.
import { describe, expect, it } from 'vitest'
import { Refusal } from '../../src/kit/refusal.ts'
import { digest } from '../../src/node/crypto.ts'
import {
  clientOfToken,
  newPersonalToken,
  newTokenId,
  readPersonalToken,
  tokenGrantId,
} from '../../src/oauth/personal-token.ts'
import type { WantedToken } from '../../src/ports/people.ts'
import type { Denied } from '../../src/ports/policy.ts'
import { type World, ana, origin, random } from './oauth-world.ts'
import { type Rules, codeOf, day, level, setUp } from './personal-token-world.ts'

const saidOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (thrown: unknown) => (thrown instanceof Refusal ? thrown.say : String(thrown)),
  )
const stored = async ({ store }: World) =>
  (await store.list('grant:')).map(({ key, value }) => `${key} ${value}`).join('\n')

describe('a token', () => {
  it('is its user with the permissions it was made with, and its digest alone is kept [H-W10]', async () => {
    const { world, make, use, tokens } = await setUp()
    const { token, listed } = await make({ permission: 'read', lifetimeMs: 3 * day })
    const principal = await use(token)
    expect(principal).toMatchObject({
      personKey: 'local:ana',
      clientId: `personal:${listed.id}`,
      clientName: 'CI',
      consented: { level: 'read', excluded: [] },
      most: 'read',
      scopes: ['mcp', 'mcp:read'],
      grantId: tokenGrantId({ digest }, listed.id, 'echo'),
      expiresAt: world.clock.now + 3 * day,
    })
    expect(listed).toMatchObject({
      user: 'local:ana',
      kind: 'personal',
      services: ['echo'],
      permission: 'read',
    })
    expect(await tokens.ofPerson('local:ana')).toMatchObject([{ id: listed.id, name: 'CI' }])
    const secret = readPersonalToken(token)?.secret ?? ''
    const said = JSON.stringify(world.events)
    for (const text of [token, secret, digest(secret)]) {
      expect(said).not.toContain(text)
      expect(await stored(world)).not.toContain(text)
    }
    expect(world.events.find(({ event }) => event === 'token.created')).toMatchObject({
      person: 'local:ana',
      client: clientOfToken(listed.id),
      services: ['echo'],
      permission: 'read',
      kind: 'personal',
      by: 'local:ana',
    })
  })

  it('of another form is refused before anything is read [H-W1]', async () => {
    let reads = 0
    const { createMemoryStore } = await import('../../src/stores/memory.ts')
    const { make, use } = await setUp(undefined, {
      store: (now: () => number) => {
        const inner = createMemoryStore({ now })
        return { ...inner, get: (key: string) => ((reads += 1), inner.get(key)) }
      },
    })
    const { token } = await make()
    reads = 0
    const off = token.slice(0, -1) + (token.endsWith('x') ? 'y' : 'x')
    expect(await codeOf(use(off))).toBe('personal-token.unknown')
    expect(reads).toBe(0)
  })

  it('is refused with a wrong secret, at another service, and while nobody knows it [H-W2]', async () => {
    const { make, use } = await setUp()
    const { token, listed } = await make()
    const forged = newPersonalToken({ random }, listed.id).token
    for (const [text, id] of [
      [forged, 'echo'],
      [token, 'other'],
      [newPersonalToken({ random }, newTokenId({ random })).token, 'echo'],
    ] as const)
      expect(await codeOf(use(text, id))).toBe('personal-token.unknown')
    expect(await codeOf(use(token))).toBe('none')
  })

  it('is good at each of its services by turns', async () => {
    const { make, use } = await setUp({ at: { echo: level('write'), other: level('admin') } })
    const { token, listed } = await make({ services: ['other', 'echo'] })
    expect(listed.services).toEqual(['echo', 'other'])
    for (const id of ['echo', 'other', 'echo', 'echo', 'other']) {
      const principal = await use(token, id)
      expect(principal.resource).toBe(`${origin}/${id}/mcp`)
      expect(principal.grantId).toBe(tokenGrantId({ digest }, listed.id, id))
    }
  })

  it('expires when it was to, and is told so for a week', async () => {
    const { world, make, use, tokens, access } = await setUp()
    const { token, listed } = await make({ lifetimeMs: day })
    await use(token)
    world.clock.now += day - 1000
    expect(await codeOf(use(token))).toBe('none')
    world.clock.now += 1001
    expect(await codeOf(use(token))).toBe('personal-token.expired')
    expect(await saidOf(use(token))).toContain(`ppat_${listed.id.slice(0, 4)}... expired on 2026-01-02`)
    expect(await tokens.ofPerson('local:ana')).toEqual([])
    expect(await tokens.all()).toEqual([])
    const found = []
    for await (const page of access.find({})) found.push(...page)
    expect(found).toEqual([])
    world.clock.now += 8 * day
    expect(await codeOf(use(token))).toBe('personal-token.unknown')
  })

  it('that was ended is told so, and stays dead; nobody else can end it', async () => {
    const { world, make, use, tokens } = await setUp()
    const { token, listed } = await make()
    await use(token)
    expect(await tokens.end(listed.id, { by: 'x' }, { owner: 'local:eve' })).toBe(false)
    expect(await codeOf(use(token))).toBe('none')
    expect(await tokens.end(listed.id, { by: 'local:ana' }, { owner: 'local:ana' })).toBe(true)
    expect(await codeOf(use(token))).toBe('personal-token.ended')
    expect(await saidOf(use(token))).toContain('was ended on 2026-01-01')
    expect(await tokens.end(listed.id, { by: 'local:ana' })).toBe(false)
    expect(await codeOf(make({ id: listed.id }))).toBe('personal-token.exists')
    expect(await codeOf(use(token))).toBe('personal-token.ended')
    expect(world.events.filter(({ event }) => event === 'token.ended')).toHaveLength(1)
  })

  it('is ended by nobody who knows its id and not its secret', async () => {
    const { make, use, tokens } = await setUp()
    const { token, listed } = await make()
    expect(await tokens.end(newPersonalToken({ random }, listed.id).token, { by: 'holder' })).toBe(false)
    expect(await codeOf(use(token))).toBe('none')
  })

  it('that strangers know is ended by itself, and the trail says so', async () => {
    const { world, make, use, tokens } = await setUp()
    const { token } = await make()
    expect(await tokens.end(token, { by: 'cli' }, { leaked: true })).toBe(true)
    expect(await codeOf(use(token))).toBe('personal-token.ended')
    expect(world.events.filter(({ event }) => event === 'token.leaked')).toHaveLength(1)
    expect(JSON.stringify(world.events)).not.toContain(token)
  })

  it('of fewer permissions is refused where no access rules hold it to them any more', async () => {
    const { world, make, use, rules } = await setUp()
    const { token } = await make({ permission: 'read' })
    await use(token)
    rules.at = {}
    world.clock.now += 600
    expect(await codeOf(use(token))).toBe('personal-token.ended')
  })

  it('that is used in its last week, and on its last day, is told of', async () => {
    const { world, make, use } = await setUp()
    const work: Promise<unknown>[] = []
    Object.assign(world.runtime, { defer: (one: Promise<unknown>) => void work.push(one) })
    const { token } = await make({ lifetimeMs: 10 * day })
    const short = await make({ lifetimeMs: day / 2 })
    const told = async (after: number) => {
      world.clock.now += after
      await use(token)
      await Promise.all(work)
      return world.events.flatMap((event) => (event.event === 'token.expiring' ? event['days'] : []))
    }
    await use(short.token)
    expect(await told(0)).toEqual([])
    expect(await told(3 * day - 1)).toEqual([])
    expect(await told(60_000)).toEqual([7])
    expect(await told(day)).toEqual([7])
    expect(await told(5 * day)).toEqual([7, 1])
    expect(await told(60_000)).toEqual([7, 1])
  })

  it('has its last use written down once a minute, and none before it is used', async () => {
    const { world, make, use, tokens } = await setUp()
    const work: Promise<unknown>[] = []
    Object.assign(world.runtime, { defer: (one: Promise<unknown>) => void work.push(one) })
    const { token, listed } = await make()
    const used = async () => {
      await Promise.all(work)
      return (await tokens.ofPerson('local:ana')).find(({ id }) => id === listed.id)?.lastUsedAt
    }
    expect(await used()).toBeUndefined()
    const start = world.clock.now
    await use(token)
    expect(await used()).toBe(start)
    world.clock.now += 59_000
    await use(token)
    expect(await used()).toBe(start)
    world.clock.now += 1_000
    await use(token)
    expect(await used()).toBe(start + 60_000)
  })
})

describe('a token for the API', () => {
  const wanted = { services: ['/api'], permission: 'admin' } as const
  it('is its administrator for as long as they are one [H-W10a]', async () => {
    const { world, make, atApi, admin } = await setUp()
    const { token, listed } = await make(wanted)
    expect(listed).toMatchObject({ permission: 'admin', services: [`${origin}/api`] })
    expect(await atApi(token)).toMatchObject({ person: ana, bearer: true })
    admin.is = false
    expect(await codeOf(atApi(token))).toBe('admin.required')
    expect(await codeOf(make(wanted))).toBe('personal-token.scope')
    admin.is = true
    world.clock.now += day
    expect(await codeOf(atApi(token))).toBe('personal-token.expired')
  })

  it('of an app is its administrator for as long as they are one, and has the scope', async () => {
    const { world, atApi, admin } = await setUp()
    const grant = {
      id: 'a'.repeat(32),
      state: 'live',
      person: ana,
      clientId: 'app',
      clientName: 'App',
      resource: `${origin}/api`,
      scopes: ['admin'],
      refreshable: false,
      salt: '',
      generation: 0,
      usedAt: {},
      keyIds: {},
      createdAt: world.clock.now,
    } as const
    await world.grants.keep(grant, 'absent')
    const token = await world.tokens.access(grant, ['admin'], undefined)
    expect(await atApi(token)).toMatchObject({ person: ana, bearer: true })
    admin.is = false
    expect(await codeOf(atApi(token))).toBe('admin.required')
    admin.is = true
    expect(await codeOf(atApi(await world.tokens.access(grant, ['mcp'], undefined)))).toBe(
      'scope.insufficient',
    )
    expect(
      await codeOf(atApi(await world.tokens.access({ ...grant, clientId: 'other' }, ['admin'], undefined))),
    ).toBe('token.revoked')
  })

  it('never lives longer than a day, nor does less or more', async () => {
    const { make } = await setUp()
    expect(await codeOf(make({ ...wanted, lifetimeMs: day + 1 }))).toBe('request.malformed')
    expect(await codeOf(make({ services: ['/api'] }))).toBe('personal-token.scope')
    expect(await codeOf(make({ ...wanted, services: ['/api', 'echo'] }))).toBe('personal-token.scope')
  })
})

describe('a token is created', () => {
  const mayNot: Denied = { allowed: false, code: 'policy.service' }
  it.each<[string, Partial<WantedToken>, Rules['at'], string]>([
    [
      'for more than its user may do',
      { permission: 'execute' },
      { echo: level('write') },
      'personal-token.scope',
    ],
    ['for a service that its user may not use', {}, { echo: mayNot }, 'personal-token.scope'],
    ['for less than all without rules', { permission: 'read' }, {}, 'personal-token.scope'],
    [
      'for services with rules and without',
      { services: ['echo', 'other'] },
      { echo: level('write') },
      'personal-token.scope',
    ],
    ['for a public service', { services: ['open'] }, { open: level('write') }, 'personal-token.scope'],
    ['for no service', { services: [] }, {}, 'request.malformed'],
    ['for an unknown service', { services: ['nope'] }, {}, 'service.unknown'],
    ['for longer than allowed', { lifetimeMs: 91 * day }, {}, 'request.malformed'],
    ['for no time', { lifetimeMs: 0 }, {}, 'request.malformed'],
    ['for an odd time', { lifetimeMs: Number.NaN }, {}, 'request.malformed'],
    [
      'for administration longer than a day',
      { permission: 'admin', lifetimeMs: day + 1 },
      { echo: level('admin') },
      'request.malformed',
    ],
    ['for tests longer than a day', { kind: 'test', lifetimeMs: day + 1 }, {}, 'request.malformed'],
    ['for tests of two services', { kind: 'test', services: ['echo', 'other'] }, {}, 'request.malformed'],
    ['with a name too long', { name: 'x'.repeat(61) }, {}, 'request.malformed'],
    ['with an id of another form', { id: '../../etc' }, {}, 'request.malformed'],
  ])('never %s', async (_what, wanted, rules, code) => {
    const { make, tokens } = await setUp({ at: rules })
    expect(await codeOf(make(wanted))).toBe(code)
    expect(await tokens.all()).toEqual([])
  })

  it('never for somebody who is blocked or admitted no more', async () => {
    const { make, blocked, admitted } = await setUp()
    blocked.is = true
    expect(await codeOf(make())).toBe('code.blocked')
    blocked.is = false
    admitted.person = undefined
    expect(await codeOf(make())).toBe('personal-token.scope')
  })

  it('with the least where rules say what a tool needs, with everything elsewhere, and administration for a day', async () => {
    const { world, make } = await setUp({ at: { echo: level('admin') } })
    const now = world.clock.now
    expect((await make()).listed).toMatchObject({ permission: 'read', expiresAt: now + 30 * day })
    expect((await make({ services: ['other'] })).listed).toMatchObject({ permission: 'execute' })
    expect((await make({ permission: 'admin' })).listed).toMatchObject({ expiresAt: now + day })
  })

  it('at most fifty times for one user', async () => {
    const { make } = await setUp()
    for (let i = 0; i < 50; i++) await make()
    expect(await codeOf(make())).toBe('personal-token.limit')
  })

  it('at most fifty times, however many are created at once', async () => {
    const { make, tokens } = await setUp()
    for (let i = 0; i < 45; i++) await make()
    const codes = await Promise.all(Array.from({ length: 20 }, () => codeOf(make())))
    expect(codes.filter((code) => code === 'none')).toHaveLength(5)
    expect(codes.filter((code) => code === 'personal-token.limit')).toHaveLength(15)
    expect(await tokens.ofPerson('local:ana')).toHaveLength(50)
  })

  it('once for a form that is sent twice', async () => {
    const { make, tokens, use } = await setUp()
    const id = newTokenId({ random })
    const [one, two] = await Promise.allSettled([make({ id }), make({ id })])
    expect([one.status, two.status].toSorted()).toEqual(['fulfilled', 'rejected'])
    const made = [one, two].flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    expect(await tokens.all()).toHaveLength(1)
    expect(await codeOf(use(made[0]?.token ?? ''))).toBe('none')
  })
})
