// Late repeats of a refresh token: a lost answer and a thief look alike until one of them shows itself. Time
// and networks are moved, never waited for.
import { describe, expect, it } from 'vitest'
import { createKeyRing } from '../../src/kit/keyring.ts'
import type { Grant } from '../../src/oauth/grant.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { codeFor, exchange, logIn, type Registered, register } from './oauth-steps.ts'
import { createWorld, type Outcome, post, random, run, type World, type WorldOptions } from './oauth-world.ts'

const [home, office, third] = ['192.0.2.1', '198.51.100.7', '203.0.113.9']
const minute = 60_000
const hour = 60 * minute

const present = (
  { handlers }: World,
  client: Pick<Registered, 'id'>,
  token: unknown,
  ip = home,
  more: Record<string, string> = {},
): Promise<Outcome> =>
  run(
    handlers.token,
    post('/oauth/token', {
      grant_type: 'refresh_token',
      refresh_token: String(token),
      client_id: client.id,
      ...more,
    }),
    ip,
  )
const tokenIn = ({ status, body }: Outcome): unknown =>
  status === 200 ? body['refresh_token'] : `${status} ${String(body['error'])}`
const events = (world: World, name: string): readonly Record<string, unknown>[] =>
  world.events.filter(({ event }) => event === name)
const dead = '400 invalid_grant'

const begin = async (config: WorldOptions['config'] = {}) => {
  const world = await createWorld({ config })
  const { client, access, refresh } = await logIn(world)
  return {
    world,
    client,
    access,
    first: refresh,
    ask: async (token: unknown, ip?: string) => tokenIn(await present(world, client, token, ip)),
  }
}

describe('a refresh token that comes again', () => {
  it('within the grace gets the same successor from every network, and nothing is written of it', async () => {
    const { world, first, ask } = await begin()
    const second = await ask(first)
    world.clock.now += 59_999
    expect([await ask(first, office), await ask(first, third), await ask(first)]).toEqual([
      second,
      second,
      second,
    ])
    expect(events(world, 'refresh.repeated')).toEqual([])
  })

  it('later, from the network that presented it first, gets the same one with an event each time', async () => {
    const { world, client, first, ask } = await begin()
    const second = await ask(first, '2001:db8:1:2::10')
    world.clock.now += minute
    expect(await ask(first, '2001:db8:1:2:ffff::1')).toBe(second)
    world.clock.now += 12 * hour
    expect(await ask(first, '2001:db8:1:2::10')).toBe(second)
    const shape = {
      event: 'refresh.repeated',
      reason: 'same_successor',
      generation: 0,
      latest: 1,
      client: client.id,
      person: 'local:ana',
      resource: expect.any(String) as string,
      request_id: 'r1',
      grant: expect.any(String) as string,
    }
    expect(events(world, 'refresh.repeated')).toEqual([
      { ...shape, ip: '2001:db8:1:2:ffff::1' },
      { ...shape, ip: '2001:db8:1:2::10' },
    ])
  })

  it('later, from elsewhere, gets another one in place of the unused, with an event; whoever lost the answer goes on with that', async () => {
    const { world, first, ask } = await begin()
    const lost = await ask(first)
    world.clock.now += 12 * hour
    const found = await ask(first, office)
    expect(found).not.toBe(lost)
    expect(events(world, 'refresh.repeated')).toMatchObject([
      { reason: 'successor_replaced', ip: office, generation: 0, latest: 1 },
    ])
    world.clock.now += hour
    expect(await ask(await ask(found, third), home)).toMatch(/^pr_/)
    expect(events(world, 'refresh.reuse')).toEqual([])
  })

  it('later, from many processes and networks at once, has one replacement', async () => {
    const { world, first, ask } = await begin()
    await ask(first)
    world.clock.now += hour
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(first, `198.51.100.${i}`)))
    expect(new Set(answers).size).toBe(1)
    expect(events(world, 'refresh.repeated')).toHaveLength(1)
  })
})

describe('a successor that was replaced', () => {
  it('is answered as its replacement for the network that asked for that, and both processes of one client go on', async () => {
    const { world, first, ask } = await begin()
    const old = await ask(first)
    world.clock.now += hour
    const replacement = await ask(first, office)
    const next = await ask(old, office)
    expect(await ask(replacement, office)).toBe(next)
    world.clock.now += hour
    expect(await ask(next, office)).toMatch(/^pr_/)
  })

  it.each([
    ['the client', home],
    ['somebody else', third],
  ])(
    'ends the grant when %s presents it from anywhere else: both hear invalid_grant, the access tokens too',
    async (_, ip) => {
      const { world, access, client, first, ask } = await begin()
      const mine = await ask(first)
      world.clock.now += hour
      const theirs = await ask(first, office)
      expect((await present(world, client, mine, ip)).code).toBe('refresh.reuse')
      expect([await ask(mine), await ask(theirs, office), await ask(first, office)]).toEqual([
        dead,
        dead,
        dead,
      ])
      expect(events(world, 'refresh.reuse')).toMatchObject([
        { reason: 'refresh_reuse', ip, client: client.id },
      ])
      world.clock.now += 1000
      await expect(world.guard([`Bearer ${access}`], world.directory.only as never)).rejects.toMatchObject({
        code: expect.stringMatching(/^token\./) as unknown,
      })
    },
  )
})

describe('never', () => {
  it.each([
    ['after', home, office],
    ['before', office, home],
  ])('does a thief who keeps step %s the client outlive one round', async (_, firstIn, secondIn) => {
    const { world, first, ask } = await begin()
    const ahead = await ask(first, firstIn)
    world.clock.now += 30 * minute
    const behind = await ask(first, secondIn)
    world.clock.now += 30 * minute
    expect([await ask(ahead, firstIn), await ask(behind, secondIn)]).toEqual([dead, dead])
    expect(events(world, 'refresh.reuse')).toHaveLength(1)
  })

  it('does the address of a caller lie in the store in the clear, in a grant but as that of the last use, or as a digest that would be the same in another grant', async () => {
    const [shared, ring] = [
      createMemoryStore({ now: () => Date.UTC(2026, 0, 1) }),
      await createKeyRing([random(32)], random),
    ]
    const world = await createWorld({ store: () => shared, keys: ring })
    const grants = await Promise.all(
      [1, 2].map(async () => {
        const { client, refresh } = await logIn(world)
        await present(world, client, refresh)
        const key = `grant:${refresh.slice(3, 35)}`
        const sealed = (await shared.get(key))?.value ?? ''
        expect(sealed).not.toContain(home)
        return (await ring.open(sealed, key)) ?? ''
      }),
    )
    for (const text of grants) {
      const { lastUse, ...rest } = JSON.parse(text) as Grant
      expect(lastUse?.from).toBe(home)
      expect(JSON.stringify(rest)).not.toContain(home)
    }
    const [one, two] = grants.map((text) => (JSON.parse(text) as Grant).usedBy?.[0])
    expect(one).toMatch(new RegExp(`^${ring.current}\\.[\\w-]{22}$`))
    expect(one).not.toBe(two)
  })
})

describe('the rule for late repeats', () => {
  it('allow: the same successor for everybody, with an event', async () => {
    const { world, first, ask } = await begin({ refresh_late_repeat: 'allow' })
    const second = await ask(first)
    world.clock.now += hour
    expect(await ask(first, office)).toBe(second)
    expect(events(world, 'refresh.repeated')).toMatchObject([{ reason: 'same_successor', ip: office }])
  })

  it('refuse: the first late repeat ends the grant, wherever it comes from', async () => {
    const { world, first, ask } = await begin({ refresh_late_repeat: 'refuse' })
    const second = await ask(first)
    world.clock.now += 59_999
    expect(await ask(first, office)).toBe(second)
    world.clock.now += 1
    expect([await ask(first), await ask(second)]).toEqual([dead, dead])
    expect(events(world, 'refresh.reuse')).toHaveLength(1)
  })

  it('judges a client that authenticates by that, wherever it is', async () => {
    const world = await createWorld()
    const client = await register(world, { token_endpoint_auth_method: 'client_secret_post' })
    const secret = { client_secret: String(client.secret) }
    const { body } = await exchange(world, client, await codeFor(world, client))
    const second = tokenIn(await present(world, client, body['refresh_token'], home, secret))
    world.clock.now += hour
    expect(tokenIn(await present(world, client, body['refresh_token'], office, secret))).toBe(second)
    expect(events(world, 'refresh.repeated')).toMatchObject([{ reason: 'same_successor', ip: office }])
  })

  it('knows a network again after a change of the root secret', async () => {
    const [former, next] = [random(32), random(32)]
    const clock = { now: Date.UTC(2026, 0, 1) }
    const shared = createMemoryStore({ now: () => clock.now })
    const before = await createWorld({ store: () => shared, keys: await createKeyRing([former], random) })
    const { client, refresh } = await logIn(before)
    const second = tokenIn(await present(before, client, refresh))
    const after = await createWorld({
      store: () => shared,
      keys: await createKeyRing([next, former], random),
    })
    after.clock.now += hour
    expect(tokenIn(await present(after, client, refresh))).toBe(second)
    expect(tokenIn(await present(after, client, refresh, office))).not.toBe(second)
  })
})
