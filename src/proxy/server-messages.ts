// What a server says of its own accord, as far as the access rules of its service let clients hear it: requests to
// clients, changes of resources, instructions.
import { type Rpc, isId, isRecord, paramsOf } from '../mcp/json-rpc.ts'
import { capabilityOf, listChanges, privateResult } from '../mcp/translate.ts'
import type { ListAnswers } from '../ports/call.ts'
import type { AnswerRules, ServerAsk } from '../ports/policy.ts'

/** A response to a request of the server's, in place of the client's. */
export type ReplyToServer = (response: Rpc) => void

type MessageFilter = NonNullable<ListAnswers['message']>

/** What a call says about the messages that may come with its answer. */
export interface AnsweredCall {
  readonly isReadable: (uri: string) => boolean
  /** Methods of its requests. */
  readonly methods: readonly (string | undefined)[]
  /** What comes may belong to any request of the session. */
  readonly listens: boolean
  /** Whatever the server says, the client hears of changed lists (list-notices.ts). */
  readonly announces: boolean
  /** Of a revision in which results say how long they may be kept. */
  readonly modern: boolean
}

const subscribe = 'subscriptions/listen'
/** Capabilities with lists that may change. */
const changeable = new Set(Object.values(listChanges).map(({ capability }) => capability))
const begins: ReadonlySet<string | undefined> = new Set(['initialize', 'server/discover'])

const words: Readonly<Record<ServerAsk, string>> = {
  sampling: 'ask for sampling',
  elicitation: 'ask the user for input',
  roots: 'ask for roots',
}

/** Who denies, because nobody else will say so: no client has heard the request. */
const refusing = (kind: ServerAsk): string =>
  `Access denied: the access rules of this gateway do not let this server ${words[kind]}.`

/** Requests of a server that concern none of the kinds (MCP 2025-11-25 schema, ServerRequest). */
const harmless: ReadonlySet<unknown> = new Set([
  'ping',
  'tasks/get',
  'tasks/result',
  'tasks/list',
  'tasks/cancel',
])

/** The client asks by URL (2025-11-25 elicitation, URL mode): the error is one more form of the request. */
const urlElicitation = -32_042

const refuseRequest = (message: Rpc, { denied }: AnswerRules, reply: ReplyToServer): Rpc | undefined => {
  const { method, id } = message
  if (denied.size === 0 || harmless.has(method)) return message
  const kind = capabilityOf(method)
  if (kind && !denied.has(kind)) return message
  const error = kind ? { code: -1, message: refusing(kind) } : { code: -32_601, message: 'Method not found' }
  if (isId(id)) reply({ jsonrpc: '2.0', id, error })
  return undefined
}

/** The kind of input that a result requires and may not (2026-07-28 multi-round-trip requests). */
const deniedInput = (
  { inputRequests }: Rpc,
  denied: AnswerRules['denied'],
): ServerAsk | 'unknown' | undefined => {
  if (!isRecord(inputRequests)) return undefined
  for (const request of Object.values(inputRequests)) {
    const kind = isRecord(request) ? capabilityOf(request['method']) : undefined
    if (!kind) return 'unknown'
    if (denied.has(kind)) return kind
  }
  return undefined
}

const withoutInput = (message: Rpc, kind: ServerAsk | 'unknown', isToolCall: boolean): Rpc => {
  const { result: _, ...rest } = message
  const text = kind === 'unknown' ? 'The MCP server asked for input of an unknown kind.' : refusing(kind)
  if (!isToolCall) return { ...rest, error: { code: kind === 'unknown' ? -32_601 : 1403, message: text } }
  return { ...rest, result: { resultType: 'complete', content: [{ type: 'text', text }], isError: true } }
}

const acknowledged = (message: Rpc, isReadable: (uri: unknown) => boolean): Rpc => {
  const params = paramsOf(message)
  const { notifications } = params
  const uris = isRecord(notifications) ? notifications['resourceSubscriptions'] : undefined
  if (!Array.isArray(uris) || uris.every(isReadable)) return message
  const left = { ...(notifications as Rpc), resourceSubscriptions: uris.filter(isReadable) }
  return { ...message, params: { ...params, notifications: left } }
}

const readNotification = (
  message: Rpc,
  denied: AnswerRules['denied'],
  isReadable: (uri: unknown) => boolean,
): Rpc | undefined => {
  const { method } = message
  if (method === 'notifications/resources/updated')
    return isReadable(paramsOf(message)['uri']) ? message : undefined
  const kind = method === 'notifications/elicitation/complete' ? 'elicitation' : capabilityOf(method)
  if (kind && denied.has(kind)) return undefined
  return method === 'notifications/subscriptions/acknowledged' ? acknowledged(message, isReadable) : message
}

const readError = (message: Rpc, { denied }: AnswerRules): Rpc => {
  const { error } = message
  if (!denied.has('elicitation') || !isRecord(error) || error['code'] !== urlElicitation) return message
  return { ...message, error: { code: 1403, message: refusing('elicitation') } }
}

/** What a server offers at the beginning of a session, as its client is told. */
const offered = (result: Rpc, { dropsInstructions }: AnswerRules, announces: boolean): Rpc => {
  const { instructions, capabilities, ...rest } = result
  const changing = Object.entries(capabilities as Rpc).map(([name, capability]) =>
    announces && changeable.has(name) && isRecord(capability)
      ? [name, { ...capability, listChanged: true }]
      : [name, capability],
  )
  return {
    ...rest,
    capabilities: Object.fromEntries(changing) as unknown,
    ...(instructions !== undefined && !dropsInstructions && { instructions }),
  }
}

const readResult = (message: Rpc, answers: AnswerRules, call: AnsweredCall): Rpc => {
  const { methods, modern } = call
  const { result } = message
  if (!isRecord(result)) return message
  const kind =
    answers.denied.size > 0 && result['resultType'] === 'input_required'
      ? deniedInput(result, answers.denied)
      : undefined
  if (kind) return withoutInput(message, kind, methods.includes('tools/call'))
  const announces = call.announces && 'protocolVersion' in result
  if (isRecord(result['capabilities']) && (announces || answers.dropsInstructions))
    return { ...message, result: offered(result, answers, announces) }
  return modern && methods.includes('resources/read')
    ? { ...message, result: privateResult(result) }
    : message
}

const unlimited: AnswerRules = { denied: new Set(), dropsInstructions: false }

/**
 * Undefined where nothing is judged of what comes: then it is not read at all. `now`: as the rules are when a message
 * comes, because streams stay open while they change.
 */
export const createMessageFilter = (
  now: () => AnswerRules | undefined,
  call: AnsweredCall,
  reply: ReplyToServer,
): MessageFilter | undefined => {
  const { isReadable, methods, listens, modern, announces } = call
  const first = now() ?? unlimited
  const isRead =
    listens ||
    first.denied.size > 0 ||
    methods.includes(subscribe) ||
    ((first.dropsInstructions || announces) && methods.some((method) => begins.has(method))) ||
    (modern && methods.includes('resources/read'))
  if (!isRead) return undefined
  const mayRead = (uri: unknown): boolean => typeof uri === 'string' && isReadable(uri)
  return (message) => {
    const answers = now() ?? unlimited
    if (Object.hasOwn(message, 'method'))
      return Object.hasOwn(message, 'id')
        ? refuseRequest(message, answers, reply)
        : readNotification(message, answers.denied, mayRead)
    return Object.hasOwn(message, 'error') ? readError(message, answers) : readResult(message, answers, call)
  }
}
