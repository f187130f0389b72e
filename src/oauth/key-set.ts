// The signing keys at rest and in memory: made once by whichever process is first, rotated ahead of need, known well enough to work while the store is down.
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose'
import type { JWK } from 'jose'
import { createOnce } from '../kit/once.ts'
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { markerKey } from '../kit/sealed-with.ts'
import type { Runtime } from '../ports/runtime.ts'

export const algorithm = 'ES256'

export interface SigningKey {
  readonly kid: string
  /** Private P-256 key (RFC 7518 §6.2). */
  readonly jwk: JWK
  /** Epoch ms. */
  readonly createdAt: number
  /** Signs from this time on; published before, so that every verifier knows it when its first token appears. */
  readonly signsFrom: number
  /** The id of the root secret that was current when the set was written last; on the newest key (kit/sealed-with.ts). */
  readonly root?: string
}

export interface KeySet {
  /** The keys in use, oldest first; from memory when that is younger than `maxAgeMs` (default a minute), or when the store cannot answer. */
  current(maxAgeMs?: number): Promise<readonly SigningKey[]>
}

export interface KeySetDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'keys' | 'log' | 'defer'>
  readonly rotationMs: number
  /** Longest life of a token: so long a former key stays published after its successor began to sign. */
  readonly overlapMs: number
}

/** A process that has not looked for this long looks again. */
const staleMs = 60_000
/** Longer than `staleMs`: when a key begins to sign, every process has read it, and so have most caches of the JWKS. */
const publishAheadMs = 600_000
/** A copy this old is still answered while it is read again. Well below `publishAheadMs`. */
const goodEnoughMs = 300_000
/** How long a failed read is not repeated. */
const retryMs = 1_000
const leewayMs = 60_000

/** The keys still needed at `now`, oldest first: none whose successor has been signing for longer than any token lives. */
export const keysInUse = <Key extends { readonly signsFrom: number }>(keys: readonly Key[], now: number, overlapMs: number): readonly Key[] => {
  const sorted = keys.toSorted((a, b) => a.signsFrom - b.signsFrom)
  return sorted.filter((_, i) => now < (sorted[i + 1]?.signsFrom ?? Infinity) + overlapMs + leewayMs)
}

/** The one that signs at `now`: the newest that has begun. */
export const signingKey = <Key extends { readonly signsFrom: number }>(keys: readonly Key[], now: number): Key | undefined =>
  keys.filter((key) => key.signsFrom <= now).toSorted((a, b) => b.signsFrom - a.signsFrom)[0]

const makeKey = async (now: number, signsFrom: number): Promise<SigningKey> => {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const jwk = await exportJWK(privateKey)
  return { kid: (await calculateJwkThumbprint(jwk)).slice(0, 16), jwk, createdAt: now, signsFrom }
}

/** With the id of the current root on the newest key alone. */
const rooted = (keys: readonly SigningKey[], root: string): readonly SigningKey[] =>
  keys.map(({ root: _, ...key }, i) => (i === keys.length - 1 ? { ...key, root } : key))

export const createKeySet = ({ runtime, rotationMs, overlapMs }: KeySetDeps): KeySet => {
  const once = createOnce(runtime)
  const records = createRecords<readonly SigningKey[]>(runtime, markerKey)
  let loaded: { readonly keys: readonly SigningKey[]; readonly readAt: number } | undefined

  /** Adds a key when there is none or the newest is due; of processes that try at once one wins and the others read what it wrote. */
  const refresh = async (): Promise<readonly SigningKey[]> => {
    for (;;) {
      const now = runtime.now()
      const kept = await records.get('')
      const known = keysInUse(kept?.value ?? [], now, overlapMs)
      const newest = known.at(-1)
      const due = !newest || now >= newest.createdAt + rotationMs
      // Once a start: the former secret may be taken away, and the keys must not go with it. Processes in the middle of a change would take turns otherwise.
      const reseal = !loaded && (kept?.former === true || newest?.root !== runtime.keys.current)
      if (!due && !reseal) return known
      // The very first key signs at once, whatever the clocks of other processes say.
      const keys = rooted(due ? [...known, await makeKey(now, newest ? now + publishAheadMs : 0)] : known, runtime.keys.current)
      if (await records.put('', keys, { only: kept?.mark ?? 'absent' })) return keys
    }
  }

  /** What is known stays where the store cannot answer. */
  const reload = async (): Promise<readonly SigningKey[]> => {
    const readAt = runtime.now()
    try {
      loaded = { keys: await refresh(), readAt }
    } catch (thrown) {
      if (!loaded || !(thrown instanceof Refusal)) throw thrown
      runtime.log('warn', 'signing-keys.from-memory', { why: thrown.why })
      loaded = { keys: loaded.keys, readAt: readAt - staleMs + retryMs }
    }
    return loaded.keys
  }

  return {
    async current(maxAgeMs = staleMs) {
      const known = loaded
      const age = known ? runtime.now() - known.readAt : Infinity
      if (known && age < maxAgeMs) return known.keys
      const keys = once('reload', reload)
      if (!known || maxAgeMs < staleMs || age >= goodEnoughMs) return keys
      // Nobody waits for a slow store: whichever key signs by now has been published for longer than this copy is old.
      runtime.defer(keys)
      return known.keys
    },
  }
}
