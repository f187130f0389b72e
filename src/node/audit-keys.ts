// The keys of the audit trail as Node makes, reads and uses them.
import {
  type JsonWebKey,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
} from 'node:crypto'
import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import {
  type KeyMaker,
  type PrivateKey,
  type StoredKey,
  type TrailKey,
  storedKeysIn,
} from '../stores/audit-keys.ts'
import type { AuditKey, AuditSigner, VerifySignature } from '../stores/audit-signatures.ts'
import { digest, lockWaitMs } from './audit-database.ts'

export const keyMaker: KeyMaker = {
  digest,
  generate: () =>
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }) as PrivateKey,
}

/** Throws SQLite's error. */
export const readStoredKeys = (path: string): readonly StoredKey[] => {
  if (!existsSync(path)) return []
  const db = new DatabaseSync(path, { readOnly: true, timeout: lockWaitMs })
  try {
    return storedKeysIn({ prepare: (sql) => db.prepare(sql) })
  } finally {
    db.close()
  }
}

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
