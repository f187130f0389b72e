// How many calls one caller has going at once: nobody's thousand calls stand in the way of another's ten (security.md R9).
import { personKey } from '../kit/person-key.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Principal } from '../ports/people.ts'

/** Whom calls are counted for: the person, or the address where nobody signs in. */
export const callerKey = (principal: Principal | undefined, ip: string): string =>
  principal ? personKey(principal.person) : `ip:${ip}`

/** Takes a place for a caller; the function it returns gives it back, once. Throws `calls.limited` when all are taken. */
export type TakePermit = (caller: string) => () => void

export const createConcurrencyLimit = (most: number): TakePermit => {
  const taken = new Map<string, number>()
  return (caller) => {
    const before = taken.get(caller) ?? 0
    if (before >= most)
      throw new Refusal('calls.limited', `${caller} has ${before} calls in progress`, {
        headers: { 'retry-after': '1' },
      })
    taken.set(caller, before + 1)
    let given = false
    return () => {
      if (given) return
      given = true
      const left = (taken.get(caller) ?? 1) - 1
      if (left > 0) taken.set(caller, left)
      else taken.delete(caller)
    }
  }
}
