// What the revision bridge sends, as it stands on the wire, in every runtime.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  askModern,
  beginLegacy,
  type RevisionWorld,
  lastOf,
  modernMeta,
  openRevisionWorld,
  textOf,
} from '../runtimes/revisions.ts'
import { runtimes } from '../runtimes/runtimes.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { until } from '../runtimes/proxied.ts'

describe.each(runtimes)('Between the revisions %s', (where, open) => {
  let world: RevisionWorld
  const lasting = where !== 'in workerd'

  beforeAll(async () => {
    world = await openRevisionWorld(open)
  }, 120_000)
  afterAll(() => world?.close())

  it('results for modern clients have every required member and are private [C13]', async () => {
    const caller = await world.at('legacy')
    for (const [method, params] of [
      ['server/discover', {}],
      ['tools/list', {}],
      ['prompts/list', {}],
      ['resources/list', {}],
      ['resources/templates/list', {}],
      ['resources/read', { uri: 'test://static-text' }],
    ] as const) {
      const { result } = await lastOf(await askModern(caller, method, params))
      expect(result, method).toMatchObject({
        resultType: 'complete',
        ttlMs: 0,
        cacheScope: 'private',
        _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'postern-reference' } },
      })
    }
    const { result } = await lastOf(
      await askModern(caller, 'tools/call', { name: 'test_simple_text', arguments: {} }),
    )
    expect(result).toMatchObject({
      resultType: 'complete',
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'postern-reference' } },
    })
    expect(result).not.toHaveProperty('ttlMs')
    const missing = await askModern(caller, 'resources/read', { uri: 'test://nothing' })
    expect([missing.status, (await lastOf(missing)).error.code]).toEqual([200, -32_602])
  })

  it('results for legacy clients have no member of the modern revision [C13, C20]', async () => {
    const caller = await world.at('modern')
    const { begun, session } = await beginLegacy(caller, '2025-06-18')
    expect(await begun.json()).toMatchObject({
      id: 1,
      result: { protocolVersion: '2025-06-18', serverInfo: { name: 'postern-reference' } },
    })
    expect((await caller.post({ jsonrpc: '2.0', method: 'notifications/initialized' }, session)).status).toBe(
      202,
    )
    const said = await (await caller.post({ jsonrpc: '2.0', id: 2, method: 'tools/list' }, session)).text()
    expect(said).toContain('test_simple_text')
    const missing = await lastOf(
      await caller.post(
        { jsonrpc: '2.0', id: 3, method: 'resources/read', params: { uri: 'test://nothing' } },
        session,
      ),
    )
    expect([missing.id, missing.error.code]).toEqual([3, -32_002])
    expect(said).not.toMatch(/resultType|ttlMs|cacheScope|modelcontextprotocol\/serverInfo/)
  })

  it('requests of a legacy client at once under one id are each answered where they were posted [C2, C20]', async () => {
    const caller = await world.at('modern')
    const { session } = await beginLegacy(caller)
    // claude.ai posts calls at once under one id.
    const call = async (params: object) =>
      lastOf(await caller.post({ jsonrpc: '2.0', id: 7, method: 'tools/call', params }, session))
    const [text, failure] = await Promise.all([
      call({ name: 'test_simple_text', arguments: {} }),
      call({ name: 'test_error_handling', arguments: {} }),
    ])
    expect([text.id, textOf(text.result)]).toEqual([7, 'This is a simple text response for testing.'])
    expect([failure.id, failure.result['isError']]).toEqual([7, true])
  })

  it('what has no counterpart is refused: tasks, a second initialize, subscriptions of the other revision [C20]', async () => {
    const legacy = await world.at('legacy')
    for (const method of ['ping', 'logging/setLevel', 'resources/subscribe', 'tasks/list']) {
      const refused = await askModern(
        legacy,
        method,
        method === 'resources/subscribe' ? { uri: 'test://watched-resource' } : {},
      )
      expect([method, refused.status, (await lastOf(refused)).error.code]).toEqual([method, 404, -32_601])
    }
    const caller = await world.at('modern')
    const { session } = await beginLegacy(caller)
    const errors = await Promise.all(
      ['tasks/list', 'subscriptions/listen', 'initialize'].map(
        async (method, id) =>
          (await lastOf(await caller.post({ jsonrpc: '2.0', id, method, params: {} }, session))).error.code,
      ),
    )
    expect(errors).toEqual([-32_601, -32_601, -32_600])
  })

  it('a session of the gateway ends with DELETE, and accepts batches if its revision has them [C2, C4, C20]', async () => {
    const caller = await world.at('modern')
    const batch = [
      { jsonrpc: '2.0', id: 'a', method: 'ping' },
      { jsonrpc: '2.0', id: 'b', method: 'tools/call', params: { name: 'test_simple_text', arguments: {} } },
    ]
    const { session: old } = await beginLegacy(caller, '2025-03-26')
    const answers = await (await caller.post(batch, old)).text()
    expect([answers.includes('"id":"a"'), answers.includes('"id":"b"')]).toEqual([true, true])
    const { session } = await beginLegacy(caller)
    expect((await caller.post(batch, session)).status).toBe(400)
    expect((await caller.delete(session)).status).toBe(200)
    expect((await caller.post({ jsonrpc: '2.0', id: 3, method: 'ping' }, session)).status).toBe(404)
  })

  it('Mcp-Param headers are validated in front of a legacy server [C8, C9, C20]', async () => {
    const caller = await world.at('legacy')
    await (await askModern(caller, 'tools/list')).text()
    const headers = {
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'test_custom_headers',
    }
    const call = (more: Record<string, string>) =>
      caller.post(
        {
          jsonrpc: '2.0',
          id: 4,
          method: 'tools/call',
          params: { name: 'test_custom_headers', arguments: { region: 'eu' }, _meta: modernMeta() },
        },
        { ...headers, ...more },
      )
    const wrong = await call({ 'mcp-param-region': 'us' })
    expect([wrong.status, (await lastOf(wrong)).error.code]).toEqual([400, -32_020])
    expect((await lastOf(await call({ 'mcp-param-region': 'eu' }))).result).toMatchObject({
      resultType: 'complete',
    })
  })

  itWhere(lasting)(
    'an attempt without responses gets the input requests again, and a used request state is refused [C12, C20]',
    async () => {
      const caller = await world.at('legacy')
      const call = { name: 'test_elicitation', arguments: { message: 'x' } }
      const state = async (more: object) =>
        (await lastOf(await askModern(caller, 'tools/call', { ...call, ...more }, { elicitation: {} })))
          .result['requestState'] as unknown
      const first = await state({})
      const second = await state({ requestState: first, inputResponses: {} })
      expect([typeof first, typeof second, first === second]).toEqual(['string', 'string', false])
      const again = await askModern(
        caller,
        'tools/call',
        { ...call, requestState: first, inputResponses: {} },
        { elicitation: {} },
      )
      expect([again.status, (await lastOf(again)).error.code]).toEqual([400, -32_602])
      const other = await askModern(
        caller,
        'tools/call',
        { ...call, arguments: { message: 'y' }, requestState: second, inputResponses: {} },
        { elicitation: {} },
      )
      expect((await lastOf(other)).error.code).toBe(-32_602)
    },
  )

  it('a session that the server lost is begun again without the client noticing [C2, C20]', async () => {
    const caller = await world.at('legacy')
    await (await askModern(caller, 'tools/list')).text()
    world.legacy.forget()
    const { result } = await lastOf(
      await askModern(caller, 'tools/call', { name: 'test_simple_text', arguments: {} }),
    )
    expect(textOf(result)).toContain('simple text response')
  })

  itWhere(lasting)(
    'a session without use for half an hour is ended at the server, and begun again when needed [C20]',
    async () => {
      const caller = await world.at('legacy')
      await (await askModern(caller, 'prompts/list')).text()
      const [used] = world.legacy.heard
        .flatMap(({ headers, message }) =>
          message?.['method'] === 'prompts/list' ? [headers.get('mcp-session-id')] : [],
        )
        .slice(-1)
      world.house.advance(31 * 60_000)
      expect((await lastOf(await askModern(caller, 'resources/list'))).result).toMatchObject({
        resultType: 'complete',
      })
      await until(
        () =>
          world.legacy.heard.some(
            ({ http, headers }) => http === 'DELETE' && headers.get('mcp-session-id') === used,
          ),
        'the end of the session',
      )
      expect(
        world.legacy.heard
          .findLast(({ message }) => message?.['method'] === 'resources/list')
          ?.headers.get('mcp-session-id'),
      ).not.toBe(used)
    },
  )

  it('anonymous callers have a session for each call [C20]', async () => {
    const caller = await world.at('open')
    const before = world.legacy.heard.length
    expect(
      textOf(
        (await lastOf(await askModern(caller, 'tools/call', { name: 'test_simple_text', arguments: {} })))
          .result,
      ),
    ).toContain('simple text response')
    const said = world.legacy.heard
      .slice(before)
      .map(({ http, message }) => (http === 'POST' ? message?.['method'] : http))
    expect(said.filter((what) => what === 'initialize')).toHaveLength(1)
    await until(
      () => world.legacy.heard.slice(before).some(({ http }) => http === 'DELETE'),
      'the end of the session',
    )
  })

  it('a person has one session at the server for all calls, and the server receives the person’s identity [C20]', async () => {
    const mine = await world.at('legacy')
    const before = world.legacy.heard.length
    for (const method of ['tools/list', 'prompts/list', 'resources/list'])
      await (await askModern(mine, method)).text()
    const mineIds = new Set(
      world.legacy.heard
        .slice(before)
        .flatMap(({ headers, message }) =>
          String(message?.['method']).endsWith('/list') ? [headers.get('mcp-session-id')] : [],
        ),
    )
    expect(mineIds.size).toBe(1)
    expect(world.legacy.heard.at(-1)?.headers.get('x-user-id')).toBe('ana')
    expect(world.legacy.heard.at(-1)?.headers.get('mcp-method')).toBeNull()
    expect(world.legacy.heard.at(-1)?.headers.get('mcp-protocol-version')).toBe('2025-11-25')
  })

  it('where client and server speak the same revision, nothing else is asked and nothing is changed [C20]', async () => {
    const caller = await world.at('modern')
    await (await askModern(caller, 'tools/list')).text()
    const before = world.modern.heard.length
    const { result } = await lastOf(await askModern(caller, 'tools/list'))
    expect(result).toMatchObject({ ttlMs: 60_000, cacheScope: 'public' })
    expect(world.modern.heard.slice(before).map(({ message }) => message?.['method'])).toEqual(['tools/list'])
  })
})
