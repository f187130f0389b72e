// Servers that the gateway asks by itself whether they are there, on a clock that the test moves.
import type { ServerResponse } from 'node:http'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openInProcess } from '../runtimes/runtimes.ts'
import { type Upstream, echo, openUpstream } from '../runtimes/upstream.ts'
import { faultsOf, warningsOf } from './config-world.ts'

type Gateway = Awaited<ReturnType<typeof openInProcess>>
type Answer = (response: ServerResponse) => void

const initialized: Answer = (response) =>
  void response
    .setHeader('content-type', 'application/json')
    .end(
      '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}',
    )
const status =
  (code: number): Answer =>
  (response) =>
    void response.writeHead(code).end()

describe('health checks', () => {
  let upstream: Upstream
  let gateway: Gateway
  let answer: Answer = initialized
  let asked = 0

  beforeAll(async () => {
    upstream = await openUpstream((request, response, body) => {
      if (!body.includes('"initialize"')) return echo(request, response, body)
      asked++
      answer(response)
    })
  })
  afterAll(() => upstream.close())
  beforeEach(async () => {
    asked = 0
    gateway = await openInProcess({
      upstream: upstream.url,
      config: {
        mcp_services: {
          watched: { url: upstream.url, health_interval: '30s' },
          unwatched: { url: upstream.url },
        },
      },
    })
  })
  afterEach(() => gateway.close())

  const checks = () => gateway.log.filter(({ event }) => event === 'service.checked').length
  /** Resolves when the next check is over, and the one after it is awaited. */
  const check = async (how: Answer, ms = 30_000): Promise<void> => {
    const before = checks()
    answer = how
    gateway.advance(ms)
    await expect.poll(checks, { timeout: 10_000 }).toBe(before + 1)
    expect(asked).toBe(before + 1)
  }
  const health = async () => {
    const response = await gateway.fetch(`${gateway.origin}/health`)
    const { services } = (await response.json()) as {
      readonly services: Readonly<Record<string, { readonly status: string }>>
    }
    return [response.status, services['watched']?.status, services['unwatched']?.status]
  }
  const shows = (state: string) => expect.poll(health, { timeout: 10_000 }).toEqual([200, state, 'unknown'])
  const said = () =>
    gateway.log
      .filter(({ event }) => /^service\.(?:up|down)$/.test(event))
      .map(({ event, fields }) => [event, fields['why']])

  it('ask by initialize at the interval, and three failures in a row make a server that is down', async () => {
    await check(initialized, 1000)
    await shows('healthy')
    await check(status(500))
    await check(status(500))
    await shows('healthy')
    await check(status(500))
    await shows('degraded')
    const ready = await gateway.fetch(`${gateway.origin}/readyz`)
    expect(ready.status).toBe(200)
    await check(initialized)
    await shows('healthy')
    expect(said()).toEqual([
      ['service.down', 'The server failed: status 500.'],
      ['service.up', undefined],
    ])
  })

  it('take a server that wants a token for one that is there, and send it none', async () => {
    upstream.heard.splice(0)
    await check(status(401), 1000)
    await shows('healthy')
    const [first] = upstream.heard
    expect([first?.headers.authorization, JSON.parse(first?.body ?? '{}')]).toMatchObject([
      undefined,
      { method: 'initialize', params: { clientInfo: { name: 'postern' } } },
    ])
  })
})

describe('the interval', () => {
  const config = (more: string) => `mcp_services: { a: { ${more}, health_interval: 30s } }`

  it('is for servers with a URL', async () => {
    expect(await faultsOf(config('url: "http://a.example"'))).toEqual([])
    expect(await faultsOf(config('command: a'))).toEqual([
      'config.yaml:1:34 mcp_services.a.health_interval – applies only to a service with `url`',
    ])
    expect(await warningsOf(config('url: "http://a.example"'))).toEqual([])
  })
})
