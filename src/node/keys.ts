// The gateway's secrets on Node: the key ring over the root secrets, and signatures, both by node:crypto.
import { createPrivateKey, hash, randomFillSync, sign, type JsonWebKey } from 'node:crypto'
import { join } from 'node:path'
import type { Config } from '../config/schema.ts'
import { utf8 } from '../kit/bytes.ts'
import { createKeyRing, type KeyRing } from '../kit/keyring.ts'
import { fitOf, keyIdOf, type Misfit, misfitOf } from '../kit/sealed-with.ts'
import type { Store } from '../ports/store.ts'
import { createNodeCiphers } from './ciphers.ts'
import { rootSecrets } from './root-secret.ts'

export const randomBytes = (n: number): Uint8Array<ArrayBuffer> => randomFillSync(new Uint8Array(n))

type Secrets = Pick<Config, 'session_secret' | 'previous_secrets' | 'token_encryption_key'>

/** Records that are sealed and outlive a restart, the marker first. */
const lastingKinds = ['signing-keys', 'service:', 'connection:', 'upstream-client:', 'client:', 'grant:']

/** A sealed record of the store, if it holds any. */
const firstSealed = async (store: Store): Promise<{ readonly key: string; readonly value: string } | undefined> => {
  for (const kind of lastingKinds) {
    const found = (await store.list(kind, { limit: 1 })).find(({ value }) => keyIdOf(value) !== undefined)
    if (found) return found
  }
  return undefined
}

/** The store was sealed with another secret than the one that is here; the start must not go on. */
export class SealedState extends Error {
  readonly code = 'ERR_STATE_SEALED'
}

const damagedText = (database: string, key: string): string =>
  `The record ${key} in ${database} is damaged. Restore a backup of the database. Nothing was changed.`

/** What is missing, and what to put back. */
const missingText = (stateDir: string, { session_secret: configured }: Secrets, keyId: string | undefined, here: string | undefined): string => {
  const root = join(stateDir, 'root.key')
  const what = `${join(stateDir, 'postern.db')} is encrypted with key ${keyId}`
  const is =
    here === undefined ? `but ${root} is missing` : `but ${configured === undefined ? `${root} contains` : 'session_secret is'} key ${here}`
  const back =
    configured === undefined
      ? `Restore the root.key from the same backup as the database.`
      : `Restore the former session_secret, or add it to previous_secrets.`
  return `${what}, ${is}. ${back} To start with an empty gateway, move the database away. Nothing was changed.`
}

/** What of the store these secrets do not open. */
const misfitWith = async (store: Store, ring: KeyRing): Promise<Misfit | undefined> => {
  const fit = await fitOf(store, ring)
  if (fit === 'fits') return undefined
  if (fit !== 'empty') return fit
  const other = await firstSealed(store)
  const misfit = other && (await misfitOf(other.key, other.value, ring))
  return misfit?.kind === 'foreign' ? misfit : undefined
}

/**
 * The secrets for this store. Throws `SealedState` when the store was sealed with others, before anything is written, and what the file system says when the state
 * directory holds no secret and cannot be given one.
 */
export const openKeys = async (stateDir: string, config: Secrets, store: Store): Promise<KeyRing> => {
  const sealing = config.token_encryption_key === undefined ? undefined : utf8(config.token_encryption_key)
  const sealed = await firstSealed(store)
  const secrets = rootSecrets(stateDir, config.session_secret, config.previous_secrets, sealed === undefined)
  if (secrets.length === 0) throw new SealedState(missingText(stateDir, config, keyIdOf(sealed?.value ?? ''), undefined))
  const ring = await createKeyRing(secrets, randomBytes, sealing, createNodeCiphers(randomBytes))
  const misfit = await misfitWith(store, ring)
  if (misfit?.kind === 'damaged') throw new SealedState(damagedText(join(stateDir, 'postern.db'), misfit.key))
  if (misfit) throw new SealedState(missingText(stateDir, config, misfit.keyId, ring.current))
  return ring
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

export const digest = (text: string): string => hash('sha256', text, 'base64url')
