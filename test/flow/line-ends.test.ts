// Whatever a client holds open ends within five seconds when its grant is revoked, its token expires, or its
// service goes: streams of both transports, subscriptions and sockets.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { runtimes, type RuntimeGateway } from '../runtimes/runtimes.ts'
import { form, logIn } from '../runtimes/login.ts'
import { type LegacyUpstream, openLegacyUpstream } from '../runtimes/legacy-upstream.ts'
import { type Caller, callerOf } from '../runtimes/people.ts'
import { endsWithin, holdsWithin, until } from '../runtimes/proxied.ts'
import { openSocketUpstream, type SocketUpstream } from '../runtimes/socket-upstream.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const lifetime = 600
const meta = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'a', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
}
const subscription = {
  jsonrpc: '2.0',
  id: 1,
  method: 'subscriptions/listen',
  params: { _meta: meta, notifications: { toolsListChanged: true } },
}
const modern = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'subscriptions/listen' }

describe.each(runtimes)('%s, what is open', (name, open) => {
  let house: RuntimeGateway
  let upstream: Upstream
  let legacy: LegacyUpstream
  let sock: SocketUpstream
  /** Streams of the server behind. */
  let listening = 0
  let calling = 0

  beforeAll(async () => {
    upstream = await openUpstream((request, response, body) => {
      const slow = body.includes('tools/call')
      // What the gateway asks on its own account, and whatever else is no stream of this test.
      const ours =
        request.headers['x-user-id'] !== undefined &&
        (request.method === 'GET' || slow || body.includes('subscriptions/listen'))
      if (!ours) return void response.writeHead(request.method === 'DELETE' ? 200 : 405).end()
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': here\n\n')
      if (slow) calling++
      else listening++
      response.on('close', () => (slow ? calling-- : listening--))
    })
    legacy = await openLegacyUpstream()
    sock = await openSocketUpstream()
    house = await open({ upstream: upstream.url, config: { access_token_lifetime: lifetime, heartbeat: 1 } })
  }, 60_000)
  afterAll(async () => {
    await house?.close()
    await Promise.all([upstream?.close(), legacy?.close(), sock?.close()])
  })

  const socketTo = (path: string, token: string): Promise<{ readonly ended: Promise<unknown> }> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`${house.origin.replace('http', 'ws')}${path}`, ['mcp'], {
        headers: { authorization: `Bearer ${token}` },
      })
      const ended = new Promise((closed) => void socket.once('close', closed))
      socket.once('open', () => resolve({ ended }))
      socket.once('error', reject)
    })

  /** One of everything; what they resolve with is how each ended. */
  const openAll = async (service: string) => {
    const resource = `${house.origin}/${service}/mcp`
    const { client, tokens } = await logIn(house, resource)
    const caller = callerOf(house, resource, tokens.access_token)
    const before = listening
    const streams = await Promise.all([
      caller.get(),
      callerOf(house, `${house.origin}/${service}/sse`, tokens.access_token).get(),
      caller.post(subscription, modern),
    ])
    expect(streams.map(({ status }) => status)).toEqual([200, 200, 200])
    const ends = streams.map((stream) =>
      stream.text().then(
        () => 'ended',
        () => 'cut',
      ),
    )
    const sockets =
      name === 'in process' ? [] : [(await socketTo(`/${service}/ws`, tokens.access_token)).ended]
    await until(() => listening === before + 2, 'the server’s streams')
    return {
      client,
      tokens,
      caller,
      ended: Promise.all([...ends, ...sockets]),
      upstreamEnded: () => until(() => listening === before, 'the end of the server’s streams'),
    }
  }

  const within = <T>(work: Promise<T>): Promise<T> => endsWithin(5000, house, work)
  const socket = name === 'in process' ? [] : ['any']
  const all = (code: number) => ['ended', 'ended', 'cut', ...socket.map(() => code)]

  it('ends when the grant is revoked, at the server behind too [H-O4]', async () => {
    const { client, tokens, ended, upstreamEnded } = await openAll('echo')
    await house.fetch(
      `${house.origin}/oauth/revoke`,
      form({ token: tokens.refresh_token, client_id: client.id }),
    )
    expect(await within(ended)).toEqual(all(4401))
    await upstreamEnded()
  }, 60_000)

  it('ends when the token expires, but not the call that began before', async () => {
    const { caller, ended, upstreamEnded } = await openAll('echo')
    const before = calling
    const gone = new AbortController()
    const call = await caller.post(
      { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'slow', arguments: {} } },
      {},
      { signal: gone.signal },
    )
    await until(() => calling === before + 1, 'the call')
    house.advance(lifetime * 1000 + 1000)
    expect(await within(ended)).toEqual(all(4401))
    await upstreamEnded()
    expect(calling).toBe(before + 1)
    gone.abort()
    // workerd alone hears of it when it writes on, at the next heartbeat; Cloudflare's network tells it at
    // once (enable_request_signal).
    const ms = name === 'in workerd' ? 3000 : 1000
    await holdsWithin(ms, () => calling === before, 'the end of the call at the server')
    await expect(call.text()).rejects.toThrow()
  }, 60_000)

  /** A process sees it when it looks again, within a second. */
  const supplied = async (id: string, service: Readonly<Record<string, unknown>>): Promise<void> => {
    await house.supply(id, service)
    house.advance(1000)
    await until(
      async () => (await house.fetch(`${house.origin}/services/${id}`)).status === 200,
      'the service',
    )
  }

  it('at a server on a connection ends when the service is removed, or is another one now [H-U10]', async () => {
    const open = { auth_required: false }
    await supplied('passing_old', { url: legacy.url, transport: 'sse', ...open })
    await supplied('passing_sock', { url: sock.url, ...open })
    const callers = ['passing_old', 'passing_sock'].map((id) =>
      callerOf(house, `${house.origin}/${id}/mcp`, ''),
    )
    const initialize = {
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'a', version: '1' } },
    }
    const begin = async (caller: Caller): Promise<Record<string, string>> => {
      const begun = await caller.post(initialize)
      expect(await begun.text()).toContain('serverInfo')
      return { 'mcp-session-id': begun.headers.get('mcp-session-id') ?? '' }
    }
    const sessions = await Promise.all(callers.map(begin))
    expect([legacy.streams.size, sock.open.size]).toEqual([1, 1])
    await house.supply('passing_old')
    await house.supply('passing_sock')
    await house.supply('passing_sock', { url: sock.url, ...open, description: 'Another one.' })
    await within(until(() => legacy.streams.size === 0 && sock.open.size === 0, 'the end of both lines'))
    const answers = await Promise.all(
      callers.map((caller, i) => caller.post({ jsonrpc: '2.0', id: 2, method: 'ping' }, sessions[i])),
    )
    expect(answers.map(({ status }) => status)).toEqual([404, 404])
  }, 60_000)

  it('ends when its service is removed, and nothing of another service does [H-U10]', async () => {
    await supplied('passing', { url: upstream.url })
    const kept = await openAll('echo')
    const { ended, upstreamEnded } = await openAll('passing')
    let over = false
    kept.ended.then(() => (over = true)).catch(() => undefined)
    await house.supply('passing')
    expect(await within(ended)).toEqual([
      expect.any(String),
      expect.any(String),
      'cut',
      ...socket.map(() => 1001),
    ])
    await upstreamEnded()
    expect(over).toBe(false)
    expect((await house.fetch(`${house.origin}/passing/mcp`, { method: 'POST' })).status).toBe(404)
  }, 60_000)
})
