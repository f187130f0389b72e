// The gateway's secrets on Node: the key ring over the root secrets, and signatures, both with node:crypto.
import {
  type JsonWebKey,
  type KeyObject,
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  hash,
  hkdfSync,
  randomBytes as nodeRandomBytes,
  randomFillSync,
  sign,
  verify,
} from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { Config } from '../config/schema.ts'
import { utf8 } from '../kit/bytes.ts'
import {
  type Ciphers,
  type KeyRing,
  type KeyMismatch,
  createKeyRing,
  fitOf,
  keyIdOf,
  keyMismatchOf,
} from '../kit/keyring.ts'
import type { Store } from '../ports/store.ts'
import { closeToOthers } from './file-modes.ts'

// The key ring's algorithms with node:crypto, which runs at once. WebCrypto runs on a thread pool, which
// takes half of the time of a token request.

const ivBytes = 12
const tagBytes = 16

// A key object: with raw bytes, node:crypto would make one for each use.
const derive = (secret: Uint8Array, salt: Uint8Array, info: string): KeyObject =>
  createSecretKey(new Uint8Array(hkdfSync('sha256', secret, salt, info, 32)))

export const createNodeCiphers = (random: (n: number) => Uint8Array<ArrayBuffer>): Ciphers => ({
  sealing(secret, salt, info) {
    const key = derive(secret, salt, info)
    return {
      seal(text, context) {
        const iv = random(ivBytes)
        const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(context))
        return Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString(
          'base64url',
        )
      },
      open(body, context) {
        const bytes = Buffer.from(body, 'base64url')
        // Buffer skips characters that are not base64url, but a sealed text has one encoding (RFC 4648 §3.5).
        if (bytes.length < ivBytes + tagBytes || bytes.toString('base64url') !== body) return undefined
        const end = bytes.length - tagBytes
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, ivBytes), {
          authTagLength: tagBytes,
        })
          .setAAD(Buffer.from(context))
          .setAuthTag(bytes.subarray(end))
        try {
          return Buffer.concat([decipher.update(bytes.subarray(ivBytes, end)), decipher.final()]).toString(
            'utf8',
          )
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

// The gateway's own root secret: created once, and kept in the state directory with access for its owner
// only.

/**
 * Bytes of the configured secret. Any text of 32 characters or more is accepted; the key ring derives keys
 * from it.
 */
const configured = (secret: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(secret, 'utf8'))

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

const read = (path: string): Uint8Array<ArrayBuffer> | undefined => {
  try {
    closeToOthers([path])
    const secret = Buffer.from(readFileSync(path, 'utf8').trim(), 'base64url')
    if (secret.length >= 32) return new Uint8Array(secret)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
  throw Object.assign(
    new Error(
      `${path} does not contain a root secret. Restore it from your backup: without it, stored data cannot be decrypted.`,
    ),
    { code: 'ERR_ROOT_SECRET', path },
  )
}

/** Content and name are on disk when this returns: sealed data must never outlive its key. */
const sync = (path: string, flags: string, text?: string): void => {
  const file = openSync(path, flags, 0o600)
  try {
    if (text !== undefined) writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/**
 * The file appears with its whole content or not at all, however this process ends. Of several processes, the
 * first one wins.
 */
const create = (path: string): void => {
  const draft = `${path}.${nodeRandomBytes(6).toString('hex')}`
  sync(draft, 'wx', `${nodeRandomBytes(32).toString('base64url')}\n`)
  try {
    linkSync(draft, path)
    unlinkSync(draft)
  } catch (error) {
    // A file system without hard links cannot tell two simultaneous first starts apart.
    if (codeOf(error) === 'EEXIST') unlinkSync(draft)
    else renameSync(draft, path)
  }
  if (process.platform !== 'win32') sync(dirname(path), 'r')
}

/**
 * The file's secret, where session_secret replaces it: data sealed with it still opens until the file is
 * deleted.
 */
const superseded = (path: string): readonly Uint8Array<ArrayBuffer>[] => {
  try {
    const secret = read(path)
    return secret ? [secret] : []
  } catch (error) {
    if (codeOf(error) === 'ERR_ROOT_SECRET') return []
    throw error
  }
}

/**
 * Root secrets, newest first: the configured one and its predecessors, then the one in `<state>/root.key` (32
 * random bytes, mode 0600), which the first start without a configured one creates. Two processes that start
 * together use the same one. `make: false`: the store has sealed data, so a new secret would be useless; the
 * list may then be empty.
 */
export const rootSecrets = (
  stateDir: string,
  secret: string | undefined,
  previous: readonly string[],
  make = true,
): readonly Uint8Array<ArrayBuffer>[] => {
  const path = join(stateDir, 'root.key')
  if (secret !== undefined) return [...[secret, ...previous].map(configured), ...superseded(path)]
  const known = read(path)
  if (known) return [known, ...previous.map(configured)]
  if (!make) return previous.map(configured)
  create(path)
  return [read(path) as Uint8Array<ArrayBuffer>, ...previous.map(configured)]
}

const poolBytes = 4096

/**
 * Random bytes from a pool: filling one costs hardly more than filling the few bytes of one token. What was
 * handed out is erased from it.
 */
export const createRandomBytes = (): ((n: number) => Uint8Array<ArrayBuffer>) => {
  const pool = new Uint8Array(poolBytes)
  let at = poolBytes
  return (n) => {
    if (n > poolBytes / 8) return randomFillSync(new Uint8Array(n))
    if (at + n > poolBytes) {
      randomFillSync(pool)
      at = 0
    }
    const bytes = pool.slice(at, at + n)
    pool.fill(0, at, at + n)
    at += n
    return bytes
  }
}

type Secrets = Pick<Config, 'session_secret' | 'previous_secrets' | 'token_encryption_key'>

/** Sealed records that outlive a restart, the marker first. */
const lastingKinds = ['signing-keys', 'service:', 'connection:', 'upstream-client:', 'client:', 'grant:']

/** A sealed record of the store, if it holds any. */
const firstSealed = async (
  store: Store,
): Promise<{ readonly key: string; readonly value: string } | undefined> => {
  for (const kind of lastingKinds) {
    const found = (await store.list(kind, { limit: 1 })).find(({ value }) => keyIdOf(value) !== undefined)
    if (found) return found
  }
  return undefined
}

/** The store was sealed with another secret; the start must not continue. */
export class SealedState extends Error {
  readonly code = 'ERR_STATE_SEALED'
}

/** Where the store is, in messages. */
interface Location {
  readonly location: string
  /** Of a server, whose other users keep secrets of their own: what to do for an empty store there. */
  readonly shared: string | undefined
}

const emptyStores: Readonly<Record<Config['storage']['type'], string | undefined>> = {
  memory: undefined,
  sqlite: undefined,
  redis: 'set another storage.redis.prefix',
  postgres: 'set another storage.postgres.schema',
  vault: 'set another storage.vault.path_prefix',
}

const damagedText = ({ location, shared }: Location, key: string): string =>
  `The record ${key} in ${location} is damaged. Restore a backup of ${shared ? 'its data' : 'the database'}. Nothing was changed.`

/** What is missing, and what to restore. */
const missingText = (
  stateDir: string,
  { location, shared }: Location,
  { session_secret: configured }: Secrets,
  keyId: string | undefined,
  here: string | undefined,
): string => {
  const root = join(stateDir, 'root.key')
  const what = `${location} is encrypted with key ${keyId}`
  const is =
    here === undefined
      ? `but ${root} is missing`
      : `but ${configured === undefined ? `${root} contains` : 'session_secret is'} key ${here}`
  const back =
    configured !== undefined
      ? `Restore the former session_secret, or add it to previous_secrets.`
      : shared
        ? 'Set session_secret to the one that the other processes have, or copy their root.key.'
        : `Restore the root.key from the same backup as the database.`
  const anew = shared ?? 'move the database away'
  return `${what}, ${is}. ${back} To start with an empty gateway, ${anew}. Nothing was changed.`
}

/** What these secrets cannot open in the store. */
const misfitWith = async (store: Store, ring: KeyRing): Promise<KeyMismatch | undefined> => {
  const fit = await fitOf(store, ring)
  if (fit === 'fits') return undefined
  if (fit !== 'empty') return fit
  const other = await firstSealed(store)
  const misfit = other && (await keyMismatchOf(other.key, other.value, ring))
  return misfit?.kind === 'foreign' ? misfit : undefined
}

/** A root secret that is elsewhere: undefined where there is none yet and none shall be made. */
export type RootSource = (make: boolean) => Promise<Uint8Array<ArrayBuffer> | undefined>

/** With one from elsewhere, and those that opened the records before. */
const secretsFrom = async (
  source: RootSource,
  stateDir: string,
  previous: readonly string[],
  isSealed: boolean,
): Promise<readonly Uint8Array<ArrayBuffer>[]> => {
  const former = [...previous.map(configured), ...superseded(join(stateDir, 'root.key'))]
  const root = await source(!isSealed || former.length > 0)
  return root ? [root, ...former] : former
}

/**
 * The secrets for this store. Throws `SealedState` before anything is written when the store was sealed with
 * other secrets, and the file system's error when the state directory has no secret and none can be created.
 */
export const openKeys = async (
  stateDir: string,
  config: Secrets & Pick<Config, 'storage'>,
  {
    store,
    location,
    source,
  }: { readonly store: Store; readonly location: string; readonly source?: RootSource | undefined },
  random: ReturnType<typeof createRandomBytes>,
): Promise<KeyRing> => {
  const where = { location, shared: emptyStores[config.storage.type] }
  const sealing = config.token_encryption_key === undefined ? undefined : utf8(config.token_encryption_key)
  const sealed = await firstSealed(store)
  const { session_secret: own, previous_secrets: former } = config
  const secrets = source
    ? await secretsFrom(source, stateDir, former, sealed !== undefined)
    : rootSecrets(stateDir, own, former, sealed === undefined)
  if (secrets.length === 0)
    throw new SealedState(missingText(stateDir, where, config, keyIdOf(sealed?.value ?? ''), undefined))
  const ring = await createKeyRing(secrets, random, sealing, createNodeCiphers(random))
  const misfit = await misfitWith(store, ring)
  if (misfit?.kind === 'damaged') throw new SealedState(damagedText(where, misfit.key))
  if (misfit) throw new SealedState(missingText(stateDir, where, config, misfit.keyId, ring.current))
  return ring
}

/**
 * The two numbers of an ECDSA signature side by side, 32 bytes each (RFC 7518 §3.4), from a SEQUENCE of two
 * INTEGERs; a P-256 signature has no length above 127.
 */
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

/** ES256. node:crypto can produce this form too, but takes twice the time. */
export const es256 = (jwk: object): ((data: Uint8Array) => Uint8Array) => {
  const key = createPrivateKey({ key: jwk as JsonWebKey, format: 'jwk' })
  return (data) => sideBySide(sign('sha256', data, key))
}

/** Half of a signature of 64 bytes as an INTEGER of DER: its shortest form, above zero (X.690 §8.3). */
const integer = (half: Uint8Array): number[] => {
  const start = half.findIndex((byte) => byte !== 0)
  const bytes = start < 0 ? [0] : [...half.subarray(start)]
  if ((bytes[0] as number) > 127) bytes.unshift(0)
  return [0x02, bytes.length, ...bytes]
}

/** A SEQUENCE of both: OpenSSL reads nothing else, and Node takes a third of the time of a check to write it. */
const sequence = (signature: Uint8Array): Uint8Array => {
  const both = [...integer(signature.subarray(0, 32)), ...integer(signature.subarray(32))]
  return Uint8Array.of(0x30, both.length, ...both)
}

export const es256Check = (jwk: object): ((data: Uint8Array, signature: Uint8Array) => boolean) => {
  const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new TypeError('not a P-256 key')
  return (data, signature) => signature.length === 64 && verify('sha256', data, key, sequence(signature))
}

export const digest = (text: string): string => hash('sha256', text, 'base64url')
