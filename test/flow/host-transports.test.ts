// Hosts of services are met by clients of every transport: HTTP+SSE and WebSocket beside Streamable HTTP.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { Fetch } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { underAnyName } from '../runtimes/named.ts'
import { ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
}

describe.each(runtimes)('%s', (where, open) => {
  let house: TestGateway
  let upstream: Upstream
  let fetch: Fetch
  let port: string
  const at = (host: string, path = ''): string => `http://${host}:${port}${path}`
  /** Host, the paths of both transports there, and the path upstream. */
  const hosts = [
    ['mcp.exact.localhost', '/mcp', '/sse', '/mcp'],
    ['echo.base.localhost', '/mcp', '/sse', '/mcp'],
    ['deep-enc.root.localhost', '/v1/own/mcp', '/v1/own/sse', '/v1/own/mcp'],
  ] as const

  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: {
        domain_root: 'root.localhost',
        base_domain: 'base.localhost',
        hosts: { 'mcp.exact.localhost': 'echo' },
        local_users: [ana],
        mcp_services: {
          deep: { name: 'Deep', url: `${new URL(upstream.url).origin}/v1/own/mcp`, alias: 'deep' },
        },
      },
    })
    fetch = underAnyName(house, where !== 'in process')
    ;({ port } = new URL(house.origin))
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  it('challenges at either address of a host with the metadata of that address, and a token of one serves at the other [B1]', async () => {
    for (const [host, mcp, sse] of hosts) {
      for (const path of [mcp, sse]) {
        const answer = await fetch(at(host, path), { headers: { accept: 'text/event-stream' } })
        const metadata = at(host, `/.well-known/oauth-protected-resource${path}`)
        expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([
          401,
          expect.stringContaining(`resource_metadata="${metadata}"`),
        ])
        expect(await (await fetch(metadata)).json()).toMatchObject({
          resource: at(host, path),
          authorization_servers: [house.origin],
        })
      }
      // RFC 9728 §3: the root of a host means the endpoint its server has.
      expect(await (await fetch(at(host, '/.well-known/oauth-protected-resource'))).json()).toMatchObject({
        resource: at(host, mcp),
      })
    }
  })

  it('streams to clients of HTTP+SSE, and takes their messages, at the host they came to [C6]', async () => {
    for (const [host, , sse, path] of hosts) {
      const token = await tokenOf(house, ana, at(host, sse))
      const leaving = new AbortController()
      const stream = await callerOf({ ...house, fetch }, at(host, sse), token).get(
        {},
        { signal: leaving.signal },
      )
      expect([host, stream.status]).toEqual([host, 200])
      const reader = (stream.body as ReadableStream<Uint8Array<ArrayBuffer>>)
        .pipeThrough(new TextDecoderStream())
        .getReader()
      const endpoint = /^event: endpoint\ndata: (\S+)/.exec((await reader.read()).value ?? '')?.[1] ?? ''
      expect(endpoint.startsWith(`${sse}/message?sessionId=`)).toBe(true)
      expect((await callerOf({ ...house, fetch }, at(host, endpoint), token).post(initialize)).status).toBe(
        202,
      )
      expect((await reader.read()).value).toContain('"method":"initialize"')
      expect(upstream.heard.at(-1)?.url).toBe(path)
      // Another host of the same gateway knows nothing of the stream's paths.
      expect(
        (await callerOf({ ...house, fetch }, at('deep.base.localhost', endpoint), token).post(initialize))
          .status,
      ).not.toBe(202)
      await reader.cancel().catch(() => undefined)
      leaving.abort()
    }
  })

  itWhere(where !== 'in process')('speaks on WebSockets at the endpoint and beside it', async () => {
    for (const [host, mcp] of hosts) {
      const token = await tokenOf(house, ana, at(host, mcp))
      for (const path of [mcp, mcp.replace(/mcp$/, 'ws')]) {
        const answer = await new Promise<string>((resolve, reject) => {
          const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, ['mcp'], {
            headers: { host: `${host}:${port}`, authorization: `Bearer ${token}` },
          })
          socket.on('error', reject)
          socket.on('open', () => socket.send(JSON.stringify(initialize)))
          socket.on('message', (data: Buffer) => {
            resolve(data.toString('utf8'))
            socket.close(1000)
          })
        })
        expect([host, path, JSON.parse(answer)]).toMatchObject([
          host,
          path,
          { id: 1, result: { method: 'initialize' } },
        ])
      }
    }
  })
})
