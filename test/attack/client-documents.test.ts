// What must never come of a client that is a URL: documents fetched over TLS from hosts that lie, stall, move
// or are not where their name says.
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createOutbound } from '../../src/node/outbound.ts'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { type TestGateway, openInProcess, openOnSocket } from '../runtimes/runtimes.ts'
import { allow, authorizeUrl, form, person, refresh } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { createListeners } from '../unit/listeners.ts'

const [key, cert] = ['key', 'cert'].map((name) =>
  readFileSync(join(import.meta.dirname, '../data/tls', `${name}.pem`), 'utf8'),
) as [string, string]
const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const callback = 'http://127.0.0.1:5000/cb'
const documentAt = (url: string, more: Record<string, unknown> = {}) => ({
  client_id: url,
  client_name: 'Careful app',
  redirect_uris: [callback],
  ...more,
})
type Answer = (response: ServerResponse, request: IncomingMessage) => void
const json =
  (value: unknown, headers: Record<string, string> = {}, status = 200): Answer =>
  (response) =>
    void response
      .writeHead(status, { 'content-type': 'application/json', ...headers })
      .end(typeof value === 'string' ? value : JSON.stringify(value))

const listeners = createListeners()
/** What the hosts answer, by URL, and what they were asked. */
const web = new Map<string, Answer>()
const asked: string[] = []
let upstream: Upstream
let connectTo: Record<string, { address: string; port: number }>
let trap: Awaited<ReturnType<typeof listeners.trap>>
beforeAll(async () => {
  const port = await listeners.listen(
    createTlsServer({ key, cert }, (request, response) => {
      const url = `https://${request.headers.host}${request.url}`
      asked.push(url)
      const answer = web.get(url) ?? json({}, {}, 404)
      answer(response, request)
    }),
  )
  const silent = await listeners.listen(createTcpServer((socket) => void socket.on('error', () => undefined)))
  connectTo = Object.fromEntries(
    ['cimd.test', 'chatgpt.com', 'claude.ai', 'upstream.example', 'elsewhere.test'].map((host) => [
      `${host}:443`,
      { address: '127.0.0.1', port },
    ]),
  )
  connectTo['vscode.dev:443'] = { address: '127.0.0.1', port: silent }
  trap = await listeners.trap()
  upstream = await openUpstream()
})
afterEach(() => {
  web.clear()
  asked.length = 0
})
afterAll(async () => {
  listeners.close()
  await upstream.close()
})

/** Every name without a detour is where the test's resolver says. */
const resolver = new Map<string, readonly string[]>()
const lookup = (host: string) =>
  Promise.resolve(
    (resolver.get(host) ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
  )

describe.each([
  ['in process', openInProcess],
  ['on a node socket', openOnSocket],
])('%s', (_, open) => {
  let house: TestGateway
  let browser: Browser
  let count = 0
  let ahead = 0
  const advance = (ms: number): void => {
    ahead += ms
    house.advance(ms)
  }
  beforeAll(async () => {
    const outbound = createOutbound({ allowOrigins: [], connectTo, ca: cert, lookup })
    house = await open({
      upstream: upstream.url,
      outbound,
      config: { mcp_services: { remote: { url: 'https://upstream.example/mcp' } } },
    })
    browser = createBrowser(house.fetch, house.origin)
    await browser.submit(await browser.go('/login'), '/login', person)
  })
  afterAll(() => house.close())
  const echo = (): string => `${house.origin}/echo/mcp`
  /** A URL nobody asked for before: failures are remembered. */
  const fresh = (host = 'cimd.test'): string => `https://${host}/c${++count}.json`
  const asking = (id: string, params: Record<string, string> = {}) =>
    authorizeUrl(house, { id, redirectUri: callback }, { resource: echo(), ...params })
  const look = (id: string) => browser.go(asking(id).url)
  /** A page for the person and nothing for the client. */
  const refusedPage = async (id: string, status = 400): Promise<void> => {
    const page = await look(id)
    expect([id, page.status, page.headers.get('location'), page.body.includes('value="allow"')]).toEqual([
      id,
      status,
      null,
      false,
    ])
  }
  const published = (
    more: Record<string, unknown> = {},
    headers: Record<string, string> = {},
    host?: string,
  ): string => {
    const url = fresh(host)
    web.set(url, json(documentAt(url, more), headers))
    return url
  }
  const token = (fields: Record<string, string>) => house.fetch(`${house.origin}/oauth/token`, form(fields))
  const codeOf = async (id: string) => {
    const { url, verifier } = asking(id)
    return {
      code: (await allow(browser, url)).searchParams.get('code') ?? '',
      code_verifier: verifier,
      redirect_uri: callback,
      grant_type: 'authorization_code',
      client_id: id,
    }
  }
  const logIn = async (id: string) =>
    (await (await token(await codeOf(id))).json()) as { refresh_token: string }

  test('never a consent page without the host that vouches for the client, and the host the answer goes to [H-C1]', async () => {
    const page = await look(published({ client_name: 'Claude', logo_uri: 'https://cimd.test/logo.png' }))
    for (const text of ['Claude', 'cimd.test', '127.0.0.1:5000', 'value="allow"', 'value="deny"'])
      expect(page.body).toContain(text)
    expect([asked.length, page.body.includes('logo.png')]).toEqual([1, false])
  })

  test('never a document that names another client, by however little [H-C2]', async () => {
    for (const alter of [
      (u: string) => `${u}/`,
      (u: string) => u.replace('cimd.test', 'CIMD.test'),
      (u: string) => u.replace('.test/', '.test:443/'),
      (u: string) => u.slice(0, -1),
      (u: string) => u.replace('https', 'http'),
      (u: string) => `${u}?`,
      (u: string) => `${u}#`,
      (u: string) => u.replace('/c', '/%63'),
      () => 'https://claude.ai/c.json',
    ]) {
      const url = fresh()
      web.set(url, json(documentAt(alter(url))))
      await refusedPage(url)
    }
  })

  test('never a connection for an id that is no plain URL of a document [H-C3]', async () => {
    const ids = [
      'http://cimd.test/c.json',
      'https://cimd.test/c.json#x',
      'https://u:p@cimd.test/c.json',
      'https://cimd.test/a/../c.json',
      'https://cimd.test/a/%2e%2e/c.json',
      'https://cimd.test/%2e/c.json',
      'https://cimd.test',
      'https://cimd.test/',
      `https://cimd.test/${'x'.repeat(3000)}`,
      'https://xn--cmd-fna.test/c.json',
      'https://cimd.test\\@claude.ai/c.json',
      'https://cimd.test./c.json',
      'https://CIMD.test/c.json',
      'https://cimd.test:443/c.json',
      'https:cimd.test/c.json',
      ' https://cimd.test/c.json',
      'https://cimd.test/c.json\t',
      'HTTPS://cimd.test/c.json',
      'https://cimd.test/c .json',
      'https://cïmd.test/c.json',
      'https://2130706433/c.json',
      'https://127.1/c.json',
      'https://0x7f.1/c.json',
    ]
    for (const id of ids) await refusedPage(id)
    expect(asked).toEqual([])
  })

  test('never a byte to an address that is not public, whatever names it and however often it is asked for [H-C4, H-C6]', async () => {
    const hosts: Record<string, readonly string[]> = {
      'rebind.example': ['127.0.0.1'],
      'mapped.example': ['::ffff:7f00:1'],
      'nat64.example': ['64:ff9b::7f00:1'],
      'six.example': ['::1'],
      'link.example': ['169.254.169.254', 'fe80::1'],
      'nothing.example': [],
      'teredo.example': ['2001:0:7f00:1::'],
    }
    for (const [host, addresses] of Object.entries(hosts)) {
      resolver.set(host, addresses)
      await refusedPage(`https://${host}:${trap.port}/c.json`)
    }
    for (const literal of [
      '127.0.0.1',
      '[::1]',
      'localhost',
      '[::ffff:127.0.0.1]',
      '10.0.0.1',
      'intranet',
      'metadata.google.internal',
    ])
      await refusedPage(`https://${literal}:${trap.port}/c.json`)
    // Public when judged first, private a moment later: the address that is connected to is the one that was
    // judged.
    resolver.set('turning.example', ['127.0.0.1'])
    await refusedPage(`https://turning.example:${trap.port}/again.json`)
    expect(trap.seen).toEqual({ connections: 0, bytes: 0 })
  })

  test(
    'never more than five kilobytes or five seconds for a document, nor memory for what it unpacks to [H-C8]',
    { timeout: 20_000 },
    async () => {
      const padded = (size: number) => {
        const url = fresh()
        const text = JSON.stringify(documentAt(url, { pad: '' }))
        web.set(url, json(text.replace('"pad":""', `"pad":"${'x'.repeat(size - text.length)}"`)))
        return url
      }
      expect((await look(padded(5120))).body).toContain('value="allow"')
      await refusedPage(padded(5121))
      const url = (answer: Answer): string => {
        const made = fresh()
        web.set(made, answer)
        return made
      }
      const head = { 'content-type': 'application/json' }
      const endless: Answer = (response) => {
        response.writeHead(200, head)
        const more = (): void => {
          while (!response.destroyed && response.write('x'.repeat(65_536)));
          if (!response.destroyed) response.once('drain', more)
        }
        more()
      }
      const started = Date.now()
      const before = process.memoryUsage().rss
      await Promise.all(
        [
          url(endless),
          url(
            (response) =>
              void response
                .writeHead(200, { ...head, 'content-encoding': 'gzip' })
                .end(gzipSync(Buffer.alloc(20_000_000, 0x20))),
          ),
        ].map((id) => refusedPage(id)),
      )
      await Promise.all(
        [
          url((response) => void response.writeHead(200, head).write('{')),
          url((response) => {
            const drip = setInterval(
              () => (response.destroyed ? clearInterval(drip) : response.write(' ')),
              500,
            )
          }),
          url((response) => void response.socket?.write('HTTP/1.1 200 OK\r\nX-A: ')),
          'https://vscode.dev/c.json',
        ].map((id) => refusedPage(id, 503)),
      )
      expect(Date.now() - started).toBeLessThan(10_000)
      expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024)
    },
  )

  test('never a document that is none, nor one that a redirect names, and never a bad one kept for longer than a minute [H-C9]', async () => {
    const answers: readonly (readonly [Answer, number?])[] = [
      [json('<html>', { 'content-type': 'text/html' })],
      ...['{"client_id":', [], 'null'].map((body) => [json(body)] as const),
      [(response) => void response.writeHead(204).end()],
      ...[404, 500].map((status) => [json({}, {}, status), status === 500 ? 503 : 400] as const),
      [
        (response, request) =>
          void response.writeHead(302, { location: `https://elsewhere.test${request.url}` }).end(),
      ],
    ]
    const spoilt = [
      { redirect_uris: undefined },
      { redirect_uris: [] },
      { redirect_uris: callback },
      { redirect_uris: ['http://app.example/cb'] },
      { client_name: undefined },
      { client_name: '' },
      { client_name: ['x'] },
      { client_secret: 'x' },
      { token_endpoint_auth_method: 'client_secret_post' },
      { grant_types: ['password'] },
      { jwks: { keys: [{ kty: 'oct', k: 'x' }] } },
    ]
    for (const [answer, status] of answers) {
      const url = fresh()
      web.set(url, answer)
      web.set(url.replace('cimd.test', 'elsewhere.test'), json(documentAt(url)))
      await refusedPage(url, status)
    }
    expect(asked.filter((url) => url.includes('elsewhere'))).toEqual([])
    for (const more of spoilt) await refusedPage(published(more))
    const plain = fresh()
    web.set(plain, json(documentAt(plain), { 'content-type': 'text/plain' }))
    await refusedPage(plain)
    const healed = fresh()
    web.set(healed, json('oops'))
    await refusedPage(healed)
    web.set(healed, json(documentAt(healed)))
    advance(60_001)
    expect((await look(healed)).body).toContain('value="allow"')
  })

  test('never a detour of a client’s document through the gateway or a server behind it [H-C17]', async () => {
    const own = new URL(house.origin)
    for (const id of [
      `https://${own.host}/c.json`,
      `https://${own.hostname}/.well-known/oauth-authorization-server`,
      'https://upstream.example/c.json',
      'https://upstream.example/mcp',
    ])
      await refusedPage(id)
    expect(asked).toEqual([])
  })

  test('never a logout because the document’s host is down, filters us or answers nonsense for a while [H-C15]', async () => {
    const id = published({}, { 'cache-control': 'max-age=60' })
    let { refresh_token } = await logIn(id)
    for (const [i, answer] of [
      json({}, {}, 500),
      json({}, {}, 403),
      json({}, {}, 429),
      (response: ServerResponse) => void response.destroy(),
    ].entries()) {
      web.set(id, answer)
      advance(120_000)
      const again = await refresh(house, { id, redirectUri: callback }, refresh_token)
      expect([i, again.status]).toEqual([i, 200])
      refresh_token = ((await again.json()) as { refresh_token: string }).refresh_token
    }
    const unkept = published({}, { 'cache-control': 'no-store' })
    const { refresh_token: other } = await logIn(unkept)
    web.set(unkept, json({}, {}, 503))
    advance(120_000)
    const told = await refresh(house, { id: unkept, redirectUri: callback }, other)
    expect([
      told.status,
      ((await told.json()) as { error: string }).error,
      told.headers.has('retry-after'),
    ]).toEqual([503, 'temporarily_unavailable', true])
  })

  test('never a hosted client taken at its word where it has a key, and never one without a key asked for it [H-C11, H-C12]', async () => {
    const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
    const stranger = await generateKeyPair('RS256')
    const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'RS256', use: 'sig' }] }
    web.set('https://chatgpt.com/oauth/jwks.json', json(jwks))
    const methods = {
      token_endpoint_auth_methods_supported: ['none', 'private_key_jwt'],
      jwks_uri: 'https://chatgpt.com/oauth/jwks.json',
      token_endpoint_auth_signing_alg: 'RS256',
    }
    const id = published({ ...methods, token_endpoint_auth_method: 'private_key_jwt' }, {}, 'chatgpt.com')
    const now = (): number => Math.floor((Date.now() + ahead) / 1000)
    const assert = (claims: Record<string, unknown> = {}, by = privateKey) =>
      new SignJWT({
        iss: id,
        sub: id,
        aud: house.origin,
        iat: now(),
        exp: now() + 60,
        jti: crypto.randomUUID(),
        ...claims,
      })
        .setProtectedHeader({ alg: 'RS256', kid: 'k1' })
        .sign(by)
    const used = await assert()
    const spend = { client_assertion: used, client_assertion_type: assertionType }
    // What redeems nothing uses no assertion up.
    expect((await token({ ...(await codeOf(id)), ...spend, code: 'pc_x' })).status).toBe(400)
    expect((await token({ ...(await codeOf(id)), ...spend })).status).toBe(200)
    const fields = await codeOf(id)
    const send = (client_assertion: string, more: Record<string, string> = {}) =>
      token({ ...fields, client_assertion, client_assertion_type: assertionType, ...more })
    const refused = [
      token(fields),
      token({ ...fields, client_secret: 'x' }),
      send(used),
      send(`${used}=`),
      send(await assert({}, stranger.privateKey)),
      send(await assert({ aud: 'https://other.example' })),
      send(await assert({ aud: [house.origin, 'https://other.example'] })),
      send(await assert({ sub: published() })),
      send(await assert({ exp: now() + 315_360_000 })),
      send(await assert({ exp: now() - 3600 })),
      send(await assert(), { client_assertion_type: 'urn:x' }),
    ]
    for (const answer of refused)
      expect(((await (await answer).json()) as { error: string }).error).toBe('invalid_client')
    expect((await send(await assert())).status).toBe(200)
    // Published for servers with and without keys: such a client may come without one.
    const either = published(methods, {}, 'chatgpt.com')
    expect((await token(await codeOf(either))).status).toBe(200)
  })
})
