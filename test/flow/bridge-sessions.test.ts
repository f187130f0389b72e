// A server on standard input and output, as clients of 2025 and before meet it: sessions on one HTTP
// endpoint.
import { describe, expect, it } from 'vitest'
import { timer } from '../../src/node/runtime.ts'
import { textOf } from '../runtimes/revisions.ts'
import { eventsOf, saidBy, until } from '../stdio/world.ts'
import { useWorlds } from '../stdio/worlds.ts'

const world = useWorlds()

describe('a client of 2025 or before', () => {
  it.each(['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'])(
    'of %s gets a session, answers under its own ids, and a 404 after DELETE [C2] [C19]',
    async (version) => {
      const ana = world().client('ana')
      const begun = await ana.initialize(version)
      expect(begun).toMatchObject({ id: 'init', result: { protocolVersion: version } })
      expect(ana.session['mcp-session-id']).toMatch(/^[\x21-\x7e]{32,}$/)
      expect(await ana.tool('echo', { a: 1 }, 'one')).toMatchObject({ id: 'one' })
      expect(await ana.tool('echo', { a: 1 }, 1)).toMatchObject({ id: 1 })
      expect((await ana.fetch('DELETE', undefined, ana.session)).status).toBe(204)
      expect((await ana.fetch('POST', { jsonrpc: '2.0', id: 1, method: 'ping' }, ana.session)).status).toBe(
        404,
      )
    },
  )

  it('gets the answer of each call under one id where it was posted, and is told when its session ends first [C2]', async () => {
    const ana = world().client('ana')
    await ana.initialize('2025-06-18')
    const hang = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'hang', arguments: {} } }
    const first = ana.fetch('POST', hang, ana.session)
    // claude.ai posts calls at once under one id.
    const echoes = await Promise.all(['a', 'b', 'c'].map((n) => ana.tool('echo', { n }, 1)))
    expect(echoes.map(({ id, result }) => [id, JSON.parse(textOf(result))])).toMatchObject([
      [1, { n: 'a' }],
      [1, { n: 'b' }],
      [1, { n: 'c' }],
    ])
    expect((await ana.fetch('DELETE', undefined, ana.session)).status).toBe(204)
    const lost = await first
    expect([lost.status, lost.headers.get('x-refusal')]).toEqual([404, 'session.unknown'])
  })

  it('hears progress under its own token on the stream of its call, before the answer [C5] [C17]', async () => {
    const ana = world().client('ana')
    await ana.initialize()
    const call = (token: unknown, id: number) =>
      ana.fetch(
        'POST',
        {
          jsonrpc: '2.0',
          id,
          method: 'tools/call',
          params: { name: 'progress', arguments: { steps: 3 }, _meta: { progressToken: token } },
        },
        ana.session,
      )
    const [one, two] = await Promise.all([call('mine', 1), call(7, 2)])
    for (const [response, token, id] of [
      [one, 'mine', 1],
      [two, 7, 2],
    ] as const) {
      const told = await eventsOf(response).rest()
      expect(told.slice(0, 3).map(({ message }) => message.params)).toEqual(
        [1, 2, 3].map((progress) => ({ progressToken: token, progress, total: 3 })),
      )
      expect(told.at(-1)?.message).toMatchObject({ id })
    }
  })

  it.each([
    ['elicit', 'elicitation/create', { action: 'accept', content: { name: 'Ana' } }],
    [
      'sample',
      'sampling/createMessage',
      { role: 'assistant', content: { type: 'text', text: 'Hi' }, model: 'm' },
    ],
    ['roots', 'roots/list', { roots: [{ uri: 'file:///home/ana' }] }],
  ])('answers what the server asks of it: %s [C5] [H-N9]', async (tool, method, result) => {
    const ana = world().client('ana')
    await ana.initialize()
    const response = await ana.fetch(
      'POST',
      {
        jsonrpc: '2.0',
        id: 9,
        method: 'tools/call',
        params: { name: tool, arguments: { question: 'Who?' } },
      },
      ana.session,
    )
    const events = eventsOf(response)
    const question = await events.next()
    expect(question?.message).toMatchObject({ method })
    expect(
      (await ana.fetch('POST', { jsonrpc: '2.0', id: question?.message.id, result }, ana.session)).status,
    ).toBe(202)
    const last = await events.next()
    expect(last?.message.id).toBe(9)
    expect(saidBy(last?.message)).toMatchObject({ answer: { result } })
    // Answered once is answered: a second answer goes nowhere.
    expect(
      (await ana.fetch('POST', { jsonrpc: '2.0', id: question?.message.id, result }, ana.session)).status,
    ).toBe(202)
  })

  it('has its numbers passed on digit by digit, in both directions, however a message is written [C14]', async () => {
    const bea = world().client('bea')
    await bea.initialize('2025-03-26')
    const numbers = '[12345678901234567890,1.0,-0,1E2]'
    const call = (id: string) =>
      `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"raw","arguments":{"n":${numbers}}}}`
    for (const body of [
      call('7'),
      call(' 7'),
      call('7').replaceAll(',', ',\n '),
      `[${call('7')}]`,
      call('7').replace('"arguments"', '"_meta":{"progressToken":1},"arguments"'),
    ]) {
      const answer = (await (await bea.fetch('POST', body, bea.session)).json()) as object
      const { line } = saidBy((Array.isArray(answer) ? answer[0] : answer) as Parameters<typeof saidBy>[0])
      expect(String(line)).toContain(`"n":${numbers}`)
      expect(String(line)).not.toMatch(/"id":\s*7/)
    }
    const told = await (
      await bea.fetch(
        'POST',
        { jsonrpc: '2.0', id: 'x', method: 'tools/call', params: { name: 'numbers' } },
        bea.session,
      )
    ).text()
    expect(told).toContain(`"structuredContent":${numbers}`)
  })

  it('cancels a call by its own id; its stream ends and the server is told [C5]', async () => {
    const ana = world().client('ana')
    await ana.initialize()
    const hanging = ana.fetch(
      'POST',
      { jsonrpc: '2.0', id: 'h', method: 'tools/call', params: { name: 'hang', arguments: {} } },
      ana.session,
    )
    const stream = eventsOf(await hanging)
    await ana.notify('notifications/cancelled', { requestId: 'nobody' })
    expect((await ana.notify('notifications/cancelled', { requestId: 'h', reason: 'enough' })).status).toBe(
      202,
    )
    expect(await stream.next()).toBeUndefined()
    expect(Object.values(saidBy(await ana.tool('cancelled')))).toHaveLength(1)
  })

  it('hears on its GET stream what belongs to no call, also what was said before it opened one [C1] [C5]', async () => {
    const ana = world().client('ana')
    await ana.initialize()
    await ana.tool('announce')
    const events = eventsOf(await ana.fetch('GET', undefined, ana.session))
    await ana.tool('announce')
    expect((await events.next())?.message.method).toBe('notifications/tools/list_changed')
    await events.leave()
  })

  it('takes up a stream where its connection was lost, and hears nothing twice and nothing of other streams [C2] [C3]', async () => {
    const ana = world().client('ana')
    await ana.initialize()
    const response = await ana.fetch(
      'POST',
      {
        jsonrpc: '2.0',
        id: 5,
        method: 'tools/call',
        params: { name: 'elicit', arguments: { question: 'Who?' } },
      },
      ana.session,
    )
    const before = eventsOf(response)
    const question = await before.next()
    await before.leave()
    await ana.tool('log', { text: 'elsewhere' })
    await ana.fetch(
      'POST',
      { jsonrpc: '2.0', id: question?.message.id, result: { action: 'decline' } },
      ana.session,
    )
    await until(async () => {
      const again = eventsOf(
        await ana.fetch('GET', undefined, { ...ana.session, 'last-event-id': question?.id ?? '' }),
      )
      const told = await again.rest()
      return told.length === 1 && told[0]?.message.id === 5
    }, 'the answer')
    expect((await ana.fetch('GET', undefined, { ...ana.session, 'last-event-id': '99-99' })).status).toBe(400)
  })

  it('is let go of during a long call and takes it up again, where that is configured [C2]', async () => {
    const ana = world({ bridge: { holdMs: 150 } }).client('ana')
    await ana.initialize()
    const response = await ana.fetch(
      'POST',
      { jsonrpc: '2.0', id: 5, method: 'tools/call', params: { name: 'wait', arguments: { ms: 800 } } },
      ana.session,
    )
    const text = await response.text()
    expect(text).toMatch(/^id: \S+\nretry: \d+\ndata: \n\n$/)
    const id = /^id: (\S+)/.exec(text)?.[1] ?? ''
    let answer: unknown
    for (let i = 0; i < 20 && answer === undefined; i++)
      answer = (
        await eventsOf(await ana.fetch('GET', undefined, { ...ana.session, 'last-event-id': id })).rest()
      )[0]?.message.id
    expect(answer).toBe(5)
  })

  it('is let go of in time, however short that is: calls are looked at twice as often', async () => {
    const waits = new Set<number>()
    const startTimer: typeof timer = (ms, run) => {
      waits.add(ms)
      return timer(ms, run)
    }
    const ana = world({ bridge: { holdMs: 40 }, startTimer }).client('ana')
    await ana.initialize()
    expect([...waits].filter((ms) => ms <= 100)).toEqual([20])
  })

  it('sends batches where its revision has them, and only there [C4]', async () => {
    const bea = world().client('bea')
    await bea.initialize('2025-03-26')
    const call = (id: number, name: string) => ({
      jsonrpc: '2.0',
      id,
      method: 'tools/call',
      params: { name, arguments: { id } },
    })
    const batch = [
      call(1, 'echo'),
      { jsonrpc: '2.0', method: 'notifications/x' },
      call(2, 'echo'),
      { jsonrpc: '2.0', id: 3, method: 'nope' },
    ]
    const answers = (await (await bea.fetch('POST', batch, bea.session)).json()) as { id: number }[]
    expect(answers.map(({ id }) => id).sort((a, b) => a - b)).toEqual([1, 2, 3])
    expect(
      (await bea.fetch('POST', [{ jsonrpc: '2.0', method: 'notifications/x' }], bea.session)).status,
    ).toBe(202)
    await bea.initialize('2025-06-18')
    expect((await bea.fetch('POST', batch, bea.session)).status).toBe(400)
    expect((await bea.fetch('POST', [], bea.session)).status).toBe(400)
  })

  it('is answered as HTTP asks when its request is not one [C19]', async () => {
    const ana = world().client('ana')
    await ana.initialize()
    const ping = { jsonrpc: '2.0', id: 1, method: 'ping' }
    expect((await ana.fetch('POST', ping)).status).toBe(400)
    expect((await ana.fetch('POST', ping, { 'mcp-session-id': 'x'.repeat(32) })).status).toBe(404)
    expect((await ana.fetch('POST', ping, { ...ana.session, accept: 'text/html' })).status).toBe(406)
    expect((await ana.fetch('POST', ping, { ...ana.session, 'content-type': 'text/plain' })).status).toBe(415)
    expect((await ana.fetch('GET', undefined, { ...ana.session, accept: 'application/json' })).status).toBe(
      406,
    )
    expect((await ana.fetch('GET', undefined, { 'mcp-protocol-version': '2026-07-28' })).status).toBe(405)
    expect(
      (await ana.fetch('POST', { jsonrpc: '2.0', id: 1, method: 'initialize', params: {} }, ana.session))
        .status,
    ).toBe(400)
    expect((await ana.fetch('POST', { id: 1, method: 'ping' }, ana.session)).status).toBe(400)
    expect((await ana.fetch('POST', '{', ana.session)).status).toBe(400)
  })

  it('is told the revisions of a server that speaks 2026-07-28 alone, and leaves no process behind [C18]', async () => {
    const { client, bridge } = world({ flags: ['--modern-only'] })
    expect(await client('ana').initialize()).toMatchObject({
      error: { code: -32022, data: { supported: ['2026-07-28'] } },
    })
    await until(() => bridge.processes().length === 0, 'the end of the process')
  })
})
