// Typed records in a Store, sealed by the key ring: what a room keeps as values, and finds again as values or not at all.
import type { KeyRing } from './keyring.ts'

// The store's side of a record, as far as it matters here; ports/store.ts fits.
interface Entry {
  readonly value: string
  readonly mark: string
}
interface PutOptions {
  readonly ttlMs?: number
  readonly only?: string
}
interface SealedStore {
  get(key: string): Promise<Entry | undefined>
  put(key: string, value: string, options?: PutOptions): Promise<string | undefined>
  take(key: string): Promise<Entry | undefined>
  list(prefix: string, options?: { readonly after?: string; readonly limit?: number }): Promise<readonly { readonly key: string; readonly value: string }[]>
}

interface RecordsDeps {
  readonly store: SealedStore
  readonly keys: Pick<KeyRing, 'seal' | 'open' | 'isCurrent'>
  readonly log: (level: 'error', event: string, fields: Readonly<Record<string, unknown>>) => void
}

export interface Kept<T> {
  readonly value: T
  /** The version, for `only`. */
  readonly mark: string
  /** Sealed with a former secret: lost with it, unless it is put again. */
  readonly former: boolean
}

export interface Records<T> {
  get(id: string): Promise<Kept<T> | undefined>
  /** As in the Store: `only` is 'absent' or a mark, and undefined says it was not met. */
  put(id: string, value: T, options?: PutOptions): Promise<string | undefined>
  /** Atomic read-and-delete: of parallel takers one receives the record. */
  take(id: string): Promise<Kept<T> | undefined>
  /** Readable records in ascending order of id; an unreadable one leaves a gap, never an error. */
  list(options?: { readonly after?: string; readonly limit?: number }): Promise<readonly { readonly id: string; readonly value: T }[]>
}

/**
 * Records of one kind under `{prefix}{id}`, JSON sealed with the full key as context: a value that was moved, altered, cut or sealed with a root this ring does not hold
 * is absent to every operation (a put where absent replaces it) and leaves one `record.unreadable` in the log. `T` is JSON, and whoever changes its shape reads both.
 */
export const createRecords = <T>({ store, keys, log }: RecordsDeps, prefix: string): Records<T> => {
  const opened = async (key: string, text: string): Promise<{ readonly value: T } | undefined> => {
    const json = await keys.open(text, key)
    if (json !== undefined) return { value: JSON.parse(json) as T }
    log('error', 'record.unreadable', { key })
    return undefined
  }
  const read = async (key: string, entry: Entry | undefined): Promise<Kept<T> | undefined> => {
    const found = entry && (await opened(key, entry.value))
    return found && { value: found.value, mark: (entry as Entry).mark, former: !keys.isCurrent((entry as Entry).value) }
  }

  return {
    get: async (id) => read(prefix + id, await store.get(prefix + id)),
    async put(id, value, options = {}) {
      const key = prefix + id
      const sealed = await keys.seal(JSON.stringify(value), key)
      const mark = await store.put(key, sealed, options)
      if (mark !== undefined || options.only !== 'absent') return mark
      // Something is there. If nobody can read it, it must not keep the place for ever.
      const entry = await store.get(key)
      return entry && !(await read(key, entry)) ? store.put(key, sealed, { ...options, only: entry.mark }) : undefined
    },
    take: async (id) => read(prefix + id, await store.take(prefix + id)),
    async list({ after, limit } = {}) {
      const rows = await store.list(prefix, { ...(after === undefined ? {} : { after: prefix + after }), ...(limit === undefined ? {} : { limit }) })
      const found = await Promise.all(rows.map(async ({ key, value }) => ({ id: key.slice(prefix.length), kept: await opened(key, value) })))
      return found.flatMap(({ id, kept }) => (kept ? [{ id, value: kept.value }] : []))
    },
  }
}
