// The header fields of a request on Node: the object of all fields, which is built for whoever reads it.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, describe, expect, it } from 'vitest'
import { protectServer, serverOptions } from '../../src/node/request-guard.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close()
    server.closeAllConnections()
  }
})

/** What a server answers to these bytes, and the fields that it was handed. */
const ask = async (bytes: string): Promise<{ answer: string; seen: IncomingMessage['headers'][] }> => {
  const seen: IncomingMessage['headers'][] = []
  const server = createServer(serverOptions, (request, response) => {
    seen.push(request.headers)
    response.setHeader('connection', 'close').end()
  })
  protectServer(server, {
    upgrade(request) {
      seen.push(request.headers)
      return false
    },
  })
  servers.push(server.listen(0, '127.0.0.1'))
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.write(bytes)
  return { answer: await text(socket), seen }
}

describe('header fields of a request', () => {
  it('are all there for whoever the request is handed to', async () => {
    const { answer, seen } = await ask(
      'POST / HTTP/1.1\r\nHost: a.example\r\nAccept: x/y\r\nACCEPT: z/z\r\nContent-Length: 0\r\n\r\n',
    )
    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
    expect(seen).toEqual([{ host: 'a.example', accept: 'x/y, z/z', 'content-length': '0' }])
  })

  it.each(['Expect', 'expect', 'EXPECT'])('are read by Node for %s', async (name) => {
    const { answer, seen } = await ask(`POST / HTTP/1.1\r\nHost: a\r\n${name}: mind-reading\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1\.1 417 /)
    expect(seen).toEqual([])
    const waiting = await ask(
      `POST / HTTP/1.1\r\nHost: a\r\n${name}: 100-continue\r\nContent-Length: 0\r\n\r\n`,
    )
    expect(waiting.seen).toEqual([{ host: 'a', expect: '100-continue', 'content-length': '0' }])
  })

  it('are read by Node for a missing Host', async () => {
    const { answer, seen } = await ask('POST / HTTP/1.1\r\nAccept: x/y\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    expect(seen).toEqual([])
  })

  it('are all there for an upgrade, and for HTTP/1.0', async () => {
    const upgrade = await ask('GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n')
    expect(upgrade.seen).toEqual([{ host: 'a', connection: 'upgrade', upgrade: 'other' }])
    const old = await ask('GET /health HTTP/1.0\r\nTE: chunked\r\nAccept: x/y\r\n\r\n')
    expect(old.seen).toEqual([{ te: 'chunked', accept: 'x/y' }])
  })
})
