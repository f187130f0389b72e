// What the access rules leave of messages over the wire: of batches, of what servers ask of clients, of
// subscriptions.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Caller, ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { until } from '../runtimes/proxied.ts'
import { beginLegacy } from '../runtimes/revisions.ts'
import {
  type RuledUpstream,
  type Told,
  call,
  openRuledUpstream,
  rpc,
  told,
} from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, openInWorkerd, runtimes } from '../runtimes/runtimes.ts'
import { serverScript } from '../stdio/world.ts'

const access = { groups: ['staff'], permissions: ['write' as const] }

/** The messages of an answer: of one in JSON, or of a stream. */
const allTold = (text: string): readonly Told[] =>
  (text.startsWith('[')
    ? [text]
    : [...text.matchAll(/data: (\{.*|\[.*)/g)].map(([, data = '']) => data)
  ).flatMap((data) => JSON.parse(data) as Told | Told[])

describe.each(runtimes)('messages under access rules %s', (where, open) => {
  let plain: RuledUpstream
  let stream: RuledUpstream
  let gateway: RuntimeGateway
  const tokens = new Map<string, string>()
  const at = async (id: string): Promise<Caller> => {
    const token = tokens.get(id) ?? (await tokenOf(gateway, ana, `${gateway.origin}/${id}/mcp`))
    tokens.set(id, token)
    return callerOf(gateway, `${gateway.origin}/${id}/mcp`, token)
  }

  beforeAll(async () => {
    ;[plain, stream] = await Promise.all([openRuledUpstream(), openRuledUpstream(true)])
    gateway = await open({
      upstream: plain.url,
      config: {
        local_users: [ana],
        mcp_services: {
          ruled: { url: plain.url, access },
          streamed: { url: stream.url, access },
          ...(open !== openInWorkerd && {
            command: {
              command: process.execPath,
              args: [serverScript],
              sandbox: 'none' as const,
              access: { groups: ['staff'], tools: { echo: 'read', '*': 'admin' } },
            },
          }),
        },
      },
    })
  }, 60_000)
  afterAll(async () => {
    await gateway?.close()
    await Promise.all([plain?.close(), stream?.close()])
  })
  beforeEach(() => {
    plain.heard.length = 0
    stream.heard.length = 0
  })

  it('answer the denied messages of a batch, and pass the others on (access rule A12)', async () => {
    const ids = where === 'in workerd' ? ['ruled', 'streamed'] : ['ruled', 'streamed', 'command']
    for (const id of ids) {
      const caller = await at(id)
      const { session } = await beginLegacy(caller, '2025-03-26')
      await told(await caller.post(rpc('tools/list'), session))
      const upstream = id === 'streamed' ? stream : plain
      upstream.heard.length = 0
      const [good, bad] = id === 'command' ? ['echo', 'whoami'] : ['search', 'delete_all']
      const batch = [
        { ...call(good, { text: 'x', n: 1 }), id: 1 },
        { ...call(bad), id: 2 },
        { jsonrpc: '2.0', method: 'notifications/initialized' },
        { ...rpc('acme/export'), id: '3' },
        { jsonrpc: '2.0', method: 'notifications/acme' },
      ]
      const response = await caller.post(batch, session)
      const answers = allTold(await response.text()).toSorted((a, b) => Number(a.id) - Number(b.id))
      const seen = answers.map((one) => [one.id, one.error?.data?.['code'] ?? 'passed'])
      expect([id, response.status, seen]).toEqual([
        ...[id, 200],
        [
          [1, 'passed'],
          [2, id === 'command' ? expect.stringMatching(/^policy\./) : 'policy.permission'],
          ['3', 'policy.method'],
        ],
      ])
      if (id === 'command') continue
      const sent = JSON.parse(upstream.heard.at(-1)?.body ?? '') as { readonly method: string }[]
      expect(sent.map(({ method }) => method)).toEqual(['tools/call', 'notifications/initialized'])
    }
  })

  it('answer a batch of which only notifications may go on with its errors (access rule A12)', async () => {
    const caller = await at('ruled')
    const said = [
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      { ...rpc('acme/export'), id: 2 },
    ]
    const version = { 'mcp-protocol-version': '2025-03-26' }
    const response = await caller.post(said, version)
    const answers = (await response.json()) as Told[]
    expect([response.status, response.headers.get('content-type'), answers.map(({ id }) => id)]).toEqual([
      ...[200, 'application/json'],
      [2],
    ])
    expect(plain.heard.map(({ body }) => JSON.parse(body) as unknown)).toEqual([[said[0]]])
    const dropped = await caller.post([{ jsonrpc: '2.0', method: 'notifications/acme' }], version)
    expect([dropped.status, await dropped.text(), plain.heard.length]).toEqual([202, '', 1])
    const twice = await caller.post(
      [
        { ...call('search'), id: 1 },
        { ...rpc('acme/x'), id: 1 },
      ],
      version,
    )
    expect([twice.status, (await told(twice)).error?.code, plain.heard.length]).toEqual([400, -32_600, 1])
  })

  it('write down each message of a batch that was denied', async () => {
    const before = gateway.log.length
    const caller = await at('ruled')
    await (
      await caller.post(
        [
          { ...call('search'), id: 1 },
          { ...call('delete_all'), id: 2 },
        ],
        {
          'mcp-protocol-version': '2025-03-26',
        },
      )
    ).text()
    await until(
      () => gateway.log.slice(before).filter(({ fields }) => fields['event'] === 'call').length === 2,
      'both calls are recorded',
    )
    const calls = gateway.log.slice(before).filter(({ fields }) => fields['event'] === 'call')
    expect(calls.map(({ fields }) => [fields['name'], fields['result'], fields['refusal']])).toEqual([
      ['delete_all', 'refused', 'policy.permission'],
      ['search', 'answered', undefined],
    ])
  })
})
