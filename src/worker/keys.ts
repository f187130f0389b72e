// The gateway's secrets on Workers: the key ring over the root secrets.
// oxlint-disable-next-line no-restricted-imports -- part of nodejs_compat; WebCrypto has no digest that answers at once
import { hash } from 'node:crypto'
import type { Config } from '../config/schema.ts'
import { utf8 } from '../kit/bytes.ts'
import { createKeyRing, type KeyRing } from '../kit/keyring.ts'
import { fitOf, sealedRefusal } from '../kit/sealed-with.ts'
import type { Store } from '../ports/store.ts'

/**
 * The ring, which seals nothing for a store that another secret sealed: there is no start that could be refused here, and what is written
 * beside the records of another secret is lost when the right one is back. Asked once, with the first record that is written.
 */
const sealingOnlyWhereItFits = (ring: KeyRing, store: Store): KeyRing => {
  let fits = false
  return {
    ...ring,
    async seal(text, context) {
      if (!fits) {
        const fit = await fitOf(store, ring)
        if (typeof fit !== 'string') throw sealedRefusal(fit)
        fits = true
      }
      return ring.seal(text, context)
    },
  }
}

interface Around {
  readonly random: (n: number) => Uint8Array<ArrayBuffer>
  readonly store: Store
}

export const openKeys = async (
  secret: string,
  { previous_secrets: previous, token_encryption_key: sealing }: Pick<Config, 'previous_secrets' | 'token_encryption_key'>,
  { random, store }: Around,
): Promise<KeyRing> => {
  const ring = await createKeyRing([secret, ...previous].map(utf8), random, sealing === undefined ? undefined : utf8(sealing))
  return sealingOnlyWhereItFits(ring, store)
}

export const digest = (text: string): string => hash('sha256', text, 'base64url')
