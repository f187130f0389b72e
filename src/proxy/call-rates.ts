// The step of the rate limits: a call that is one too many is refused before anything goes to its server.
import { Refusal } from '../kit/refusal.ts'
import { rpcIdOf } from '../mcp/envelope.ts'
import type { CallRates, RateExceeded } from '../ports/policy.ts'
import type { CallMessage, PermittedCall, ReadCall, Step, StepResult } from './admitted-call.ts'

export interface RatesDeps {
  /** Absent: no limits. */
  readonly rates?: CallRates | undefined
}

const refusalOf = ({ waitMs, calls, withinMs, per }: RateExceeded): Refusal => {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000))
  return new Refusal('calls.rate', `more than ${calls} in ${withinMs / 1000} s per ${per}`, {
    headers: { 'retry-after': String(seconds) },
    // On a connection there are no header fields.
    rpcData: { retry_after: seconds },
    say: `Too many calls. Try again in ${seconds === 1 ? 'a second' : `${seconds} seconds`}.`,
  })
}

/** Of a batch nothing is passed on, and each request in it is told so. */
const refuse = ({ envelope }: PermittedCall & CallMessage, exceeded: RateExceeded): never => {
  const refusal = refusalOf(exceeded)
  const { why, detail } = refusal
  if (!envelope?.batch) throw new Refusal('calls.rate', why, { ...detail, rpcId: rpcIdOf(envelope) })
  const answers = envelope.messages.flatMap(({ kind, id }) =>
    kind === 'request' ? [{ id: id ?? null, refusal }] : [],
  )
  throw new Refusal('calls.rate', why, { ...detail, answers })
}

/** Throws `calls.rate`. */
export const checkRates: Step<RatesDeps, ReadCall, ReadCall> = {
  name: 'rate limits',
  make({ rates }) {
    if (!rates) return (): StepResult => undefined
    return (call) => {
      if (!rates.services.limited) return undefined
      const { envelope, head, address, principal } = call
      // What a client of HTTP+SSE posts becomes a call of its own, and what the gateway asks for itself is no
      // call of anybody.
      if (!envelope || address.transport === 'sse' || head.within === 'uncounted') return undefined
      const exceeded = rates.of(address.service)?.({ principal, ip: head.ip }, envelope.messages)
      if (exceeded instanceof Promise) return exceeded.then((found) => found && refuse(call, found))
      return exceeded && refuse(call, exceeded)
    }
  },
}
