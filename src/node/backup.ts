// A backup: all records of a storage in one file of lines of JSON. The first says what it is, the last how many records there
// are, with a digest of all lines before it.
import { createCipheriv, createDecipheriv, createHash, randomBytes, scryptSync } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { Refusal } from '../kit/refusal.ts'
import type { StoredRecord, StoredRecords } from '../ports/store.ts'

/** The root key under a passphrase: scrypt (RFC 7914) and AES-256-GCM, its tag at the end. Bytes as base64url. */
interface SealedRootKey {
  readonly kdf: 'scrypt'
  readonly n: number
  readonly r: number
  readonly p: number
  readonly salt: string
  readonly iv: string
  readonly data: string
}

interface BackupHeader {
  readonly postern_backup: 1
  /** Version of the gateway that made it. */
  readonly product: string
  readonly created_at: string
  readonly issuer?: string | undefined
  readonly root_key?: SealedRootKey | undefined
}

interface FiledRecord {
  readonly key: string
  readonly value: string
  /** When it is over, epoch ms; absent: it stays. */
  readonly expires_at?: number
}

interface Footer {
  readonly records: number
  readonly sha256: string
}

// The root key.

const guessCost = { n: 131_072, r: 8, p: 1 } as const
/** What a file may ask for at most: reading it must not take the memory of the computer. */
const mostCost = { n: 1_048_576, r: 16, p: 4 } as const

const keyOf = (
  passphrase: string,
  salt: Buffer,
  { n: N, r, p }: Pick<SealedRootKey, 'n' | 'r' | 'p'>,
): Buffer => scryptSync(passphrase.normalize('NFC'), salt, 32, { N, r, p, maxmem: 256 * N * r })

const additional = Buffer.from('postern backup root key')

/** `cost`: what one guess of the passphrase takes (default: 128 MiB). */
export const sealRootKey = (
  rootKey: Uint8Array,
  passphrase: string,
  cost: Pick<SealedRootKey, 'n' | 'r' | 'p'> = guessCost,
): SealedRootKey => {
  const [salt, iv] = [randomBytes(16), randomBytes(12)]
  const cipher = createCipheriv('aes-256-gcm', keyOf(passphrase, salt, cost), iv).setAAD(additional)
  const data = Buffer.concat([cipher.update(rootKey), cipher.final(), cipher.getAuthTag()])
  const text = (bytes: Buffer): string => bytes.toString('base64url')
  return { kdf: 'scrypt', ...cost, salt: text(salt), iv: text(iv), data: text(data) }
}

/** Undefined: the passphrase is another one. */
export const openRootKey = (sealed: SealedRootKey, passphrase: string): Buffer | undefined => {
  const { n, r, p } = sealed
  if (!(n <= mostCost.n && r <= mostCost.r && p <= mostCost.p))
    throw notOne('its root key asks for too much memory')
  const [salt, iv, data] = [sealed.salt, sealed.iv, sealed.data].map((text) =>
    Buffer.from(text, 'base64url'),
  ) as [Buffer, Buffer, Buffer]
  try {
    const decipher = createDecipheriv('aes-256-gcm', keyOf(passphrase, salt, sealed), iv).setAAD(additional)
    decipher.setAuthTag(data.subarray(-16))
    return Buffer.concat([decipher.update(data.subarray(0, -16)), decipher.final()])
  } catch {
    return undefined
  }
}

// Writing.

/** ASCII, so that no reader takes a character for the end of a line. */
const encode = (value: object): string =>
  `${JSON.stringify(value).replaceAll(/[\u0080-\uFFFF]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`

const pageLength = 500

interface WriteOptions {
  readonly path: string
  readonly header: Omit<BackupHeader, 'postern_backup'>
  readonly from: StoredRecords
  /** Epoch ms. */
  readonly now: () => number
  readonly onProgress: (step: string, records: number, of: number | undefined) => void
}

/** Nobody but its owner may read the file, which is there only once it is complete. Resolves with the number of records. */
export const writeBackup = async ({ path, header, from, now, onProgress }: WriteOptions): Promise<number> => {
  const draft = `${path}.part`
  const file = await open(draft, 'wx', 0o600)
  try {
    const hash = createHash('sha256')
    const write = async (lines: readonly string[]): Promise<void> => {
      const text = lines.join('')
      hash.update(text)
      await file.writeFile(text)
    }
    await write([encode({ postern_backup: 1, ...header })])
    const of = await from.count?.()
    let records = 0
    for (let last: string | undefined = ''; last !== undefined;) {
      const page: readonly StoredRecord[] = await from.records(last, pageLength)
      last = page.at(-1)?.key
      const at = now()
      await write(
        page.map(({ key, value, ttlMs }) =>
          encode({ key, value, ...(ttlMs !== undefined && { expires_at: Math.ceil(at + ttlMs) }) }),
        ),
      )
      records += page.length
      onProgress('written', records, of)
    }
    await file.writeFile(encode({ records, sha256: hash.digest('hex') }))
    await file.sync()
    await file.close()
    await rename(draft, path)
    return records
  } catch (error) {
    await file.close().catch(() => undefined)
    await rm(draft, { force: true })
    throw error
  }
}

// Reading.

const notOne = (why: string): Refusal =>
  new Refusal('storage.unavailable', `this is no complete backup: ${why}`)

const linesIn = (path: string): AsyncIterator<string> =>
  createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Infinity })[Symbol.asyncIterator]()

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    throw notOne('a line of it cannot be read')
  }
}

const recordOf = (text: string): FiledRecord => {
  const record = parsed(text) as Partial<FiledRecord> | null
  const { key, value, expires_at: at } = record ?? {}
  if (typeof key !== 'string' || typeof value !== 'string' || !(at === undefined || Number.isFinite(at)))
    throw notOne('a record of it cannot be read')
  return record as FiledRecord
}

export interface Backup extends StoredRecords {
  readonly header: BackupHeader
  /** Names it, whatever the file is called. */
  readonly sha256: string
}

/** The records behind the first line; those that are over meanwhile are left out. */
const createFileRecords = (path: string, count: number, now: () => number): StoredRecords => {
  let at: { readonly lines: AsyncIterator<string>; last: string; left: number } | undefined
  const from = async (after: string) => {
    if (at?.last === after) return at
    const lines = linesIn(path)
    await lines.next()
    return (at = { lines, last: after, left: count })
  }
  return {
    count: () => Promise.resolve(count),
    async records(after, limit) {
      const place = await from(after)
      const page: StoredRecord[] = []
      while (page.length < limit && place.left > 0) {
        const { value: text, done } = await place.lines.next()
        if (done) throw notOne('it has become shorter')
        place.left--
        const { key, value, expires_at: end } = recordOf(text)
        if (key > after && (end === undefined || end > now()))
          page.push({ key, value, ttlMs: end === undefined ? undefined : end - now() })
      }
      place.last = page.at(-1)?.key ?? after
      return page
    },
  }
}

/** Reads it once from beginning to end. Rejects with `Refusal('storage.unavailable')` where it is not what was written. */
export const openBackup = async (path: string, now: () => number): Promise<Backup> => {
  const lines = linesIn(path)
  const hash = createHash('sha256')
  let header: BackupHeader | undefined
  let records = -1
  let last: string | undefined
  for (let next = await lines.next(); !next.done; next = await lines.next()) {
    if (last !== undefined) {
      hash.update(`${last}\n`)
      records++
    }
    header ??= parsed(next.value) as BackupHeader
    if (header?.postern_backup !== 1)
      throw notOne('its first line is of something else, or of a newer version')
    last = next.value
  }
  const footer = parsed(last ?? '') as Partial<Footer> | null
  const sha256 = hash.digest('hex')
  if (!header || footer?.sha256 !== sha256 || footer.records !== records)
    throw notOne('it was changed, or its end is missing')
  return { header, sha256, ...createFileRecords(path, records, now) }
}
