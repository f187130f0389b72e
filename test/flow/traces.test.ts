// Traces and metrics of calls as an OTLP receiver hears them, and what servers are told of the trace they work for.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type OtlpReceiver, openOtlpReceiver, plainAttributes as plain } from '../runtimes/otlp-receiver.ts'
import { ana, type Caller, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { type RuntimeGateway, openOnSocket } from '../runtimes/runtimes.ts'
import { type Upstream, echo, openUpstream } from '../runtimes/upstream.ts'
import { serverScript } from '../stdio/world.ts'

const remote = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' }
const traceparent = `00-${remote.traceId}-${remote.spanId}-01`
const secrets = ['canary-argument', 'canary-session', 'canary-client', 'canary-header', 'file:///canary']

const call = (params: object, id: unknown = 7) => ({ jsonrpc: '2.0', id, method: 'tools/call', params })
const named = (name: string, meta?: object) => ({
  name,
  arguments: { text: 'canary-argument' },
  ...(meta && { _meta: meta }),
})

/** What the server was told, in the fields and in the message. */
const toldIn = ({ heard }: Upstream) => {
  const { headers, body } = heard.at(-1)!
  const { params } = JSON.parse(body) as {
    readonly params?: { readonly _meta?: Readonly<Record<string, string>> }
  }
  return { fields: headers, meta: params?._meta }
}

describe('traces', () => {
  let receiver: OtlpReceiver
  let upstream: Upstream
  let gateway: RuntimeGateway
  let caller: Caller
  let stdio: Caller
  let gone: Caller

  const open = async (telemetry: object = {}) =>
    openOnSocket({
      upstream: upstream.url,
      config: {
        local_users: [ana, yamada],
        trusted_proxies: ['127.0.0.1', '::1'],
        telemetry: {
          endpoint: receiver.url,
          headers: { 'x-key': 'canary-header' },
          metric_interval: '1h',
          ...telemetry,
        },
        mcp_services: {
          command: { command: process.execPath, args: [serverScript], sandbox: 'none' },
          gone: { url: 'http://127.0.0.1:9/mcp' },
        },
      },
    })
  /** As a proxy in front hands it on. */
  const forwarded = { 'x-forwarded-for': '192.0.2.7' }

  beforeAll(async () => {
    receiver = await openOtlpReceiver()
    upstream = await openUpstream((request, response, body) =>
      body.includes('"fails"')
        ? response
            .setHeader('content-type', 'application/json')
            .end('{"jsonrpc":"2.0","id":8,"result":{"content":[],"isError":true}}')
        : echo(request, response, body),
    )
    gateway = await open()
    const at = (id: string) => `${gateway.origin}/${id}/mcp`
    const of = async (id: string) => callerOf(gateway, at(id), await tokenOf(gateway, ana, at(id)))
    ;[caller, stdio, gone] = [await of('echo'), await of('command'), await of('gone')]
  }, 60_000)
  afterAll(async () => {
    await upstream.close()
    receiver.close()
  })
  beforeEach(() => void upstream.heard.splice(0))

  it('a caller behind a trusted proxy has its trace continued, in the fields and in the message', async () => {
    await caller.post(call(named('whoami')), {
      ...forwarded,
      traceparent,
      tracestate: 'congo=t61rcWkgMzE',
      baggage: 'user=ana',
    })
    const { fields, meta } = toldIn(upstream)
    const [, traceId, spanId, flags] = String(fields['traceparent']).split('-')
    expect([traceId, flags, spanId === remote.spanId]).toEqual([remote.traceId, '01', false])
    expect(meta).toEqual({ traceparent: fields['traceparent'], tracestate: 'congo=t61rcWkgMzE' })
    expect([fields['tracestate'], fields['baggage']]).toEqual(['congo=t61rcWkgMzE', undefined])
  })

  it('a trace in the message is continued, and the rest of the message stays as it was', async () => {
    const sent = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{"n":12345678901234567890},"_meta":{"traceparent":"${traceparent}","baggage":"a=b","kept":1.0}}}`
    await caller.post(sent, forwarded)
    const { fields, meta } = toldIn(upstream)
    expect(meta).toEqual({ traceparent: fields['traceparent'], kept: 1 })
    expect(fields['traceparent']).toMatch(new RegExp(`^00-${remote.traceId}-`))
    expect(upstream.heard.at(-1)?.body).toContain('"arguments":{"n":12345678901234567890}')
    expect(upstream.heard.at(-1)?.body).toContain('"kept":1.0')
    // The fields win.
    const other = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00`
    await caller.post(sent, { ...forwarded, traceparent: other })
    expect(toldIn(upstream).fields['traceparent']).toMatch(/^00-a{32}-(?!b{16})[\da-f]{16}-00$/)
  })

  it('never takes a trace from a caller that no trusted proxy brought, nor a malformed one', async () => {
    const odd = [
      traceparent.toUpperCase(),
      `ff-${remote.traceId}-${remote.spanId}-01`,
      `00-${'0'.repeat(32)}-${remote.spanId}-01`,
      `00-${remote.traceId}-${'0'.repeat(16)}-01`,
      `${traceparent}-more`,
      `${traceparent}, ${traceparent}`,
      `01-${remote.traceId}-${remote.spanId}-01-${'x'.repeat(20_000)}`.slice(0, 6000),
      '00-1-2-01',
      '',
    ]
    for (const value of odd) {
      await caller.post(call(named('whoami', { traceparent: value })), { ...forwarded, traceparent: value })
      const { fields, meta } = toldIn(upstream)
      expect(fields['traceparent']).toMatch(/^00-[\da-f]{32}-[\da-f]{16}-01$/)
      expect([value, String(fields['traceparent']).includes(remote.traceId)]).toEqual([value, false])
      expect(meta).toEqual({ traceparent: fields['traceparent'] })
    }
    await caller.post(call(named('whoami', { traceparent })), { traceparent, tracestate: 'a=b' })
    const { fields, meta } = toldIn(upstream)
    expect(fields['traceparent']).not.toContain(remote.traceId)
    expect([fields['tracestate'], meta]).toEqual([undefined, { traceparent: fields['traceparent'] }])
  })

  it('leaves a message alone whose params or _meta are no objects', async () => {
    for (const params of [[1], { name: 'whoami', _meta: 'x' }]) {
      await caller.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params })
      expect((JSON.parse(upstream.heard.at(-1)!.body) as { params: unknown }).params).toEqual(params)
    }
    await caller.post({ jsonrpc: '2.0', method: 'notifications/initialized' })
    expect(upstream.heard.at(-1)?.body).toBe('{"jsonrpc":"2.0","method":"notifications/initialized"}')
    await caller.post({ jsonrpc: '2.0', id: 2, method: 'ping' })
    expect(toldIn(upstream).meta).toEqual({ traceparent: toldIn(upstream).fields['traceparent'] })
  })

  it('a stdio server is told in the message', async () => {
    const begun = await stdio.post({
      ...{ jsonrpc: '2.0', id: 1, method: 'initialize' },
      params: {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'canary-client', version: '1' },
      },
    })
    const session = {
      'mcp-session-id': begun.headers.get('mcp-session-id') ?? '',
      'mcp-protocol-version': '2025-11-25',
    }
    await stdio.post({ jsonrpc: '2.0', method: 'notifications/initialized' }, session)
    const answer = await (
      await stdio.post(call({ name: 'raw', arguments: {} }), { ...session, ...forwarded, traceparent })
    ).text()
    const { result } = JSON.parse(answer) as {
      readonly result: { readonly content: readonly { text: string }[] }
    }
    const { line } = JSON.parse(result.content[0]?.text ?? '') as { readonly line: string }
    const heard = /^\{"jsonrpc":"2.0","id":\d+,"method":"tools\/call","params":(.*)\}$/.exec(line)?.[1] ?? ''
    expect(heard.replace(/-[\da-f]{16}-/, '-SPAN-')).toBe(
      `{"_meta":{"traceparent":"00-${remote.traceId}-SPAN-01"},"name":"raw","arguments":{}}`,
    )
  })

  it('spans and metrics say what the conventions of MCP have, and nothing of who called or what was said', async () => {
    await caller.post(
      {
        jsonrpc: '2.0',
        id: 'canary-client secret',
        method: 'resources/read',
        params: { uri: 'file:///canary' },
      },
      { 'user-agent': 'canary-client' },
    )
    await caller.post(call(named('whoami'), 'request-7'), {
      ...forwarded,
      traceparent,
      'mcp-protocol-version': '2025-11-25',
    })
    for (let i = 0; i < 30; i++) await caller.post({ jsonrpc: '2.0', id: i, method: `made-up/${i}` })
    expect((await gone.post(call(named('x'), 9))).status).toBe(502)
    await caller.post(call(named('fails'), 8))
    await gateway.close()
    // The last of them; a machine that is busy may take longer for it than the gateway waits at its end.
    const arrived = () => [
      receiver
        .spans()
        .some(({ kind, attributes }) => kind === 2 && plain(attributes)['error.type'] === 'tool_error'),
      receiver.durations('mcp.client.operation.duration').length > 0,
    ]
    await expect.poll(arrived, { timeout: 20_000 }).toEqual([true, true])

    expect(receiver.received[0]?.headers).toMatchObject({
      'content-type': 'application/json',
      'x-key': 'canary-header',
    })
    expect(receiver.resources()[0]).toEqual({ 'service.name': 'postern', 'service.version': '0.0.0-test' })
    const spans = receiver.spans()
    const server = spans.find(
      ({ kind, attributes }) => kind === 2 && plain(attributes)['jsonrpc.request.id'] === 'request-7',
    )!
    const client = spans.find(({ parentSpanId }) => parentSpanId === server.spanId)!
    const common = {
      'mcp.method.name': 'tools/call',
      'mcp.protocol.version': '2025-11-25',
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'whoami',
      'network.transport': 'tcp',
      'postern.service': 'echo',
    }
    expect([server.name, server.traceId, server.parentSpanId, server.kind]).toEqual([
      'tools/call whoami',
      remote.traceId,
      remote.spanId,
      2,
    ])
    expect(plain(server.attributes)).toEqual({
      ...common,
      'jsonrpc.request.id': 'request-7',
      'postern.request_id': expect.stringMatching(/^[\w-]{16}$/) as string,
    })
    expect([client.name, client.traceId, client.kind]).toEqual(['tools/call whoami', remote.traceId, 3])
    expect(plain(client.attributes)).toEqual({
      ...common,
      'server.address': '127.0.0.1',
      'server.port': Number(new URL(upstream.url).port),
      'postern.request_id': plain(server.attributes)['postern.request_id'],
    })
    expect(BigInt(server.endTimeUnixNano) >= BigInt(server.startTimeUnixNano)).toBe(true)

    const failed = spans
      .filter(({ status }) => status.code === 2)
      .map(({ attributes }) => plain(attributes)['error.type'])
    expect(new Set(failed)).toEqual(new Set(['upstream.unreachable', 'tool_error']))
    const piped = spans.filter(({ attributes }) => plain(attributes)['network.transport'] === 'pipe')
    expect(new Set(piped.map(({ name }) => name))).toEqual(
      new Set(['initialize', 'notifications/initialized', 'tools/call raw']),
    )

    const [first] = receiver.durations('mcp.server.operation.duration')
    expect(first?.explicitBounds).toEqual([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300])
    const methods = receiver
      .durations('mcp.server.operation.duration')
      .map(({ attributes }) => plain(attributes))
    expect(new Set(methods.map((one) => one['mcp.method.name']))).toEqual(
      new Set(['tools/call', 'resources/read', 'other', 'notifications/initialized', 'ping', 'initialize']),
    )
    const labels = new Set(methods.flatMap((one) => Object.keys(one)))
    expect(labels).toEqual(
      new Set([
        'mcp.method.name',
        'mcp.protocol.version',
        'gen_ai.operation.name',
        'network.transport',
        'postern.service',
        'error.type',
      ]),
    )
    expect(receiver.durations('mcp.client.operation.duration').length).toBeGreaterThan(0)

    const all = receiver.received.map(({ body }) => body).join('\n')
    for (const secret of [...secrets, caller.token, ana.username + '@', '192.0.2.7', 'made-up'])
      expect([secret, all.includes(secret)]).toEqual([secret, false])
  })

  it('a receiver that refuses or is away costs a call nothing, and the log says so without its key', async () => {
    receiver.answer(400)
    const other = await open({ sample_ratio: 1, traceparent: 'none' })
    try {
      const url = `${other.origin}/echo/mcp`
      const one = callerOf(other, url, await tokenOf(other, ana, url))
      expect((await one.post(call(named('whoami')), { ...forwarded, traceparent })).status).toBe(200)
      expect(toldIn(upstream).fields['traceparent']).not.toContain(remote.traceId)
    } finally {
      await other.close()
    }
    const failures = () => other.log.filter(({ event }) => event === 'telemetry.failed')
    await expect.poll(() => failures().length, { timeout: 20_000 }).toBe(1)
    const said = failures()
    expect(said.map(({ level }) => level)).toEqual(['warn'])
    expect(JSON.stringify(said)).not.toContain('canary-header')
  })

  it('what is not sampled is not exported, and its server is told so', async () => {
    receiver.answer(200)
    const continued = () => receiver.spans().filter(({ traceId }) => traceId === remote.traceId).length
    const before = continued()
    const other = await open({ sample_ratio: 0 })
    const url = `${other.origin}/echo/mcp`
    const one = callerOf(other, url, await tokenOf(other, ana, url))
    await one.post(call(named('whoami')))
    const unsampled = String(toldIn(upstream).fields['traceparent'])
    expect(unsampled).toMatch(/^00-[\da-f]{32}-[\da-f]{16}-00$/)
    await one.post(call(named('whoami')), { ...forwarded, traceparent })
    expect(toldIn(upstream).fields['traceparent']).toMatch(new RegExp(`^00-${remote.traceId}-.*-01$`))
    await other.close()
    // The side of the server and the gateway's.
    await expect.poll(() => continued() - before, { timeout: 20_000 }).toBe(2)
    expect(receiver.spans().filter(({ traceId }) => unsampled.includes(traceId))).toEqual([])
  })
})
