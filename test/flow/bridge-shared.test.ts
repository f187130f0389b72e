// One process for everybody, where the operator says so: sessions of many people on it, none of which hears
// anything of another.
import { describe, expect, it } from 'vitest'
import { eventsOf, saidBy, type StdioClient, until, type World, type WorldOptions } from '../stdio/world.ts'
import { useWorlds } from '../stdio/worlds.ts'

const world = useWorlds()
const shared = (options: WorldOptions = {}): World =>
  world({ ...options, bridge: { shared: true, ...options.bridge } })

const pidOf = async (client: StdioClient): Promise<unknown> => saidBy(await client.tool('echo'))['pid']

describe('a shared server', () => {
  it('is one process, begun once however many come at the same moment [C18] [H-N7]', async () => {
    const { client, bridge } = shared()
    const everybody = Array.from({ length: 12 }, (_, n) => client(n % 3 === 0 ? undefined : `person-${n}`))
    const begun = await Promise.all(everybody.map((each) => each.initialize()))
    expect(begun.every(({ result }) => JSON.stringify(result).includes('"name":"small"'))).toBe(true)
    expect(new Set(everybody.map(({ session }) => session['mcp-session-id'])).size).toBe(12)
    expect(new Set(await Promise.all(everybody.map(pidOf))).size).toBe(1)
    expect(bridge.processes()).toHaveLength(1)
  })

  it('answers each session under its own ids and tokens, however they meet [H-M5] [H-N7]', async () => {
    const { client } = shared()
    const [ana, bea] = [client('ana'), client('bea')]
    await ana.initialize()
    await bea.initialize()
    const answers = await Promise.all(
      Array.from({ length: 400 }, async (_, n) => {
        const [who, name] = n % 2 === 0 ? ([ana, 'ana'] as const) : ([bea, 'bea'] as const)
        return saidBy(await who.tool('echo', { name, n }, n >> 1))['name'] === name
      }),
    )
    expect(answers.every(Boolean)).toBe(true)
    const progress = (who: StdioClient, steps: number) =>
      who.fetch(
        'POST',
        {
          jsonrpc: '2.0',
          id: 1,
          method: 'tools/call',
          params: { name: 'progress', arguments: { steps }, _meta: { progressToken: 'same' } },
        },
        who.session,
      )
    const [two, three] = await Promise.all([progress(ana, 2), progress(bea, 3)])
    expect([(await eventsOf(two).rest()).length, (await eventsOf(three).rest()).length]).toEqual([3, 4])
  })

  it('tells changes of lists to everybody, of a resource to those who subscribed, and log messages to nobody [H-N7]', async () => {
    const { client } = shared()
    const [ana, bea] = [client('ana'), client('bea')]
    await ana.initialize()
    await bea.initialize()
    const [atAna, atBea] = [
      eventsOf(await ana.fetch('GET', undefined, ana.session)),
      eventsOf(await bea.fetch('GET', undefined, bea.session)),
    ]
    expect((await ana.request('logging/setLevel', { level: 'debug' })).result).toEqual({})
    await ana.tool('log', { text: 'secret of ana' })
    await bea.request('resources/subscribe', { uri: 'file:///b' })
    await ana.request('resources/subscribe', { uri: 'file:///b' })
    await ana.request('resources/unsubscribe', { uri: 'file:///b' })
    expect(
      Object.values(saidBy(await ana.tool('change', { uri: 'file:///b' }))['subscribed'] as string[]),
    ).toEqual(['subscribe file:///b'])
    await ana.tool('announce')
    expect((await atBea.next())?.message).toMatchObject({
      method: 'notifications/resources/updated',
      params: { uri: 'file:///b' },
    })
    for (const events of [atAna, atBea])
      expect((await events.next())?.message.method).toBe('notifications/tools/list_changed')
    await Promise.all([atAna.leave(), atBea.leave()])
  })

  it('can ask no client anything [H-N9]', async () => {
    const { client } = shared()
    const ana = client('ana')
    await ana.initialize('2025-11-25', { capabilities: { elicitation: {}, sampling: {}, roots: {} } })
    expect(saidBy(await ana.tool('elicit', { question: 'Who?' }))).toMatchObject({
      answer: { error: { code: -32601 } },
    })
  })

  it('cancels a call for the session that made it', async () => {
    const { client, bridge } = shared()
    const [ana, bea] = [client('ana'), client('bea')]
    await ana.initialize()
    await bea.initialize()
    const hanging = ana.fetch(
      'POST',
      { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'hang', arguments: {} } },
      ana.session,
    )
    await until(() => bridge.processes()[0]?.pending === 1, 'the call')
    await bea.notify('notifications/cancelled', { requestId: 1 })
    expect(bridge.processes()[0]?.pending).toBe(1)
    await ana.notify('notifications/cancelled', { requestId: 1 })
    expect(await (await hanging).text()).not.toContain('"result"')
    expect(Object.values(saidBy(await bea.tool('cancelled')))).toHaveLength(1)
  })

  it('may sleep, crash and begin again under its sessions; what was subscribed is subscribed again', async () => {
    const { client, advance, bridge } = shared()
    const ana = client('ana')
    await ana.initialize()
    await ana.request('resources/subscribe', { uri: 'file:///a' })
    const before = await pidOf(ana)
    const events = eventsOf(await ana.fetch('GET', undefined, ana.session))
    advance(601_000)
    await until(() => bridge.processes().length === 0, 'its sleep')
    expect(saidBy(await ana.tool('change', { uri: 'file:///a' }))).toEqual({
      subscribed: ['subscribe file:///a'],
    })
    expect((await events.next())?.message.method).toBe('notifications/resources/updated')
    expect((await ana.tool('exit')).error?.code).toBe(1502)
    expect(await pidOf(ana)).not.toBe(before)
    await events.leave()
  })

  it('is introduced in the revision that a legacy client asks for', async () => {
    const { client } = shared()
    expect((await client('ana').initialize('2025-03-26')).result?.['protocolVersion']).toBe('2025-03-26')
    expect((await client('bea').initialize('2025-11-25')).result?.['protocolVersion']).toBe('2025-11-25')
  })
})
