// A legacy and a modern server, written by hand: on demand they do what real servers rarely do (a URL to open
// first, an elicitation on the GET stream, a call that never ends, a login).
import type { ServerResponse } from 'node:http'
import { openUpstream, type Upstream } from './upstream.ts'

export interface OddServer extends Upstream {
  /** Answers that are held back, oldest first. */
  readonly held: ServerResponse[]
  /** How many of them their caller left. */
  left(): number
  /** The standing streams of GET. */
  readonly streams: ServerResponse[]
  /** The status of every answer from now on; undefined: as usual. */
  trouble: number | undefined
}

interface Asked {
  readonly id?: unknown
  readonly method?: string
  readonly params?: {
    readonly name?: string
    readonly _meta?: Readonly<Record<string, unknown>>
    readonly inputResponses?: unknown
    readonly requestState?: string
  }
  readonly result?: unknown
}

type Deal = (
  asked: Asked,
  say: (answer: object, status?: number) => void,
  server: OddServer,
  response: ServerResponse,
) => void

const open = async (deal: Deal): Promise<OddServer> => {
  const held: ServerResponse[] = []
  const streams: ServerResponse[] = []
  let left = 0
  const upstream = await openUpstream((request, response, body) => {
    if (server.trouble !== undefined)
      return void response.writeHead(server.trouble, { 'www-authenticate': 'Bearer' }).end('trouble')
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      return void streams.push(response)
    }
    if (request.method !== 'POST') return void response.writeHead(200).end()
    const asked = JSON.parse(body) as Asked
    response.on('close', () => void (held.includes(response) && !response.writableFinished && left++))
    const say = (answer: object, status = 200): void =>
      void response
        .writeHead(status, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', id: asked.id ?? null, ...answer }))
    if (asked.method === undefined || asked.method.startsWith('notifications/')) response.writeHead(202).end()
    if (asked.params?.name === 'hang') held.push(response)
    else deal(asked, say, server, response)
  })
  const server: OddServer = Object.assign(upstream, { held, streams, left: () => left, trouble: undefined })
  return server
}

const said = (text: string): object => ({ content: [{ type: 'text', text }] })

/** Speaks 2025-11-25 and before. */
export const openOddLegacy = (): Promise<OddServer> => {
  let sessions = 0
  let waiting: unknown
  return open(({ method, params, id, result }, say, server, response) => {
    if (params?._meta?.['io.modelcontextprotocol/protocolVersion'] !== undefined)
      return say({ error: { code: -32_000, message: 'Bad Request: Unsupported protocol version' } }, 400)
    if (method === 'initialize') {
      response.setHeader('mcp-session-id', `odd-${++sessions}`)
      return say({
        result: {
          protocolVersion: '2025-11-25',
          capabilities: { tools: {} },
          serverInfo: { name: 'odd', version: '1' },
        },
      })
    }
    if (method === undefined)
      return void server.held
        .shift()
        ?.writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', id: waiting, result: said(JSON.stringify(result)) }))
    if (params?.name === 'url')
      return say({
        error: {
          code: -32_042,
          message: 'Open it first',
          data: {
            elicitations: [
              { mode: 'url', elicitationId: 'e-1', url: 'https://example.com/open', message: 'Open it' },
            ],
          },
        },
      })
    if (params?.name === 'silent')
      return response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    if (params?.name === 'ask-on-stream') {
      waiting = id
      server.held.push(response)
      return void server.streams
        .at(-1)
        ?.write(
          `data: ${JSON.stringify({ jsonrpc: '2.0', id: 'q-1', method: 'elicitation/create', params: { message: 'Who?', requestedSchema: { type: 'object', properties: {} } } })}\n\n`,
        )
    }
    if (!response.writableEnded)
      say({
        result:
          method === 'tools/list'
            ? {
                tools: [
                  { name: 'big', inputSchema: { type: 'object' } },
                  { name: 'task', inputSchema: { type: 'object' }, execution: { taskSupport: 'required' } },
                ],
              }
            : said('done'),
      })
  })
}
/** Speaks 2026-07-28. */
export const openOddModern = (): Promise<OddServer> =>
  open(({ method, params }, say) => {
    const meta = params?._meta ?? {}
    if (meta['io.modelcontextprotocol/protocolVersion'] !== '2026-07-28')
      return say(
        {
          error: {
            code: -32_022,
            message: 'Unsupported',
            data: { supported: ['2026-07-28'], requested: '' },
          },
        },
        400,
      )
    const complete = { resultType: 'complete' }
    if (method === 'server/discover')
      return say({
        result: {
          ...complete,
          supportedVersions: ['2026-07-28'],
          capabilities: { tools: {}, tasks: {}, extensions: { 'io.modelcontextprotocol/tasks': {} } },
          ttlMs: 0,
          cacheScope: 'private',
        },
      })
    if (method === 'tools/list')
      return say({ result: { ...complete, tools: [], ttlMs: 0, cacheScope: 'private' } })
    if (params?.name === 'url') {
      const inputRequests = {
        open: {
          method: 'elicitation/create',
          params: { mode: 'url', elicitationId: 'e-1', url: 'https://example.com/open', message: 'Open it' },
        },
      }
      return say({
        result:
          params.inputResponses === undefined
            ? { resultType: 'input_required', inputRequests, requestState: 's' }
            : { ...complete, ...said(JSON.stringify([params.inputResponses, params.requestState])) },
      })
    }
    if (params?.name === 'lacking')
      return say(
        { error: { code: -32_021, message: 'Missing', data: { requiredCapabilities: { sampling: {} } } } },
        400,
      )
    if (params?.name === 'value')
      return say({ result: { ...complete, content: [], structuredContent: [1, 2] } })
    return say({ result: { ...complete, ...said(JSON.stringify(meta)) } })
  })
