// Calls of a command that take long: by default they may, and whoever stands between client and gateway sees
// a sign of life.
import { describe, expect, it } from 'vitest'
import { configOf } from '../unit/config-world.ts'
import { until } from '../stdio/world.ts'
import { useWorlds } from '../stdio/worlds.ts'

const world = useWorlds()

describe('a long call', () => {
  it('may take five minutes by default, and a start 45 seconds', async () => {
    const { mcp_services: services } = await configOf('mcp_services:\n  a: { command: x, sandbox: none }\n')
    expect([services['a']?.timeout, services['a']?.start_timeout]).toEqual([300_000, 45_000])
  })

  it.each(['2025-03-26', '2025-06-18', '2025-11-25'])(
    'of a client of %s becomes an event stream with comments',
    async (version) => {
      const { client, advance, bridge } = world({ bridge: { timeoutMs: 300_000 } })
      const ana = client('ana')
      await ana.initialize(version)
      const going = ana.fetch(
        'POST',
        { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'wait', arguments: { ms: 1500 } } },
        ana.session,
      )
      await until(() => bridge.processes()[0]?.pending === 1, 'the call')
      advance(20_000)
      const answer = await going
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
      advance(15_000)
      expect(await answer.text()).toMatch(
        /^(?:id: \S+\nretry: 500\ndata: \n\n)?(?:: keep-alive\n\n)+id: \S+\nevent: message\ndata: \{[^\n]*waited[^\n]*\}\n\n$/,
      )
    },
  )

  it('of a client of 2026-07-28 does, too, and is answered as JSON where it is quick', async () => {
    const { client, advance, bridge } = world({ flags: ['--modern'], bridge: { timeoutMs: 300_000 } })
    const ana = client('ana')
    await ana.modernTool('echo')
    const going = ana.modern('tools/call', { name: 'wait', arguments: { ms: 1500 } })
    await until(() => bridge.processes()[0]?.pending === 1, 'the call')
    for (let round = 0; round < 3; round++) advance(15_000)
    const answer = await going
    advance(15_000)
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
    expect(await answer.text()).toMatch(/^(?:: keep-alive\n\n)+event: message\ndata: \{.*waited.*\}\n\n$/)
    expect(
      (await ana.modern('tools/call', { name: 'echo', arguments: {} })).headers.get('content-type'),
    ).toBe('application/json')
  })
})
