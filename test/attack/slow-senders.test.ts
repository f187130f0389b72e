// People who connect and say nothing, or next to nothing: cut off in time, and no hindrance to anybody else.
// With short times and few connections; `npm run prove slowloris` does it with all.
import { once } from 'node:events'
import { Agent, createServer, get, type IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, describe, expect, it } from 'vitest'
import { protectServer, serverOptions } from '../../src/node/request-guard.ts'
import { until } from '../runtimes/proxied.ts'

const servers: Server[] = []
const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
  for (const server of servers.splice(0)) {
    server.close()
    server.closeAllConnections()
  }
})

/** A server as the door makes it, with other times and numbers. */
const opened = async (
  times: object,
  maxConnections?: number,
  networkOf?: (address: string) => string,
): Promise<{ readonly server: Server; readonly port: number; readonly requests: () => number }> => {
  let requests = 0
  const server = createServer({ ...serverOptions, ...times }, (request, response) => {
    requests++
    request.on('end', () => response.end('served')).resume()
  })
  protectServer(server, {
    ...(maxConnections !== undefined && { maxConnections }),
    ...(networkOf && { networkOf }),
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  servers.push(server)
  return { server, port: (server.address() as AddressInfo).port, requests: () => requests }
}

interface Slow {
  readonly socket: Socket
  /** What the server said until it closed. */
  readonly closed: Promise<string>
}

/** A connection that begins so, and then sends `dribble` again and again. */
const slow = async (port: number, begin: string, dribble = ''): Promise<Slow> => {
  const socket = connect(port, '127.0.0.1')
  sockets.push(socket)
  let heard = ''
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => void (heard += chunk.toString('latin1')))
  const closed = new Promise<string>((resolve) => void socket.once('close', () => resolve(heard)))
  await once(socket, 'connect')
  socket.write(begin)
  const timer = dribble === '' ? undefined : setInterval(() => void socket.write(dribble), 20)
  void closed.then(() => clearInterval(timer))
  return { socket, closed }
}

const ask = async (port: number, agent: Agent | false, localAddress = '127.0.0.1'): Promise<string> => {
  const [response] = (await once(get({ port, host: '127.0.0.1', agent, localAddress }), 'response')) as [
    IncomingMessage,
  ]
  return text(response)
}

const connections = (server: Server): Promise<number> =>
  new Promise((resolve) => server.getConnections((_, count) => resolve(count)))

const head = 'POST / HTTP/1.1\r\nHost: localhost\r\n'

describe('never longer than their time', () => {
  it('heads within 15 s, bodies within 30 s, as they are configured [H-R1]', () => {
    const { headersTimeout = 0, requestTimeout = 0, connectionsCheckingInterval = 0 } = serverOptions
    expect([headersTimeout > 5_000, headersTimeout + connectionsCheckingInterval < 15_000]).toEqual([
      true,
      true,
    ])
    expect([requestTimeout > 10_000, requestTimeout + connectionsCheckingInterval < 30_000]).toEqual([
      true,
      true,
    ])
  })

  it.each([
    ['a head that grows byte by byte', head, 'X', { headersTimeout: 150, requestTimeout: 60_000 }, 0],
    [
      'headers one after the other',
      head,
      'X-More: 1\r\n',
      { headersTimeout: 150, requestTimeout: 60_000 },
      0,
    ],
    ['silence', '', '', { headersTimeout: 150, requestTimeout: 60_000 }, 0],
    [
      'a body that grows byte by byte',
      `${head}Content-Length: 60000\r\n\r\n`,
      'a',
      { headersTimeout: 100, requestTimeout: 200 },
      20,
    ],
    [
      'a body in chunks without an end',
      `${head}Transfer-Encoding: chunked\r\n\r\n`,
      '1\r\na\r\n',
      { headersTimeout: 100, requestTimeout: 200 },
      20,
    ],
  ])(
    '%s, on twenty connections at once, and others are served meanwhile [H-R1]',
    async (_, begin, dribble, times, begun) => {
      const { port, requests } = await opened({ ...times, connectionsCheckingInterval: 20 })
      const those = await Promise.all(Array.from({ length: 20 }, () => slow(port, begin, dribble)))
      expect(await ask(port, false)).toBe('served')
      expect(requests()).toBe(begun + 1)
      const said = await Promise.all(those.map(({ closed }) => closed))
      for (const one of said)
        expect(one).toMatch(
          /^HTTP\/1\.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n$/,
        )
      expect(await ask(port, false)).toBe('served')
    },
  )
})

describe('never keep anybody out', () => {
  it('by silence: who waits longest without a request makes room for who comes, and who is being served never does [H-R2]', async () => {
    const { server, port, requests } = await opened({}, 8)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    expect(await ask(port, agent)).toBe('served')
    const busy = await slow(port, `${head}Content-Length: 10\r\n\r\n`)
    await until(() => requests() === 2, 'the request')
    const idle: Slow[] = []
    for (let i = 0; i < 40; i++)
      idle.push(await slow(port, i % 2 === 0 ? '' : '\x16\x03\x01'.slice(0, i % 4)))
    // The one that was there before, one that comes now, and one in the middle of its request.
    expect(await ask(port, agent)).toBe('served')
    expect(await ask(port, false)).toBe('served')
    await Promise.all(idle.slice(0, 30).map(({ closed }) => closed))
    expect(await connections(server)).toBeLessThanOrEqual(8)
    busy.socket.write('0123456789')
    await once(busy.socket, 'data')
    agent.destroy()
  })

  it('by connections between two requests: the network with the most gives one up, and nobody else does [H-R2]', async () => {
    const { server, port } = await opened({}, 8, (address) => address)
    const own = new Agent({ keepAlive: true, maxSockets: 1 })
    expect(await ask(port, own, '127.0.0.2')).toBe('served')
    const [kept] = Object.values(own.freeSockets).flat()
    for (let round = 0; round < 5; round++) {
      const crowd = new Agent({ keepAlive: true, maxFreeSockets: 100 })
      const answers = Array.from({ length: 7 }, () => ask(port, crowd, '127.0.0.3'))
      expect(await Promise.all(answers)).toEqual(answers.map(() => 'served'))
      // Everybody of the crowd is idle now, and holds all the room there is.
      for (let i = 10; i < 14; i++) expect(await ask(port, false, `127.0.0.${i}`)).toBe('served')
      expect(await connections(server)).toBeLessThanOrEqual(8)
      crowd.destroy()
    }
    expect(kept?.destroyed).toBe(false)
    expect(await ask(port, own, '127.0.0.2')).toBe('served')
    own.destroy()
  })

  it('by number: beyond the cap of those that are served nobody is taken in, and nobody is put out [H-R2]', async () => {
    const { server, port, requests } = await opened({}, 4)
    const those: Slow[] = []
    for (let i = 0; i < 4; i++) those.push(await slow(port, `${head}Content-Length: 10\r\n\r\n`))
    await until(() => requests() === 4, 'the requests')
    await ask(port, false).catch(() => undefined)
    const late = await Promise.all(Array.from({ length: 20 }, () => slow(port, '').catch(() => undefined)))
    await Promise.all(late.flatMap((one) => (one === undefined ? [] : [one.closed])))
    for (const { socket } of those) socket.write('0123456789')
    const answers = those.map(({ socket }) => once(socket, 'data'))
    for (const [chunk] of (await Promise.all(answers)) as [Buffer][])
      expect(chunk.toString()).toMatch(/^HTTP\/1\.1 200 OK/)
    for (const { socket } of those) socket.destroy()
    while ((await connections(server)) > 0) await new Promise((resolve) => setImmediate(resolve))
    expect(await ask(port, false)).toBe('served')
  })
})
