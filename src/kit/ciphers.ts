// The algorithms behind the key ring. These are WebCrypto's; a runtime may bring its own, which must come to the same bytes.
import { decodeBase64url, encodeBase64url, utf8 } from './bytes.ts'

/** AES-256-GCM under one key. */
export interface Sealing {
  /** base64url(iv ‖ ciphertext ‖ tag), with `context` authenticated. */
  seal(text: string, context: string): string | Promise<string>
  /** Undefined for anything that `seal` has not answered for that context. */
  open(body: string, context: string): string | undefined | Promise<string | undefined>
}

/** HMAC-SHA-256 under one key. */
export type Mac = (message: string) => Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>

export interface Ciphers {
  /** Keys of 256 bits, derived from a root secret by HKDF-SHA-256 (RFC 5869) with `salt` and `info`. */
  sealing(secret: Uint8Array<ArrayBuffer>, salt: Uint8Array<ArrayBuffer>, info: string): Sealing | Promise<Sealing>
  mac(secret: Uint8Array<ArrayBuffer>, salt: Uint8Array<ArrayBuffer>, info: string): Mac | Promise<Mac>
}

const ivBytes = 12
const tagBytes = 16
// What was sealed comes back exactly, a leading U+FEFF included.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

const derive = async (secret: Uint8Array<ArrayBuffer>, salt: Uint8Array<ArrayBuffer>, info: string, into: AesKeyGenParams | HmacKeyGenParams, uses: KeyUsage[]): Promise<CryptoKey> => {
  const root = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveKey'])
  return crypto.subtle.deriveKey({ name: 'HKDF', hash: 'SHA-256', salt, info: utf8(info) }, root, into, false, uses)
}

export const createWebCiphers = (random: (n: number) => Uint8Array<ArrayBuffer>): Ciphers => ({
  async sealing(secret, salt, info) {
    const key = await derive(secret, salt, info, { name: 'AES-GCM', length: 256 }, ['encrypt', 'decrypt'])
    return {
      async seal(text, context) {
        const iv = random(ivBytes)
        const box = new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: utf8(context) }, key, utf8(text)))
        const joined = new Uint8Array(iv.length + box.length)
        joined.set(iv)
        joined.set(box, iv.length)
        return encodeBase64url(joined)
      },
      async open(body, context) {
        const bytes = decodeBase64url(body)
        if (!bytes || bytes.length < ivBytes + tagBytes) return undefined
        try {
          const algorithm = { name: 'AES-GCM', iv: bytes.subarray(0, ivBytes), additionalData: utf8(context) }
          return decoder.decode(await crypto.subtle.decrypt(algorithm, key, bytes.subarray(ivBytes)))
        } catch {
          // WebCrypto says only OperationError: the tag did not match. Absent is the one honest answer.
          return undefined
        }
      },
    }
  },
  async mac(secret, salt, info) {
    const key = await derive(secret, salt, info, { name: 'HMAC', hash: 'SHA-256', length: 256 }, ['sign'])
    return async (message) => new Uint8Array(await crypto.subtle.sign('HMAC', key, utf8(message)))
  },
})
