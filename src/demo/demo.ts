// The demo MCP server that Postern mounts at /demo/mcp, so that there is something to sign in to and call
// before anything is configured.
import {
  McpServer,
  type McpServerFactory,
  type Server,
  WebStandardStreamableHTTPServerTransport,
  type WebStandardStreamableHTTPServerTransportOptions,
  createMcpHandler,
  isLegacyRequest,
} from '@modelcontextprotocol/server'
import { type DemoTimer, addTools } from './tools.ts'

// Sessions for clients of the 2025 revisions (Streamable HTTP, Session Management), kept in the memory of one
// process.

/**
 * Sessions kept at once; beyond that the one unused for longest ends, and its client starts another on the
 * 404.
 */
const most = 200

export interface LegacySessions {
  /** A server of its own for each session. */
  readonly create: () => Promise<McpServer | Server>
  readonly sessionId: () => string
  /** What each session's transport gets besides: an event store, a retry interval. */
  readonly transport?: () => Pick<
    WebStandardStreamableHTTPServerTransportOptions,
    'eventStore' | 'retryInterval'
  >
}

const isInitialize = async (request: Request): Promise<boolean> => {
  if (request.method !== 'POST') return false
  const body: unknown = await request
    .clone()
    .json()
    .catch(() => undefined)
  const messages: readonly unknown[] = Array.isArray(body) ? body : [body]
  return messages.some(
    (message) =>
      typeof message === 'object' &&
      message !== null &&
      'method' in message &&
      message.method === 'initialize',
  )
}

/**
 * Answers what belongs to a session: `initialize`, and every request that names one. Undefined for the rest,
 * which needs none.
 */
export const createLegacySessions = ({
  create,
  sessionId,
  transport: more,
}: LegacySessions): ((request: Request) => Promise<Response | undefined>) => {
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
    if (transport === undefined)
      return Response.json(
        { jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } },
        { status: 404 },
      )
    open.delete(id)
    open.set(id, transport)
    return transport.handleRequest(request)
  }
}

export interface DemoOptions {
  readonly timer: DemoTimer
  /** Version shown to clients in `serverInfo`. Default `0.0.0`. */
  readonly version?: string
  /**
   * A fresh unguessable session id, visible ASCII (Streamable HTTP, 2025-11-25, Session Management). Given,
   * clients of 2025 get a session and may cancel a running call with `notifications/cancelled`; absent, they
   * are served without one. Leave it out on Workers: a request there cannot end work that another request
   * began.
   */
  readonly sessionId?: () => string
}

/** Everything known to the demo's clients before they call a tool. */
const instructions =
  'A demonstration server behind the Postern gateway. Call whoami to see which person and which claims the gateway passed on; ' +
  'slow_count reports progress and can be cancelled; large_result answers with as much text as asked for; delete_everything is marked destructive and deletes nothing.'

/**
 * The demo server as a fetch handler for one MCP endpoint: `(request) => response`, every revision from
 * 2024-11-05's messages over Streamable HTTP to 2026-07-28. It believes the identity headers of its caller,
 * so it belongs behind the gateway only.
 */
export const createDemo = (options: DemoOptions): ((request: Request) => Promise<Response>) => {
  const factory: McpServerFactory = () => {
    const server = new McpServer(
      { name: 'postern-demo', title: 'Postern demo', version: options.version ?? '0.0.0' },
      { instructions, cacheHints: { 'tools/list': { ttlMs: 3_600_000, cacheScope: 'public' } } },
    )
    addTools(server, options.timer)
    return server
  }
  const handler = createMcpHandler(factory, { legacy: 'stateless' })
  if (options.sessionId === undefined) return (request) => handler.fetch(request)
  const sessions = createLegacySessions({
    create: async () => factory({ era: 'legacy' }),
    sessionId: options.sessionId,
  })
  return async (request) =>
    (await isLegacyRequest(request))
      ? ((await sessions(request)) ?? handler.fetch(request))
      : handler.fetch(request)
}
