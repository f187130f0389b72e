// Host names made to reach what nobody registered.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Fetch } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { underAnyName } from '../runtimes/named.ts'
import { callerOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const base32 = (text: string): string => {
  const bits = [...Buffer.from(text)].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return (bits.match(/.{1,5}/g) ?? [])
    .map((five) => 'abcdefghijklmnopqrstuvwxyz234567'[Number.parseInt(five.padEnd(5, '0'), 2)])
    .join('')
}

describe.each(runtimes)('%s', (where, open) => {
  let house: TestGateway
  let upstream: Upstream
  let fetch: Fetch
  const post = (url: string) => callerOf({ ...house, fetch }, url, '').post(call())

  beforeAll(async () => {
    upstream = await openUpstream()
    // Public, so that nothing but the host decides.
    house = await open({
      upstream: upstream.url,
      config: {
        domain_root: 'root.localhost',
        base_domain: 'base.localhost',
        mcp_services: {
          open: { url: upstream.url, auth_required: false },
          far: { url: 'https://mcp.example.com/mcp', auth_required: false },
        },
      },
    })
    fetch = underAnyName(house, where !== 'in process')
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  it('never reaches a domain that is not registered, whatever a label encodes [H-K12]', async () => {
    const { port } = new URL(house.origin)
    const { host, hostname } = new URL(upstream.url)
    const domains = [
      'evil.test',
      'mcp.atlassian.com',
      hostname,
      host,
      'localhost',
      'x@y',
      '[::1]',
      '169.254.169.254',
      'http://evil.test/',
      'mcp.example.com.',
      'mcp.example.com/x',
      '../open',
      '',
    ]
    const labels = [
      ...domains.map((domain) => `${base32(domain)}-enc`),
      `${base32('mcp.example.com')}a-enc`,
      base32('mcp.example.com'),
      `b32-${base32('mcp.example.com')}`,
      `x.${base32('mcp.example.com')}-enc`,
      `${base32('evil.test').toUpperCase()}-ENC`,
      'open-enc',
      'open',
      'enc',
      'nobody',
    ]
    for (const name of [
      ...labels
        .filter((label) => /^[\w.-]+$/.test(label) && !label.startsWith('-'))
        .map((label) => `${label}.root.localhost`),
      'evil.base.localhost',
      'a.open.base.localhost',
      'open-.base.localhost',
      'open.root.localhost',
    ]) {
      for (const path of ['/mcp', '/open/mcp', '/']) {
        const answer = await post(`http://${name}:${port}${path}`)
        expect([name, path, answer.status]).toEqual([name, path, 404])
      }
    }
    expect(upstream.heard).toEqual([])
    expect((await post(`http://open.base.localhost:${port}/mcp`)).status).toBe(200)
  })

  it('never serves one service at the host of another, nor under names that only look like its host', async () => {
    upstream.heard.length = 0
    const { port } = new URL(house.origin)
    for (const path of ['/open/mcp', '/far/mcp', '/mcp/../open/mcp', '//mcp', '/mcp%2f..', '/open', '/mcpx'])
      expect([path, (await post(`http://far.base.localhost:${port}${path}`)).status]).not.toEqual([path, 200])
    for (const name of [
      'open.base.localhost.evil.test',
      'evil.test',
      'root.localhost.evil.test',
      'openbase.localhost',
      'base.localhost',
      'root.localhost',
    ]) {
      expect([name, (await post(`http://${name}:${port}/mcp`)).status < 400]).toEqual([name, false])
    }
    expect(upstream.heard).toEqual([])
  })
})
