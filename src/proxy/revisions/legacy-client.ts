// Legacy clients at a modern server: the gateway answers `initialize` and has the session, and each request
// is one of its own at the server.
import { upstreamRefusal } from '../../kit/log.ts'
import { type RefusalCode, Refusal } from '../../kit/refusal.ts'
import { type Rpc, keyOf, kindOf, paramsOf, isRecord } from '../../mcp/json-rpc.ts'
import { envelopeOf, isModernServer, offeredVersion } from '../../mcp/revisions.ts'
import { checkBatch } from '../../mcp/streamable-http.ts'
import {
  bridgedClient,
  bridgedServer,
  hasFlag,
  isLevel,
  serverInfoKey,
  subscribableChanges,
  urlsOnly,
} from '../../mcp/translate.ts'
import {
  type ClientSession,
  type ClientSessions,
  type ClientStreams,
  createClientSessions,
  createClientStreams,
} from './client-sessions.ts'
import {
  type Caller,
  type Server,
  createResponse,
  isForCaller,
  jsonResponse,
  responseTo,
  sendModern,
} from './exchange.ts'
import { type LegacyCall, createElicitations, createToolHeaders, runLegacyCall } from './legacy-call.ts'

interface State {
  readonly server: Server
  /** Legacy revisions that clients may use, newest first. */
  readonly versions: readonly string[]
  readonly sessions: ClientSessions
  readonly streams: ClientStreams
  readonly toolHeaders: LegacyCall['toolHeaders']
  readonly elicitations: LegacyCall['elicitations']
  /** Requests that clients may cancel, by session and id. */
  readonly inFlight: Map<string, AbortController>
}

/** The client information is stored, and sent with each request. */
const maxClientInfo = 4096

const clientInfoOf = (info: unknown): Rpc => {
  if (!isRecord(info)) return { name: 'unknown', version: '0' }
  if (JSON.stringify(info).length <= maxClientInfo) return info
  return { name: String(info['name']).slice(0, 256), version: String(info['version']).slice(0, 256) }
}

const serverInfoOf = ({ _meta }: Rpc, { service }: Server): Rpc => {
  const info = isRecord(_meta) ? _meta[serverInfoKey] : undefined
  return isRecord(info) ? info : { name: service.id, version: '0' }
}

const initialize = async (
  { server, versions, sessions }: State,
  caller: Caller,
  message: Rpc,
): Promise<Response | undefined> => {
  const { lasting } = server
  const { protocolVersion, capabilities, clientInfo: info } = paramsOf(message)
  const clientInfo = clientInfoOf(info)
  const declared = lasting ? bridgedClient(capabilities) : urlsOnly(bridgedClient(capabilities))
  const { id, response } = await sendModern(server, caller, {
    method: 'server/discover',
    params: { _meta: envelopeOf(clientInfo, declared) },
  })
  if (isForCaller(response)) return response
  const answer = await responseTo(server, response, id)
  const result = answer?.['result']
  if (!answer || !isModernServer(answer) || !isRecord(result)) return undefined
  const offered = bridgedServer(result['capabilities'], { notices: true, watching: lasting })
  const version = versions.find((one) => one === protocolVersion) ?? versions[0] ?? offeredVersion
  const sessionId = await sessions.begin(
    {
      owner: caller.owner,
      version,
      clientInfo,
      capabilities: declared,
      changes: subscribableChanges(offered),
      subscribable: hasFlag(offered, 'resources', 'subscribe'),
      subscribed: [],
    },
    caller.sessionId?.(),
  )
  const { instructions } = result
  const initialized = {
    protocolVersion: version,
    capabilities: offered,
    serverInfo: serverInfoOf(result, server),
    ...(typeof instructions === 'string' ? { instructions } : {}),
  }
  return jsonResponse(
    { jsonrpc: '2.0', id: message['id'], result: initialized },
    { 'mcp-session-id': sessionId },
  )
}

/** Methods that modern servers do not have, and methods of modern revisions. */
const unsupported =
  /^(?:tasks\/.*|server\/discover|subscriptions\/.*|notifications\/.*|resources\/(?:un)?subscribe)$/
const maxResources = 256
const maxUri = 2048

const emptyResult = (message: Rpc): string =>
  JSON.stringify({ jsonrpc: '2.0', id: message['id'], result: {} })

const changeSubscription = async (
  { sessions, streams }: State,
  sessionId: string,
  { owner, refused }: Caller,
  message: Rpc,
): Promise<string> => {
  const { uri } = paramsOf(message)
  if (typeof uri !== 'string' || uri.length > maxUri)
    return refused(new Refusal('mcp.params', 'uri', { say: 'uri is missing or too long.' }), message['id'])
  await sessions.change(sessionId, owner, ({ subscribed }) => {
    const others = subscribed.filter((one) => one !== uri)
    if (message['method'] === 'resources/unsubscribe') return { subscribed: others }
    if (others.length >= maxResources)
      throw new Refusal('calls.limited', `${maxResources} resources are subscribed to`)
    return { subscribed: [...others, uri] }
  })
  streams.changed(sessionId)
  return emptyResult(message)
}

/**
 * The response to a request that the gateway answers itself; undefined for requests that the server answers.
 */
const ownResponse = async (
  state: State,
  sessionId: string,
  caller: Caller,
  message: Rpc,
): Promise<string | undefined> => {
  const method = String(message['method'])
  const refuse = (code: RefusalCode, say?: string): string =>
    caller.refused(new Refusal(code, method, say === undefined ? {} : { say }), message['id'])
  switch (method) {
    case 'ping':
      return emptyResult(message)
    case 'initialize':
      return refuse('mcp.invalid', 'The session has begun already.')
    case 'logging/setLevel': {
      const { level } = paramsOf(message)
      if (!isLevel(level)) return refuse('mcp.params', 'There is no such level.')
      await state.sessions.change(sessionId, caller.owner, () => ({ logLevel: level }))
      return emptyResult(message)
    }
    case 'resources/subscribe':
    case 'resources/unsubscribe':
      return state.server.lasting
        ? changeSubscription(state, sessionId, caller, message)
        : refuse('mcp.modern')
    default:
      return unsupported.test(method) ? refuse('mcp.modern') : undefined
  }
}

const nameOf = (sessionId: string, id: unknown): string => `${sessionId}\n${keyOf(id)}`

/**
 * Resolves to undefined if the client cancels the request: it has no response then (2025-11-25 cancellation).
 * Clients may have requests under one id; a cancellation means the newest of them.
 */
const runRequest = async (
  state: State,
  call: Pick<LegacyCall, 'sessionId' | 'session' | 'caller' | 'message' | 'write'>,
): Promise<string | Response | undefined> => {
  const { server, elicitations, toolHeaders, inFlight } = state
  const { sessionId, caller, message } = call
  const name = nameOf(sessionId, message['id'])
  const cancelled = new AbortController()
  inFlight.set(name, cancelled)
  const signal = AbortSignal.any([caller.signal, cancelled.signal])
  try {
    return (
      (await ownResponse(state, sessionId, caller, message)) ??
      (await runLegacyCall({ ...call, server, caller: { ...caller, signal }, elicitations, toolHeaders }))
    )
  } catch (error) {
    if (cancelled.signal.aborted) return undefined
    throw error
  } finally {
    if (inFlight.get(name) === cancelled) inFlight.delete(name)
  }
}

/** Answers requests that were posted together; the last answer ends the HTTP response. */
const runRequests = (
  state: State,
  sessionId: string,
  session: ClientSession,
  caller: Caller,
  requests: readonly Rpc[],
): Promise<Response> => {
  const { server } = state
  const left = new AbortController()
  const pending = createResponse(server, caller.signal, () => left.abort())
  const { write } = pending
  const alone = requests.length === 1
  let open = requests.length
  const respond = (text: string | undefined): void => {
    open--
    if (open === 0) pending.finish(text)
    else if (text !== undefined) write(text)?.catch(() => undefined)
  }
  for (const message of requests) {
    const refuse = (refusal: Refusal): string => caller.refused(refusal, message['id'])
    const call = { sessionId, session, caller: { ...caller, signal: left.signal }, message, write }
    runRequest(state, call).then(
      (outcome) => {
        if (!(outcome instanceof Response)) return respond(outcome)
        if (alone && pending.state() === 'waiting') return pending.fail(outcome)
        const why = `${server.service.id} answered ${outcome.status}`
        const say = `The MCP server responded with status ${outcome.status}.`
        return respond(refuse(new Refusal('upstream.answer', why, { say })))
      },
      (error: unknown) => {
        const refusal = upstreamRefusal(error, server.service.id)
        // Errors of the upstream have an HTTP status of their own; other refusals are JSON-RPC errors.
        if (alone && !(error instanceof Refusal && refusal.row.status < 500))
          pending.fail(error, () => refuse(refusal))
        else respond(refuse(refusal))
      },
    )
  }
  return pending.response
}

const post = async (
  state: State,
  caller: Caller,
  sessionId: string,
  messages: readonly Rpc[],
  batch: boolean,
): Promise<Response> => {
  const session = await state.sessions.find(sessionId, caller.owner)
  checkBatch(batch, session.version)
  const kinds = messages.map(kindOf)
  if (messages.length === 0 || kinds.includes(undefined))
    throw new Refusal('mcp.invalid', 'not a JSON-RPC message')
  for (const [i, message] of messages.entries()) {
    if (kinds[i] === 'response') state.elicitations?.respond(sessionId, message)
    if (kinds[i] === 'notification' && message['method'] === 'notifications/cancelled')
      state.inFlight.get(nameOf(sessionId, paramsOf(message)['requestId']))?.abort()
  }
  const requests = messages.filter((_, i) => kinds[i] === 'request')
  if (requests.length === 0) return new Response(null, { status: 202 })
  return runRequests(state, sessionId, session, caller, requests)
}

export type LegacyClient = ReturnType<typeof createLegacyClient>

export const createLegacyClient = (server: Server, versions: readonly string[]) => {
  const sessions = createClientSessions(server)
  const streams = createClientStreams(server)
  const state: State = {
    server,
    versions,
    sessions,
    streams,
    toolHeaders: createToolHeaders(server),
    elicitations: server.lasting ? createElicitations(server) : undefined,
    inFlight: new Map(),
  }
  return {
    /**
     * Answers `initialize`. A Response without a session is the server's to the caller, for example 401.
     * Undefined: it is not a modern server.
     */
    begin: (caller: Caller, message: Rpc): Promise<Response | undefined> =>
      initialize(state, caller, message),
    /**
     * Answers a POST in a session: one message, or several where the revision has batches. Rejects with
     * `Refusal`.
     */
    post: (caller: Caller, sessionId: string, messages: readonly Rpc[], batch: boolean): Promise<Response> =>
      post(state, caller, sessionId, messages, batch),
    get: (caller: Caller, sessionId: string): Promise<Response> =>
      streams.open(sessionId, caller, () => sessions.find(sessionId, caller.owner)),
    async delete({ owner }: Caller, sessionId: string): Promise<Response> {
      await sessions.find(sessionId, owner)
      await sessions.end(sessionId, owner)
      streams.end(sessionId)
      return new Response(null, { status: 200 })
    },
    has: (sessionId: string, owner: string): Promise<boolean> =>
      sessions.find(sessionId, owner).then(
        () => true,
        (error: unknown) => !(error instanceof Refusal && error.code === 'session.unknown'),
      ),
  }
}
