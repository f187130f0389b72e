// What is kept from a caller's lists is in no answer, whatever form the server gives it, by whatever
// transport, and whatever else is wrong with it.
import { gzipSync, deflateSync, brotliCompressSync, zstdCompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RevisionUpstream, openLegacyOnly, openModernOnly } from '../runtimes/revision-upstreams.ts'
import { askModern, beginLegacy } from '../runtimes/revisions.ts'
import { type TestGateway, runtimes, openInWorkerd } from '../runtimes/runtimes.ts'
import { type LegacyUpstream, openLegacyUpstream } from '../runtimes/legacy-upstream.ts'
import { type Caller, callerOf } from '../runtimes/people.ts'
import { dialSocket } from '../runtimes/socket-client.ts'
import { type SocketUpstream, openSocketUpstream } from '../runtimes/socket-upstream.ts'
import { type Upstream, openUpstream } from '../runtimes/upstream.ts'
import { until } from '../runtimes/proxied.ts'
import { serverScript } from '../stdio/world.ts'

const ask = { jsonrpc: '2.0', id: 7, method: 'tools/list' }
const open = { name: 'open_tool', inputSchema: { type: 'object' } }
const hidden = { name: 'hidden_tool', description: 'A secret.', inputSchema: { type: 'object' } }
const listed = { jsonrpc: '2.0', id: 7, result: { tools: [open, hidden], nextCursor: 'more' } }
const message = JSON.stringify(listed)
const pretty = JSON.stringify(listed, undefined, 2)
const progress = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params: { progress: 1 } })
const event = (data: string): string => `event: message\ndata: ${data}\n\n`
const lines = (text: string, end = '\n'): string =>
  `${text
    .split('\n')
    .map((line) => `data: ${line}${end}`)
    .join('')}${end}`

interface Said {
  readonly status?: number
  readonly type?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string | Buffer
  /** Bytes in a piece. */
  readonly step?: number
}

const json = (body: string | Buffer, more: Partial<Said> = {}): Said => ({
  type: 'application/json',
  body,
  ...more,
})
const events = (body: string | Buffer, more: Partial<Said> = {}): Said => ({
  type: 'text/event-stream',
  body,
  ...more,
})
const coded = (coding: string, body: Buffer, type = 'application/json'): Said => ({
  type,
  body,
  headers: { 'content-encoding': coding },
})

/** Answers that can be read: the caller gets what is left of them. */
const readable: Readonly<Record<string, Said>> = {
  'one object': json(message),
  'one object on many lines': json(pretty),
  'a byte order mark': json(`\ufeff${message}`),
  'a byte at a time': json(message, { step: 1 }),
  'a batch': json(`[${message}]`),
  'a list as the answer to another request': json(message.replace('"id":7', '"id":8')),
  'text that calls itself plain': json(message, { type: 'text/plain' }),
  'a status of 500': json(message, { status: 500 }),
  'a status of 201': json(message, { status: 201 }),
  'a media type in capitals': json(message, { type: 'Application/JSON ;charset=utf-8' }),
  'two results': json(message.replace('"result"', `"result":${JSON.stringify(listed.result)},"result"`)),
  'two lists': json(message.replace('"tools"', '"tools":[{"name":"hidden_first"}],"tools"')),
  gzip: coded('gzip', gzipSync(message)),
  deflate: coded('deflate', deflateSync(message)),
  brotli: coded('br', brotliCompressSync(message)),
  zstd: coded('zstd', zstdCompressSync(message)),
  'an event': events(event(message)),
  'an event without a space': events(`data:${message}\n\n`, { type: 'Text/Event-Stream ;charset=utf-8' }),
  'an event with a status of 201': events(event(message), { status: 201 }),
  'an event with a field that is none': events(`hidden_tool\ndata: ${message}\n\n`),
  'an event behind another': events(event(progress) + event(message)),
  'two events': events(event(message) + event(message)),
  'an event a byte at a time': events(`\ufeff${event(message)}`, { step: 1 }),
  'an event with many lines of data': events(lines(pretty)),
  'lines that end with CRLF': events(lines(pretty, '\r\n')),
  'lines that end with CR': events(lines(pretty, '\r')),
  'an event of another name': events(`event: list\nid: 1\ndata:${message}\n\n`),
  'an event with a batch': events(event(`[${message}]`)),
  'an event that lacks its blank line': events(event(message).trimEnd()),
  'an event that is compressed': coded('gzip', gzipSync(event(message)), 'text/event-stream'),
  'a comment and a field without a meaning': events(`: hidden_tool\nhidden_tool: 1\n${event(message)}`),
}
/** Answers that cannot: the caller hears that the server failed. */
const unreadable: Readonly<Record<string, Said>> = {
  'a member in another case': json(message.replace('"result"', '"result":{},"Result"')),
  'a list in another case': json(message.replace('"tools"', '"tools":[],"Tools"')),
  'a list that is no array': json('{"jsonrpc":"2.0","id":7,"result":{"tools":{"0":{"name":"hidden_tool"}}}}'),
  'a result that is an array': json('{"jsonrpc":"2.0","id":7,"result":[{"name":"hidden_tool"}]}'),
  'a result without the list': json('{"jsonrpc":"2.0","id":7,"result":{"items":[{"name":"hidden_tool"}]}}'),
  'a list that is too long': json(message.replace('"name"', `"x":"${'x'.repeat(8_400_000)}","name"`)),
  'JSON that is cut off': json(message.slice(0, -1)),
  'no JSON': json('hidden_tool'),
  'a page with a status of 500': json('<p>hidden_tool</p>', { type: 'text/html', status: 500 }),
  'an event in JSON’s clothes': json(event(message)),
  'a next line around JSON': json(`\u0085${message}\u0085`),
  'a next line around the JSON of an event': events(event(`\u0085${message}`)),
  'a next line as the end of an event’s line': events(`data: ${message}\u0085\u0085`),
  'a broken line beside a result': events(event(`${message}\ndata: hidden_tool`)),
  'an event without JSON': events('data: hidden_tool\n\n'),
  'JSON in an event’s clothes': events(message),
  'a coding that it is not in': coded('gzip', Buffer.from(message)),
  'a coding that nobody knows': coded('hidden', Buffer.from(message)),
  'two codings': coded('gzip, gzip', gzipSync(gzipSync(message))),
}

describe.each(runtimes)('%s', (where, openGateway) => {
  let upstream: Upstream
  let legacy: LegacyUpstream
  let socket: SocketUpstream
  let servers: { readonly before: RevisionUpstream; readonly now: RevisionUpstream }
  let gateway: TestGateway
  let said: Said = json(message)
  const at = (path: string): Caller => callerOf(gateway, `${gateway.origin}${path}`, '')

  beforeAll(async () => {
    upstream = await openUpstream((_request, response) => {
      const body = Buffer.from(said.body)
      const { type } = said
      response.writeHead(said.status ?? 200, {
        ...(type !== undefined && { 'content-type': type }),
        etag: '"whole"',
        ...said.headers,
      })
      const { step = body.length } = said
      const send = (from: number): void => {
        if (from >= body.length) return void response.end()
        response.write(body.subarray(from, from + step))
        setImmediate(send, from + step)
      }
      send(0)
    })
    ;[legacy, socket] = await Promise.all([openLegacyUpstream(), openSocketUpstream()])
    servers = { before: await openLegacyOnly(), now: await openModernOnly() }
    const free = { auth_required: false }
    gateway = await openGateway({
      upstream: upstream.url,
      config: {
        mcp_services: {
          'trimmed-http': { url: upstream.url, ...free },
          'trimmed-sse': { url: legacy.url, transport: 'sse', ...free },
          'trimmed-ws': { url: socket.url, ...free },
          'trimmed-legacy': { url: servers.before.url, ...free },
          'trimmed-modern': { url: servers.now.url, ...free },
          ...(openGateway !== openInWorkerd && {
            'trimmed-command': {
              command: process.execPath,
              args: [serverScript],
              sandbox: 'none' as const,
              ...free,
            },
          }),
        },
      },
    })
  }, 60_000)
  afterAll(async () => {
    await gateway?.close()
    await Promise.all([
      upstream?.close(),
      legacy?.close(),
      socket?.close(),
      servers?.before.close(),
      servers?.now.close(),
    ])
  })

  it.each(Object.entries(readable))('[H-J15] never shows what is hidden in %s', async (form, answer) => {
    said = answer
    const response = await at('/trimmed-http/mcp').post(ask, { 'accept-encoding': 'gzip, br' })
    const text = await response.text()
    expect(text).not.toContain('hidden')
    // fetch undoes what it knows before the gateway sees it, and workerd knows less than Node.
    if ((where === 'in workerd' && form === 'deflate') || (where !== 'on a node socket' && form === 'zstd'))
      return
    expect(text).toContain('open_tool')
    expect([response.status, response.headers.get('etag'), response.headers.get('content-encoding')]).toEqual(
      [answer.status ?? 200, null, null],
    )
    expect(upstream.heard.at(-1)?.headers['accept-encoding']).toBe('identity')
  })

  it.each(Object.entries(unreadable))('never lets %s pass that it cannot read', async (form, answer) => {
    said = answer
    const response = await at('/trimmed-http/mcp').post(ask)
    const text = await response.text()
    expect(text).not.toContain('hidden')
    // What fetch has undone, or does not say, is readable.
    if (where !== 'on a node socket' && form.includes('coding')) return
    if (answer.type === 'text/event-stream') expect([200, 502]).toContain(response.status)
    else expect([response.status, (JSON.parse(text) as { id: unknown }).id]).toEqual([502, 7])
  })

  it('never shows what is hidden in a stream that is taken up again', async () => {
    said = events(`id: 1\n${event(message)}`)
    const response = await at('/trimmed-http/mcp').get({ 'last-event-id': '0' })
    const text = await response.text()
    expect([text.includes('hidden'), text.includes('open_tool'), text.startsWith('id: 1\n')]).toEqual([
      false,
      true,
      true,
    ])
  })

  it('keeps every digit of what stays, and says how long that is', async () => {
    said = json(message.replace('"nextCursor":"more"', '"ttl":12345678901234567890.10'))
    const response = await at('/trimmed-http/mcp').post(ask)
    const text = await response.text()
    expect(text).toBe(
      JSON.stringify({ ...listed, result: { tools: [open] } }).replace(
        ']}',
        '],"ttl":12345678901234567890.10}',
      ),
    )
    if (where === 'on a node socket')
      expect(response.headers.get('content-length')).toBe(String(Buffer.byteLength(text)))
  })

  it('leaves the other answers of that service as they are', async () => {
    const whole = '{ "jsonrpc": "2.0", "id": 7, "result": { "content": [], "tools": [{"name":"hidden"}] } }'
    said = json(whole)
    const call = { jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'x' } }
    const response = await at('/trimmed-http/mcp').post(call)
    expect([await response.text(), response.headers.get('etag')]).toEqual([whole, '"whole"'])
  })

  it.each([
    ['trimmed-http', 'open_tool'],
    ['trimmed-sse', 'whoami'],
    ['trimmed-ws', 'open_tool'],
    ['trimmed-command', 'echo'],
    ['trimmed-legacy', 'test_simple_text'],
  ])('never shows a legacy client what is hidden at %s', async (id, shown) => {
    if (id === 'trimmed-command' && where === 'in workerd') return
    said = json(message)
    const session = id === 'trimmed-http' ? {} : (await beginLegacy(at(`/${id}/mcp`))).session
    const text = await (await at(`/${id}/mcp`).post(ask, session)).text()
    expect(text).toContain(`"${shown}"`)
    expect(text).not.toMatch(/hidden|"never"|"mirrored"|"test_error_handling"/)
  })

  it.each([
    ['trimmed-sse', 'whoami'],
    ['trimmed-ws', 'open_tool'],
    ['trimmed-command', 'echo'],
    ['trimmed-legacy', 'test_simple_text'],
    ['trimmed-modern', 'test_simple_text'],
  ])('never shows a modern client what is hidden at %s', async (id, shown) => {
    if (id === 'trimmed-command' && where === 'in workerd') return
    const text = await (await askModern(at(`/${id}/mcp`), 'tools/list')).text()
    expect(text).toContain(`"${shown}"`)
    expect(text).not.toMatch(/hidden|"never"|"mirrored"|"test_error_handling"/)
  })

  it.each(['trimmed-http', 'trimmed-sse', 'trimmed-ws'])(
    'never shows a client on a WebSocket what is hidden at %s',
    async (id) => {
      // In process there are no sockets to upgrade.
      if (where === 'in process') return
      said = json(message)
      const client = await dialSocket(`${gateway.origin.replace('http', 'ws')}/${id}/mcp`, {})
      const send = (one: object): void => client.socket.send(JSON.stringify({ jsonrpc: '2.0', ...one }))
      if (id !== 'trimmed-http') {
        const clientInfo = { name: 'a', version: '1' }
        send({
          id: 1,
          method: 'initialize',
          params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo },
        })
        await until(() => client.said.length > 0, 'the session')
      }
      send(ask)
      await until(() => client.said.some((one) => one.id === 7), 'the list')
      client.socket.close()
      expect(JSON.stringify(client.said)).toMatch(/"open_tool"|"whoami"/)
      expect(JSON.stringify(client.said)).not.toMatch(/hidden|"never"/)
    },
  )

  it.each(['trimmed-http', 'trimmed-sse'])(
    'never shows a client of HTTP+SSE what is hidden at %s',
    async (id) => {
      said = json(message)
      const stream = await at(`/${id}/sse`).get()
      const reader = (stream.body as ReadableStream<Uint8Array>)
        .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
        .getReader()
      let heard = ''
      const hear = async (what: string): Promise<void> => {
        while (!heard.includes(what)) heard += (await reader.read()).value ?? ''
      }
      await hear('\n\n')
      const endpoint = at(/data: (\S+)/.exec(heard)?.[1] ?? '')
      const clientInfo = { name: 'a', version: '1' }
      const params = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo }
      if (id !== 'trimmed-http') {
        await endpoint.post({ jsonrpc: '2.0', id: 1, method: 'initialize', params })
        await hear('"id":1')
      }
      await endpoint.post(ask)
      await hear('"id":7')
      await reader.cancel()
      expect(heard).toMatch(/"open_tool"|"whoami"/)
      expect(heard).not.toMatch(/hidden|"never"/)
    },
  )
})
