// Password hashing on Node: argon2id (RFC 9106); scrypt strings of other deployments are verified too.
import { argon2, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { formatPhc, hashByScrypt, isScrypt, parsePhc, verifyByScrypt, type Phc } from '../kit/phc.ts'
import type { Passwords } from '../ports/runtime.ts'

const runArgon2 = promisify(argon2)
const runScrypt = promisify<Uint8Array, Uint8Array, number, object, Buffer>(scrypt)

// OWASP's first recommendation for argon2id: 19 MiB, two passes, one lane. At most four run at once, on the thread pool.
const today = { m: 19_456, t: 2, p: 1 } as const
const version = 19

// Bounds of what a stored string may make the gateway compute: 1 GiB, 64 passes.
const isArgon2id = ({ id, version: v, params: { m = 0, t = 0, p = 0 } }: Phc): boolean =>
  id === 'argon2id' && v === version && p >= 1 && p <= 16 && m >= 8 * p && m <= 1_048_576 && t >= 1 && t <= 64

const derive = (password: string, { params: { m = 0, t = 0, p = 0 }, salt, hash }: Phc): Promise<Buffer> =>
  runArgon2('argon2id', { message: password, nonce: salt, memory: m, passes: t, parallelism: p, tagLength: hash.length })

/** A hash for a deployment that has no argon2id. */
export const hashForWorkers = (password: string): Promise<string> => hashByScrypt(runScrypt, password, new Uint8Array(randomBytes(16)))

export const createPasswords = (): Passwords => {
  const fresh = (): Phc => ({ id: 'argon2id', version, params: today, salt: new Uint8Array(randomBytes(16)), hash: new Uint8Array(32) })
  return {
    async hash(password) {
      const phc = fresh()
      return formatPhc({ ...phc, hash: new Uint8Array(await derive(password, phc)) })
    },
    async verify(password, text) {
      const phc = parsePhc(text)
      if (phc && isScrypt(phc)) return verifyByScrypt(runScrypt, password, phc)
      if (phc && isArgon2id(phc)) return timingSafeEqual(await derive(password, phc), phc.hash)
      // A string nobody can verify costs what any other does.
      await derive(password, fresh())
      return false
    },
    outdated(text) {
      const phc = parsePhc(text)
      if (!phc || !isArgon2id(phc)) return true
      const { m = 0, t = 0 } = phc.params
      return m < today.m || t < today.t || phc.hash.length < 32
    },
  }
}
