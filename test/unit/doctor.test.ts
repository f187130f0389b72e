// The doctor against a server that is right, and against one fault at a time: each is found by its code, at its step.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Examined, type ExamineOptions, examine } from '../../src/cli/doctor/examine.ts'
import type { FindingCode, StepId } from '../../src/cli/doctor/findings.ts'
import { createDoctorNetwork } from '../../src/cli/doctor/network.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import {
  type ExaminedServer,
  type Handler,
  at,
  challenge,
  cors,
  metadata,
  registered,
  resource,
  resourcePath,
  serverPath,
  startExaminedServer,
} from '../runtimes/examined-server.ts'

const refused = (): Refusal =>
  new Refusal('outbound.failed', 'http://127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1')

let server: ExaminedServer
beforeAll(async () => {
  server = await startExaminedServer()
})
afterAll(() => server.close())

const look = async (handler: Handler, options: Partial<ExamineOptions> = {}): Promise<Examined> => {
  server.answerBy(handler)
  const { steps, ...examined } = await examine(
    new URL(`${server.origin}/mcp`),
    { register: true, authorization: true, ...options },
    createDoctorNetwork({}),
    () => undefined,
  )
  // The server of this test is on this computer, which is told each time.
  const told = steps.map((step) => ({
    ...step,
    findings: step.findings.filter(({ code }) => code !== 'doctor.private-address'),
  }))
  return { ...examined, steps: told }
}

const found = ({ steps }: Examined): readonly (readonly [StepId, FindingCode])[] =>
  steps.flatMap(({ id, findings }) => findings.map(({ code }) => [id, code] as const))
const results = ({ steps }: Examined) => Object.fromEntries(steps.map(({ id, result }) => [id, result]))

describe('the doctor', () => {
  it('finds nothing where nothing is wrong, and takes every step but the one that needs a token', async () => {
    const examined = await look(() => undefined)
    expect(found(examined)).toEqual([])
    expect(results(examined)).toEqual({
      reachable: 'warn',
      challenge: 'pass',
      resource: 'pass',
      server: 'pass',
      registration: 'pass',
      authorize: 'pass',
      token: 'pass',
      browser: 'pass',
      call: 'skip',
    })
  })

  it('registers nobody where it was told so', async () => {
    const examined = await look(() => undefined, { register: false })
    expect(server.asked().filter(({ path, method }) => path === '/register' && method === 'POST')).toEqual([])
    expect(results(examined)).toMatchObject({ registration: 'skip', authorize: 'skip', token: 'pass' })
  })

  it('needs no sign-in at an open server, and lists its tools', async () => {
    const examined = await look(
      at(
        '/mcp',
        ({ body }) => {
          const { id, method } = JSON.parse(body || '{}') as { id?: number; method?: string }
          if (method === 'tools/list')
            return { headers: cors, body: { jsonrpc: '2.0', id, result: { tools: [] } } }
          if (method === 'server/discover')
            return {
              headers: cors,
              body: { jsonrpc: '2.0', id, error: { code: -32601, message: 'unknown' } },
            }
          const result = {
            protocolVersion: '2025-11-25',
            capabilities: {},
            serverInfo: { name: 's', version: '1' },
          }
          return {
            headers: { ...cors, 'content-type': 'application/json' },
            body: { jsonrpc: '2.0', id, result },
          }
        },
        'POST',
      ),
    )
    expect(found(examined)).toEqual([])
    expect(results(examined)).toMatchObject({
      challenge: 'pass',
      resource: 'skip',
      token: 'skip',
      call: 'pass',
    })
    expect(examined.steps.at(-1)?.say).toBe('Speaks MCP 2025-11-25: s 1. 0 tools found.')
  })

  it('sends the token with the call alone, and tells when it is refused', async () => {
    const examined = await look(() => undefined, { token: 'a-token' })
    expect(found(examined)).toEqual([['call', 'doctor.token-refused']])
    const carried = server.asked().filter(({ headers }) => headers.authorization !== undefined)
    expect(carried.map(({ path }) => path)).toEqual(carried.map(() => '/mcp'))
    expect(carried.length).toBeGreaterThan(0)
  })
})

const cases: readonly (readonly [string, Handler, StepId, FindingCode])[] = [
  ['a path without a server', at('/mcp', () => ({ status: 404 })), 'reachable', 'doctor.not-found'],
  ['a server that fails', at('/mcp', () => ({ status: 502 })), 'reachable', 'doctor.server-error'],
  [
    'a redirect to another host',
    at('/mcp', () => ({ status: 301, headers: { location: 'https://other.invalid/mcp' } }), 'POST'),
    'reachable',
    'doctor.redirect',
  ],
  [
    'bot protection',
    at('/mcp', ({ headers }) => (headers['user-agent'] === 'Claude-User' ? { status: 403 } : undefined)),
    'reachable',
    'flow.edge-block',
  ],
  [
    '403 without a token',
    at('/mcp', () => ({ status: 403, headers: cors }), 'POST'),
    'challenge',
    'doctor.challenge-status',
  ],
  [
    'a 401 without a challenge',
    at('/mcp', () => ({ status: 401, headers: cors }), 'POST'),
    'challenge',
    'flow.challenge-stripped',
  ],
  [
    'a challenge without resource_metadata',
    at('/mcp', () => ({ status: 401, headers: { ...cors, 'www-authenticate': 'Bearer realm="x"' } }), 'POST'),
    'challenge',
    'flow.challenge-stripped',
  ],
  ['no resource metadata', at(resourcePath, () => ({ status: 404 })), 'resource', 'doctor.resource-missing'],
  [
    'a page in place of the resource metadata',
    at(resourcePath, () => ({ body: '<html></html>' })),
    'resource',
    'doctor.resource-missing',
  ],
  [
    'metadata of another resource',
    at(resourcePath, (_, origin) => ({
      headers: cors,
      body: { ...resource(origin), resource: 'https://other.invalid/mcp' },
    })),
    'resource',
    'flow.resource-differs',
  ],
  [
    'metadata that names no authorization server',
    at(resourcePath, (_, origin) => ({ headers: cors, body: { resource: `${origin}/mcp` } })),
    'resource',
    'doctor.resource-servers',
  ],
  ['no server metadata', at(serverPath, () => ({ status: 404 })), 'server', 'doctor.server-missing'],
  [
    'another issuer',
    at(serverPath, (_, origin) => ({
      headers: cors,
      body: { ...metadata(origin), issuer: 'https://other.invalid' },
    })),
    'server',
    'doctor.issuer',
  ],
  [
    'no PKCE',
    at(serverPath, (_, origin) => ({
      headers: cors,
      body: { ...metadata(origin), code_challenge_methods_supported: ['plain'] },
    })),
    'server',
    'doctor.pkce',
  ],
  [
    'endpoints over http on the internet',
    at(serverPath, (_, origin) => ({
      headers: cors,
      body: { ...metadata(origin), token_endpoint: 'http://as.example/token' },
    })),
    'server',
    'doctor.endpoints',
  ],
  [
    'no refresh tokens',
    at(serverPath, (_, origin) => ({
      headers: cors,
      body: { ...metadata(origin), grant_types_supported: ['authorization_code'] },
    })),
    'server',
    'doctor.no-refresh',
  ],
  [
    'no way to register',
    at(serverPath, (_, origin) => ({
      headers: cors,
      body: { ...metadata(origin), registration_endpoint: undefined },
    })),
    'registration',
    'flow.registration-off',
  ],
  [
    'registration closed',
    at('/register', () => ({ status: 403 }), 'POST'),
    'registration',
    'flow.registration-off',
  ],
  [
    'a registration limit',
    at('/register', () => ({ status: 429 }), 'POST'),
    'registration',
    'doctor.registration-limit',
  ],
  [
    'a private-use scheme refused',
    at(
      '/register',
      ({ body }) =>
        body.includes('cursor:') ? { status: 400, body: { error: 'invalid_redirect_uri' } } : undefined,
      'POST',
    ),
    'registration',
    'doctor.registration-refused',
  ],
  [
    'a registration that forgets the redirect URIs',
    at('/register', () => ({ status: 201, headers: cors, body: { client_id: 'known' } }), 'POST'),
    'registration',
    'doctor.registration-answer',
  ],
  [
    'a secret without an end (RFC 7591 §3.2.1)',
    at(
      '/register',
      (request) => {
        const { body, ...reply } = registered(request)
        return { ...reply, body: { ...body, client_secret: 's' } }
      },
      'POST',
    ),
    'registration',
    'doctor.registration-answer',
  ],
  [
    'a redirect for unknown clients (RFC 6749 §4.1.2.1)',
    at('/authorize', ({ query }) =>
      query.get('client_id') === 'known'
        ? undefined
        : { status: 302, headers: { location: `${query.get('redirect_uri')}?error=unauthorized_client` } },
    ),
    'authorize',
    'doctor.open-redirect',
  ],
  [
    'an authorization request that fails',
    at('/authorize', ({ query }) => (query.get('client_id') === 'known' ? { status: 500 } : undefined)),
    'authorize',
    'doctor.authorize',
  ],
  [
    'an error by redirect',
    at('/authorize', ({ query }) =>
      query.get('client_id') === 'known'
        ? { status: 302, headers: { location: `${query.get('redirect_uri')}?error=invalid_scope` } }
        : undefined,
    ),
    'authorize',
    'doctor.authorize',
  ],
  [
    'loopback ports that must be equal (RFC 8252 §7.3)',
    at('/authorize', ({ query }) =>
      query.get('redirect_uri')?.includes(':49152') ? { status: 400 } : undefined,
    ),
    'authorize',
    'doctor.loopback-port',
  ],
  [
    'a token for any code',
    at('/token', () => ({ body: { access_token: 'x', token_type: 'Bearer' } }), 'POST'),
    'token',
    'doctor.token-open',
  ],
  [
    'an error page at the token endpoint (RFC 6749 §5.2)',
    at('/token', () => ({ status: 500, body: '<html>' }), 'POST'),
    'token',
    'doctor.token-answer',
  ],
  ['no preflight', at('/mcp', () => ({ status: 405 }), 'OPTIONS'), 'browser', 'doctor.cors'],
  [
    'a hidden challenge',
    at(
      '/mcp',
      (_, origin) => {
        const { headers, ...reply } = challenge(origin)
        return { ...reply, headers: { ...headers, 'access-control-expose-headers': '' } }
      },
      'POST',
    ),
    'browser',
    'doctor.cors',
  ],
]

describe('a server with one fault', () => {
  it.each(cases)('%s', async (_, handler, step, code) => {
    const examined = await look(handler)
    expect(found(examined)[0]).toEqual([step, code])
    expect(found(examined).filter(([, other]) => other !== code)).toEqual([])
    expect(examined.primary?.evidence).not.toMatch(/undefined|\[object|\n/)
  })

  it('that nobody listens at is refused, and nothing else is asked', async () => {
    const steps: string[] = []
    const { primary } = await examine(
      new URL('http://127.0.0.1:1/mcp'),
      { register: true, authorization: true },
      { ...createDoctorNetwork({}), outboundTo: () => () => Promise.reject(refused()) },
      ({ id, result }) => steps.push(`${id} ${result}`),
    )
    expect(primary?.code).toBe('doctor.refused')
    expect(steps[0]).toBe('reachable fail')
    expect(steps.slice(1).every((step) => step.endsWith(' skip'))).toBe(true)
  })

  it('cannot write to the terminal', async () => {
    const hostile = '\u001B[2J\u202Eline\nline'
    const examined = await look(
      at(resourcePath, (_, origin) => ({ headers: cors, body: { ...resource(origin), resource: hostile } })),
    )
    expect(JSON.stringify(examined)).not.toMatch(/\\u001b|\u202E|\\n/)
    expect(examined.primary?.evidence).toContain('[2J')
  })
})
