// Root secrets and what is derived from them: sealing (AES-256-GCM with associated data) and message
// authentication, each with a key id so that roots rotate.
import { decodeBase64url, encodeBase64url, encodeHex, utf8 } from './bytes.ts'
import { Refusal } from './refusal.ts'

// The algorithms behind the key ring. These are WebCrypto's; a runtime may bring its own, which must come to
// the same bytes.

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
  sealing(
    secret: Uint8Array<ArrayBuffer>,
    salt: Uint8Array<ArrayBuffer>,
    info: string,
  ): Sealing | Promise<Sealing>
  mac(secret: Uint8Array<ArrayBuffer>, salt: Uint8Array<ArrayBuffer>, info: string): Mac | Promise<Mac>
}

const ivBytes = 12
const tagBytes = 16
// What was sealed comes back exactly, a leading U+FEFF included.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

const derive = async (
  secret: Uint8Array<ArrayBuffer>,
  salt: Uint8Array<ArrayBuffer>,
  info: string,
  into: AesKeyGenParams | HmacKeyGenParams,
  uses: KeyUsage[],
): Promise<CryptoKey> => {
  const root = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveKey'])
  return crypto.subtle.deriveKey(
    { name: 'HKDF', hash: 'SHA-256', salt, info: utf8(info) },
    root,
    into,
    false,
    uses,
  )
}

export const createWebCiphers = (random: (n: number) => Uint8Array<ArrayBuffer>): Ciphers => ({
  async sealing(secret, salt, info) {
    const key = await derive(secret, salt, info, { name: 'AES-GCM', length: 256 }, ['encrypt', 'decrypt'])
    return {
      async seal(text, context) {
        const iv = random(ivBytes)
        const box = new Uint8Array(
          await crypto.subtle.encrypt(
            { name: 'AES-GCM', iv, additionalData: utf8(context) },
            key,
            utf8(text),
          ),
        )
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

/**
 * One root secret. The id is derived from the secret itself (first 8 hex digits of a labelled SHA-256), so no
 * process can disagree about it.
 */
interface Root {
  readonly id: string
  readonly secret: Uint8Array<ArrayBuffer>
}

export interface KeyRing {
  /** The id that `mac` uses now. */
  readonly current: string
  /**
   * AES-256-GCM over the text. `context` is authenticated with it (purpose, owner, record key), so a sealed
   * value moved to another place does not open. Shape: `s1.<key id>.<base64url(iv ‖ ciphertext ‖ tag)>`.
   */
  seal(text: string, context: string): Promise<string>
  /**
   * The sealed text, or undefined when it was altered, moved to another context, or sealed with a root this
   * ring does not hold.
   */
  open(sealed: string, context: string): Promise<string | undefined>
  /**
   * Whether a sealed text names the key that seals now; one that does not would be lost with a former secret.
   */
  isCurrent(sealed: string): boolean
  /** Whether the ring holds the root with this id, for opening. */
  holds(keyId: string): boolean
  /**
   * HMAC-SHA-256 under a key derived for `purpose` from the root `keyId` (default: the current one);
   * undefined when the ring lacks that root.
   */
  mac(purpose: string, message: string, keyId?: string): Promise<Uint8Array<ArrayBuffer> | undefined>
}

const salt = utf8('postern/root/v1')

const rootOf = async (secret: Uint8Array<ArrayBuffer>): Promise<Root> => {
  const named = new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array([...salt, ...secret])))
  return { id: encodeHex(named.subarray(0, 4)), secret }
}

/** What `make` makes for a root and a purpose, made once. */
const createDerived = <T>(
  make: (secret: Uint8Array<ArrayBuffer>, info: string) => T | Promise<T>,
): ((root: Root, purpose: string) => T | Promise<T>) => {
  const made = new Map<string, T | Promise<T>>()
  return ({ id, secret }, purpose) => {
    const name = `${id} ${purpose}`
    const known = made.get(name) ?? make(secret, purpose)
    made.set(name, known)
    return known
  }
}

/**
 * A ring over root secrets of at least 32 bytes each, newest first: the first seals and authenticates, the
 * others only open what they once sealed. With `sealing` that secret seals instead of the first. `ciphers`:
 * of a runtime that has quicker ones than WebCrypto. Throws RangeError for a shorter secret or an empty list.
 */
export const createKeyRing = async (
  secrets: readonly Uint8Array<ArrayBuffer>[],
  random: (n: number) => Uint8Array<ArrayBuffer>,
  sealing?: Uint8Array<ArrayBuffer>,
  ciphers: Ciphers = createWebCiphers(random),
): Promise<KeyRing> => {
  if (secrets.length === 0) throw new RangeError('a key ring needs at least one root secret')
  if ([...secrets, ...(sealing ? [sealing] : [])].some((secret) => secret.length < 32))
    throw new RangeError('a root secret needs at least 32 bytes')
  const roots = await Promise.all(secrets.map(rootOf))
  const byId = new Map(roots.map((root) => [root.id, root]))
  const current = roots[0] as Root
  const sealer = sealing ? await rootOf(sealing) : current
  const sealingOf = createDerived<Sealing>((secret, purpose) =>
    ciphers.sealing(secret, salt, `seal/${purpose}`),
  )
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

// Which root secret sealed a record, and whether the secrets at hand are the ones that a store was sealed
// with.

type RecordKeys = Pick<KeyRing, 'open' | 'holds' | 'mac'>
interface Reading {
  get(key: string): Promise<{ readonly value: string } | undefined>
}

/**
 * The record that tells whether the secrets at hand fit a store: the signing keys. Every gateway makes them
 * at its first start, keeps them for ever, and seals them anew with the current secret at a start, so that a
 * secret which was removed from `previous_secrets` in time is not missed. The newest names the root that
 * authenticates (`root`), which is another one than the root that seals where `token_encryption_key` is set.
 */
export const markerKey = 'signing-keys'

/** The id of the root that sealed this text; undefined when it is not a sealed text. */
export const keyIdOf = (sealed: string): string | undefined => /^s1\.([\da-f]{8})\./.exec(sealed)?.[1]

export interface KeyMismatch {
  /** The record that does not open. */
  readonly key: string
  /** `foreign`: sealed with a secret that is not here. `damaged`: altered, cut, moved, or never sealed. */
  readonly kind: 'foreign' | 'damaged'
  /** The id of the root that sealed it, where the record says so. */
  readonly keyId?: string
}

/** Undefined when the text opens. */
export const keyMismatchOf = async (
  key: string,
  text: string,
  keys: RecordKeys,
): Promise<KeyMismatch | undefined> => {
  if ((await keys.open(text, key)) !== undefined) return undefined
  const keyId = keyIdOf(text)
  const kind = keyId !== undefined && !keys.holds(keyId) ? 'foreign' : 'damaged'
  return { key, kind, ...(keyId !== undefined && { keyId }) }
}

/** Whether these secrets open the store's marker and hold the root it names; `empty` while there is none. */
export const fitOf = async (store: Reading, keys: RecordKeys): Promise<'fits' | 'empty' | KeyMismatch> => {
  const marker = await store.get(markerKey)
  if (!marker) return 'empty'
  const text = await keys.open(marker.value, markerKey)
  if (text === undefined) return (await keyMismatchOf(markerKey, marker.value, keys)) ?? 'fits'
  const keyId = (JSON.parse(text) as readonly { readonly root?: string }[]).at(-1)?.root
  return keyId === undefined || (await keys.mac('fit', '', keyId))
    ? 'fits'
    : { key: markerKey, kind: 'foreign', keyId }
}

/** The same in words for the operator. */
export const keyMismatchText = ({ key, kind, keyId }: KeyMismatch): string =>
  kind === 'foreign'
    ? `${key} is encrypted with key ${keyId}, which this gateway does not have`
    : `${key} is damaged`

export const sealedRefusal = (misfit: KeyMismatch): Refusal =>
  new Refusal('storage.sealed', keyMismatchText(misfit))
