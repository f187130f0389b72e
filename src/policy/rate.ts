// How often somebody may ask, in one table: what is counted, per what, and how many in how long.
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { Refusal } from '../kit/refusal.ts'
import type { Limit, PaceKind } from '../ports/rooms.ts'

interface Pace {
  readonly points: number
  readonly seconds: number
  /** Counted on a loopback gateway too, where every visitor has the same address. */
  readonly always?: boolean
}

/**
 * Generous where many people share one egress address (hosted clients register and redeem for everybody from a handful of addresses),
 * strict where a password is guessed.
 */
export const paces = {
  register: { points: 600, seconds: 60 },
  authorize: { points: 600, seconds: 60 },
  token: { points: 6000, seconds: 60 },
  'sign-in': { points: 10, seconds: 60, always: true },
  'sign-in-address': { points: 100, seconds: 60, always: true },
} as const satisfies Record<PaceKind, Pace>

/** Counts in this process. Throws `rate.limited` with `Retry-After` (RFC 9110 §10.2.3) when the pace is exceeded. */
export const createLimit = ({ loopback }: { readonly loopback: boolean }): Limit => {
  const limiters = new Map(
    Object.entries(paces as Record<string, Pace>)
      .filter(([, pace]) => pace.always || !loopback)
      .map(([kind, pace]) => [kind, new RateLimiterMemory({ keyPrefix: kind, points: pace.points, duration: pace.seconds })]),
  )
  const count = async (kind: PaceKind, key: string): Promise<void> => {
    const limiter = limiters.get(kind)
    if (!limiter) return
    const verdict = await limiter.consume(key).catch((reason: unknown) => reason)
    if (!(verdict instanceof RateLimiterRes)) throw verdict
    if (verdict.consumedPoints <= limiter.points) return
    throw new Refusal('rate.limited', `${kind} by ${key}`, { headers: { 'retry-after': String(Math.max(1, Math.ceil(verdict.msBeforeNext / 1000))) } })
  }
  const forgive: Limit['forgive'] = async (kind, key) => {
    await limiters.get(kind)?.reward(key)
  }
  return Object.assign(count, { forgive })
}
