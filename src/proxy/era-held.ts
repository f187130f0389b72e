// Calls that wait for the client's next try (2026-07-28 multi-round-trip requests). The state that a try shows is a name that nobody guesses, and good for the very person,
// client and request alone, once.
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import { canonicalRequest } from './request-state.ts'
import { type Id, paramsOf, type Rpc } from '../mcp/rpc.ts'
import type { NewerCall } from './era-newer-call.ts'
import type { Runtime } from '../ports/runtime.ts'

export interface HeldCalls {
  /** A new state for this call; undefined where the caller has too many that wait. `give` is asked for the call when the next try comes. */
  hold(owner: string, request: string, call: () => NewerCall): string | undefined
  /** The call of that state. Throws `era.state` for one that is not of this caller and request, or too old. */
  take(state: string, owner: string, message: Rpc): Promise<NewerCall>
}

const prefix = 'postern-call.'
const lifetimeMs = 15 * 60_000
const mostEach = 16
const mostAll = 1000

export const isHeldState = (state: unknown): state is string => typeof state === 'string' && state.startsWith(prefix)

/** One text for one request, whatever round of it. */
export const requestOf = (digest: Runtime['digest'], message: Rpc): string => digest(canonicalRequest(message))

interface Held {
  readonly owner: string
  readonly request: string
  readonly call: () => NewerCall
  readonly late: ReturnType<typeof setTimeout>
}

export const createHeldCalls = ({ random, digest }: Pick<Runtime, 'random' | 'digest'>): HeldCalls => {
  const held = new Map<string, Held>()
  return {
    hold(owner, request, call) {
      const own = [...held.values()].filter((one) => one.owner === owner).length
      if (own >= mostEach || held.size >= mostAll) return undefined
      const state = prefix + encodeBase64url(random(32))
      const late = setTimeout(() => {
        held.delete(state)
        call().cancel()
      }, lifetimeMs)
      held.set(state, { owner, request, call, late })
      return state
    },
    async take(state, owner, message) {
      const found = held.get(state)
      const request = requestOf(digest, message)
      if (!found || found.owner !== owner || found.request !== request) throw new Refusal('era.state', found ? 'of another caller or request' : 'not waiting here', { rpcId: message['id'] as Id })
      held.delete(state)
      clearTimeout(found.late)
      return found.call()
    },
  }
}

export const givenState = (message: Rpc): unknown => paramsOf(message)['requestState']
