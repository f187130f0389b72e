// The revision bridge: legacy clients at modern servers, and modern clients at legacy servers. Calls of a
// client that speaks what its server speaks never come here, except the first, by which the gateway learns
// what the server speaks.
import { deliverResponse, stdioResponse } from '../../kit/plain-response.ts'
import { isRepeatableText } from '../../mcp/envelope.ts'
import { type Rpc, kindOf, messagesToWrite } from '../../mcp/json-rpc.ts'
import { isModern, publishedVersions, isModernMessage } from '../../mcp/revisions.ts'
import type { Upstream } from '../../ports/call.ts'
import type { Principal } from '../../ports/people.ts'
import type { Runtime } from '../../ports/runtime.ts'
import type { Service, Attend } from '../../ports/services.ts'
import type { IdentifiedCall } from '../admitted-call.ts'
import { ownerOf } from '../callers.ts'
import { callStdio } from '../fetch.ts'
import { askedOf, refusedOf } from '../outcome.ts'
import type { ServerAdapter } from '../transports/server-adapter.ts'
import { type EndpointOf, fetchAt } from '../upstream-endpoint.ts'
import { isClientSession, newSessionId } from './client-sessions.ts'
import { type Caller, type DirectUpstream, type Server, abortableRequest, discard } from './exchange.ts'
import { type LegacyClient, createLegacyClient } from './legacy-client.ts'
import { type ModernClient, createModernClient } from './modern-client.ts'
import {
  type NegotiatedVersions,
  createNegotiatedVersions,
  negotiateLegacy,
  negotiateModern,
} from './negotiate.ts'

export interface RevisionBridgeDeps {
  readonly runtime: Server['runtime'] & Pick<Runtime, 'transports'>
  readonly config: { readonly protocol_versions?: readonly string[] | undefined }
  readonly keepAliveMs: number
  /** The adapter of a server that may use HTTP+SSE or WebSocket. */
  readonly reachOf: (service: Service) => ServerAdapter | undefined
  readonly endpointOf: EndpointOf
}

export interface RevisionBridge {
  /** Where an admitted call goes instead of to its server; undefined for a call that needs no bridge. */
  upstream(call: IdentifiedCall): Upstream | undefined
}

/**
 * The server as Streamable HTTP, whatever its transport. Undefined for services in this process, which speak
 * every revision.
 */
const directUpstreamOf = (
  service: Service,
  { runtime, reachOf, endpointOf }: RevisionBridgeDeps,
): DirectUpstream | undefined => {
  const { upstream } = service
  if (upstream.kind === 'local') return undefined
  if (upstream.kind === 'bridge')
    return (request, { principal, refused, sessionId }) =>
      callStdio(upstream.carry, request, { principal, refused, sessionId })
  const { fetch } = upstream.publicOnly ? runtime.transports.publicOnly : runtime.transports
  return async (request, { principal, asked }) => {
    const { method, headers: received, signal } = request
    const body = method === 'POST' ? await request.text() : undefined
    const init = { method, signal, ...(body === undefined ? {} : { body }) }
    const adapter = reachOf(service)
    const session = received.get('mcp-session-id') ?? undefined
    if (adapter?.needed(session, body?.includes('"initialize"') === true))
      return adapter.ask(abortableRequest('http://line.invalid/mcp', { ...init, headers: received }), {
        owner: ownerOf(principal),
        asked,
      })
    const headers = new Headers(received)
    // fetch would remove a Content-Encoding.
    headers.set('accept-encoding', 'identity')
    return fetchAt(
      fetch,
      endpointOf(service),
      request.url,
      { ...init, headers, redirect: 'manual' },
      isRepeatableText(method, body),
    )
  }
}

/** One server in front of which calls may need the bridge. */
interface BridgedServer extends Server {
  readonly versions: NegotiatedVersions
  readonly legacy: LegacyClient
  readonly modern: ModernClient
  /** Undefined for servers that are not stdio servers. */
  readonly attend: Attend | undefined
  /**
   * Sessions of a stdio server whose ids look like the gateway's: the id was sent before it was known what
   * the server speaks.
   */
  readonly stdioSessions: Set<string>
}

const createBridgedServer = (service: Service, deps: RevisionBridgeDeps): BridgedServer | undefined => {
  const direct = directUpstreamOf(service, deps)
  if (!direct) return undefined
  const { runtime, config, keepAliveMs } = deps
  const lasting = runtime.transports.sessionLocations === undefined
  const server: Server = { service, runtime, direct, keepAliveMs, lasting }
  const versions = (config.protocol_versions ?? publishedVersions).filter((version) => !isModern(version))
  return {
    ...server,
    versions: createNegotiatedVersions(runtime.now),
    legacy: createLegacyClient(server, versions),
    modern: createModernClient(server),
    attend: service.upstream.kind === 'bridge' ? service.upstream.attend : undefined,
    stdioSessions: new Set(),
  }
}

/** Whether the gateway keeps this session, rather than the server. */
const isOwnSession = ({ stdioSessions }: BridgedServer, session: string | undefined): session is string =>
  isClientSession(session) && !stdioSessions.has(session)

type SendRequest = () => Promise<Response>

const modernCall = async (
  server: BridgedServer,
  caller: Caller,
  message: Rpc,
  sendRequest: SendRequest,
): Promise<Response> => {
  const { versions, modern } = server
  if (versions.speaks(caller.owner, 'modern') === false) return modern.handle(caller, message)
  const { speaks, response } = await negotiateModern(server, caller, message, sendRequest)
  if (speaks) versions.remember(caller.owner, 'modern', true)
  if (speaks !== false) return response
  const session = await modern.begin(caller, message)
  // If it is not a legacy server either, its first response stands.
  if (session === undefined || session instanceof Response) return session ?? response
  await discard(response)
  versions.remember(caller.owner, 'modern', false)
  return modern.handle(caller, message, session)
}

const legacyInitialize = async (
  server: BridgedServer,
  caller: Caller,
  message: Rpc,
  sendRequest: SendRequest,
): Promise<Response> => {
  const { versions, legacy } = server
  if (versions.speaks(caller.owner, 'legacy') === false)
    return (await legacy.begin(caller, message)) ?? sendRequest()
  const { speaks, response } = await negotiateLegacy(server, sendRequest)
  if (speaks) versions.remember(caller.owner, 'legacy', true)
  if (speaks !== false) return response
  const begun = await legacy.begin(caller, message)
  if (begun?.ok) versions.remember(caller.owner, 'legacy', false)
  return begun ?? response
}

interface PostedBody {
  readonly body: string
  readonly messages: readonly Rpc[]
  readonly batch: boolean
}

const dispatch = (
  server: BridgedServer,
  caller: Caller,
  { body, messages, batch }: PostedBody,
): Promise<Response> => {
  const { url, headers, signal } = caller
  const session = headers.get('mcp-session-id') ?? undefined
  const [message] = messages
  const sendRequest: SendRequest = () =>
    server.direct(abortableRequest(url, { method: 'POST', headers, signal, body }), caller)
  if (isOwnSession(server, session)) return server.legacy.post(caller, session, messages, batch)
  if (!message || batch) return sendRequest()
  if (isModernMessage(message, headers.get('mcp-protocol-version') ?? undefined))
    return modernCall(server, caller, message, sendRequest)
  return message['method'] === 'initialize'
    ? legacyInitialize(server, caller, message, sendRequest)
    : sendRequest()
}

/** Ids that are remembered. Their sessions end with the processes of the server, of which there are fewer. */
const maxStdioSessions = 10_000

/** Remembers whose session it is whose id the caller was told in advance. */
const settleSession = async (
  { stdioSessions, legacy }: BridgedServer,
  session: string | undefined,
  { owner }: Caller,
  { ok, headers }: Response,
): Promise<void> => {
  if (session === undefined || !ok || headers.get('mcp-session-id') !== session) return
  if (await legacy.has(session, owner)) return
  if (stdioSessions.size >= maxStdioSessions)
    stdioSessions.delete(stdioSessions.values().next().value as string)
  stdioSessions.add(session)
}

/**
 * Dispatches a POST. If a process must start first, the caller is told so on an event stream, and gets the
 * response on it.
 */
const post = async (server: BridgedServer, caller: Caller, body: string): Promise<Response> => {
  const { attend, runtime } = server
  const messages = messagesToWrite(body)
  const posted = { body, messages, batch: body.trimStart().startsWith('[') }
  const [message] = messages
  const session = caller.headers.get('mcp-session-id') ?? undefined
  if (!attend || posted.batch || !message || kindOf(message) !== 'request' || isOwnSession(server, session))
    return dispatch(server, caller, posted)
  const { principal, signal, refused } = caller
  const outcome = await attend<Response>(
    { message, principal, signal, refused },
    {
      async run(started) {
        const response = await dispatch(server, { ...caller, ...started }, posted)
        await settleSession(server, started.sessionId(), caller, response)
        return response
      },
      deliver: deliverResponse,
      nameSession: message['method'] === 'initialize' ? () => newSessionId(runtime) : undefined,
    },
  )
  return outcome instanceof Response ? outcome : stdioResponse(outcome)
}

const handle = async (server: BridgedServer, caller: Caller, request: Request): Promise<Response> => {
  if (request.method === 'POST') return post(server, caller, await request.text())
  const session = request.headers.get('mcp-session-id') ?? undefined
  if (!isOwnSession(server, session)) return server.direct(request, caller)
  return request.method === 'DELETE'
    ? server.legacy.delete(caller, session)
    : server.legacy.get(caller, session)
}

/** Whether the server is not known to speak the revision of this call. Asked for every call. */
const needsBridge = (
  server: BridgedServer,
  owner: (principal: Principal | undefined) => string,
  { modern, principal, session, envelope }: IdentifiedCall,
): boolean => {
  if (modern) return server.versions.speaks(owner(principal), 'modern') !== true
  if (session !== undefined) return isOwnSession(server, session)
  return (
    envelope?.messages[0]?.method === 'initialize' &&
    server.versions.speaks(owner(principal), 'legacy') !== true
  )
}

const urlOf = (upstream: Upstream): string =>
  upstream.kind === 'http' ? `${upstream.origin}${upstream.path}` : 'http://command.invalid/mcp'

export const createRevisionBridge = (deps: RevisionBridgeDeps): RevisionBridge => {
  const servers = new WeakMap<Service, { readonly server: BridgedServer | undefined }>()
  const serverOf = (service: Service): BridgedServer | undefined => {
    let known = servers.get(service)
    if (!known) servers.set(service, (known = { server: createBridgedServer(service, deps) }))
    return known.server
  }
  const owners = new WeakMap<Principal, string>()
  const owner = (principal: Principal | undefined): string => {
    if (!principal) return ''
    let known = owners.get(principal)
    if (known === undefined) owners.set(principal, (known = ownerOf(principal)))
    return known
  }
  return {
    upstream(call) {
      const { address, head, context, rest, query, principal } = call
      if (rest !== '') return undefined
      const server = serverOf(address.service)
      if (!server || !needsBridge(server, owner, call)) return undefined
      const asked = askedOf(head, call)
      const about = { principal, asked, refused: refusedOf(deps.runtime.log, asked), owner: owner(principal) }
      return {
        kind: 'local',
        url: urlOf(context.target.upstream('', query)),
        handle: (request) => {
          const { url, headers, signal } = request
          return handle(server, { ...about, url, headers, signal }, request)
        },
      }
    },
  }
}
