// A real MCP server of 2024-11-05 (HTTP with SSE) on loopback: whoami, a tool that asks its client, one that
// reports progress, and one that is never answered.
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface LegacyUpstream {
  /** Of the event stream. */
  readonly url: string
  /** Open event streams. */
  readonly streams: Map<string, ServerResponse>
  /** Heads of all requests so far. */
  readonly heard: { readonly method: string; readonly url: string; readonly headers: IncomingHttpHeaders }[]
  /** Every message, as it came. */
  readonly said: string[]
  /** Calls of `never` so far. */
  readonly waiting: unknown[]
  close(): Promise<void>
}

interface Message {
  readonly id?: unknown
  readonly method?: string
  readonly params?: {
    readonly name?: string
    readonly protocolVersion?: string
    readonly _meta?: { readonly progressToken?: unknown }
  }
  readonly result?: unknown
}

/**
 * `endpoint`: what the first event says, for servers that lie. `guard`: the challenge, or a status (0: none,
 * and the connection is cut), for requests that it does not let in.
 */
export const openLegacyUpstream = async (
  endpoint: (session: string) => string = (session) => `/messages?session=${session}`,
  guard: (headers: IncomingHttpHeaders) => string | number | undefined = () => undefined,
): Promise<LegacyUpstream> => {
  const streams = new Map<string, ServerResponse>()
  const heard: LegacyUpstream['heard'] = []
  const waiting: unknown[] = []
  const said: string[] = []
  const asking = new Map<unknown, unknown>()
  let asked = 0
  const tools = ['whoami', 'ask', 'count', 'never'].map((name) => ({ name, inputSchema: { type: 'object' } }))

  const server = createServer((request, response) => {
    heard.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers })
    const url = new URL(request.url ?? '/', 'http://here')
    // As a router in front of it: what is not there is not there for anybody.
    const known = (request.method === 'GET') === (url.pathname === '/sse')
    const refusal = guard(request.headers)
    if (refusal === 0) return void response.destroy()
    if (typeof refusal === 'number') return void response.writeHead(refusal).end('{}')
    if (refusal !== undefined && known)
      return void response.writeHead(401, { 'www-authenticate': refusal }).end('who are you?')
    if (request.method === 'GET' && url.pathname === '/sse') {
      const session = randomUUID()
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(`event: endpoint\ndata: ${endpoint(session)}\n\n`)
      streams.set(session, response)
      response.on('close', () => streams.delete(session))
      return
    }
    const stream = streams.get(url.searchParams.get('session') ?? '')
    if (request.method !== 'POST' || url.pathname !== '/messages' || !stream) {
      response.writeHead(request.method === 'POST' && url.pathname === '/sse' ? 405 : 404).end('no')
      return
    }
    let body = ''
    request.on('data', (part: Buffer) => (body += part.toString('utf8')))
    request.on('end', () => {
      response.writeHead(202).end('Accepted')
      const say = (message: unknown): void =>
        void stream.write(
          `event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', ...(message as object) })}\n\n`,
        )
      said.push(body)
      const { id, method, params, result } = JSON.parse(body) as Message
      if (method === 'initialize')
        say({
          id,
          result: {
            protocolVersion: params?.protocolVersion,
            capabilities: { tools: {} },
            serverInfo: { name: 'legacy', version: '1' },
          },
        })
      else if (method === 'tools/list') say({ id, result: { tools } })
      else if (method === 'ping') say({ id, result: {} })
      else if (method === 'notifications/initialized') say({ method: 'notifications/tools/list_changed' })
      else if (method === 'tools/call' && params?.name === 'whoami')
        say({ id, result: { content: [{ type: 'text', text: JSON.stringify(request.headers) }] } })
      else if (method === 'tools/call' && params?.name === 'ask') {
        asking.set(`ask-${++asked}`, id)
        say({ id: `ask-${asked}`, method: 'roots/list' })
      } else if (method === 'tools/call' && params?.name === 'count') {
        for (const progress of [1, 2, 3])
          say({
            method: 'notifications/progress',
            params: { progressToken: params._meta?.progressToken, progress, total: 3 },
          })
        // In a piece of its own: the SDK forgets a call's progress handler with its answer, whatever came in
        // the same piece before it.
        setTimeout(() => say({ id, result: { content: [{ type: 'text', text: 'counted' }] } }), 250)
      } else if (method === 'tools/call' && params?.name === 'never') waiting.push(id)
      else if (method === undefined)
        say({ id: asking.get(id), result: { content: [{ type: 'text', text: JSON.stringify(result) }] } })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/sse`,
    streams,
    heard,
    said,
    waiting,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
