// A tool that a caller may not use is not called, however its name is written and wherever the call stands.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { asked, disguises, disguisesOf, harmless, hidden, named } from '../runtimes/disguises.ts'
import { type LegacyUpstream, openLegacyUpstream } from '../runtimes/legacy-upstream.ts'
import { until } from '../runtimes/proxied.ts'
import { beginLegacy } from '../runtimes/revisions.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, openInWorkerd, runtimes } from '../runtimes/runtimes.ts'
import { type Spoken, dialSocket } from '../runtimes/socket-client.ts'
import { type SocketUpstream, openSocketUpstream } from '../runtimes/socket-upstream.ts'
import { serverScript } from '../stdio/world.ts'

interface Asked {
  readonly method: string
  readonly params?: { readonly name?: unknown }
}
const harmlessMethods = new Set(['tools/list', 'ping', 'notifications/initialized'])

/** What a server was told beside calls that are allowed. */
const leaks = (texts: readonly string[], allowed: string): readonly unknown[] =>
  texts
    .flatMap((text) => [JSON.parse(text) as Asked].flat())
    .filter(
      ({ method, params }) =>
        !['initialize', 'server/discover', ...harmlessMethods].includes(method) &&
        !(method === 'tools/call' && params?.name === allowed),
    )

describe.each(runtimes)('%s', (where, open) => {
  let upstream: RuledUpstream
  let socket: SocketUpstream
  let legacy: LegacyUpstream
  let gateway: RuntimeGateway
  const callers: Caller[] = []

  beforeAll(async () => {
    ;[upstream, socket, legacy] = await Promise.all([
      openRuledUpstream(),
      openSocketUpstream(),
      openLegacyUpstream(),
    ])
    const denying = (tool: string) => ({
      everyone: true as const,
      permissions: ['admin' as const],
      deny: [{ tools: [tool] }],
    })
    const rules = [
      { everyone: true as const, permissions: ['write' as const] },
      {
        everyone: true as const,
        permissions: ['admin' as const],
        deny: [{ tools: ['delete_*'] }],
      },
      { everyone: true as const, permissions: ['admin' as const], tools: { 'delete_*': 'deny' as const } },
      {
        everyone: true as const,
        deny: [
          { tools: ['query'], when: { sql: { glob: '*DROP*' } } },
          { tools: ['query'], when: { 'more.table': 'a' } },
        ],
      },
    ]
    gateway = await open({
      upstream: upstream.url,
      config: {
        local_users: [ana],
        mcp_services: {
          ...Object.fromEntries(rules.map((access, i) => [`ruled${i}`, { url: upstream.url, access }])),
          socketed: { url: socket.url, access: denying('hidden_tool') },
          streamed: { url: legacy.url, transport: 'sse' as const, access: denying('never') },
          ...(open !== openInWorkerd && {
            command: {
              command: process.execPath,
              args: [serverScript],
              sandbox: 'none' as const,
              access: denying('environment'),
            },
          }),
        },
      },
    })
    for (const i of rules.keys()) {
      const url = `${gateway.origin}/ruled${i}/mcp`
      callers.push(callerOf(gateway, url, await tokenOf(gateway, ana, url)))
    }
  }, 60_000)
  afterAll(async () => {
    await gateway?.close()
    await Promise.all([upstream?.close(), socket?.close(), legacy?.close()])
  })

  it('never reaches the server in 1,000 disguises', async () => {
    expect(disguises.length * 3).toBeGreaterThan(1_000)
    upstream.heard.length = 0
    for (const caller of callers.slice(0, 3))
      for (const { what, body, headers = {} } of disguises) {
        await (await caller.post(body, headers)).text()
        const heard = upstream.heard.flatMap(({ body: text }) => [JSON.parse(text) as Asked].flat())
        const other = heard.filter(
          ({ method, params }) =>
            !harmlessMethods.has(method) && !(method === 'tools/call' && params?.name === 'search'),
        )
        expect([what, other]).toEqual([what, []])
        upstream.heard.length = 0
      }
  }, 120_000)

  it('never reaches the server in disguises that nobody thought of', async () => {
    upstream.heard.length = 0
    const [caller] = callers
    for (const { what, body } of disguisesOf(7, 250, hidden, 'search')) {
      await (await caller?.post(body))?.text()
      expect([
        what,
        leaks(
          upstream.heard.map((one) => one.body),
          'search',
        ),
      ]).toEqual([what, []])
      upstream.heard.length = 0
    }
  }, 60_000)

  it('never reaches a server on a WebSocket from a client on one', async () => {
    // In process there are no sockets to upgrade.
    if (where === 'in process') return
    const url = `${gateway.origin}/socketed/mcp`
    const headers = { authorization: `Bearer ${await tokenOf(gateway, ana, url)}` }
    const dial = async (): Promise<Spoken> => {
      const client = await dialSocket(
        url.replace(gateway.origin, gateway.listens ?? gateway.origin).replace('http', 'ws'),
        { headers },
      )
      const clientInfo = { name: 'a', version: '1' }
      const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }
      client.socket.send(JSON.stringify({ jsonrpc: '2.0', id: 'begin', method: 'initialize', params }))
      await until(() => client.said.length > 0, 'the session')
      return client
    }
    let client = await dial()
    for (const [i, { what, body }] of disguisesOf(11, 100, 'hidden_tool', 'open_tool').entries()) {
      if (client.socket.readyState !== client.socket.OPEN) client = await dial()
      client.socket.send(body)
      client.socket.send(JSON.stringify({ jsonrpc: '2.0', id: `after ${i}`, method: 'ping' }))
      await until(
        () =>
          client.socket.readyState !== client.socket.OPEN ||
          client.said.some(({ id }) => id === `after ${i}`),
        what,
      )
      expect([what, leaks(socket.said, 'open_tool')]).toEqual([what, []])
      socket.said.length = 0
    }
    client.socket.close()
  }, 60_000)

  it('never reaches a server of HTTP+SSE from a client of it', async () => {
    const url = `${gateway.origin}/streamed/sse`
    const token = await tokenOf(gateway, ana, url)
    const stream = await callerOf(gateway, url, token).get()
    const reader = (stream.body as ReadableStream<Uint8Array>)
      .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
      .getReader()
    let heard = ''
    const hear = async (what: string): Promise<void> => {
      while (!heard.includes(what)) heard += (await reader.read()).value ?? ''
    }
    await hear('\n\n')
    const endpoint = callerOf(gateway, `${gateway.origin}${/data: (\S+)/.exec(heard)?.[1] ?? ''}`, token)
    const clientInfo = { name: 'a', version: '1' }
    const params = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo }
    await endpoint.post({ jsonrpc: '2.0', id: 'begin', method: 'initialize', params })
    await hear('"begin"')
    await endpoint.post({ jsonrpc: '2.0', method: 'notifications/initialized' })
    await endpoint.post({ jsonrpc: '2.0', id: 'list', method: 'tools/list' })
    await hear('"list"')
    for (const { body } of disguisesOf(13, 100, 'never', 'whoami')) await (await endpoint.post(body)).text()
    await endpoint.post(asked(named('"whoami"'), '"the end"'))
    await hear('"the end"')
    await reader.cancel()
    expect([leaks(legacy.said, 'whoami'), legacy.waiting]).toEqual([[], []])
    expect(legacy.said.at(-1)).toContain('"whoami"')
  }, 60_000)

  it('never reaches a command', async () => {
    if (where === 'in workerd') return
    const url = `${gateway.origin}/command/mcp`
    const caller = callerOf(gateway, url, await tokenOf(gateway, ana, url))
    const { session } = await beginLegacy(caller)
    for (const { what, body } of disguisesOf(17, 150, 'environment', 'where')) {
      const text = await (await caller.post(body, session)).text()
      expect([what, text.includes('"PATH')]).toEqual([what, false])
    }
    const allowed = await caller.post(asked(named('"where"')), session)
    expect(await allowed.text()).toContain('cwd')
  }, 60_000)

  it.each([
    ['an argument in capitals beside it', '{"sql":"select 1","SQL":"DROP x"}'],
    ['an argument with a long s beside it', '{"sql":"select 1","\u017fql":"DROP x"}'],
    ['an argument twice', '{"sql":"select 1","sql":"DROP x"}'],
    ['an argument of an argument twice', '{"sql":"select 1","more":{"table":"b","table":"a"}}'],
    ['no argument', '{}'],
    ['another type', '{"sql":["DROP x"],"more":{"table":"b"}}'],
    ['an escape', '{"sql":"\u0044ROP x","more":{"table":"b"}}'],
  ])('never passes a rule about arguments with %s', async (_what, args) => {
    upstream.heard.length = 0
    const caller = callers[3] as Caller
    await (await caller.post(asked(`{"name":"query","arguments":${args}}`))).text()
    expect(upstream.called()).toEqual([])
    const open = '{"sql":"select 1","more":{"table":"b"}}'
    await (await caller.post(asked(`{"name":"query","arguments":${open}}`))).text()
    expect(upstream.called()).toEqual(['query'])
  })

  it('lets what the caller may use through all the same', async () => {
    upstream.heard.length = 0
    const [caller] = callers
    await (await caller?.post(harmless))?.text()
    expect(upstream.called()).toEqual(['search'])
  })
})
