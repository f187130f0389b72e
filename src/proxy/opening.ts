// From a caller who is known to an admission: a place among the calls that are going, the session, the body, and who it is in the upstream's words.
import { Refusal } from '../kit/refusal.ts'
import type { Admission, Answer, ReadBody } from '../ports/calls.ts'
import type { Principal } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { BodyBudget, Holding } from './body-budget.ts'
import type { Knock } from './knock.ts'
import { receive } from './message.ts'
import { refusedCall } from './record.ts'
import { createMcpSessions } from './sessions.ts'
import { createShown, type ShownDeps } from './shown.ts'
import { callerKey, type TakeSlot } from './slots.ts'

export interface OpeningDeps extends Omit<ShownDeps, 'runtime' | 'sessions'> {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'random' | 'keys' | 'log' | 'digest'>
  /** Places of open streams, WebSockets among them. */
  readonly streamSlot: TakeSlot
  readonly callSlot: TakeSlot
  readonly budget: BodyBudget
  /** Revisions that are let through, newest first. */
  readonly supported: readonly string[]
}

const nobody: readonly string[] = []

/** The one session a request names; a revision without sessions has none, whatever the header says (2026-07-28 transports). */
const sessionOf = ({ inbound, modern, address }: Knock): string | undefined => {
  if (modern || address.transport === 'sse' || inbound.sessions.length === 0) return undefined
  if (inbound.sessions.length > 1) throw new Refusal('request.malformed', 'two Mcp-Session-Id')
  return inbound.sessions[0]
}

/** What a line asks for besides its messages takes no place: the line has one. */
const free = (): void => undefined

/** What a call takes while it is going. */
interface Taken {
  readonly slot: () => void
  readonly holding: Holding
}

const giveBack = ({ slot, holding }: Taken): void => {
  slot()
  holding.release()
}

/** From a caller who is known to what becomes of the call. Rejects with `Refusal`. */
export type Open = (call: Knock, principal: Principal | undefined, readBody: ReadBody) => Promise<Admission | Answer>

export const createOpening = ({ runtime, streamSlot, callSlot, budget, supported, ...deps }: OpeningDeps): Open => {
  const { record } = deps
  const sessions = createMcpSessions({ runtime, record })
  const shown = createShown({ ...deps, runtime, sessions })

  const prepare = async (call: Knock, principal: Principal | undefined, readBody: ReadBody, { slot, holding }: Taken): Promise<Admission | Answer> => {
    const session = sessionOf(call)
    if (session !== undefined && principal) await sessions.check(session, call.address.service, principal)
    const received = call.head.method === 'POST' ? await receive(call, readBody, holding, supported) : undefined
    const about = principal ? call.place.identity.headers(principal) : nobody
    return shown({ call, principal, session, ...received, identity: about instanceof Promise ? await about : about, release: () => giveBack({ slot, holding }) })
  }

  return async (call, principal, readBody) => {
    const { method, within, ip } = call.head
    let taken: Taken | undefined
    try {
      const slot = within && method !== 'POST' ? free : (method === 'GET' ? streamSlot : callSlot)(callerKey(principal, ip))
      taken = { slot, holding: budget.open(principal, ip) }
      return await prepare(call, principal, readBody, taken)
    } catch (error) {
      // The caller is known, so what they were refused belongs in the trail; the place they held goes back.
      if (taken) giveBack(taken)
      const { refusal, event } = refusedCall(call, principal, error, runtime.now())
      record(event)
      throw refusal
    }
  }
}
