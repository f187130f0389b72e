// What one outbound exchange may do, and how much of it: real listeners that behave badly.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type Socket } from 'node:net'
import { brotliCompressSync, constants, createGzip, gzipSync } from 'node:zlib'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type Lookup, createOutbound } from '../../src/node/outbound.ts'
import { createListeners } from './listeners.ts'

const failed = { code: 'outbound.failed' }
const listeners = createListeners()
const { listen, serve, trap, closedPort, sockets } = listeners
const every = (socket: Socket, text: string, start: string): void => {
  socket.write(start)
  const timer = setInterval(() => socket.write(text), 20)
  socket.once('close', () => clearInterval(timer))
}

afterEach(() => listeners.close())

describe('what an exchange may do', () => {
  test('sends method, headers and body as given and answers status, headers and body', async () => {
    const seen: { request?: IncomingMessage; body?: string } = {}
    const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      seen.request = request
      seen.body = ''
      for await (const chunk of request) seen.body += String(chunk)
      response
        .writeHead(201, { 'content-type': 'application/json', 'x-twice': ['a', 'b'] })
        .end('{"ok":true}')
    }
    const origin = await serve((request, response) => void answer(request, response))
    const got = await createOutbound({ allowOrigins: [origin] })(`${origin}/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', authorization: 'Basic eA==' },
      body: 'a=1&b=%20',
    })
    expect([
      got.status,
      got.headers.get('content-type'),
      got.headers.get('x-twice'),
      new TextDecoder().decode(got.body),
    ]).toEqual([201, 'application/json', 'a, b', '{"ok":true}'])
    expect([seen.request?.method, seen.request?.url, seen.body]).toEqual(['POST', '/token', 'a=1&b=%20'])
    expect(seen.request?.headers).toMatchObject({
      'content-type': 'application/x-www-form-urlencoded',
      authorization: 'Basic eA==',
      'user-agent': 'postern',
    })
    expect(seen.request?.headers).not.toHaveProperty('cookie')
    expect(got.body).toBeInstanceOf(Uint8Array)
    expect(got.headers).toBeInstanceOf(Headers)
  })

  test('a redirect is an answer, never followed', async () => {
    const inside = await trap()
    for (const status of [301, 302, 303, 307, 308]) {
      const origin = await serve((_, response) =>
        response.writeHead(status, { location: `http://127.0.0.1:${inside.port}/` }).end(),
      )
      expect((await createOutbound({ allowOrigins: [origin] })(origin)).status).toBe(status)
    }
    expect(inside.seen.connections).toBe(0)
  })

  test('every exchange has a connection of its own, and none is left open', async () => {
    let connections = 0
    const server = createServer((_, response) => response.end('x'))
    server.on('connection', () => (connections += 1))
    const origin = `http://127.0.0.1:${await listen(server)}`
    const outbound = createOutbound({ allowOrigins: [origin] })
    await outbound(origin)
    await outbound(origin)
    expect(connections).toBe(2)
    await vi.waitFor(() => expect(sockets.size).toBe(0), { timeout: 20_000 })
  })

  test('cookies of one exchange are not sent with the next', async () => {
    const cookies: unknown[] = []
    const origin = await serve((request, response) => {
      cookies.push(request.headers.cookie)
      response.setHeader('set-cookie', 'a=b').end()
    })
    const outbound = createOutbound({ allowOrigins: [origin] })
    await outbound(origin)
    await outbound(origin)
    expect(cookies).toEqual([undefined, undefined])
  })

  test.each([
    ['gzip', gzipSync('{"a":1}')],
    ['br', brotliCompressSync('{"a":1}')],
  ])('a body in %s is decoded', async (coding, body) => {
    const origin = await serve((_, response) =>
      response.writeHead(200, { 'content-encoding': coding }).end(body),
    )
    const got = await createOutbound({ allowOrigins: [origin] })(origin)
    expect(new TextDecoder().decode(got.body)).toBe('{"a":1}')
    expect(got.headers.has('content-encoding')).toBe(false)
  })

  test('a server that is not there, resets or talks no HTTP is a failed exchange, not a refused one', async () => {
    const port = await closedPort()
    const resetting = await listen(
      createTcpServer((socket) => socket.once('data', () => socket.resetAndDestroy())),
    )
    const babbling = await listen(createTcpServer((socket) => socket.end('SSH-2.0-x\r\n')))
    for (const at of [port, resetting, babbling]) {
      const origin = `http://127.0.0.1:${at}`
      await expect(createOutbound({ allowOrigins: [origin] })(origin)).rejects.toMatchObject(failed)
    }
    const unknown: Lookup = () =>
      Promise.reject(Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' }))
    await expect(
      createOutbound({ allowOrigins: [], lookup: unknown })('https://nowhere.example/'),
    ).rejects.toMatchObject({ ...failed, why: 'https://nowhere.example: getaddrinfo ENOTFOUND' })
  })
})

describe('time and size are capped [H-C8, H-F7]', () => {
  const cap = 5 * 1024
  const limited = (origin: string, timeoutMs = 2000) =>
    createOutbound({ allowOrigins: [origin] })(origin, { maxBytes: cap, timeoutMs })

  test('a body of exactly the cap passes, one byte more does not', async () => {
    const origin = await serve((request, response) =>
      response.end('x'.repeat(cap + (request.url === '/more' ? 1 : 0))),
    )
    expect((await limited(`${origin}/`)).body.length).toBe(cap)
    await expect(
      createOutbound({ allowOrigins: [origin] })(`${origin}/more`, { maxBytes: cap }),
    ).rejects.toMatchObject(failed)
  })

  test('a body without end is cut at the cap, and the server loses its connection', async () => {
    const closed = Promise.withResolvers<void>()
    let sent = 0
    const origin = await serve((_, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write('x'.repeat(16_384))) sent += 16_384
      }
      response.on('drain', more).on('close', () => closed.resolve())
      more()
    })
    await expect(limited(origin)).rejects.toMatchObject(failed)
    await closed.promise
    expect(sent).toBeLessThan(64 * 1024 * 1024)
  })

  test('a gzip bomb is measured decoded: the cap ends it, memory stays flat', async () => {
    const origin = await serve((_, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' })
      const gzip = createGzip({ level: constants.Z_BEST_COMPRESSION })
      gzip.pipe(response)
      const zeros = Buffer.alloc(1024 * 1024)
      const more = (): void => {
        while (!response.destroyed && gzip.write(zeros));
      }
      gzip.on('drain', more)
      response.on('close', () => gzip.destroy())
      more()
    })
    const before = process.memoryUsage().arrayBuffers
    await expect(limited(origin)).rejects.toMatchObject({
      ...failed,
      why: expect.stringContaining('larger') as string,
    })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024)
  })

  test('coding upon coding is not unpacked without end', async () => {
    const origin = await serve((_, response) =>
      response
        .writeHead(200, { 'content-encoding': Array.from({ length: 50 }, () => 'gzip').join(', ') })
        .end('x'),
    )
    await expect(limited(origin)).rejects.toMatchObject(failed)
  })

  test.each([
    ['never answers', (_: Socket) => undefined],
    ['never ends its headers', (socket: Socket) => every(socket, 'X-A: b\r\n', 'HTTP/1.1 200 OK\r\n')],
    [
      'sends a byte now and then',
      (socket: Socket) => every(socket, 'x', 'HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n'),
    ],
    [
      'never ends its body',
      (socket: Socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nxx'),
    ],
  ])('a server that %s is left after the time for the whole exchange', async (_, behave) => {
    const port = await listen(
      createTcpServer((socket) => behave(socket.on('error', () => undefined).resume())),
    )
    const started = performance.now()
    await expect(limited(`http://127.0.0.1:${port}`, 300)).rejects.toMatchObject(failed)
    expect(performance.now() - started).toBeLessThan(1500)
    await vi.waitFor(() => expect(sockets.size).toBe(0), { timeout: 20_000 })
  })

  test('a TLS handshake that stalls ends with the time', async () => {
    const { port } = await trap()
    const origin = `https://127.0.0.1:${port}`
    await expect(limited(origin, 300)).rejects.toMatchObject(failed)
    await vi.waitFor(() => expect(sockets.size).toBe(0), 3000)
  })

  test('a resolver that stalls ends with the time', async () => {
    const lookup: Lookup = () => new Promise(() => undefined)
    await expect(
      createOutbound({ allowOrigins: [], lookup })('https://slow.example/', { timeoutMs: 100 }),
    ).rejects.toMatchObject(failed)
  })

  test('headers larger than 16 KiB are a failed exchange', async () => {
    const port = await listen(
      createTcpServer((socket) =>
        socket
          .once('data', () =>
            socket.end(`HTTP/1.1 200 OK\r\nX-A: ${'b'.repeat(40_000)}\r\ncontent-length: 0\r\n\r\n`),
          )
          .on('error', () => undefined),
      ),
    )
    await expect(limited(`http://127.0.0.1:${port}`)).rejects.toMatchObject(failed)
  })
})
