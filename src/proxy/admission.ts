// The admission itself: what the upstream will read, and what follows from its answer.
import { Refusal } from '../kit/refusal.ts'
import { errorId } from '../mcp/envelope.ts'
import type { Admission, Answer, Upstream } from '../ports/calls.ts'
import type { Audit } from '../ports/rooms.ts'
import { createRelay } from './answer.ts'
import type { Cors } from './cors.ts'
import { createFinish, faultOf, refusedOutcome } from './ending.ts'
import { forwardByFetch } from './http.ts'
import { learn } from './learn.ts'
import type { Passed } from './passed.ts'
import type { McpSessions } from './sessions.ts'
import type { Showing, Try } from './showing.ts'

export interface AdmissionDeps {
  readonly runtime: { now(): number }
  readonly cors: Cors
  readonly record: Audit
  readonly sessions: McpSessions
  /** Where a call goes that the straight way does not carry. */
  readonly detour: (passed: Passed) => Upstream | undefined
  readonly showing: Showing
}

/** Longer ones no server gives out. */
const mostResume = 1024

/** What came and may go on, then what only the gateway says. */
const fieldsOf = ({ call, session, principal }: Passed): readonly string[] => {
  const { inbound, modern, head } = call
  const fields = inbound.forward
  if (session !== undefined) fields.push('Mcp-Session-Id', session)
  if (!modern && inbound.resume !== undefined) {
    if (inbound.resume.length > mostResume) throw new Refusal('request.malformed', 'Last-Event-ID', { say: 'This Last-Event-ID is longer than any that a server gives out.' })
    // The session says whose events they are. Without one nothing does, and anybody could ask for anybody's (2025-11-25 transports, resumability).
    if (session !== undefined || principal === undefined) fields.push('Last-Event-ID', inbound.resume)
  }
  fields.push('X-Request-Id', head.requestId)
  return fields
}

export const createAdmission = ({ runtime, cors, record, sessions, detour, showing }: AdmissionDeps): ((tried: Try) => Admission) => {
  const now = (): number => runtime.now()
  const relay = createRelay()
  const finish = createFinish({ now, record })

  /** The second try, or what the caller is told instead. The place is kept, and the record written, by whichever it is. */
  const second = ({ passed, declined }: Try, fields: readonly string[], credential: Promise<NonNullable<Try['credential']>>): Promise<Admission | Answer> =>
    credential
      .then((next): Admission | Answer => admit({ passed, credential: next, last: true, declined }, fields))
      .catch((error: unknown) => {
        finish(passed, refusedOutcome(error))
        return showing.refuse({ passed, declined }, error)
      })

  const admit = (tried: Try, fields: readonly string[]): Admission => {
    const { passed, credential } = tried
    const { call, principal, body, envelope, identity } = passed
    const { service } = call.address
    let next: Promise<Admission | Answer> | undefined
    const admission: Admission = {
      kind: 'admission',
      address: call.address,
      principal,
      upstream: detour(passed) ?? call.place.target.upstream(call.rest, call.query),
      method: call.head.method,
      headers: credential === undefined ? fields : [...fields, ...credential.headers],
      identity,
      body,
      timeoutMs: service.timeoutMs,
      rpcId: envelope === undefined ? null : errorId(envelope),
      answer(status, rawHeaders) {
        const another = showing.again(tried, status, rawHeaders)
        if (another) {
          next = second(tried, fields, another)
          // Whoever carries this call asks for it, and hears what became of it.
          next.catch(() => undefined)
          throw new Refusal('upstream.credential', `${service.id} answered ${status}`)
        }
        const extra = ['X-Request-Id', call.head.requestId, ...(call.inbound.origin === undefined ? [] : cors.answer(call.inbound.origin))]
        const head = relay(status, rawHeaders, { service: service.id, modern: call.modern, extra })
        const learning = learn(sessions, passed, head)
        return learning === undefined ? head : learning.then(() => head)
      },
      fault: (what, why) => faultOf(call, what, why),
      again: () => next,
      end(outcome) {
        // A try that is followed by another is no end.
        if (next === undefined) finish(passed, outcome)
      },
      byFetch: (fetch, signal) => forwardByFetch(admission, { fetch, now, signal }),
    }
    return admission
  }

  return (tried) => admit(tried, fieldsOf(tried.passed))
}
