// A network that lets nothing out but through a forward proxy: every connection of the gateway takes it, and
// the guard against private addresses stays.
import { readFileSync } from 'node:fs'
import { createServer as createTlsServer } from 'node:https'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { readForwardProxies } from '../../src/node/forward-proxy.ts'
import { createOutbound } from '../../src/node/outbound.ts'
import { createTransports } from '../../src/node/websocket.ts'
import { type ForwardProxyServer, openForwardProxy } from '../runtimes/forward-proxy.ts'
import { type TestGateway, openOnSocket } from '../runtimes/runtimes.ts'
import { ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { openSocketUpstream, type SocketUpstream } from '../runtimes/socket-upstream.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { answering, createListeners } from '../unit/listeners.ts'

const portOf = (url: string): number => Number(new URL(url).port)
const [key, cert] = ['key', 'cert'].map((name) =>
  readFileSync(join(import.meta.dirname, '../data/tls', `${name}.pem`), 'utf8'),
) as [string, string]
const env = (url: string) => ({
  HTTPS_PROXY: url.replace('//', '//user:word@'),
  http_proxy: url,
  NO_PROXY: 'direct.example',
})

describe('a gateway behind a forward proxy', () => {
  let upstream: Upstream
  let socket: SocketUpstream
  let proxy: ForwardProxyServer
  let house: TestGateway
  let secure: number
  const listeners = createListeners()

  beforeAll(async () => {
    upstream = await openUpstream()
    socket = await openSocketUpstream()
    secure = await listeners.listen(
      createTlsServer({ key, cert }, (_request, response) => response.end('{}')),
    )
    const ports: Record<string, number> = {
      'mcp.inside.invalid:80': portOf(upstream.url),
      'ws.inside.invalid:80': portOf(socket.url),
      'tls.inside.invalid:443': secure,
      'cimd.example:443': secure,
    }
    proxy = await openForwardProxy({ route: (target) => ports[target] })
    const services = {
      far: { url: 'http://mcp.inside.invalid/mcp?key=1' },
      line: { url: 'ws://ws.inside.invalid/message' },
      tls: { url: 'https://tls.inside.invalid/mcp' },
      barred: { url: 'https://barred.invalid/mcp' },
    }
    house = await openOnSocket({
      upstream: upstream.url,
      config: { local_users: [ana], mcp_services: services },
      proxies: readForwardProxies(env(proxy.url)),
    })
  }, 60_000)
  afterAll(async () => {
    await house.close()
    await Promise.all([proxy.close(), upstream.close(), socket.close()])
    listeners.close()
  })
  beforeEach(() => {
    proxy.asked.length = 0
    proxy.shown.length = 0
    upstream.heard.length = 0
  })

  const at = async (service: string) =>
    callerOf(
      house,
      `${house.origin}/${service}/mcp`,
      await tokenOf(house, ana, `${house.origin}/${service}/mcp`),
    )
  const initialize = {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
  }

  it('reaches a server over http by the whole URL, on the straight way and when a session begins', async () => {
    const caller = await at('far')
    proxy.asked.length = 0
    upstream.heard.length = 0
    expect((await caller.post(initialize)).status).toBe(200)
    expect((await caller.post(call())).status).toBe(200)
    expect(proxy.asked).toEqual([
      'POST http://mcp.inside.invalid/mcp?key=1',
      'POST http://mcp.inside.invalid/mcp?key=1',
    ])
    expect(upstream.heard.map(({ headers }) => [headers.host, headers['proxy-authorization']])).toEqual([
      ['mcp.inside.invalid', undefined],
      ['mcp.inside.invalid', undefined],
    ])
  })

  it('reaches a WebSocket server through a tunnel', async () => {
    const caller = await at('line')
    const answer = await caller.post(initialize)
    expect(answer.status).toBe(200)
    expect(proxy.asked).toContain('CONNECT ws.inside.invalid:80')
  })

  it('reaches a server over https through a tunnel, shows the proxy its password, and judges the certificate itself', async () => {
    const caller = await at('tls')
    proxy.asked.length = 0
    proxy.shown.length = 0
    expect((await caller.post(call())).status).toBe(502)
    expect(proxy.asked).toEqual(['CONNECT tls.inside.invalid:443'])
    expect(proxy.shown).toEqual([`Basic ${Buffer.from('user:word').toString('base64')}`])
    expect(
      house.log.filter(
        ({ event, fields }) => event === 'refused' && /SELF_SIGNED/.test(String(fields['why'])),
      ),
    ).toHaveLength(1)
  })

  it('says that the proxy refused, without its password', async () => {
    const caller = await at('barred')
    expect((await caller.post(call())).status).toBe(502)
    const whys = house.log
      .filter(({ event }) => event === 'refused')
      .map(({ fields }) => String(fields['why']))
    expect(whys.at(-1)).toBe(
      `barred at https://barred.invalid/mcp: the proxy ${proxy.url} answered 403 to CONNECT barred.invalid:443`,
    )
  })

  it('connects to loopback directly', async () => {
    const caller = await at('echo')
    proxy.asked.length = 0
    expect((await caller.post(call())).status).toBe(200)
    expect([proxy.asked, upstream.heard.length > 0]).toEqual([[], true])
  })

  it('fetches what it discovers through a tunnel, once the name has been judged', async () => {
    const { lookup, asked } = answering('192.88.98.1')
    const outbound = createOutbound({
      allowOrigins: [],
      lookup,
      ca: cert,
      proxies: readForwardProxies(env(proxy.url)),
    })
    expect((await outbound('https://cimd.example/client.json')).status).toBe(200)
    expect([asked, proxy.asked]).toEqual([['cimd.example'], ['CONNECT cimd.example:443']])
  })

  it('never hands a name that means a private address, or cannot be judged, to the proxy', async () => {
    const proxies = readForwardProxies(env(proxy.url))
    for (const address of ['10.0.0.1', '127.0.0.1', '169.254.169.254', '::1']) {
      const { lookup } = answering(address)
      await expect(
        createOutbound({ allowOrigins: [], lookup, proxies })('https://rebind.example/'),
      ).rejects.toMatchObject({ code: 'outbound.refused' })
      await expect(
        createTransports(lookup, proxies).publicOnly.fetch('https://rebind.example/mcp'),
      ).rejects.toMatchObject({ code: 'outbound.refused' })
      const silent = {
        text: () => undefined,
        binary: () => undefined,
        alive: () => undefined,
        closed: () => undefined,
      }
      await expect(
        createTransports(lookup, proxies).publicOnly.socket(
          'wss://rebind.example/mcp',
          { headers: [], timeoutMs: 1000, maxBytes: 1000 },
          silent,
        ),
      ).rejects.toMatchObject({ code: 'outbound.refused' })
    }
    const unknown = () =>
      Promise.reject(Object.assign(new Error('getaddrinfo ENOTFOUND no.example'), { code: 'ENOTFOUND' }))
    await expect(
      createOutbound({ allowOrigins: [], lookup: unknown, proxies })('https://no.example/'),
    ).rejects.toMatchObject({ code: 'outbound.failed' })
    expect(proxy.asked).toEqual([])
  })

  it('leaves names that the operator wrote to the proxy to resolve', async () => {
    const unknown = () => Promise.reject(new Error('nobody asks'))
    const outbound = createOutbound({
      allowOrigins: [],
      lookup: unknown,
      proxies: readForwardProxies(env(proxy.url)),
    })
    expect(
      (await outbound('http://mcp.inside.invalid/well-known', { origins: ['http://mcp.inside.invalid'] }))
        .status,
    ).toBe(200)
    expect(proxy.asked).toEqual(['GET http://mcp.inside.invalid/well-known'])
  })
})
