// What streams owe their two ends, whichever transport: each message at once, a heartbeat when there is none,
// an end for the server when the client has left, and no more than is read.
import type { ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { ana, type Caller, callerOf, tokenOf } from '../runtimes/people.ts'
import { endsWithin, holdsWithin, until } from '../runtimes/proxied.ts'
import { openSocketUpstream, type SocketUpstream } from '../runtimes/socket-upstream.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'a', version: '1' } },
}
const hold = { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'hold', arguments: {} } }
const event = (value: unknown): string =>
  `data: ${JSON.stringify({ jsonrpc: '2.0', ...(value as object) })}\n\n`
const step = (n: number) => ({ method: 'notifications/message', params: { level: 'info', data: n } })

/** A client on a connection. */
interface Liner {
  /** Everything that came, as text. */
  heard(): string
  send(message: unknown): void
  leave(): void
}

describe.each(runtimes)('%s, a stream', (name, open) => {
  let house: TestGateway
  let upstream: Upstream
  let sock: SocketUpstream
  let caller: Caller
  let token = ''
  /** Answers to `hold` and to GET, which the test writes. */
  const held: ServerResponse[] = []
  const listening: ServerResponse[] = []
  const liners: Liner[] = []

  beforeAll(async () => {
    upstream = await openUpstream((request, response, body) => {
      if (request.method === 'DELETE') return void response.writeHead(200).end()
      if (request.method === 'GET') {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
        return void listening.push(response)
      }
      const { id, method } = JSON.parse(body) as { id?: unknown; method: string }
      if (id === undefined) return void response.writeHead(202).end()
      if (method === 'tools/call') {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
        return void held.push(response)
      }
      const result = {
        protocolVersion: '2025-06-18',
        capabilities: { tools: {} },
        serverInfo: { name: 's', version: '1' },
      }
      response
        .writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': `s-${Math.random()}` })
        .end(JSON.stringify({ jsonrpc: '2.0', id, result }))
    })
    sock = await openSocketUpstream()
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [ana],
        heartbeat: 1,
        mcp_services: {
          echo: { url: upstream.url, transport: 'streamable', auth_required: true },
          sock: { url: sock.url, auth_required: false },
        },
      },
    })
    token = await tokenOf(house, ana, `${house.origin}/echo/mcp`)
    caller = callerOf(house, `${house.origin}/echo/mcp`, token)
  }, 60_000)
  afterEach(() => {
    for (const liner of liners.splice(0)) liner.leave()
    for (const response of [...held.splice(0), ...listening.splice(0)]) response.destroy()
  })
  afterAll(async () => {
    await house?.close()
    await Promise.all([upstream?.close(), sock?.close()])
  })

  const overSse = async (): Promise<Liner> => {
    const gone = new AbortController()
    const stream = await callerOf(house, `${house.origin}/echo/sse`, token).get({}, { signal: gone.signal })
    let heard = ''
    const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
    const read = async (): Promise<void> => {
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) heard += piece.value
    }
    read().catch(() => undefined)
    await until(() => heard.includes('\n\n'), 'the endpoint')
    const endpoint = callerOf(house, `${house.origin}${/data: (.*)\n/.exec(heard)?.[1]}`, token)
    return {
      heard: () => heard,
      send: (message) => void endpoint.post(message).then((response) => response.text()),
      leave() {
        gone.abort()
        reader.cancel().catch(() => undefined)
      },
    }
  }
  const overSocket = async (path = '/echo/ws'): Promise<Liner & { readonly socket: WebSocket }> => {
    const socket = new WebSocket(`${house.origin.replace('http', 'ws')}${path}`, ['mcp'], {
      headers: { authorization: `Bearer ${token}` },
    })
    let heard = ''
    socket.on('message', (data: Buffer) => void (heard += data.toString('utf8')))
    await new Promise((resolve, reject) => void socket.once('open', resolve).once('error', reject))
    return {
      socket,
      heard: () => heard,
      send: (message) => socket.send(JSON.stringify(message)),
      leave: () => socket.terminate(),
    }
  }
  const lines = [
    ['HTTP+SSE', overSse] as const,
    ...(name === 'in process' ? [] : [['WebSocket', overSocket] as const]),
  ]

  /** A client that waits for the answer to `hold`, which the test writes. */
  const waiting = async (
    begin: () => Promise<Liner>,
  ): Promise<{ readonly liner: Liner; readonly answer: ServerResponse }> => {
    const liner = await begin()
    liners.push(liner)
    liner.send(initialize)
    await until(() => liner.heard().includes('serverInfo'), 'the session')
    liner.send(hold)
    await until(() => held.length === 1, 'the call')
    return { liner, answer: held[0]! }
  }

  // workerd alone hears of a client that left when it writes on, at the next heartbeat; Cloudflare's network
  // tells it at once (enable_request_signal).
  const soon = name === 'in workerd' ? 3500 : 1000

  it.each(lines)(
    'of %s carries each message at once, before the next is written [C1, C5]',
    async (_what, begin) => {
      const { liner, answer } = await waiting(begin)
      for (const n of [1001, 1002, 1003]) {
        answer.write(event(step(n)))
        await until(() => liner.heard().includes(`"data":${n}`), 'the message')
      }
      answer.end(event({ id: 2, result: { content: [] } }))
      await until(() => liner.heard().includes('"id":2'), 'the answer')
    },
  )

  it.each(lines)(
    'of %s whose client leaves takes the call at the server with it within a second [C10, hostile M12]',
    async (_what, begin) => {
      const { liner, answer } = await waiting(begin)
      let closed = false
      answer.on('close', () => (closed = true))
      liner.leave()
      await holdsWithin(soon, () => closed, 'the end of the call')
    },
  )

  it.each(lines)(
    'of %s carries requests of 2026-07-28 with the headers they need, and cancels them as HTTP does [C8, C10]',
    async (_what, begin) => {
      const liner = await begin()
      liners.push(liner)
      const meta = {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientInfo': { name: 'a', version: '1' },
        'io.modelcontextprotocol/clientCapabilities': {},
      }
      liner.send({ ...hold, id: 5, params: { ...hold.params, _meta: meta } })
      await until(() => held.length === 1, 'the call')
      expect(upstream.heard.findLast(({ method }) => method === 'POST')?.headers).toMatchObject({
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'hold',
      })
      held[0]!.write(event(step(2001)))
      await until(() => liner.heard().includes('"data":2001'), 'the message')
      let closed = false
      held[0]!.on('close', () => (closed = true))
      liner.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 5 } })
      await until(() => closed, 'the end of the call')
    },
  )

  it('of Streamable HTTP whose client leaves takes the server’s with it within a second [C10, hostile M12]', async () => {
    const gone = new AbortController()
    await caller.get({}, { signal: gone.signal })
    await until(() => listening.length === 1, 'the stream')
    let closed = false
    listening[0]!.on('close', () => (closed = true))
    gone.abort()
    await holdsWithin(soon, () => closed, 'its end')
  })

  /** Time passes, heartbeats with it. */
  const beats = (work: Promise<void>): Promise<void> => endsWithin(5000, house, work)

  it('that says nothing gets a comment at each heartbeat, and never within a line [C1]', async () => {
    const gone = new AbortController()
    const [mcp, sse] = await Promise.all(
      ['mcp', 'sse'].map(async (path) => {
        const stream = await callerOf(house, `${house.origin}/echo/${path}`, token).get(
          {},
          { signal: gone.signal },
        )
        const heard = { text: '' }
        const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
        const read = async (): Promise<void> => {
          for (let piece = await reader.read(); !piece.done; piece = await reader.read())
            heard.text += piece.value
        }
        read().catch(() => undefined)
        return heard
      }),
    )
    const comments = (heard = mcp): number => (heard?.text.split(': keep-alive\n\n').length ?? 0) - 1
    await beats(until(() => comments() > 0 && comments(sse) > 0, 'a comment on each'))
    listening[0]!.write('data: half')
    await until(() => mcp?.text.endsWith('data: half') === true, 'half an event')
    const [before, other] = [comments(), comments(sse)]
    await beats(until(() => comments(sse) > other + 1, 'two more heartbeats'))
    expect(comments()).toBe(before)
    listening[0]!.write(' and half\n\n')
    await until(() => mcp?.text.includes('data: half and half\n\n') === true, 'the whole event')
    gone.abort()
  }, 60_000)

  itWhere(name === 'on a node socket')(
    'of a WebSocket is kept alive at each heartbeat, and is not ended while its client answers [H-O7]',
    async () => {
      const { socket, leave } = await overSocket()
      let pings = 0
      socket.on('ping', () => pings++)
      await beats(until(() => pings >= 2, 'two pings'))
      expect(socket.readyState).toBe(socket.OPEN)
      leave()
    },
    60_000,
  )

  /** Writes until the gateway takes no more for half a second; how much that was. */
  const flood = async (write: (taken: () => void) => number): Promise<number> => {
    let sent = 0
    let lastAt = Date.now()
    const more = (): void => {
      lastAt = Date.now()
      if (sent < 128 * 1024 * 1024) sent += write(more)
    }
    more()
    await until(() => Date.now() - lastAt > 500, 'the gateway to take no more')
    return sent
  }
  const large = event({
    method: 'notifications/message',
    params: { level: 'info', data: 'x'.repeat(65_000) },
  })
  const writing = (response: ServerResponse) => (taken: () => void) => {
    response.write(large, () => setImmediate(taken))
    return large.length
  }
  // The kernel's buffers on four sockets are part of it, and Linux lets each grow: 42 MiB were seen. A gateway that
  // holds nothing back takes all of the flood.
  const most = 96 * 1024 * 1024

  itWhere(name === 'on a node socket')(
    'of HTTP+SSE that nobody reads holds the server back [H-M15]',
    async () => {
      const { host, port } = new URL(house.origin)
      const slow: Socket = connect(Number(port), '127.0.0.1')
      slow.write(
        `GET /echo/sse HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\nAccept: text/event-stream\r\n\r\n`,
      )
      let heard = ''
      slow.on('data', (piece: Buffer) => void (heard += piece.toString('utf8')))
      await until(() => heard.includes('sessionId='), 'the endpoint')
      const endpoint = callerOf(house, `${house.origin}${/data: (\S+)/.exec(heard)?.[1]}`, token)
      await (await endpoint.post(initialize)).text()
      await until(() => heard.includes('serverInfo'), 'the session')
      await (await endpoint.post(hold)).text()
      await until(() => held.length === 1, 'the call')
      slow.pause()
      expect(await flood(writing(held[0]!))).toBeLessThan(most)
      slow.destroy()
    },
    60_000,
  )

  itWhere(name === 'on a node socket')(
    'of a WebSocket that nobody reads holds the server back, whatever it speaks [H-M15]',
    async () => {
      const liner = await overSocket()
      const { answer } = await waiting(() => Promise.resolve(liner))
      liner.socket.pause()
      expect(await flood(writing(answer))).toBeLessThan(most)
      const other = await overSocket('/sock/ws')
      await until(() => sock.open.size === 1, 'the server’s socket')
      other.socket.pause()
      const [theirs] = sock.open
      const text = large.slice(6, -2)
      const sent = await flood((taken) => {
        theirs?.send(text, () => setImmediate(taken))
        return text.length
      })
      expect(sent).toBeLessThan(most)
      other.leave()
    },
    60_000,
  )
})
