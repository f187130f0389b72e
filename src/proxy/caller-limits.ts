// What one caller may take at once: so many calls and streams, and so much memory. Nobody's thousand calls
// stand in the way of another's ten.
import { Refusal } from '../kit/refusal.ts'
import type { Principal } from '../ports/people.ts'

/** Whom calls are counted for: the person, or the address where nobody signs in. */
export const callerKey = (principal: Principal | undefined, ip: string): string =>
  principal ? principal.personKey : `ip:${ip}`

/**
 * Takes a place for a caller; the function it returns gives it back, once. Throws `calls.limited` when all
 * are taken.
 */
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

// How much of what callers send is kept in memory while their calls are going: bounded for each caller, and
// for all of them together.

/** What one call, or one message of a WebSocket, keeps in memory. */
export interface HeldBytes {
  /**
   * It keeps this many bytes now. Throws `calls.bytes` when that is more than the caller, or everybody, may
   * keep.
   */
  grow(bytes: number): void
  release(): void
}

export interface BodyBudget {
  open(principal: Principal | undefined, ip: string): HeldBytes
}

/**
 * Bodies up to this size are not counted: their number is bounded by `max_concurrent_calls`, and nobody's
 * large bodies keep them out.
 */
export const uncountedBytes = 16_384

/**
 * A value of JSON costs about this much once it is read, however few characters it was: `[],` is an object of
 * its own.
 */
const bytesOfValue = 40

/** What is kept of a message beside its bytes: its text, and the values that were read from it. */
export const weightOf = (bytes: number, values: number): number => 2 * bytes + bytesOfValue * values

interface Pool {
  held: number
  readonly most: number
}

/** One caller's share of their pool. */
const share = 4

const tooMuch = (why: string): Refusal => new Refusal('calls.bytes', why, { headers: { 'retry-after': '1' } })

/**
 * `bytes`: what all callers together may keep. Half of it is for people who signed in, so that strangers at
 * services without login take nothing from them; one caller may keep a quarter of a half. Whoever keeps
 * nothing else may send one message of any size that `max_body` allows, while their half has room.
 */
export const createBodyBudget = (bytes: number): BodyBudget => {
  const half = (): Pool => ({ held: 0, most: bytes / 2 })
  const [people, strangers] = [half(), half()]
  const callers = new Map<string, number>()

  const grow = (pool: Pool, caller: string, more: number, alone: boolean): void => {
    const own = callers.get(caller) ?? 0
    if (!alone && own + more > pool.most / share)
      throw tooMuch(`${caller} keeps ${own} bytes and sends ${more} more`)
    if (pool.held > own && pool.held + more > pool.most)
      throw tooMuch(`all callers keep ${pool.held} bytes, ${caller} sends ${more} more`)
    pool.held += more
    callers.set(caller, own + more)
  }

  return {
    open(principal, ip) {
      const pool = principal ? people : strangers
      let caller: string | undefined
      let held = 0
      return {
        grow(size) {
          if (size <= uncountedBytes || size <= held) return
          caller ??= callerKey(principal, ip)
          grow(pool, caller, size - held, held === (callers.get(caller) ?? 0))
          held = size
        },
        release() {
          if (caller === undefined || held === 0) return
          pool.held -= held
          const left = (callers.get(caller) ?? 0) - held
          if (left > 0) callers.set(caller, left)
          else callers.delete(caller)
          held = 0
        },
      }
    },
  }
}
