// Paths that a proxy in front reads differently: what it forbids by path must not be reached by another
// spelling of it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, openInWorkerd, openOnSocket } from '../runtimes/runtimes.ts'
import { ana } from '../runtimes/people.ts'
import { sendRaw } from '../runtimes/raw.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

describe.each([
  ['on a node socket', openOnSocket],
  ['in workerd', openInWorkerd],
] as const)('never answers at another address than the one that was written, %s', (_name, open) => {
  let house: TestGateway
  let upstream: Upstream
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: { local_users: [ana], mcp_services: { open: { url: upstream.url, auth_required: false } } },
    })
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  const ask = async (line: string): Promise<number[]> => {
    const { host, port } = new URL(house.origin)
    const fields = `Host: ${host}\r\nContent-Type: application/json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`
    return [...(await sendRaw(Number(port), `${line} HTTP/1.1\r\n${fields}`)).statuses]
  }

  it.each([
    '/echo/mcp/../../healthz',
    '/x/../healthz',
    '/x/%2e%2e/healthz',
    '/x/.%2E/healthz',
    '/./healthz',
    '/%2e/healthz',
    '/healthz/.',
    '/healthz/x/..',
    '/x/..;/healthz',
    '/x//../healthz',
    '/a/..%2f../healthz',
    String.raw`/x\..\healthz`,
    String.raw`/x/..\healthz`,
    '/healthz%00',
    '/healthz%20',
    '/%68ealthz',
    '/healthz;a=b',
    '/oauth/../services',
    '/./services',
    '/open/../services?x=1',
    '/.well-known/../oauth/jwks',
    '/x/../.well-known/oauth-authorization-server',
    '/x/../open/mcp',
    '/open/./mcp',
  ])('GET %s [H-K1]', async (path) => {
    const statuses = await ask(`GET ${path}`)
    expect(statuses).toHaveLength(1)
    expect([400, 404]).toContain(statuses[0])
    expect(upstream.heard).toEqual([])
  })

  it('answers at the addresses themselves', async () => {
    for (const path of [
      '/healthz',
      '/healthz?x=/../y',
      '/services',
      '/.well-known/oauth-authorization-server',
      '/.well-known/oauth-protected-resource/echo/mcp',
    ]) {
      expect([path, await ask(`GET ${path}`)]).toEqual([path, [200]])
    }
  })
})
