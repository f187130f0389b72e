// The gateway's secrets on Node: the key ring over the root secrets, and signatures, both by node:crypto.
import { createPrivateKey, randomFillSync, sign, type JsonWebKey } from 'node:crypto'
import type { Config } from '../config/schema.ts'
import { utf8 } from '../kit/bytes.ts'
import { createKeyRing, type KeyRing } from '../kit/keyring.ts'
import { createNodeCiphers } from './ciphers.ts'
import { rootSecrets } from './root-secret.ts'

export const randomBytes = (n: number): Uint8Array<ArrayBuffer> => randomFillSync(new Uint8Array(n))

/** Throws what the file system says when the state directory holds no secret and cannot be given one. */
export const openKeys = (stateDir: string, config: Pick<Config, 'session_secret' | 'previous_secrets' | 'token_encryption_key'>): Promise<KeyRing> => {
  const sealing = config.token_encryption_key === undefined ? undefined : utf8(config.token_encryption_key)
  return createKeyRing(rootSecrets(stateDir, config.session_secret, config.previous_secrets), randomBytes, sealing, createNodeCiphers(randomBytes))
}

/** The two numbers of an ECDSA signature side by side, 32 bytes each (RFC 7518 §3.4), from a SEQUENCE of two INTEGERs; a P-256 signature has no length above 127. */
const sideBySide = (der: Buffer): Uint8Array => {
  const both = new Uint8Array(64)
  let at = 3
  for (const end of [32, 64]) {
    const last = at + 1 + (der[at] as number)
    const number = der.subarray(Math.max(at + 1, last - 32), last)
    both.set(number, end - number.length)
    at = last + 1
  }
  return both
}

/** ES256. node:crypto makes that form too, in twice the time. */
export const es256 = (jwk: object): ((data: Uint8Array) => Uint8Array) => {
  const key = createPrivateKey({ key: jwk as JsonWebKey, format: 'jwk' })
  return (data) => sideBySide(sign('sha256', data, key))
}
