// The record that a store keeps about itself, so that no gateway reads it by other rules than those it was written by.
import { Refusal } from '../kit/refusal.ts'
import type { Store } from '../ports/store.ts'

/** Always in the first part of a store, because it says how many parts there are. */
export const metaKey = 'meta:store'

/** In a storage that is copied to: from where, and up to which record. It goes when the copy is complete. */
export const copyKey = 'store-copy'

/** How keys and values lie in the storage. */
const layout = 1

interface Meta {
  readonly layout: number
  /** Parts that the records are spread over. */
  readonly shards: number
  /** Version of the gateway that wrote the first record. */
  readonly product: string
  readonly created_at: string
}

export interface StoreMeta {
  /** `made`: there was none, so that the store is new, or was emptied. Rejects where the store must not be used. */
  check(): Promise<'made' | 'kept'>
}

interface MetaOptions {
  readonly shards: number
  readonly product: string
  /** Epoch ms. */
  readonly now: () => number
}

const parsed = (text: string): Partial<Meta> | undefined => {
  try {
    return JSON.parse(text) as Partial<Meta>
  } catch {
    return undefined
  }
}

export const createMeta = (store: Store, { shards, product, now }: MetaOptions): StoreMeta => {
  const refuse = (why: string): never => {
    throw new Refusal('storage.unavailable', why)
  }
  return {
    async check() {
      const own: Meta = { layout, shards, product, created_at: new Date(now()).toISOString() }
      if (await store.put(metaKey, JSON.stringify(own), { only: 'absent' })) return 'made'
      const found = parsed((await store.get(metaKey))?.value ?? '')
      if (found?.layout !== layout)
        refuse(
          `the records were written in another layout (${String(found?.layout ?? 'unknown')}) than this version knows (${layout}): use the version that wrote them`,
        )
      if (found?.shards !== shards)
        refuse(`the records are spread over ${String(found?.shards)} shards, and ${shards} are configured`)
      return 'kept'
    },
  }
}
