// Signs and verifies the gateway's own JWTs (RFC 7519): ES256, a type for each purpose, keys that rotate
// underneath.
import {
  type JWK,
  type JWTPayload,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  jwtVerify,
} from 'jose'
import { encodeBase64url, utf8 } from '../kit/bytes.ts'
import { markerKey } from '../kit/keyring.ts'
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Signer } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'

// The signing keys in the store and in memory: made once by the first process, rotated ahead of need, and
// cached so that the gateway works while the store is down.

export const algorithm = 'ES256'

export interface SigningKey {
  readonly kid: string
  /** Private P-256 key (RFC 7518 §6.2). */
  readonly jwk: JWK
  /** Epoch ms. */
  readonly createdAt: number
  /**
   * Signs from this time on; published before, so that every verifier knows it when its first token appears.
   */
  readonly signsFrom: number
  /**
   * The id of the root secret that was current when the set was written last; on the newest key
   * (kit/keyring.ts).
   */
  readonly root?: string
}

export interface KeySet {
  /**
   * The keys in use, oldest first; from memory when that is younger than `maxAgeMs` (default a minute), or
   * when the store cannot answer.
   */
  current(maxAgeMs?: number): Promise<readonly SigningKey[]>
  /**
   * Makes the next key before it is due. Where one was made that does not sign yet, that is the next one, and
   * `made` is false.
   */
  rotate(by: string): Promise<{ readonly key: SigningKey; readonly made: boolean }>
}

export interface KeySetDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'keys' | 'log' | 'defer'>
  readonly rotationMs: number
  /** Longest life of a token: so long a former key stays published after its successor began to sign. */
  readonly overlapMs: number
}

/** A copy older than this is read again. */
const staleMs = 60_000
/**
 * Longer than `staleMs`: when a key begins to sign, every process has read it, and so have most caches of the
 * JWKS.
 */
const publishAheadMs = 600_000
/** A copy up to this age is still used while it is read again. Well below `publishAheadMs`. */
const goodEnoughMs = 300_000
/** How long a failed read is not repeated. */
const retryMs = 1_000

/**
 * The keys still needed at `now`, oldest first: none whose successor has been signing for longer than any
 * token lives.
 */
export const keysInUse = <Key extends { readonly signsFrom: number }>(
  keys: readonly Key[],
  now: number,
  overlapMs: number,
): readonly Key[] => {
  const sorted = keys.toSorted((a, b) => a.signsFrom - b.signsFrom)
  return sorted.filter((_, i) => now < (sorted[i + 1]?.signsFrom ?? Infinity) + overlapMs + leewayMs)
}

/** The one that signs at `now`: the newest that has begun. */
export const signingKey = <Key extends { readonly signsFrom: number }>(
  keys: readonly Key[],
  now: number,
): Key | undefined =>
  keys.filter((key) => key.signsFrom <= now).toSorted((a, b) => b.signsFrom - a.signsFrom)[0]

const makeKey = async (now: number, signsFrom: number): Promise<SigningKey> => {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const jwk = await exportJWK(privateKey)
  return { kid: (await calculateJwkThumbprint(jwk)).slice(0, 16), jwk, createdAt: now, signsFrom }
}

/** With the id of the current root on the newest key alone. */
const rooted = (keys: readonly SigningKey[], root: string): readonly SigningKey[] =>
  keys.map(({ root: _, ...key }, i) => (i === keys.length - 1 ? { ...key, root } : key))

interface NextKeys {
  readonly now: number
  readonly rotationMs: number
  readonly root: string
  readonly reseal: boolean
  /** The next key is made before it is due. */
  readonly isForced: boolean
}

/**
 * The keys as they must be written now; undefined when they are right as they are. `reseal`: they may be
 * sealed with a former secret, or name one.
 */
const nextKeys = async (
  known: readonly SigningKey[],
  { now, rotationMs, root, reseal, isForced }: NextKeys,
): Promise<readonly SigningKey[] | undefined> => {
  const newest = known.at(-1)
  // The very first key signs at once, whatever the clocks of other processes say.
  if (!newest) return rooted([await makeKey(now, 0)], root)
  if (now >= newest.createdAt + rotationMs || (isForced && newest.signsFrom <= now))
    return rooted([...known, await makeKey(now, now + publishAheadMs)], root)
  return reseal ? rooted(known, root) : undefined
}

/** The very first key replaces none. */
const tellOf = (
  { log }: Pick<Runtime, 'log'>,
  known: readonly SigningKey[],
  keys: readonly SigningKey[],
  by: string | undefined,
): void => {
  const newest = keys.at(-1)
  if (known.length > 0 && keys.length > known.length)
    log('info', 'signing-keys.rotated', { key: newest?.kid, signs_from: newest?.signsFrom, by })
}

export const createKeySet = ({ runtime, rotationMs, overlapMs }: KeySetDeps): KeySet => {
  const singleFlight = createSingleFlight(runtime)
  const records = createRecords<readonly SigningKey[]>(runtime, markerKey)
  let loaded: { readonly keys: readonly SigningKey[]; readonly readAt: number } | undefined

  /**
   * Adds a key when there is none or the newest is due. When several processes try at once, one wins and the
   * others read what it wrote.
   */
  const refresh = async (by?: string): Promise<readonly SigningKey[]> => {
    for (;;) {
      const now = runtime.now()
      const kept = await records.get('')
      const known = keysInUse(kept?.value ?? [], now, overlapMs)
      const root = runtime.keys.current
      // Once a start: the former secret may be taken away, and the keys must not go with it. Processes in the
      // middle of a change would take turns otherwise.
      const reseal = !loaded && (kept?.former === true || known.at(-1)?.root !== root)
      const keys = await nextKeys(known, { now, rotationMs, root, reseal, isForced: by !== undefined })
      if (!keys) return known
      if (!(await records.put('', keys, { only: kept?.mark ?? 'absent' }))) continue
      tellOf(runtime, known, keys, by)
      return keys
    }
  }

  /** Keeps the cached keys when the store cannot be read. */
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
      const passed = known ? runtime.now() - known.readAt : Infinity
      // After the clock was set back nobody knows how old they are.
      const age = passed < 0 ? Infinity : passed
      if (known && age < maxAgeMs) return known.keys
      const keys = singleFlight('reload', reload)
      if (!known || maxAgeMs < staleMs || age >= goodEnoughMs) return keys
      // No request waits for a slow store: the key that signs now has been published for longer than this
      // copy is old.
      runtime.defer(keys)
      return known.keys
    },
    async rotate(by) {
      const before = (await refresh()).at(-1)
      const keys = await refresh(by)
      loaded = { keys, readAt: runtime.now() }
      const key = keys.at(-1) as SigningKey
      return { key, made: key.kid !== before?.kid }
    },
  }
}

export interface SignerDeps extends KeySetDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'defer' | 'es256'>
  readonly issuer: string
}

const leewayMs = 60_000
const unknownKidMs = 30_000
/** Imported keys kept; rotation leaves one a quarter. */
const maxImported = 50

const publicPart = ({ kid, jwk }: SigningKey): JWK =>
  ({ kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y, kid, alg: algorithm, use: 'sig' }) as JWK

/** Imports each key once. */
const createImport = <T>(make: (jwk: JWK) => T): ((kid: string, jwk: JWK) => T) => {
  const imported = new Map<string, T>()
  return (kid, jwk) => {
    const made = imported.get(kid) ?? make(jwk)
    if (imported.size >= maxImported) imported.clear()
    imported.set(kid, made)
    return made
  }
}

type Sign = (data: Uint8Array<ArrayBuffer>) => Uint8Array | Promise<Uint8Array>

const signByWebCrypto = async (jwk: JWK): Promise<Sign> => {
  const key = (await importJWK(jwk, algorithm)) as CryptoKey
  return async (data) =>
    new Uint8Array(await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key, data))
}

const part = (json: object): string => encodeBase64url(utf8(JSON.stringify(json)))

/**
 * The public key with this id. Another process may have made a key that is not in the cache: the store is
 * read again, at most every 30 s.
 */
const createFind = (keySet: KeySet, now: () => number) => {
  let askedAt = -Infinity
  return async (kid: string): Promise<SigningKey | undefined> => {
    const known = (await keySet.current()).find((key) => key.kid === kid)
    if (known || now() - askedAt < unknownKidMs) return known
    askedAt = now()
    return (await keySet.current(0)).find((key) => key.kid === kid)
  }
}

/** What administrators are told of the keys. */
const publishedBy = async (
  keySet: KeySet,
  { runtime, rotationMs, overlapMs }: KeySetDeps,
): ReturnType<Signer['published']> => {
  const keys = await keySet.current()
  const { createdAt: last = runtime.now() } = keys.at(-1) ?? {}
  return {
    keys: keys.map(({ kid, createdAt, signsFrom }) => ({ kid, createdAt, signsFrom })),
    nextAt: last + rotationMs,
    acceptedMs: overlapMs,
  }
}

export const createSigner = ({ issuer, ...deps }: SignerDeps): Signer => {
  const { runtime } = deps
  const keySet = createKeySet(deps)
  const signWith = createImport<Sign | Promise<Sign>>(runtime.es256 ?? signByWebCrypto)
  const importKey = createImport((jwk) => importJWK(jwk, algorithm) as Promise<CryptoKey>)
  const find = createFind(keySet, () => runtime.now())

  const verifierOf = async ({ kid }: { kid?: string }): Promise<CryptoKey> => {
    const key = kid === undefined ? undefined : await find(kid)
    if (!key) throw new Error('unknown key')
    return importKey(key.kid, publicPart(key))
  }

  return {
    algorithm,
    async sign(claims, { typ, lifetimeMs }) {
      const now = runtime.now()
      const key = signingKey(await keySet.current(), now)
      if (!key) throw new Refusal('storage.unavailable', 'no signing key')
      const iat = Math.floor(now / 1000)
      const payload = {
        ...claims,
        jti: encodeBase64url(runtime.random(16)),
        iss: issuer,
        iat,
        exp: iat + Math.ceil(lifetimeMs / 1000),
      }
      // RFC 7515 §7.1.
      const signed = `${part({ alg: algorithm, typ, kid: key.kid })}.${part(payload)}`
      const signature = await (await signWith(key.kid, key.jwk))(utf8(signed))
      return `${signed}.${encodeBase64url(signature)}`
    },
    async verify(token, typ) {
      const now = runtime.now()
      const options = {
        issuer,
        typ,
        algorithms: [algorithm],
        requiredClaims: ['exp', 'iat', 'jti'],
        clockTolerance: leewayMs / 1000,
        currentDate: new Date(now),
      }
      const payload = await jwtVerify(token, verifierOf, options).then(
        (verified): JWTPayload => verified.payload,
        (thrown: unknown) => {
          // A store that cannot answer is no verdict on the token.
          if (thrown instanceof Refusal) throw thrown
          return undefined
        },
      )
      return payload && (payload.exp ?? 0) * 1000 > now && (payload.iat ?? Infinity) * 1000 <= now + leewayMs
        ? payload
        : undefined
    },
    async jwks() {
      return { keys: (await keySet.current()).map(publicPart) }
    },
    published: () => publishedBy(keySet, deps),
    async rotate(by) {
      const { key, made } = await keySet.rotate(by)
      return { kid: key.kid, signsFrom: key.signsFrom, made }
    },
  }
}
