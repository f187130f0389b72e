// Rate limits of calls against callers who would use up what others have: never does one network, one user or
// a crowd end a service for somebody else.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { fromNetwork } from '../runtimes/networks.ts'
import { type Somebody, ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { type RuntimeGateway, openInWorkerd, runtimes } from '../runtimes/runtimes.ts'
import { type Upstream, openUpstream } from '../runtimes/upstream.ts'

const ping = { jsonrpc: '2.0', id: 1, method: 'ping' }
const crowd: readonly Somebody[] = Array.from({ length: 6 }, (_, i) => ({
  username: `crowd${i}`,
  password: 'a password of the crowd',
}))

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let gateway: RuntimeGateway
  beforeAll(async () => {
    upstream = await openUpstream((__, response) =>
      response.setHeader('content-type', 'application/json').end('{"jsonrpc":"2.0","id":1,"result":{}}'),
    )
    const { url } = upstream
    gateway = await open({
      upstream: url,
      config: {
        local_users: [ana, ...crowd],
        trusted_proxies: ['127.0.0.1'],
        mcp_services: {
          own: { url, rate_limits: [{ calls: 10 }] },
          shared: { url, rate_limits: [{ calls: 20, per: 'service' }] },
          open: { url, auth_required: false, rate_limits: [{ calls: 5 }] },
          square: { url, auth_required: false, rate_limits: [{ calls: 20, per: 'service' }] },
        },
      },
    })
  }, 60_000)
  afterAll(async () => {
    await gateway.close()
    await upstream.close()
  })
  beforeEach(() => gateway.advance(60_000))

  const servedOf = async (post: () => Promise<Response>, times: number): Promise<number> => {
    let served = 0
    for (let i = 0; i < times; i++) {
      const response = await post()
      await response.text()
      if (response.status === 200) served++
      else expect(response.status).toBe(429)
    }
    return served
  }
  const from = (ip: string, service: string) => {
    const caller = callerOf(fromNetwork(gateway, ip), `${gateway.origin}/${service}/mcp`, '')
    return () => caller.post(ping)
  }
  const as = async (who: Somebody, service: string) => {
    const url = `${gateway.origin}/${service}/mcp`
    const caller = callerOf(gateway, url, await tokenOf(gateway, who, url))
    return () => caller.post(ping)
  }

  it('never has one /64 more of a public service for its many addresses, nor its neighbours less [H-R8]', async () => {
    let served = 0
    for (let i = 1; i <= 20; i++) served += await servedOf(from(`2001:db8:1:2::${i.toString(16)}`, 'open'), 1)
    expect(served).toBe(5)
    expect(await servedOf(from('2001:db8:9:3::1', 'open'), 6)).toBe(5)
    expect(await servedOf(from('192.0.2.1', 'open'), 6)).toBe(5)
    expect(await servedOf(from('192.0.2.2', 'open'), 6)).toBe(5)
  })

  it('never has one /48 more than sixteen times as much for its many networks', async () => {
    let served = 0
    for (let i = 1; i <= 20; i++) served += await servedOf(from(`2001:db8:7:${i.toString(16)}::1`, 'open'), 5)
    expect(served).toBe(80)
  })

  it('never has a user more for many clients, and never do these use up what another has [H-R9]', async () => {
    let served = 0
    for (let i = 0; i < 4; i++) served += await servedOf(await as(ana, 'own'), 5)
    expect(served).toBe(10)
    expect(await servedOf(await as(crowd[0] as Somebody, 'own'), 12)).toBe(10)
  })

  it('never does one user use up what a service has for all, with however many clients', async () => {
    let served = 0
    for (let i = 0; i < 3; i++) served += await servedOf(await as(ana, 'shared'), 20)
    expect(served).toBe(20)
    expect(await servedOf(await as(crowd[0] as Somebody, 'shared'), 5)).toBe(5)
  })

  it('never do many users, and never many addresses of one subscriber, keep a newcomer out', async () => {
    for (const one of crowd) await servedOf(await as(one, 'shared'), 20)
    expect(await servedOf(await as(ana, 'shared'), 2)).toBe(2)
    for (let i = 1; i <= 40; i++) await servedOf(from(`2001:db8:5:${i.toString(16)}::1`, 'square'), 2)
    expect(await servedOf(from('2001:db8:6::1', 'square'), 5)).toBe(5)
    for (let i = 1; i <= 60; i++) await servedOf(from(`198.51.100.${i}`, 'square'), 1)
    expect(await servedOf(from('203.0.113.9', 'square'), 1)).toBe(1)
  })
})

it('never does a call in workerd fail because its count cannot be had: the isolate counts by itself', async () => {
  const upstream = await openUpstream((__, response) =>
    response.setHeader('content-type', 'application/json').end('{"jsonrpc":"2.0","id":1,"result":{}}'),
  )
  const gateway = await openInWorkerd({
    upstream: upstream.url,
    config: {
      mcp_services: { open: { url: upstream.url, auth_required: false, rate_limits: [{ calls: 3 }] } },
    },
  })
  try {
    const caller = callerOf(gateway, `${gateway.origin}/open/mcp`, '')
    const statusOf = async (): Promise<number> => {
      const response = await caller.post({ jsonrpc: '2.0', id: 1, method: 'ping' })
      await response.text()
      return response.status
    }
    expect(await statusOf()).toBe(200)
    // No invocation reaches an object any more.
    await gateway.tell('__limit?calls=0')
    const statuses: number[] = []
    for (let i = 0; i < 4; i++) statuses.push(await statusOf())
    expect(statuses).toEqual([200, 200, 429, 429])
    await expect.poll(() => gateway.log.map(({ event }) => event)).toContain('counts.unreachable')
  } finally {
    await gateway.close()
    await upstream.close()
  }
}, 60_000)
