// One request of a client of 2025 and before at a server of 2026-07-28: what the server needs first, the client is asked for, and the request is made again with the answers.
import { encodeBase64url } from '../../kit/bytes.ts'
import { Refusal, type RefusalCode, rpcError } from '../../kit/refusal.ts'
import { standardHeaders } from '../../mcp/headers.ts'
import { type Id, type Rpc, errorText, isRecord, paramsOf } from '../../mcp/json-rpc.ts'
import { envelopeOf, namesUrlElicitationError } from '../../mcp/revisions.ts'
import {
  logLevelKey,
  mayAsk,
  subscriptionKey,
  acceptsNotification,
  toLegacy,
  toLegacyError,
} from '../../mcp/translate.ts'
import { type Caller, type SendNotification, readReplies, isForeign } from './exchange.ts'
import type { LegacySession } from './legacy-session-records.ts'
import type { ToolHeaders } from './tool-headers.ts'

// What clients of 2025 and before were asked in the name of a server that asks by input requests, and their answers, which come with a POST of their own.

export interface Elicitations {
  /** Asks, and waits. Rejects when the caller leaves, or does not answer in time. */
  ask(
    session: string,
    request: Rpc,
    say: (text: string) => Promise<void> | undefined,
    signal: AbortSignal,
  ): Promise<Rpc>
  /** A response of the client's; one to nothing that was asked in this session is dropped. */
  answered(session: string, response: Rpc): void
}

/** People read, think and sign in meanwhile. */
const patienceMs = 15 * 60_000

export const createElicitations = ({
  random,
}: {
  readonly random: (n: number) => Uint8Array
}): Elicitations => {
  const open = new Map<string, (response: Rpc) => void>()
  const keyOf = (session: string, id: unknown): string => `${session}\n${JSON.stringify(id)}`
  return {
    ask: (session, { method, params }, say, signal) =>
      new Promise((resolve, reject) => {
        const id = `postern-${encodeBase64url(random(12))}`
        const key = keyOf(session, id)
        const over = (): void => {
          open.delete(key)
          clearTimeout(late)
          signal.removeEventListener('abort', left)
        }
        const left = (): void => {
          over()
          reject(signal.reason as Error)
        }
        const late = setTimeout(() => {
          over()
          say(
            JSON.stringify({
              jsonrpc: '2.0',
              method: 'notifications/cancelled',
              params: { requestId: id, reason: 'nobody answered' },
            }),
          )?.catch(() => undefined)
          reject(new Refusal('mcp.input-required', 'the client did not answer in time'))
        }, patienceMs)
        signal.addEventListener('abort', left, { once: true })
        open.set(key, (response) => {
          over()
          resolve(response)
        })
        say(
          JSON.stringify({ jsonrpc: '2.0', id, method, ...(params === undefined ? {} : { params }) }),
        )?.catch(() => undefined)
        if (signal.aborted) left()
      }),
    answered: (session, response) => open.get(keyOf(session, response['id']))?.(response),
  }
}

export interface LegacyCallDeps {
  readonly tell: SendNotification
  readonly tools: ToolHeaders
  readonly service: string
  readonly random: (n: number) => Uint8Array
  /** Absent where the client's answers come to another place than its questions went. */
  readonly questions: Elicitations | undefined
}

export interface LegacyCall {
  readonly caller: Caller
  readonly id: string
  readonly session: LegacySession
  readonly message: Rpc
  /** To the client, before the answer. */
  readonly say: (text: string) => Promise<void> | undefined
}

const mostRounds = 16
const pauseMs = 500

const envelope = ({ session }: LegacyCall): Rpc => ({
  ...envelopeOf(session.client, session.capabilities),
  ...(session.level === undefined ? {} : { [logLevelKey]: session.level }),
})

const wait = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, pauseMs)
    signal.addEventListener('abort', () => (clearTimeout(timer), reject(signal.reason as Error)), {
      once: true,
    })
  })

/** One try: the answer, or what the server says to the caller instead. */
const attempt = async (
  { tell, tools, random, service }: LegacyCallDeps,
  call: LegacyCall,
  round: Rpc,
  mirrored: readonly (readonly [string, string])[],
): Promise<Rpc | Response> => {
  const { message, caller, say } = call
  const method = String(message['method'])
  const { task: _task, _meta, ...params } = paramsOf(message)
  const name = encodeBase64url(random(12))
  const body = {
    jsonrpc: '2.0',
    id: name,
    method,
    params: { ...params, ...round, _meta: { ...(isRecord(_meta) ? _meta : {}), ...envelope(call) } },
  }
  const response = await tell(caller, [...standardHeaders(method, params), ...mirrored], JSON.stringify(body))
  if (isForeign(response)) return response
  let answer: Rpc | undefined
  const deal = (heard: Rpc): void | Promise<void> => {
    if (heard['method'] === undefined) {
      if (heard['id'] === name || isRecord(heard['error'])) answer ??= heard
      return undefined
    }
    const told =
      heard['id'] === undefined &&
      (heard['method'] === 'notifications/progress' || heard['method'] === 'notifications/message')
    return told && !(subscriptionKey in paramsOf(heard)) ? say(JSON.stringify(heard)) : undefined
  }
  await readReplies(response, deal, () => answer !== undefined)
  if (!answer) throw new Refusal('upstream.answer', `${service} ended without an answer (${response.status})`)
  if (method === 'tools/list' && isRecord(answer['result'])) tools.learn(caller.owner, answer['result'])
  return answer
}

/** With the mirrored parameters as the server's list has them; once more with a fresh list when it says that they are others. */
const mirroredTry = async (deps: LegacyCallDeps, call: LegacyCall, round: Rpc): Promise<Rpc | Response> => {
  if (call.message['method'] !== 'tools/call') return attempt(deps, call, round, [])
  const answer = await attempt(deps, call, round, await deps.tools.fields(call, false))
  if (answer instanceof Response || !isRecord(answer['error']) || answer['error']['code'] !== -32_020)
    return answer
  return attempt(deps, call, round, await deps.tools.fields(call, true))
}

const urls = (requests: readonly Rpc[]): readonly Rpc[] | undefined => {
  const params = requests.map((request) => request['params']).filter(isRecord)
  return params.length === requests.length && params.every(({ mode }) => mode === 'url') ? params : undefined
}

/** The client's answers by key; a text where there can be none. */
const asked = async (
  { questions }: LegacyCallDeps,
  call: LegacyCall,
  requests: Readonly<Record<string, unknown>>,
): Promise<Rpc | string> => {
  const { session, message, id, caller, say } = call
  const list = Object.entries(requests).map(
    ([key, request]) => [key, isRecord(request) ? request : {}] as const,
  )
  const possible =
    questions !== undefined && list.every(([, request]) => acceptsNotification(session.capabilities, request))
  if (!possible) {
    const elicitations = urls(list.map(([, request]) => request))
    if (elicitations && elicitations.length > 0 && namesUrlElicitationError(session.version))
      return errorText(message['id'] as Id, -32_042, 'The MCP server asks the person to open a URL first.', {
        elicitations,
        code: 'mcp.input-required',
        request_id: caller.headers.get('x-request-id') ?? '',
      })
    throw new Refusal('mcp.input-required', list.map(([, request]) => String(request['method'])).join(' '))
  }
  const found: Record<string, unknown> = {}
  for (const [key, answer] of await Promise.all(
    list.map(async ([key, request]) => [key, await questions.ask(id, request, say, caller.signal)] as const),
  )) {
    const { result, error } = answer
    // What the client could not do is the end of its own request.
    if (!isRecord(result))
      return JSON.stringify({
        jsonrpc: '2.0',
        id: message['id'],
        error: isRecord(error) ? error : { code: -32_603, message: 'The client sent no response.' },
      })
    found[key] = result
  }
  return found
}

const errorOf = ({ message, caller }: LegacyCall, error: Rpc): Rpc => {
  // What that server lacks is what the gateway declared in this client's name (the hop is not the client's).
  const said = (code: RefusalCode, say: string, rpcData = {}): Rpc =>
    rpcError(new Refusal(code, '', { say, rpcData }), caller.headers.get('x-request-id') ?? '')
  if (error['code'] === -32_021)
    return said(
      'mcp.input-required',
      'The MCP server needs a capability that this client does not have.',
      isRecord(error['data']) ? error['data'] : {},
    )
  if (error['code'] === -32_020 || error['code'] === -32_022)
    return said('upstream.answer', 'The MCP server did not accept the gateway’s translation of this request.')
  return toLegacyError(String(message['method']), error)
}

/** The answer as text, or what the server says to the caller instead. Rejects with `Refusal`. */
export const runLegacyCall = async (deps: LegacyCallDeps, call: LegacyCall): Promise<string | Response> => {
  const { message, caller } = call
  const method = String(message['method'])
  const id = message['id'] as Id
  let round: Rpc = {}
  for (let rounds = 0; rounds < mostRounds; rounds++) {
    const answer = await mirroredTry(deps, call, round)
    if (answer instanceof Response) return answer
    const { result, error } = answer
    if (!isRecord(result) && !isRecord(error))
      throw new Refusal('upstream.answer', `${deps.service}: neither result nor error`, {
        say: 'The MCP server sent a response without a result or an error.',
      })
    if (!isRecord(result))
      return JSON.stringify({ jsonrpc: '2.0', id, error: errorOf(call, isRecord(error) ? error : {}) })
    const { resultType = 'complete', inputRequests, requestState } = result
    if (resultType === 'complete')
      return JSON.stringify({ jsonrpc: '2.0', id, result: toLegacy(method, result) })
    if (resultType !== 'input_required' || !mayAsk.has(method))
      throw new Refusal('upstream.answer', `a result of type ${String(resultType).slice(0, 40)}`)
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
