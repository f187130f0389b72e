// What an operator finds in the log of a request that was refused: one line, its code, why, and whose request
// it was, the same on every runtime.
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { askModern, beginLegacy, lastOf } from '../runtimes/revisions.ts'
import { type TestGateway, runtimes, type LogLine } from '../runtimes/runtimes.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { type LegacyUpstream, openLegacyUpstream } from '../runtimes/legacy-upstream.ts'
import { authorizeUrl, type Client, form, logIn, refresh, register, type Tokens } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { call, until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { serverScript } from '../stdio/world.ts'

let upstream: Upstream
let legacy: LegacyUpstream
beforeAll(async () => {
  ;[upstream, legacy] = await Promise.all([openUpstream(), openLegacyUpstream()])
})
afterAll(() => Promise.all([upstream.close(), legacy.close()]))

interface Scene {
  readonly house: TestGateway
  /** Of Ana, at `echo`. */
  readonly client: Client
  readonly tokens: Tokens
  /** Revoked. */
  readonly ended: { readonly client: Client; readonly tokens: Tokens }
}

type Expected = Readonly<Record<string, unknown>>
type Kind = readonly [
  code: string,
  ask: (scene: Scene) => Promise<Response>,
  line: (scene: Scene) => Expected,
]

const at = ({ house }: Scene, path: string, token = '') => callerOf(house, `${house.origin}${path}`, token)
const mcp = { method: 'POST', path: '/echo/mcp', service: 'echo' }
const browserAsks = (scene: Scene, path: string) =>
  scene.house.fetch(`${scene.house.origin}${path}`, { headers: { accept: 'text/html' } })

const kinds: readonly Kind[] = [
  [
    'token.missing',
    (s) => at(s, '/echo/mcp').post(call()),
    () => ({ level: 'info', status: 401, why: 'no Authorization header', ...mcp }),
  ],
  [
    'token.malformed',
    (s) => at(s, '/echo/mcp', 'nonsense').post(call()),
    () => ({ level: 'info', status: 401, why: 'signature, issuer or type', ...mcp }),
  ],
  [
    'token.audience',
    (s) => at(s, '/gone/mcp', s.tokens.access_token).post(call()),
    ({ house, client }) => ({
      level: 'info',
      status: 401,
      why: `${house.origin}/echo/mcp at ${house.origin}/gone/mcp`,
      method: 'POST',
      path: '/gone/mcp',
      service: 'gone',
      client: client.id,
    }),
  ],
  [
    'token.revoked',
    (s) => at(s, '/echo/mcp', s.ended.tokens.access_token).post(call()),
    ({ ended }) => ({
      level: 'info',
      status: 401,
      why: expect.stringMatching(/^grant [\w-]+$/),
      ...mcp,
      client: ended.client.id,
    }),
  ],
  [
    'request.origin',
    (s) => at(s, '/echo/mcp').post(call(), { origin: 'https://evil.test' }),
    () => ({ level: 'info', status: 403, why: 'Origin https://evil.test', ...mcp }),
  ],
  [
    'mcp.version',
    (s) => at(s, '/echo/mcp', s.tokens.access_token).post(call(), { 'mcp-protocol-version': '1999-01-01' }),
    () => ({ level: 'info', status: 400, why: '1999-01-01', ...mcp }),
  ],
  [
    'mcp.parse',
    (s) => at(s, '/echo/mcp?token=secret', s.tokens.access_token).post('{'),
    ({ client }) => ({
      level: 'info',
      status: 400,
      why: 'SyntaxError',
      ...mcp,
      client: client.id,
      person: 'local:ana',
    }),
  ],
  [
    'upstream.unreachable',
    (s) => at(s, '/open/mcp').post(call()),
    () => ({
      level: 'warn',
      status: 502,
      why: expect.stringMatching(/^open at http:\/\/127\.0\.0\.1:9\/mcp: .+/),
      method: 'POST',
      path: '/open/mcp',
      service: 'open',
    }),
  ],
  [
    'route.unknown',
    (s) => s.house.fetch(`${s.house.origin}/nowhere?code=secret`),
    () => ({ level: 'info', status: 404, why: '/nowhere', method: 'GET', path: '/nowhere' }),
  ],
  [
    'client.auth',
    (s) =>
      s.house.fetch(
        `${s.house.origin}/oauth/token`,
        form({ grant_type: 'refresh_token', client_id: 'stranger', refresh_token: 'x' }),
      ),
    () => ({
      level: 'info',
      status: 401,
      why: expect.any(String),
      method: 'POST',
      path: '/oauth/token',
      client: 'stranger',
    }),
  ],
  [
    'refresh.revoked',
    (s) => refresh(s.house, s.ended.client, s.ended.tokens.refresh_token),
    ({ ended }) => ({
      level: 'info',
      status: 400,
      why: expect.any(String),
      method: 'POST',
      path: '/oauth/token',
      service: 'echo',
      client: ended.client.id,
      person: 'local:ana',
    }),
  ],
  [
    'redirect.mismatch',
    (s) =>
      browserAsks(
        s,
        authorizeUrl(
          s.house,
          { ...s.client, redirectUri: 'https://evil.test/cb' },
          { resource: `${s.house.origin}/echo/mcp` },
        ).url.slice(s.house.origin.length),
      ),
    ({ client }) => ({
      level: 'info',
      status: 400,
      why: `${client.id}: https://evil.test/cb`,
      method: 'GET',
      path: '/oauth/authorize',
      service: 'echo',
      client: client.id,
    }),
  ],
  [
    'flow.expired',
    (s) => browserAsks(s, `/oauth/consent?flow=${'f'.repeat(32)}`),
    () => ({
      level: 'info',
      status: 400,
      why: expect.any(String),
      method: 'GET',
      path: '/oauth/consent',
      flow: 'f'.repeat(32),
    }),
  ],
  [
    'login.link-spent',
    (s) => browserAsks(s, '/?t=secret'),
    () => ({
      level: 'info',
      status: 403,
      why: 'login link unknown, used or expired',
      method: 'GET',
      path: '/',
    }),
  ],
]

describe.each(runtimes)('%s', (where, open) => {
  let scene: Scene
  beforeAll(async () => {
    // A command that streams every answer, so that its end is told on a stream.
    const command = {
      small: {
        command: process.execPath,
        args: [serverScript, '--plain'],
        sandbox: 'none' as const,
        reconnect_after: 60_000,
      },
    }
    const services = {
      gone: { url: 'http://127.0.0.1:9/mcp' },
      open: { url: 'http://127.0.0.1:9/mcp', auth_required: false },
      line: { url: legacy.url, transport: 'sse' as const },
      ...(where === 'in workerd' ? {} : command),
    }
    const house = await open({
      upstream: upstream.url,
      config: { cors: { allow_origins: ['https://app.test'] }, mcp_services: services },
    })
    const [{ client, tokens }, ended] = [await logIn(house), await logIn(house)]
    await house.fetch(
      `${house.origin}/oauth/revoke`,
      form({ client_id: ended.client.id, token: ended.tokens.refresh_token }),
    )
    scene = { house, client, tokens, ended }
  }, 120_000)
  afterAll(() => scene.house.close())

  const linesOf = (requestId: string | null, event = 'refused'): LogLine[] =>
    scene.house.log.filter((line) => line.event === event && line.fields['request_id'] === requestId)
  const found = async (requestId: string | null): Promise<readonly LogLine[]> => {
    await vi.waitFor(() => expect(linesOf(requestId)).not.toEqual([]), { timeout: 20_000 })
    return linesOf(requestId)
  }

  it.each(kinds)('says %s once, whole', async (code, ask, line) => {
    const answer = await ask(scene)
    const requestId = answer.headers.get('x-request-id')
    await answer.body?.cancel()
    const { level, ...fields } = line(scene)
    const lines = await found(requestId)
    expect(
      lines.map((one) => ({ ...one, fields: JSON.parse(JSON.stringify(one.fields)) as unknown })),
    ).toEqual([
      {
        level,
        event: 'refused',
        fields: { refusal: code, ...fields, ip: '127.0.0.1', request_id: requestId },
      },
    ])
  })

  const withIn = async (service: string) => {
    const { client, tokens } = await logIn(scene.house, `${scene.house.origin}/${service}/mcp`)
    return { client, caller: at(scene, `/${service}/mcp`, tokens.access_token) }
  }
  /** The one line about an answer that was refused on its stream. */
  const onStream = async (answer: Response, service: string, client: Client) => {
    expect(answer.status).toBe(200)
    const requestId = answer.headers.get('x-request-id')
    const { error } = await lastOf(answer)
    const lines = await found(requestId)
    expect(lines.map(({ level, fields }) => [level, fields])).toEqual([
      [
        'warn',
        {
          refusal: (error.data as { code: string }).code,
          status: 502,
          why: expect.any(String) as string,
          method: 'POST',
          path: `/${service}/mcp`,
          service,
          client: client.id,
          person: 'local:ana',
          ip: '127.0.0.1',
          request_id: requestId,
        },
      ],
    ])
    return (error.data as { code: string }).code
  }

  it('says it as whole of a call whose stream had begun, at a server that speaks HTTP+SSE', async () => {
    const { client, caller } = await withIn('line')
    const { begun, session } = await beginLegacy(caller)
    await begun.text()
    const waiting = legacy.waiting.length
    const answer = await caller.post(
      { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'never', arguments: {} } },
      session,
    )
    await until(() => legacy.waiting.length > waiting, 'the call')
    for (const stream of legacy.streams.values()) stream.destroy()
    expect(await onStream(answer, 'line', client)).toBe('upstream.closed')
  })

  itWhere(where !== 'in workerd')(
    'says it as whole of a call whose stream had begun, at a command of another revision',
    async () => {
      const { client, caller } = await withIn('small')
      const streamed = await askModern(
        caller,
        'tools/call',
        { name: 'progress', arguments: { steps: 1 } },
        {},
        { progressToken: 'p' },
      )
      expect(await streamed.text()).toContain('notifications/progress')
      const answer = await askModern(caller, 'tools/call', { name: 'exit', arguments: {} })
      const requestId = answer.headers.get('x-request-id')
      await answer.text()
      const lines = await found(requestId)
      expect(
        lines.map(({ level, fields: { refusal, path, ip, service, client: of, person } }) => [
          level,
          refusal,
          path,
          ip,
          service,
          of,
          person,
        ]),
      ).toEqual([['warn', 'process.ended', '/small/mcp', '127.0.0.1', 'small', client.id, 'local:ana']])
    },
  )

  it('keeps why in the record of a call, too', async () => {
    const answer = await at(
      scene,
      '/gone/mcp',
      (await logIn(scene.house, `${scene.house.origin}/gone/mcp`)).tokens.access_token,
    ).post(call())
    const requestId = answer.headers.get('x-request-id')
    const [line] = await found(requestId)
    const [record] = linesOf(requestId, 'call')
    expect(record?.fields).toMatchObject({
      result: 'failed',
      status: 502,
      refusal: 'upstream.unreachable',
      why: line?.fields['why'],
      person: 'local:ana',
    })
    expect(await answer.text()).not.toContain('127.0.0.1')
  })

  it('says which user was tried, and never the password', async () => {
    const browser = createBrowser(scene.house.fetch, scene.house.origin)
    await browser.submit(await browser.go('/login'), '/login', {
      username: 'ana\u001B[31m',
      password: 'wrong horse battery',
    })
    const failed = () => scene.house.log.filter(({ event }) => event === 'sign-in.failed')
    await vi.waitFor(() => expect(failed()).not.toEqual([]), { timeout: 20_000 })
    expect(failed().map(({ level, fields }) => [level, fields['user'], fields['ip']])).toEqual([
      ['warn', 'ana [31m', '127.0.0.1'],
    ])
    expect(JSON.stringify(scene.house.log)).not.toContain('wrong horse')
  })

  it('records registrations and refreshes', async () => {
    const { house, client, tokens } = scene
    await register(house, { client_name: 'Recorded' })
    await refresh(house, client, tokens.refresh_token)
    const events = (event: string) => house.log.filter((line) => line.event === event)
    await vi.waitFor(() => expect(events('grant.refreshed')).not.toEqual([]), { timeout: 20_000 })
    expect(events('client.registered').at(-1)?.fields).toMatchObject({
      name: 'Recorded',
      ip: '127.0.0.1',
      request_id: expect.any(String) as unknown,
    })
    expect(events('grant.refreshed').at(-1)?.fields).toMatchObject({
      client: client.id,
      person: 'local:ana',
      resource: `${house.origin}/echo/mcp`,
      generation: 1,
      ip: '127.0.0.1',
    })
  })
})
