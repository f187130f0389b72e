// How the MCP surface says no: one JSON-RPC error with the status, the challenge and the CORS headers that its clients need to read it.
import { fieldOf } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { RefusalCode } from '../kit/refusal.ts'
import type { Refuse } from '../ports/calls.ts'
import type { Log } from '../ports/runtime.ts'
import type { Cors } from './cors.ts'

/** Refusals after which the rest of the request is not read, or not to be trusted: the connection ends (RFC 9112 §9.6). */
const closing: ReadonlySet<RefusalCode> = new Set(['request.malformed', 'request.host', 'request.timeout', 'request.too-large', 'calls.bytes'])

export const createRefuse =
  ({ cors, log, always }: { readonly cors: Cors; readonly log: Log; /** Flat list of fields of every answer. */ readonly always: readonly string[] }): Refuse =>
  (error, { rawHeaders, requestId, rpcId = null }) => {
    const refusal = error instanceof Refusal ? error : new Refusal('fault')
    // An outage of the storage is the operator's; what an upstream did is in the record of the call.
    if (error instanceof Refusal) log(refusal.code.startsWith('storage.') ? 'error' : 'debug', 'refused', { request: requestId, refusal: refusal.code, why: refusal.why })
    else log('error', 'fault', { request: requestId, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    const { row, detail } = refusal
    // Seed 001: a plain sentence, no JSON.
    const plain = refusal.code === 'request.origin'
    const challenge = Object.keys(detail.headers ?? {}).some((name) => name.toLowerCase() === 'www-authenticate')
    const body = plain
      ? refusal.say
      : challenge
        ? JSON.stringify({ error: row.oauth, error_description: refusal.say })
        : JSON.stringify({
            jsonrpc: '2.0',
            id: detail.rpcId ?? rpcId,
            error: { code: row.rpc, message: refusal.say, ...(detail.rpcData === undefined ? {} : { data: detail.rpcData }) },
          })
    return {
      kind: 'answer',
      status: row.status,
      headers: [
        'Content-Type',
        plain ? 'text/plain; charset=utf-8' : 'application/json',
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
        ...(plain ? ['Vary', 'Origin'] : cors.answer(fieldOf(rawHeaders, 'origin'))),
        ...(closing.has(refusal.code) ? ['Connection', 'close'] : []),
      ],
      body,
    }
  }
