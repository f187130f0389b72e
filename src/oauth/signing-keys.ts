// The gateway's signing keys: made once, sealed in the store, rotated with overlap, and known well enough to answer while the store is down.
import { SignJWT, calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, jwtVerify } from 'jose'
import type { JWK, JWTPayload } from 'jose'
import { encodeBase64url } from '../kit/bytes.ts'
import { createOnce } from '../kit/once.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Signer } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Mark } from '../ports/store.ts'

interface StoredKey {
  readonly kid: string
  /** Private P-256 key (RFC 7518 §6.2). */
  readonly jwk: JWK
  /** Epoch ms. */
  readonly createdAt: number
  /** Signs from this time on; published before, so that every verifier knows it when the first token appears. */
  readonly signsFrom: number
}

interface Loaded {
  readonly keys: readonly StoredKey[]
  readonly mark: Mark | undefined
  readonly readAt: number
}

export interface SignerDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log'>
  readonly issuer: string
  readonly rotationMs: number
  /** Longest life of a token: so long a former key stays published after its successor began to sign. */
  readonly overlapMs: number
}

const storeKey = 'signing-keys'
const algorithm = 'ES256'
/** A process that has not looked for this long looks again before it signs or verifies. */
const staleMs = 60_000
const unknownKidMs = 30_000
/** Longer than `staleMs`: when a key begins to sign, every process has read it. */
const publishAheadMs = 600_000
const leewayMs = 60_000

const publicPart = ({ kid, jwk }: StoredKey): JWK => ({ kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y, kid, alg: algorithm, use: 'sig' }) as JWK

/** The keys still needed at `now`: none whose successor has been signing for longer than any token lives. Ascending by `signsFrom`. */
export const keysInUse = <Key extends { readonly signsFrom: number }>(keys: readonly Key[], now: number, overlapMs: number): readonly Key[] => {
  const sorted = keys.toSorted((a, b) => a.signsFrom - b.signsFrom)
  return sorted.filter((_, i) => {
    const successor = sorted[i + 1]
    return !successor || now < successor.signsFrom + overlapMs + leewayMs
  })
}

/** The one that signs at `now`: the newest that has begun. */
export const signingKey = <Key extends { readonly signsFrom: number }>(keys: readonly Key[], now: number): Key | undefined =>
  keys.filter((key) => key.signsFrom <= now).toSorted((a, b) => b.signsFrom - a.signsFrom)[0]

const makeKey = async (now: number, first: boolean): Promise<StoredKey> => {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const jwk = await exportJWK(privateKey)
  return { kid: (await calculateJwkThumbprint(jwk)).slice(0, 16), jwk, createdAt: now, signsFrom: first ? 0 : now + publishAheadMs }
}

export const createSigner = ({ runtime, issuer, rotationMs, overlapMs }: SignerDeps): Signer => {
  const once = createOnce()
  const imported = new Map<string, Promise<CryptoKey>>()
  let loaded: Loaded | undefined
  let askedForUnknown = 0

  const importKey = (kid: string, jwk: JWK): Promise<CryptoKey> => {
    const known = imported.get(kid)
    if (known) return known
    const made = importJWK(jwk, algorithm) as Promise<CryptoKey>
    imported.set(kid, made)
    return made
  }

  const read = async (): Promise<Loaded> => {
    const readAt = runtime.now()
    const entry = await runtime.store.get(storeKey)
    if (!entry) return { keys: [], mark: undefined, readAt }
    const text = await runtime.keys.open(entry.value, storeKey)
    // Without the root secret that sealed them the old keys are lost for good; new ones let people sign in again.
    if (text === undefined) runtime.log('error', 'signing-keys.unreadable', { fix: 'restore the former session_secret in previous_secrets' })
    return { keys: text === undefined ? [] : (JSON.parse(text) as StoredKey[]), mark: entry.mark, readAt }
  }

  /** Adds a key when there is none or the newest is due; of processes that try at once one wins and the others read what it wrote. */
  const refresh = async (): Promise<Loaded> => {
    for (;;) {
      const now = runtime.now()
      const found = await read()
      const kept = keysInUse(found.keys, now, overlapMs)
      const newest = kept.at(-1)
      if (newest && now < newest.createdAt + rotationMs) return { ...found, keys: kept }
      const keys = [...kept, await makeKey(now, !newest)]
      const sealed = await runtime.keys.seal(JSON.stringify(keys), storeKey)
      const mark = await runtime.store.put(storeKey, sealed, { only: found.mark ?? 'absent' })
      if (mark) return { keys, mark, readAt: now }
    }
  }

  /** From memory while it is fresh enough; from old memory when the store cannot answer. */
  const current = async (maxAgeMs = staleMs): Promise<Loaded> => {
    const known = loaded
    if (known && runtime.now() - known.readAt < maxAgeMs) return known
    try {
      const fresh = await once('refresh', refresh)
      loaded = fresh
      return fresh
    } catch (thrown) {
      if (!known || !(thrown instanceof Refusal)) throw thrown
      runtime.log('warn', 'signing-keys.from-memory', { why: thrown.why })
      loaded = { ...known, readAt: runtime.now() - staleMs + 1_000 }
      return loaded
    }
  }

  const find = async (kid: string): Promise<CryptoKey | undefined> => {
    const known = (await current()).keys.find((key) => key.kid === kid)
    if (known) return importKey(`${kid}/public`, publicPart(known))
    const now = runtime.now()
    if (now - askedForUnknown < unknownKidMs) return undefined
    askedForUnknown = now
    const fresh = (await current(0)).keys.find((key) => key.kid === kid)
    return fresh && importKey(`${kid}/public`, publicPart(fresh))
  }

  return {
    algorithm,
    async sign(claims, { typ, lifetimeMs }) {
      const now = runtime.now()
      const key = signingKey((await current()).keys, now)
      if (!key) throw new Refusal('storage.unavailable', 'no signing key')
      const iat = Math.floor(now / 1000)
      return new SignJWT({ ...claims, jti: encodeBase64url(runtime.random(16)) })
        .setProtectedHeader({ alg: algorithm, typ, kid: key.kid })
        .setIssuer(issuer)
        .setIssuedAt(iat)
        .setExpirationTime(iat + Math.ceil(lifetimeMs / 1000))
        .sign(await importKey(`${key.kid}/private`, key.jwk))
    },
    async verify(token, typ) {
      const resolve = async ({ kid }: { kid?: string }): Promise<CryptoKey> => {
        const key = kid === undefined ? undefined : await find(kid)
        if (!key) throw new Error('unknown key')
        return key
      }
      const now = runtime.now()
      const options = { issuer, typ, algorithms: [algorithm], requiredClaims: ['exp', 'iat', 'jti'], clockTolerance: leewayMs / 1000, currentDate: new Date(now) }
      const payload = await jwtVerify(token, resolve, options).then(
        (verified): JWTPayload => verified.payload,
        (thrown: unknown) => {
          // A store that cannot answer is no verdict on the token.
          if (thrown instanceof Refusal) throw thrown
          return undefined
        },
      )
      return payload && (payload.exp ?? 0) * 1000 > now && (payload.iat ?? Infinity) * 1000 <= now + leewayMs ? payload : undefined
    },
    async jwks() {
      return { keys: (await current()).keys.map(publicPart) }
    },
  }
}
