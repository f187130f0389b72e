// A call that goes on in part: what its server hears of it after the access rules have judged each message.
import { utf8 } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import { envelopeOf } from '../mcp/envelope.ts'
import { isRecord, parseExactText } from '../mcp/json-rpc.ts'
import type { Audit } from '../ports/modules.ts'
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

/** From here on the call says this. */
const writeMessages = (call: CallMessage, messages: readonly Message[]): void => {
  const text = JSON.stringify(call.envelope?.batch ? messages : messages[0])
  const value: unknown = JSON.parse(text)
  const into: { -readonly [Name in keyof CallMessage]: CallMessage[Name] } = call
  into.body = utf8(text)
  into.envelope = envelopeOf(value)
  into.json = call.json && { text, value }
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
  writeMessages(
    call,
    written.filter((_, i) => !refusals[i]),
  )
  return undefined
}
