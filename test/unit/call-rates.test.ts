// Rate limits of calls: what the configuration may say, and whose counts go on when it is read again.
import { describe, expect, it } from 'vitest'
import { type Config, parseConfig } from '../../src/config/schema.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import { createCallRates } from '../../src/policy/call-rates.ts'
import { createCounterSteps } from '../../src/policy/rate-limit.ts'
import type { JudgedMessage } from '../../src/ports/policy.ts'
import type { Service } from '../../src/ports/services.ts'
import { faultsOf, warningsOf } from './config-world.ts'

describe('rate limits in the configuration', () => {
  const service = (limit: string): string =>
    `mcp_services:\n  a: { url: "http://localhost:3001/mcp", rate_limits: [${limit}] }\n`
  it.each([
    ['without a number', service('{ within: 1m }'), 'mcp_services.a.rate_limits[0].calls', 'is required'],
    [
      'with a pattern that escapes nothing',
      service('{ calls: 1, tools: ["a\\\\"] }'),
      'mcp_services.a.rate_limits[0].tools[0]',
      'ends with a backslash that escapes nothing',
    ],
    [
      'over several services in one of them',
      service('{ calls: 1, services: [a] }'),
      'mcp_services.a.rate_limits[0].services',
      'those over several services are in `rate_limits` at the top level',
    ],
    [
      'of a service that is not there',
      `rate_limits: [{ calls: 1, services: [aa] }]\n${service('{ calls: 1 }')}`,
      'rate_limits[0].services[0]',
      'names "aa", which is not in mcp_services; did you mean "a"?',
    ],
  ])('%s are told', async (_, text, key, what) => {
    const told = [...(await faultsOf(text)), ...(await warningsOf(text))].filter((line) =>
      line.includes('rate_limits'),
    )
    expect(told.map((line) => [line.includes(` ${key} `), line.includes(what)])).toEqual([[true, true]])
  })
})

describe('rate limits', () => {
  const runtime = {
    now: () => 0,
    digest: (text: string) => text,
    log: () => undefined,
    defer: () => undefined,
  }
  const message: JudgedMessage = { kind: 'request', method: 'ping', name: undefined }
  const caller = { principal: undefined, ip: '192.0.2.1' }
  const serviceOf = (id: string) => ({ id }) as Service
  const configOf = (limits: Config['rate_limits']): Config => parseConfig({ rate_limits: limits })
  const none = configOf([])
  const limit = (calls: number) => ({ calls, within: 60, per: 'user' as const })

  it('go on with their counts when the configuration is read again, and begin anew where they changed', () => {
    let config = configOf([limit(2), { ...limit(5), services: ['b'] }])
    const rates = createCallRates({
      runtime,
      config: () => config,
      services: { limited: true, ratesOf: () => undefined },
    })
    const isLet = (id: string): boolean => rates.of(serviceOf(id))?.(caller, [message, message]) === undefined
    expect([isLet('a'), isLet('b')]).toEqual([true, false])
    config = configOf([limit(2)])
    expect([isLet('a'), isLet('b')]).toEqual([false, false])
    config = configOf([limit(3)])
    expect([isLet('a'), isLet('b')]).toEqual([true, false])
    config = configOf([])
    expect([rates.of(serviceOf('a')), isLet('b')]).toEqual([undefined, true])
  })

  it('refuse a batch that is larger than the limit for the whole of a period', () => {
    const rates = createCallRates({
      runtime,
      config: () => none,
      services: { limited: true, ratesOf: () => [limit(2), { ...limit(2), per: 'service' }] },
    })
    const exceeded = rates.of(serviceOf('a'))?.(caller, [message, message, message])
    expect(exceeded).toEqual({ waitMs: 60_000, calls: 2, withinMs: 60_000, per: 'user' })
  })

  it('keep memory for the latest of many addresses alone', () => {
    const rates = createCallRates({
      runtime,
      config: () => none,
      services: { limited: true, ratesOf: () => own },
    })
    const own = [limit(1)]
    const ask = (ip: string): boolean =>
      rates.of(serviceOf('a'))?.({ principal: undefined, ip }, [message]) === undefined
    expect([ask('192.0.2.1'), ask('192.0.2.1')]).toEqual([true, false])
    for (let i = 0; i < 50_000; i++) ask(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
    expect(ask('192.0.2.1')).toBe(true)
  })
})

describe('rate limits of several processes', () => {
  const minute = 60_000
  const own = [{ calls: 100, within: 60, per: 'user' as const }]
  const service = { id: 'a' } as Service
  const ping: JudgedMessage = { kind: 'request', method: 'ping', name: undefined }
  const none = parseConfig({})
  const open = (limits = own) => {
    const state = { time: 0, asked: 0, broken: false, logged: [] as string[] }
    const steps = createCounterSteps({ now: () => state.time, loopback: false })
    const process = () => {
      const rates = createCallRates({
        runtime: {
          now: () => state.time,
          digest: (text) => text,
          defer: () => undefined,
          log: (_, event) => void state.logged.push(event),
          counters: {
            async hit(key, hit) {
              state.asked++
              if (state.broken) throw new Refusal('storage.unavailable')
              return steps.hit(key, hit)
            },
            act: () => Promise.reject(new TypeError('not asked')),
          },
        },
        config: () => none,
        services: { limited: true, ratesOf: () => limits },
      })
      return async (ip = '192.0.2.1', times = 1): Promise<boolean> =>
        (await rates.of(service)?.(
          { principal: undefined, ip },
          Array.from({ length: times }, () => ping),
        )) === undefined
    }
    return { state, process }
  }
  const served = async (ask: () => Promise<boolean>, times: number): Promise<number> => {
    let count = 0
    for (let i = 0; i < times; i++) if (await ask()) count++
    return count
  }

  it('hold over all of them together, for a few questions', async () => {
    const { state, process } = open()
    const [one, two] = [process(), process()]
    expect((await served(one, 60)) + (await served(two, 60))).toBe(100)
    expect(state.asked).toBeLessThan(30)
    // Each learns once that nothing is left.
    await Promise.all([served(one, 1), served(two, 1)])
    const before = state.asked
    await Promise.all([served(one, 100), served(two, 100)])
    expect(state.asked).toBe(before)
    state.time += minute
    expect([await served(two, 20), await served(one, 90)]).toEqual([20, 80])
  })

  it('hold where calls come at once, and a small limit to the last call', async () => {
    const { process } = open([{ calls: 3, within: 60, per: 'user' }])
    const [one, two] = [process(), process()]
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? one() : two())))
    expect(answers.filter(Boolean)).toHaveLength(3)
  })

  it('take what is left for a batch, and no more', async () => {
    const { process } = open()
    const [one, two] = [process(), process()]
    expect(await one('192.0.2.1', 98)).toBe(true)
    expect([await two('192.0.2.1', 3), await two('192.0.2.1', 2)]).toEqual([false, true])
    expect([await one(), await two()]).toEqual([false, false])
    expect(await two('192.0.2.2', 100)).toBe(true)
  })

  it('are counted in one process where the counts of all cannot be reached, until the period ends', async () => {
    const { state, process } = open()
    const one = process()
    state.broken = true
    expect([await served(one, 120), state.asked, state.logged]).toEqual([100, 1, ['counts.unreachable']])
    state.time += minute
    state.broken = false
    expect(await served(one, 10)).toBe(10)
    expect(state.asked).toBe(3)
  })

  it('leave an equal share to whoever comes late, in each of them', async () => {
    const { process } = open([{ calls: 20, within: 60, per: 'service' }] as never)
    const [one, two] = [process(), process()]
    expect(await served(one, 30)).toBe(20)
    // What somebody used is known where they used it.
    expect(await served(two, 30)).toBe(10)
    expect(await served(two, 30)).toBe(0)
    expect(await served(() => two('203.0.113.1'), 5)).toBe(5)
  })
})
