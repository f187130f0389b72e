// How a client hears that its person has to connect an account first: as its revision says it, with a link of ours (MCP Elicitation, URL mode; 2026-07-28 multi-round-trip
// requests). Never as 401: that would send the client to log in to us again.
import { encodeBase64url } from '../kit/bytes.ts'
import type { Refusal } from '../kit/refusal.ts'
import { type Envelope, type Message, metaKeys } from '../mcp/envelope.ts'
import { isModern, namesUrlElicitationError } from '../mcp/revisions.ts'
import type { Answer } from '../ports/calls.ts'
import type { Principal } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Cors } from './cors.ts'
import type { Knock } from './knock.ts'
import { inputKey, type RequestStates } from './request-state.ts'

export interface Unanswered {
  readonly call: Knock
  readonly principal: Principal
  readonly envelope: Envelope
  readonly body: Uint8Array
  /** The person was asked in this very round trip, and said no. */
  readonly declined: boolean
}

interface ConnectFirstDeps {
  readonly runtime: Pick<Runtime, 'random'>
  readonly states: RequestStates
  readonly cors: Cors
}

/** Undefined when the refusal says nothing of connecting, or there is no request that could be answered: then it is drawn like any other. */
export type ConnectFirst = (refusal: Refusal, unanswered: Unanswered) => Promise<Answer | undefined>

type Json = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Methods that a server may answer with an input request (2026-07-28). */
const mayAsk = new Set(['tools/call', 'prompts/get', 'resources/read'])

const takesUrls = ({ meta }: Message): boolean => {
  const capabilities = meta?.[metaKeys.capabilities]
  const elicitation = isObject(capabilities) ? capabilities['elicitation'] : undefined
  return isObject(elicitation) && isObject(elicitation['url'])
}

/** The revision that a request belongs to: its own word, the header's, or what it opens a session for. */
const revisionOf = (message: Message, raw: Json, call: Knock): string => {
  const own = message.meta?.[metaKeys.version]
  if (typeof own === 'string') return own
  const params = raw['params']
  const wanted = message.method === 'initialize' && isObject(params) ? params['protocolVersion'] : undefined
  return typeof wanted === 'string' ? wanted : (call.inbound.versions[0] ?? '')
}

export const createConnectFirst = ({ runtime, states, cors }: ConnectFirstDeps): ConnectFirst => {
  const answerOne = async (refusal: Refusal, message: Message, raw: Json, { call, principal, declined }: Unanswered): Promise<Json> => {
    const { url, service } = refusal.detail.connect ?? { url: '', service: '' }
    const head = { jsonrpc: '2.0', id: message.id ?? null }
    const elicitation = { mode: 'url', elicitationId: encodeBase64url(runtime.random(16)), url, message: `Connect your account at ${service}` }
    const revision = revisionOf(message, raw, call)
    const error = (code: number, data: Json): Json => ({ ...head, error: { code, message: refusal.say, data: { ...data, code: refusal.code, request_id: call.head.requestId } } })
    if (isModern(revision)) {
      if (declined || !mayAsk.has(message.method ?? '') || !takesUrls(message)) return error(refusal.row.rpc, { url })
      const requestState = await states.seal(raw, principal, call.address.service.id)
      return { ...head, result: { resultType: 'input_required', inputRequests: { [inputKey]: { method: 'elicitation/create', params: elicitation } }, requestState } }
    }
    if (namesUrlElicitationError(revision)) return error(-32_042, { elicitations: [elicitation] })
    return message.method === 'tools/call' ? { ...head, result: { content: [{ type: 'text', text: refusal.say }], isError: true } } : error(refusal.row.rpc, { url })
  }

  return async (refusal, unanswered) => {
    const { call, envelope, body } = unanswered
    const requests = envelope.messages.map((message, i) => ({ message, i })).filter(({ message }) => message.kind === 'request')
    if (refusal.code !== 'upstream.consent' || refusal.detail.connect === undefined || requests.length === 0) return undefined
    const parsed: unknown = JSON.parse(new TextDecoder().decode(body))
    const raws = Array.isArray(parsed) ? parsed : [parsed]
    const answers = await Promise.all(requests.map(({ message, i }) => answerOne(refusal, message, raws[i] as Json, unanswered)))
    return {
      kind: 'answer',
      status: 200,
      headers: [
        ...['Content-Type', 'application/json', 'Cache-Control', 'no-store', 'X-Content-Type-Options', 'nosniff'],
        ...['X-Request-Id', call.head.requestId],
        ...cors.answer(call.inbound.origin, !call.address.service.authRequired),
      ],
      body: JSON.stringify(envelope.batch ? answers : answers[0]),
    }
  }
}
