// What is written down of a call: who, where, which method and name, how it ended. Never a body, a token or
// an argument.
import { aboutRequest, logText } from '../kit/log.ts'
import type { Refusal, RefusalCode } from '../kit/refusal.ts'
import type { Envelope } from '../mcp/envelope.ts'
import type { AuditEvent } from '../ports/modules.ts'
import { factsOf } from './error-response.ts'
import type { AuthenticatedCall } from './admitted-call.ts'

const cut = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : text.slice(0, 256)

export interface CallOutcome {
  readonly result: 'answered' | 'failed' | 'aborted' | 'refused'
  /** HTTP status the caller saw; 0 when none was sent. */
  readonly status: number
  readonly code?: RefusalCode | undefined
  readonly why?: string | undefined
  /** Milliseconds from the request to the first byte of the answer, and to its end. */
  readonly firstByteMs?: number | undefined
  readonly durationMs: number
  readonly bytesIn: number
  readonly bytesOut: number
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
  method: cut(envelope?.messages[0]?.method),
  name: cut(envelope?.messages[0]?.name),
  close_code: closeCode,
  reason,
  refusal,
  why: why ? logText(why) : undefined,
  messages,
  duration_ms: durationMs,
})

export const callEvent = (
  { head, address, principal }: AuthenticatedCall,
  envelope: Envelope | undefined,
  ending: CallOutcome,
): AuditEvent => {
  const first = envelope?.messages[0]
  return {
    event: 'call',
    request_id: head.requestId,
    ip: head.ip,
    service: address.service.id,
    person: principal?.personKey,
    client: principal?.clientId,
    grant: principal?.grantId,
    http: head.method,
    method: cut(first?.method),
    name: cut(first?.name),
    ...(envelope?.batch
      ? {
          batch: envelope.messages.length,
          calls: envelope.messages.map((message) => ({
            method: cut(message.method),
            name: cut(message.name),
          })),
        }
      : {}),
    result: ending.result,
    status: ending.status,
    refusal: ending.code,
    why: ending.why ? logText(ending.why) : undefined,
    first_byte_ms: ending.firstByteMs,
    duration_ms: ending.durationMs,
    bytes_in: ending.bytesIn,
    bytes_out: ending.bytesOut,
  }
}

/**
 * A call that was refused to a caller who is known: the refusal with what is known of them, and what is
 * written down.
 */
export const refusedCall = (
  call: AuthenticatedCall,
  error: unknown,
  now: number,
): { readonly refusal: Refusal; readonly event: AuditEvent } => {
  const refusal = aboutRequest(error, factsOf(call))
  const { code, why, row } = refusal
  const ending: CallOutcome = {
    result: 'refused',
    status: row.status,
    code,
    why,
    durationMs: now - call.startedAt,
    bytesIn: 0,
    bytesOut: 0,
  }
  return { refusal, event: callEvent(call, undefined, ending) }
}
