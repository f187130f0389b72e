// WebSocket servers that do not open, break off, point elsewhere or send half a character: what the calls
// that wait for them hear.
import { createHash } from 'node:crypto'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { callerOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { createListeners } from '../unit/listeners.ts'

const listeners = createListeners()
afterAll(() => listeners.close())

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
}

/** An unmasked frame of a server (RFC 6455 §5.2); at most 125 bytes. */
const frame = (opcode: number, payload: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0x80 | opcode, payload.length]), payload])
const said = (message: object): Buffer => frame(1, Buffer.from(JSON.stringify(message)))

const accept = (socket: Socket, head: string): void => {
  const key = /^sec-websocket-key: (.*)$/im.exec(head)?.[1] ?? ''
  const answer = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mcp\r\nSec-WebSocket-Accept: ${answer}\r\n\r\n`,
  )
}

/** What the server does with a handshake at that path. */
const handshakes: Readonly<Record<string, (socket: Socket, inner: string) => void>> = {
  silent: () => undefined,
  resets: (socket) => socket.resetAndDestroy(),
  away: (socket, inner) =>
    void socket.write(`HTTP/1.1 307 Away\r\nLocation: ${inner}\r\nContent-Length: 0\r\n\r\n`),
  page: (socket) =>
    void socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi'),
  liar: (socket) =>
    void socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mcp\r\nSec-WebSocket-Accept: bm8=\r\n\r\n',
    ),
}

/** What it does when that tool is called; everything else is answered. */
const tools: Readonly<Record<string, (socket: Socket) => void>> = {
  'resets in an answer': (socket) =>
    void socket.write(said({ jsonrpc: '2.0', id: 7, result: {} }).subarray(0, 20), () =>
      socket.resetAndDestroy(),
    ),
  'closes in an answer': (socket) =>
    void socket.end(said({ jsonrpc: '2.0', id: 7, result: {} }).subarray(0, 20)),
  'sends half a character': (socket) =>
    void socket.write(
      frame(
        1,
        Buffer.concat([
          Buffer.from('{"jsonrpc":"2.0","id":7,"result":"'),
          Buffer.from('€').subarray(0, 2),
          Buffer.from('"}'),
        ]),
      ),
    ),
  'sends no JSON': (socket) => void socket.write(frame(1, Buffer.from('<html>')), () => socket.destroy()),
  'sends a binary frame': (socket) =>
    void socket.write(frame(2, Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 7, result: {} })))),
  'sends a frame of no kind': (socket) => void socket.write(frame(11, Buffer.from('x'))),
}

/** The text of the last whole masked frame of a client that is short. */
const heardIn = (piece: Buffer): string | undefined => {
  const length = (piece[1] ?? 0) & 127
  const at = length === 126 ? 4 : 2
  const size = length === 126 ? piece.readUInt16BE(2) : length
  if (((piece[0] ?? 0) & 15) !== 1 || piece.length < at + 4 + size) return undefined
  const mask = piece.subarray(at, at + 4)
  return Buffer.from(
    piece.subarray(at + 4, at + 4 + size).map((byte, i) => byte ^ (mask[i % 4] as number)),
  ).toString('utf8')
}

const openServer = async (inner: string): Promise<Server> => {
  const server = createServer((socket) => {
    let open = false
    socket.on('error', () => undefined)
    socket.on('data', (piece: Buffer) => {
      if (!open) {
        const head = piece.toString('latin1')
        const path = /^GET \/(\w*)/.exec(head)?.[1] ?? ''
        open = path === ''
        return open ? accept(socket, head) : handshakes[path]?.(socket, inner)
      }
      const message = JSON.parse(heardIn(piece) ?? '{}') as { id?: unknown; params?: { name?: string } }
      const tool = tools[message.params?.name ?? '']
      if (tool) tool(socket)
      else if (message.id !== undefined)
        socket.write(
          said({ jsonrpc: '2.0', id: message.id, result: { ok: true, protocolVersion: '2025-11-25' } }),
        )
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  return server
}

/** An answer as it is, or the message of an event stream, which an answer becomes that takes its time. */
const messageIn = (text: string): string => /^data: (\{.*)$/m.exec(text)?.[1] ?? text

describe.each(runtimes)('%s', (where, open) => {
  let house: TestGateway
  let server: Server
  let inside: Awaited<ReturnType<typeof listeners.trap>>

  beforeAll(async () => {
    inside = await listeners.trap()
    server = await openServer(`http://127.0.0.1:${inside.port}/`)
    const origin = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
    const at = (path: string) => ({
      url: `${origin}/${path}`,
      timeout: 400,
      name: 'Socket',
      auth_required: false,
    })
    house = await open({
      upstream: `http://127.0.0.1:9/mcp`,
      config: {
        mcp_services: {
          // What it says is judged at once, however long the service would wait.
          plain: { ...at(''), timeout: 10_000 },
          ...Object.fromEntries(Object.keys(handshakes).map((path) => [path, at(path)])),
        },
      },
    })
  }, 120_000)
  afterAll(async () => {
    await house.close()
    server.close()
  })

  it.each([
    ['silent', 504, 1504],
    ['resets', 502, 1502],
    ['away', 502, 1502],
    ['page', 502, 1502],
    ['liar', 502, 1502],
  ] as const)(
    'never waits for a handshake that does not come, nor follows one elsewhere: %s [H-K7] [H-R10]',
    async (id, status, code) => {
      const since = performance.now()
      const answer = await callerOf(house, `${house.origin}/${id}/mcp`, '').post(initialize)
      expect([id, answer.status, await answer.json()]).toMatchObject([
        id,
        status,
        { jsonrpc: '2.0', id: 1, error: { code } },
      ])
      expect([performance.now() - since < 2000, inside.seen.connections]).toEqual([true, 0])
      expect(house.log.filter(({ fields }) => fields['refusal'] === 'fault')).toEqual([])
    },
  )

  // Cloudflare's runtime mends the text of a frame by itself, and says nothing of it.
  it.each(Object.keys(tools).filter((name) => where !== 'in workerd' || name !== 'sends half a character'))(
    'never lets a server that %s look as if it had answered, nor reach another session [H-M13]',
    async (name) => {
      const caller = callerOf(house, `${house.origin}/plain/mcp`, '')
      const session = async () => {
        const begun = await caller.post(initialize)
        await begun.text()
        return {
          'mcp-session-id': begun.headers.get('mcp-session-id') ?? '',
          'mcp-protocol-version': '2025-11-25',
        }
      }
      const [mine, theirs] = [await session(), await session()]
      const since = performance.now()
      const [broken, whole] = await Promise.all([
        caller.post(call(name), mine),
        caller.post(call('whoami', 8), theirs),
      ])
      const [text, other] = [await broken.text(), await whole.text()]
      expect([name, performance.now() - since < 2000, JSON.parse(messageIn(text))]).toMatchObject([
        name,
        true,
        { jsonrpc: '2.0', id: 7, error: { code: 1502 } },
      ])
      expect(other).toContain('"ok":true')
      expect(await (await caller.post(call('whoami', 9), theirs)).text()).toContain('"ok":true')
      expect(house.log.filter(({ event }) => event === 'fault')).toEqual([])
    },
  )
})
