// A server whose lists a test changes, on pages if it wants, which says so on the stream that a client holds open.
import type { ServerResponse } from 'node:http'
import { type Upstream, openUpstream } from './upstream.ts'

type Listed = Readonly<Record<string, unknown>>

export interface PinnedUpstream extends Upstream {
  /** Its tools, page by page, and its prompts; undefined: it knows no such method. */
  tools: readonly (readonly unknown[])[]
  prompts: readonly Listed[] | undefined
  /** Further members of the result of tools/list. */
  more: Listed
  /** Answers no list any more. */
  broken: boolean
  /** Names of the tools and prompts that were called. */
  called(): readonly string[]
  /** How often it was asked for a list. */
  lists(method?: string): number
  /** Tells all open streams that its tools have changed. */
  announce(): void
}

interface Asked {
  readonly id?: unknown
  readonly method?: string
  readonly params?: { readonly name?: string; readonly cursor?: string; readonly protocolVersion?: string }
}

const changed = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' }

export const openPinnedUpstream = async (): Promise<PinnedUpstream> => {
  const streams = new Set<ServerResponse>()
  const resultOf = ({ method, params = {} }: Asked): Listed | undefined => {
    const { cursor, name, protocolVersion } = params
    if (method === 'initialize')
      return {
        protocolVersion,
        capabilities: { tools: { listChanged: true } },
        serverInfo: { name: 'pinned', version: '1' },
      }
    if (method === 'tools/list') {
      const page = Number(cursor ?? 0)
      const next = page + 1 < server.tools.length ? { nextCursor: String(page + 1) } : {}
      return { tools: server.tools[page], ...next, ...server.more }
    }
    if (method === 'prompts/list') return server.prompts && { prompts: server.prompts }
    return { content: [{ type: 'text', text: `did ${String(name)}` }], messages: [] }
  }
  const upstream = await openUpstream((request, response, body) => {
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(': open\n\n')
      streams.add(response)
      return void response.on('close', () => streams.delete(response))
    }
    if (request.method !== 'POST') return void response.writeHead(200).end()
    const asked = JSON.parse(body) as Asked
    if (asked.id === undefined) return void response.writeHead(202).end()
    if (server.broken && asked.method?.endsWith('/list')) return void response.writeHead(500).end()
    const result = resultOf(asked)
    const answer = result ? { result } : { error: { code: -32601, message: 'Method not found' } }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ jsonrpc: '2.0', id: asked.id, ...answer }))
  })
  const asked = (): readonly Asked[] =>
    upstream.heard.flatMap(({ body }) => (body === '' ? [] : [JSON.parse(body) as Asked]))
  const server: PinnedUpstream = Object.assign(upstream, {
    tools: [[]] as PinnedUpstream['tools'],
    prompts: undefined as PinnedUpstream['prompts'],
    more: {},
    broken: false,
    called: () =>
      asked().flatMap(({ method, params }) =>
        method === 'tools/call' || method === 'prompts/get' ? [String(params?.name)] : [],
      ),
    lists: (method = 'tools/list') => asked().filter((each) => each.method === method).length,
    announce() {
      for (const stream of streams) stream.write(`data: ${JSON.stringify(changed)}\n\n`)
    },
  })
  return server
}
