// Root secrets and what is derived from them: sealing (AES-256-GCM with associated data) and message authentication, each with a key id so that roots rotate.
import { encodeHex, utf8 } from './bytes.ts'
import { type Ciphers, createWebCiphers, type Mac, type Sealing } from './ciphers.ts'

/** One root secret. The id is derived from the secret itself (first 8 hex digits of a labelled SHA-256), so no process can disagree about it. */
interface Root {
  readonly id: string
  readonly secret: Uint8Array<ArrayBuffer>
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
  /** Whether the ring holds the root with this id, for opening. */
  holds(keyId: string): boolean
  /** HMAC-SHA-256 under a key derived for `purpose` from the root `keyId` (default: the current one); undefined when the ring lacks that root. */
  mac(purpose: string, message: string, keyId?: string): Promise<Uint8Array<ArrayBuffer> | undefined>
}

const salt = utf8('postern/root/v1')

const rootOf = async (secret: Uint8Array<ArrayBuffer>): Promise<Root> => {
  const named = new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array([...salt, ...secret])))
  return { id: encodeHex(named.subarray(0, 4)), secret }
}

/** What `make` makes for a root and a purpose, made once. */
const createDerived = <T>(make: (secret: Uint8Array<ArrayBuffer>, info: string) => T | Promise<T>): ((root: Root, purpose: string) => T | Promise<T>) => {
  const made = new Map<string, T | Promise<T>>()
  return ({ id, secret }, purpose) => {
    const name = `${id} ${purpose}`
    const known = made.get(name) ?? make(secret, purpose)
    made.set(name, known)
    return known
  }
}

/**
 * A ring over root secrets of at least 32 bytes each, newest first: the first seals and authenticates, the others only open what they once sealed.
 * With `sealing` that secret seals instead of the first. `ciphers`: of a runtime that has quicker ones than WebCrypto. Throws RangeError for a shorter secret or an empty list.
 */
export const createKeyRing = async (
  secrets: readonly Uint8Array<ArrayBuffer>[],
  random: (n: number) => Uint8Array<ArrayBuffer>,
  sealing?: Uint8Array<ArrayBuffer>,
  ciphers: Ciphers = createWebCiphers(random),
): Promise<KeyRing> => {
  if (secrets.length === 0) throw new RangeError('a key ring needs at least one root secret')
  if ([...secrets, ...(sealing ? [sealing] : [])].some((secret) => secret.length < 32)) throw new RangeError('a root secret needs at least 32 bytes')
  const roots = await Promise.all(secrets.map(rootOf))
  const byId = new Map(roots.map((root) => [root.id, root]))
  const current = roots[0] as Root
  const sealer = sealing ? await rootOf(sealing) : current
  const sealingOf = createDerived<Sealing>((secret, purpose) => ciphers.sealing(secret, salt, `seal/${purpose}`))
  const macOf = createDerived<Mac>((secret, purpose) => ciphers.mac(secret, salt, `mac/${purpose}`))
  return {
    current: current.id,
    async seal(text, context) {
      return `s1.${sealer.id}.${await (await sealingOf(sealer, 'record')).seal(text, context)}`
    },
    async open(sealed, context) {
      const [version, id = '', body = '', ...rest] = sealed.split('.')
      const root = id === sealer.id ? sealer : byId.get(id)
      if (version !== 's1' || rest.length > 0 || !root) return undefined
      return (await sealingOf(root, 'record')).open(body, context)
    },
    holds: (keyId) => keyId === sealer.id || byId.has(keyId),
    isCurrent: (sealed) => sealed.split('.')[1] === sealer.id,
    async mac(purpose, message, keyId = current.id) {
      const root = byId.get(keyId)
      if (!root) return undefined
      return (await macOf(root, purpose))(message)
    },
  }
}
