// Bytes that fuzzing found: what one connection may say to the real server, and how often it may answer.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openOnSocket, type TestGateway } from '../runtimes/runtimes.ts'
import { sendRaw } from '../runtimes/raw.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let upstream: Upstream
let house: TestGateway
let port: number
beforeAll(async () => {
  upstream = await openUpstream()
  house = await openOnSocket({ upstream: upstream.url })
  port = Number(new URL(house.origin).port)
})
afterAll(async () => {
  await house.close()
  await upstream.close()
})

describe('never says anything more on a connection after "Connection: close" (RFC 9112 §9.6)', () => {
  const host = () => `Host: localhost:${port}\r\n`
  it.each([
    [
      'an expectation that nobody meets, and a body',
      () => `DELETE /health HTTP/1.1\r\n${host()}Expect: more\r\n\r\nflow=x\r\n\r\n`,
      417,
    ],
    [
      'two Host headers, and a body',
      () => `DELETE /health HTTP/1.1\r\n${host()}Host: x\r\n\r\nflow=x\r\n\r\n`,
      400,
    ],
    [
      'a handshake with a body',
      () =>
        `GET /echo/mcp HTTP/1.1\r\n${host()}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 4\r\n\r\nAAAA`,
      400,
    ],
    [
      'a handshake with chunks',
      () =>
        `GET /echo/mcp HTTP/1.1\r\n${host()}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    [
      'a handshake by HEAD',
      () =>
        `HEAD /echo/mcp HTTP/1.1\r\n${host()}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
      400,
    ],
  ])('to %s [H-K6]', async (_, bytes, status) => {
    const { text, statuses, closed } = await sendRaw(port, bytes())
    expect([statuses, closed]).toEqual([[status], true])
    if (bytes().startsWith('HEAD')) expect(text).toMatch(/\r\n\r\n$/)
  })
})
