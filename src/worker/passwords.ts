// Password hashing on Workers: scrypt, because workerd has no argon2. An argon2id hash is an error, not a
// wrong password.
// oxlint-disable-next-line no-restricted-imports -- part of nodejs_compat; WebCrypto has no memory-hard function
import { scrypt } from 'node:crypto'
import { networkOf } from '../kit/addresses.ts'
import {
  type Scrypt,
  hashByScrypt,
  isScrypt,
  isWeakScrypt,
  parsePhc,
  verifyByScrypt,
} from '../kit/password-hash.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Passwords } from '../ports/runtime.ts'
import type { Counters } from '../ports/store.ts'

// The order of password checks. A check (scrypt) takes the only thread of an isolate for a tenth of a second,
// so checks are spaced out and other requests are answered in between.

/** Time between the starts of two checks, ms: checks take less than half of the thread's time. */
const everyMs = 250
/**
 * Longest wait for a turn, ms. Browsers that signed in before may wait longer, so that a flood of strangers
 * does not lock them out.
 */
const [longestMs, longestKnownMs] = [1000, 2000]

interface TurnsOptions {
  /** Epoch ms. */
  readonly now: () => number
  readonly sleep?: (ms: number) => Promise<void>
}

const sleeping = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * A turn is a point in time, and each request waits for its own: the turn of a request that ended passes by
 * itself. No request waits for the work of another, because the platform may cut that off.
 */
export const createTurns = ({ now, sleep = sleeping }: TurnsOptions): ((known: boolean) => Promise<void>) => {
  let next = 0
  return async (known) => {
    const at = now()
    // A clock that was set back must not make anybody wait.
    if (next - at > longestKnownMs + everyMs) next = at
    const wait = Math.max(0, next - at)
    if (wait > (known ? longestKnownMs : longestMs))
      throw new Refusal('sign-in.busy', `${wait} ms of password checks wait`, {
        headers: { 'retry-after': String(Math.ceil(wait / 1000)) },
      })
    next = at + wait + everyMs
    if (wait > 0) await sleep(wait)
  }
}

const run: Scrypt = (password, salt, length, cost) =>
  new Promise((resolve, reject) => {
    scrypt(password, salt, length, cost, (error: Error | null, key: Uint8Array) =>
      error ? reject(error) : resolve(new Uint8Array(key)),
    )
  })

const fresh = (): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(16))

/** `now`: epoch ms. */
export const createPasswords = ({ now }: { readonly now: () => number }): Passwords => ({
  turn: createTurns({ now }),
  hash: (password) => hashByScrypt(run, password, fresh()),
  async verify(password, text) {
    const phc = parsePhc(text)
    if (phc && isScrypt(phc)) return verifyByScrypt(run, password, phc)
    if (phc?.id.startsWith('argon2'))
      throw new RangeError(
        'argon2 password hashes cannot be verified on Workers: create a hash with postern hash-password --scrypt',
      )
    // An unknown format takes as long as any other.
    await hashByScrypt(run, password, fresh())
    return false
  },
  outdated(text) {
    const phc = parsePhc(text)
    return !phc || !isScrypt(phc) || isWeakScrypt(phc)
  },
})

// The platform's Rate Limiting in front of sign-ins; the binding is optional
// (developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit).

interface Limiter {
  limit(options: { readonly key: string }): Promise<{ readonly success: boolean }>
}

/**
 * Where the binding exists, it refuses a flood before the flood reaches the object, which has to answer
 * everybody.
 */
export const behindRateLimit =
  (limiter: Limiter | undefined, act: Counters['act']): Counters['act'] =>
  async (actions) => {
    for (const action of limiter ? actions : []) {
      if (action.do !== 'use' || action.kind !== 'sign-in-address' || typeof action.who === 'string') continue
      const { success } = await (limiter as Limiter).limit({ key: networkOf(action.who.ip) })
      if (!success) return 60_000
    }
    return act(actions)
  }
