// What the audit trail computes on Workers. Of nodejs_compat, because WebCrypto has nothing that answers at once, and
// the rows of one commit are hashed and signed within its transaction.
// oxlint-disable-next-line no-restricted-imports -- see above
import { createHash, createHmac, generateKeyPairSync, hash, sign, verify } from 'node:crypto'
import { decodeBase64url, encodeBase64url, utf8 } from '../kit/bytes.ts'
import type { TextSum } from '../stores/audit-formats.ts'
import type { KeyMaker, PrivateKey, TrailKey } from '../stores/audit-keys.ts'
import type { AuditKey, AuditSigner, VerifySignature } from '../stores/audit-signatures.ts'

/** SHA-256, base64url. */
export const digest = (text: string): string => hash('sha256', text, 'base64url')

export const keyMaker: KeyMaker = {
  digest,
  generate: () =>
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }) as PrivateKey,
}

const es256 = { format: 'jwk', dsaEncoding: 'ieee-p1363' } as const

export const createSigner = ({ kid, private: key }: Pick<TrailKey, 'kid' | 'private'>): AuditSigner => ({
  kid,
  sign: (text) => encodeBase64url(sign('sha256', utf8(text), { key, ...es256 })),
})

export const createVerify = (keys: readonly AuditKey[]): VerifySignature => {
  const known = new Map(keys.map((key) => [key.kid, { ...key }]))
  return (kid, text, signature) => {
    const key = known.get(kid)
    const bytes = decodeBase64url(signature)
    return key && bytes !== undefined && verify('sha256', utf8(text), { key, ...es256 }, bytes)
  }
}

/** HMAC-SHA-256, of which 128 bits, base64url. */
export const createMac =
  (key: Uint8Array): ((text: string) => string) =>
  (text) =>
    encodeBase64url(createHmac('sha256', key).update(text).digest().subarray(0, 16))

export const createSum = (): TextSum => {
  const sum = createHash('sha256')
  return { add: (text) => void sum.update(text), end: () => sum.digest('hex') }
}
