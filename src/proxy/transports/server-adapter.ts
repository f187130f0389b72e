// A server that may be reached by HTTP+SSE or a WebSocket, as Streamable HTTP: which of its calls go through
// this adapter, and what it does with them.
import { readBounded } from '../../kit/http.ts'
import { Refusal } from '../../kit/refusal.ts'
import { isRepeatableText } from '../../mcp/envelope.ts'
import type { Connect } from '../../mcp/json-rpc-peer.ts'
import type { Fetch } from '../../ports/call.ts'
import type { Runtime, RuntimeTransports } from '../../ports/runtime.ts'
import type { Service } from '../../ports/services.ts'
import type { ContextOf, UpstreamRoute } from '../admitted-call.ts'
import type { Revalidation } from '../revalidate.ts'
import { type Endpoint, type EndpointOf, type EndpointRequest, fetchAt } from '../upstream-endpoint.ts'
import { createServerSse } from './server-sse.ts'
import { createServerWebSocket } from './server-websocket.ts'
import {
  type SessionEndpoint,
  createRemoteServer,
  createSessionEndpoint,
  connectionIdOf,
  mostMessageBytes,
} from './session-endpoint.ts'

export interface ServerAdapter {
  /**
   * One admitted request of Streamable HTTP; its URL is of no account. Rejects with `upstream.*` and
   * `session.*`.
   */
  readonly ask: SessionEndpoint
  /** The sessions on a connection alone, whatever is known of the server. */
  readonly server: SessionEndpoint
  /** Whether a call must go through the adapter: one of such a session, or one that opens a session. */
  needed(session: string | undefined, opening: boolean): boolean
}

export interface ServerAdapterDeps {
  readonly runtime: Pick<Runtime, 'now' | 'timer' | 'random' | 'transports' | 'log' | 'peers'>
  readonly endpointOf: EndpointOf
  readonly contextOf: ContextOf
  readonly watch: Revalidation
  readonly most: number
  readonly keepAliveMs: number
  /** The server says that a list of its has changed. */
  readonly listsChanged: (service: Service) => void
}

/**
 * Errors by which a server of 2026-07-28 shows that it is one: it heard us, and another transport would not
 * help (SH Backward Compatibility).
 */
const modernCodes = new Set([-32_020, -32_021, -32_022, -32_602])

const isModernError = (text: string): boolean => {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: number } }
    return modernCodes.has(error?.code ?? 0)
  } catch {
    return false
  }
}

/**
 * What a server has shown is believed this long: servers are replaced, and one caller's call may have shown
 * it.
 */
const learnedMs = 600_000
const mayBeLegacy = new Set([400, 404, 405])

const isOnConnection = (session: string | null | undefined): boolean =>
  typeof session === 'string' && connectionIdOf(session) !== undefined

type Transport = 'streamable' | 'sse'

const isSocketUrl = (url: string): boolean => /^wss?:/.test(url)

/** `written`: by the operator, which holds for ever. */
const createTransportMemory = (written: Transport | 'auto', route: UpstreamRoute, now: () => number) => {
  let learned: { readonly transport: Transport; readonly until: number } | undefined
  return {
    speaks(): Transport | 'auto' {
      if (written !== 'auto') return written
      return learned !== undefined && now() < learned.until ? learned.transport : 'auto'
    },
    learn(transport: Transport): void {
      learned = { transport, until: now() + learnedMs }
      if (transport === 'sse') route.adaptedUntil = Math.max(route.adaptedUntil, learned.until)
    },
    forget(): void {
      learned = undefined
    },
  }
}

const orForget =
  (server: SessionEndpoint, forget: () => void): SessionEndpoint =>
  (request, about) =>
    server(request, about).catch((error: unknown) => {
      // It may be another server by now: the next session finds out.
      if (error instanceof Refusal && error.code.startsWith('upstream.') && !error.detail.refused) forget()
      throw error
    })

type HttpUpstream = Extract<Service['upstream'], { kind: 'http' }>

/** Streamable HTTP, where the endpoint was found, with the redirects that lead there. */
const createSend = (url: string, fetch: Fetch, endpoint: Endpoint | undefined) => {
  const { origin, pathname, search } = new URL(url)
  return (request: Request, body: string): Promise<Response> => {
    const headers = new Headers(request.headers)
    headers.set('accept-encoding', 'identity')
    const at = endpoint?.current() ?? { pathname, search }
    return fetchAt(
      fetch,
      endpoint,
      `${origin}${at.pathname}${at.search}`,
      { method: request.method, headers, redirect: 'manual', signal: request.signal, body },
      isRepeatableText(request.method, body),
    )
  }
}

/**
 * How a session connects to the server. For HTTP+SSE, the GET that opens the stream may be led elsewhere as
 * well.
 */
const createConnect = (
  { url, publicOnly }: HttpUpstream,
  service: string,
  { runtime: { timer, transports }, keepAliveMs: heartbeatMs }: ServerAdapterDeps,
  endpoint: Endpoint | undefined,
): Connect => {
  const { fetch, socket } = publicOnly ? transports.publicOnly : transports
  const maxBytes = mostMessageBytes
  if (isSocketUrl(url)) return createServerWebSocket({ timer, socket, url, service, maxBytes, heartbeatMs })
  const opening: RuntimeTransports['fetch'] = (input, init) =>
    typeof input === 'string' && init?.method === undefined
      ? fetchAt(
          fetch,
          endpoint,
          input,
          { ...init, headers: new Headers(init?.headers) } as EndpointRequest,
          true,
        )
      : fetch(input, init)
  return createServerSse({ timer, fetch: opening, url, service, maxBytes })
}

interface Unknown {
  readonly send: ReturnType<typeof createSend>
  readonly server: SessionEndpoint
  readonly learn: (transport: Transport) => void
}

/**
 * POST first; what a server without Streamable HTTP answers to it is followed by GET (MCP 2025-11-25
 * transports, Backwards Compatibility).
 */
const createFind =
  ({ send, server, learn }: Unknown): SessionEndpoint =>
  async (request, about) => {
    const body = await request.text()
    const answer = await send(request, body)
    if (!mayBeLegacy.has(answer.status)) {
      if (answer.ok) learn('streamable')
      return answer
    }
    const said = await readBounded(answer.body, 65_536).catch(() => new Uint8Array())
    const again = (): Response => new Response(said, { status: answer.status, headers: answer.headers })
    if (isModernError(new TextDecoder().decode(said))) return again()
    try {
      const { url, headers, signal } = request
      const opened = await server(new Request(url, { method: 'POST', headers, body, signal }), about)
      learn('sse')
      return opened
    } catch (error) {
      // One that asks who is there says nothing of what it speaks: it is sent a credential, and asked again.
      if (error instanceof Refusal && error.detail.refused) throw error
      // No server of 2024-11-05 either: its first answer stands.
      return again()
    }
  }

/** Undefined for a service that is no server elsewhere. */
export const createServerAdapter = (service: Service, deps: ServerAdapterDeps): ServerAdapter | undefined => {
  const { runtime, watch, most, keepAliveMs, listsChanged } = deps
  const { upstream, id } = service
  if (upstream.kind !== 'http') return undefined
  const { url, publicOnly, transport = 'auto' } = upstream
  const { transports, now } = runtime
  const endpoint = deps.endpointOf(service)
  const connect = createConnect(upstream, id, deps, endpoint)
  const { sessionLocations } = transports
  const server = sessionLocations
    ? createRemoteServer(id, { sessionLocations, now, most })
    : createSessionEndpoint({ runtime, service, connect, watch, keepAliveMs, most, listsChanged })
  if (isSocketUrl(url)) return { ask: server, server, needed: () => true }
  const { speaks, learn, forget } = createTransportMemory(transport, deps.contextOf(service).route, now)
  const known = orForget(server, forget)
  const send = createSend(url, (publicOnly ? transports.publicOnly : transports).fetch, endpoint)
  const find = createFind({ send, server, learn })
  return {
    server,
    needed: (session, opening) =>
      isOnConnection(session) || speaks() === 'sse' || (opening && speaks() === 'auto'),
    ask(request, about) {
      if (isOnConnection(request.headers.get('mcp-session-id'))) return server(request, about)
      return (speaks() === 'sse' ? known : find)(request, about)
    },
  }
}
