// The admission itself: what the upstream will read, and what follows from its answer.
import type { Admission, Answer, Upstream } from '../ports/calls.ts'
import { accepted, createRelay, type Relayed, unlessLost } from './answer.ts'
import type { Cors } from './cors.ts'
import { createFinish, faultOf, refusedOn } from './ending.ts'
import { createForward } from './http.ts'
import { learn } from './learn.ts'
import { isRepeatable } from './repeatable.ts'
import { createNextTry, superseded, upstreamFor } from './next-try.ts'
import { isAsking, type Passed, rpcIdOf } from './passed.ts'
import type { Showing, Try } from './showing.ts'
import { fieldsOf } from './upstream-fields.ts'
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
  const headOf = (passed: Passed, status: number, rawHeaders: readonly string[]): Relayed => {
    const { call, session } = passed
    const [{ service }, asks, extra] = [call.address, isAsking(passed), added(call, cors, always)]
    // A command is answered for by the gateway itself, in this very way.
    const far = service.upstream.kind === 'http'
    if (far && !asks && call.head.method === 'POST' && status >= 200 && status < 300) return accepted(extra)
    const head = relay(status, rawHeaders, { service: service.id, modern: call.modern, asks: asks && far, extra })
    return status === 400 && session !== undefined ? unlessLost(head, () => void sessions.forget(session, service).catch(() => undefined)) : head
  }
  const nextTry = createNextTry({ showing, finish, admit: (tried, fields) => admit(tried, fields) })

  const admit = (tried: Try, fields: readonly string[]): Admission => {
    const { passed, credential } = tried
    const { call, principal, body, json, envelope, identity } = passed
    let next: Promise<Admission | Answer> | undefined
    const upstream = upstreamFor(tried, detour, (status, rawHeaders) => void follows(status, rawHeaders))
    /** Whether another try follows. */
    const follows = (status: number, rawHeaders: readonly string[]): boolean => {
      const another = nextTry(tried, fields, upstream, status, rawHeaders)
      next = another ?? next
      return another !== undefined
    }
    const admission: Admission = {
      kind: 'admission',
      address: call.address,
      principal,
      upstream,
      method: call.head.method,
      headers: credential === undefined ? fields : [...fields, ...credential.headers],
      identity,
      body,
      json,
      repeatable: isRepeatable(call.head.method, envelope),
      timeoutMs: call.address.service.timeoutMs,
      keepAliveMs,
      watch: call.head.within || call.address.transport === 'sse' ? undefined : (end) => watch.caller(passed, end, !listens(passed)),
      rpcId: rpcIdOf(passed),
      answer(status, rawHeaders) {
        if (follows(status, rawHeaders)) throw superseded(call.address.service.id, status)
        const head = headOf(passed, status, rawHeaders)
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
