// Signs and verifies the gateway's own JWTs (RFC 7519): ES256, a type for each purpose, keys that rotate underneath.
import { importJWK, jwtVerify } from 'jose'
import type { JWK, JWTPayload } from 'jose'
import { encodeBase64url, utf8 } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Signer } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import { algorithm, createKeySet, signingKey } from './key-set.ts'
import type { KeySet, KeySetDeps, SigningKey } from './key-set.ts'

export interface SignerDeps extends KeySetDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'defer' | 'es256'>
  readonly issuer: string
}

const leewayMs = 60_000
const unknownKidMs = 30_000
/** Imported keys kept; rotation leaves one a quarter. */
const maxImported = 50

const publicPart = ({ kid, jwk }: SigningKey): JWK => ({ kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y, kid, alg: algorithm, use: 'sig' }) as JWK

/** What is made of a key, once for each. */
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
  return async (data) => new Uint8Array(await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key, data))
}

const part = (json: object): string => encodeBase64url(utf8(JSON.stringify(json)))

/** The public key with this id. One we do not know may have been made elsewhere: looked up again, at most every 30 s. */
const createFind = (keySet: KeySet, now: () => number) => {
  let askedAt = -Infinity
  return async (kid: string): Promise<SigningKey | undefined> => {
    const known = (await keySet.current()).find((key) => key.kid === kid)
    if (known || now() - askedAt < unknownKidMs) return known
    askedAt = now()
    return (await keySet.current(0)).find((key) => key.kid === kid)
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
      const payload = { ...claims, jti: encodeBase64url(runtime.random(16)), iss: issuer, iat, exp: iat + Math.ceil(lifetimeMs / 1000) }
      // RFC 7515 §7.1.
      const signed = `${part({ alg: algorithm, typ, kid: key.kid })}.${part(payload)}`
      const signature = await (await signWith(key.kid, key.jwk))(utf8(signed))
      return `${signed}.${encodeBase64url(signature)}`
    },
    async verify(token, typ) {
      const now = runtime.now()
      const options = { issuer, typ, algorithms: [algorithm], requiredClaims: ['exp', 'iat', 'jti'], clockTolerance: leewayMs / 1000, currentDate: new Date(now) }
      const payload = await jwtVerify(token, verifierOf, options).then(
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
      return { keys: (await keySet.current()).map(publicPart) }
    },
  }
}
