// Attacks on what the revision bridge keeps: sessions at legacy servers, sessions of legacy clients, and
// pending input requests.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  askModern,
  beginLegacy,
  type RevisionWorld,
  lastOf,
  openRevisionWorld,
} from '../runtimes/revisions.ts'
import { runtimes } from '../runtimes/runtimes.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'

describe.each(runtimes)('Between the revisions %s', (where, open) => {
  let world: RevisionWorld
  const lasting = where !== 'in workerd'

  beforeAll(async () => {
    world = await openRevisionWorld(open)
  }, 120_000)
  afterAll(() => world?.close())

  it('never accepts a session of the gateway from another person or client [B7, C20]', async () => {
    const mine = await world.at('modern')
    const theirs = await world.at('modern', yamada)
    const { session } = await beginLegacy(mine)
    // The same person by another client is somebody else too.
    const other = callerOf(world.house, mine.url, await tokenOf(world.house, ana, mine.url))
    for (const foreign of [theirs, other]) {
      const before = world.modern.heard.length
      expect((await foreign.post({ jsonrpc: '2.0', id: 2, method: 'tools/list' }, session)).status).toBe(404)
      expect((await foreign.get(session)).status).toBe(404)
      expect((await foreign.delete(session)).status).toBe(404)
      expect(world.modern.heard.length).toBe(before)
    }
    expect((await mine.post({ jsonrpc: '2.0', id: 2, method: 'ping' }, session)).status).toBe(200)
    for (const id of ['postern-session-guessed', `${session['mcp-session-id']}x`, 'postern-session-']) {
      expect(
        (await mine.post({ jsonrpc: '2.0', id: 2, method: 'ping' }, { ...session, 'mcp-session-id': id }))
          .status,
      ).toBe(404)
    }
  })

  it('never shares a session at the server between people or between clients [C20]', async () => {
    const people = [
      await world.at('legacy'),
      await world.at('legacy', yamada),
      callerOf(
        world.house,
        `${world.house.origin}/legacy/mcp`,
        await tokenOf(world.house, ana, `${world.house.origin}/legacy/mcp`),
      ),
    ]
    const before = world.legacy.heard.length
    await Promise.all(
      people.flatMap((caller) =>
        ['tools/list', 'prompts/list', 'resources/list'].map((method) =>
          askModern(caller, method).then((response) => response.text()),
        ),
      ),
    )
    const owners = new Map<string, Set<string>>()
    for (const { headers, message } of world.legacy.heard.slice(before)) {
      const id = headers.get('mcp-session-id')
      if (id !== null && String(message?.['method']).endsWith('/list'))
        owners.set(id, (owners.get(id) ?? new Set()).add(headers.get('x-user-id') ?? ''))
    }
    expect([owners.size, [...owners.values()].map((names) => names.size)]).toEqual([3, [1, 1, 1]])
  })

  itWhere(lasting)(
    'never continues a waiting call for another caller or another request [C12, C20]',
    async () => {
      const call = { name: 'test_elicitation', arguments: { message: 'x' } }
      const mine = await world.at('legacy')
      const asked = await lastOf(await askModern(mine, 'tools/call', call, { elicitation: {} }))
      const requestState = asked.result['requestState'] as unknown
      const answers = Object.fromEntries(
        Object.keys(asked.result['inputRequests'] as unknown as object).map((key) => [
          key,
          { action: 'accept', content: { username: 'mallory', email: 'm@example.com' } },
        ]),
      )
      const theirs = await world.at('legacy', yamada)
      for (const [caller, what] of [
        [theirs, call],
        [mine, { ...call, arguments: { message: 'y' } }],
        [mine, { ...call, name: 'test_sampling' }],
      ] as const) {
        const refused = await askModern(
          caller,
          'tools/call',
          { ...what, requestState, inputResponses: answers },
          { elicitation: {} },
        )
        expect([refused.status, (await lastOf(refused)).error.code]).toEqual([400, -32_602])
      }
      const own = await lastOf(
        await askModern(
          mine,
          'tools/call',
          { ...call, requestState, inputResponses: answers },
          { elicitation: {} },
        ),
      )
      expect(JSON.stringify(own.result)).toContain('mallory')
      const again = await askModern(
        mine,
        'tools/call',
        { ...call, requestState, inputResponses: answers },
        { elicitation: {} },
      )
      expect((await lastOf(again)).error.code).toBe(-32_602)
    },
  )

  itWhere(lasting)(
    'never accepts a response to an elicitation from another session [B7, C5, C20]',
    async () => {
      const mine = await world.at('modern')
      const { session } = await beginLegacy(mine, '2025-11-25', { elicitation: {} })
      const other = await beginLegacy(mine)
      const stream = await mine.post(
        {
          jsonrpc: '2.0',
          id: 3,
          method: 'tools/call',
          params: { name: 'test_elicitation', arguments: { message: 'x' } },
        },
        session,
      )
      const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader()
      const question = JSON.parse(
        ((await reader?.read())?.value ?? '').replace(/^event: message\ndata: /, ''),
      ) as {
        id: string
      }
      const answer = (name: string) => ({
        jsonrpc: '2.0',
        id: question.id,
        result: { action: 'accept', content: { username: name, email: 'a@example.com' } },
      })
      expect((await mine.post(answer('mallory'), other.session)).status).toBe(202)
      expect((await (await world.at('modern', yamada)).post(answer('mallory'), session)).status).toBe(404)
      expect((await mine.post(answer('ana'), session)).status).toBe(202)
      const said = (await reader?.read())?.value ?? ''
      expect([said.includes('ana'), said.includes('mallory')]).toEqual([true, false])
    },
  )

  itWhere(lasting)('never holds more than sixteen waiting calls for one client [C20]', async () => {
    const mine = await world.at('legacy')
    const results: string[] = []
    for (let n = 0; n < 18; n++)
      results.push(
        JSON.stringify(
          (
            await lastOf(
              await askModern(
                mine,
                'tools/call',
                { name: 'test_elicitation', arguments: { message: `m${n}` } },
                { elicitation: { form: {} } },
              ),
            )
          ).result,
        ),
      )
    expect(results.filter((result) => result.includes('input_required')).length).toBeLessThanOrEqual(16)
    expect(results.at(-1)).toContain('cannot receive this request')
  })

  it('never keeps more than 32 sessions of one client, nor long client information [C20]', async () => {
    const caller = callerOf(
      world.house,
      `${world.house.origin}/modern/mcp`,
      await tokenOf(world.house, ana, `${world.house.origin}/modern/mcp`),
    )
    const first = await beginLegacy(caller)
    const long = {
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: {
        protocolVersion: '2025-11-25',
        capabilities: { experimental: { x: { y: 'z'.repeat(100_000) } } },
        clientInfo: { name: 'n'.repeat(100_000), version: '1' },
      },
    }
    expect(await (await caller.post(long)).text()).toContain('serverInfo')
    for (let n = 0; n < 32; n++) await (await beginLegacy(caller)).begun.text()
    expect((await caller.post({ jsonrpc: '2.0', id: 2, method: 'ping' }, first.session)).status).toBe(404)
    const last = await beginLegacy(caller)
    expect((await caller.post({ jsonrpc: '2.0', id: 2, method: 'ping' }, last.session)).status).toBe(200)
  })
})
