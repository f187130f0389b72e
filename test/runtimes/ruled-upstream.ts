// A server with tools, prompts and resources of each kind, and tasks, which tells what it was asked.
import { type Upstream, openUpstream } from './upstream.ts'

export interface RuledUpstream extends Upstream {
  /** Names of the tools that were called. */
  called(): readonly string[]
}

const schema = { type: 'object' }

/** On two pages. */
export const toolPages = [
  [
    { name: 'search', inputSchema: schema, annotations: { readOnlyHint: true } },
    { name: 'create', inputSchema: schema, annotations: { destructiveHint: false } },
    { name: 'query', inputSchema: schema, annotations: { readOnlyHint: true } },
  ],
  [
    { name: 'delete_all', inputSchema: schema, annotations: { destructiveHint: true } },
    { name: 'unmarked', inputSchema: schema },
  ],
] as const

type Result = Readonly<Record<string, unknown>>

const listResults: Readonly<Record<string, Result>> = {
  'prompts/list': { prompts: [{ name: 'summary' }, { name: 'admin_reset' }] },
  'resources/list': {
    resources: [
      { name: 'a', uri: 'doc://public/a' },
      { name: 'b', uri: 'doc://secret/b' },
    ],
  },
  'resources/templates/list': {
    resourceTemplates: [
      { name: 'p', uriTemplate: 'doc://public/{id}' },
      { name: 's', uriTemplate: 'doc://secret/{id}' },
    ],
  },
}

interface Asked {
  readonly id?: unknown
  readonly method?: string
  readonly params?: {
    readonly name?: string
    readonly cursor?: string
    readonly protocolVersion?: string
    readonly arguments?: { readonly fails?: boolean }
    readonly task?: object
  }
}

const resultOf = ({ method = '', params = {} }: Asked): Result => {
  if (method === 'initialize')
    return {
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {}, prompts: {}, resources: {} },
      serverInfo: { name: 'ruled', version: '1' },
    }
  if (method === 'tools/list')
    return params.cursor === 'two' ? { tools: toolPages[1] } : { tools: toolPages[0], nextCursor: 'two' }
  if (params.task) return { task: { taskId: `task of ${String(params.name)}`, status: 'working' } }
  const done = { content: [{ type: 'text', text: `did ${method} ${String(params.name)}` }] }
  return listResults[method] ?? (params.arguments?.fails ? { ...done, isError: true } : done)
}

const answerOne = (message: Asked): object => ({ jsonrpc: '2.0', id: message.id, result: resultOf(message) })

/** `sse`: it answers with event streams. */
export const openRuledUpstream = async (sse = false): Promise<RuledUpstream> => {
  const upstream = await openUpstream((request, response, body) => {
    if (request.method !== 'POST')
      return void response
        .writeHead(request.method === 'DELETE' ? 200 : 405, { 'content-type': 'text/plain' })
        .end(request.method === 'DELETE' ? undefined : 'Method Not Allowed')
    const value = JSON.parse(body) as Asked | readonly Asked[]
    const asked = [value].flat().filter(({ id }) => id !== undefined)
    if (asked.length === 0) return void response.writeHead(202).end()
    const text = JSON.stringify(Array.isArray(value) ? asked.map(answerOne) : answerOne(asked[0] as Asked))
    if (asked[0]?.method === 'initialize') response.setHeader('mcp-session-id', 'ruled-session')
    response.setHeader('content-type', sse ? 'text/event-stream' : 'application/json')
    response.end(sse ? `data: ${text}\n\n` : text)
  })
  return {
    ...upstream,
    called: () =>
      upstream.heard.flatMap(({ body }) => {
        if (body === '') return []
        return [JSON.parse(body) as Asked | Asked[]]
          .flat()
          .flatMap(({ method, params }) => (method === 'tools/call' ? [String(params?.name)] : []))
      }),
  }
}

// Messages to it, and its answers.

export interface Told {
  readonly id?: unknown
  readonly result?: Readonly<Record<string, unknown>>
  readonly error?: {
    readonly code: number
    readonly message: string
    readonly data?: Record<string, unknown>
  }
}

export const rpc = (method: string, params: Readonly<Record<string, unknown>> = {}, id: unknown = 7) => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
})
export const call = (name: string, args: Readonly<Record<string, unknown>> = {}) =>
  rpc('tools/call', { name, arguments: args })

/** The message of an answer, in either form. */
export const told = async (response: Response): Promise<Told> => {
  const text = await response.text()
  return JSON.parse(
    text.startsWith('{') || text.startsWith('[') ? text : (/data: (.*)/.exec(text)?.[1] ?? 'null'),
  ) as Told
}
