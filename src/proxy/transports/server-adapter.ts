// A server that may speak on a line (HTTP+SSE or a WebSocket), as Streamable HTTP: which of its calls go that way, and the way itself.
import { readBounded } from '../../kit/http.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { Runtime } from '../../ports/runtime.ts'
import type { Service } from '../../ports/services.ts'
import type { RuntimeTransports } from '../../ports/transport.ts'
import type { ContextOf, UpstreamRoute } from '../admitted-call.ts'
import { isRepeatableText } from '../retry.ts'
import type { Revalidation } from '../revalidate.ts'
import { type EndpointOf, type EndpointRequest, fetchAt } from '../upstream-endpoint.ts'
import { createServerSse } from './server-sse.ts'
import { createServerWebSocket } from './server-websocket.ts'
import {
  type SessionEndpoint,
  createSessionEndpoint,
  connectionIdOf,
  mostMessageBytes,
} from './session-endpoint.ts'
import { createRemoteServer } from './session-location.ts'

export interface ServerAdapter {
  /** One admitted request of Streamable HTTP; its URL is of no account. Rejects with `upstream.*` and `session.*`. */
  readonly ask: SessionEndpoint
  /** The sessions on a line alone, whatever is known of the server. */
  readonly server: SessionEndpoint
  /** Whether a call must go this way: one of that session, or one that opens a session. */
  needed(session: string | undefined, opening: boolean): boolean
}

export interface ServerAdapterDeps {
  readonly runtime: Pick<Runtime, 'now' | 'timer' | 'random' | 'transports' | 'log'>
  readonly endpointOf: EndpointOf
  readonly contextOf: ContextOf
  readonly watch: Revalidation
  readonly most: number
  readonly keepAliveMs: number
}

/** Errors by which a server of 2026-07-28 shows that it is one: it heard us, and another transport would not help (SH Backward Compatibility). */
const modernCodes = new Set([-32_020, -32_021, -32_022, -32_602])

const isModernError = (text: string): boolean => {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: number } }
    return modernCodes.has(error?.code ?? 0)
  } catch {
    return false
  }
}

/** What a server has shown is believed this long: servers are replaced, and one caller's call may have shown it. */
const learnedMs = 600_000
const mayBeLegacy = new Set([400, 404, 405])

const isLine = (session: string | null | undefined): boolean =>
  typeof session === 'string' && connectionIdOf(session) !== undefined

type Transport = 'streamable' | 'sse'

/** `written`: by the operator, who is believed for ever. */
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

/** Undefined for a service that is no server elsewhere. */
export const createServerAdapter = (
  service: Service,
  { runtime, endpointOf, contextOf, watch, most, keepAliveMs }: ServerAdapterDeps,
): ServerAdapter | undefined => {
  const { upstream, id } = service
  if (upstream.kind !== 'http') return undefined
  const { url } = upstream
  const { sessionLocations } = runtime.transports
  const { fetch, socket } = upstream.publicOnly ? runtime.transports.publicOnly : runtime.transports
  const overSocket = /^wss?:/.test(url)
  const endpoint = endpointOf(service)
  /** Where the endpoint was found, with the redirects that lead there. */
  const overFetch = (request: Request, body: string): Promise<Response> => {
    const headers = new Headers(request.headers)
    headers.set('accept-encoding', 'identity')
    const { pathname, search } = endpoint?.current() ?? new URL(url)
    return fetchAt(
      fetch,
      endpoint,
      `${new URL(url).origin}${pathname}${search}`,
      { method: request.method, headers, redirect: 'manual', signal: request.signal, body },
      isRepeatableText(request.method, body),
    )
  }
  /** For HTTP+SSE: the GET that opens the stream may be led elsewhere as well. */
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
  const connect = overSocket
    ? createServerWebSocket({
        timer: runtime.timer,
        socket,
        url,
        service: id,
        maxBytes: mostMessageBytes,
        heartbeatMs: keepAliveMs,
      })
    : createServerSse({ timer: runtime.timer, fetch: opening, url, service: id, maxBytes: mostMessageBytes })
  const server = sessionLocations
    ? createRemoteServer(id, { sessionLocations, now: runtime.now, most })
    : createSessionEndpoint({ runtime, service, connect, watch, keepAliveMs, most })
  if (overSocket) return { ask: server, server, needed: () => true }
  const { speaks, learn, forget } = createTransportMemory(
    upstream.transport ?? 'auto',
    contextOf(service).route,
    runtime.now,
  )
  const known = orForget(server, forget)

  /** POST first; what a server without Streamable HTTP answers to it is followed by GET (MCP 2025-11-25 transports, Backwards Compatibility). */
  const find: SessionEndpoint = async (request, about) => {
    const body = await request.text()
    const answer = await overFetch(request, body)
    if (!mayBeLegacy.has(answer.status)) {
      if (answer.ok) learn('streamable')
      return answer
    }
    const said = await readBounded(answer.body, 65_536).catch(() => new Uint8Array())
    const again = (): Response => new Response(said, { status: answer.status, headers: answer.headers })
    if (isModernError(new TextDecoder().decode(said))) return again()
    try {
      const opened = await server(
        new Request(request.url, { method: 'POST', headers: request.headers, body, signal: request.signal }),
        about,
      )
      learn('sse')
      return opened
    } catch (error) {
      // One that asks who is there says nothing of what it speaks: whoever called is shown to it, and it is asked anew.
      if (error instanceof Refusal && error.detail.refused) throw error
      // No server of 2024-11-05 either: its first answer stands.
      return again()
    }
  }

  return {
    server,
    needed: (session, opening) => isLine(session) || speaks() === 'sse' || (opening && speaks() === 'auto'),
    ask: (request, about) =>
      (isLine(request.headers.get('mcp-session-id')) ? server : speaks() === 'sse' ? known : find)(
        request,
        about,
      ),
  }
}
