// Tells clients that listen that their lists have changed, where the access rules or pinned definitions change what
// they are shown: the server knows nothing of that.
import { isRecord } from '../mcp/json-rpc.ts'
import { listChanges, subscriptionKey } from '../mcp/translate.ts'
import type { NewestPrincipal } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type { Policy } from '../ports/policy.ts'
import type { Timer } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'

/** Who listens, and to what. */
export interface Listener {
  readonly service: Service
  readonly principal: Principal | undefined
  /** The request of a subscription (2026-07-28), as it came; absent: everything is told. */
  readonly subscription?: Uint8Array | undefined
}

/** Calls `tell` with each message, until what it returns is called. */
export type WatchLists = (listener: Listener, tell: (message: string) => void) => () => void

/** Streams hear of a change within two seconds: rules of the store are read once a second. */
const everyMs = 900

/** The messages that this client wants to hear. */
const messagesFor = (subscription: Uint8Array | undefined): readonly string[] => {
  const all = Object.entries(listChanges)
  if (!subscription) return all.map(([method]) => JSON.stringify({ jsonrpc: '2.0', method }))
  const { id, params } = JSON.parse(new TextDecoder().decode(subscription)) as {
    readonly id?: unknown
    readonly params?: { readonly notifications?: unknown }
  }
  const wanted = isRecord(params?.notifications) ? params.notifications : {}
  return all
    .filter(([, { filter }]) => wanted[filter] === true)
    .map(([method]) =>
      JSON.stringify({ jsonrpc: '2.0', method, params: { _meta: { [subscriptionKey]: id } } }),
    )
}

export const createWatchLists =
  (policy: Policy, timer: Timer, newest: NewestPrincipal): WatchLists =>
  ({ service, principal, subscription }, tell) => {
    const outlook = (): string => {
      // What is read now is seen at the next look. Without an answer nothing is known to have changed.
      policy.fresh()?.catch(() => undefined)
      const rules = policy.of(service)
      const caller = principal && newest(principal)
      rules?.pins?.load(caller)?.catch(() => undefined)
      return rules?.outlook(caller) ?? ''
    }
    let before = outlook()
    let stopped = false
    let cancel = (): void => undefined
    const look = (): void => {
      const now = outlook()
      if (now !== before) for (const message of messagesFor(subscription)) tell(message)
      before = now
    }
    const arm = (): void => {
      if (stopped) return
      cancel = timer(everyMs, () => {
        look()
        // After what runs now: a clock that jumps is one look and not many.
        queueMicrotask(arm)
      })
    }
    arm()
    return () => {
      stopped = true
      cancel()
    }
  }
