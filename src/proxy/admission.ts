// The admission itself: what the upstream will read, and what follows from its answer.
import { Refusal } from '../kit/refusal.ts'
import { errorId } from '../mcp/envelope.ts'
import type { Envelope } from '../mcp/envelope.ts'
import type { Admission, Upstream } from '../ports/calls.ts'
import type { Principal } from '../ports/people.ts'
import type { Audit } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import { createRelay } from './answer.ts'
import type { Relayed } from './answer.ts'
import type { Cors } from './cors.ts'
import { forwardByFetch } from './http.ts'
import type { Knock } from './knock.ts'
import { callEvent } from './record.ts'
import type { McpSessions } from './sessions.ts'

export interface AdmissionDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly cors: Cors
  readonly record: Audit
  readonly sessions: McpSessions
  /** Where a call goes that the straight way does not carry. */
  readonly detour: (passed: Passed) => Upstream | undefined
}

/** A call all of whose checks have passed. */
export interface Passed {
  readonly call: Knock
  readonly principal: Principal | undefined
  readonly session: string | undefined
  readonly body?: Uint8Array
  readonly envelope?: Envelope
  /** Flat list of identity fields. */
  readonly identity: readonly string[]
  readonly release: () => void
}

const faultWords = {
  timeout: ['upstream.timeout', (name: string) => `Request to ${name} timed out`],
  unreachable: ['upstream.unreachable', (name: string, at: string) => `Cannot connect to ${name} at ${at}`],
  busy: ['upstream.busy', undefined],
  answer: ['upstream.answer', undefined],
} as const

/** What came and may go on, then what only the gateway says. */
const fieldsOf = ({ call, session }: Passed): readonly string[] => {
  const { inbound, modern, head } = call
  const fields = inbound.forward
  if (session !== undefined) fields.push('Mcp-Session-Id', session)
  if (!modern && inbound.resume !== undefined) fields.push('Last-Event-ID', inbound.resume)
  fields.push('X-Request-Id', head.requestId)
  return fields
}

export const createAdmission = ({ runtime, cors, record, sessions, detour }: AdmissionDeps): ((passed: Passed) => Admission) => {
  const { now } = runtime
  const relay = createRelay()

  /** What an answer says of sessions is kept before the caller hears it. Undefined when there is nothing to wait for. */
  const learn = ({ call, principal, session }: Passed, head: Relayed): Promise<void> | undefined => {
    if (!principal) return undefined
    const { service } = call.address
    if (call.head.method === 'DELETE' && session !== undefined && head.status < 300) return sessions.forget(session, service)
    return head.session !== undefined && head.session !== session ? sessions.learn(head.session, service, principal) : undefined
  }

  return (passed) => {
    const { call, principal, body, envelope, identity, release } = passed
    const { service } = call.address
    const admission: Admission = {
      kind: 'admission',
      address: call.address,
      principal,
      upstream: detour(passed) ?? call.place.target.upstream(call.rest, call.query),
      method: call.head.method,
      headers: fieldsOf(passed),
      identity,
      body,
      timeoutMs: service.timeoutMs,
      rpcId: envelope === undefined ? null : errorId(envelope),
      answer(status, rawHeaders) {
        const extra = ['X-Request-Id', call.head.requestId, ...(call.inbound.origin === undefined ? [] : cors.answer(call.inbound.origin))]
        const head = relay(status, rawHeaders, { service: service.id, modern: call.modern, extra })
        const learning = learn(passed, head)
        return learning === undefined ? head : learning.then(() => head)
      },
      fault(what, why) {
        const [code, words] = faultWords[what]
        return new Refusal(code, `${service.id}: ${why}`, words === undefined ? {} : { say: words(service.name, call.place.target.shown) })
      },
      end({ answeredAt, ...outcome }) {
        release()
        const firstByteMs = answeredAt === undefined ? undefined : answeredAt - call.startedAt
        record(callEvent(call, principal, envelope, { ...outcome, firstByteMs, durationMs: now() - call.startedAt, bytesIn: body?.byteLength ?? 0 }))
      },
      byFetch: (fetch, signal) => forwardByFetch(admission, { fetch, now, signal }),
    }
    return admission
  }
}
