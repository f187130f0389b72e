// The pace limits: what counts against whom, what each kind of caller may do, and when a refused one may try
// again.
import { describe, expect, it } from 'vitest'
import { Refusal } from '../../src/kit/refusal.ts'
import type { TokenRequest } from '../../src/oauth/parameters.ts'
import { paced } from '../../src/oauth/silent-grant.ts'
import { createCounterSteps, createLimit, paces } from '../../src/policy/rate-limit.ts'

let time = 1_000_000
const now = (): number => time

const refused = (work: Promise<void>): Promise<string> =>
  work.then(
    () => 'counted',
    (error: { code: string }) => error.code,
  )

describe('a pace', () => {
  it('refuses the guess after the last with the time to wait [H-P5]', async () => {
    const limit = createLimit({ now, loopback: true })
    for (let i = 0; i < paces['sign-in'].points; i++) await limit('sign-in', 'ana')
    await expect(limit('sign-in', 'ana')).rejects.toMatchObject({
      code: 'rate.limited',
      detail: { headers: { 'retry-after': expect.stringMatching(/^\d+$/) as string } },
    })
    expect(await refused(limit('sign-in', 'ben'))).toBe('counted')
  })

  it('does not count a sign-in that was no guess', async () => {
    const limit = createLimit({ now, loopback: true })
    const guess = { account: 'ana', ip: '192.0.2.1', known: undefined }
    for (let i = 0; i < 200; i++) {
      await limit.guess(guess)
      await limit.guessed(guess, true)
    }
    expect(await refused(limit.guess(guess))).toBe('counted')
  })

  it('leaves registrations on a loopback gateway uncounted, where everybody has one address', async () => {
    const [local, open] = [createLimit({ now, loopback: true }), createLimit({ now, loopback: false })]
    for (let i = 0; i < paces.register.points; i++)
      await Promise.all([local('register', { ip: '127.0.0.1' }), open('register', { ip: '192.0.2.1' })])
    expect(await refused(local('register', { ip: '127.0.0.1' }))).toBe('counted')
    expect(await refused(open('register', { ip: '192.0.2.1' }))).toBe('rate.limited')
  })
  it('counts what a use costs', async () => {
    const limit = createLimit({ now, loopback: true })
    await limit('sign-in', 'ana', paces['sign-in'].points)
    expect(await refused(limit('sign-in', 'ana'))).toBe('rate.limited')
  })

  it('of all strangers together is wider than that of one address, and holds on loopback too [H-R8]', async () => {
    const perHour = (pace: { readonly points: number; readonly seconds: number }): number =>
      (pace.points * 3600) / pace.seconds
    expect(perHour(paces['kept-registrations'])).toBeGreaterThan(perHour(paces.register))
    expect(perHour(paces['kept-flows'])).toBeGreaterThan(perHour(paces.authorize))
    const limit = createLimit({ now, loopback: true })
    await limit('kept-flows', { ip: '192.0.2.1' }, paces['kept-flows'].points)
    expect(await refused(limit('kept-flows', { ip: '192.0.2.1' }))).toBe('rate.limited')
  })

  it('never lets a flood of pending devices grow: its newest are refused, and other addresses are not [H-W25a]', async () => {
    const limit = createLimit({ now, loopback: true })
    await limit('kept-devices', { ip: '192.0.2.1' }, paces['kept-devices'].points)
    expect(await refused(limit('kept-devices', { ip: '192.0.2.1' }))).toBe('rate.limited')
    expect(await refused(limit('kept-devices', { ip: '198.51.100.7' }))).toBe('counted')
  })

  it('of clients that ask for tokens by themselves is for each of them, and for what is refused of an address', async () => {
    const limit = createLimit({ now, loopback: false })
    const asking = (id: string, ip: string, handle: () => Promise<Response>) => {
      const request = { client: { id }, context: { ip } } as unknown as TokenRequest
      return refused(paced({ limit }, handle)(request).then(() => undefined))
    }
    const answers = () => Promise.resolve(new Response())
    const refuses = () => Promise.reject(new Refusal('account.service'))
    for (let i = 0; i < paces['client-tokens'].points; i++) await asking('job', '192.0.2.1', answers)
    expect(await asking('job', '192.0.2.2', answers)).toBe('rate.limited')
    expect(await asking('other', '192.0.2.1', answers)).toBe('counted')
    for (let i = 0; i < paces['refused-clients'].points; i++)
      expect(await asking(`job ${i}`, '192.0.2.9', refuses)).toBe('account.service')
    expect(await asking('another', '192.0.2.9', refuses)).toBe('rate.limited')
    expect(await asking('another', '192.0.2.9', answers)).toBe('counted')
  })

  it('begins anew when its minute is over, and says how much of it is left', async () => {
    const limit = createLimit({ now, loopback: true })
    for (let i = 0; i < paces['sign-in'].points; i++) await limit('sign-in', 'ana')
    time += 18_500
    await expect(limit('sign-in', 'ana')).rejects.toMatchObject({
      detail: { headers: { 'retry-after': '42' } },
    })
    time += 41_499
    expect(await refused(limit('sign-in', 'ana'))).toBe('rate.limited')
    time += 1
    expect(await refused(limit('sign-in', 'ana'))).toBe('counted')
  })

  it('keeps its count while strangers come by the thousand, and memory for the latest of them alone', async () => {
    const limit = createLimit({ now, loopback: true })
    for (let i = 0; i < paces['sign-in'].points; i++) await limit('sign-in', 'ana')
    for (let i = 0; i < 40_000; i++) await limit('sign-in', `stranger ${i}`)
    expect(await refused(limit('sign-in', 'ana'))).toBe('rate.limited')
    for (let i = 0; i < 10_000; i++) await limit('sign-in', `crowd ${i}`)
    expect(await refused(limit('sign-in', 'ana'))).toBe('counted')
  })
})

describe('an address', () => {
  const open = () => createLimit({ now, loopback: false })
  it('of IPv6 is a /64, and a /48 at sixteen times the number [H-R8]', async () => {
    const limit = open()
    for (let i = 0; i < paces.register.points; i++)
      await limit('register', { ip: `2001:db8:1:2::${i.toString(16)}` })
    expect(await refused(limit('register', { ip: '2001:db8:1:2:ffff:ffff:ffff:ffff' }))).toBe('rate.limited')
    for (let net = 3; net < 17; net++)
      await limit('register', { ip: `2001:db8:1:${net.toString(16)}::1` }, paces.register.points)
    await refused(limit('register', { ip: '2001:db8:1:fe::1' }, paces.register.points))
    expect(await refused(limit('register', { ip: '2001:db8:1:ff::1' }))).toBe('rate.limited')
    expect(await refused(limit('register', { ip: '2001:db8:2:2::1' }))).toBe('counted')
  })

  it('of IPv4 is itself, also when it comes in IPv6', async () => {
    const limit = open()
    await limit('register', { ip: '192.0.2.1' }, paces.register.points)
    expect(await refused(limit('register', { ip: '::ffff:192.0.2.1' }))).toBe('rate.limited')
    expect(await refused(limit('register', { ip: '192.0.2.2' }))).toBe('counted')
  })
})

describe('what strangers may have kept', () => {
  const { points, seconds } = paces['kept-flows']
  it('is never used up for others by a flood from one place, whatever its addresses [H-R8]', async () => {
    const limit = createLimit({ now, loopback: false })
    let taken = 0
    for (let i = 0; i < points / 15; i++)
      if ((await refused(limit('kept-flows', { ip: `2001:db8:1:${i.toString(16)}::1` }, 16))) === 'counted')
        taken += 16
    expect(taken).toBe(points)
    for (let i = 0; i < 1000; i++)
      expect(await refused(limit('kept-flows', { ip: `198.51.${i >> 8}.${i & 255}` }, 16))).toBe('counted')
    expect(await refused(limit('kept-flows', { ip: '2001:db8:1::1' }))).toBe('rate.limited')
    time += seconds * 1000
    expect(await refused(limit('kept-flows', { ip: '2001:db8:1::1' }))).toBe('counted')
  })

  it('is shared equally by a flood from a thousand places, and others have room beside it', async () => {
    const limit = createLimit({ now, loopback: false })
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 1000; i++)
        await refused(limit('kept-flows', { ip: `198.18.${i >> 8}.${i & 255}` }, 10))
    }
    expect(await refused(limit('kept-flows', { ip: '198.18.0.1' }, 10))).toBe('rate.limited')
    expect(await refused(limit('kept-flows', { ip: '203.0.113.1' }, 16))).toBe('counted')
  })
})

describe('passwords for one account from many addresses', () => {
  const guess = (account: string, ip: string) => ({ account, ip, known: undefined })
  const bot = (i: number): string => `198.18.${(i >> 8) & 255}.${i & 255}`
  /** Tries by a hundred networks in turn, every ten seconds; how many were let try. */
  const attack = async (limit: ReturnType<typeof createLimit>, rounds: number): Promise<number> => {
    let tried = 0
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < 100; i++) {
        if ((await refused(limit.guess(guess('ana', bot(i))))) !== 'counted') continue
        tried++
        await limit.guessed(guess('ana', bot(i)), false)
      }
      time += 10_000
    }
    return tried
  }

  it('make each other wait longer and longer [H-P5]', async () => {
    const limit = createLimit({ now, loopback: false })
    // Ten minutes each: without a delay a hundred networks try ten thousand times a minute.
    const [first, second, third] = [await attack(limit, 60), await attack(limit, 60), await attack(limit, 60)]
    expect(first).toBeLessThan(300)
    expect(second).toBeLessThanOrEqual(200)
    expect(third).toBeLessThanOrEqual(100)
  })

  it('never keep the owner out: their own network waits once, whatever the others do', async () => {
    const limit = createLimit({ now, loopback: false })
    await attack(limit, 180)
    let waited = 0
    await limit
      .guess(guess('ana', '203.0.113.7'))
      .catch((error: { detail: { headers: { 'retry-after': string } } }) => {
        waited = Number(error.detail.headers['retry-after'])
      })
    expect(waited).toBeGreaterThan(0)
    expect(waited).toBeLessThanOrEqual(600)
    await attack(limit, 60)
    expect(await refused(limit.guess(guess('ana', '203.0.113.7')))).toBe('counted')
    expect(await refused(limit.guess(guess('ben', '203.0.113.7')))).toBe('counted')
  })

  it('cost nothing while they are few, and are forgotten after an hour', async () => {
    const limit = createLimit({ now, loopback: false })
    for (let i = 0; i < 20; i++) {
      expect(await refused(limit.guess(guess('ana', bot(i))))).toBe('counted')
      await limit.guessed(guess('ana', bot(i)), false)
    }
    expect(await refused(limit.guess(guess('ana', bot(99))))).toBe('rate.limited')
    time += 3_600_000
    expect(await refused(limit.guess(guess('ana', bot(100))))).toBe('counted')
  })
})

describe('counts that are written down', () => {
  const createTable = () => {
    const rows = new Map<string, { readonly used: number; readonly until: number }>()
    return {
      get(of: string, key: string) {
        const row = rows.get(`${of} ${key}`)
        return row && row.until > time ? row : undefined
      },
      set: (of: string, key: string, used: number, until: number) =>
        void rows.set(`${of} ${key}`, { used, until }),
    }
  }

  it('go on where the process before was ended, for windows, shares, accounts and calls', () => {
    const table = createTable()
    const steps = () => createCounterSteps({ now, loopback: false, table })
    const next = () => steps().act
    const use = (kind: 'sign-in' | 'kept-flows', ip: string, cost: number) =>
      [{ do: 'use', kind, who: { ip }, cost }] as const
    const { points, seconds } = paces['kept-flows']
    expect(next()(use('kept-flows', '192.0.2.1', points - 10))).toBe(0)
    expect(next()(use('kept-flows', '192.0.2.1', 16))).toBe(seconds * 1000)
    expect(next()(use('kept-flows', '192.0.2.2', 16))).toBe(0)
    for (let i = 0; i < paces['sign-in'].points; i++) expect(next()(use('sign-in', '192.0.2.1', 1))).toBe(0)
    expect(next()(use('sign-in', '192.0.2.1', 1))).toBe(60_000)
    for (let i = 0; i < 20; i++) expect(next()([{ do: 'wrong', account: 'ana' }])).toBe(0)
    expect(next()([{ do: 'guess', account: 'ana', ip: '192.0.2.9' }])).toBe(1000)
    time += 1000
    expect(next()([{ do: 'guess', account: 'ana', ip: '192.0.2.9' }])).toBe(0)
    time += 3_600_000
    expect(next()(use('kept-flows', '192.0.2.1', points))).toBe(0)
    expect(next()([{ do: 'guess', account: 'ana', ip: '192.0.2.10' }])).toBe(0)
    const hit = { cost: 3, limit: 5, windowMs: 1000 }
    expect(steps().hit('a', hit)).toEqual({ allowed: true, remaining: 2, resetMs: 1000 })
    time += 400
    expect(steps().hit('a', hit)).toEqual({ allowed: false, remaining: 2, resetMs: 600 })
    expect(steps().hit('b', hit)).toEqual({ allowed: true, remaining: 2, resetMs: 1000 })
    expect(steps().hit('a', { ...hit, cost: 2 })).toEqual({ allowed: true, remaining: 0, resetMs: 600 })
    time += 600
    expect(steps().hit('a', hit)).toEqual({ allowed: true, remaining: 2, resetMs: 1000 })
  })

  it('are asked for what must hold everywhere alone, and not by whoever is refused here already', async () => {
    const asked: unknown[] = []
    const limit = createLimit({
      now,
      loopback: false,
      shared: {
        act: (actions) => (asked.push(actions.map((action) => action.do)), Promise.resolve(0)),
        hit: () => Promise.reject(new TypeError('not asked')),
      },
    })
    const guess = { account: 'ana', ip: '192.0.2.1', known: undefined }
    for (const kind of ['register', 'authorize', 'token'] as const) await limit(kind, { ip: '192.0.2.1' })
    for (let i = 0; i < 12; i++) await refused(limit.guess(guess))
    await limit.guessed(guess, false)
    await limit.guessed({ ...guess, known: 'browser' }, false)
    expect(asked).toEqual([...Array.from({ length: 10 }, () => ['use', 'guess', 'use']), ['wrong']])
  })
})

describe('requests of an address', () => {
  const { points } = paces.authorize
  /** So many processes with one table of counts, which are asked in turn. */
  const processes = (count: number, hits: string[] = [], broken = (): boolean => false) => {
    const steps = createCounterSteps({ now, loopback: false })
    const shared = {
      act: () => Promise.resolve(0),
      hit: (key: string, hit: Parameters<typeof steps.hit>[1]) =>
        broken()
          ? Promise.reject(new TypeError('away'))
          : (hits.push(key), Promise.resolve(steps.hit(key, hit))),
    }
    const runtime = { digest: (text: string) => text, log: () => undefined, defer: () => undefined }
    return Array.from({ length: count }, () => createLimit({ now, loopback: false, shared, runtime }))
  }
  /** How many of these are counted, of requests that go to the processes in turn. */
  const counted = async (limits: readonly ReturnType<typeof createLimit>[], many: number, ip: string) => {
    let passed = 0
    for (let i = 0; i < many; i++)
      if (
        (await refused((limits[i % limits.length] as (typeof limits)[number])('authorize', { ip }))) ===
        'counted'
      )
        passed++
    return passed
  }

  it('are counted by all processes together, with few questions to the counts that all share [H-R8]', async () => {
    const hits: string[] = []
    const four = processes(4, hits)
    const free = 4 * (points / 20)
    const passed = await counted(four, 4 * points, '192.0.2.1')
    expect([passed >= points, passed <= points + free]).toEqual([true, true])
    expect(hits.length).toBeLessThanOrEqual(28)
    await expect((four[0] as (typeof four)[number])('authorize', { ip: '192.0.2.1' })).rejects.toMatchObject({
      code: 'rate.limited',
      detail: { headers: { 'retry-after': '60' } },
    })
    expect(await counted(four, 40, '192.0.2.2')).toBe(40)
    time += 60_000
    expect(await counted(four, 400, '192.0.2.1')).toBe(400)
  })

  it('far below the pace cost no question, and those of a /64 are one address at every process', async () => {
    const hits: string[] = []
    const two = processes(2, hits)
    expect(await counted(two, 2 * (points / 20), '2001:db8:7:1::1')).toBe(points / 10)
    expect(hits).toEqual([])
    const passed = await counted(two, 4 * points, '2001:db8:7:1::2')
    expect(passed).toBeLessThanOrEqual(points)
    expect(await counted(two, 20, '2001:db8:7:2::1')).toBe(20)
  })

  it('are counted by each process alone where the shared counts cannot be had', async () => {
    const two = processes(2, [], () => true)
    expect(await counted(two, 4 * points, '192.0.2.7')).toBe(2 * points)
  })
})
