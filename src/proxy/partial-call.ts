// A call that goes on in part: what its server hears of it after the access rules have judged each message.
import { utf8 } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import { type Envelope, envelopeOf } from '../mcp/envelope.ts'
import { foldName, isRecord, metaOf, paramsOf, parseExactText } from '../mcp/json-rpc.ts'
import { metaKeys } from '../mcp/revisions.ts'
import type { Audit } from '../ports/modules.ts'
import type { ServicePolicy, ToolsOfPage } from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { CallMessage, PermittedCall } from './admitted-call.ts'
import { refusalResponse, refusedCall } from './outcome.ts'

type JudgedCall = PermittedCall & CallMessage
type Message = Readonly<Record<string, unknown>>

export interface PartialCallDeps {
  readonly runtime: Pick<Runtime, 'now' | 'log'>
  readonly record: Audit
}

/** The messages of the body, to be written again: numbers stay as they were written. */
const messagesIn = (call: CallMessage): readonly Message[] => {
  const text = call.json ? call.json.text : new TextDecoder().decode(call.body)
  const value = parseExactText(text)
  return (Array.isArray(value) ? (value as readonly unknown[]) : [value]).filter(isRecord)
}

type Written = { -readonly [Name in keyof CallMessage]: CallMessage[Name] }

/** From here on its server hears this. Answers the value of the body. */
const writeMessages = (call: CallMessage, messages: readonly Message[]): unknown => {
  const text = JSON.stringify(call.envelope?.batch ? messages : messages[0])
  const value: unknown = JSON.parse(text)
  const into: Written = call
  into.body = utf8(text)
  into.json = call.json && { text, value }
  return value
}

/**
 * Of a batch the messages that are allowed go on; each of the others is answered with its error, and written down as
 * a call of its own. Throws the errors where nothing goes on. `refusals`: of each message.
 */
export const keepAllowed = (
  { runtime, record }: PartialCallDeps,
  call: JudgedCall,
  refusals: readonly (Refusal | undefined)[],
): undefined => {
  const messages = call.envelope?.messages ?? []
  const [first] = refusals.filter((refusal) => refusal !== undefined)
  if (first && refusals.every((refusal) => refusal !== undefined)) {
    const answers = messages.flatMap(({ kind, id }, i) =>
      kind === 'request' ? [{ id: id ?? null, refusal: refusals[i] as Refusal }] : [],
    )
    throw new Refusal(first.code, first.why, {
      answers,
      status: answers.length === 0 ? 202 : 200,
      ...(first.detail.rule === undefined ? {} : { rule: first.detail.rule }),
    })
  }
  const written = messagesIn(call)
  const { head, rules } = call
  const errors = messages.flatMap((message, i) => {
    const refusal = refusals[i]
    if (!refusal) return []
    const own = { batch: false, messages: [message] }
    const body = utf8(JSON.stringify(written[i]))
    refusedCall({ ...call, envelope: own, body, rules: undefined }, refusal, { now: runtime.now(), record })
    const text = refusalResponse(runtime.log, refusal, { id: message.id, head, admitted: call })
    return message.kind === 'request' ? [text] : []
  })
  call.denied = errors.length > 0 ? errors : undefined
  call.rules = rules?.filter((_, i) => !refusals[i])
  const kept = written.filter((_, i) => !refusals[i])
  const into: Written = call
  into.envelope = envelopeOf(writeMessages(call, kept))
  return undefined
}

// What a client says of itself and asks for, as far as the rules let the server hear it.

/** Capabilities of a client without what its server may not ask of it. */
const limited = (capabilities: unknown, denied: ReadonlySet<string>): unknown => {
  if (!isRecord(capabilities)) return capabilities
  const { tasks, ...others } = capabilities
  const left = Object.fromEntries(Object.entries(others).filter(([name]) => !denied.has(foldName(name))))
  if (!isRecord(tasks)) return tasks === undefined ? left : { ...left, tasks }
  const { requests, ...rest } = tasks
  return { ...left, tasks: requests === undefined ? rest : { ...rest, requests: limited(requests, denied) } }
}

const withoutAsks = (message: Message, denied: ReadonlySet<string>): Message => {
  const params = paramsOf(message)
  const meta = metaOf(message)
  const { [metaKeys.capabilities]: declared } = meta
  const begins = message['method'] === 'initialize' && params['capabilities'] !== undefined
  if (!begins && declared === undefined) return message
  return {
    ...message,
    params: {
      ...params,
      ...(begins && { capabilities: limited(params['capabilities'], denied) }),
      ...(declared !== undefined && {
        _meta: { ...meta, [metaKeys.capabilities]: limited(declared, denied) },
      }),
    },
  }
}

const watched = foldName('resourceSubscriptions')

/** A subscription without the resources that the caller may not read. */
const withoutUnreadable = (message: Message, isReadable: (uri: string) => boolean): Message => {
  const params = paramsOf(message)
  const { notifications } = params
  if (message['method'] !== 'subscriptions/listen' || !isRecord(notifications)) return message
  const left = Object.entries(notifications).flatMap(([name, value]) => {
    if (foldName(name) !== watched) return [[name, value]]
    if (name !== 'resourceSubscriptions' || !Array.isArray(value)) return []
    const uris = value.filter((uri) => typeof uri === 'string' && isReadable(uri))
    return uris.length === 0 ? [] : [[name, uris]]
  })
  return { ...message, params: { ...params, notifications: Object.fromEntries(left) as unknown } }
}

/** Takes out of a call that may go on what its server is not to hear. What the gateway itself knows of it stays. */
export const limitCall = (
  { answers, isReadable }: Pick<ServicePolicy, 'answers' | 'isReadable'>,
  call: JudgedCall,
  shownBy: ToolsOfPage,
): void => {
  const { envelope, principal } = call
  if (!answers || !envelope) return
  const { denied } = answers
  const mayAsk = ({ method, meta }: Envelope['messages'][number]): boolean =>
    denied.size > 0 && (method === 'initialize' || meta?.[metaKeys.capabilities] !== undefined)
  const concerned = envelope.messages.some(
    (message) => message.method === 'subscriptions/listen' || mayAsk(message),
  )
  if (!concerned) return
  const messages = messagesIn(call).map((message) =>
    withoutUnreadable(denied.size > 0 ? withoutAsks(message, denied) : message, (uri) =>
      isReadable(principal, uri, shownBy),
    ),
  )
  writeMessages(call, messages)
}
