// The nginx block of the production guide, as it stands there, in front of a real gateway: TLS, a port that
// is not 443, calls and streams.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../scripts/harness/free-port.ts'
import { selfSigned } from '../../scripts/harness/certificate.ts'
import { type FrontProxy, startNginx, without } from '../runtimes/front-proxies.ts'
import { type TestGateway, openOnSocket } from '../runtimes/runtimes.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { createTlsAsk } from '../runtimes/over-tls.ts'

/** The block of the guide with this test's ports, and a certificate, in its place. */
const blockOf = (port: number, gateway: string): string => {
  const guide = readFileSync(new URL('../../docs/guide/production.md', import.meta.url), 'utf8')
  const block = /```nginx\n([\s\S]*?)```/.exec(guide)?.[1] ?? ''
  return block
    .replace(
      'server_name mcp.example.com;',
      'server_name localhost;\n  ssl_certificate cert.pem;\n  ssl_certificate_key key.pem;',
    )
    .replace('listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`)
    .replace('http://127.0.0.1:8080', gateway)
}

describe.skipIf(without('nginx'))('behind nginx as the guide sets it up', () => {
  const { key, cert } = selfSigned(['localhost'])
  let proxy: FrontProxy | undefined
  let house: TestGateway
  let upstream: Upstream
  let port = 0

  beforeAll(async () => {
    port = await freePort()
    upstream = await openUpstream((asked, response, body) => {
      if (asked.method === 'GET')
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: first\n\n')
      else response.writeHead(200, { 'content-type': 'application/json' }).end(body)
    })
    house = await openOnSocket({
      upstream: upstream.url,
      config: {
        issuer: `https://localhost:${port}`,
        trusted_proxies: ['127.0.0.1'],
        mcp_services: { open: { url: upstream.url, auth_required: false } },
      },
    })
    proxy = await startNginx(port, blockOf(port, house.listens ?? ''), { key, cert })
  }, 60_000)
  afterAll(async () => {
    await proxy?.close()
    await house?.close()
    await upstream?.close()
  })

  const overTls = createTlsAsk(() => ({ port, cert }))
  const ask = (method: string, path: string, body = '', headers: Record<string, string> = {}) =>
    overTls(method, path, headers, body)

  it('is reached under its public name and port: metadata, a challenge, a call, and a stream while it is open', async () => {
    const issuer = `https://localhost:${port}`
    const metadata = await ask('GET', '/.well-known/oauth-authorization-server')
    expect([metadata.status, (JSON.parse(metadata.text) as { issuer: string }).issuer]).toEqual([200, issuer])
    expect(metadata.fields['strict-transport-security']).toBe('max-age=31536000')
    const challenge = await ask('POST', '/echo/mcp')
    expect([challenge.status, challenge.fields['www-authenticate']]).toEqual([
      401,
      `Bearer resource_metadata="${issuer}/.well-known/oauth-protected-resource/echo/mcp", scope="mcp"`,
    ])
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' })
    const json = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
    const answer = await ask('POST', '/open/mcp', body, json)
    expect([answer.status, answer.text]).toEqual([200, body])
    expect((await ask('GET', '/open/mcp', '', { accept: 'text/event-stream' })).text).toBe('data: first\n\n')
  })
})
