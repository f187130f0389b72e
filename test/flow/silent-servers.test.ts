// A server that is silent before its answer: a caller that takes event streams gets one that is kept alive,
// and what comes of the call on it.
import { gzipSync } from 'node:zlib'
import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { type Caller, callerOf } from '../runtimes/people.ts'
import { call, until } from '../runtimes/proxied.ts'
import { type Upstream, openUpstream } from '../runtimes/upstream.ts'

const result = { content: [{ type: 'text', text: 'späť' }] }
const answer = { jsonrpc: '2.0', id: 7, result }

interface Told {
  readonly comments: number
  readonly messages: readonly { readonly id?: unknown; readonly result?: unknown; readonly error?: unknown }[]
  readonly ids: readonly string[]
}

const read = (text: string): Told => {
  const lines = text.split('\n')
  const values = (field: string): string[] =>
    lines.filter((line) => line.startsWith(`${field}: `)).map((line) => line.slice(field.length + 2))
  return {
    comments: lines.filter((line) => line.startsWith(':')).length,
    messages: values('data').map((data) => JSON.parse(data) as object),
    ids: values('id'),
  }
}

describe.each(runtimes)('%s', (where, open) => {
  let gateway: TestGateway
  let upstream: Upstream
  let caller: Caller
  let held: ServerResponse[] = []

  beforeAll(async () => {
    // What the gateway asks about sign-in after a refused credential is answered at once.
    upstream = await openUpstream((request, response) =>
      request.method !== 'POST' ? void response.writeHead(404).end() : void held.push(response),
    )
    const service = {
      name: 'Slow',
      url: upstream.url,
      auth_required: false,
      upstream_auth: { type: 'none' as const },
    }
    gateway = await open({
      upstream: upstream.url,
      config: {
        heartbeat: 10,
        mcp_services: { slow: { ...service, timeout: 60_000 }, trimmed: { ...service, timeout: 60_000 } },
      },
    })
    caller = callerOf(gateway, `${gateway.origin}/slow/mcp`, '')
  }, 60_000)
  afterAll(async () => {
    await gateway.close()
    await upstream.close()
  })
  beforeEach(() => {
    held = []
  })

  /** A call whose server says nothing for 15 seconds. */
  const silent = async (
    message: unknown = call(),
    headers: Record<string, string> = {},
    from = caller,
  ): Promise<{ readonly response: Promise<Response>; readonly server: ServerResponse }> => {
    const streams = headers['accept'] === undefined && (message as { method: string }).method !== 'initialize'
    const response = from.post(message, headers)
    await until(() => held.length > 0, 'the call')
    gateway.advance(15_500)
    if (streams) await response
    return { response, server: held[0] as ServerResponse }
  }
  const said = async (response: Response): Promise<Told> => read(await response.text())
  const lastCall = () => gateway.log.findLast(({ fields }) => fields['event'] === 'call')?.fields

  it('gives the answer as the one message of the stream', async () => {
    const { response, server } = await silent()
    const stream = await response
    expect([
      stream.status,
      stream.headers.get('content-type'),
      stream.headers.get('x-accel-buffering'),
      stream.headers.get('x-content-type-options'),
    ]).toEqual([200, 'text/event-stream', 'no', 'nosniff'])
    server
      .writeHead(200, { 'content-type': 'application/json' })
      .end(`\ufeff${JSON.stringify(answer, undefined, 2)}`)
    expect(await said(stream)).toEqual({ comments: 1, messages: [answer], ids: [] })
    await expect.poll(lastCall).toMatchObject({ result: 'answered', status: 200 })
  })

  it('keeps the stream alive for as long as the server is silent', async () => {
    const { response, server } = await silent()
    const reader = ((await response).body as ReadableStream<Uint8Array>).getReader()
    const next = async (): Promise<string> => new TextDecoder().decode((await reader.read()).value)
    expect(await next()).toBe(': keep-alive\n\n')
    for (let beat = 0; beat < 2; beat++) {
      gateway.advance(10_100)
      expect(await next()).toBe(': keep-alive\n\n')
    }
    server.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    let rest = ''
    for (let read = await reader.read(); !read.done; read = await reader.read())
      rest += new TextDecoder().decode(read.value)
    expect(read(rest).messages).toEqual([answer])
  })

  it('goes on with the stream of the server, ids included', async () => {
    const { response, server } = await silent()
    server.writeHead(200, { 'content-type': 'text/event-stream' })
    server.write('id: 1\ndata: {"jsonrpc":"2.0","method":"notifications/message"}\n\n')
    server.end(`id: 2\ndata: ${JSON.stringify(answer)}\n\n`)
    const { messages, ids } = await said(await response)
    expect([messages.at(-1), ids]).toEqual([answer, ['1', '2']])
  })

  it('undoes a coding that the stream was not announced with', async () => {
    const { response, server } = await silent()
    server
      .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
      .end(gzipSync(JSON.stringify(answer)))
    expect((await said(await response)).messages).toEqual([answer])
  })

  it('gives an answer that is larger than what is read at once', async () => {
    const { response, server } = await silent()
    const large = { ...answer, result: { text: 'x'.repeat(300_000) } }
    server.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(large, undefined, 1))
    expect((await said(await response)).messages).toEqual([large])
  })

  it('passes on the error that a server answers with a status', async () => {
    const { response, server } = await silent()
    const error = { jsonrpc: '2.0', id: 7, error: { code: -32_000, message: 'busy' } }
    server.writeHead(503, { 'content-type': 'application/json' }).end(JSON.stringify(error))
    expect((await said(await response)).messages).toEqual([error])
  })

  it.each([
    ['hangs up', (server: ServerResponse) => server.destroy(), 1502, 'upstream.closed'],
    [
      'refuses the credential',
      (server: ServerResponse) => server.writeHead(401).end(),
      1502,
      'upstream.credential',
    ],
    [
      'answers with a page',
      (server: ServerResponse) => server.writeHead(500, { 'content-type': 'text/html' }).end('<p>no</p>'),
      1502,
      'upstream.answer',
    ],
    [
      'answers with no message',
      (server: ServerResponse) =>
        server.writeHead(200, { 'content-type': 'application/json' }).end('{"a":1}'),
      1502,
      'upstream.message',
    ],
    ['stays silent', () => gateway.advance(60_000), 1504, 'upstream.timeout'],
  ] as const)('says it in the words of the error when the server %s', async (_what, act, code, refusal) => {
    const { response, server } = await silent()
    const stream = await response
    act(server)
    const { messages } = await said(stream)
    // workerd says of a connection that was closed no more than that there is none.
    const shown = where === 'in workerd' && refusal === 'upstream.closed' ? 'upstream.unreachable' : refusal
    expect(messages).toMatchObject([{ jsonrpc: '2.0', id: 7, error: { code, data: { code: shown } } }])
    await expect
      .poll(() => gateway.log.findLast(({ event }) => event === 'refused')?.fields)
      .toMatchObject({ refusal: shown })
    await expect.poll(lastCall).toMatchObject({ result: 'failed', refusal: shown })
  })

  it('never makes an answer look whole that broke off behind its beginning', async () => {
    const { response, server } = await silent()
    const stream = await response
    server.writeHead(200, { 'content-type': 'text/event-stream' })
    server.write('data: {"jsonrpc":')
    const reader = (stream.body as ReadableStream<Uint8Array>).getReader()
    const rest = async (): Promise<void> => {
      for (let read = await reader.read(); !read.done; read = await reader.read())
        if (new TextDecoder().decode(read.value).includes('jsonrpc')) server.destroy()
    }
    await expect(rest()).rejects.toThrow()
  })

  it('never shows on that stream what is hidden', async () => {
    const trimmed = callerOf(gateway, `${gateway.origin}/trimmed/mcp`, '')
    const { response, server } = await silent({ jsonrpc: '2.0', id: 7, method: 'tools/list' }, {}, trimmed)
    const tools = [{ name: 'open' }, { name: 'hidden' }]
    server
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ jsonrpc: '2.0', id: 7, result: { tools } }))
    expect((await said(await response)).messages).toEqual([
      { jsonrpc: '2.0', id: 7, result: { tools: [{ name: 'open' }] } },
    ])
  })

  it.each([
    ['a caller that takes JSON alone', call(), { accept: 'application/json' }],
    ['initialize, whose answer names the session', { ...call(), method: 'initialize' }, {}],
  ])('leaves %s to the answer itself', async (_what, message, headers) => {
    const { response, server } = await silent(message, headers)
    server
      .writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 's1' })
      .end(JSON.stringify(answer))
    const late = await response
    expect([late.headers.get('content-type'), late.headers.get('mcp-session-id'), await late.json()]).toEqual(
      ['application/json', 's1', answer],
    )
  })

  it('keeps the status of what fails sooner', async () => {
    const response = caller.post(call())
    await until(() => held.length > 0, 'the call')
    gateway.advance(14_000)
    held[0]?.destroy()
    expect((await response).status).toBe(502)
  })

  it('ends the work of the server when the caller leaves the stream', async () => {
    const leaving = new AbortController()
    const response = caller.post(call(), {}, { signal: leaving.signal })
    await until(() => held.length > 0, 'the call')
    let closed = false
    held[0]?.on('close', () => (closed = true))
    gateway.advance(15_500)
    await response
    leaving.abort()
    // workerd tells of it when something is written.
    for (let beat = 0; where === 'in workerd' && !closed && beat < 200; beat++) {
      gateway.advance(10_100)
      await (await gateway.fetch(`${gateway.origin}/healthz`)).text()
    }
    await until(() => closed, 'the server to notice')
  })
})
