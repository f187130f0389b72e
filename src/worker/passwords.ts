// Password hashing on Workers: scrypt, because workerd has no argon2. An argon2id string is refused at its door, not taken for a wrong password.
// oxlint-disable-next-line no-restricted-imports -- part of nodejs_compat; WebCrypto has no memory-hard function
import { scrypt } from 'node:crypto'
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

// Whose password is checked when. A check (scrypt) takes the only thread of an isolate for a tenth of a second, so checks keep a distance and everybody else is answered
// in between.

/** From the start of one check to that of the next, ms: less than half of the thread's time, in front of whoever waits. */
const everyMs = 250
/** How long one may wait for a turn, ms. A crowd of strangers does not keep out whom a browser knows. */
const [longestMs, longestKnownMs] = [1000, 2000]

interface TurnsOptions {
  /** Epoch ms. */
  readonly now: () => number
  readonly sleep?: (ms: number) => Promise<void>
}

const sleeping = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * Turns are given out by time, and whoever has one waits for it alone: a turn whose owner hung up passes by itself, and no request waits for what another one does, which
 * on Workers may be cut off.
 */
export const createTurns = ({ now, sleep = sleeping }: TurnsOptions): ((known: boolean) => Promise<void>) => {
  let next = 0
  return async (known) => {
    const at = now()
    // A clock that was set back keeps nobody waiting.
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
    // A string nobody can verify costs what any other does.
    await hashByScrypt(run, password, fresh())
    return false
  },
  outdated(text) {
    const phc = parsePhc(text)
    return !phc || !isScrypt(phc) || isWeakScrypt(phc)
  },
})
