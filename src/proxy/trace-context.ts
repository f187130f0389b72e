// Which trace a call belongs to (W3C Trace Context), and what its server hears of it: in the header fields and in
// `params._meta` of the message (SEP-414), so that it arrives whatever the transport is. Nothing here runs unless
// traces or metrics are exported.
import { utf8 } from '../kit/bytes.ts'
import type { Refusal } from '../kit/refusal.ts'
import type { Envelope, Message } from '../mcp/envelope.ts'
import { isRecord, withMeta } from '../mcp/json-rpc.ts'
import type { Outcome } from '../ports/call.ts'
import type { ParentSpan, Runtime, Span, TraceFields, Tracing } from '../ports/runtime.ts'
import type { AuthenticatedCall, CallMessage, CredentialedCall } from './admitted-call.ts'
import { normalName } from './inbound-request.ts'

// What a caller says of its trace. Anything malformed counts as nothing said (Trace Context §3.2.2.5, §4.3).

const parentForm = /^(?!ff)([\da-f]{2})-((?!0{32})[\da-f]{32})-((?!0{16})[\da-f]{16})-([\da-f]{2})(-[ -~]*)?$/
/** Longer values of a later version are none that anybody needs. */
const mostParent = 128

/** Undefined for anything that is not a valid `traceparent`; a later version is read as version 00 (§4.3). */
export const readTraceparent = (value: unknown): Omit<ParentSpan, 'tracestate'> | undefined => {
  if (typeof value !== 'string' || value.length > mostParent) return undefined
  const [, version, traceId = '', spanId = '', flags = '', more] = parentForm.exec(value) ?? []
  if (version === undefined || (version === '00' && more !== undefined)) return undefined
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

const stateMember = /^[a-z\d][a-z\d_\-*/@]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]$/
const mostState = 512
const mostMembers = 32

/** Undefined for anything that is not a valid `tracestate`, or longer than everybody has to pass on (§3.3.1). */
export const readTracestate = (value: unknown): string | undefined => {
  if (typeof value !== 'string' || value === '' || value.length > mostState) return undefined
  const members = value
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '')
  const names = new Set(members.map((member) => member.split('=', 1)[0]))
  const valid =
    members.length > 0 &&
    members.length <= mostMembers &&
    names.size === members.length &&
    members.every((member) => stateMember.test(member))
  return valid ? members.join(',') : undefined
}

/** All values of a field. */
const valuesOf = (fields: readonly string[], name: string): readonly string[] =>
  fields.filter((_, i) => i % 2 === 1 && fields[i - 1]?.toLowerCase() === name)

const parentOf = (traceparent: unknown, tracestate: unknown): ParentSpan | undefined => {
  const parent = readTraceparent(traceparent)
  return parent && { ...parent, tracestate: readTracestate(tracestate) }
}

type TracedCall = AuthenticatedCall & CallMessage

/**
 * What is said in the header fields, else in the message. The fields of a connection are about the connection, not
 * about the messages on it.
 */
const saidBy = ({ head, envelope }: TracedCall): ParentSpan | undefined => {
  const meta = envelope?.messages[0]?.meta
  const inMessage = (): ParentSpan | undefined => parentOf(meta?.['traceparent'], meta?.['tracestate'])
  if (head.within !== undefined) return inMessage()
  const [traceparent, ...others] = valuesOf(head.rawHeaders, 'traceparent')
  // Two are none (§3.2.1: the field occurs once).
  const inFields = others.length === 0 ? traceparent : undefined
  const state = valuesOf(head.rawHeaders, 'tracestate').join(',')
  return parentOf(inFields, state) ?? inMessage()
}

// What the server hears.

const ours = new Set(['traceparent', 'tracestate'])

/** The caller's own fields do not go on: the server belongs to our span. */
const tellInFields = (call: TracedCall, fields: TraceFields, baggage: boolean): void => {
  const { inbound } = call
  const dropped = (i: number): boolean => {
    const name = normalName(inbound.forward[i - (i % 2)] ?? '')
    return ours.has(name) || (!baggage && name === 'baggage')
  }
  inbound.forward = inbound.forward.filter((_, i) => !dropped(i))
  inbound.forward.push('traceparent', fields.traceparent)
  if (fields.tracestate !== undefined) inbound.forward.push('tracestate', fields.tracestate)
}

type Changing = { -readonly [Name in keyof TracedCall]: TracedCall[Name] }

/** Only of one message: each of a batch is a part of the same request. */
const tellInMessage = (call: Changing, fields: TraceFields, baggage: boolean): void => {
  const { envelope, body } = call
  if (!envelope || envelope.batch || !body) return
  const text = call.json?.text ?? new TextDecoder().decode(body)
  const value = call.json?.value ?? (JSON.parse(text) as unknown)
  if (!isRecord(value)) return
  const said = withMeta(
    { text, message: value },
    { tracestate: undefined, ...fields, ...(!baggage && { baggage: undefined }) },
  )
  if (!said) return
  call.body = utf8(said.text)
  if (call.json) call.json = { text: said.text, value: said.message }
}

// The spans of calls.

const known = (message: Message | undefined): string | undefined =>
  message?.kind === 'response' ? undefined : message?.method

const errorOf = ({ code, isError, result, status }: Outcome): string | undefined => {
  if (code !== undefined) return code
  if (isError === true) return 'tool_error'
  if (result !== 'answered') return result
  return status >= 400 ? String(status) : undefined
}

const serverOf = ({ address: { service } }: TracedCall) => {
  const { upstream } = service
  if (upstream.kind === 'bridge') return { transport: 'pipe' as const }
  return upstream.kind === 'http' ? { transport: 'tcp' as const, url: upstream.url } : undefined
}

export interface CallTracing {
  /** The call goes to its server now. */
  readonly begin: (call: CredentialedCall) => undefined
  /** How it ended; nothing for a call that says nothing. */
  end(call: TracedCall, outcome: Outcome): void
  /** It was refused to a caller who is known. */
  refused(call: TracedCall, refusal: Refusal): void
}

const isMessage = ({ head, address }: TracedCall, envelope: Envelope | undefined): boolean =>
  // What is posted for an event stream of HTTP+SSE becomes a call of its own, and what the gateway asks for itself is
  // nobody's call.
  address.transport !== 'sse' && head.within !== 'uncounted' && known(envelope?.messages[0]) !== undefined

export const createCallTracing = (
  { tracer, continues, baggage }: Tracing,
  { now }: Pick<Runtime, 'now'>,
): CallTracing => {
  const spans = new WeakMap<object, Span>()
  const spanOf = (call: TracedCall): Span | undefined => {
    const { head, envelope, startedAt, inbound, address } = call
    const message = envelope?.messages[0]
    const method = known(message)
    if (method === undefined || !isMessage(call, envelope)) return undefined
    const begun = spans.get(call)
    if (begun) return begun
    const heard = continues === 'all' || (continues === 'proxies' && head.proxied === true)
    const span = tracer.begin({
      service: address.service.id,
      method,
      name: message?.name,
      id: message?.kind === 'request' ? message.id : undefined,
      batch: envelope?.batch ? envelope.messages.length : undefined,
      version: inbound.versions.length === 1 ? inbound.versions[0] : undefined,
      requestId: head.requestId,
      startedAt,
      parent: heard ? saidBy(call) : undefined,
    })
    spans.set(call, span)
    return span
  }
  const end = (call: TracedCall, error: string | undefined): void => {
    spanOf(call)?.end({ error, at: now() })
    spans.delete(call)
  }
  return {
    begin(call) {
      const fields = spanOf(call)?.send({ at: now(), ...serverOf(call) })
      if (!fields) return undefined
      tellInFields(call, fields, baggage)
      tellInMessage(call, fields, baggage)
      return undefined
    },
    end: (call, outcome) => end(call, errorOf(outcome)),
    refused: (call, { code }) => end(call, code),
  }
}
