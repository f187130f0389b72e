// Taking servers down: what is let finish, what is closed, and what is cut when its time is over.
import { once } from 'node:events'
import {
  Agent,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Drain, createDrain } from '../../src/node/serve.ts'

let server: Server
let drain: Drain
let answer: (response: ServerResponse) => void
const port = (): number => (server.address() as AddressInfo).port
const ask = async (agent: Agent | false = false): Promise<IncomingMessage> => {
  const [response] = (await once(request({ port: port(), host: '127.0.0.1', agent }).end(), 'response')) as [
    IncomingMessage,
  ]
  return response
}

beforeEach(async () => {
  answer = (response) => void response.end('whole')
  server = createServer((_request, response) => answer(response))
  drain = createDrain()
  drain.watch(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterEach(() => server.closeAllConnections())

describe('a server that is taken down', () => {
  test('is down at once when nobody is there, and when a connection was only opened', async () => {
    const idle = connect(port(), '127.0.0.1')
    await once(idle, 'connect')
    await text(await ask())
    const closed = once(idle, 'close')
    expect(await drain.drain({ graceMs: 60_000 })).toBe(true)
    await closed
  })

  test('answers who comes back on a connection it held, for a while', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    await text(await ask(agent))
    const down = drain.drain({ graceMs: 60_000, lingerMs: 60_000 })
    expect(await text(await ask(agent))).toBe('whole')
    agent.destroy()
    expect(await down).toBe(true)
  })

  test('waits for an answer that is being written, and closes its connection behind it', async () => {
    const agent = new Agent({ keepAlive: true })
    let writing: ServerResponse | undefined
    answer = (response) => void (writing = response).write('first, ')
    const whole = text(await ask(agent))
    const down = drain.drain({ graceMs: 60_000 })
    writing?.end('last')
    expect([await whole, await down]).toEqual(['first, last', true])
  })

  test('cuts off what is not finished in time, and says so', async () => {
    answer = (response) => void response.write('first, ')
    const cut = text(await ask()).catch((error: NodeJS.ErrnoException) => error.code)
    expect([await drain.drain({ graceMs: 100 }), await cut]).toEqual([false, 'ECONNRESET'])
  })

  test('of several none is forgotten, one that never listened included', async () => {
    const other = createServer((_request, response) => response.end())
    drain.watch(other)
    drain.watch(createServer())
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    expect(await drain.drain({ graceMs: 60_000 })).toBe(true)
    expect([server.listening, other.listening]).toEqual([false, false])
  })
})
