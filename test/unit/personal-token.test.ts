// Personal access tokens: what is kept of them, and the check of one that is presented.
import { describe, expect, it } from 'vitest'
import { Refusal } from '../../src/kit/refusal.ts'
import { digest } from '../../src/node/crypto.ts'
import { createAppAccess } from '../../src/oauth/connected-apps.ts'
import {
  clientOfToken,
  newPersonalToken,
  newTokenId,
  readPersonalToken,
  tokenGrantId,
} from '../../src/oauth/personal-token.ts'
import { createPersonalTokens } from '../../src/oauth/personal-tokens.ts'
import type { Person, WantedToken } from '../../src/ports/people.ts'
import type { ConsentChoices, Denied, Policy, ServicePolicy } from '../../src/ports/policy.ts'
import { type World, ana, createWorld, origin, random } from './oauth-world.ts'

const day = 86_400_000

const level = (own: ConsentChoices['own']): ConsentChoices => ({ own, tools: [] })

interface Rules {
  /** What a person may do at each service; none: the service has no rules. */
  at: Record<string, ConsentChoices | Denied | undefined>
}

const setUp = async (rules: Rules = { at: { echo: level('write') } }, more = {}) => {
  const blocked = { is: false }
  const admin = { is: true }
  const world = await createWorld({
    services: { echo: {}, other: {}, open: { authRequired: false } },
    ...more,
  })
  const policy = {
    services: { ruled: true },
    fresh: () => undefined,
    of: ({ id }: { readonly id: string }) =>
      rules.at[id] ? ({ choices: () => rules.at[id] } as unknown as ServicePolicy) : undefined,
  } as unknown as Policy
  const access = createAppAccess({ ...world, record: (event) => void world.events.push(event) })
  const admitted: { person: Person | undefined } = { person: ana }
  const tokens = createPersonalTokens({
    ...world,
    access,
    policy,
    record: (event) => void world.events.push(event),
    grantAdmin: { person: () => Promise.resolve(undefined) },
    blocks: { covers: () => Promise.resolve(blocked.is ? ('blocked' as const) : undefined) },
    people: { all: () => [ana] },
    builtInUser: undefined,
    isAdmin: () => admin.is,
    mayStillSignIn: () => admitted.person,
  })
  const { createPersonalTokenCheck } = await import('../../src/oauth/personal-token.ts')
  const { createAuthenticateBearer } = await import('../../src/oauth/bearer.ts')
  const authenticate = createAuthenticateBearer({
    ...world,
    personal: createPersonalTokenCheck({ ...world, policy }),
  })
  const at = (id = 'echo') => world.directory.addresses.find(({ service }) => service.id === id) as never
  const make = (wanted: Partial<WantedToken> = {}) =>
    tokens.create(ana, { name: 'CI', services: ['echo'], ...wanted }, { by: 'local:ana' })
  const use = async (token: string, id = 'echo') => authenticate([`Bearer ${token}`], at(id))
  const { createApiSessions } = await import('../../src/oauth/api-tokens.ts')
  const api = createApiSessions({
    ...world,
    issuer: origin,
    sessions: { of: () => Promise.resolve(undefined) },
    personal: createPersonalTokenCheck({ ...world, policy }),
    isAdmin: () => admin.is,
  })
  const atApi = (token: string) =>
    api.of(new Request(`${origin}/api/grants`, { headers: { authorization: `Bearer ${token}` } }))
  return { world, tokens, access, make, use, rules, blocked, admitted, admin, atApi }
}

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (thrown: unknown) => (thrown instanceof Refusal ? thrown.code : String(thrown)),
  )
const saidOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (thrown: unknown) => (thrown instanceof Refusal ? thrown.say : String(thrown)),
  )
const stored = async ({ store }: World) =>
  (await store.list('grant:')).map(({ key, value }) => `${key} ${value}`).join('\n')

describe('a token', () => {
  it('is its user with the permissions it was made with, and its digest alone is kept', async () => {
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

  it('of another form is refused before anything is read', async () => {
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

  it('is refused with a wrong secret, at another service, and while nobody knows it', async () => {
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
  it('is its administrator for as long as they are one', async () => {
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
