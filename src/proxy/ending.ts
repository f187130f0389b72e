// How a call ends, in the words of refusals and of the trail.
import { Refusal } from '../kit/refusal.ts'
import type { RefusalCode } from '../kit/refusal.ts'
import { errorId } from '../mcp/envelope.ts'
import type { Outcome, UpstreamFault } from '../ports/calls.ts'
import type { Audit } from '../ports/rooms.ts'
import type { Knock } from './knock.ts'
import type { Passed } from './passed.ts'
import { callEvent } from './record.ts'

const faultWords = {
  timeout: ['upstream.timeout', (name: string) => `Request to ${name} timed out`],
  unreachable: ['upstream.unreachable', (name: string, at: string) => `Cannot connect to ${name} at ${at}`],
  busy: ['upstream.busy', undefined],
  answer: ['upstream.answer', undefined],
} as const

/** Why an upstream gave no answer. */
export const faultOf = ({ address: { service }, place }: Knock, what: UpstreamFault, why: string): Refusal => {
  const [code, words] = faultWords[what]
  return new Refusal(code, `${service.id}: ${why}`, words === undefined ? {} : { say: words(service.name, place.target.shown) })
}

/** The refusal of a call to a server that is known to be away; nothing was sent there. */
export const awayOf = ({ call: { address, place }, envelope }: Passed): Refusal => {
  const { service } = address
  const say = faultWords.unreachable[1](service.name, place.target.shown)
  return new Refusal('upstream.unreachable', `${service.id}: answered neither the last calls nor a look since`, { say, rpcId: envelope === undefined ? null : errorId(envelope), headers: { 'retry-after': '2' } })
}

const silent: ReadonlySet<string | undefined> = new Set<RefusalCode>(['upstream.timeout', 'upstream.unreachable'])

/** How a call ended that was answered without the upstream's word. */
export const refusedOutcome = (error: unknown): Outcome => {
  const refusal = error instanceof Refusal ? error : new Refusal('fault')
  return { result: 'failed', status: refusal.row.status, code: refusal.code, bytesOut: 0 }
}

/** A message taken for a line is written down as the call that is made of it; the line's own listening and its farewell are nobody's calls. */
const isHalf = ({ call: { head, address } }: Passed, { status }: Outcome): boolean =>
  head.within ? head.method !== 'POST' : address.transport === 'sse' && head.method === 'POST' && status === 202

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
