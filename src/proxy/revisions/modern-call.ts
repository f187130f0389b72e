// One call of a client of 2026-07-28 at a server of before: the server's questions become input requests (2026-07-28 multi-round-trip requests), and the call waits here
// for the client's next try.
import { Refusal, rpcError } from '../../kit/refusal.ts'
import { metaKeys } from '../../mcp/envelope.ts'
import { paramHeadersOf } from '../../mcp/headers.ts'
import { type Id, type Rpc, isRecord, metaOf, paramsOf, statusOf } from '../../mcp/json-rpc.ts'
import {
  bridgedClient,
  bridgedServer,
  isSubscribed,
  isLevel,
  logLevelKey,
  mayAsk,
  serverInfoKey,
  acceptsNotification,
  toModern,
  toModernError,
  withoutEnvelope,
} from '../../mcp/translate.ts'
import {
  type Caller,
  type RevisionReply,
  type SendNotification,
  asRefusal,
  readReplies,
  isForeign,
  nothing,
} from './exchange.ts'
import type { UpstreamSession } from './legacy-sessions-upstream.ts'

export interface ModernCall {
  /** Sends it. Rejects with nothing: what goes wrong is said in the reply. `lost`: the server does not know the session, and nothing was done. */
  run(): Promise<'lost' | undefined>
  /** The client's next try, with what it was asked for. */
  resume(caller: Caller, message: Rpc, reply: RevisionReply): Promise<void>
  /** A message of the server's that came outside the call, and is for it. */
  hear(message: Rpc): boolean
  /** The client left, or did not come back. */
  cancel(): void
}

export interface ModernCallOptions {
  readonly tell: SendNotification
  readonly service: string
  readonly session: UpstreamSession
  readonly message: Rpc
  readonly caller: Caller
  readonly reply: RevisionReply
  /** The call's name at the server; its progress token too. */
  readonly name: string
  /** Keeps the call until the client's next try; the state that this try will show, undefined where no more are kept. */
  readonly hold: () => string | undefined
  /** Nothing of it is left. */
  readonly over: () => void
}

interface Going {
  caller: Caller
  /** The client's latest try, and its way back; undefined between tries. */
  message: Rpc
  reply: RevisionReply | undefined
  /** What the server asked and nobody answered, by key. */
  readonly questions: Map<string, Rpc>
  /** Until what the server asks at the same moment is all there. */
  gathering: ReturnType<typeof setTimeout> | undefined
  last: Rpc | undefined
  done: boolean
}

/** What is asked within this time is asked together. */
const gatherMs = 10

const outgoing = ({ message, name }: ModernCallOptions): string => {
  const { inputResponses: _given, requestState: _state, _meta, ...params } = paramsOf(message)
  const meta = isRecord(_meta) ? withoutEnvelope(_meta) : {}
  const named = 'progressToken' in meta ? { ...meta, progressToken: name } : meta
  return JSON.stringify({
    jsonrpc: '2.0',
    id: name,
    method: message['method'],
    params: { ...params, ...(Object.keys(named).length > 0 ? { _meta: named } : {}) },
  })
}

const inputRequired = ({ about }: UpstreamSession, id: Id, wanted: Rpc): Rpc => ({
  jsonrpc: '2.0',
  id,
  result: { resultType: 'input_required', ...wanted, _meta: { [serverInfoKey]: about.server } },
})

/** The server's last word in the client's revision. */
const finalOf = ({ session, message, caller }: ModernCallOptions, answer: Rpc, id: Id): Rpc => {
  const requestId = caller.headers.get('x-request-id') ?? ''
  const { result, error } = answer
  if (isRecord(result)) {
    if (message['method'] === 'tools/list')
      for (const [name, mirrors] of paramHeadersOf(result['tools'])) session.mirrors.set(name, mirrors)
    return { jsonrpc: '2.0', id, result: toModern(String(message['method']), result, session.about.server) }
  }
  const said = isRecord(error)
    ? error
    : rpcError(
        new Refusal('upstream.answer', '', {
          say: 'The MCP server sent a response without a result or an error.',
        }),
        requestId,
      )
  if (said['code'] !== -32_042) return { jsonrpc: '2.0', id, error: toModernError(said) }
  // A URL that the person has to open first is an input request, and the same call again (2025-11-25 elicitation, URL mode).
  const list =
    isRecord(said['data']) && Array.isArray(said['data']['elicitations'])
      ? (said['data']['elicitations'] as unknown[]).filter(isRecord)
      : []
  const questions = list.map((params) => ({
    method: 'elicitation/create',
    params: { ...params, mode: 'url' },
  }))
  const client = bridgedClient(metaOf(message)[metaKeys.capabilities])
  if (questions.length === 0 || !questions.every((question) => acceptsNotification(client, question)))
    return {
      jsonrpc: '2.0',
      id,
      error: {
        ...said,
        code: 1403,
        data: {
          ...(isRecord(said['data']) ? said['data'] : {}),
          code: 'mcp.input-required',
          request_id: requestId,
        },
      },
    }
  return inputRequired(session, id, {
    inputRequests: Object.fromEntries(questions.map((question, i) => [`url-${i + 1}`, question])),
  })
}

const question = ({ method, params }: Rpc): Rpc => {
  if (!isRecord(params)) return { method, params: {} }
  const { task: _task, _meta, ...rest } = params
  return { method, params: rest }
}

/** What the client was asked, so that it tries again with the answers. */
const ask = (options: ModernCallOptions, going: Going): void => {
  const { reply, message, questions, last, done } = going
  clearTimeout(going.gathering)
  going.gathering = undefined
  if (!reply || done || last || questions.size === 0) return
  const state = options.hold()
  if (state === undefined) {
    for (const [key, asked] of questions) refuse(options, going, asked, key)
    return
  }
  going.reply = undefined
  const inputRequests = Object.fromEntries([...questions].map(([key, asked]) => [key, question(asked)]))
  reply.answer(
    JSON.stringify(
      inputRequired(options.session, message['id'] as Id, { inputRequests, requestState: state }),
    ),
  )
}

const post = ({ tell, session }: ModernCallOptions, { caller }: Going, message: Rpc): Promise<unknown> =>
  // An answer belongs to the server's call and not to the request that brought it.
  tell(
    { ...caller, signal: AbortSignal.timeout(30_000) },
    session.fields,
    JSON.stringify({ jsonrpc: '2.0', ...message }),
  ).then(nothing, () => undefined)

const refuse = (options: ModernCallOptions, going: Going, { id }: Rpc, key?: string): void => {
  if (key !== undefined) going.questions.delete(key)
  post(options, going, {
    id,
    error: { code: -32_601, message: 'The client cannot receive this request.' },
  }).catch(() => undefined)
}

const settle = (options: ModernCallOptions, going: Going): void => {
  if (!going.last || !going.reply || going.done) return
  going.done = true
  const { reply } = going
  const answer = finalOf(options, going.last, going.message['id'] as Id)
  reply.answer(JSON.stringify(answer), statusOf(answer))
  options.over()
}

const fail = (options: ModernCallOptions, going: Going, error: unknown): void => {
  if (going.done) return
  const refusal = asRefusal(error, options.service)
  if (!going.reply) {
    // Between tries: the next one is told.
    going.last = JSON.parse(going.caller.refused(refusal, null)) as Rpc
    return
  }
  going.done = true
  going.reply.fail(error, () => going.caller.refused(refusal, going.message['id']))
  options.over()
}

const deal = (options: ModernCallOptions, going: Going, message: Rpc): void | Promise<void> => {
  const { name, session } = options
  const asked = metaOf(going.message)
  const { method, id } = message
  const params = paramsOf(message)
  if (method === undefined) {
    if (id !== name && !(id === null && isRecord(message['error']))) return undefined
    going.last = message
    return settle(options, going)
  }
  if (id !== undefined) {
    if (method === 'ping') return void post(options, going, { id, result: {} })
    if (!mayAsk.has(String(options.message['method'])) || !acceptsNotification(session.capabilities, message))
      return refuse(options, going, message)
    going.questions.set(`ask-${JSON.stringify(id)}`, message)
    going.gathering ??= setTimeout(() => ask(options, going), gatherMs)
    return undefined
  }
  if (method === 'notifications/progress' && params['progressToken'] === name && 'progressToken' in asked)
    return going.reply?.tell(
      JSON.stringify({ ...message, params: { ...params, progressToken: asked['progressToken'] } }),
    )
  if (method === 'notifications/message') {
    const wanted = asked[logLevelKey]
    return isLevel(wanted) && isSubscribed(params['level'], wanted)
      ? going.reply?.tell(JSON.stringify(message))
      : undefined
  }
  if (method === 'notifications/cancelled')
    going.questions.delete(`ask-${JSON.stringify(params['requestId'])}`)
  return undefined
}

/** The log's level is the session's there, and each request's here. */
const level = async (options: ModernCallOptions, going: Going): Promise<void> => {
  const { session, message, name } = options
  const wanted = metaOf(message)[logLevelKey]
  if (
    !isLevel(wanted) ||
    session.level === wanted ||
    !('logging' in bridgedServer(session.about.capabilities, { notices: false, watching: false }))
  )
    return
  session.level = wanted
  await post(options, going, { id: `${name}-level`, method: 'logging/setLevel', params: { level: wanted } })
}

/** The server has forgotten the session, as SDKs and the specification say it (2025-11-25 transports, session management). */
const isLost = async (response: Response, { session }: ModernCallOptions): Promise<boolean> => {
  if (session.about.id === undefined) return false
  return (
    response.status === 404 || (response.status === 400 && /session/i.test(await response.clone().text()))
  )
}

const send = async (
  options: ModernCallOptions,
  going: Going,
  leaving: AbortController,
): Promise<'lost' | undefined> => {
  const { tell, session, service } = options
  await level(options, going)
  if (going.done) return undefined
  const response = await tell(
    {
      ...going.caller,
      signal: leaving.signal,
      waits: () => going.questions.size > 0 || going.reply === undefined,
    },
    session.fields,
    outgoing(options),
  )
  if (await isLost(response, options)) {
    await nothing(response)
    return 'lost'
  }
  if (isForeign(response)) {
    going.done = true
    options.over()
    if (!going.reply?.pass(response)) await nothing(response)
    return undefined
  }
  await readReplies(
    response,
    (message) => deal(options, going, message),
    () => going.last !== undefined,
  )
  if (!going.last && !leaving.signal.aborted)
    throw new Refusal('upstream.answer', `${service} ended without an answer`)
  return undefined
}

export const createModernCall = (options: ModernCallOptions): ModernCall => {
  const going: Going = {
    caller: options.caller,
    message: options.message,
    reply: options.reply,
    questions: new Map(),
    gathering: undefined,
    last: undefined,
    done: false,
  }
  const leaving = new AbortController()
  return {
    run: () =>
      send(options, going, leaving).catch((error: unknown) => {
        fail(options, going, error)
        return undefined
      }),
    async resume(caller, message, reply) {
      Object.assign(going, { caller, message })
      const given = paramsOf(message)['inputResponses']
      const responses = isRecord(given) ? given : {}
      for (const [key, asked] of going.questions) {
        if (!isRecord(responses[key])) continue
        going.questions.delete(key)
        await post(options, going, { id: asked['id'], result: responses[key] })
      }
      going.reply = reply
      settle(options, going)
      ask(options, going)
    },
    hear(message) {
      if (going.done) return false
      deal(options, going, message)?.catch(() => undefined)
      return true
    },
    cancel() {
      if (going.done) return
      going.done = true
      clearTimeout(going.gathering)
      // To servers of before a connection that ends is no cancellation (2025-11-25 transports).
      post(options, going, {
        method: 'notifications/cancelled',
        params: { requestId: options.name, reason: 'the client left' },
      })
        .finally(() => leaving.abort())
        .catch(() => undefined)
      options.over()
    },
  }
}
