// What the upstream of one call is shown, and what happens when it refuses that: another credential, once, or
// the question to the person.
import { encodeBase64url, utf8 } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Envelope, Message } from '../mcp/envelope.ts'
import { parseExactly } from '../mcp/json-rpc.ts'
import { metaKeys, isModern, namesUrlElicitationError } from '../mcp/revisions.ts'
import type { Answer } from '../ports/call.ts'
import type { UpstreamCredential, UpstreamCredentials } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { AdmittedCall, AuthenticatedCall, ReadCall } from './admitted-call.ts'
import { type Finish, refusedOutcome } from './outcome.ts'
import type { Cors } from './resolve.ts'

// The gateway's own `requestState` (2026-07-28, multi-round-trip requests): sealed for the person and the
// very request, valid for minutes, and carrying whatever state the upstream's own round trip had, so that the
// retry goes on as if the gateway had never asked.

export interface RequestStates {
  /** For the result that asks the person. `message`: the parsed request. */
  seal(message: Json, principal: Principal, service: string): Promise<string>
  /**
   * The request as the upstream is to see it, and whether the person said no. Throws `mcp.invalid` for a
   * state that is not of this person and request.
   */
  open(
    message: Json,
    principal: Principal,
    service: string,
  ): Promise<{ readonly message: Json; readonly declined: boolean }>
}

/** The one key of our input request. */
export const inputKey = 'postern_connect'
const prefix = 'postern.'
const lifetimeMs = 15 * 60_000

export const isOwnState = (state: string | undefined): boolean => state?.startsWith(prefix) === true

interface Sealed {
  readonly request: string
  readonly until: number
  readonly inner: Json
}

/** One text for one value, whatever the order of its members. */
const canonical = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(canonical)
    : isObject(value)
      ? Object.fromEntries(
          Object.keys(value)
            .toSorted()
            .map((key) => [key, canonical(value[key])]),
        )
      : value

const roundTrip = ['inputResponses', 'requestState']

const paramsOf = (message: Json): Json => (isObject(message['params']) ? message['params'] : {})
const without = (params: Json, names: readonly string[]): Json =>
  Object.fromEntries(Object.entries(params).filter(([name]) => !names.includes(name)))
const only = (params: Json, names: readonly string[]): Json =>
  Object.fromEntries(Object.entries(params).filter(([name]) => names.includes(name)))

/** One text for one request, whatever the round trip it is in. */
export const canonicalRequest = (message: Json): string =>
  JSON.stringify([message['method'], canonical(without(paramsOf(message), [...roundTrip, '_meta']))])

const bad = (why: string, message: Json): Refusal => {
  const { id } = message
  return new Refusal('mcp.invalid', why, {
    say: 'requestState is invalid or has expired. Make the call again without it.',
    rpcId: typeof id === 'string' || typeof id === 'number' ? id : null,
  })
}

export const createRequestStates = ({
  runtime,
}: {
  readonly runtime: Pick<Runtime, 'now' | 'keys' | 'digest'>
}): RequestStates => {
  const contextOf = ({ personKey }: Principal, service: string): string =>
    `request-state\n${service}\n${personKey}`
  const requestOf = (message: Json): string => runtime.digest(canonicalRequest(message))

  return {
    async seal(message, principal, service) {
      const sealed: Sealed = {
        request: requestOf(message),
        until: runtime.now() + lifetimeMs,
        inner: only(paramsOf(message), roundTrip),
      }
      return prefix + (await runtime.keys.seal(JSON.stringify(sealed), contextOf(principal, service)))
    },
    async open(message, principal, service) {
      const params = paramsOf(message)
      const state = params['requestState']
      const text =
        typeof state === 'string'
          ? await runtime.keys.open(state.slice(prefix.length), contextOf(principal, service))
          : undefined
      if (text === undefined) throw bad('not of this person', message)
      const { request, until, inner } = JSON.parse(text) as Sealed
      if (until < runtime.now()) throw bad('expired', message)
      if (request !== requestOf(message)) throw bad('of another request', message)
      const responses = params['inputResponses']
      const said = isObject(responses) ? responses[inputKey] : undefined
      const declined = isObject(said) && (said['action'] === 'decline' || said['action'] === 'cancel')
      return { message: { ...message, params: { ...without(params, roundTrip), ...inner } }, declined }
    },
  }
}

// How a client hears that its person has to connect an account first: as its revision says it, with a link of
// ours (MCP Elicitation, URL mode; 2026-07-28 multi-round-trip requests). Never as 401: that would send the
// client to log in to us again.

/** A call with a message, by a person. */
interface UnansweredCall extends ReadCall {
  readonly principal: Principal
  readonly envelope: Envelope
  readonly body: Uint8Array
}

interface AskToConnectDeps {
  readonly runtime: Pick<Runtime, 'random'>
  readonly states: RequestStates
  readonly cors: Cors
}

/**
 * Undefined when the refusal says nothing of connecting, or there is no request that could be answered: then
 * it is drawn like any other.
 */
export type AskToConnect = (refusal: Refusal, call: UnansweredCall) => Promise<Answer | undefined>

type Json = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Methods that a server may answer with an input request (2026-07-28). */
const mayAsk = new Set(['tools/call', 'prompts/get', 'resources/read'])

const takesUrls = ({ meta }: Message): boolean => {
  const capabilities = meta?.[metaKeys.capabilities]
  const elicitation = isObject(capabilities) ? capabilities['elicitation'] : undefined
  return isObject(elicitation) && isObject(elicitation['url'])
}

/** The revision that a request belongs to: its own word, the header's, or what it opens a session for. */
const revisionOf = (message: Message, raw: Json, call: ReadCall): string => {
  const own = message.meta?.[metaKeys.version]
  if (typeof own === 'string') return own
  const params = raw['params']
  const wanted = message.method === 'initialize' && isObject(params) ? params['protocolVersion'] : undefined
  return typeof wanted === 'string' ? wanted : (call.inbound.versions[0] ?? '')
}

/** The answer to one request of a call, in the words of its revision. */
const answerRequest = async (
  { runtime, states }: AskToConnectDeps,
  refusal: Refusal,
  message: Message,
  raw: Json,
  call: UnansweredCall,
): Promise<Json> => {
  const { url, service } = refusal.detail.connect ?? { url: '', service: '' }
  const head = { jsonrpc: '2.0', id: message.id ?? null }
  const elicitation = {
    mode: 'url',
    elicitationId: encodeBase64url(runtime.random(16)),
    url,
    message:
      refusal.code === 'connection.sign-in-again'
        ? `Sign in again for ${service}`
        : `Connect your account at ${service}`,
  }
  const revision = revisionOf(message, raw, call)
  const error = (code: number, more: Json): Json => {
    const data = { ...more, code: refusal.code, request_id: call.head.requestId }
    return { ...head, error: { code, message: refusal.say, data } }
  }
  if (isModern(revision)) {
    if (call.declined || !mayAsk.has(message.method ?? '') || !takesUrls(message))
      return error(refusal.row.rpc, { url })
    const requestState = await states.seal(raw, call.principal, call.address.service.id)
    const inputRequests = { [inputKey]: { method: 'elicitation/create', params: elicitation } }
    return { ...head, result: { resultType: 'input_required', inputRequests, requestState } }
  }
  if (namesUrlElicitationError(revision)) return error(-32_042, { elicitations: [elicitation] })
  return message.method === 'tools/call'
    ? { ...head, result: { content: [{ type: 'text', text: refusal.say }], isError: true } }
    : error(refusal.row.rpc, { url })
}

export const createAskToConnect = (deps: AskToConnectDeps): AskToConnect => {
  return async (refusal, call) => {
    const { envelope, body } = call
    const requests = envelope.messages
      .map((message, i) => ({ message, i }))
      .filter(({ message }) => message.kind === 'request')
    if (refusal.detail.connect === undefined || requests.length === 0) return undefined
    const parsed: unknown = JSON.parse(new TextDecoder().decode(body))
    const raws = Array.isArray(parsed) ? parsed : [parsed]
    const answers = await Promise.all(
      requests.map(({ message, i }) => answerRequest(deps, refusal, message, raws[i] as Json, call)),
    )
    return {
      kind: 'answer',
      status: 200,
      headers: [
        ...[
          'Content-Type',
          'application/json',
          'Cache-Control',
          'no-store',
          'X-Content-Type-Options',
          'nosniff',
        ],
        ...['X-Request-Id', call.head.requestId],
        ...deps.cors.answer(call.inbound.origin, !call.address.service.authRequired),
      ],
      body: JSON.stringify(envelope.batch ? answers : answers[0]),
    }
  }
}

export interface CredentialRecoveryDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'keys' | 'digest'>
  readonly cors: Cors
  readonly credentials: Pick<UpstreamCredentials, 'after'>
}

/** A call on its way: the first try, or the second with another credential. */
export interface CredentialAttempt {
  readonly call: AdmittedCall
  readonly credential: UpstreamCredential | undefined
  readonly last: boolean
  /** Another path of the endpoint's origin that an answer led to, and how many led on before. */
  readonly moved?: { readonly path: string; readonly times: number } | undefined
}

export interface CredentialRecovery {
  /**
   * The body as the upstream is to see it: without a round trip of ours in it. Undefined, at once: it is as
   * it came.
   */
  openState(
    call: AuthenticatedCall,
    body: Uint8Array,
    envelope: Envelope,
  ): Promise<{ readonly body: Uint8Array; readonly declined: boolean }> | undefined
  /** What follows from the upstream's 401 or 403: undefined, at once, when nothing does. */
  again(
    tried: CredentialAttempt,
    status: number,
    rawHeaders: readonly string[],
  ): Promise<UpstreamCredential> | undefined
  /**
   * The answer to a call that cannot be made before the person has done something; rejects with the refusal
   * where none can be given.
   */
  refuse(call: ReadCall, error: unknown): Promise<Answer>
}

const challenges = (rawHeaders: readonly string[]): string[] => {
  const found: string[] = []
  for (let i = 0; i + 1 < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.toLowerCase() === 'www-authenticate') found.push(rawHeaders[i + 1] as string)
  return found
}

const isUnanswered = (call: ReadCall): call is UnansweredCall =>
  call.principal !== undefined && call.envelope !== undefined && call.body !== undefined

export const createCredentialRecovery = ({
  runtime,
  cors,
  credentials,
}: CredentialRecoveryDeps): CredentialRecovery => {
  const states = createRequestStates({ runtime })
  const askToConnect = createAskToConnect({ runtime, states, cors })
  return {
    openState({ principal, address }, body, envelope) {
      if (!principal || envelope.batch || !isOwnState(envelope.messages[0]?.state)) return undefined
      return states
        .open(parseExactly(body) as Readonly<Record<string, unknown>>, principal, address.service.id)
        .then(({ message, declined }) => ({ body: utf8(JSON.stringify(message)), declined }))
    },
    again({ call: { address, principal, rest }, credential, last }, status, rawHeaders) {
      return credentials.after({
        address,
        principal,
        shown: credential,
        status,
        authenticate: challenges(rawHeaders),
        below: rest !== '',
        last,
      })
    },
    async refuse(call, error) {
      const answer =
        error instanceof Refusal && isUnanswered(call) ? await askToConnect(error, call) : undefined
      if (answer) return answer
      throw error
    },
  }
}

export interface EndForConsentDeps {
  readonly recovery: Pick<CredentialRecovery, 'refuse'>
  readonly finish: Finish
}

/** Ends a call that cannot be made before the person has done something. */
export const endForConsent = async (
  { recovery, finish }: EndForConsentDeps,
  call: ReadCall,
  error: unknown,
): Promise<Answer> => {
  const answer = await recovery.refuse(call, error)
  finish(call, { ...refusedOutcome(error), status: answer.status })
  return answer
}
