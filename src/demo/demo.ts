// The demo MCP server that Postern mounts at /demo/mcp, so that there is something to sign in to and call before anything is configured.
import type { McpServerFactory } from '@modelcontextprotocol/server'
import { createMcpHandler, isLegacyRequest, McpServer } from '@modelcontextprotocol/server'
import { createLegacySessions } from './legacy-sessions.ts'
import { addTools } from './tools.ts'

export interface DemoOptions {
  /** Version shown to clients in `serverInfo`. Default `0.0.0`. */
  readonly version?: string
  /**
   * A fresh unguessable session id, visible ASCII (Streamable HTTP, 2025-11-25, Session Management). Given, clients of 2025 get a session and may cancel a running
   * call with `notifications/cancelled`; absent, they are served without one. Leave it out on Workers: a request there cannot end work that another request began.
   */
  readonly sessionId?: () => string
}

/** Everything known to the demo's clients before they call a tool. */
const instructions =
  'A demonstration server behind the Postern gateway. Call whoami to see which person and which claims the gateway passed on; ' +
  'slow_count reports progress and can be cancelled; large_result answers with as much text as asked for; delete_everything is marked destructive and deletes nothing.'

/**
 * The demo server as a fetch handler for one MCP endpoint: `(request) => response`, every revision from 2024-11-05's messages over Streamable HTTP to 2026-07-28.
 * It believes the identity headers of its caller, so it belongs behind the gateway only.
 */
export const createDemo = (options: DemoOptions = {}): ((request: Request) => Promise<Response>) => {
  const factory: McpServerFactory = () => {
    const server = new McpServer(
      { name: 'postern-demo', title: 'Postern demo', version: options.version ?? '0.0.0' },
      { instructions, cacheHints: { 'tools/list': { ttlMs: 3_600_000, cacheScope: 'public' } } },
    )
    addTools(server)
    return server
  }
  const handler = createMcpHandler(factory, { legacy: 'stateless' })
  if (options.sessionId === undefined) return (request) => handler.fetch(request)
  const sessions = createLegacySessions({ create: async () => factory({ era: 'legacy' }), sessionId: options.sessionId })
  return async (request) => ((await isLegacyRequest(request)) ? ((await sessions(request)) ?? handler.fetch(request)) : handler.fetch(request))
}
