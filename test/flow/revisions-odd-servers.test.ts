// What servers rarely do, between the revisions: a URL to open first, an elicitation outside a call,
// abandoned calls, values that only one revision has; and commands.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { askModern, beginLegacy, lastOf, textOf } from '../runtimes/revisions.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { type LegacyUpstream, openLegacyUpstream } from '../runtimes/legacy-upstream.ts'
import { type OddServer, openOddModern, openOddLegacy } from '../runtimes/odd-servers.ts'
import { openSocketUpstream, type SocketUpstream } from '../runtimes/socket-upstream.ts'
import { ana, type Caller, callerOf, tokenOf } from '../runtimes/people.ts'
import { until } from '../runtimes/proxied.ts'

const url = { elicitation: { url: {} } }
const program = new URL('../stdio/server-process.mjs', import.meta.url).pathname

describe.each(runtimes)('Unusual servers of another revision %s', (where, open) => {
  let house: TestGateway
  let modern: OddServer
  let legacy: OddServer
  let sse: LegacyUpstream
  let socket: SocketUpstream
  let toModern: Caller
  let toLegacy: Caller
  const lasting = where !== 'in workerd'
  const at = async (service: string): Promise<Caller> =>
    callerOf(
      house,
      `${house.origin}/${service}/mcp`,
      await tokenOf(house, ana, `${house.origin}/${service}/mcp`),
    )

  beforeAll(async () => {
    ;[modern, legacy, sse, socket] = await Promise.all([
      openOddModern(),
      openOddLegacy(),
      openLegacyUpstream(),
      openSocketUpstream(),
    ])
    const command = (flag: string) => ({
      command: process.execPath,
      args: [program, flag],
      sandbox: 'none' as const,
    })
    const commands = lasting
      ? { 'modern-command': command('--modern-only'), 'legacy-command': command('--plain') }
      : {}
    const lines = {
      named: { url: sse.url, transport: 'sse' as const },
      found: { url: sse.url },
      socket: { url: socket.url },
    }
    house = await open({
      upstream: modern.url,
      config: {
        local_users: [ana],
        mcp_services: {
          legacy: { url: legacy.url, upstream_auth: { type: 'none' } },
          hasty: { name: 'Hasty', url: legacy.url, timeout: 250 },
          ...lines,
          ...commands,
        },
      },
    })
    ;[toModern, toLegacy] = [await at('echo'), await at('legacy')]
  }, 120_000)
  afterAll(async () => {
    await house?.close()
    await Promise.all([modern?.close(), legacy?.close(), sse?.close(), socket?.close()])
  }, 60_000)

  it('a URL to open is requested as the client’s revision does it, and the call succeeds when it is made again [C20]', async () => {
    const asked = await lastOf(await askModern(toLegacy, 'tools/call', { name: 'url', arguments: {} }, url))
    expect(asked.result).toMatchObject({
      resultType: 'input_required',
      inputRequests: {
        'url-1': { method: 'elicitation/create', params: { mode: 'url', url: 'https://example.com/open' } },
      },
    })
    const unable = await lastOf(await askModern(toLegacy, 'tools/call', { name: 'url', arguments: {} }))
    expect(unable.error.code).toBe(1403)
    const no = await lastOf(
      await askModern(
        toLegacy,
        'tools/call',
        { name: 'url', arguments: {}, inputResponses: { 'url-1': { action: 'decline' } } },
        url,
      ),
    )
    expect(no.error.code).toBe(1403)
    const { session } = await beginLegacy(toModern, '2025-11-25', lasting ? {} : url)
    const error = await lastOf(
      await toModern.post(
        { jsonrpc: '2.0', id: 5, method: 'tools/call', params: { name: 'url', arguments: {} } },
        session,
      ),
    )
    expect([error.id, error.error.code, JSON.stringify(error.error.data)]).toEqual([
      5,
      -32_042,
      expect.stringContaining('https://example.com/open'),
    ])
  })

  itWhere(lasting)(
    'a request of the server outside the call reaches the client that made the call [C5, C20]',
    async () => {
      const call = { name: 'ask-on-stream', arguments: {} }
      const asked = await lastOf(await askModern(toLegacy, 'tools/call', call, { elicitation: { form: {} } }))
      const [key] = Object.keys(asked.result['inputRequests'] as unknown as object)
      expect(key).toBe('ask-"q-1"')
      const answer = await askModern(
        toLegacy,
        'tools/call',
        {
          ...call,
          requestState: asked.result['requestState'],
          inputResponses: { [key as string]: { action: 'accept', content: { name: 'ana' } } },
        },
        { elicitation: { form: {} } },
      )
      expect(JSON.parse(textOf((await lastOf(answer)).result)) as unknown).toEqual({
        action: 'accept',
        content: { name: 'ana' },
      })
    },
  )

  itWhere(lasting)(
    'a call that its client abandons is cancelled at a legacy server with a notification [C10, C20]',
    async () => {
      const leaving = new AbortController()
      const before = legacy.held.length
      const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'hang' }
      const params = {
        name: 'hang',
        arguments: {},
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientCapabilities': {},
        },
      }
      const calling = toLegacy
        .post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }, headers, { signal: leaving.signal })
        .catch(() => 'left')
      // The first call at a server is made twice: as it came, and in the server's own words.
      await until(() => legacy.held.length > before, 'the call')
      leaving.abort()
      await calling
      await until(
        () => legacy.heard.some(({ body }) => body.includes('"notifications/cancelled"')),
        'its cancellation',
      )
    },
  )

  it('a server that does not respond times out like any other [C15, C20]', async () => {
    const late = await askModern(await at('hasty'), 'tools/call', { name: 'hang', arguments: {} })
    expect([late.status, (await lastOf(late)).error.message]).toEqual([504, 'Request to Hasty timed out'])
  })

  it('a stream that the server opens and never writes to times out too [C15, C20]', async () => {
    const silent = await askModern(await at('hasty'), 'tools/call', { name: 'silent', arguments: {} })
    const { error } = await lastOf(silent)
    expect([silent.status, error]).toEqual([
      504,
      {
        code: 1504,
        message: 'Request to Hasty timed out',
        data: { code: 'upstream.timeout', request_id: silent.headers.get('x-request-id') },
      },
    ])
  })

  itWhere(lasting)('a call that a legacy client cancels ends at a modern server [C10, C20]', async () => {
    const { session } = await beginLegacy(toModern)
    const before = modern.left()
    const calling = toModern.post(
      { jsonrpc: '2.0', id: 'long', method: 'tools/call', params: { name: 'hang', arguments: {} } },
      session,
    )
    await until(() => modern.held.length > 0, 'the call')
    expect(
      (
        await toModern.post(
          { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'long' } },
          session,
        )
      ).status,
    ).toBe(202)
    await until(() => modern.left() > before, 'its end')
    expect(await (await calling).text()).toBe('')
  })

  it('capabilities and values that only one revision has are left out [C20]', async () => {
    const { begun, session } = await beginLegacy(toModern)
    expect(
      Object.keys(((await begun.json()) as { result: { capabilities: object } }).result.capabilities),
    ).toEqual(['tools'])
    const value = await lastOf(
      await toModern.post(
        { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'value', arguments: {} } },
        session,
      ),
    )
    expect(value.result).toEqual({ content: [{ type: 'text', text: '[1,2]' }] })
    const lacking = await lastOf(
      await toModern.post(
        { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'lacking', arguments: {} } },
        session,
      ),
    )
    expect([lacking.error.code, lacking.error.message]).toEqual([
      1400,
      'The MCP server needs a capability that this client does not have.',
    ])
    const { result } = await lastOf(await askModern(toLegacy, 'tools/list'))
    expect((result['tools'] as unknown as { name: string }[]).map(({ name }) => name)).toEqual(['big'])
  })

  it('numbers keep every digit, and trace context is passed on unchanged [C16, C20]', async () => {
    const { session } = await beginLegacy(toModern)
    await (
      await toModern.post(
        `{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"echo","arguments":{"n":12345678901234567890},"_meta":{"traceparent":"00-a-b-01"}}}`,
        session,
      )
    ).text()
    expect(modern.heard.at(-1)?.body).toContain('"n":12345678901234567890')
    expect(modern.heard.at(-1)?.body).toContain('"traceparent":"00-a-b-01"')
  })

  it('401 and 5xx say nothing about the server’s revision [C20]', async () => {
    for (const trouble of [401, 403, 500, 503]) {
      const fresh = await at('legacy')
      legacy.trouble = trouble
      const refused = await askModern(fresh, 'tools/list')
      expect([trouble, refused.status]).toEqual([trouble, trouble === 401 ? 502 : trouble])
      legacy.trouble = undefined
      expect((await lastOf(await askModern(fresh, 'tools/list'))).result).toMatchObject({
        resultType: 'complete',
      })
    }
  })

  it.each(['named', 'found', 'socket'])(
    'an HTTP+SSE or WebSocket server (%s) serves modern clients [C6, C20, C21]',
    async (service) => {
      const caller = await at(service)
      const { result } = await lastOf(await askModern(caller, 'server/discover'))
      expect(result).toMatchObject({ resultType: 'complete', capabilities: { tools: {} } })
      const called = await lastOf(await askModern(caller, 'tools/call', { name: 'whoami', arguments: {} }))
      expect(textOf(called.result)).toContain('ana')
      for (const line of [...sse.streams.values()]) line.destroy()
      for (const line of socket.open) line.terminate()
      await until(() => sse.streams.size + socket.open.size === 0, 'the end of the lines')
      let again = ''
      // A call on a connection whose end is still on its way here is lost with it; the next begins another.
      for (let tries = 0; tries < 20 && again === ''; tries++)
        again = JSON.stringify(
          (await lastOf(await askModern(caller, 'tools/call', { name: 'whoami', arguments: {} }))).result ??
            '',
        ).replace('""', '')
      expect(again).toContain('ana')
    },
  )

  itWhere(lasting)(
    'a legacy command serves modern clients, and a modern command legacy clients [C18, C20]',
    async () => {
      const command = await at('legacy-command')
      const { result } = await lastOf(
        await askModern(command, 'tools/call', { name: 'echo', arguments: { n: 1 } }),
      )
      expect(JSON.parse(textOf(result))).toMatchObject({ n: 1 })
      const discovered = await lastOf(await askModern(command, 'server/discover'))
      expect(discovered.result).toMatchObject({ supportedVersions: ['2026-07-28'], resultType: 'complete' })
      // The process ends and its session with it; whoever has none notices nothing of that.
      expect(
        (await lastOf(await askModern(command, 'tools/call', { name: 'exit', arguments: {} }))).error.message,
      ).toContain('exited with code 3')
      expect(
        textOf(
          (await lastOf(await askModern(command, 'tools/call', { name: 'echo', arguments: { n: 3 } })))
            .result,
        ),
      ).toContain('"n":3')
      const modernCommand = await at('modern-command')
      const { begun, session } = await beginLegacy(modernCommand)
      expect(begun.status).toBe(200)
      const answer = await lastOf(
        await modernCommand.post(
          { jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name: 'echo', arguments: { n: 2 } } },
          session,
        ),
      )
      expect(JSON.parse(textOf(answer.result))).toMatchObject({ n: 2 })
    },
  )
})
