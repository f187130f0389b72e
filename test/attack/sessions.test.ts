// Sessions and their event streams in the hands of somebody else: another person's, another session's,
// guessed ones.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { runtimes } from '../runtimes/runtimes.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { type Caller, ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { modernCall, modernHeaders, openProxied, type Proxied, until } from '../runtimes/proxied.ts'
import { eventsOf, openWorld } from '../stdio/world.ts'

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
}
const event = (id: number): string =>
  `id: ${id}\ndata: {"jsonrpc":"2.0","method":"notifications/message","params":{"n":${id}}}\n\n`
const sessionOf = async (caller: Caller): Promise<Record<string, string>> => {
  const begun = await caller.post(initialize)
  await begun.text()
  return { 'mcp-session-id': String(begun.headers.get('mcp-session-id')) }
}

describe.each(runtimes)('%s', (where, open) => {
  let proxied: Proxied
  beforeAll(async () => {
    proxied = await openProxied(open)
  }, 120_000)
  afterAll(() => proxied.close())
  beforeEach(() => proxied.clear())

  it('never gives the stream of a session to anybody else, and never takes it from its owner [H-M3]', async () => {
    const { caller, other, held, upstream } = proxied
    const session = await sessionOf(caller)
    const answering = caller.get(session)
    await until(() => held.length === 1, 'the stream')
    held[0]?.writeHead(200, { 'content-type': 'text/event-stream' }).write(event(1))
    const stream = eventsOf(await answering)
    expect((await stream.next())?.id).toBe('1')
    upstream.heard.length = 0
    for (const headers of [session, { ...session, 'last-event-id': '1' }])
      expect((await other.get(headers)).status).toBe(404)
    expect(upstream.heard).toEqual([])
    held[0]?.write(event(2))
    expect((await stream.next())?.id).toBe('2')
    // A second one of their own is the server's to judge; most say no, and the first goes on.
    const second = caller.get(session)
    await until(() => held.length === 2, 'the second')
    held[1]?.writeHead(409, { 'content-type': 'application/json' }).end('{}')
    expect((await second).status).toBe(409)
    held[0]?.end(event(3))
    expect((await stream.rest()).map(({ id }) => id)).toEqual(['3'])
  })

  it('never lets anybody else ask for a task, although they know its id [B7]', async () => {
    const { caller, other, held, house, upstream } = proxied
    const message = (method: string, params: object) => ({ jsonrpc: '2.0', id: 9, method, params })
    /** A call that the server answers by a task, with the words of the one revision or of the other. */
    const spawn = async (who: Caller, params: object, headers: Record<string, string>, result: object) => {
      const answering = who.post(message('tools/call', { name: 'hold', arguments: {}, ...params }), {
        ...headers,
      })
      await until(() => held.length > 0, 'the call')
      const text = JSON.stringify({ jsonrpc: '2.0', id: 9, result })
      held.shift()?.writeHead(200, { 'content-type': 'application/json' }).end(text)
      expect(await (await answering).json()).toMatchObject({ result })
    }
    const ask = async (who: Caller, method: string, taskId: string, meta = {}, headers = {}) => {
      const response = await who.post(message(method, { taskId, ...meta }), headers)
      return [response.status, await response.json()] as const
    }
    const foreign = { error: { code: -32_602, message: 'Unknown task.', data: { code: 'task.unknown' } } }
    await spawn(
      caller,
      { task: { ttl: 60_000 } },
      {},
      { task: { taskId: 't-1', status: 'working', ttl: 60_000 } },
    )
    const metaOf = (extensions: object) => ({
      _meta: { ...modernCall().params._meta, 'io.modelcontextprotocol/clientCapabilities': { extensions } },
    })
    const extended = metaOf({ 'io.modelcontextprotocol/tasks': {} })
    await spawn(caller, extended, modernHeaders('hold'), {
      resultType: 'task',
      taskId: 't-2',
      status: 'working',
    })
    const again = callerOf(house, caller.url, await tokenOf(house, ana, caller.url))
    upstream.heard.length = 0
    for (const stranger of [other, again])
      for (const id of ['t-1', 't-2'])
        for (const method of ['tasks/get', 'tasks/cancel', 'tasks/result', 'tasks/update'])
          expect(await ask(stranger, method, id)).toMatchObject([200, foreign])
    expect(
      await ask(other, 'tasks/get', 't-2', extended, { ...modernHeaders('t-2'), 'mcp-method': 'tasks/get' }),
    ).toMatchObject([200, foreign])
    const batch = await other.post([message('tasks/get', { taskId: 't-1' })], {
      'mcp-protocol-version': '2025-03-26',
    })
    expect(await batch.json()).toMatchObject(foreign)
    expect(upstream.heard).toEqual([])
    for (const id of ['t-1', 't-2'])
      expect(await ask(caller, 'tasks/get', id)).toMatchObject([200, { result: {} }])
    // By the same id the server has made another task since.
    await spawn(other, { task: {} }, {}, { task: { taskId: 't-1', status: 'working' } })
    expect(await ask(caller, 'tasks/get', 't-1')).toMatchObject([200, foreign])
    expect(await ask(other, 'tasks/get', 't-1')).toMatchObject([200, { result: {} }])
  })

  it('never asks a server for events that no session of the caller can have had [H-M4]', async () => {
    const { caller, other, heard, upstream } = proxied
    const session = await sessionOf(caller)
    upstream.heard.length = 0
    const tooLong = await caller.get({ ...session, 'last-event-id': 'x'.repeat(10_000) })
    expect([
      tooLong.status,
      ((await tooLong.json()) as { error: { message: string } }).error.message,
    ]).toEqual([400, 'The Last-Event-ID is too long.'])
    for (const forged of ['1', '99-99', '..%2f', '%0d%0aid:1']) {
      expect((await other.get({ ...session, 'last-event-id': forged })).status).toBe(404)
      expect(
        (await caller.get({ 'mcp-session-id': 'session-of-yesterday', 'last-event-id': forged })).status,
      ).toBe(404)
    }
    expect(upstream.heard).toEqual([])
    const resumed = async (headers: Record<string, string>): Promise<unknown> => {
      const asking = caller.get({ ...headers, 'last-event-id': 'stream-7' })
      await until(() => proxied.held.length === 1, 'the stream')
      proxied.held.pop()?.writeHead(405).end()
      await (await asking).text()
      return heard()?.headers['last-event-id']
    }
    expect(await resumed(session)).toBe('stream-7')
    // Nothing says whose stream it would be.
    expect(await resumed({})).toBeUndefined()
  })

  itWhere(where !== 'in workerd')(
    'never gives out a session id that can be guessed, nor takes one for a token [H-M6]',
    async () => {
      const { house } = proxied
      const url = `${house.origin}/echo/sse`
      const caller = callerOf(house, url, await tokenOf(house, yamada, url))
      const left = new AbortController()
      const ids: string[] = []
      for (let i = 0; i < 64; i++) {
        const first = await (await caller.get({}, { signal: left.signal })).body?.getReader().read()
        ids.push(/sessionId=([\w-]+)\n/.exec(new TextDecoder().decode(first?.value))?.[1] ?? '')
      }
      expectRandom(ids, 43)
      const [id = ''] = ids
      for (const token of ['', id])
        expect(
          (
            await callerOf(house, `${url}/message?sessionId=${id}`, token).post({
              jsonrpc: '2.0',
              id: 1,
              method: 'ping',
            })
          ).status,
        ).toBe(401)
      expect(
        (
          await callerOf(house, `${url}/message?sessionId=${id}`, caller.token).post({
            jsonrpc: '2.0',
            method: 'notifications/initialized',
          })
        ).status,
      ).toBe(202)
      left.abort()
    },
  )
})

/**
 * Every place of the ids takes many values, and none comes twice: what a counter, a clock or a digest of the
 * caller with a counter at its end does not do.
 */
const expectRandom = (ids: readonly string[], length: number): void => {
  expect(new Set(ids).size).toBe(ids.length)
  for (const id of ids) expect(id).toMatch(new RegExp(`^[\\w-]{${length}}$`))
  for (let at = 0; at < length; at++) expect(new Set(ids.map((id) => id[at])).size).toBeGreaterThan(7)
}

describe('never mixed up: sessions of a command', () => {
  it('never hear events of one another, whichever event ids their clients come back with [H-M3, H-M4]', async () => {
    const world = openWorld()
    const [ana, bo] = [world.client('ana'), world.client('bo')]
    await ana.initialize()
    await bo.initialize()
    const stream = (who: typeof ana, headers: Record<string, string> = {}) =>
      who.fetch('GET', undefined, { ...who.session, ...headers })
    const anas = eventsOf(await stream(ana))
    expect((await bo.fetch('GET', undefined, ana.session)).status).toBe(404)
    await ana.tool('announce')
    const told = await anas.next()
    expect(told?.message.method).toBe('notifications/tools/list_changed')
    // A second of one's own: each message is on exactly one of them.
    const second = eventsOf(await stream(ana))
    await ana.tool('announce')
    expect((await second.next())?.message.method).toBe('notifications/tools/list_changed')
    for (const forged of [told?.id ?? '', '99-99', '1-0', '-1--1', 'x'.repeat(10_000), '9'.repeat(40)])
      expect((await stream(bo, { 'last-event-id': forged })).status).toBe(400)
    await anas.leave()
    await second.leave()
    await world.close()
  }, 60_000)

  it('never have an id that can be guessed [H-M6]', async () => {
    const world = openWorld({ bridge: { shared: true } })
    const ids: string[] = []
    for (let i = 0; i < 64; i++) {
      const client = world.client('ana')
      await client.initialize()
      ids.push(client.session['mcp-session-id'] ?? '')
    }
    expectRandom(ids, 32)
    await world.close()
  }, 60_000)
})
