// The key that signs the audit trail: made by the first gateway that writes a trail, and kept in its file, sealed with
// the root secret, beside its public part.
import {
  type JsonWebKey,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  sign,
  verify,
} from 'node:crypto'
import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { KeyRing } from '../kit/keyring.ts'
import type { AuditKey, AuditSigner, VerifySignature } from '../stores/audit-signatures.ts'

/** A key as the file has it. */
export interface StoredKey {
  readonly kid: string
  /** Public JWK. */
  readonly jwk: string
  /** The private one, sealed. */
  readonly sealed: string
}

export interface TrailKey extends StoredKey {
  readonly private: JsonWebKey
}

/** The oldest first. */
export const storedKeysIn = (db: DatabaseSync): readonly StoredKey[] =>
  db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'key'").get()
    ? (db.prepare('SELECT kid, jwk, sealed FROM key ORDER BY rowid').all() as object as readonly StoredKey[])
    : []

/** Throws SQLite's error. */
export const readStoredKeys = (path: string): readonly StoredKey[] => {
  if (!existsSync(path)) return []
  const db = new DatabaseSync(path, { readOnly: true, timeout: 5000 })
  try {
    return storedKeysIn(db)
  } finally {
    db.close()
  }
}

export const publicKeyOf = ({ jwk }: Pick<StoredKey, 'jwk'>): AuditKey => JSON.parse(jwk) as AuditKey

/** RFC 7638. */
const thumbprint = ({ crv, kty, x, y }: JsonWebKey): string =>
  hash('sha256', JSON.stringify({ crv, kty, x, y }), 'base64url').slice(0, 16)

const contextOf = (kid: string): string => `audit-key:${kid}`

const makeKey = async (keys: Pick<KeyRing, 'seal'>): Promise<TrailKey> => {
  const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
  const kid = thumbprint(jwk)
  const { d: _, ...open } = jwk
  return {
    kid,
    jwk: JSON.stringify({ ...open, kid, alg: 'ES256', use: 'sig' }),
    sealed: await keys.seal(JSON.stringify(jwk), contextOf(kid)),
    private: jwk,
  }
}

/** The newest of the stored keys that the secrets at hand open. */
export const knownKey = async (
  stored: readonly StoredKey[],
  keys: Pick<KeyRing, 'open'>,
): Promise<TrailKey | undefined> => {
  for (const one of stored.toReversed()) {
    const opened = await keys.open(one.sealed, contextOf(one.kid))
    if (opened !== undefined) return { ...one, private: JSON.parse(opened) as JsonWebKey }
  }
  return undefined
}

/** The same; a new one where there is none. */
export const trailKey = async (
  stored: readonly StoredKey[],
  keys: Pick<KeyRing, 'open' | 'seal'>,
): Promise<TrailKey> => (await knownKey(stored, keys)) ?? makeKey(keys)

export const createSigner = ({ kid, private: jwk }: Pick<TrailKey, 'kid' | 'private'>): AuditSigner => {
  const key = createPrivateKey({ key: jwk, format: 'jwk' })
  return {
    kid,
    sign: (text) =>
      sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url'),
  }
}

/** Throws TypeError for what is no public key of this kind. */
export const createVerify = (keys: readonly AuditKey[]): VerifySignature => {
  const known = new Map(
    keys.map((jwk) => [jwk.kid, createPublicKey({ key: jwk as object as JsonWebKey, format: 'jwk' })]),
  )
  return (kid, text, signature) => {
    const key = known.get(kid)
    return (
      key &&
      verify(
        'sha256',
        Buffer.from(text),
        { key, dsaEncoding: 'ieee-p1363' },
        Buffer.from(signature, 'base64url'),
      )
    )
  }
}
