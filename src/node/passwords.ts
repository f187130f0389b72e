// Password hashing on Node: argon2id (RFC 9106); scrypt strings of other deployments are verified too.
import { argon2, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import {
  type Phc,
  formatPhc,
  hashByScrypt,
  isScrypt,
  parsePhc,
  verifyByScrypt,
} from '../kit/password-hash.ts'
import type { Passwords } from '../ports/runtime.ts'

const runArgon2 = promisify(argon2)
const runScrypt = promisify<Uint8Array, Uint8Array, number, object, Buffer>(scrypt)

// OWASP's recommendation for argon2id with the most memory, 46 MiB and one pass: glibc returns blocks above
// 32 MiB to the system at once, but each thread of the pool keeps smaller ones for ever (measured after 32
// sign-ins: 49 MiB resident against 182 with 19 MiB).
const today = { m: 47_104, t: 1, p: 1 } as const
/** Memory times passes of the cheapest of those recommendations (7 MiB, five passes). */
const leastCost = 7168 * 5
const leastMemory = 7168
/** Half of the thread pool: a burst of sign-ins delays nothing else, and takes at most 92 MiB. */
const atOnce = 2
const version = 19

// A stored hash may cost at most 1 GiB and 64 passes.
const isArgon2id = ({ id, version: v, params: { m = 0, t = 0, p = 0 } }: Phc): boolean =>
  id === 'argon2id' && v === version && p >= 1 && p <= 16 && m >= 8 * p && m <= 1_048_576 && t >= 1 && t <= 64

/** Runs at most `most` tasks at once, the others in order. */
const createQueue = (most: number) => {
  const waiting: (() => void)[] = []
  let running = 0
  return async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve))
    else running++
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }
}

const compute = (password: string, { params: { m = 0, t = 0, p = 0 }, salt, hash }: Phc): Promise<Buffer> =>
  runArgon2('argon2id', {
    message: password,
    nonce: salt,
    memory: m,
    passes: t,
    parallelism: p,
    tagLength: hash.length,
  })

/** A hash for Workers, which have no argon2id. */
export const hashForWorkers = (password: string): Promise<string> =>
  hashByScrypt(runScrypt, password, new Uint8Array(randomBytes(16)))

export const createPasswords = (): Passwords => {
  const queue = createQueue(atOnce)
  const derive = (password: string, phc: Phc): Promise<Buffer> => queue(() => compute(password, phc))
  const fresh = (): Phc => ({
    id: 'argon2id',
    version,
    params: today,
    salt: new Uint8Array(randomBytes(16)),
    hash: new Uint8Array(32),
  })
  return {
    async hash(password) {
      const phc = fresh()
      return formatPhc({ ...phc, hash: new Uint8Array(await derive(password, phc)) })
    },
    async verify(password, text) {
      const phc = parsePhc(text)
      if (phc && isScrypt(phc)) return verifyByScrypt(runScrypt, password, phc)
      if (phc && isArgon2id(phc)) return timingSafeEqual(await derive(password, phc), phc.hash)
      // An unknown format takes as long as any other.
      await derive(password, fresh())
      return false
    },
    outdated(text) {
      const phc = parsePhc(text)
      if (!phc || !isArgon2id(phc)) return true
      const { m = 0, t = 0 } = phc.params
      return m < leastMemory || m * t < leastCost || phc.hash.length < 32
    },
  }
}
