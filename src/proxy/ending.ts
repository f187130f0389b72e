// How a call ends, in the words of refusals and of the trail.
import { refusalOf } from '../kit/refusal-log.ts'
import { Refusal } from '../kit/refusal.ts'
import type { RefusalCode, SayRefused } from '../kit/refusal.ts'
import { errorId } from '../mcp/envelope.ts'
import type { Outcome, UpstreamFault } from '../ports/calls.ts'
import type { Principal } from '../ports/people.ts'
import type { Audit } from '../ports/rooms.ts'
import type { Log } from '../ports/runtime.ts'
import type { Knock } from './knock.ts'
import type { Passed } from './passed.ts'
import { callEvent } from './record.ts'
import { sayRefused } from './refuse.ts'

const faultWords = {
  timeout: ['upstream.timeout', (name: string) => `Request to ${name} timed out`],
  unreachable: ['upstream.unreachable', (name: string) => `Cannot connect to ${name}`],
  closed: ['upstream.closed', (name: string) => `${name} closed the connection before it answered. The request may have been carried out.`],
  busy: ['upstream.busy', undefined],
  answer: ['upstream.answer', undefined],
  message: ['upstream.message', (name: string) => `${name} answered with something that is not a JSON-RPC message.`],
} as const

/** Why an upstream gave no answer. */
export const faultOf = ({ address: { service }, place }: Knock, what: UpstreamFault, why: string): Refusal => {
  const [code, words] = faultWords[what]
  // Where it is is the operator's to know: callers may be strangers, and the address an internal one.
  return new Refusal(code, `${service.id} at ${place.target.shown}: ${why}`, words === undefined ? {} : { say: words(service.name) })
}

/** The refusal of a call to a server that is known to be away; nothing was sent there. */
export const awayOf = ({ call: { address, place }, envelope }: Passed): Refusal => {
  const { service } = address
  const say = faultWords.unreachable[1](service.name)
  return new Refusal('upstream.unreachable', `${service.id} at ${place.target.shown}: no response to recent calls or to a probe`, { say, rpcId: envelope === undefined ? null : errorId(envelope), headers: { 'retry-after': '2' } })
}

const silent: ReadonlySet<string | undefined> = new Set<RefusalCode>(['upstream.timeout', 'upstream.unreachable', 'upstream.closed'])

/** How a call ended that was answered without the upstream's word. */
export const refusedOutcome = (error: unknown): Outcome => {
  const { code, row, why } = refusalOf(error)
  return { result: 'failed', status: row.status, code, why, bytesOut: 0 }
}

/** A message taken for a line is written down as the call that is made of it; the line's own listening and its farewell are nobody's calls. */
const isHalf = ({ call: { head, address } }: Passed, { status }: Outcome): boolean =>
  head.within ? head.method !== 'POST' : address.transport === 'sse' && head.method === 'POST' && status === 202

/** How the caller of a call that streams already is told that one of its messages was refused. */
export const refusedOn =
  (log: Log, { head, address }: Knock, principal: Principal | undefined): SayRefused =>
  (refusal, id) =>
    sayRefused(log, refusal, { id, head, admitted: { address, principal } })

/** Frees the caller's place and writes the record; once for a call. */
export type Finish = (passed: Passed, outcome: Outcome) => void

export const createFinish =
  ({ now, record }: { readonly now: () => number; readonly record: Audit }): Finish =>
  (passed, { answeredAt, ...outcome }) => {
    const { call, principal, envelope, body, release } = passed
    release()
    if (answeredAt === undefined && silent.has(outcome.code)) call.place.health?.missed(now() - call.startedAt)
    if (isHalf(passed, outcome)) return
    const firstByteMs = answeredAt === undefined ? undefined : answeredAt - call.startedAt
    record(callEvent(call, principal, envelope, { ...outcome, firstByteMs, durationMs: now() - call.startedAt, bytesIn: body?.byteLength ?? 0 }))
  }
