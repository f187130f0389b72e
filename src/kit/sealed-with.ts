// Which root secret sealed a record, and whether the secrets at hand are the ones that a store was sealed with.
import { Refusal } from './refusal.ts'
import type { KeyRing } from './keyring.ts'

type Opening = Pick<KeyRing, 'open' | 'holds' | 'mac'>
interface Reading {
  get(key: string): Promise<{ readonly value: string } | undefined>
}

/**
 * The record that tells whether the secrets at hand fit a store: the signing keys. Every gateway makes them at its first start, keeps them for ever, and
 * seals them anew with the current secret at a start, so that a secret which was removed from `previous_secrets` in time is not missed. The newest
 * names the root that authenticates (`root`), which is another one than the root that seals where `token_encryption_key` is set.
 */
export const markerKey = 'signing-keys'

/** The id of the root that sealed this text; undefined when it is not a sealed text. */
export const keyIdOf = (sealed: string): string | undefined => /^s1\.([\da-f]{8})\./.exec(sealed)?.[1]

export interface Misfit {
  /** The record that does not open. */
  readonly key: string
  /** `foreign`: sealed with a secret that is not here. `damaged`: altered, cut, moved, or never sealed. */
  readonly kind: 'foreign' | 'damaged'
  /** The id of the root that sealed it, where the record says so. */
  readonly keyId?: string
}

/** Undefined when the text opens. */
export const misfitOf = async (key: string, text: string, keys: Opening): Promise<Misfit | undefined> => {
  if ((await keys.open(text, key)) !== undefined) return undefined
  const keyId = keyIdOf(text)
  const kind = keyId !== undefined && !keys.holds(keyId) ? 'foreign' : 'damaged'
  return { key, kind, ...(keyId !== undefined && { keyId }) }
}

/** Whether these secrets open the store's marker and hold the root it names; `empty` while there is none. */
export const fitOf = async (store: Reading, keys: Opening): Promise<'fits' | 'empty' | Misfit> => {
  const marker = await store.get(markerKey)
  if (!marker) return 'empty'
  const text = await keys.open(marker.value, markerKey)
  if (text === undefined) return (await misfitOf(markerKey, marker.value, keys)) ?? 'fits'
  const keyId = (JSON.parse(text) as readonly { readonly root?: string }[]).at(-1)?.root
  return keyId === undefined || (await keys.mac('fit', '', keyId)) ? 'fits' : { key: markerKey, kind: 'foreign', keyId }
}

/** The same in words for the operator. */
export const misfitText = ({ key, kind, keyId }: Misfit): string =>
  kind === 'foreign' ? `${key} is encrypted with key ${keyId}, which this gateway does not have` : `${key} is damaged`

export const sealedRefusal = (misfit: Misfit): Refusal => new Refusal('storage.sealed', misfitText(misfit))
