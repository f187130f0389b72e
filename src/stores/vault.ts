// A Store in the KV engine, version 2, of Vault or OpenBao: every change is one write with check-and-set. Lifetimes are kept
// in the records and compared with the clock of the server. What is taken leaves a receipt, which whoever took it finds
// again if the answer was lost. Names stay until nothing has needed them for an hour.
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Entry, Mark, PutOptions, StoredRecord, StoredRecords, SweptStore } from '../ports/store.ts'

export interface VaultSecret {
  /** Null where the version was deleted. */
  readonly data: unknown
  readonly version: number
  /** Epoch ms. */
  readonly createdAt: number
}

/** Requests to the engine, relative to the folder that is the store's. Each may be repeated. */
export interface VaultRequests {
  /** Undefined where there never was a version. */
  read(path: string): Promise<VaultSecret | undefined>
  /** Resolves with the new version; undefined where the current one is not `cas`. */
  write(path: string, data: object, cas: number): Promise<number | undefined>
  /** Old versions are of no use. */
  keepOne(path: string): Promise<void>
  /** With all its versions: the next one is the first. */
  remove(path: string): Promise<void>
  /** Names below a folder, those of folders with `/` at the end. */
  names(folder: string): Promise<readonly string[]>
  /** Epoch ms, by the clock of the server. */
  now(): number
  /** For what is over at the next try. */
  passing(why: string): Error
}

/**
 * Carries an operation out, once more when an answer did not come, and rejects with `Refusal('storage.unavailable')`.
 */
export type VaultDriver = <T>(operation: (requests: VaultRequests) => Promise<T>) => Promise<T>

// Where a key is: the folder of its kind, of the first characters of the rest, and the rest. Names of folders and of
// secrets are what may stand in a URL and everywhere else.

const escaped = (text: string): string =>
  text === ''
    ? '~'
    : text.replaceAll(/[^A-Za-z0-9_-]/g, (char) => `~${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
const unescaped = (name: string): string =>
  name === '~'
    ? ''
    : name.replaceAll(/~([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

/** The folder of keys without a kind. */
const noKind = '~none'
const bucketLength = 8

const split = (key: string): readonly [kind: string | undefined, rest: string] => {
  const at = key.indexOf(':')
  return at < 0 ? [undefined, key] : [key.slice(0, at), key.slice(at + 1)]
}
const folderOf = (kind: string | undefined): string => (kind === undefined ? noKind : escaped(kind))
const pathOf = (key: string): string => {
  const [kind, rest] = split(key)
  return `${folderOf(kind)}/${escaped(rest.slice(0, bucketLength))}/${escaped(rest)}`
}

const isFolder = (name: string): boolean => name.endsWith('/')
const folderName = (name: string): string => name.slice(0, -1)

// What a secret holds.

interface RecordData {
  readonly v: string
  /** Drawn by whoever wrote it. */
  readonly m: string
  /** When it is over, epoch ms. */
  readonly x?: number
  /** Drawn by whoever took it. */
  readonly t?: string
}

/** Nobody writes there until it is over: its name is being removed. */
interface Grave {
  readonly g: 1
  readonly until: number
}

interface Stored {
  readonly version: number
  readonly createdAt: number
  readonly record: RecordData | undefined
  readonly graveUntil: number | undefined
}

const storedIn = (secret: VaultSecret | undefined): Stored => {
  const data = (secret?.data ?? undefined) as RecordData | Grave | undefined
  return {
    version: secret?.version ?? 0,
    createdAt: secret?.createdAt ?? 0,
    record: data && 'v' in data ? data : undefined,
    graveUntil: data && 'g' in data ? data.until : undefined,
  }
}

const markOf = (version: number, { x, m }: RecordData): Mark => `${version}.${x ?? ''}.${m}` as Mark

const liveIn = ({ record }: Stored, now: number): RecordData | undefined =>
  record && record.t === undefined && (record.x ?? Number.POSITIVE_INFINITY) > now ? record : undefined

const entryOf = (version: number, record: RecordData): Entry => ({
  value: record.v,
  mark: markOf(version, record),
})

/** As often as somebody else may have written in between. */
const mostTries = 8
const contended = (path: string): Refusal =>
  new Refusal('storage.unavailable', `${path} is written by too many at once`)

interface VaultStoreOptions {
  readonly random: (n: number) => Uint8Array<ArrayBuffer>
}

type Requests = VaultRequests

/** What is there, unless somebody is about to remove it. */
const storedAt = async (requests: Requests, path: string): Promise<Stored> => {
  const stored = storedIn(await requests.read(path))
  if ((stored.graveUntil ?? 0) > requests.now()) throw requests.passing(`${path} is being removed`)
  return stored
}

interface Writing {
  readonly path: string
  readonly data: RecordData
  readonly only: PutOptions['only']
}

/** Whether what is there may be written over. */
const isMet = (stored: Stored, only: PutOptions['only'], now: number): boolean => {
  const live = liveIn(stored, now)
  if (only === undefined) return true
  return only === 'absent' ? !live : live !== undefined && markOf(stored.version, live) === only
}

/** Repeated with the same data it finds what it wrote. */
const write = async (requests: Requests, { path, data, only }: Writing): Promise<Mark | undefined> => {
  const nothing: Stored = { version: 0, createdAt: 0, record: undefined, graveUntil: undefined }
  for (let tries = 0; tries < mostTries; tries++) {
    // Most of what is written where nothing is has never been there.
    const stored = tries === 0 && only === 'absent' ? nothing : await storedAt(requests, path)
    if (stored.record?.m === data.m)
      return stored.record.t === undefined ? markOf(stored.version, stored.record) : undefined
    if (!isMet(stored, only, requests.now())) return undefined
    const version = await requests.write(path, data, stored.version)
    if (version !== undefined) {
      if (version === 1) await requests.keepOne(path).catch(() => undefined)
      return markOf(version, data)
    }
  }
  throw contended(path)
}

const takeFrom = async (requests: Requests, path: string, taker: string): Promise<Entry | undefined> => {
  for (let tries = 0; tries < mostTries; tries++) {
    const stored = await storedAt(requests, path)
    // The version before the receipt is the one that was taken.
    if (stored.record?.t === taker) return entryOf(stored.version - 1, stored.record)
    const live = liveIn(stored, requests.now())
    if (!live) return undefined
    const version = await requests.write(path, { ...live, t: taker }, stored.version)
    if (version !== undefined) return entryOf(stored.version, live)
  }
  throw contended(path)
}

// Lists: names are asked for folder by folder, and each record by itself.

const keysBelow = async (
  run: VaultDriver,
  kind: string | undefined,
  bucket: string,
): Promise<readonly string[]> => {
  const names = await run((requests) => requests.names(`${folderOf(kind)}/${escaped(bucket)}`))
  const start = kind === undefined ? '' : `${kind}:`
  return names.flatMap((name) => (isFolder(name) ? [] : [`${start}${unescaped(name)}`])).sort()
}

const bucketsOf = async (run: VaultDriver, kind: string | undefined): Promise<readonly string[]> =>
  (await run((requests) => requests.names(folderOf(kind))))
    .flatMap((name) => (isFolder(name) ? [unescaped(folderName(name))] : []))
    .sort()

/** Keys of one kind whose rest starts so, after this rest, ascending, some at a time. */
async function* keysOfKind(
  run: VaultDriver,
  kind: string | undefined,
  start: string,
  after: string,
): AsyncGenerator<readonly string[]> {
  const whole = start.slice(0, bucketLength)
  const buckets = whole.length === bucketLength ? [whole] : await bucketsOf(run, kind)
  for (const bucket of buckets)
    if (bucket.startsWith(whole) && bucket >= after.slice(0, bucketLength))
      yield await keysBelow(run, kind, bucket)
}

/** All keys that start so, where that names no kind. */
const keysOfKinds = async (run: VaultDriver, prefix: string): Promise<readonly string[]> => {
  const kinds = (await run((requests) => requests.names(''))).flatMap((name) =>
    isFolder(name) ? [name === `${noKind}/` ? undefined : unescaped(folderName(name))] : [],
  )
  const keys: string[] = []
  for (const kind of kinds)
    if (kind === undefined || `${kind}:`.startsWith(prefix))
      for (const bucket of await bucketsOf(run, kind)) keys.push(...(await keysBelow(run, kind, bucket)))
  return keys.filter((key) => key.startsWith(prefix)).sort()
}

async function* keysFrom(run: VaultDriver, prefix: string, after: string): AsyncGenerator<readonly string[]> {
  const [kind, start] = split(prefix)
  const isAfter = (key: string): boolean => key.startsWith(prefix) && key > after
  if (kind === undefined) {
    yield (await keysOfKinds(run, prefix)).filter(isAfter)
    return
  }
  const afterRest = after.startsWith(`${kind}:`) ? after.slice(kind.length + 1) : ''
  for await (const keys of keysOfKind(run, kind, start, afterRest)) yield keys.filter(isAfter)
}

/** Records that are read at once. */
const readAtOnce = 10

interface Found {
  readonly key: string
  readonly record: RecordData
  readonly now: number
}

/** Those of these keys that are there, in order, at most so many. */
const readLive = async (run: VaultDriver, keys: readonly string[], most: number): Promise<Found[]> => {
  const found: Found[] = []
  for (let from = 0; from < keys.length && found.length < most; from += readAtOnce) {
    const page = await Promise.all(
      keys.slice(from, from + readAtOnce).map((key) =>
        run(async (requests) => {
          const stored = storedIn(await requests.read(pathOf(key)))
          const now = requests.now()
          const record = liveIn(stored, now)
          return record && { key, record, now }
        }),
      ),
    )
    for (const one of page) if (one) found.push(one)
  }
  return found.slice(0, most)
}

// What is over is removed after an hour, in two steps, because the removal of a name asks for no version: whoever wants to
// write there in between waits.

const deadMs = 3_600_000
/** As long as nobody writes there, and the time in which whoever marked it may remove it. */
const [graveMs, removeMs] = [300_000, 180_000]
const leaseKey = 'vault-sweep'
const leaseMs = 60_000
/** Each is a request or more. */
const mostSwept = 50

const isDead = ({ record, graveUntil, createdAt, version }: Stored, now: number): boolean => {
  if (version === 0) return false
  if (graveUntil !== undefined) return graveUntil <= now
  if (record?.t !== undefined || record === undefined) return createdAt + deadMs <= now
  return (record.x ?? Number.POSITIVE_INFINITY) + deadMs <= now
}

const removeDead = async (requests: Requests, path: string): Promise<boolean> => {
  const stored = storedIn(await requests.read(path))
  const began = requests.now()
  if (!isDead(stored, began)) return false
  const grave: Grave = { g: 1, until: began + graveMs }
  if ((await requests.write(path, grave, stored.version)) === undefined) return false
  // A removal that is late could meet the record of somebody else.
  if (requests.now() > began + removeMs) return false
  await requests.remove(path)
  return true
}

const createSweep = (run: VaultDriver, lease: () => Promise<boolean>) => {
  let waiting: string[] = []
  let walkedAt = Number.NEGATIVE_INFINITY
  return async (limit: number): Promise<number> => {
    if (!(await lease())) return 0
    const now = await run(async (requests) => requests.now())
    if (waiting.length === 0 && now - walkedAt > deadMs) {
      walkedAt = now
      waiting = [...(await keysOfKinds(run, ''))]
    }
    let gone = 0
    for (const key of waiting.splice(0, Math.min(limit, mostSwept)))
      if (await run((requests) => removeDead(requests, pathOf(key)))) gone++
    return gone
  }
}

export const createVaultStore = (run: VaultDriver, { random }: VaultStoreOptions): SweptStore => {
  const draw = (): string => encodeBase64url(random(16))
  const put = (key: string, value: string, { ttlMs, only }: PutOptions = {}): Promise<Mark | undefined> => {
    const m = draw()
    return run((requests) => {
      const x = ttlMs === undefined ? {} : { x: Math.ceil(requests.now() + ttlMs) }
      return write(requests, { path: pathOf(key), data: { v: value, m, ...x }, only })
    })
  }
  return {
    get: (key) =>
      run(async (requests) => {
        const stored = storedIn(await requests.read(pathOf(key)))
        const live = liveIn(stored, requests.now())
        return live && entryOf(stored.version, live)
      }),
    put,
    take(key) {
      const taker = draw()
      return run((requests) => takeFrom(requests, pathOf(key), taker))
    },
    async list(prefix, { after = '', limit = 100 } = {}) {
      const found: Found[] = []
      for await (const keys of keysFrom(run, prefix, after)) {
        found.push(...(await readLive(run, keys, limit - found.length)))
        if (found.length >= limit) break
      }
      return found.map(({ key, record }) => ({ key, value: record.v }))
    },
    sweep: createSweep(run, async () => {
      const mine = await put(leaseKey, '', { ttlMs: leaseMs, only: 'absent' })
      return mine !== undefined
    }),
  }
}

/** All records, for a copy. Their names are asked for once. */
export const createVaultRecords = (run: VaultDriver): StoredRecords => {
  let keys: readonly string[] = []
  return {
    async records(after, limit) {
      if (after === '' || keys.length === 0) keys = await keysOfKinds(run, '')
      const found = await readLive(
        run,
        keys.filter((key) => key > after),
        limit,
      )
      return found.map(({ key, record, now }): StoredRecord => ({
        key,
        value: record.v,
        ttlMs: record.x === undefined ? undefined : Math.max(1, record.x - now),
      }))
    },
  }
}
