// Streams and connections under people who hang up, read slowly or never, and upstreams that break off, stall
// or answer nonsense. On the Node door.
import {
  createServer as createTcpServer,
  connect,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openOnSocket } from '../runtimes/runtimes.ts'
import { callerOf } from '../runtimes/people.ts'
import { call, modernCall, modernHeaders, openProxied, type Proxied, until } from '../runtimes/proxied.ts'

let proxied: Proxied
beforeAll(async () => {
  proxied = await openProxied(openOnSocket)
})
afterAll(() => proxied.close())
beforeEach(() => proxied.clear())

const events = { 'content-type': 'text/event-stream' }

describe('never keeps anything of a call whose caller has left', () => {
  it('however often callers hang up, before the answer or in the middle of it [H-M12]', async () => {
    const { caller, held } = proxied
    let open = 0
    for (let round = 0; round < 100; round++) {
      const leaving = new AbortController()
      const name = round % 2 === 0 ? 'modern' : 'early'
      const answer = caller.post(modernCall('hold'), modernHeaders('hold'), { signal: leaving.signal })
      answer.catch(() => undefined)
      await until(() => held.length === round + 1, 'the call')
      const response = held[round]!
      open++
      response.on('close', () => open--)
      if (name === 'modern') {
        response.writeHead(200, events).write('data: 1\n\n')
        await (await answer).body!.getReader().read()
      }
      leaving.abort()
    }
    await until(() => open === 0, 'every upstream request to end')
    expect((await caller.post(call())).status).toBe(200)
  })

  it('though it left while the body was still being sent', async () => {
    const { host, port } = new URL(proxied.house.origin)
    for (let i = 0; i < 20; i++) {
      await new Promise<void>((resolve) => {
        const socket = connect(Number(port), '127.0.0.1', () => {
          socket.write(
            `POST /echo/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nAuthorization: Bearer ${proxied.caller.token}\r\nContent-Length: 100\r\n\r\n{"jsonrpc"`,
          )
          setImmediate(() => socket.destroy())
        })
        socket.on('close', () => resolve())
      })
    }
    expect(proxied.upstream.heard).toEqual([])
    // The places those calls held are free again: eight at once may go.
    const answers = await Promise.all(Array.from({ length: 8 }, () => proxied.caller.post(call())))
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200))
  })
})

describe('never buffers without bound', () => {
  it('for a reader that does not read [H-M15]', async () => {
    const { house, caller, other, held } = proxied
    const { host, port } = new URL(house.origin)
    const body = JSON.stringify(call('hold'))
    const slow: Socket = connect(Number(port), '127.0.0.1')
    slow.write(
      `POST /echo/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nAuthorization: Bearer ${caller.token}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
    slow.pause()
    await until(() => held.length === 1, 'the call')
    const response = held[0]!
    response.writeHead(200, events)
    const piece = `data: ${'x'.repeat(65_000)}\n\n`
    let sent = 0
    let lastAt = Date.now()
    // Writes as long as the gateway takes it: what it takes without its reader is what it holds, plus the
    // kernel's own buffers.
    const more = (): void => {
      lastAt = Date.now()
      do sent += piece.length
      while (response.write(piece) && sent < 256 * 1024 * 1024)
    }
    response.on('drain', more)
    more()
    await until(() => Date.now() - lastAt > 500, 'the gateway to take no more')
    expect(sent).toBeLessThan(24 * 1024 * 1024)
    // Others are not held up by it.
    expect((await other.post(call())).status).toBe(200)
    slow.destroy()
  })
})

describe('never holds an answer for somebody who does not take it', () => {
  it('longer than half a minute; a stream of events waits for its reader [H-R1]', async () => {
    const { house, caller, held } = proxied
    const { host, port } = new URL(house.origin)
    const body = JSON.stringify(call('hold'))
    const ended: string[] = []
    const size = 33_554_432
    const begin = async (type: string): Promise<Socket> => {
      const before = held.length
      const slow = connect(Number(port), '127.0.0.1').pause()
      slow.write(
        `POST /echo/mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nAuthorization: Bearer ${caller.token}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      )
      await until(() => held.length > before, 'the call')
      held[before]!.writeHead(200, { 'content-type': type, 'content-length': size }).end(
        Buffer.alloc(size, 0x0a),
      )
      held[before]!.on('close', () => ended.push(type))
      return slow
    }
    const [whole, stream] = [await begin('application/json'), await begin('text/event-stream')]
    const taken = (): number =>
      held.reduce((sum, { socket }) => sum + (socket?.bytesWritten ?? 0) - (socket?.writableLength ?? 0), 0)
    let [last, since] = [taken(), Date.now()]
    await until(() => {
      if (taken() !== last) [last, since] = [taken(), Date.now()]
      return Date.now() - since > 300
    }, 'the gateway to take no more')
    house.advance(30_000)
    await until(() => ended.length > 0, 'the end of the answer')
    await until(
      () => house.log.some(({ event, fields }) => event === 'call' && fields['result'] === 'aborted'),
      'the record',
    )
    expect(ended).toEqual(['application/json'])
    let read = 0
    stream.on('data', (piece: Buffer) => void (read += piece.length)).resume()
    await until(() => read > size, 'the whole stream')
    whole.destroy()
    stream.destroy()
  })
})

describe('never lets an upstream that breaks off look like one that finished', () => {
  it('in the middle of an event stream [H-M13]', async () => {
    const { caller, held } = proxied
    const stream = caller.get()
    await until(() => held.length === 1, 'the GET')
    held[0]!.writeHead(200, events).write('data: {"half":')
    const reader = (await stream).body!.getReader()
    await reader.read()
    held[0]!.destroy()
    await expect(reader.read()).rejects.toThrow()
  })

  it('nor one that says nothing more: its callers hear of it in time, and others do not wait [H-R10]', async () => {
    const slow = await proxied.at('slow')
    const { other, held } = proxied
    const stuck = Array.from({ length: 4 }, () => slow.post(call('hold')))
    await until(() => held.length === 4, 'four calls')
    held[3]!.writeHead(200, { 'content-type': 'application/json' }).write('{"half":')
    expect((await other.post(call())).status).toBe(200)
    const answers = await Promise.all(stuck)
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 504, 504, 504])
    await expect(answers.find(({ status }) => status === 200)!.text()).rejects.toThrow()
  })
})

describe('never goes silent on an idle stream', () => {
  it('but sends a comment, and only where a line begins [C1]', async () => {
    const { caller, held, house } = proxied
    const stream = caller.get()
    await until(() => held.length === 1, 'the GET')
    held[0]!.writeHead(200, events).write('data: 1\n\n')
    const reader = (await stream).body!.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader.read()).value).toBe('data: 1\n\n')
    house.advance(16_000)
    expect((await reader.read()).value).toBe(': keep-alive\n\n')
    held[0]!.write('data: in the middle of a')
    expect((await reader.read()).value).toBe('data: in the middle of a')
    house.advance(16_000)
    held[0]!.write(' line\n\n')
    expect((await reader.read()).value).toBe(' line\n\n')
    await reader.cancel()
  })
})

/** An upstream of bytes: answers every request with what the test says. */
const openBytes = async (
  answer: (socket: Socket, count: number) => void,
): Promise<{ readonly url: string; readonly server: Server; connections(): number }> => {
  let count = 0
  let connections = 0
  const server = createTcpServer((socket) => {
    connections++
    socket.on('error', () => undefined)
    socket.on('data', () => answer(socket, ++count))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    server,
    connections: () => connections,
  }
}

const json = (text: string): string =>
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`

const withBytes = async (
  answer: (socket: Socket, count: number) => void,
  use: (post: () => Promise<Response>, connections: () => number) => Promise<void>,
): Promise<void> => {
  const bytes = await openBytes(answer)
  const house = await openOnSocket({
    upstream: bytes.url,
    config: { mcp_services: { raw: { name: 'Raw', url: bytes.url, auth_required: false, timeout: 2000 } } },
  })
  const anybody = callerOf(house, `${house.origin}/raw/mcp`, '')
  try {
    await use(() => anybody.post(call()), bytes.connections)
  } finally {
    await house.close()
    bytes.server.close()
  }
}

const answer = (text: string): string => JSON.stringify({ jsonrpc: '2.0', id: 7, result: { text } })

describe('never believes an upstream that speaks two languages', () => {
  it('and gives the answer planted behind one caller’s to no other [H-K5]', async () => {
    await withBytes(
      (socket) => socket.write(json(answer('mine')) + json(answer('planted'))),
      async (post, connections) => {
        for (let i = 0; i < 5; i++) expect(await (await post()).text()).toBe(answer('mine'))
        expect(connections()).toBe(5)
      },
    )
  })

  it.each([
    ['no HTTP', 'SSH-2.0-OpenSSH\r\n\r\n'],
    ['two framings', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a field with a NUL', 'HTTP/1.1 200 OK\r\nX: \u0000\r\nContent-Length: 0\r\n\r\n'],
    ['a switch of protocols', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n'],
  ])('but answers 502 as JSON-RPC for %s', async (_name, bytes) => {
    await withBytes(
      (socket) => socket.write(bytes),
      async (post) => {
        const answer = await post()
        expect([answer.status, await answer.json()]).toMatchObject([
          502,
          { jsonrpc: '2.0', id: 7, error: { code: 1502 } },
        ])
      },
    )
  })

  it('but hears one that closes each connection, announces it, or just does it', async () => {
    const whole = answer('all of it')
    await withBytes(
      (socket, count) => {
        if (count % 3 === 0) socket.end(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n${whole}`)
        else if (count % 3 === 1)
          socket.write(
            `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${whole.length}\r\n\r\n${whole}`,
          )
        else socket.end(json(whole))
      },
      async (post) => {
        for (let i = 0; i < 12; i++) {
          const heard = await post()
          expect([heard.status, await heard.text()]).toEqual([200, whole])
        }
      },
    )
  })

  it('but answers 502 when it hangs up without a word', async () => {
    await withBytes(
      (socket) => socket.destroy(),
      async (post) => {
        const answer = await post()
        expect([answer.status, (await answer.json()) as unknown]).toMatchObject([
          502,
          {
            error: {
              message: 'Raw closed the connection before it answered. The request may have been carried out.',
            },
          },
        ])
      },
    )
  })
})
