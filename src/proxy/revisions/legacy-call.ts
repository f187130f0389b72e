// One request of a legacy client at a modern server: the client is asked for the input that the server
// requires, and the request is sent again with its responses.
import { encodeBase64url } from '../../kit/bytes.ts'
import { type RefusalCode, Refusal, rpcError } from '../../kit/refusal.ts'
import { pause } from '../../kit/sse.ts'
import { type Id, type Rpc, errorText, keyOf, paramsOf, isRecord } from '../../mcp/json-rpc.ts'
import {
  type ParamHeader,
  collectToolHeaders,
  paramHeaderFields,
  paramHeadersOf,
  toolListMs,
} from '../../mcp/param-headers.ts'
import { envelopeOf, namesUrlElicitationError } from '../../mcp/revisions.ts'
import {
  canReceive,
  logLevelKey,
  mayRequireInput,
  subscriptionKey,
  toLegacy,
  toLegacyError,
} from '../../mcp/translate.ts'
import type { ClientSession } from './client-sessions.ts'
import { type Caller, type Server, isForCaller, requestIdOf, responseTo, sendModern } from './exchange.ts'

// Requests of the gateway to legacy clients. Each response comes with a POST of its own.

export interface Elicitations {
  /**
   * Sends the request, and waits for the response. Rejects when the caller leaves, or does not respond in
   * time.
   */
  ask(call: LegacyCall, request: Rpc): Promise<Rpc>
  /** A response of the client; dropped if it is to no request in this session. */
  respond(sessionId: string, response: Rpc): void
}

/** People read, think and sign in. */
const responseMs = 15 * 60_000

export const createElicitations = ({ runtime }: Server): Elicitations => {
  const open = new Map<string, (response: Rpc) => void>()
  const nameOf = (sessionId: string, id: unknown): string => `${sessionId}\n${keyOf(id)}`
  return {
    ask: ({ sessionId, caller: { signal }, write }, { method, params }) =>
      new Promise((resolve, reject) => {
        const id = `postern-${encodeBase64url(runtime.random(12))}`
        const name = nameOf(sessionId, id)
        const post = (message: Rpc): void =>
          void write(JSON.stringify({ jsonrpc: '2.0', ...message }))?.catch(() => undefined)
        const close = (): void => {
          open.delete(name)
          stopTimer()
          signal.removeEventListener('abort', leave)
        }
        const leave = (): void => {
          close()
          reject(signal.reason as Error)
        }
        const stopTimer = runtime.timer(responseMs, () => {
          close()
          const reason = 'The client did not respond in time.'
          post({ method: 'notifications/cancelled', params: { requestId: id, reason } })
          reject(new Refusal('mcp.input-required', 'the client did not answer in time'))
        })
        signal.addEventListener('abort', leave, { once: true })
        open.set(name, (response) => {
          close()
          resolve(response)
        })
        post({ id, method, ...(params === undefined ? {} : { params }) })
        if (signal.aborted) leave()
      }),
    respond: (sessionId, response) => open.get(nameOf(sessionId, response['id']))?.(response),
  }
}

// `Mcp-Param-*` headers, which modern servers require and legacy clients do not send: from the server's list
// of tools, kept as long as the server says.

export interface ToolHeaders {
  /** Headers of this `tools/call`. `refresh`: the known list is outdated. */
  headersOf(call: LegacyCall, refresh: boolean): Promise<readonly (readonly [string, string])[]>
  /** A page of a list that the client asked for. */
  add(owner: string, result: Rpc): void
}

const maxOwners = 1000

interface ToolList {
  readonly tools: Map<string, readonly ParamHeader[]>
  until: number
  /** Every page was read: a tool that is missing does not exist. */
  complete: boolean
}

export const createToolHeaders = (server: Server): ToolHeaders => {
  const { now } = server.runtime
  const lists = new Map<string, ToolList>()
  const find = (owner: string): ToolList | undefined => {
    const list = lists.get(owner)
    return list && list.until > now() ? list : undefined
  }
  const add = (owner: string, result: Rpc): ToolList => {
    const list = find(owner) ?? { tools: new Map(), until: 0, complete: false }
    for (const [name, headers] of paramHeadersOf(result['tools'])) list.tools.set(name, headers)
    list.until = now() + toolListMs(result)
    lists.delete(owner)
    if (lists.size >= maxOwners) lists.delete(lists.keys().next().value as string)
    lists.set(owner, list)
    return list
  }
  const read = async ({ caller, session }: LegacyCall): Promise<void> => {
    await collectToolHeaders(async (cursor) => {
      const { id, response } = await sendModern(server, caller, {
        method: 'tools/list',
        params: { ...cursor, _meta: envelopeOf(session.clientInfo, session.capabilities) },
      })
      const result = (await responseTo(server, response, id))?.['result']
      // Without a list, no headers are sent; the response to the call says what is wrong.
      const page = isRecord(result) ? result : {}
      add(caller.owner, page)
      return page
    })
    const list = find(caller.owner)
    if (list) list.complete = true
  }
  return {
    add: (owner, result) => void add(owner, result),
    async headersOf(call, refresh) {
      const { owner } = call.caller
      const { name, arguments: args } = paramsOf(call.message)
      if (refresh) lists.delete(owner)
      const known = find(owner)
      if (!known?.complete && !known?.tools.has(String(name))) await read(call)
      return paramHeaderFields(find(owner)?.tools.get(String(name)) ?? [], args)
    },
  }
}

export interface LegacyCall {
  readonly server: Server
  readonly caller: Caller
  readonly sessionId: string
  readonly session: ClientSession
  readonly message: Rpc
  /** Undefined where the client's responses may reach another process than its requests (Workers). */
  readonly elicitations: Elicitations | undefined
  readonly toolHeaders: ToolHeaders
  /** Sends a message to the client before the response. */
  readonly write: (text: string) => Promise<void> | undefined
}

/** What the client is told before the response. */
const relayed = new Set<unknown>(['notifications/progress', 'notifications/message'])
const maxAttempts = 16
const retryMs = 500

/** Sends the request once. Resolves to the JSON-RPC response, or to a Response that is for the caller. */
const attempt = async (
  call: LegacyCall,
  input: Rpc,
  headers: readonly (readonly [string, string])[],
): Promise<Rpc | Response> => {
  const { server, caller, message, session, write } = call
  const method = String(message['method'])
  const { task: _task, _meta, ...params } = paramsOf(message)
  const meta = {
    ...(isRecord(_meta) ? _meta : {}),
    ...envelopeOf(session.clientInfo, session.capabilities),
    ...(session.logLevel === undefined ? {} : { [logLevelKey]: session.logLevel }),
  }
  const whole = { ...params, ...input, _meta: meta }
  const sent = await sendModern(server, caller, { method, params: whole, headers })
  if (isForCaller(sent.response)) return sent.response
  const answer = await responseTo(server, sent.response, sent.id, (said) =>
    relayed.has(said['method']) && said['id'] === undefined && !(subscriptionKey in paramsOf(said))
      ? write(JSON.stringify(said))
      : undefined,
  )
  const why = `${server.service.id} ended without an answer (${sent.response.status})`
  if (!answer) throw new Refusal('upstream.answer', why)
  if (method === 'tools/list' && isRecord(answer['result']))
    call.toolHeaders.add(caller.owner, answer['result'])
  return answer
}

/**
 * Sends the request with its `Mcp-Param-*` headers; once more with those of a fresh list if the server says
 * that they do not match.
 */
const attemptWithHeaders = async (call: LegacyCall, input: Rpc): Promise<Rpc | Response> => {
  if (call.message['method'] !== 'tools/call') return attempt(call, input, [])
  const answer = await attempt(call, input, await call.toolHeaders.headersOf(call, false))
  if (answer instanceof Response || !isRecord(answer['error']) || answer['error']['code'] !== -32_020)
    return answer
  return attempt(call, input, await call.toolHeaders.headersOf(call, true))
}

/** What the client is told that cannot be asked: to open the URLs (2025-11-25 elicitation, URL mode). */
const urlElicitationError = (call: LegacyCall, requests: readonly Rpc[]): string => {
  const elicitations = requests.map(paramsOf)
  if (
    elicitations.length === 0 ||
    !elicitations.every(({ mode }) => mode === 'url') ||
    !namesUrlElicitationError(call.session.version)
  )
    throw new Refusal('mcp.input-required', requests.map(({ method }) => String(method)).join(' '))
  return errorText(call.message['id'] as Id, -32_042, 'The MCP server asks the person to open a URL first.', {
    elicitations,
    code: 'mcp.input-required',
    request_id: requestIdOf(call.caller),
  })
}

/**
 * The client's responses to the input requests, by key; or the text of the response to the call, if there are
 * none.
 */
const inputResponses = async (
  call: LegacyCall,
  inputRequests: Readonly<Record<string, unknown>>,
): Promise<Rpc | string> => {
  const { session, message, elicitations } = call
  const requests = Object.entries(inputRequests).map(
    ([key, request]) => [key, isRecord(request) ? request : {}] as const,
  )
  if (!elicitations || !requests.every(([, request]) => canReceive(session.capabilities, request)))
    return urlElicitationError(
      call,
      requests.map(([, request]) => request),
    )
  const responses = await Promise.all(requests.map(([, request]) => elicitations.ask(call, request)))
  // An error of the client is the end of its own request.
  const failed = responses.find(({ result }) => !isRecord(result))
  if (failed)
    return JSON.stringify({
      jsonrpc: '2.0',
      id: message['id'],
      error: isRecord(failed['error'])
        ? failed['error']
        : { code: -32_603, message: 'The client sent no response.' },
    })
  return Object.fromEntries(requests.map(([key], i) => [key, (responses[i] as Rpc)['result']]))
}

/** -32020, -32021 and -32022 are about the gateway's own request, which it made for this client. */
const legacyError = (call: LegacyCall, error: Rpc): Rpc => {
  const refused = (code: RefusalCode, say: string, rpcData = {}): Rpc =>
    rpcError(new Refusal(code, '', { say, rpcData }), requestIdOf(call.caller))
  switch (error['code']) {
    case -32_021:
      return refused(
        'mcp.input-required',
        'The MCP server needs a capability that this client does not have.',
        isRecord(error['data']) ? error['data'] : {},
      )
    case -32_020:
    case -32_022:
      return refused(
        'upstream.answer',
        'The MCP server did not accept the gateway’s translation of this request.',
      )
    default:
      return toLegacyError(String(call.message['method']), error)
  }
}

/** Resolves to the text of the response, or to a Response that is for the caller. Rejects with `Refusal`. */
export const runLegacyCall = async (call: LegacyCall): Promise<string | Response> => {
  const { server, caller, message } = call
  const method = String(message['method'])
  const respond = (outcome: Rpc): string => JSON.stringify({ jsonrpc: '2.0', id: message['id'], ...outcome })
  let input: Rpc = {}
  for (let attempts = 0; attempts < maxAttempts; attempts++) {
    const answer = await attemptWithHeaders(call, input)
    if (answer instanceof Response) return answer
    const { result, error } = answer
    if (isRecord(error) && !isRecord(result)) return respond({ error: legacyError(call, error) })
    if (!isRecord(result))
      throw new Refusal('upstream.answer', `${server.service.id}: neither result nor error`, {
        say: 'The MCP server sent a response without a result or an error.',
      })
    const { resultType = 'complete', inputRequests, requestState } = result
    if (resultType === 'complete') return respond({ result: toLegacy(method, result) })
    if (resultType !== 'input_required' || !mayRequireInput.has(method))
      throw new Refusal('upstream.answer', `a result of type ${String(resultType).slice(0, 40)}`)
    const state = typeof requestState === 'string' ? { requestState } : {}
    if (!isRecord(inputRequests) || Object.keys(inputRequests).length === 0) {
      // The server only wants the request again.
      await pause(server.runtime.timer, retryMs, caller.signal)
      caller.signal.throwIfAborted()
      input = state
      continue
    }
    const responses = await inputResponses(call, inputRequests)
    if (typeof responses === 'string') return responses
    input = { inputResponses: responses, ...state }
  }
  throw new Refusal('upstream.answer', `${server.service.id} asked ${maxAttempts} times`)
}
