// A service that is a command, through the whole gateway: login, token, call, and what the gateway says of
// it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { serverScript } from '../stdio/world.ts'

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
}
const echo = (args: object, id: number) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name: 'echo', arguments: args },
})

// A Worker with a command does not start (workers.test.ts).
describe.each(runtimes.filter(([where]) => where !== 'in workerd'))('%s', (_, open) => {
  let house: TestGateway
  let upstream: Upstream
  let caller: Caller
  let other: Caller

  beforeAll(async () => {
    upstream = await openUpstream((_, response) => response.end('{}'))
    const small = { command: process.execPath, args: [serverScript, '--modern'], sandbox: 'none' as const }
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [ana, yamada],
        mcp_services: { small, gone: { command: 'no-such-program', sandbox: 'none' } },
      },
    })
    const resource = `${house.origin}/small/mcp`
    caller = callerOf(house, resource, await tokenOf(house, ana, resource))
    other = callerOf(house, resource, await tokenOf(house, yamada, resource))
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  }, 60_000)

  it('is called like any other service, with sessions bound to person and client [C5] [B7]', async () => {
    const begun = await caller.post(initialize)
    const session = {
      'mcp-session-id': begun.headers.get('mcp-session-id') ?? '',
      'mcp-protocol-version': '2025-11-25',
    }
    expect([
      begun.status,
      begun.headers.get('content-type'),
      begun.headers.get('x-request-id') !== null,
    ]).toEqual([200, 'application/json', true])
    const answer = (await (await caller.post(echo({ n: 1 }, 7), session)).json()) as {
      id: number
      result: { content: { text: string }[] }
    }
    expect([answer.id, JSON.parse(answer.result.content[0]!.text)]).toEqual([
      7,
      expect.objectContaining({ n: 1 }),
    ])
    const told = (await (
      await caller.post({ ...echo({}, 8), params: { name: 'environment', arguments: {} } }, session)
    ).json()) as typeof answer
    expect(JSON.parse(told.result.content[0]!.text)).toMatchObject({
      MCP_USER_ID: 'ana',
      MCP_SERVER_ID: 'small',
      MCP_PERMISSIONS: '["mcp"]',
    })
    expect((await other.post(echo({}, 7), session)).status).toBe(404)
    expect((await callerOf(house, caller.url, '').post(initialize)).status).toBe(401)
    expect((await caller.delete(session)).status).toBe(204)
    expect((await caller.post(echo({}, 7), session)).status).toBe(404)
  })

  it('takes messages as long as the longest line, and no longer', async () => {
    const begun = await caller.post(initialize)
    const session = {
      'mcp-session-id': begun.headers.get('mcp-session-id') ?? '',
      'mcp-protocol-version': '2025-11-25',
    }
    expect(
      (await (await caller.post(echo({ text: 'x'.repeat(10_000_000) }, 7), session)).text())
        .match(/x+/g)
        ?.map(({ length }) => length),
    ).toContain(10_000_000)
    expect((await caller.post(echo({ text: 'x'.repeat(10_485_760) }, 7), session)).status).toBe(413)
    await caller.delete(session)
  })

  it('streams, and hears when its caller hangs up [C1] [C10]', async () => {
    const meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientCapabilities': {},
      progressToken: 1,
    }
    const modern = (name: string, args: object) =>
      [
        { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args, _meta: meta } },
        { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': name },
      ] as const
    const stream = await caller.post(...modern('progress', { steps: 3 }))
    expect([stream.headers.get('content-type'), stream.headers.get('x-accel-buffering')]).toEqual([
      'text/event-stream',
      'no',
    ])
    expect((await stream.text()).split('\n\n')).toHaveLength(5)
    const leaving = new AbortController()
    const hanging = caller.post(...modern('hang', {}), { signal: leaving.signal }).catch(() => 'left')
    await (await caller.post(...modern('echo', {}))).text()
    leaving.abort()
    await hanging
    const cancelled = async () =>
      (
        (await (await caller.post(...modern('cancelled', {}))).json()) as {
          result: { content: { text: string }[] }
        }
      ).result.content[0]!.text
    for (let i = 0; i < 100 && (await cancelled()) === '[]'; i++);
    expect(JSON.parse(await cancelled())).toHaveLength(1)
  })

  it('says in words why a command does not start', async () => {
    const url = `${house.origin}/gone/mcp`
    const answer = await callerOf(house, url, await tokenOf(house, ana, url)).post(initialize)
    expect([answer.status, ((await answer.json()) as { error: { message: string } }).error.message]).toEqual([
      502,
      'The MCP server could not be started: its command was not found.',
    ])
    expect(
      house.log.find(({ event, fields }) => event === 'process.ended' && fields['service'] === 'gone')
        ?.fields['why'],
    ).toMatch(/^no-such-program is not in PATH \(ENOENT\)/)
  })

  it('lists it without a word of its command', async () => {
    const listed = await (await house.fetch(`${house.origin}/services`)).text()
    expect(listed).toContain('small')
    expect(listed).not.toMatch(/server-process|command|no-such-program/)
  })

  it.each(['/execute', '/test-connection', '/api/servers', '/runner/start'])(
    'never takes a command from a caller at %s [H-N3]',
    async (path) => {
      const body = JSON.stringify({ command: 'touch', args: ['/tmp/x'] })
      for (const headers of [{}, { authorization: `Bearer ${caller.token}` }]) {
        const answer = await house.fetch(`${house.origin}${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...headers },
          body,
        })
        expect([401, 403, 404, 405]).toContain(answer.status)
      }
    },
  )
})
