// One request of a client of 2025 and before at a server of 2026-07-28: what the server needs first, the client is asked for, and the request is made again with the answers.
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal, rpcError } from '../kit/refusal.ts'
import type { RefusalCode } from '../kit/refusal.ts'
import { envelopeOf } from '../mcp/era.ts'
import { standardHeaders } from '../mcp/mirrors.ts'
import { namesUrlElicitationError } from '../mcp/revisions.ts'
import { errorText, type Id, isRecord, paramsOf, type Rpc } from '../mcp/rpc.ts'
import { logLevelKey, mayAsk, subscriptionKey, takes, toLegacy, toLegacyError } from '../mcp/translate.ts'
import { type Caller, hear, isForeign, type Tell } from './era-exchange.ts'
import type { Questions } from './era-questions.ts'
import type { OlderSession } from './era-older-sessions.ts'
import type { EraTools } from './era-tools.ts'

export interface OlderCallDeps {
  readonly tell: Tell
  readonly tools: EraTools
  readonly service: string
  readonly random: (n: number) => Uint8Array
  /** Absent where the client's answers come to another place than its questions went. */
  readonly questions: Questions | undefined
}

export interface OlderCall {
  readonly caller: Caller
  readonly id: string
  readonly session: OlderSession
  readonly message: Rpc
  /** To the client, before the answer. */
  readonly say: (text: string) => Promise<void> | undefined
}

const mostRounds = 16
const pauseMs = 500

const envelope = ({ session }: OlderCall): Rpc => ({ ...envelopeOf(session.client, session.capabilities), ...(session.level === undefined ? {} : { [logLevelKey]: session.level }) })

const wait = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, pauseMs)
    signal.addEventListener('abort', () => (clearTimeout(timer), reject(signal.reason as Error)), { once: true })
  })

/** One try: the answer, or what the server says to the caller instead. */
const attempt = async ({ tell, tools, random, service }: OlderCallDeps, call: OlderCall, round: Rpc, mirrored: readonly (readonly [string, string])[]): Promise<Rpc | Response> => {
  const { message, caller, say } = call
  const method = String(message['method'])
  const { task: _task, _meta, ...params } = paramsOf(message)
  const name = encodeBase64url(random(12))
  const body = { jsonrpc: '2.0', id: name, method, params: { ...params, ...round, _meta: { ...(isRecord(_meta) ? _meta : {}), ...envelope(call) } } }
  const response = await tell(caller, [...standardHeaders(method, params), ...mirrored], JSON.stringify(body))
  if (isForeign(response)) return response
  let answer: Rpc | undefined
  const deal = (heard: Rpc): void | Promise<void> => {
    if (heard['method'] === undefined) {
      if (heard['id'] === name || isRecord(heard['error'])) answer ??= heard
      return undefined
    }
    const told = heard['id'] === undefined && (heard['method'] === 'notifications/progress' || heard['method'] === 'notifications/message')
    return told && !(subscriptionKey in paramsOf(heard)) ? say(JSON.stringify(heard)) : undefined
  }
  await hear(response, deal, () => answer !== undefined)
  if (!answer) throw new Refusal('upstream.answer', `${service} ended without an answer (${response.status})`)
  if (method === 'tools/list' && isRecord(answer['result'])) tools.learn(caller.owner, answer['result'])
  return answer
}

/** With the mirrored parameters as the server's list has them; once more with a fresh list when it says that they are others. */
const mirroredTry = async (deps: OlderCallDeps, call: OlderCall, round: Rpc): Promise<Rpc | Response> => {
  if (call.message['method'] !== 'tools/call') return attempt(deps, call, round, [])
  const answer = await attempt(deps, call, round, await deps.tools.fields(call, false))
  if (answer instanceof Response || !isRecord(answer['error']) || answer['error']['code'] !== -32_020) return answer
  return attempt(deps, call, round, await deps.tools.fields(call, true))
}

const urls = (requests: readonly Rpc[]): readonly Rpc[] | undefined => {
  const params = requests.map((request) => request['params']).filter(isRecord)
  return params.length === requests.length && params.every(({ mode }) => mode === 'url') ? params : undefined
}

/** The client's answers by key; a text where there can be none. */
const asked = async ({ questions }: OlderCallDeps, call: OlderCall, requests: Readonly<Record<string, unknown>>): Promise<Rpc | string> => {
  const { session, message, id, caller, say } = call
  const list = Object.entries(requests).map(([key, request]) => [key, isRecord(request) ? request : {}] as const)
  const possible = questions !== undefined && list.every(([, request]) => takes(session.capabilities, request))
  if (!possible) {
    const elicitations = urls(list.map(([, request]) => request))
    if (elicitations && elicitations.length > 0 && namesUrlElicitationError(session.version)) return errorText(message['id'] as Id, -32_042, 'The MCP server asks the person to open a URL first.', { elicitations, code: 'era.input', request_id: caller.headers.get('x-request-id') ?? '' })
    throw new Refusal('era.input', list.map(([, request]) => String(request['method'])).join(' '))
  }
  const found: Record<string, unknown> = {}
  for (const [key, answer] of await Promise.all(list.map(async ([key, request]) => [key, await questions.ask(id, request, say, caller.signal)] as const))) {
    const { result, error } = answer
    // What the client could not do is the end of its own request.
    if (!isRecord(result)) return JSON.stringify({ jsonrpc: '2.0', id: message['id'], error: isRecord(error) ? error : { code: -32_603, message: 'The client sent no response.' } })
    found[key] = result
  }
  return found
}

const errorOf = ({ message, caller }: OlderCall, error: Rpc): Rpc => {
  // What that server lacks is what the gateway declared in this client's name (the hop is not the client's).
  const said = (code: RefusalCode, say: string, rpcData = {}): Rpc => rpcError(new Refusal(code, '', { say, rpcData }), caller.headers.get('x-request-id') ?? '')
  if (error['code'] === -32_021) return said('era.input', 'The MCP server needs a capability that this client does not have.', isRecord(error['data']) ? error['data'] : {})
  if (error['code'] === -32_020 || error['code'] === -32_022) return said('upstream.answer', 'The MCP server did not accept the gateway’s translation of this request.')
  return toLegacyError(String(message['method']), error)
}

/** The answer as text, or what the server says to the caller instead. Rejects with `Refusal`. */
export const runOlderCall = async (deps: OlderCallDeps, call: OlderCall): Promise<string | Response> => {
  const { message, caller } = call
  const method = String(message['method'])
  const id = message['id'] as Id
  let round: Rpc = {}
  for (let rounds = 0; rounds < mostRounds; rounds++) {
    const answer = await mirroredTry(deps, call, round)
    if (answer instanceof Response) return answer
    const { result, error } = answer
    if (!isRecord(result) && !isRecord(error)) throw new Refusal('upstream.answer', `${deps.service}: neither result nor error`, { say: 'The MCP server sent a response without a result or an error.' })
    if (!isRecord(result)) return JSON.stringify({ jsonrpc: '2.0', id, error: errorOf(call, isRecord(error) ? error : {}) })
    const { resultType = 'complete', inputRequests, requestState } = result
    if (resultType === 'complete') return JSON.stringify({ jsonrpc: '2.0', id, result: toLegacy(method, result) })
    if (resultType !== 'input_required' || !mayAsk.has(method)) throw new Refusal('upstream.answer', `a result of type ${String(resultType).slice(0, 40)}`)
    const state = typeof requestState === 'string' ? { requestState } : {}
    if (!isRecord(inputRequests) || Object.keys(inputRequests).length === 0) {
      // Nothing to ask: it only wants the request again.
      await wait(caller.signal)
      round = state
      continue
    }
    const answers = await asked(deps, call, inputRequests)
    if (typeof answers === 'string') return answers
    round = { inputResponses: answers, ...state }
  }
  throw new Refusal('upstream.answer', `${deps.service} asked ${mostRounds} times`)
}

