// How the MCP surface says no: one JSON-RPC error with the status, the challenge and the CORS headers that
// its clients need to read it, and one line in the log.
import { fieldOf } from '../kit/http.ts'
import { type RefusedRequest, levelOf, refusalOf, refusedFields } from '../kit/log.ts'
import {
  type Refusal,
  type RefusalCode,
  type RequestFacts,
  type ReportRefused,
  rpcError,
  rpcErrorText,
} from '../kit/refusal.ts'
import type { Admission, Head, Refuse, RefusedCall } from '../ports/call.ts'
import type { Log } from '../ports/runtime.ts'
import type { Cors } from './cors.ts'

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
})

/** Says in the log that a call was refused; of one that nobody waits for any more, only in detail. */
export const reportRefused = (
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
 * Seed 001: a plain sentence, no JSON. Beside a challenge (RFC 6750 §3.1) the OAuth error; everywhere else
 * JSON-RPC.
 */
const bodyOf = (refusal: Refusal, requestId: string, rpcId: RefusedCall['rpcId']): string => {
  const { code, row, say, detail } = refusal
  if (code === 'request.origin') return say
  const challenge = Object.keys(detail.headers ?? {}).some(
    (name) => name.toLowerCase() === 'www-authenticate',
  )
  if (challenge)
    return JSON.stringify({ error: row.oauth, error_description: say, code, request_id: requestId })
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
  }: {
    readonly cors: Cors
    readonly log: Log
    /** Flat list of fields of every answer. */ readonly always: readonly string[]
  }): Refuse =>
  (error, about) => {
    const { rawHeaders, requestId, rpcId } = about
    const refusal = refusalOf(error)
    reportRefused(log, refusal, about)
    const { row, detail, code } = refusal
    return {
      kind: 'answer',
      status: row.status,
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
        ...Object.entries({ ...(row.status === 503 && { 'retry-after': '1' }), ...detail.headers }).flat(),
        // A page of that origin is told nothing, not even that it was refused.
        ...(code === 'request.origin' ? ['Vary', 'Origin'] : cors.answer(fieldOf(rawHeaders, 'origin'))),
        ...(closing.has(code) ? ['Connection', 'close'] : []),
      ],
      body: bodyOf(refusal, requestId, rpcId),
    }
  }
