// What a proxy in front of a server is told when it asks whether a request may pass: who calls, or a refusal that it can hand
// on whole. What it cannot have meant, or what cannot be judged, never passes.
import { request as ask } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { form, logIn } from '../runtimes/login.ts'
import { openOnSocket, type TestGateway } from '../runtimes/runtimes.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Readonly<Record<string, unknown>> | undefined
}

type Fields = readonly (readonly [name: string, value: string])[]

let upstream: Upstream
let gateway: TestGateway
/** With access rules, at every service. */
let ruled: TestGateway
/** The same, where only what can be judged without a message decides, and preflight requests pass. */
let lenient: TestGateway
const tokens = new Map<string, string>()
beforeAll(async () => {
  upstream = await openUpstream((_, response, body) => {
    const { id, method } = JSON.parse(body || '{}') as { id?: number; method?: string }
    const tools = ['look', 'drop'].map((name) => ({ name, inputSchema: {} }))
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ jsonrpc: '2.0', id, result: method === 'tools/list' ? { tools } : {} }))
  })
  const { url } = upstream
  const trusted_proxies = ['127.0.0.1', '::1']
  gateway = await openOnSocket({
    upstream: url,
    config: {
      trusted_proxies,
      forward_auth: {},
      mcp_services: {
        limited: { url, rate_limits: [{ calls: 1, within: '1h' }] },
        open: { url, auth_required: false },
      },
    },
  })
  const withRules = (forward_auth: object) =>
    openOnSocket({
      upstream: url,
      config: {
        trusted_proxies,
        forward_auth,
        mcp_services: { ruled: { url, access: { everyone: true, tools: { look: 'read', drop: 'deny' } } } },
      },
    })
  ruled = await withRules({})
  lenient = await withRules({ without_body: 'allow', preflight: 'pass' })
  const everywhere = [
    ...['echo', 'limited'].map((service) => [gateway, service] as const),
    ...[ruled, lenient].map((at) => [at, 'ruled'] as const),
  ]
  for (const [at, service] of everywhere)
    tokens.set(
      `${at.origin} ${service}`,
      (await logIn(at, `${at.origin}/${service}/mcp`)).tokens.access_token,
    )
}, 60_000)
afterAll(async () => {
  await gateway?.close()
  await ruled?.close()
  await lenient?.close()
  await upstream?.close()
})

const described = (at: TestGateway, service: string, method: string): Fields => [
  ['X-Forwarded-Method', method],
  ['X-Forwarded-Proto', 'http'],
  ['X-Forwarded-Host', new URL(at.origin).host],
  ['X-Forwarded-Uri', `/${service}/mcp`],
]
const bearer = (at: TestGateway, service: string): Fields => [
  ['Authorization', `Bearer ${tokens.get(`${at.origin} ${service}`)}`],
]

/** As a proxy sends it: fields as they are, twice where they are there twice. */
const send = (
  at: TestGateway,
  fields: Fields,
  {
    method = 'GET',
    path = '/verify',
    body = '',
    host = '127.0.0.1:8080',
  }: { method?: string; path?: string; body?: string; host?: string } = {},
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = ask(`${at.listens ?? at.origin}${path}`, {
      method,
      headers: [
        ['Host', host],
        ...fields,
        ...(body === '' ? [] : [['Content-Length', String(Buffer.byteLength(body))]]),
      ].flat(),
    })
    sent.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece))
      response.on('end', () => {
        const json = text === '' ? undefined : (JSON.parse(text) as Answer['body'])
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: json })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })

const codeOf = ({ body }: Answer): unknown =>
  body?.['code'] ?? (body?.['error'] as { data?: { code?: unknown } } | undefined)?.data?.code
const verdict = (answer: Answer): unknown => [answer.status, codeOf(answer)]
const call = (method: string, params: object = {}) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
const json: Fields = [
  ['Content-Type', 'application/json'],
  ['Accept', 'application/json, text/event-stream'],
]
/** With the message, as Traefik hands it on. */
const withBody = (at: TestGateway, service: string, body: string, more: Fields = []) =>
  send(at, [...described(at, service, 'POST'), ...bearer(at, service), ...json, ...more], {
    method: 'POST',
    body,
  })

const presented =
  'x-user-id x-user-sub x-user-email x-user-name x-user-login x-user-provider x-user-avatar x-user-groups x-mcp-identity'.split(
    ' ',
  )
const toldOf = ({ headers }: Answer) => Object.fromEntries(presented.map((name) => [name, headers[name]]))

describe('a request that may pass', () => {
  it('is answered with every field of the service, empty where there is nothing to say', async () => {
    const answer = await send(gateway, [...described(gateway, 'echo', 'POST'), ...bearer(gateway, 'echo')])
    expect([answer.status, answer.headers['cache-control'], answer.body]).toEqual([
      200,
      'no-store',
      undefined,
    ])
    expect(toldOf(answer)).toEqual({
      ...{
        'x-user-id': 'ana',
        'x-user-sub': 'ana',
        'x-user-email': 'ana@example.com',
        'x-user-name': 'Ana Example',
      },
      ...{ 'x-user-login': 'ana', 'x-user-provider': 'local', 'x-user-avatar': '', 'x-user-groups': 'staff' },
      'x-mcp-identity': expect.stringMatching(/^ey[\w-]+\.[\w-]+\.[\w-]+$/) as string,
    })
    const anonymous = await send(gateway, described(gateway, 'open', 'POST'))
    expect([anonymous.status, toldOf(anonymous)]).toEqual([
      200,
      Object.fromEntries(presented.map((name) => [name, ''])),
    ])
  })

  it('is that of the fields, whatever the request to the gateway says', async () => {
    const fields = [...described(gateway, 'echo', 'DELETE'), ...bearer(gateway, 'echo')]
    for (const path of ['/verify?service=closed', '/verify?x=%2e%2e'])
      expect((await send(gateway, fields, { path })).status).toBe(200)
    expect((await send(gateway, fields, { method: 'POST' })).status).toBe(200)
    const head = [...described(gateway, 'echo', 'HEAD'), ...bearer(gateway, 'echo')]
    expect((await send(gateway, head)).status).toBe(200)
  })

  it('is written down as a call', async () => {
    const before = ruled.log.length
    await withBody(ruled, 'ruled', call('tools/call', { name: 'look', arguments: {} }))
    const events = ruled.log.slice(before).filter(({ event }) => event === 'call')
    expect(events.at(-1)?.fields).toMatchObject({
      service: 'ruled',
      method: 'tools/call',
      name: 'look',
      status: 200,
      result: 'answered',
    })
  })
})

describe('a request that may not pass', () => {
  it('is refused whole: challenge, JSON and CORS, for the client to read', async () => {
    const origin: Fields = [['Origin', gateway.origin]]
    const answer = await send(gateway, [...described(gateway, 'echo', 'POST'), ...origin])
    expect(answer.status).toBe(401)
    expect(answer.headers).toMatchObject({
      'www-authenticate': `Bearer resource_metadata="${gateway.origin}/.well-known/oauth-protected-resource/echo/mcp", scope="mcp"`,
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'access-control-allow-origin': '*',
    })
    expect(codeOf(answer)).toBe('token.missing')
    const foreign = await send(gateway, [
      ...described(gateway, 'echo', 'POST'),
      ...bearer(gateway, 'limited'),
    ])
    expect(foreign.status).toBe(401)
  })

  it('never passes for a service that is not there, nor for another path than an MCP endpoint', async () => {
    const host = new URL(gateway.origin).host
    for (const uri of ['/none/mcp', '/oauth/token', '/echo', '/api/services', '/verify']) {
      const fields = described(gateway, 'echo', 'POST').map(
        ([name, value]) => [name, name.endsWith('Uri') ? uri : value] as const,
      )
      expect([
        uri,
        ...(verdict(await send(gateway, [...fields, ...bearer(gateway, 'echo')])) as unknown[]),
      ]).toEqual([uri, 403, 'route.unknown'])
    }
    const elsewhere = described(gateway, 'echo', 'GET').map(
      ([name, value]) => [name, value === host ? 'evil.example' : value] as const,
    )
    expect((await send(gateway, [...elsewhere, ...bearer(gateway, 'echo')])).status).toBeGreaterThanOrEqual(
      400,
    )
  })

  const odd = String.raw`/echo/mcp/../../closed/mcp /./echo/mcp //echo/mcp /echo//mcp /echo/mcp;x /echo\mcp /echo/%2e%2e/echo/mcp
    /echo%2fmcp /%65cho/mcp /echo/mcp%00 /echo/mcp#x echo/mcp http://evil.example/echo/mcp *`
  it.each(odd.split(/\s+/))(
    'never passes where two programs could read the path %j in two ways [H-K11]',
    async (uri) => {
      const fields = described(gateway, 'echo', 'POST').map(
        ([name, value]) => [name, name.endsWith('Uri') ? uri : value] as const,
      )
      expect(verdict(await send(gateway, [...fields, ...bearer(gateway, 'echo')]))).toEqual([
        403,
        'verify.path',
      ])
    },
  )

  it('never passes where the proxy did not say everything, once, or somebody else said it as well', async () => {
    const fields = described(gateway, 'echo', 'POST')
    const own = bearer(gateway, 'echo')
    const refused = async (...sent: Fields) => verdict(await send(gateway, [...sent, ...own]))
    for (let i = 0; i < fields.length; i++) {
      const [name, value] = fields[i] as readonly [string, string]
      const rest = fields.filter((_, j) => j !== i)
      expect([name, await refused(...rest)]).toEqual([name, [400, 'verify.incomplete']])
      for (const again of [value, 'closed'])
        expect([name, await refused(...fields, [name, again])]).toEqual([name, [400, 'verify.incomplete']])
      for (const spelling of [name.replaceAll('-', '_'), name.replaceAll('-', '.'), name.replace('-', '_')])
        expect([spelling, await refused(...fields, [spelling, value])]).toEqual([
          spelling,
          [400, 'verify.incomplete'],
        ])
      expect([name, await refused(...fields, ['Connection', `close, ${name}`])]).toEqual([
        name,
        [400, 'verify.incomplete'],
      ])
    }
    for (const name of [
      'X-Original-URL',
      'X-Original-Uri',
      'X-Original-Method',
      'X-Rewrite-URL',
      'X_Original_URL',
    ])
      expect([name, await refused(...fields, [name, '/open/mcp'])]).toEqual([
        name,
        [400, 'verify.incomplete'],
      ])
    for (const name of ['X-HTTP-Method-Override', 'X-Method-Override', 'X_HTTP_Method'])
      expect([name, await refused(...fields, [name, 'GET'])]).toEqual([name, [403, 'verify.method']])
    for (const method of ['PUT', 'CONNECT', 'post', 'TRACE'])
      expect([method, await refused(...described(gateway, 'echo', method))]).toEqual([
        method,
        [403, 'verify.method'],
      ])
  })

  it('never passes as a preflight, which carries no token, unless the operator says so', async () => {
    expect(verdict(await send(gateway, described(gateway, 'echo', 'OPTIONS')))).toEqual([
      403,
      'verify.preflight',
    ])
    const passed = await send(lenient, described(lenient, 'ruled', 'OPTIONS'))
    expect([passed.status, toldOf(passed)]).toEqual([
      200,
      Object.fromEntries(presented.map((name) => [name, ''])),
    ])
    expect((await send(lenient, described(lenient, 'none', 'OPTIONS'))).status).toBe(403)
  })
})

describe('access rules', () => {
  it('decide by the message, where the proxy hands it on', async () => {
    const named = (name: string) => call('tools/call', { name, arguments: {} })
    expect((await withBody(ruled, 'ruled', named('look'))).status).toBe(200)
    expect(verdict(await withBody(ruled, 'ruled', named('drop')))).toEqual([403, 'policy.tool'])
    expect(verdict(await withBody(ruled, 'ruled', named('unheard-of')))).toEqual([403, 'policy.unlisted'])
    expect(verdict(await withBody(ruled, 'ruled', '{'))).toEqual([400, 'mcp.parse'])
    const batch = `[${named('look')},${named('drop').replace('"id":1', '"id":2')}]`
    const of2025: Fields = [['MCP-Protocol-Version', '2025-03-26']]
    expect(verdict(await withBody(ruled, 'ruled', batch, of2025))).toEqual([403, 'verify.changed'])
    const cut: Fields = [['X-Envoy-Auth-Partial-Body', 'true']]
    const partial = [...described(ruled, 'ruled', 'POST'), ...bearer(ruled, 'ruled'), ...json, ...cut]
    expect(verdict(await send(ruled, partial, { method: 'POST', body: named('look') }))).toEqual([
      413,
      'verify.partial',
    ])
  })

  it('never let a message pass that the proxy keeps for itself', async () => {
    const fields = [...described(ruled, 'ruled', 'POST'), ...bearer(ruled, 'ruled')]
    const named: Fields = [
      ['Mcp-Method', 'tools/call'],
      ['Mcp-Name', 'look'],
      ['MCP-Protocol-Version', '2026-07-28'],
    ]
    expect(verdict(await send(ruled, fields))).toEqual([403, 'verify.needs-body'])
    expect(verdict(await send(ruled, [...fields, ...named]))).toEqual([403, 'verify.needs-body'])
    expect((await send(ruled, [...described(ruled, 'ruled', 'GET'), ...bearer(ruled, 'ruled')])).status).toBe(
      200,
    )
    const lax = (service: string) =>
      send(lenient, [...described(lenient, service, 'POST'), ...bearer(lenient, service)])
    expect((await lax('ruled')).status).toBe(200)
  })

  it('count, and say when to come back', async () => {
    expect((await withBody(gateway, 'limited', call('ping'))).status).toBe(200)
    const answer = await withBody(gateway, 'limited', call('ping'))
    expect([...(verdict(answer) as unknown[]), Number(answer.headers['retry-after']) > 0]).toEqual([
      429,
      'calls.rate',
      true,
    ])
    const fields = [...described(gateway, 'limited', 'POST'), ...bearer(gateway, 'limited')]
    expect(verdict(await send(gateway, fields))).toEqual([403, 'verify.needs-body'])
  })
})

it('never says anything to an address that is no proxy, and is not there where nothing is configured', async () => {
  const { url } = upstream
  const strict = await openOnSocket({
    upstream: url,
    config: { forward_auth: { trusted: ['192.0.2.0/24'] } },
  })
  const spoofed: Fields = [
    ['X-Forwarded-For', '192.0.2.1'],
    ['X-Real-IP', '192.0.2.1'],
  ]
  expect(verdict(await send(strict, [...described(strict, 'echo', 'POST'), ...spoofed]))).toEqual([
    403,
    'verify.untrusted',
  ])
  await strict.close()
  const without = await openOnSocket({ upstream: url })
  const { host } = new URL(without.origin)
  expect((await send(without, described(without, 'echo', 'POST'), { host })).status).toBe(404)
  await without.close()
})

it('ends with the grant', async () => {
  const { client, tokens: held } = await logIn(gateway)
  const fields: Fields = [
    ...described(gateway, 'echo', 'POST'),
    ['Authorization', `Bearer ${held.access_token}`],
  ]
  expect((await send(gateway, fields)).status).toBe(200)
  await gateway.fetch(
    `${gateway.origin}/oauth/revoke`,
    form({ token: held.refresh_token, client_id: client.id }),
  )
  gateway.advance(600)
  expect((await send(gateway, fields)).status).toBe(401)
})
