// The admission itself: what the upstream will read, and what follows from its answer.
import { Refusal } from '../kit/refusal.ts'
import { errorId } from '../mcp/envelope.ts'
import type { Admission, Answer, Upstream } from '../ports/calls.ts'
import { createRelay } from './answer.ts'
import type { Cors } from './cors.ts'
import { createFinish, faultOf, refusedOn, refusedOutcome } from './ending.ts'
import { createForward } from './http.ts'
import { learn } from './learn.ts'
import type { Passed } from './passed.ts'
import { noticing } from './rebuff.ts'
import type { Showing, Try } from './showing.ts'
import type { Watch } from './watch.ts'

type Sessions = Parameters<typeof learn>[0]

export interface AdmissionDeps {
  readonly runtime: { now(): number; readonly log: Parameters<typeof refusedOn>[0] }
  readonly cors: Cors
  readonly record: Parameters<typeof createFinish>[0]['record']
  readonly sessions: Sessions
  /** Where a call goes that the straight way does not carry. */
  readonly detour: (passed: Passed) => Upstream | undefined
  readonly watch: Watch
  readonly keepAliveMs: number
  /** Flat list of fields of every answer. */
  readonly always: readonly string[]
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

/** Whether its stream lasts as long as anybody listens. Any other is the answer to something asked when the token was good. */
const listens = ({ call, envelope }: Passed): boolean => call.head.method === 'GET' || envelope?.messages[0]?.method === 'subscriptions/listen'

/** What the gateway says on every answer. */
const added = ({ head, inbound, address }: Passed['call'], cors: Cors, always: readonly string[]): readonly string[] => {
  const { origin } = inbound
  const fields = origin === undefined ? [] : cors.answer(origin, !address.service.authRequired)
  return ['X-Request-Id', head.requestId, ...always, ...fields]
}

export const createAdmission = ({ runtime, cors, record, sessions, detour, showing, watch, keepAliveMs, always }: AdmissionDeps): ((tried: Try) => Admission) => {
  const now = (): number => runtime.now()
  const [relay, forward] = [createRelay(), createForward()]
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
    const { call, principal, body, json, envelope, identity } = passed
    let next: Promise<Admission | Answer> | undefined
    /** Whether another try follows. */
    const follows = (status: number, rawHeaders: readonly string[]): boolean => {
      const another = showing.again(tried, status, rawHeaders)
      if (!another) return false
      next = second(tried, fields, another)
      // Whoever carries this call asks for it, and hears what became of it.
      next.catch(() => undefined)
      return true
    }
    const admission: Admission = {
      kind: 'admission',
      address: call.address,
      principal,
      upstream: noticing(detour(passed), follows) ?? call.place.target.upstream(call.rest, call.query),
      method: call.head.method,
      headers: credential === undefined ? fields : [...fields, ...credential.headers],
      identity,
      body,
      json,
      timeoutMs: call.address.service.timeoutMs,
      keepAliveMs,
      watch: call.head.within || call.address.transport === 'sse' ? undefined : (end) => watch.caller(passed, end, !listens(passed)),
      rpcId: envelope === undefined ? null : errorId(envelope),
      answer(status, rawHeaders) {
        if (follows(status, rawHeaders)) throw new Refusal('upstream.credential', `${call.address.service.id} answered ${status}`)
        const head = relay(status, rawHeaders, { service: call.address.service.id, modern: call.modern, extra: added(call, cors, always) })
        const learning = learn(sessions, passed, head)
        return learning === undefined ? head : learning.then(() => head)
      },
      refused: refusedOn(runtime.log, call, principal),
      fault: (what, why) => faultOf(call, what, why),
      again: () => next,
      end(outcome) {
        // A try that is followed by another is no end.
        if (next === undefined) finish(passed, outcome)
      },
      byFetch: (fetch, signal) => forward(admission, { fetch, now, signal }),
    }
    return admission
  }
  return (tried) => admit(tried, fieldsOf(tried.passed))
}
