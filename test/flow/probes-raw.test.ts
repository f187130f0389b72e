// What load balancers, orchestrators and proxies in front send, byte for byte, to the real socket.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, openOnSocket } from '../runtimes/runtimes.ts'
import { sendRaw } from '../runtimes/raw.ts'

let house: TestGateway
let port: number
beforeAll(async () => {
  house = await openOnSocket({ upstream: 'http://127.0.0.1:9/mcp' })
  port = Number(new URL(house.origin).port)
})
afterAll(() => house.close())

const send = async (
  head: string,
): Promise<{ readonly status: number | undefined; readonly body: string }> => {
  const { text, statuses } = await sendRaw(port, `${head}\r\n\r\n`)
  return { status: statuses[0], body: text.slice(text.indexOf('\r\n\r\n') + 4) }
}

describe('a health check is answered', () => {
  it.each(['/health', '/healthz', '/readyz'])('at %s, whoever asks and under whatever name', async (path) => {
    const close = 'Connection: close'
    expect((await send(`GET ${path} HTTP/1.0`)).status).toBe(200)
    expect((await send(`HEAD ${path} HTTP/1.0`)).status).toBe(200)
    expect((await send(`OPTIONS ${path} HTTP/1.0`)).status).toBeLessThan(500)
    expect((await send(`GET ${path} HTTP/1.1\r\nHost: 10.244.0.5:${port}\r\n${close}`)).status).toBe(200)
    expect((await send(`GET ${path} HTTP/1.1\r\nHost: postern\r\n${close}`)).status).toBe(200)
  })

  it('without a Host only by HTTP/1.0 and nowhere else (RFC 9112 §3.2)', async () => {
    for (const head of [
      'GET /healthz HTTP/1.1\r\nConnection: close',
      'GET /echo/mcp HTTP/1.0',
      'GET /services HTTP/1.0',
      'POST /healthz HTTP/1.0',
      'GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b',
    ]) {
      expect([head, (await send(head)).status]).toEqual([head, 400])
    }
  })
})

it('a name that is not the gateway’s is refused in words that say both and the key that lets it through', async () => {
  const { status, body } = await send(
    `POST /echo/mcp HTTP/1.1\r\nHost: postern:${port}\r\nContent-Length: 0\r\nConnection: close`,
  )
  expect(status).toBe(421)
  const { message } = (JSON.parse(body) as { error: { message: string } }).error
  expect(message).toBe(
    `The public host of this gateway is localhost:${port}, but the request was for postern:${port}. ` +
      `Make the reverse proxy forward the original Host header, or add postern:${port} to allowed_hosts.`,
  )
})
