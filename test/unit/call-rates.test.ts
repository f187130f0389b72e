// Rate limits of calls: what the configuration may say, and whose counts go on when it is read again.
import { describe, expect, it } from 'vitest'
import { type Config, parseConfig } from '../../src/config/schema.ts'
import { createCallRates } from '../../src/policy/call-rates.ts'
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
  const message: JudgedMessage = { kind: 'request', method: 'ping', name: undefined }
  const caller = { principal: undefined, ip: '192.0.2.1' }
  const serviceOf = (id: string) => ({ id }) as Service
  const configOf = (limits: Config['rate_limits']): Config => parseConfig({ rate_limits: limits })
  const none = configOf([])
  const limit = (calls: number) => ({ calls, within: 60, per: 'user' as const })

  it('go on with their counts when the configuration is read again, and begin anew where they changed', () => {
    let config = configOf([limit(2), { ...limit(5), services: ['b'] }])
    const rates = createCallRates({
      now: () => 0,
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
      now: () => 0,
      config: () => none,
      services: { limited: true, ratesOf: () => [limit(2), { ...limit(2), per: 'service' }] },
    })
    const exceeded = rates.of(serviceOf('a'))?.(caller, [message, message, message])
    expect(exceeded).toEqual({ waitMs: 60_000, calls: 2, withinMs: 60_000, per: 'user' })
  })

  it('keep memory for the latest of many addresses alone', () => {
    const rates = createCallRates({
      now: () => 0,
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
