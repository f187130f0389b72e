// Sessions for clients of the 2025 revisions (Streamable HTTP, Session Management), kept in the memory of one process.
import type { McpServer, Server, WebStandardStreamableHTTPServerTransportOptions } from '@modelcontextprotocol/server'
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/server'

/** Sessions kept at once; beyond that the one unused for longest ends, and its client starts another on the 404. */
const most = 200

export interface LegacySessions {
  /** A server of its own for each session. */
  readonly create: () => Promise<McpServer | Server>
  readonly sessionId: () => string
  /** What each session's transport gets besides: an event store, a retry interval. */
  readonly transport?: () => Pick<WebStandardStreamableHTTPServerTransportOptions, 'eventStore' | 'retryInterval'>
}

const isInitialize = async (request: Request): Promise<boolean> => {
  if (request.method !== 'POST') return false
  const body: unknown = await request.clone().json().catch(() => undefined)
  const messages: readonly unknown[] = Array.isArray(body) ? body : [body]
  return messages.some((message) => typeof message === 'object' && message !== null && 'method' in message && message.method === 'initialize')
}

/** Answers what belongs to a session: `initialize`, and every request that names one. Undefined for the rest, which needs none. */
export const createLegacySessions = ({ create, sessionId, transport: more }: LegacySessions): ((request: Request) => Promise<Response | undefined>) => {
  const open = new Map<string, WebStandardStreamableHTTPServerTransport>()

  const begin = async (): Promise<WebStandardStreamableHTTPServerTransport> => {
    const transport = new WebStandardStreamableHTTPServerTransport({
      ...more?.(),
      sessionIdGenerator: sessionId,
      onsessioninitialized: (id) => {
        open.set(id, transport)
        const oldest = open.size > most ? open.entries().next().value : undefined
        if (oldest === undefined) return
        open.delete(oldest[0])
        // Its client is told by the 404 of its next request, so a failure to close has nobody to be told to.
        oldest[1].close().catch(() => {})
      },
      onsessionclosed: (id) => void open.delete(id),
    })
    const server = await create()
    await server.connect(transport)
    return transport
  }

  return async (request) => {
    const id = request.headers.get('mcp-session-id')
    if (id === null) return (await isInitialize(request)) ? (await begin()).handleRequest(request) : undefined
    const transport = open.get(id)
    // 404 and nothing else makes the client begin anew (2025-11-25, Session Management, rule 4).
    if (transport === undefined) return Response.json({ jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } }, { status: 404 })
    open.delete(id)
    open.set(id, transport)
    return transport.handleRequest(request)
  }
}
