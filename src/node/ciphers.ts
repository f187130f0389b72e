// The key ring's algorithms by node:crypto: at once, where WebCrypto answers through its pool of threads, which costs a token request half of its time.
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import type { Ciphers } from '../kit/ciphers.ts'

const ivBytes = 12
const tagBytes = 16

// As an object: made of raw bytes, one would be made for each use.
const derive = (secret: Uint8Array, salt: Uint8Array, info: string): KeyObject => createSecretKey(new Uint8Array(hkdfSync('sha256', secret, salt, info, 32)))

export const createNodeCiphers = (random: (n: number) => Uint8Array<ArrayBuffer>): Ciphers => ({
  sealing(secret, salt, info) {
    const key = derive(secret, salt, info)
    return {
      seal(text, context) {
        const iv = random(ivBytes)
        const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(context))
        return Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64url')
      },
      open(body, context) {
        const bytes = Buffer.from(body, 'base64url')
        // Buffer reads past what is no base64url; a sealed text has one spelling (RFC 4648 §3.5).
        if (bytes.length < ivBytes + tagBytes || bytes.toString('base64url') !== body) return undefined
        const end = bytes.length - tagBytes
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, ivBytes), { authTagLength: tagBytes }).setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(end))
        try {
          return Buffer.concat([decipher.update(bytes.subarray(ivBytes, end)), decipher.final()]).toString('utf8')
        } catch {
          // The tag did not match.
          return undefined
        }
      },
    }
  },
  mac(secret, salt, info) {
    const key = derive(secret, salt, info)
    return (message) => new Uint8Array(createHmac('sha256', key).update(message).digest())
  },
})
