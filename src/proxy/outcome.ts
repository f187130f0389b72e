// How a call ends: what its caller is told, and what is written down.
import { fieldOf } from '../kit/http.ts'
import { type RefusedRequest, aboutRequest, levelOf, logText, refusalOf, refusedFields } from '../kit/log.ts'
import {
  Refusal,
  type RefusalCode,
  type ReportRefused,
  type RequestFacts,
  rpcError,
  rpcErrorText,
  type DocumentationOf,
  oauthErrorBody,
} from '../kit/refusal.ts'
import { type Envelope, rpcIdOf } from '../mcp/envelope.ts'
import type { Admission, Head, Outcome, Refuse, RefusedCall, UpstreamFault } from '../ports/call.ts'
import type { Audit, AuditEvent } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type { Log } from '../ports/runtime.ts'
import type { AdmittedCall, AuthenticatedCall, CallMessage, ReadCall } from './admitted-call.ts'
import type { KeepBodies } from './kept-bodies.ts'
import type { Cors } from './resolve.ts'
import type { CallTracing } from './trace-context.ts'

// How the MCP surface says no: one JSON-RPC error with the status, the challenge and the CORS headers that its
// clients need to read it, and one line in the log.

/**
 * Refusals after which the rest of the request is not read, or not to be trusted: the connection ends (RFC
 * 9112 §9.6).
 */
const closing: ReadonlySet<RefusalCode> = new Set([
  'request.malformed',
  'request.host',
  'request.timeout',
  'request.too-large',
  'calls.bytes',
])

export const factsOf = ({ address, principal }: Pick<Admission, 'address' | 'principal'>): RequestFacts => ({
  service: address.service.id,
  client: principal?.clientId,
  person: principal?.personKey,
  flow: principal?.flow,
})

/** Says in the log that a call was refused; of one that nobody waits for any more, only in detail. */
const reportRefused = (
  log: Log,
  refusal: Refusal,
  { method, target, ip, requestId, admitted, gone }: Omit<RefusedCall, 'rawHeaders'>,
): void =>
  log(
    gone ? 'debug' : levelOf(refusal),
    'refused',
    refusedFields(refusal, {
      ...(admitted && factsOf(admitted)),
      method,
      path: target.split('?', 1)[0] ?? '',
      ip,
      requestId,
    }),
  )

/** The same for one message on a stream that has begun; answers what its caller reads there. */
export const refusalResponse = (
  log: Log,
  refusal: Refusal,
  {
    id,
    head,
    admitted,
  }: { readonly id: unknown; readonly head: Head; readonly admitted: RefusedCall['admitted'] },
): string => {
  reportRefused(log, refusal, { ...head, admitted })
  return rpcErrorText(refusal, id, head.requestId)
}

/**
 * An admitted call as its refusals are logged; plain data, because a session may live in another process than
 * the one that let the call in.
 */
export const askedOf = (
  { method, target, ip, requestId }: Head,
  admitted: Pick<Admission, 'address' | 'principal'>,
): RefusedRequest => ({
  ...factsOf(admitted),
  method,
  path: target.split('?', 1)[0] ?? '',
  ip,
  requestId,
})

/** The same where only that is known of the call. */
export const refusedOf =
  (log: Log, asked: RefusedRequest): ReportRefused =>
  (refusal, id) => {
    log(levelOf(refusal), 'refused', refusedFields(refusal, asked))
    return rpcErrorText(refusal, id, asked.requestId)
  }

/**
 * For a page of a foreign origin a plain sentence. Beside a challenge (RFC 6750 §3.1) the OAuth error;
 * everywhere else JSON-RPC.
 */
const bodyOf = (refusal: Refusal, { requestId, rpcId }: RefusedCall, docs?: DocumentationOf): string => {
  const { code, say, detail } = refusal
  if (code === 'request.origin') return say
  if (detail.answers)
    return detail.answers.length === 0
      ? ''
      : `[${detail.answers.map((one) => rpcErrorText(one.refusal, one.id, requestId)).join(',')}]`
  const challenge = Object.keys(detail.headers ?? {}).some(
    (name) => name.toLowerCase() === 'www-authenticate',
  )
  if (challenge) return JSON.stringify(oauthErrorBody(refusal, requestId, docs))
  return JSON.stringify({
    jsonrpc: '2.0',
    id: detail.rpcId ?? rpcId ?? null,
    error: rpcError(refusal, requestId),
  })
}

export const createRefuse =
  ({
    cors,
    log,
    always,
    documentationOf,
  }: {
    readonly cors: Cors
    readonly log: Log
    /** Flat list of fields of every answer. */
    readonly always: readonly string[]
    readonly documentationOf?: DocumentationOf
  }): Refuse =>
  (error, about) => {
    const { rawHeaders, requestId } = about
    const refusal = refusalOf(error)
    reportRefused(log, refusal, about)
    const { status, detail, code } = refusal
    return {
      kind: 'answer',
      status,
      headers: [
        'Content-Type',
        code === 'request.origin' ? 'text/plain; charset=utf-8' : 'application/json',
        'Cache-Control',
        'no-store',
        'X-Content-Type-Options',
        'nosniff',
        'X-Request-Id',
        requestId,
        ...always,
        // RFC 9110 §10.2.3: who finds us unable is told when to try again.
        ...Object.entries({ ...(status === 503 && { 'retry-after': '1' }), ...detail.headers }).flat(),
        // A page of that origin is told nothing, not even that it was refused.
        ...(code === 'request.origin' ? ['Vary', 'Origin'] : cors.answer(fieldOf(rawHeaders, 'origin'))),
        ...(closing.has(code) ? ['Connection', 'close'] : []),
      ],
      body: bodyOf(refusal, about, documentationOf),
    }
  }

// What is written down of a call: who, where, which method and name, how it ended. Never a body, a token or
// an argument.

const cut = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : text.slice(0, 256)

const shortWhy = (why: string | undefined): string | undefined => (why ? logText(why) : undefined)

interface CallOutcome {
  readonly result: 'answered' | 'failed' | 'aborted' | 'refused'
  /** HTTP status the caller saw; 0 when none was sent. */
  readonly status: number
  readonly code?: RefusalCode | undefined
  readonly why?: string | undefined
  /** The access rule that decided. */
  readonly rule?: string | undefined
  readonly isError?: boolean | undefined
  /** Milliseconds from the request to the first byte of the answer, and to its end. */
  readonly firstByteMs?: number | undefined
  readonly durationMs: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Digests of what is kept of them, by message. */
  readonly bodies?: readonly (string | undefined)[] | undefined
}

/**
 * What is written down of a WebSocket: that it was opened, each message by method and name, and how it ended.
 */
export const socketEvent = (
  { head, address, principal }: AuthenticatedCall,
  {
    what,
    envelope,
    closeCode,
    reason,
    refusal,
    why,
    messages,
    durationMs,
  }: {
    readonly what: 'opened' | 'message' | 'closed'
    readonly envelope?: Envelope
    /** RFC 6455 §7.4. */
    readonly closeCode?: number
    readonly reason?: string
    /** Why the server did not hear the message. */
    readonly refusal?: RefusalCode
    readonly why?: string
    readonly messages?: number
    readonly durationMs?: number
  },
): AuditEvent => ({
  event: `websocket.${what}`,
  request_id: head.requestId,
  ip: head.ip,
  service: address.service.id,
  person: principal?.personKey,
  client: principal?.clientId,
  grant: principal?.grantId,
  actor: principal?.actor,
  flow: principal?.flow,
  method: cut(envelope?.messages[0]?.method),
  name: cut(envelope?.messages[0]?.name),
  close_code: closeCode,
  reason,
  refusal,
  why: shortWhy(why),
  messages,
  duration_ms: durationMs,
})

const nobody: Partial<Principal> = {}

const keptOf = ({ bodies }: CallOutcome, index: number): string | undefined => bodies?.[index]

const callEvent = (
  { head, address, principal, rules }: AuthenticatedCall,
  envelope: Envelope | undefined,
  ending: CallOutcome,
): AuditEvent => {
  const caller = principal ?? nobody
  const first = envelope?.messages[0]
  const batch = envelope?.batch ? envelope.messages : undefined

  return {
    event: 'call',
    request_id: head.requestId,
    ip: head.ip,
    service: address.service.id,
    person: caller.personKey,
    client: caller.clientId,
    grant: caller.grantId,
    actor: caller.actor,
    flow: caller.flow,
    http: head.method,
    method: cut(first?.method),
    name: cut(first?.name),
    batch: batch?.length,
    calls: batch?.map((message, i) => ({
      method: cut(message.method),
      name: cut(message.name),
      rule: rules?.[i],
      body: keptOf(ending, i),
    })),
    result: ending.result,
    status: ending.status,
    refusal: ending.code,
    why: shortWhy(ending.why),
    rule: ending.rule ?? (batch ? undefined : rules?.[0]),
    is_error: ending.isError,
    first_byte_ms: ending.firstByteMs,
    duration_ms: ending.durationMs,
    bytes_in: ending.bytesIn,
    bytes_out: ending.bytesOut,
    body: keptOf(ending, 0),
  }
}

/** RFC 9449 §8.2: any answer may bring the nonce of the next proof. */
const withNonce = (refusal: Refusal, nonce: string | undefined): Refusal => {
  if (nonce === undefined) return refusal
  const { code, why, detail } = refusal
  return new Refusal(code, why, { ...detail, headers: { ...detail.headers, 'dpop-nonce': nonce } })
}

interface Traced {
  readonly tracing?: CallTracing | undefined
}

/** Writes down a call that was refused to a caller who is known: the refusal, with what is known of them. */
export const refusedCall = (
  call: AuthenticatedCall & CallMessage,
  error: unknown,
  { now, record, tracing }: { readonly now: number; readonly record: Audit } & Traced,
): Refusal => {
  const refusal = withNonce(aboutRequest(error, factsOf(call)), call.nonce)
  const { code, why, status, detail } = refusal
  const ending: CallOutcome = {
    result: 'refused',
    status,
    code,
    why,
    rule: detail.rule,
    durationMs: now - call.startedAt,
    bytesIn: 0,
    bytesOut: 0,
  }
  record(callEvent(call, call.envelope, ending), call.body, call.principal)
  tracing?.refused(call, refusal)
  return refusal
}

// A call whose server gave no answer, and the end of every call, in the words of refusals and of the trail.

const faultWords = {
  timeout: ['upstream.timeout', (name: string) => `Request to ${name} timed out`],
  unreachable: ['upstream.unreachable', (name: string) => `Cannot connect to ${name}`],
  closed: [
    'upstream.closed',
    (name: string) =>
      `${name} closed the connection before it answered. The request may have been carried out.`,
  ],
  busy: ['upstream.busy', undefined],
  answer: ['upstream.answer', undefined],
  message: [
    'upstream.message',
    (name: string) => `${name} answered with something that is not a JSON-RPC message.`,
  ],
} as const

/** Why an upstream gave no answer. */
export const faultOf = (
  { address: { service }, context }: AdmittedCall,
  what: UpstreamFault,
  why: string,
): Refusal => {
  const [code, words] = faultWords[what]
  // Where it is is the operator's to know: callers may be strangers, and the address an internal one.
  return new Refusal(
    code,
    `${service.id} at ${context.target.shown}: ${why}`,
    words === undefined ? {} : { say: words(service.name) },
  )
}

/** The refusal of a call to a server that is known to be away; nothing was sent there. */
export const awayOf = ({ address, context, envelope }: ReadCall): Refusal => {
  const { service } = address
  const say = faultWords.unreachable[1](service.name)
  return new Refusal(
    'upstream.unreachable',
    `${service.id} at ${context.target.shown}: no response to recent calls or to a probe`,
    { say, rpcId: rpcIdOf(envelope), headers: { 'retry-after': '2' } },
  )
}

const silent: ReadonlySet<string | undefined> = new Set<RefusalCode>([
  'upstream.timeout',
  'upstream.unreachable',
  'upstream.closed',
])

/** How a call ended that was answered without the upstream's word. */
export const refusedOutcome = (error: unknown): Outcome => {
  const { code, row, why } = refusalOf(error)
  return { result: 'failed', status: row.status, code, why, bytesOut: 0 }
}

/**
 * A message taken for a line is written down as the call that is made of it; the line's own listening and its
 * farewell are nobody's calls.
 */
const isHalf = ({ head, address }: ReadCall, { status }: Outcome): boolean =>
  head.within
    ? head.method !== 'POST'
    : address.transport === 'sse' && head.method === 'POST' && status === 202

/** Frees the caller's place and writes the record; once for a call. */
export type Finish = (call: ReadCall, outcome: Outcome) => void

export const createFinish =
  ({
    now,
    record,
    keepBodies,
    tracing,
  }: {
    readonly now: () => number
    readonly record: Audit
    readonly keepBodies: KeepBodies
  } & Traced): Finish =>
  (call, outcome) => {
    const { answeredAt, result, status, code, why, isError, bytesOut } = outcome
    call.permit()
    call.holding.release()
    if (answeredAt === undefined && silent.has(code)) call.context.health?.missed(now() - call.startedAt)
    if (isHalf(call, outcome)) return
    tracing?.end(call, outcome)
    const firstByteMs = answeredAt === undefined ? undefined : answeredAt - call.startedAt
    record(
      callEvent(call, call.envelope, {
        result,
        status,
        code,
        why,
        isError,
        firstByteMs,
        durationMs: now() - call.startedAt,
        bytesIn: call.body?.byteLength ?? 0,
        bytesOut,
        bodies: call.address.service.auditBodies && keepBodies(call, outcome.heard),
      }),
      call.body,
      call.principal,
    )
  }
