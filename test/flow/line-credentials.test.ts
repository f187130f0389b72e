// What servers are shown of a caller's right, whichever transport either side speaks: the operator's token,
// the person's own, another one when it is refused, or the question to the person.
import { createHash } from 'node:crypto'
import { EmbeddedJWK, calculateJwkThumbprint, jwtVerify } from 'jose'
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { logInThrough } from '../runtimes/connecting.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { type LegacyUpstream, openLegacyUpstream } from '../runtimes/legacy-upstream.ts'
import { ana, tokenOf } from '../runtimes/people.ts'
import { until } from '../runtimes/proxied.ts'
import { openSocketUpstream, type SocketUpstream } from '../runtimes/socket-upstream.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

interface Talk {
  /** The text of a tool's answer. */
  call(): Promise<string>
  close(): Promise<void>
}

const textOf = (result: unknown): string =>
  (result as { content?: { text: string }[] } | undefined)?.content?.[0]?.text ?? JSON.stringify(result)
const refused = 'Bearer error="invalid_token"'

describe.each(runtimes)('%s', (name, open) => {
  let house: TestGateway
  let echo: Upstream
  let far: FarServer
  let sock: SocketUpstream
  let old: LegacyUpstream
  let company: Upstream
  /** Tokens that servers on lines take no more. */
  const dead = new Set<string>()
  const allows = (authorization: string | undefined): boolean =>
    authorization !== undefined &&
    !dead.has(authorization) &&
    /^(Bearer (access-\d+|for-all)|DPoP bound)$/.test(authorization)

  beforeAll(async () => {
    echo = await openUpstream((request, response, body) => {
      if (request.method !== 'POST') return void response.writeHead(405).end()
      const { id, method, params } = JSON.parse(body) as {
        id?: unknown
        method: string
        params?: { protocolVersion?: string }
      }
      if (id === undefined) return void response.writeHead(202).end()
      const result =
        method === 'initialize'
          ? {
              protocolVersion: params?.protocolVersion,
              capabilities: { tools: {} },
              serverInfo: { name: 's', version: '1' },
            }
          : { content: [{ type: 'text', text: JSON.stringify(request.headers) }] }
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', id, result }))
    })
    far = await openFarServer()
    sock = await openSocketUpstream({ allows })
    old = await openLegacyUpstream(undefined, ({ authorization }) =>
      allows(authorization) ? undefined : refused,
    )
    // Every token is bound to the key of its request (RFC 9449 §5).
    company = await openUpstream((request, response) => {
      const type = request.headers['dpop'] === undefined ? 'Bearer' : 'DPoP'
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ access_token: 'bound', token_type: type, expires_in: 3600 }))
    })
    const bound = {
      upstream_auth: {
        type: 'client_credentials' as const,
        dpop: 'required' as const,
        issuer: new URL(company.url).origin,
        token_endpoint: company.url,
        client_id: 'written',
        client_secret: 'Vw3kQ8nB5tZ1xR7mC4pL9sD2fH6gJ0yA',
      },
    }
    const shared = {
      upstream_auth: { type: 'static' as const, token: 'for-all', headers: { 'X-Api-Key': 'k-1' } },
    }
    const own = {
      upstream_auth: {
        type: 'oauth' as const,
        issuer: far.origin,
        authorization_endpoint: `${far.origin}/authorize`,
        token_endpoint: `${far.origin}/token`,
        client_id: 'written',
      },
    }
    house = await open({
      upstream: echo.url,
      config: {
        local_users: [ana],
        mcp_services: {
          key: { url: echo.url, ...shared },
          key_sock: { url: sock.url, ...shared },
          key_old: { url: old.url, transport: 'sse', ...shared },
          far: { name: 'Far', url: far.url, transport: 'streamable' },
          sock: { url: sock.url, ...own },
          old: { url: old.url, transport: 'sse', ...own },
          bound_sock: { url: sock.url, ...bound },
          bound_old: { url: old.url, transport: 'sse', ...bound },
        },
      },
    })
  }, 60_000)
  afterAll(async () => {
    await house?.close()
    await Promise.all([echo?.close(), far?.close(), sock?.close(), old?.close(), company?.close()])
  })

  const overSocket = async (url: string, token: string): Promise<Talk> => {
    const socket = new WebSocket(url.replace('http', 'ws'), ['mcp'], {
      headers: { authorization: `Bearer ${token}` },
    })
    const said: { readonly id?: unknown; readonly result?: unknown; readonly error?: unknown }[] = []
    socket.on(
      'message',
      (data: Buffer) => void said.push(JSON.parse(data.toString('utf8')) as (typeof said)[number]),
    )
    await new Promise((resolve, reject) => void socket.once('open', resolve).once('error', reject))
    let id = 0
    const ask = async (method: string, params: object): Promise<unknown> => {
      const own = ++id
      socket.send(JSON.stringify({ jsonrpc: '2.0', id: own, method, params }))
      await until(() => said.some((message) => message.id === own), 'the answer')
      const { result, error } = said.find((message) => message.id === own) ?? {}
      return result ?? error
    }
    await ask('initialize', {
      protocolVersion: '2025-06-18',
      capabilities: {},
      clientInfo: { name: 'a', version: '1' },
    })
    return {
      call: async () => textOf(await ask('tools/call', { name: 'whoami', arguments: {} })),
      async close() {
        socket.close()
        await new Promise((closed) => void socket.once('close', closed))
      },
    }
  }

  const begin = async (service: string, transport: string, token: string): Promise<Talk> => {
    const url = new URL(`${house.origin}/${service}/${transport}`)
    if (transport === 'ws') return overSocket(url.href, token)
    const options = {
      fetch: house.fetch as typeof fetch,
      requestInit: { headers: { authorization: `Bearer ${token}` } },
    }
    const client = new Client({ name: 'flow', version: '1' })
    await client.connect(
      transport === 'sse'
        ? new SSEClientTransport(url, options)
        : new StreamableHTTPClientTransport(url, options),
    )
    return {
      call: async () => textOf(await client.callTool({ name: 'whoami', arguments: {} })),
      close: () => client.close(),
    }
  }

  const transports = ['mcp', 'sse', ...(name === 'in process' ? [] : ['ws'])]

  it.each(
    transports.flatMap((transport) =>
      ['key', 'key_sock', 'key_old'].map((service) => [transport, service] as const),
    ),
  )(
    'a client by /%s of the service %s is carried with the operator’s token and never with its own [B5]',
    async (transport, service) => {
      const token = await tokenOf(house, ana, `${house.origin}/${service}/mcp`)
      const talk = await begin(service, transport, token)
      const told = JSON.parse(await talk.call()) as Record<string, string>
      expect(told).toMatchObject({ authorization: 'Bearer for-all', 'x-api-key': 'k-1', 'x-user-id': 'ana' })
      expect(JSON.stringify([old.heard, sock.heard])).not.toContain(token)
      await talk.close()
    },
  )

  it.each(
    transports.flatMap((transport) =>
      ['bound_sock', 'bound_old'].map((service) => [transport, service] as const),
    ),
  )(
    'a client by /%s of the service %s is carried with a bound token, each request with a proof of its own [D9]',
    async (transport, service) => {
      const far = service === 'bound_old' ? old : sock
      const from = far.heard.length
      const token = await tokenOf(house, ana, `${house.origin}/${service}/mcp`)
      const talk = await begin(service, transport, token)
      for (const _ of [1, 2]) expect(await talk.call()).toContain('DPoP bound')
      await talk.close()
      const requests = far.heard.slice(from)
      const proofs = await Promise.all(
        requests.map(({ headers }) =>
          jwtVerify(String(headers['dpop']), EmbeddedJWK, { typ: 'dpop+jwt', algorithms: ['ES256'] }),
        ),
      )
      const origin = far.url.replace('ws', 'http')
      expect(proofs.map(({ payload: { htm, htu, ath } }) => ({ htm, htu, ath }))).toEqual(
        requests.map(({ url, ...heard }) => ({
          htm: 'method' in heard ? heard.method : 'GET',
          htu: new URL(url.split('?', 1)[0] ?? '', origin).href,
          ath: createHash('sha256').update('bound').digest('base64url'),
        })),
      )
      expect(new Set(proofs.map(({ payload }) => payload.jti)).size).toBe(requests.length)
      const keys = proofs.map(({ protectedHeader: { jwk } }) => calculateJwkThumbprint(jwk ?? {}))
      expect(new Set(await Promise.all(keys)).size).toBe(1)
    },
  )

  const shownTo = (service: string): string =>
    service === 'old'
      ? (old.heard.at(-1)?.headers.authorization ?? '')
      : (sock.heard.at(-1)?.headers.authorization ?? '')

  it.each(transports.flatMap((transport) => ['sock', 'old'].map((service) => [transport, service] as const)))(
    'a client by /%s of the service %s is carried with its person’s own token, and with another one when that is refused [D7]',
    async (transport, service) => {
      const { caller } = await logInThrough(house, service)
      const first = await begin(service, transport, caller.token)
      await first.call()
      const before = shownTo(service)
      expect(before).toMatch(/^Bearer access-/)
      await first.close()
      dead.add(before)
      const second = await begin(service, transport, caller.token)
      await second.call()
      const after = shownTo(service)
      expect(after).toMatch(/^Bearer access-/)
      expect(after).not.toBe(before)
      // In the middle of a session, where each message is shown one.
      if (service === 'old') {
        dead.add(after)
        await second.call()
        expect(shownTo(service)).not.toBe(after)
      }
      await second.close()
    },
  )

  it.each(transports.filter((transport) => transport !== 'mcp'))(
    'a client by /%s hears in its own words that its person has to connect anew',
    async (transport) => {
      const { caller } = await logInThrough(house, 'far')
      const talk = await begin('far', transport, caller.token)
      far.revoke()
      expect(await talk.call()).toContain(`${house.origin}/connect/far`)
      await talk.close()
    },
  )

  itWhere(name !== 'in process')(
    'a WebSocket to a server that lets nobody in is refused before 101',
    async () => {
      const token = await tokenOf(house, ana, `${house.origin}/key_sock/mcp`)
      dead.add('Bearer for-all')
      await expect(overSocket(`${house.origin}/key_sock/ws`, token)).rejects.toThrow('502')
      dead.delete('Bearer for-all')
    },
  )
})
