// A server on standard input and output, as clients of 2026-07-28 meet it, and the life of its processes.
import { describe, expect, it } from 'vitest'
import { eventsOf, isAlive, lastOf, saidBy, until } from '../stdio/world.ts'
import { useWorlds } from '../stdio/worlds.ts'

const world = useWorlds()

describe('a client of 2026-07-28', () => {
  it('needs no session, gets its own ids and tokens back, and 404 for unknown methods [C7] [C19]', async () => {
    const ana = world({ flags: ['--modern'] }).client('ana')
    const discovered = await ana.modern('server/discover')
    expect([discovered.status, discovered.headers.get('mcp-session-id')]).toEqual([200, null])
    expect(await lastOf(discovered)).toMatchObject({ id: 1, result: { supportedVersions: ['2026-07-28'] } })
    expect((await ana.modern('nope')).status).toBe(404)
    const stream = await ana.modern(
      'tools/call',
      { name: 'progress', arguments: { steps: 2 }, _meta: { progressToken: 'mine' } },
      { id: 'p' },
    )
    const told = await eventsOf(stream).rest()
    expect(told.map(({ message }) => message.params?.['progressToken'] ?? message.id)).toEqual([
      'mine',
      'mine',
      'p',
    ])
  })

  it('shares one process among the clients of one person, and with nobody else [C18] [H-N7]', async () => {
    const { client } = world({ flags: ['--modern'] })
    const pid = async (who: string) => saidBy(await client(who).modernTool('echo'))['pid']
    const [ana, again, bea] = [await pid('ana'), await pid('ana'), await pid('bea')]
    expect(ana).toBe(again)
    expect(bea).not.toBe(ana)
  })

  it('cancels a call by closing its stream [C10]', async () => {
    const { client, bridge } = world({ flags: ['--modern'] })
    const ana = client('ana')
    await ana.modernTool('echo')
    const leaving = new AbortController()
    const hanging = ana.modern('tools/call', { name: 'hang', arguments: {} }, { signal: leaving.signal })
    const subscription = eventsOf(
      await ana.modern('subscriptions/listen', { notifications: { toolsListChanged: true } }),
    )
    await subscription.next()
    expect(bridge.processes()[0]?.pending).toBe(2)
    leaving.abort()
    await subscription.leave()
    await expect(hanging).rejects.toThrow('aborted')
    // Both under the ids that the server knows them by.
    await until(
      async () => Object.values(saidBy(await ana.modernTool('cancelled'))).length === 2,
      'both cancellations',
    )
    expect(bridge.processes()[0]?.pending).toBe(0)
  })

  it('subscribes: the acknowledgement first, then its changes, all under its own id [C11]', async () => {
    const { client, advance } = world({ flags: ['--modern'], bridge: { sleepMs: 1000 } })
    const ana = client('ana')
    const [one, two] = [
      eventsOf(
        await ana.modern('subscriptions/listen', { notifications: { toolsListChanged: true } }, { id: 'a' }),
      ),
      eventsOf(
        await ana.modern('subscriptions/listen', { notifications: { toolsListChanged: true } }, { id: 'a' }),
      ),
    ]
    for (const events of [one, two])
      expect((await events.next())?.message).toMatchObject({
        method: 'notifications/subscriptions/acknowledged',
        params: { _meta: { 'io.modelcontextprotocol/subscriptionId': 'a' } },
      })
    await ana.modernTool('announce')
    for (const events of [one, two])
      expect((await events.next())?.message).toMatchObject({
        method: 'notifications/tools/list_changed',
        params: { _meta: { 'io.modelcontextprotocol/subscriptionId': 'a' } },
      })
    // Subscribed is in use: the process stays awake.
    advance(5000)
    await ana.modernTool('announce')
    expect((await one.next())?.message.method).toBe('notifications/tools/list_changed')
  })

  it('reads the log of its own call and never that of another [C19]', async () => {
    const ana = world({ flags: ['--modern'] }).client('ana')
    await ana.modernTool('echo')
    const level = { 'io.modelcontextprotocol/logLevel': 'info' }
    const [first, second] = await Promise.all([
      ana.modern('tools/call', { name: 'log', arguments: { text: 'first' }, _meta: level }),
      ana.modern('tools/call', { name: 'echo', arguments: { text: 'second' }, _meta: level }),
    ])
    expect((await eventsOf(first).rest()).map(({ message }) => message.params?.['data'] ?? 'answer')).toEqual(
      ['first', 'answer'],
    )
    expect(second.headers.get('content-type')).toBe('application/json')
  })

  it('is asked for input by a result and answers in a new call; request and state pass unread [C12]', async () => {
    const ana = world({ flags: ['--modern'] }).client('ana')
    const asked = (await ana.modernTool('input')).result as {
      resultType: string
      inputRequests: object
      requestState: string
    }
    expect([asked.resultType, Object.keys(asked.inputRequests)]).toEqual(['input_required', ['who']])
    const inputResponses = { who: { action: 'accept', content: { name: 'Ana' } } }
    const retried = await lastOf(
      await ana.modern('tools/call', {
        name: 'input',
        arguments: {},
        inputResponses,
        requestState: asked.requestState,
      }),
    )
    expect(saidBy(retried)).toEqual([inputResponses, ' opaque "é\u0000 '])
  })

  it('mirrors arguments into Mcp-Param headers as the tool says, or is refused [C9] [C19]', async () => {
    const ana = world({ flags: ['--modern'] }).client('ana')
    const call = async (args: object, headers: Record<string, string>) => {
      const response = await ana.modern('tools/call', { name: 'mirrored', arguments: args }, { headers })
      return [response.status, (await lastOf(response)).error?.code]
    }
    expect(await call({ region: 'eu' }, { 'Mcp-Param-Region': 'eu' })).toEqual([200, undefined])
    expect(
      await call(
        { region: 'Grüße' },
        { 'mcp-param-region': `=?base64?${Buffer.from('Grüße').toString('base64')}?=` },
      ),
    ).toEqual([200, undefined])
    expect(await call({ count: 42 }, { 'mcp-param-count': '42.0' })).toEqual([200, undefined])
    expect(await call({ region: null }, {})).toEqual([200, undefined])
    expect(await call({ region: 'eu' }, {})).toEqual([400, -32020])
    expect(await call({ region: 'eu' }, { 'mcp-param-region': 'us' })).toEqual([400, -32020])
    expect(await call({ region: 'eu' }, { 'mcp-param-region': '=?base64?!!?=' })).toEqual([400, -32020])
    expect(await call({}, { 'mcp-param-region': 'eu' })).toEqual([400, -32020])
    expect(await call({}, { 'mcp-param-unknown': 'x' })).toEqual([200, undefined])
  })

  it.each([['--touchy'], ['--ignore'], []])(
    'is told to begin with initialize by a legacy server, which the probe does not harm (%s) [C18]',
    async (...flags) => {
      const ana = world({ flags }).client('ana')
      const answer = await ana.modern('tools/list')
      expect([answer.status, answer.headers.get('x-refusal')]).toEqual([400, 'mcp.legacy'])
      expect(await ana.initialize()).toMatchObject({ result: { protocolVersion: '2025-11-25' } })
      expect(saidBy(await ana.tool('echo', { still: 'here' }))).toMatchObject({ still: 'here' })
    },
  )

  it('finds the same server in both kinds of revision, each with a process of its own kind [C18]', async () => {
    const ana = world({ flags: ['--modern'] }).client('ana')
    await ana.initialize()
    const [legacy, modern] = [
      saidBy(await ana.tool('echo'))['pid'],
      saidBy(await ana.modernTool('echo'))['pid'],
    ]
    expect(legacy).not.toBe(modern)
  })
})

describe('a process', () => {
  it('ends with its session, also when the client only stays away [H-N8]', async () => {
    const { client, bridge, advance } = world()
    const [ana, bea] = [client('ana'), client('bea')]
    await ana.initialize()
    await bea.initialize()
    const pids = bridge.processes().map(({ pid }) => pid as number)
    expect(pids.every(isAlive)).toBe(true)
    const listening = eventsOf(await bea.fetch('GET', undefined, bea.session))
    advance(301_000)
    await until(() => bridge.processes().length === 1, 'the end of the unused session')
    expect((await ana.fetch('POST', { jsonrpc: '2.0', id: 1, method: 'ping' }, ana.session)).status).toBe(404)
    // A stream keeps the session, not the process for ever.
    advance(601_000)
    await until(() => bridge.processes().length === 0, 'the sleep of the other')
    expect(await listening.next()).toBeUndefined()
    await until(() => !pids.some(isAlive), 'the processes')
  })

  it('goes to sleep unused, and the next call wakes another [H-N8]', async () => {
    const { client, bridge, advance } = world({ flags: ['--modern'] })
    const ana = client('ana')
    const before = saidBy(await ana.modernTool('echo'))['pid']
    advance(601_000)
    await until(() => bridge.processes().length === 0, 'its sleep')
    expect(saidBy(await ana.modernTool('echo'))['pid']).not.toBe(before)
  })

  it('is begun again after it ended; what was going is lost and said to be [C17]', async () => {
    const { client, log } = world({ flags: ['--modern'] })
    const ana = client('ana')
    const before = saidBy(await ana.modernTool('echo'))['pid']
    const lost = await ana.modern('tools/call', { name: 'exit', arguments: {} })
    expect([lost.status, (await lastOf(lost)).error?.message]).toEqual([
      502,
      'The MCP server exited with code 3.',
    ])
    expect(saidBy(await ana.modernTool('echo'))['pid']).not.toBe(before)
    expect(
      log.find(({ event, level }) => event === 'process.ended' && level === 'warn')?.fields,
    ).toMatchObject({ service: 'small', pid: before })
  })

  it('waits for a place where there are too many, and takes that of one long unused [H-N8]', async () => {
    const { client, bridge, advance } = world({ bridge: { maxProcessesPerPerson: 2, startMs: 3000 } })
    const clients = [client('ana'), client('ana'), client('ana')] as const
    await clients[0].initialize()
    await clients[1].initialize()
    expect((await clients[2].initialize()).error?.code).toBe(1503)
    advance(11_000)
    expect((await clients[2].initialize()).error).toBeUndefined()
    expect(bridge.processes()).toHaveLength(2)
    expect(
      (await clients[0].fetch('POST', { jsonrpc: '2.0', id: 1, method: 'ping' }, clients[0].session)).status,
    ).toBe(404)
  }, 60_000)
})
