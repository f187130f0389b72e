// WebSocket through the gateway on a real socket: clients and servers of it, and each with those of
// Streamable HTTP.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ClientOptions } from 'ws'
import { type TestGateway, openInWorkerd, openOnSocket } from '../runtimes/runtimes.ts'
import { form, logIn } from '../runtimes/login.ts'
import { ana, tokenOf } from '../runtimes/people.ts'
import { endsWithin, until } from '../runtimes/proxied.ts'
import { openSocketUpstream, type SocketUpstream } from '../runtimes/socket-upstream.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { dialSocket, type Spoken } from '../runtimes/socket-client.ts'

describe.each([
  ['on a node socket', openOnSocket],
  ['in workerd', openInWorkerd],
] as const)('WebSocket %s', (houseName, open) => {
  let house: TestGateway
  let upstream: Upstream
  let server: SocketUpstream
  let deaf: SocketUpstream
  let token = ''

  const at = (path: string): string => `${house.origin.replace('http', 'ws')}${path}`

  const dial = (
    path: string,
    headers: Record<string, string> = { authorization: `Bearer ${token}` },
    options: ClientOptions = {},
    protocols: string[] = ['mcp'],
    beats = false,
  ): Promise<Spoken> => dialSocket(at(path), { headers, ...options }, protocols, beats)

  const whoami = { jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'whoami', arguments: {} } }

  beforeAll(async () => {
    server = await openSocketUpstream()
    deaf = await openSocketUpstream({ autoPong: false })
    upstream = await openUpstream((request, response, body) => {
      if (request.method !== 'POST')
        return void response.writeHead(request.method === 'DELETE' ? 200 : 405).end()
      const { id, method, params } = JSON.parse(body) as {
        id?: unknown
        method: string
        params?: { protocolVersion?: string }
      }
      if (id === undefined) return void response.writeHead(202).end()
      if (method === 'initialize') response.setHeader('mcp-session-id', 'theirs')
      const result =
        method === 'initialize'
          ? {
              protocolVersion: params?.protocolVersion,
              capabilities: {},
              serverInfo: { name: 's', version: '1' },
            }
          : { content: [{ type: 'text', text: JSON.stringify(request.headers) }] }
      response
        .setHeader('content-type', 'application/json')
        .end(JSON.stringify({ jsonrpc: '2.0', id, result }))
    })
    house = await open({
      upstream: upstream.url,
      config: {
        heartbeat: 1,
        cors: { allow_origins: ['https://app.example'] },
        mcp_services: {
          sock: { url: `${server.url}?key=1`, max_body: 2048 },
          deaf: { url: deaf.url },
          gone: { url: 'ws://127.0.0.1:9/x' },
        },
      },
    })
    token = await tokenOf(house, ana, `${house.origin}/sock/mcp`)
  })
  afterAll(async () => {
    await house?.close()
    await Promise.all([server?.close(), deaf?.close(), upstream?.close()])
  })

  describe('a WebSocket', () => {
    it.each(['/sock/mcp', '/sock/ws'])(
      'at %s leads to the WebSocket server, which meets the person and never the token [C21, B5] [H-O8]',
      async (path) => {
        const { socket, said, closing } = await dial(path, {
          authorization: `Bearer ${token}`,
          'x-user-email': 'root@example.com',
          'x_user_email': 'root@example.com',
          cookie: 'a=b',
        })
        expect(socket.protocol).toBe('mcp')
        socket.send(JSON.stringify(whoami))
        await until(() => said.length > 0, 'an answer')
        const told = JSON.parse(said[0]?.result?.content?.[0]?.text ?? '{}') as Record<string, string>
        expect(told).toMatchObject({ 'x-user-email': 'ana@example.com', 'sec-websocket-protocol': 'mcp' })
        expect([told['authorization'], told['cookie'], server.heard.at(-1)?.url]).toEqual([
          undefined,
          undefined,
          '/message?key=1',
        ])
        socket.close(4000, 'done')
        expect(await closing).toEqual({ code: 4000, reason: 'done' })
        await until(() => server.closed.includes(4000), 'the server’s end')
      },
    )

    it('leads to a server of Streamable HTTP as well, by a session there that ends with it [C21]', async () => {
      const { socket, said } = await dial('/echo/ws', {
        authorization: `Bearer ${await tokenOf(house, ana, `${house.origin}/echo/mcp`)}`,
      })
      socket.send(
        JSON.stringify({
          jsonrpc: '2.0',
          id: 1,
          method: 'initialize',
          params: {
            protocolVersion: '2025-11-25',
            capabilities: {},
            clientInfo: { name: 'a', version: '1' },
          },
        }),
      )
      socket.send(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }))
      socket.send(JSON.stringify(whoami))
      await until(() => said.length === 2, 'two answers')
      expect(JSON.parse(said[1]?.result?.content?.[0]?.text ?? '')).toMatchObject({
        'mcp-session-id': 'theirs',
        'mcp-protocol-version': '2025-11-25',
        'x-user-id': 'ana',
      })
      socket.close()
      await until(() => upstream.heard.at(-1)?.method === 'DELETE', 'the end of the session')
    })

    it('server is met by clients of Streamable HTTP too [C21]', async () => {
      const client = new Client({ name: 'flow', version: '1' })
      await client.connect(
        new StreamableHTTPClientTransport(new URL(`${house.origin}/sock/mcp`), {
          requestInit: { headers: { authorization: `Bearer ${token}` } },
        }),
      )
      const answer = (await client.callTool({ name: 'whoami', arguments: {} })) as {
        content: { text: string }[]
      }
      expect(answer.content[0]?.text).toContain('ana@example.com')
      await client.close()
    })

    it.each([
      ['without a token', {}, [], '401'],
      ['from a foreign origin', { origin: 'https://evil.example' }, [], '403'],
      ['for another subprotocol', {}, ['graphql-ws'], '400'],
    ])(
      '%s is refused before the server behind hears anything [B2, B6, C21] [H-O2]',
      async (what, headers: Record<string, string>, protocols: string[], status) => {
        const before = server.heard.length
        const refused = dial(
          '/sock/mcp',
          what === 'without a token' ? {} : { authorization: `Bearer ${token}`, ...headers },
          {},
          protocols.length > 0 ? protocols : ['mcp'],
        )
        await expect(refused).rejects.toThrow(status)
        if (status === '401')
          expect(
            (await refused.catch(
              (error: unknown) => error as { headers: Record<string, string> },
            )) as unknown,
          ).toMatchObject({
            headers: {
              'www-authenticate': expect.stringContaining(
                '/.well-known/oauth-protected-resource/sock/mcp',
              ) as string,
            },
          })
        expect(server.heard.length).toBe(before)
      },
    )

    it('with its token in the query has none [H-O3]', async () => {
      await expect(dial(`/sock/mcp?access_token=${token}`, {})).rejects.toThrow('401')
      expect(JSON.stringify(house.log)).not.toContain(token)
    })

    it('to a server that is not there is answered 502, and one to nowhere 404', async () => {
      await expect(
        dial('/gone/mcp', {
          authorization: `Bearer ${await tokenOf(house, ana, `${house.origin}/gone/mcp`)}`,
        }),
      ).rejects.toThrow('502')
      await expect(dial('/nowhere/ws')).rejects.toThrow('404')
    })

    it('carries one JSON-RPC message in each text frame and nothing else [C21]', async () => {
      const { socket, said, closing } = await dial('/sock/ws')
      socket.send('{')
      socket.send('[]')
      await until(() => said.length === 2, 'two errors')
      expect(said.map(({ error }) => error?.code)).toEqual([-32_700, -32_600])
      socket.send(Buffer.from('{}'))
      expect((await closing).code).toBe(1003)
      const large = await dial('/sock/ws')
      large.socket.send('x'.repeat(4096))
      expect((await large.closing).code).toBe(1009)
    })

    it('that sends more than a conversation needs is closed', async () => {
      const { socket, closing } = await dial('/sock/ws')
      for (let i = 0; i < 3000; i++) socket.send('{"jsonrpc":"2.0","method":"notifications/x"}')
      expect((await closing).code).toBe(1008)
    })

    it('closes within five seconds when the access is revoked, and so does the one behind it [H-O4]', async () => {
      const { client, tokens } = await logIn(house, `${house.origin}/sock/mcp`)
      const { closing } = await dial('/sock/mcp', { authorization: `Bearer ${tokens.access_token}` })
      const open = server.open.size
      await house.fetch(
        `${house.origin}/oauth/revoke`,
        form({ token: tokens.refresh_token, client_id: client.id }),
      )
      expect((await endsWithin(5000, house, closing)).code).toBe(4401)
      await until(() => server.open.size < open, 'the server’s end')
    })

    it('whose server closes is closed with the same code', async () => {
      const { closing } = await dial('/sock/mcp')
      for (const socket of server.open) socket.close(4321, 'bye')
      expect(await closing).toEqual({ code: 4321, reason: 'bye' })
    })

    itWhere(houseName !== 'in workerd')(
      'that nobody answers any more is closed at both ends [H-O7]',
      async () => {
        const closed = server.closed.length
        const vanished = await dial('/sock/mcp', undefined, { autoPong: false })
        await endsWithin(5000, house, vanished.closing)
        await until(() => server.closed.length > closed, 'the server’s end')
        const { closing } = await dial('/deaf/mcp', {
          authorization: `Bearer ${await tokenOf(house, ana, `${house.origin}/deaf/mcp`)}`,
        })
        expect((await endsWithin(5000, house, closing)).code).toBe(1011)
      },
    )

    itWhere(houseName === 'in workerd')(
      'is kept alive by the ping of MCP where there are no ping frames, and one that answers no more is closed at both ends [H-O7]',
      async () => {
        const closed = server.closed.length
        const quiet = await dial('/sock/ws')
        const talking = await dial('/sock/ws', undefined, {}, ['mcp'], true)
        let beats = 0
        talking.socket.on('message', (data: Buffer) => {
          beats++
          // From the third on it has vanished.
          if (beats === 2) talking.socket.removeAllListeners('message')
          expect(JSON.parse(data.toString('utf8'))).toMatchObject({
            method: 'ping',
            id: expect.stringMatching(/^postern-beat-\d+$/) as string,
          })
        })
        expect((await endsWithin(10_000, house, talking.closing)).code).toBe(1011)
        expect(beats).toBe(2)
        await until(() => server.closed.length > closed, 'the server’s end')
        // Who never answered one may not know them.
        expect(quiet.socket.readyState).toBe(quiet.socket.OPEN)
        quiet.socket.send(JSON.stringify(whoami))
        await until(() => quiet.said.length === 1, 'an answer')
        quiet.socket.close()
      },
      60_000,
    )

    it('is written down by method and name, never by content', () => {
      const text = JSON.stringify(house.log)
      for (const word of ['websocket.opened', 'websocket.message', 'tools/call', 'websocket.closed'])
        expect(text).toContain(word)
      expect(text).not.toContain('arguments')
    })
  })
})
