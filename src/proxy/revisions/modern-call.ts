// One call of a modern client in its session at a legacy server. Requests of the server to the client become
// input requests (2026-07-28 multi-round-trip requests), and the call waits at the server until the client
// tries again with the responses.
import { upstreamRefusal } from '../../kit/log.ts'
import { Refusal, rpcError } from '../../kit/refusal.ts'
import { type Rpc, metaOf, paramsOf, statusOf, isRecord } from '../../mcp/json-rpc.ts'
import { paramHeadersOf } from '../../mcp/param-headers.ts'
import { metaKeys } from '../../mcp/revisions.ts'
import {
  bridgedClient,
  bridgedServer,
  canReceive,
  isLevel,
  isLevelWanted,
  logLevelKey,
  mayRequireInput,
  serverInfoKey,
  toModern,
  toModernError,
  withoutEnvelope,
} from '../../mcp/translate.ts'
import {
  type Caller,
  type PendingResponse,
  type Server,
  createResponse,
  discard,
  isForCaller,
  newId,
  readMessages,
  requestIdOf,
  send,
} from './exchange.ts'
import { type UpstreamSession, sendInSession } from './upstream-sessions.ts'

export interface ModernCall {
  readonly server: Server
  session: UpstreamSession
  /** The id of the request at the server, and its progress token. */
  readonly id: string
  readonly method: string
  /** The client's latest attempt. */
  caller: Caller
  message: Rpc
  /** The response to the latest attempt; undefined between attempts. */
  response: PendingResponse | undefined
  /** Requests of the server that the client has not answered, by key. */
  readonly requests: Map<string, Rpc>
  /** Cancels the timer that collects requests. */
  collecting: (() => void) | undefined
  /** The server's response. */
  answer: Rpc | undefined
  done: boolean
  readonly abort: AbortController
  /**
   * Keeps the call until the client's next attempt. Returns the request state of that attempt; undefined if
   * the caller has too many calls that wait.
   */
  readonly hold: (call: ModernCall) => string | undefined
  /** Ends what the call holds in its session. */
  onOver: () => void
}

export const newModernCall = (
  session: UpstreamSession,
  { server, caller, message, hold }: Pick<ModernCall, 'server' | 'caller' | 'message' | 'hold'>,
): ModernCall & { readonly response: PendingResponse } => {
  const call: ModernCall = {
    server,
    session,
    id: newId(server),
    method: String(message['method']),
    caller,
    message,
    response: undefined,
    requests: new Map(),
    collecting: undefined,
    answer: undefined,
    done: false,
    abort: new AbortController(),
    hold,
    onOver: () => undefined,
  }
  return Object.assign(call, { response: createResponse(server, caller.signal, () => cancelCall(call)) })
}

/** Requests that the server makes within this time are sent to the client together. */
const collectMs = 10

/** The gateway's own message to the server. Nobody waits for it. */
const post = ({ server, session, caller }: ModernCall, message: Rpc): Promise<void> =>
  sendInSession(server, { headers: session.headers, caller }, message).then(discard, () => undefined)

const legacyRequest = ({ message, id, method }: ModernCall): string => {
  const { inputResponses: _responses, requestState: _state, _meta, ...params } = paramsOf(message)
  const meta = isRecord(_meta) ? withoutEnvelope(_meta) : {}
  const ownMeta = 'progressToken' in meta ? { ...meta, progressToken: id } : meta
  return JSON.stringify({
    jsonrpc: '2.0',
    id,
    method,
    params: { ...params, ...(Object.keys(ownMeta).length > 0 ? { _meta: ownMeta } : {}) },
  })
}

const inputRequired = ({ session, message }: ModernCall, more: Rpc): Rpc => ({
  jsonrpc: '2.0',
  id: message['id'],
  result: {
    resultType: 'input_required',
    ...more,
    _meta: { [serverInfoKey]: session.initialized.server },
  },
})

/** A URL that the person must open first (2025-11-25 elicitation, URL mode) becomes an input request. */
const urlElicitation = (call: ModernCall, error: Rpc): Rpc => {
  const data = isRecord(error['data']) ? error['data'] : {}
  const list = Array.isArray(data['elicitations']) ? (data['elicitations'] as readonly unknown[]) : []
  const requests = list
    .filter(isRecord)
    .map((params) => ({ method: 'elicitation/create', params: { ...params, mode: 'url' } }))
  const client = bridgedClient(metaOf(call.message)[metaKeys.capabilities])
  if (requests.length > 0 && requests.every((request) => canReceive(client, request)))
    return inputRequired(call, {
      inputRequests: Object.fromEntries(requests.map((request, i) => [`url-${i + 1}`, request])),
    })
  const refused = { ...data, code: 'mcp.input-required', request_id: requestIdOf(call.caller) }
  return { jsonrpc: '2.0', id: call.message['id'], error: { ...error, code: 1403, data: refused } }
}

/** The server's response as a modern one. */
const modernResponse = (call: ModernCall, { result, error }: Rpc): Rpc => {
  const { session, method, message } = call
  const { id } = message
  if (isRecord(result)) {
    if (method === 'tools/list')
      for (const [name, headers] of paramHeadersOf(result['tools'])) session.paramHeaders.set(name, headers)
    return { jsonrpc: '2.0', id, result: toModern(method, result, session.initialized.server) }
  }
  if (isRecord(error))
    return error['code'] === -32_042
      ? urlElicitation(call, error)
      : { jsonrpc: '2.0', id, error: toModernError(error) }
  const refusal = new Refusal('upstream.answer', '', {
    say: 'The MCP server sent a response without a result or an error.',
  })
  return { jsonrpc: '2.0', id, error: rpcError(refusal, requestIdOf(call.caller)) }
}

/** The call is over, at least in this session. */
export const release = (call: ModernCall): void => {
  const { onOver } = call
  call.onOver = () => undefined
  onOver()
}

const over = (call: ModernCall): void => {
  call.done = true
  call.collecting?.()
  release(call)
}

/** Sends the server's response to the client, once both are there. */
const finish = (call: ModernCall): void => {
  const { answer, response, done } = call
  if (!answer || !response || done) return
  const translated = modernResponse(call, answer)
  response.finish(JSON.stringify(translated), statusOf(translated))
  over(call)
}

/** Ends the call with this error, in its response. */
export const failCall = (call: ModernCall, error: unknown): void => {
  const { done, response, caller, message } = call
  if (done) return
  const refusal = upstreamRefusal(error, call.server.service.id)
  if (!response) {
    // The client's next attempt gets the error.
    call.answer = JSON.parse(caller.refused(refusal, null)) as Rpc
    return
  }
  response.fail(error, () => caller.refused(refusal, message['id']))
  over(call)
}

const rejectRequest = (call: ModernCall, { id }: Rpc): void => {
  const error = { code: -32_601, message: 'The client cannot receive this request.' }
  post(call, { id, error }).catch(() => undefined)
}

const inputRequest = ({ method, params }: Rpc): Rpc => {
  const { task: _task, _meta, ...rest } = isRecord(params) ? params : {}
  return { method, params: rest }
}

/** Responds to the client's attempt with what the server asks, so that it tries again with the responses. */
const requireInput = (call: ModernCall): void => {
  const { response, requests, answer, done } = call
  call.collecting?.()
  call.collecting = undefined
  if (!response || done || answer || requests.size === 0) return
  const requestState = call.hold(call)
  if (requestState === undefined) {
    for (const request of requests.values()) rejectRequest(call, request)
    requests.clear()
    return
  }
  call.response = undefined
  const inputRequests = Object.fromEntries(
    [...requests].map(([key, request]) => [key, inputRequest(request)]),
  )
  response.finish(JSON.stringify(inputRequired(call, { inputRequests, requestState })))
}

const requestKey = (id: unknown): string => `ask-${JSON.stringify(id)}`

const onRequest = (call: ModernCall, message: Rpc): void => {
  const { id, method } = message
  if (method === 'ping') return void post(call, { id, result: {} })
  if (!mayRequireInput.has(call.method) || !canReceive(call.session.capabilities, message))
    return rejectRequest(call, message)
  call.requests.set(requestKey(id), message)
  call.collecting ??= call.server.runtime.timer(collectMs, () => requireInput(call))
  return undefined
}

const onNotification = (call: ModernCall, message: Rpc): Promise<void> | undefined => {
  const params = paramsOf(message)
  const meta = metaOf(call.message)
  switch (message['method']) {
    case 'notifications/progress':
      if (params['progressToken'] !== call.id || !('progressToken' in meta)) return undefined
      return call.response?.write(
        JSON.stringify({ ...message, params: { ...params, progressToken: meta['progressToken'] } }),
      )
    case 'notifications/message': {
      const wanted = meta[logLevelKey]
      return isLevel(wanted) && isLevelWanted(params['level'], wanted)
        ? call.response?.write(JSON.stringify(message))
        : undefined
    }
    case 'notifications/cancelled':
      call.requests.delete(requestKey(params['requestId']))
      return undefined
    default:
      return undefined
  }
}

const onMessage = (call: ModernCall, message: Rpc): Promise<void> | void => {
  const { id, method, error } = message
  if (method === undefined) {
    if (id !== call.id && !(id === null && isRecord(error))) return undefined
    call.answer = message
    return finish(call)
  }
  return id === undefined ? onNotification(call, message) : onRequest(call, message)
}

/** The log level belongs to the session at legacy servers, and to each request of modern clients. */
const setLogLevel = async (call: ModernCall): Promise<void> => {
  const { session, message, id } = call
  const level = metaOf(message)[logLevelKey]
  const { capabilities } = session.initialized
  if (!isLevel(level) || session.logLevel === level) return
  if (!('logging' in bridgedServer(capabilities, { notices: false, watching: false }))) return
  session.logLevel = level
  await post(call, { id: `${id}-level`, method: 'logging/setLevel', params: { level } })
}

/**
 * Whether the server does not know the session: 404, or 400 from some SDKs (2025-11-25 transports, session
 * management).
 */
const isSessionLost = async (response: Response, { initialized }: UpstreamSession): Promise<boolean> =>
  initialized.id !== undefined &&
  (response.status === 404 || (response.status === 400 && /session/i.test(await response.clone().text())))

/** Sends the call. Resolves to `lost` if the server does not know the session, and did nothing. */
export const sendCall = async (call: ModernCall): Promise<'lost' | undefined> => {
  const { server, session, caller, abort } = call
  await setLogLevel(call)
  if (call.done) return undefined
  const response = await send(server, caller, {
    headers: session.headers,
    body: legacyRequest(call),
    signal: abort.signal,
    waits: () => call.requests.size > 0 || call.response === undefined,
  })
  if (await isSessionLost(response, session)) {
    await discard(response)
    return 'lost'
  }
  if (isForCaller(response)) {
    over(call)
    if (call.response?.state() === 'waiting') call.response.fail(response)
    else await discard(response)
    return undefined
  }
  await readMessages(response, (message) => onMessage(call, message), {
    done: () => call.answer !== undefined,
    timer: call.server.runtime.timer,
  })
  if (!call.answer && !abort.signal.aborted)
    throw new Refusal('upstream.answer', `${server.service.id} ended without an answer`)
  return undefined
}

/** The client's next attempt, with its responses to input requests. */
export const resumeCall = async (call: ModernCall, caller: Caller, message: Rpc): Promise<Response> => {
  Object.assign(call, { caller, message })
  const response = createResponse(call.server, caller.signal, () => cancelCall(call))
  const { inputResponses } = paramsOf(message)
  const results = isRecord(inputResponses) ? inputResponses : {}
  for (const [key, request] of call.requests) {
    if (!isRecord(results[key])) continue
    call.requests.delete(key)
    await post(call, { id: request['id'], result: results[key] })
  }
  call.response = response
  finish(call)
  requireInput(call)
  return response.response
}

/** A message on the session's GET stream that is for this call. */
export const receive = (call: ModernCall, message: Rpc): boolean => {
  if (call.done) return false
  onMessage(call, message)?.catch(() => undefined)
  return true
}

/**
 * The client left, or did not come back. For legacy servers, a closed connection is no cancellation
 * (2025-11-25 transports).
 */
export const cancelCall = (call: ModernCall): void => {
  if (call.done) return
  post(call, {
    method: 'notifications/cancelled',
    params: { requestId: call.id, reason: 'The client closed the request.' },
  })
    .finally(() => call.abort.abort())
    .catch(() => undefined)
  over(call)
}
