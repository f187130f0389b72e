// The reference MCP server: every tool, prompt and resource that the scenarios of the MCP conformance suite
// name, on the MCP SDK v2, for legacy and modern clients.
import { createRequestStateCodec, McpServer } from '@modelcontextprotocol/server'
import { addContentTools } from './content-tools.ts'
import { addInteractionTools } from './interaction-tools.ts'
import { addInputTools } from './input-tools.ts'
import { addPrompts } from './prompts.ts'
import { addResources, watchedUri } from './resources.ts'
import type { Change, Step } from './words.ts'

export interface ReferenceOptions {
  /** Tells listeners that a list changed; the default tells the client of this connection. */
  readonly announce?: (change: Change) => void
  /** Key of the seal on `requestState`, at least 32 bytes; the same for all servers of one endpoint. */
  readonly key: Uint8Array
}

/**
 * Tells the client of this connection; of the watched resource only when it subscribed (2025-11-25,
 * resources, Subscriptions).
 */
const createAnnounce =
  (server: McpServer, watchers: ReadonlySet<string>) =>
  (change: Change): void => {
    if (change === 'tools') server.sendToolListChanged()
    else if (change === 'prompts') server.sendPromptListChanged()
    else if (watchers.has(watchedUri)) void server.server.sendResourceUpdated({ uri: watchedUri })
  }

/** A fresh server, one for each connection, session or request. */
export const createReference = ({ announce, key }: ReferenceOptions): McpServer => {
  const state = createRequestStateCodec<Step>({ key })
  const lists = { ttlMs: 60_000, cacheScope: 'public' } as const
  const server = new McpServer(
    { name: 'postern-reference', title: 'Reference server', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        logging: {},
        completions: {},
      },
      requestState: { verify: (wire, context) => state.verify(wire, context) },
      cacheHints: {
        'tools/list': lists,
        'prompts/list': lists,
        'resources/list': lists,
        'resources/templates/list': lists,
        'resources/read': { ttlMs: 0, cacheScope: 'private' },
        'server/discover': lists,
      },
    },
  )
  addContentTools(server)
  const watchers = addResources(server)
  addInteractionTools(server, announce ?? createAnnounce(server, watchers))
  addInputTools(server, (step) => state.mint(step))
  addPrompts(server)
  return server
}
