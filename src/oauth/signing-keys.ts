// Signs and verifies the gateway's own JWTs (RFC 7519): ES256, a type for each purpose, keys that rotate underneath.
import { SignJWT, importJWK, jwtVerify } from 'jose'
import type { JWK, JWTPayload } from 'jose'
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Signer } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import { algorithm, createKeySet, signingKey } from './key-set.ts'
import type { KeySet, KeySetDeps, SigningKey } from './key-set.ts'

export interface SignerDeps extends KeySetDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'defer'>
  readonly issuer: string
}

const leewayMs = 60_000
const unknownKidMs = 30_000
/** Imported keys kept; rotation leaves one a quarter. */
const maxImported = 50

const publicPart = ({ kid, jwk }: SigningKey): JWK => ({ kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y, kid, alg: algorithm, use: 'sig' }) as JWK

const createImport = (): ((name: string, jwk: JWK) => Promise<CryptoKey>) => {
  const imported = new Map<string, Promise<CryptoKey>>()
  return (name, jwk) => {
    const made = imported.get(name) ?? (importJWK(jwk, algorithm) as Promise<CryptoKey>)
    if (imported.size >= maxImported) imported.clear()
    imported.set(name, made)
    return made
  }
}

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
  const importKey = createImport()
  const find = createFind(keySet, () => runtime.now())

  const verifierOf = async ({ kid }: { kid?: string }): Promise<CryptoKey> => {
    const key = kid === undefined ? undefined : await find(kid)
    if (!key) throw new Error('unknown key')
    return importKey(`${key.kid} public`, publicPart(key))
  }

  return {
    algorithm,
    async sign(claims, { typ, lifetimeMs }) {
      const now = runtime.now()
      const key = signingKey(await keySet.current(), now)
      if (!key) throw new Refusal('storage.unavailable', 'no signing key')
      const iat = Math.floor(now / 1000)
      return new SignJWT({ ...claims, jti: encodeBase64url(runtime.random(16)) })
        .setProtectedHeader({ alg: algorithm, typ, kid: key.kid })
        .setIssuer(issuer)
        .setIssuedAt(iat)
        .setExpirationTime(iat + Math.ceil(lifetimeMs / 1000))
        .sign(await importKey(`${key.kid} private`, key.jwk))
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
