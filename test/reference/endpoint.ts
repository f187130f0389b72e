// The reference server as one Streamable HTTP endpoint: sessions that survive a closed stream for clients of
// 2025, 2026-07-28 beside them.
import type { EventStore, JSONRPCMessage } from '@modelcontextprotocol/server'
import {
  createMcpHandler,
  hostHeaderValidationResponse,
  isLegacyRequest,
  localhostAllowedHostnames,
  localhostAllowedOrigins,
  originValidationResponse,
} from '@modelcontextprotocol/server'
import { randomBytes, randomUUID } from 'node:crypto'
import { createLegacySessions } from '../../src/demo/demo.ts'
import { createReference } from './reference.ts'
import { watchedUri } from './resources.ts'
import type { Change } from './words.ts'

/** Events of one session, for clients that come back with Last-Event-ID. */
const createEvents = (): EventStore => {
  const events: { readonly id: string; readonly stream: string; readonly message: JSONRPCMessage }[] = []
  const find = (id: string): number => events.findIndex((event) => event.id === id)
  return {
    storeEvent: async (stream, message) => {
      const id = `${stream}_${events.length}`
      events.push({ id, stream, message })
      return id
    },
    getStreamIdForEventId: async (id) => events[find(id)]?.stream,
    replayEventsAfter: async (last, { send }) => {
      const at = find(last)
      const stream = events[at]?.stream ?? ''
      // A priming event is stored as an empty message and is not one to replay.
      for (const event of events.slice(at + 1))
        if (event.stream === stream && Object.keys(event.message).length > 0)
          await send(event.id, event.message)
      return stream
    },
  }
}

/**
 * `(request) => response`; answers on loopback host names only, as a local server must. `only`: speaks
 * 2026-07-28 and nothing before, or nothing but what was before.
 */
export const createReferenceEndpoint = (
  only?: 'modern' | 'legacy',
): ((request: Request) => Promise<Response>) => {
  const key = randomBytes(32)
  const announce = (change: Change): void => {
    if (change === 'tools') modern.notify.toolsChanged()
    else if (change === 'prompts') modern.notify.promptsChanged()
    else modern.notify.resourceUpdated(watchedUri)
  }
  const modern = createMcpHandler(() => createReference({ key, announce }), {
    legacy: only === 'modern' ? 'reject' : 'stateless',
  })
  const sessions = createLegacySessions({
    create: async () => createReference({ key }),
    sessionId: randomUUID,
    transport: () => ({ eventStore: createEvents(), retryInterval: 500 }),
  })
  return async (request) => {
    const refused =
      hostHeaderValidationResponse(request, localhostAllowedHostnames()) ??
      originValidationResponse(request, localhostAllowedOrigins())
    if (refused) return refused
    if (new URL(request.url).pathname !== '/mcp') return new Response('Not found', { status: 404 })
    const legacy = only !== 'modern' && (await isLegacyRequest(request)) ? await sessions(request) : undefined
    // In the words of SDK 1 for what belongs to no session.
    if (only === 'legacy')
      return (
        legacy ??
        Response.json(
          {
            jsonrpc: '2.0',
            id: null,
            error: { code: -32000, message: 'Bad Request: No valid session ID provided' },
          },
          { status: 400 },
        )
      )
    return legacy ?? modern.fetch(request)
  }
}
