// The key that signs the audit trail: made by the first gateway that writes a trail, and kept in it, sealed with the
// root secret, beside its public part.
import type { KeyRing } from '../kit/keyring.ts'
import type { AuditKey } from './audit-signatures.ts'
import { type TrailDatabase, hasTable } from './audit-tables.ts'

/** A key as the trail has it. */
export interface StoredKey {
  readonly kid: string
  /** Public JWK. */
  readonly jwk: string
  /** The private one, sealed. */
  readonly sealed: string
}

/** Of P-256 (RFC 7518 §6.2). */
export type PrivateKey = Readonly<Record<'kty' | 'crv' | 'x' | 'y' | 'd', string>>

export interface TrailKey extends StoredKey {
  readonly private: PrivateKey
}

/** What a runtime makes new keys with: one of P-256, and SHA-256 in base64url. */
export interface KeyMaker {
  generate(): PrivateKey
  digest(text: string): string
}

/** The oldest first. */
export const storedKeysIn = (db: Pick<TrailDatabase, 'prepare'>): readonly StoredKey[] =>
  hasTable(db, 'key')
    ? (db.prepare('SELECT kid, jwk, sealed FROM key ORDER BY rowid').all() as readonly StoredKey[])
    : []

export const keepKey = ({ prepare }: TrailDatabase, { kid, jwk, sealed }: StoredKey): void =>
  void prepare('INSERT OR IGNORE INTO key (kid, jwk, sealed) VALUES (?, ?, ?)').run(kid, jwk, sealed)

export const publicKeyOf = ({ jwk }: Pick<StoredKey, 'jwk'>): AuditKey => JSON.parse(jwk) as AuditKey

const contextOf = (kid: string): string => `audit-key:${kid}`

const makeKey = async (keys: Pick<KeyRing, 'seal'>, { generate, digest }: KeyMaker): Promise<TrailKey> => {
  const made = generate()
  const { kty, crv, x, y } = made
  // RFC 7638.
  const kid = digest(JSON.stringify({ crv, kty, x, y })).slice(0, 16)
  return {
    kid,
    jwk: JSON.stringify({ kty, x, y, crv, kid, alg: 'ES256', use: 'sig' }),
    sealed: await keys.seal(JSON.stringify(made), contextOf(kid)),
    private: made,
  }
}

/** The newest of the stored keys that the secrets at hand open. */
export const knownKey = async (
  stored: readonly StoredKey[],
  keys: Pick<KeyRing, 'open'>,
): Promise<TrailKey | undefined> => {
  for (const one of stored.toReversed()) {
    const opened = await keys.open(one.sealed, contextOf(one.kid))
    if (opened !== undefined) return { ...one, private: JSON.parse(opened) as PrivateKey }
  }
  return undefined
}

/** The same; a new one where there is none. */
export const trailKey = async (
  stored: readonly StoredKey[],
  keys: Pick<KeyRing, 'open' | 'seal'>,
  maker: KeyMaker,
): Promise<TrailKey> => (await knownKey(stored, keys)) ?? makeKey(keys, maker)
