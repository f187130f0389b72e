// Modern clients at a legacy server: they send no `initialize` and have no session, so the gateway has both
// at the server.
import { encodeBase64url } from '../../kit/bytes.ts'
import { Refusal } from '../../kit/refusal.ts'
import { type Id, type Rpc, kindOf, metaOf, paramsOf, isRecord } from '../../mcp/json-rpc.ts'
import { mismatchOf, paramHeaderRefusal, paramHeaders } from '../../mcp/param-headers.ts'
import { metaKeys, askedVersion, ownClient } from '../../mcp/revisions.ts'
import {
  bridgedClient,
  bridgedServer,
  mayRequireInput,
  modernResult,
  urlsOnly,
  grantedChanges,
  hasFlag,
  listChanges,
  subscriptionKey,
} from '../../mcp/translate.ts'
import { canonicalRequest } from '../upstream-credential.ts'
import { type Caller, type Server, createResponse, jsonResponse, newId, responseTo } from './exchange.ts'
import {
  type ModernCall,
  cancelCall,
  failCall,
  newModernCall,
  receive,
  release,
  resumeCall,
  sendCall,
} from './modern-call.ts'
import {
  type UpstreamSession,
  type UpstreamSessions,
  createUpstreamSessions,
  sendInSession,
} from './upstream-sessions.ts'

const statePrefix = 'postern-call.'
const holdMs = 15 * 60_000
const maxPerOwner = 16
const maxHeld = 1000

const isRequestState = (state: unknown): state is string =>
  typeof state === 'string' && state.startsWith(statePrefix)

/**
 * Calls that wait for the client's next attempt. The request state is a secret that is good once, for the
 * same person, client and request.
 */
const createPendingInputRequests = ({ runtime, lasting }: Server) => {
  const { random, digest, timer } = runtime
  const held = new Map<
    string,
    { readonly call: ModernCall; readonly request: string; readonly stopTimer: () => void }
  >()
  /** The same for each attempt of a request. */
  const requestOf = (message: Rpc): string => digest(canonicalRequest(message))
  return {
    /** Returns the state; undefined if the caller has too many calls that wait. */
    hold(call: ModernCall): string | undefined {
      const { owner } = call.caller
      const own = [...held.values()].filter((one) => one.call.caller.owner === owner).length
      if (!lasting || own >= maxPerOwner || held.size >= maxHeld) return undefined
      const state = statePrefix + encodeBase64url(random(32))
      const stopTimer = timer(holdMs, () => {
        held.delete(state)
        cancelCall(call)
      })
      held.set(state, { call, request: requestOf(call.message), stopTimer })
      return state
    },
    /** Throws `mcp.request-state` for a state of another caller or request, or an expired one. */
    take(state: string, { owner }: Caller, message: Rpc): ModernCall {
      const found = held.get(state)
      if (found?.call.caller.owner !== owner || found.request !== requestOf(message))
        throw new Refusal('mcp.request-state', found ? 'of another caller or request' : 'not waiting here', {
          rpcId: message['id'] as Id,
        })
      held.delete(state)
      found.stopTimer()
      return found.call
    },
  }
}

export interface ModernClient {
  /**
   * The session for calls of this client. A Response is the server's to the caller, for example 401.
   * Undefined: it is not a legacy server.
   */
  begin(caller: Caller, message: Rpc): Promise<UpstreamSession | Response | undefined>
  /** Responds to one message, in that session if there is one. Rejects with `Refusal`. */
  handle(caller: Caller, message: Rpc, session?: UpstreamSession): Promise<Response>
}

interface State {
  readonly server: Server
  readonly sessions: UpstreamSessions
  readonly pending: ReturnType<typeof createPendingInputRequests>
  /**
   * Calls of a session that can require input, the latest last. Requests of the server outside a call go to
   * the latest.
   */
  readonly askable: WeakMap<UpstreamSession, Set<ModernCall>>
}

const beginSession = (
  { server, sessions }: State,
  caller: Caller,
  message: Rpc,
): Promise<UpstreamSession | Response | undefined> => {
  const meta = metaOf(message)
  const clientInfo = meta[metaKeys.client]
  const capabilities = bridgedClient(meta[metaKeys.capabilities])
  return sessions.get(
    caller,
    isRecord(clientInfo) ? clientInfo : ownClient(server.runtime.about),
    server.lasting ? capabilities : urlsOnly(capabilities),
  )
}

/**
 * Listens on the GET stream for requests that belong to this call. Before the call is sent: what the server
 * asks while nobody listens is lost.
 */
const listenFor = async ({ askable }: State, call: ModernCall): Promise<() => void> => {
  const { stream, capabilities } = call.session
  if (!stream || !mayRequireInput.has(call.method) || Object.keys(capabilities).length === 0)
    return () => undefined
  const calls = askable.get(call.session) ?? new Set()
  askable.set(call.session, calls)
  calls.add(call)
  const stop = await stream.listen(
    (message) => message['id'] !== undefined && [...calls].at(-1) === call && receive(call, message),
  )
  return () => {
    calls.delete(call)
    stop()
  }
}

/** Sends the call, and once more in a new session if the server does not know the session any more. */
const callServer = async (state: State, call: ModernCall): Promise<void> => {
  const { sessions, server } = state
  for (let attempts = 0; attempts < 2; attempts++) {
    const { session, caller, message } = call
    const stopListening = await listenFor(state, call)
    call.onOver = () => {
      stopListening()
      sessions.done(session)
    }
    if (call.done) return release(call)
    if ((await sendCall(call)) !== 'lost') return undefined
    release(call)
    await sessions.lost(session)
    const next = await beginSession(state, caller, message)
    if (next === undefined || next instanceof Response) break
    call.session = next
  }
  throw new Refusal('upstream.session', `${server.service.id} forgets its sessions`)
}

/** Whether notifications of the server reach the caller. */
const canListen = ({ server }: State, { owner }: Caller): boolean => server.lasting && owner !== ''

const discover = (state: State, caller: Caller, session: UpstreamSession, message: Rpc): Response => {
  const { capabilities, server, instructions } = session.initialized
  state.sessions.done(session)
  const listens = canListen(state, caller)
  const result = {
    supportedVersions: [askedVersion],
    capabilities: bridgedServer(capabilities, { notices: listens, watching: listens }),
    ...(instructions === undefined ? {} : { instructions }),
  }
  return jsonResponse({
    jsonrpc: '2.0',
    id: message['id'],
    result: modernResult('server/discover', result, server),
  })
}

/**
 * Throws `mcp.headers` if the `Mcp-Param-*` headers do not match the arguments (streamable-http, server
 * validation).
 */
const checkParamHeaders = ({ headers }: Caller, session: UpstreamSession, message: Rpc): void => {
  const { name, arguments: args } = paramsOf(message)
  const expected = session.paramHeaders.get(String(name)) ?? []
  const header = mismatchOf(expected, args, paramHeaders([...headers].flat()))
  if (header !== undefined) throw paramHeaderRefusal(header, message['id'] as Id)
}

/** Whether the person declined every URL of the last attempt. */
const isDeclined = (message: Rpc): boolean => {
  const { inputResponses } = paramsOf(message)
  const responses = isRecord(inputResponses) ? Object.values(inputResponses) : []
  return (
    responses.length > 0 &&
    responses.every(
      (response) =>
        isRecord(response) && (response['action'] === 'decline' || response['action'] === 'cancel'),
    )
  )
}

// `subscriptions/listen` at a legacy server: the notifications of the session's GET stream.

/** Resources per subscription. */
const maxResources = 256

const wantedResources = ({ resourceSubscriptions: uris }: Rpc, capabilities: Rpc): readonly string[] =>
  Array.isArray(uris) && hasFlag(capabilities, 'resources', 'subscribe')
    ? (uris as readonly unknown[])
        .filter((uri): uri is string => typeof uri === 'string')
        .slice(0, maxResources)
    : []

const requestResource = async (
  server: Server,
  session: Pick<UpstreamSession, 'headers' | 'caller'>,
  method: 'resources/subscribe' | 'resources/unsubscribe',
  uri: string,
): Promise<boolean> => {
  const id = newId(server)
  const answer = await sendInSession(server, session, { id, method, params: { uri } }, 10_000)
    .then((response) => (response.ok ? responseTo(server, response, id) : undefined))
    .catch(() => undefined)
  return isRecord(answer?.['result'])
}

/** Subscribes to resources in the session, each for as long as any subscription of the client wants it. */
const subscribeResources = async (
  server: Server,
  caller: Caller,
  session: UpstreamSession,
  uris: readonly string[],
): Promise<{ readonly uris: ReadonlySet<string>; readonly stop: () => void }> => {
  const { subscribed, headers } = session
  const own = new Set<string>()
  for (const uri of uris) {
    if (own.has(uri)) continue
    const known = subscribed.has(uri)
    if (!known && !(await requestResource(server, { headers, caller }, 'resources/subscribe', uri))) continue
    subscribed.set(uri, (subscribed.get(uri) ?? 0) + 1)
    own.add(uri)
  }
  const stop = (): void => {
    for (const uri of own) {
      const left = (subscribed.get(uri) ?? 1) - 1
      if (left > 0) subscribed.set(uri, left)
      else if (subscribed.delete(uri))
        requestResource(server, { headers, caller }, 'resources/unsubscribe', uri).catch(() => false)
    }
    own.clear()
  }
  return { uris: own, stop }
}

const withSubscriptionId = (message: Rpc, id: Id): string =>
  JSON.stringify({
    ...message,
    params: { ...paramsOf(message), _meta: { ...metaOf(message), [subscriptionKey]: id } },
  })

const openSubscription = async (
  server: Server,
  caller: Caller,
  session: UpstreamSession,
  message: Rpc,
): Promise<Response> => {
  const id = message['id'] as Id
  const { notifications } = paramsOf(message)
  const wanted = isRecord(notifications) ? notifications : {}
  const capabilities = bridgedServer(session.initialized.capabilities, { notices: true, watching: true })
  const granted = grantedChanges(wanted, capabilities)
  const uris = wantedResources(wanted, capabilities)
  const onEnd: (() => void)[] = []
  const end = (): void => onEnd.forEach((stop) => stop())
  const response = createResponse(server, caller.signal, end)
  const write = (notification: Rpc): void =>
    void response.write(withSubscriptionId(notification, id))?.catch(() => undefined)
  let resources: ReadonlySet<string> = new Set()
  /** Notifications before the acknowledgement wait for it. */
  let early: Rpc[] | undefined = []
  const stopListening = await session.stream?.listen((notification) => {
    const method = String(notification['method'])
    const change = listChanges[method]
    const isWanted = change
      ? granted[change.filter] === true
      : method === 'notifications/resources/updated' && resources.has(String(paramsOf(notification)['uri']))
    if (isWanted && early) early.push(notification)
    else if (isWanted) write(notification)
    return isWanted
  })
  if (stopListening) onEnd.push(stopListening)
  const subscribed = await subscribeResources(server, caller, session, uris)
  onEnd.push(subscribed.stop)
  resources = subscribed.uris
  write({
    jsonrpc: '2.0',
    method: 'notifications/subscriptions/acknowledged',
    params: {
      notifications: { ...granted, ...(uris.length > 0 ? { resourceSubscriptions: [...resources] } : {}) },
    },
  })
  for (const notification of early) write(notification)
  early = undefined
  // The client may have left in the meantime.
  if (response.state() === 'over') end()
  return response.response
}

/** Methods of legacy revisions without a counterpart: they are not advertised. */
const legacyMethods =
  /^(?:initialize|ping|logging\/setLevel|resources\/(?:un)?subscribe|tasks\/.*|notifications\/.*)$/

const handleRequest = async (
  state: State,
  caller: Caller,
  message: Rpc,
  begun: UpstreamSession | undefined,
): Promise<Response> => {
  const method = String(message['method'])
  const rpcId = message['id'] as Id
  const { requestState } = paramsOf(message)
  if (isRequestState(requestState))
    return resumeCall(state.pending.take(requestState, caller, message), caller, message)
  if (legacyMethods.test(method) || (method === 'subscriptions/listen' && !canListen(state, caller)))
    throw new Refusal('mcp.method', method, { rpcId })
  if (isDeclined(message)) throw new Refusal('mcp.input-declined', method, { rpcId })
  const session = begun ?? (await beginSession(state, caller, message))
  if (session instanceof Response) return session
  if (session === undefined)
    throw new Refusal('upstream.session', `${state.server.service.id} begins no session`)
  if (method === 'server/discover') return discover(state, caller, session, message)
  if (method === 'subscriptions/listen') return openSubscription(state.server, caller, session, message)
  if (method === 'tools/call') checkParamHeaders(caller, session, message)
  const { server, pending } = state
  const call = newModernCall(session, { server, caller, message, hold: pending.hold })
  const { response } = call.response
  callServer(state, call).catch((error: unknown) => failCall(call, error))
  return response
}

export const createModernClient = (server: Server): ModernClient => {
  const state: State = {
    server,
    sessions: createUpstreamSessions(server),
    pending: createPendingInputRequests(server),
    askable: new WeakMap(),
  }
  return {
    begin: (caller, message) => beginSession(state, caller, message),
    async handle(caller, message, session) {
      const kind = kindOf(message)
      if (kind === undefined) throw new Refusal('mcp.invalid', 'not a JSON-RPC message')
      if (kind === 'response')
        throw new Refusal('mcp.invalid', 'a response', {
          say: 'This MCP revision does not allow responses from clients.',
        })
      // Notifications of modern clients have no counterpart; to cancel, they close the stream.
      if (kind === 'notification') return new Response(null, { status: 202 })
      return handleRequest(state, caller, message, session)
    },
  }
}
