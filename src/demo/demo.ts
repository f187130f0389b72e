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
import * as z from 'zod'
import { decodeBase64url, utf8Text } from '../kit/bytes.ts'

// Its tools: who is calling, a slow one, a large one, and one that only looks dangerous.

const readOnly = {
  readOnlyHint: true,
  destructiveHint: false,
  idempotentHint: true,
  openWorldHint: false,
} as const

/** Identity headers of the gateway's presets, lower case. */
const identityHeaders = [
  'x-user-id',
  'x-user-sub',
  'x-user-login',
  'x-user-email',
  'x-user-name',
  'x-user-provider',
  'x-user-avatar',
  'x-user-groups',
  'x-user-context',
] as const

const claimsOf = (assertion: string | null | undefined): Record<string, unknown> | undefined => {
  const payload = decodeBase64url(assertion?.split('.')[1] ?? '')
  if (payload === undefined) return undefined
  try {
    const claims: unknown = JSON.parse(utf8Text(payload))
    return typeof claims === 'object' && claims !== null ? { ...claims } : undefined
  } catch {
    return undefined
  }
}

const person = z.object({
  headers: z
    .record(z.string(), z.string())
    .describe('Identity headers as they arrived; absent ones were not sent.'),
  assertion: z
    .record(z.string(), z.unknown())
    .optional()
    .describe(
      "Claims of X-MCP-Identity, decoded only. A real server verifies the signature with the gateway's JWKS.",
    ),
  bearer_token_arrived: z
    .boolean()
    .describe('Whether an Authorization header reached this server. Behind the gateway it never does.'),
})

const addWhoami = (server: McpServer): void => {
  server.registerTool(
    'whoami',
    {
      title: 'Who am I?',
      description:
        'Says who the gateway says is calling: the identity headers and the claims of the signed assertion that arrived with this call.',
      inputSchema: z.object({}),
      outputSchema: person,
      annotations: readOnly,
    },
    (_input, context) => {
      const headers = context.http?.req?.headers
      const shown = Object.fromEntries(
        identityHeaders.flatMap((name) => (headers?.has(name) ? [[name, headers.get(name) ?? '']] : [])),
      )
      const claims = claimsOf(headers?.get('x-mcp-identity'))
      const found = {
        headers: shown,
        ...(claims && { assertion: claims }),
        bearer_token_arrived: headers?.has('authorization') ?? false,
      }
      const who = shown['x-user-name'] ?? shown['x-user-email'] ?? shown['x-user-id']
      const text = who === undefined ? 'The gateway said nothing about who is calling.' : `You are ${who}.`
      return {
        content: [{ type: 'text', text: `${text}\n${JSON.stringify(found, null, 2)}` }],
        structuredContent: found,
      }
    },
  )
}

/** Starts a timer and returns what cancels it. */
type DemoTimer = (ms: number, run: () => void) => () => void

/** Resolves after `ms`, at once when the signal is aborted. */
const pause = (timer: DemoTimer, ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const cancel = timer(ms, done)
    function done(): void {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })

const addSlowCount = (server: McpServer, timer: DemoTimer): void => {
  server.registerTool(
    'slow_count',
    {
      title: 'Count slowly',
      description:
        'Counts to a number, one step at a time, reporting progress to clients that ask for it. Stops when the call is cancelled.',
      inputSchema: z.object({
        to: z.int().min(1).max(100).default(5).describe('The last number.'),
        interval_ms: z
          .int()
          .min(1)
          .max(5000)
          .default(500)
          .describe('Pause before each number, milliseconds.'),
      }),
      annotations: readOnly,
    },
    async ({ to, interval_ms: interval }, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken
      for (let step = 1; step <= to; step++) {
        await pause(timer, interval, mcpReq.signal)
        if (mcpReq.signal.aborted)
          return { content: [{ type: 'text', text: `Cancelled after ${step - 1}.` }], isError: true }
        if (progressToken !== undefined)
          await mcpReq.notify({
            method: 'notifications/progress',
            params: { progressToken, progress: step, total: to, message: `${step} of ${to}` },
          })
      }
      return { content: [{ type: 'text', text: `Counted to ${to}.` }] }
    },
  )
}

const addLargeResult = (server: McpServer): void => {
  server.registerTool(
    'large_result',
    {
      title: 'Large result',
      description:
        'Answers with text of exactly the size asked for, up to 1 MiB, in numbered lines of 64 characters.',
      inputSchema: z.object({
        bytes: z.int().min(1).max(1_048_576).default(65_536).describe('Length of the text in bytes (ASCII).'),
      }),
      annotations: readOnly,
    },
    ({ bytes }) => {
      const lines = Array.from(
        { length: Math.ceil(bytes / 64) },
        (_, line) => `${String(line).padStart(8, '0')} ${'.'.repeat(54)}\n`,
      )
      return { content: [{ type: 'text', text: lines.join('').slice(0, bytes) }] }
    },
  )
}

const addDeleteEverything = (server: McpServer): void => {
  server.registerTool(
    'delete_everything',
    {
      title: 'Delete everything',
      description: 'Marked destructive, to try permissions with. It deletes nothing and says so.',
      inputSchema: z.object({}),
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: false },
    },
    () => ({
      content: [
        {
          type: 'text',
          text: 'Nothing was deleted: this tool only looks dangerous. That the call arrived means nothing in front of it said no.',
        },
      ],
    }),
  )
}

const addTools = (server: McpServer, timer: DemoTimer): void => {
  addWhoami(server)
  addSlowCount(server, timer)
  addLargeResult(server)
  addDeleteEverything(server)
}

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

// The server.

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
