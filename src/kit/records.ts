// Typed records in a Store, sealed by the key ring: values go in, and values come out. And the key of a person's
// records.
import {
  type KeyRing,
  type KeyMismatch,
  fitOf,
  keyMismatchOf,
  keyMismatchText,
  sealedRefusal,
} from './keyring.ts'

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
  list(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<readonly { readonly key: string; readonly value: string }[]>
}

interface RecordsDeps {
  readonly store: SealedStore
  readonly keys: Pick<KeyRing, 'seal' | 'open' | 'holds' | 'mac' | 'isCurrent'>
  readonly log: (level: 'error', event: string, fields: Readonly<Record<string, unknown>>) => void
}

export interface Sealed<T> {
  readonly value: T
  /** The version, for `only`. */
  readonly mark: string
  /** Sealed with a former secret: lost with it, unless it is put again. */
  readonly former: boolean
}

export interface Records<T> {
  get(id: string): Promise<Sealed<T> | undefined>
  /** As in the Store: `only` is 'absent' or a mark, and undefined says it was not met. */
  put(id: string, value: T, options?: PutOptions): Promise<string | undefined>
  /** Atomic read-and-delete: of parallel takers one receives the record. */
  take(id: string): Promise<Sealed<T> | undefined>
  /** Records in ascending order of id; a damaged one leaves a gap. */
  list(options?: {
    readonly after?: string
    readonly limit?: number
  }): Promise<readonly { readonly id: string; readonly value: T }[]>
  /** All of them, so many read at once. */
  pages(limit: number): AsyncIterable<readonly { readonly id: string; readonly value: T }[]>
}

type Unreadable = Pick<RecordsDeps, 'store' | 'log'> & {
  readonly keys: Pick<KeyRing, 'open' | 'holds' | 'mac'>
}

/**
 * Why this text of a record does not open, which is told in the log. Undefined when its key was retired on
 * purpose: the secrets at hand open the marker of the store, so they are the right ones, and whoever removed
 * a former secret wanted to lose what only that one opened.
 */
export const keyMismatchOfRecord = async (
  { store, keys, log }: Unreadable,
  key: string,
  text: string,
): Promise<KeyMismatch | undefined> => {
  const misfit = await keyMismatchOf(key, text, keys)
  if (!misfit) return undefined
  const retired = misfit.kind === 'foreign' && (await fitOf(store, keys)) === 'fits'
  log('error', 'record.unreadable', {
    key,
    why: retired ? `${keyMismatchText(misfit)} anymore` : keyMismatchText(misfit),
  })
  return retired ? undefined : misfit
}

/**
 * Values that were opened last, by key and mark: what has the same mark has the same content and need not be
 * opened again.
 */
export interface OpenedValues<T> {
  get(key: string, mark: string): T | undefined
  set(key: string, mark: string, value: T): void
}

/** At most `max`; the one that was set first makes room. */
export const createOpenedValues = <T>(max: number): OpenedValues<T> => {
  const values = new Map<string, { readonly mark: string; readonly value: T }>()
  return {
    get(key, mark) {
      const kept = values.get(key)
      return kept?.mark === mark ? kept.value : undefined
    },
    set(key, mark, value) {
      if (max === 0) return
      values.delete(key)
      if (values.size >= max) values.delete(values.keys().next().value as string)
      values.set(key, { mark, value })
    },
  }
}

type Opened<T> = { readonly value: T } | KeyMismatch | undefined
type Row = { readonly key: string; readonly value: string }

interface Reading<T> {
  open(key: string, text: string): Promise<Opened<T>>
  /** Those that were opened last, by their text. */
  readonly opened: OpenedValues<T>
}

/** What could be opened of the rows; a damaged one is left out. */
const openRows = async <T>(
  { open, opened }: Reading<T>,
  prefix: string,
  rows: readonly Row[],
): Promise<readonly { readonly id: string; readonly value: T }[]> => {
  const found = await Promise.all(
    rows.map(async ({ key, value }) => {
      const before = opened.get(key, value)
      const kept = before === undefined ? await open(key, value) : { value: before }
      if (before === undefined && kept && 'value' in kept) opened.set(key, value, kept.value)
      return { id: key.slice(prefix.length), kept }
    }),
  )
  return found.flatMap(({ id, kept }) => {
    if (kept && 'kind' in kept && kept.kind === 'foreign') throw sealedRefusal(kept)
    return kept && 'value' in kept ? [{ id, value: kept.value }] : []
  })
}

const createListing = <T>(
  store: SealedStore,
  prefix: string,
  reading: Reading<T>,
): Pick<Records<T>, 'list' | 'pages'> => {
  const rowsAfter = (after: string | undefined, limit: number | undefined): Promise<readonly Row[]> =>
    store.list(prefix, { ...(after !== undefined && { after }), ...(limit !== undefined && { limit }) })
  return {
    list: async ({ after, limit } = {}) =>
      openRows(reading, prefix, await rowsAfter(after === undefined ? undefined : prefix + after, limit)),
    async *pages(limit) {
      for (let after: string | undefined; ;) {
        const rows = await rowsAfter(after, limit)
        yield await openRows(reading, prefix, rows)
        after = rows.at(-1)?.key
        // Rows, not what could be read of them: a damaged one is no end.
        if (rows.length < limit) return
      }
    },
  }
}

/**
 * Records of one kind under `{prefix}{id}`, JSON sealed with the full key as context. A record that does not
 * open is not absent: every operation rejects with `Refusal('storage.sealed')` and leaves it as it is,
 * because the right secret, or a backup, brings it back. Only what was sealed with a retired key counts as
 * absent. `T` is JSON, and whoever changes its shape reads both. `remembered`: how many opened values are
 * kept in memory for records that are read again and again, and `listed` for those that are listed again and
 * again; they are not to be changed.
 */
export const createRecords = <T>(
  deps: RecordsDeps,
  prefix: string,
  { remembered = 0, listed = 0 }: { readonly remembered?: number; readonly listed?: number } = {},
): Records<T> => {
  const { store, keys } = deps
  const values = createOpenedValues<T>(remembered)
  const open = async (key: string, text: string): Promise<Opened<T>> => {
    const json = await keys.open(text, key)
    return json === undefined ? keyMismatchOfRecord(deps, key, text) : { value: JSON.parse(json) as T }
  }
  const read = async (key: string, entry: Entry | undefined): Promise<Sealed<T> | undefined> => {
    if (!entry) return undefined
    const { value: text, mark } = entry
    const former = !keys.isCurrent(text)
    const known = values.get(key, mark)
    if (known !== undefined) return { value: known, mark, former }
    const found = await open(key, text)
    if (!found) return undefined
    if ('kind' in found) throw sealedRefusal(found)
    values.set(key, mark, found.value)
    return { value: found.value, mark, former }
  }
  const get = async (key: string): Promise<Sealed<T> | undefined> => read(key, await store.get(key))

  const putOver = async (key: string, sealed: string, options: PutOptions): Promise<string | undefined> => {
    const mark = await store.put(key, sealed, options)
    if (mark !== undefined || options.only !== 'absent') return mark
    // Something is there. What a retired key sealed must not keep the place for ever.
    const entry = await store.get(key)
    return entry && !(await read(key, entry))
      ? store.put(key, sealed, { ...options, only: entry.mark })
      : undefined
  }

  return {
    get: (id) => get(prefix + id),
    async put(id, value, options = {}) {
      const key = prefix + id
      const mark = await putOver(key, await keys.seal(JSON.stringify(value), key), options)
      if (mark !== undefined) values.set(key, mark, value)
      return mark
    },
    async take(id) {
      // Looked at first: what does not open is not destroyed.
      return (await get(prefix + id)) && read(prefix + id, await store.take(prefix + id))
    },
    ...createListing(store, prefix, { open, opened: createOpenedValues<T>(listed) }),
  }
}

/**
 * Which of so many parts of a store has a key: FNV-1a over the characters. It can never change, because existing records
 * would not be found; only the load depends on its spread.
 */
export const shardOf = (key: string, shards: number): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % shards
}

/** What is closed for now (admin/blocks.ts); every process reads it again and again. */
export const closuresKey = 'closures'

/** Prefix of the deadlines of flows (flows/deadlines.ts), which sort by time. */
export const dueKeys = 'flow-due:'

const dueDigits = 9

/** `due`: epoch ms. */
export const dueKey = (due: number, flow: string): string =>
  `${dueKeys}${due.toString(36).padStart(dueDigits, '0')}:${flow}`

export const dueTime = (key: string): number =>
  Number.parseInt(key.slice(dueKeys.length, dueKeys.length + dueDigits), 36)

/** Removes many records, in one call where the store has one for it. */
export const takeAll = async (
  store: Pick<SealedStore, 'take'> & { takeMany?(keys: readonly string[]): Promise<unknown> },
  keys: readonly string[],
): Promise<void> => {
  if (store.takeMany) await store.takeMany(keys)
  else for (const key of keys) await store.take(key)
}

/** Who acts for a subject, as one claim (RFC 8693 §4.1): each names who acted before it. Nearest first. */
export const actClaim = (actors: readonly string[]): ActClaim | undefined =>
  actors.reduceRight<ActClaim | undefined>((act, sub) => ({ sub, ...(act && { act }) }), undefined)

interface ActClaim {
  readonly sub: string
  readonly act?: ActClaim
}

/**
 * The one key under which anything of a person is kept: provider and the provider's stable subject. E-mail is
 * never a key (two accounts may share one).
 */
export const personKey = (person: { readonly provider: string; readonly subject: string }): string =>
  `${person.provider}:${person.subject}`

/**
 * Service accounts are principals as people are, of this provider: an id that no identity provider may have
 * (config/rules/service-accounts.ts). Nobody signs in as one.
 */
export const serviceAccounts = 'service'

const accountUseKey = (id: string): string => `account-use:${id}`
const accountUseKeptMs = 400 * 86_400_000

/** A service account is used. Kept beside its grants, because these end with their tokens. */
export const noteAccountUse = (
  store: Pick<SealedStore, 'put'>,
  id: string,
  at: number,
): Promise<string | undefined> => store.put(accountUseKey(id), String(at), { ttlMs: accountUseKeptMs })

/** Epoch ms, up to an hour before the last use; undefined where none was recorded in 400 days. */
export const accountUsedAt = async (
  store: Pick<SealedStore, 'get'>,
  id: string,
): Promise<number | undefined> => {
  const found = await store.get(accountUseKey(id))
  return found && Number(found.value)
}

/**
 * Whether each user has a token of their own at an upstream with this `upstream_auth`: one that they connected, or that
 * their sign-in was exchanged for.
 */
export const isOfUser = (auth?: { readonly type: string; readonly subject?: string | undefined }): boolean =>
  auth?.type === 'oauth' || auth?.type === 'idp_token' || exchangesSignIn(auth)

/** The latter alone. */
export const exchangesSignIn = (auth?: {
  readonly type: string
  readonly subject?: string | undefined
}): boolean =>
  (auth?.type === 'id_jag' || auth?.type === 'token_exchange') &&
  auth.subject !== 'file' &&
  auth.subject !== 'env'

/** What the client_id of a personal access token begins with (oauth/personal-token.ts); no client has it. */
export const personalClients = 'personal:'

/**
 * Whether an entry of an operator names this person: by the key, or by the verified e-mail address, which differs
 * in case between providers; keys never do.
 */
export const isNamed = (
  person: { readonly provider: string; readonly subject: string; readonly email?: string },
  entry: string,
): boolean =>
  entry === personKey(person) ||
  (entry.includes('@') && !entry.includes(':') && entry.toLowerCase() === person.email?.toLowerCase())

/** Whether people who sign in with that provider may use the service. */
export const servesProvider = (
  { provider, providers }: { readonly provider?: string; readonly providers?: readonly string[] },
  id: string,
): boolean => (provider ?? id) === id && (providers === undefined || providers.includes(id))
