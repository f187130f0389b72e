// nginx and Caddy in front of a server, each with the example as it stands there: who may not pass is told what the gateway says, and the
// server hears of those who may, from nobody else.
import { readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Agent, fetch } from 'undici'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Fetch } from '../runtimes/browser.ts'
import { type Certificate, selfSigned } from '../../scripts/harness/certificate.ts'
import { freePort } from '../../scripts/harness/free-port.ts'
import { logIn } from '../runtimes/login.ts'
import { type FrontProxy, startCaddy, startNginx, without } from '../runtimes/front-proxies.ts'
import { openOnSocket, type TestGateway } from '../runtimes/runtimes.ts'
import { createTlsAsk } from '../runtimes/over-tls.ts'

const example = (name: string): string =>
  readFileSync(new URL(`../../examples/forward-auth/${name}`, import.meta.url), 'utf8')

const starts = {
  nginx: (port: number, adapt: (text: string) => string, pair: Certificate) =>
    startNginx(
      port,
      adapt(example('nginx.conf'))
        .replace('listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`)
        .replace('server_name mcp.example.com;', 'ssl_certificate cert.pem; ssl_certificate_key key.pem;'),
      pair,
    ),
  caddy: (port: number, adapt: (text: string) => string, pair: Certificate) =>
    startCaddy(
      port,
      adapt(example('Caddyfile')).replace(
        'mcp.example.com {',
        `localhost:${port} {\n\tbind 127.0.0.1\n\ttls cert.pem key.pem`,
      ),
      pair,
    ),
} as const

describe.each(['nginx', 'caddy'] as const)('%s asks the gateway', (name) => {
  const isSkipped = without(name)
  const { key, cert } = selfSigned(['localhost'])
  const heard: { readonly url: string | undefined; readonly headers: IncomingHttpHeaders }[] = []
  let server: Server
  let gateway: TestGateway
  let proxy: FrontProxy | undefined
  let port = 0
  let open = true
  let token = ''
  let agent: Agent | undefined
  beforeAll(async () => {
    if (isSkipped) return
    port = await freePort()
    server = createServer((asked, response) => {
      heard.push({ url: asked.url, headers: asked.headers })
      if (asked.method === 'GET')
        return void response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: first\n\n')
      asked.pipe(response.writeHead(200, { 'content-type': 'application/json' }))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const behind = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    gateway = await openOnSocket({
      upstream: `${behind}/mcp`,
      config: {
        issuer: `https://localhost:${port}`,
        trusted_proxies: ['127.0.0.1'],
        forward_auth: {},
      },
    })
    const here = new URL(gateway.listens ?? '').host
    const adapt = (text: string): string =>
      text.replaceAll('127.0.0.1:8080', here).replaceAll('127.0.0.1:3001', new URL(behind).host)
    proxy = await starts[name](port, adapt, { key, cert })
    // Through the proxy, as everybody.
    agent = new Agent({ connect: { ca: cert } })
    const through: unknown = (url: string, init: object = {}) =>
      fetch(url, { redirect: 'manual', ...init, ...(agent && { dispatcher: agent }) })
    token = (await logIn({ origin: gateway.origin, fetch: through as Fetch })).tokens.access_token
  }, 60_000)
  afterAll(async () => {
    await agent?.close()
    await proxy?.close()
    if (open) await gateway?.close()
    server?.closeAllConnections()
    await new Promise((resolve) => void server?.close(resolve))
  })

  const ask = createTlsAsk(() => ({ port, cert }))
  const json = { 'content-type': 'application/json', 'accept': 'application/json, text/event-stream' }
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' })
  const spoofed = {
    'X-User-Id': 'root',
    'x-user-groups': 'admins',
    'X-User-Avatar': 'https://evil.example',
    'X-MCP-Identity': 'forged',
    'X-Forwarded-Uri': '/open/mcp',
    'X-Forwarded-Host': 'evil.example',
    'X-Original-URL': '/open/mcp',
    'Cookie': 'a=b',
  }

  it.skipIf(isSkipped)(
    'and the server hears who calls, in one voice, and neither token nor cookie',
    async () => {
      const answer = await ask(
        'POST',
        '/echo/mcp',
        { ...json, ...spoofed, authorization: `Bearer ${token}` },
        body,
      )
      expect([answer.status, answer.text]).toEqual([200, body])
      const { url, headers } = heard.at(-1) ?? {}
      expect([url, headers]).toEqual([
        '/mcp',
        expect.objectContaining({
          'x-user-id': 'ana',
          'x-user-email': 'ana@example.com',
          'x-user-groups': 'staff',
          'x-mcp-identity': expect.stringMatching(/^ey/) as string,
        }),
      ])
      for (const field of [
        'authorization',
        'cookie',
        'x-user-avatar',
        'x-forwarded-uri',
        'x-forwarded-method',
      ])
        expect([field, headers?.[field] ?? '']).toEqual([field, ''])
    },
  )

  it.skipIf(isSkipped)('and a stream is passed on while it is open', async () => {
    const accept = { accept: 'text/event-stream', authorization: `Bearer ${token}` }
    expect((await ask('GET', '/echo/mcp', accept)).text).toBe('data: first\n\n')
  })

  it.skipIf(isSkipped)(
    'and who has no token is told where to get one, once, in a form that clients read',
    async () => {
      const before = heard.length
      for (const more of [{}, { authorization: 'Bearer none' }]) {
        const answer = await ask(
          'POST',
          '/echo/mcp',
          { ...json, ...spoofed, ...more, origin: 'https://app.example' },
          body,
        )
        expect(answer.status).toBe(401)
        expect(answer.fields['www-authenticate']).toMatch(
          /^Bearer (?:error="invalid_token", error_description="[^"]+", )?resource_metadata="https:\/\/localhost:\d+\/\.well-known\/oauth-protected-resource\/echo\/mcp", scope="mcp"$/,
        )
        expect(answer.fields).toMatchObject({
          'content-type': 'application/json',
          'access-control-allow-origin': '*',
          'cache-control': 'no-store',
        })
        expect(JSON.parse(answer.text)).toMatchObject({ error: expect.any(String) as string })
      }
      expect(heard.length).toBe(before)
      const metadata = await ask('GET', '/.well-known/oauth-protected-resource/echo/mcp')
      expect((JSON.parse(metadata.text) as { resource: string }).resource).toBe(
        `https://localhost:${port}/echo/mcp`,
      )
    },
  )

  it.skipIf(isSkipped)(
    'and never lets another path, a preflight or a locked gateway through to the server',
    async () => {
      const before = heard.length
      const authorization = `Bearer ${token}`
      for (const path of ['//echo/mcp', '/%65cho/mcp', '/none/../echo/mcp'])
        expect([path, (await ask('POST', path, { ...json, authorization }, body)).status]).not.toEqual([
          path,
          200,
        ])
      for (const path of ['/verify', '/verify?a=b', '/%76erify', '//verify', '/verify/']) {
        const described = {
          'x-forwarded-method': 'GET',
          'x-forwarded-host': `localhost:${port}`,
          'x-forwarded-uri': '/echo/mcp',
        }
        const asked = await ask('GET', path, { ...described, authorization })
        expect([path, asked.status, asked.fields['x-user-id']]).toEqual([path, 404, undefined])
      }
      const preflight = await ask('OPTIONS', '/echo/mcp', {
        'origin': 'https://app.example',
        'access-control-request-method': 'POST',
      })
      expect([preflight.status, preflight.fields['access-control-allow-methods']]).toEqual([
        204,
        expect.stringContaining('POST'),
      ])
      expect(heard.length).toBe(before)
      open = false
      await gateway.close()
      const away = await ask('POST', '/echo/mcp', { ...json, authorization }, body)
      expect(away.status).toBe(name === 'nginx' ? 503 : 502)
      expect(heard.length).toBe(before)
    },
  )
})
