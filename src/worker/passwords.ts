// Password hashing on Workers: scrypt, because workerd has no argon2. An argon2id string is refused at its door, not taken for a wrong password.
// oxlint-disable-next-line no-restricted-imports -- part of nodejs_compat; WebCrypto has no memory-hard function
import { scrypt } from 'node:crypto'
import { hashByScrypt, isScrypt, isWeakScrypt, parsePhc, verifyByScrypt, type Scrypt } from '../kit/phc.ts'
import type { Passwords } from '../ports/runtime.ts'
import { createTurns } from './turns.ts'

const run: Scrypt = (password, salt, length, cost) =>
  new Promise((resolve, reject) => {
    scrypt(password, salt, length, cost, (error: Error | null, key: Uint8Array) => (error ? reject(error) : resolve(new Uint8Array(key))))
  })

const fresh = (): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(16))

/** `now`: epoch ms. */
export const createPasswords = ({ now }: { readonly now: () => number }): Passwords => ({
  turn: createTurns({ now }),
  hash: (password) => hashByScrypt(run, password, fresh()),
  async verify(password, text) {
    const phc = parsePhc(text)
    if (phc && isScrypt(phc)) return verifyByScrypt(run, password, phc)
    if (phc?.id.startsWith('argon2')) throw new RangeError('argon2 password hashes cannot be verified on Workers: create a hash with postern hash-password --scrypt')
    // A string nobody can verify costs what any other does.
    await hashByScrypt(run, password, fresh())
    return false
  },
  outdated(text) {
    const phc = parsePhc(text)
    return !phc || !isScrypt(phc) || isWeakScrypt(phc)
  },
})
