// Root secrets and what is derived from them: sealing (AES-256-GCM with associated data) and message authentication, each with a key id so that roots rotate.
import { decodeBase64url, encodeBase64url, encodeHex, utf8 } from './bytes.ts'

/** One root secret. The id is derived from the secret itself (first 8 hex digits of a labelled SHA-256), so no process can disagree about it. */
interface Root {
  readonly id: string
  readonly material: CryptoKey
}

export interface KeyRing {
  /** The id that `mac` uses now. */
  readonly current: string
  /**
   * AES-256-GCM over the text. `context` is authenticated with it (purpose, owner, record key), so a sealed value moved to another place does not open.
   * Shape: `s1.<key id>.<base64url(iv ‖ ciphertext ‖ tag)>`.
   */
  seal(text: string, context: string): Promise<string>
  /** The sealed text, or undefined when it was altered, moved to another context, or sealed with a root this ring does not hold. */
  open(sealed: string, context: string): Promise<string | undefined>
  /** Whether a sealed text names the key that seals now; one that does not would be lost with a former secret. */
  isCurrent(sealed: string): boolean
  /** HMAC-SHA-256 under a key derived for `purpose` from the root `keyId` (default: the current one); undefined when the ring lacks that root. */
  mac(purpose: string, message: string, keyId?: string): Promise<Uint8Array<ArrayBuffer> | undefined>
}

const salt = utf8('postern/root/v1')
const ivBytes = 12
const tagBytes = 16
// What was sealed comes back exactly, a leading U+FEFF included.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

const importRoot = async (secret: Uint8Array<ArrayBuffer>): Promise<Root> => {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array([...salt, ...secret])))
  return { id: encodeHex(digest.subarray(0, 4)), material: await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveKey']) }
}

const hkdf = (purpose: string): HkdfParams => ({ name: 'HKDF', hash: 'SHA-256', salt, info: utf8(purpose) })

/**
 * A ring over root secrets of at least 32 bytes each, newest first: the first seals and authenticates, the others only open what they once sealed.
 * With `sealing` that secret seals instead of the first. Throws RangeError for a shorter secret or an empty list.
 */
export const createKeyRing = async (
  secrets: readonly Uint8Array<ArrayBuffer>[],
  random: (n: number) => Uint8Array<ArrayBuffer>,
  sealing?: Uint8Array<ArrayBuffer>,
): Promise<KeyRing> => {
  if (secrets.length === 0) throw new RangeError('a key ring needs at least one root secret')
  if ([...secrets, ...(sealing ? [sealing] : [])].some((secret) => secret.length < 32)) throw new RangeError('a root secret needs at least 32 bytes')
  const roots = await Promise.all(secrets.map(importRoot))
  const byId = new Map(roots.map((root) => [root.id, root]))
  const current = roots[0] as Root
  const sealer = sealing ? await importRoot(sealing) : current
  const derived = new Map<string, Promise<CryptoKey>>()
  const keyFor = (root: Root, purpose: string, use: 'seal' | 'mac'): Promise<CryptoKey> => {
    const name = `${use}/${purpose}/${root.id}`
    const known = derived.get(name)
    if (known) return known
    const made =
      use === 'seal'
        ? crypto.subtle.deriveKey(hkdf(`seal/${purpose}`), root.material, { name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
        : crypto.subtle.deriveKey(hkdf(`mac/${purpose}`), root.material, { name: 'HMAC', hash: 'SHA-256', length: 256 }, false, ['sign'])
    derived.set(name, made)
    return made
  }
  return {
    current: current.id,
    async seal(text, context) {
      const iv = random(ivBytes)
      const key = await keyFor(sealer, 'record', 'seal')
      const box = new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: utf8(context) }, key, utf8(text)))
      const joined = new Uint8Array(iv.length + box.length)
      joined.set(iv)
      joined.set(box, iv.length)
      return `s1.${sealer.id}.${encodeBase64url(joined)}`
    },
    async open(sealed, context) {
      const [version, id = '', body = '', ...rest] = sealed.split('.')
      const root = id === sealer.id ? sealer : byId.get(id)
      const bytes = decodeBase64url(body)
      if (version !== 's1' || rest.length > 0 || !root || !bytes || bytes.length < ivBytes + tagBytes) return undefined
      const key = await keyFor(root, 'record', 'seal')
      try {
        const algorithm = { name: 'AES-GCM', iv: bytes.subarray(0, ivBytes), additionalData: utf8(context) }
        return decoder.decode(await crypto.subtle.decrypt(algorithm, key, bytes.subarray(ivBytes)))
      } catch {
        // WebCrypto says only OperationError: the tag did not match. Absent is the one honest answer.
        return undefined
      }
    },
    isCurrent: (sealed) => sealed.split('.')[1] === sealer.id,
    async mac(purpose, message, keyId = current.id) {
      const root = byId.get(keyId)
      if (!root) return undefined
      return new Uint8Array(await crypto.subtle.sign('HMAC', await keyFor(root, purpose, 'mac'), utf8(message)))
    },
  }
}
