// While a gateway is busy, what it records is kept in the file of the audit trail as it came, encrypted, and made into rows
// as soon as there is time: a row with its hashes costs a fifth of a call. What a process leaves behind that was killed
// becomes rows of the next.
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { deserialize, serialize } from 'node:v8'
import type { KeyRing } from '../kit/keyring.ts'
import { dayOf } from '../stores/audit-batches.ts'
import type { EventBatch, WrittenBatch } from '../stores/audit-events.ts'
import { type TrailDatabase, hasTable } from '../stores/audit-tables.ts'
import { lockWaitMs, trailDatabase } from './audit-database.ts'

/** It waits this long at most, and so many events do, even while the gateway stays busy. */
const longestWaitMs = 10_000
const mostWaiting = 100_000
/** After so long without much to do the gateway is not busy any more. */
const calmMs = 300
/** So many events are made into rows at once, some 10 ms. */
const stepEvents = 500

// Of each key, how many events were kept with it and how many of these are rows, so that a batch which is missing, or is
// there a second time, is noticed.
const schema = `
CREATE TABLE IF NOT EXISTS waiting (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, day INTEGER NOT NULL, events INTEGER NOT NULL, batch BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS waited (key TEXT PRIMARY KEY, kept INTEGER NOT NULL, made INTEGER NOT NULL, mac TEXT NOT NULL) WITHOUT ROWID;
`

// Keys: each process makes one, and keeps it sealed beside what it has encrypted.

export interface DayKey {
  readonly day: number
  readonly key: Uint8Array
}

interface WaitingKey {
  readonly sealed: string
  readonly key: Uint8Array
}

export interface WaitingStart {
  readonly own: WaitingKey
  /** Of what processes before have left, and what makes digests of it. */
  readonly others: readonly WaitingKey[]
  readonly days: readonly DayKey[]
}

const context = 'audit-waiting'

/** Days are of what is there; of some keys there may be nothing. */
const readLeft = (path: string): readonly { readonly key: string; readonly day: number | null }[] => {
  if (!existsSync(path)) return []
  const db = new DatabaseSync(path, { readOnly: true, timeout: lockWaitMs })
  try {
    return hasTable({ prepare: (sql) => db.prepare(sql) }, 'waited')
      ? (db.prepare('SELECT DISTINCT key, day FROM waiting UNION SELECT key, NULL FROM waited').all() as {
          key: string
          day: number | null
        }[])
      : []
  } finally {
    db.close()
  }
}

/** What the thread needs for what waits and will wait. Throws SQLite's error. */
export const waitingKeys = async (
  path: string,
  keys: Pick<KeyRing, 'mac' | 'open' | 'seal'>,
): Promise<WaitingStart> => {
  const left = readLeft(path)
  const key = randomBytes(32)
  const own = { key, sealed: await keys.seal(key.toString('base64url'), context) }
  const others: WaitingKey[] = []
  for (const sealed of new Set(left.map((one) => one.key))) {
    const opened = await keys.open(sealed, context)
    if (opened !== undefined) others.push({ sealed, key: Buffer.from(opened, 'base64url') })
  }
  const days: DayKey[] = []
  for (const day of new Set(left.flatMap((one) => one.day ?? []))) {
    const mac = await keys.mac('audit/arguments', String(day))
    if (mac) days.push({ day, key: mac })
  }
  return { own, others, days }
}

const [ivBytes, tagBytes] = [12, 16]

const encrypt = (key: Uint8Array, count: number, text: Uint8Array): Buffer => {
  // The key is of this process alone, so a counter repeats for none.
  const iv = Buffer.alloc(ivBytes, 0)
  iv.writeUIntBE(count, 0, 6)
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  return Buffer.concat([iv, cipher.update(text), cipher.final(), cipher.getAuthTag()])
}

/** Undefined where it was changed. */
const decrypt = (key: Uint8Array, sealed: Uint8Array): Buffer | undefined => {
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, ivBytes))
    decipher.setAuthTag(sealed.subarray(-tagBytes))
    return Buffer.concat([decipher.update(sealed.subarray(ivBytes, -tagBytes)), decipher.final()])
  } catch {
    return undefined
  }
}

// The table.

interface Left {
  readonly id: number
  readonly events: number
  /** Undefined where it was changed, or is there a second time. */
  readonly batch: EventBatch | undefined
}

/** What is encrypted. */
interface Kept {
  /** So many events were kept before these. */
  readonly from: number
  readonly batch: EventBatch
}

interface Progress {
  readonly kept: number
  readonly made: number
}

interface Taken {
  readonly left: readonly Left[]
  /** So many events are missing. */
  readonly lost: number
  /** What of each key is made into rows with these: before, and then. */
  readonly made: ReadonlyMap<string, readonly [before: number, then: number]>
}

/** Another process has made rows of it. */
class TakenError extends Error {}

const macOf = (key: Uint8Array, { kept, made }: Progress): string =>
  createHmac('sha256', key).update(`${kept} ${made}`).digest('base64url')

/** How far each key is. */
const createProgress = (db: DatabaseSync, known: ReadonlyMap<string, Uint8Array>) => {
  const reading = db.prepare('SELECT kept, made, mac FROM waited WHERE key = ?')
  const saving = db.prepare('INSERT OR REPLACE INTO waited (key, kept, made, mac) VALUES (?, ?, ?, ?)')
  const forgetting = db.prepare('DELETE FROM waited WHERE key = ?')
  return {
    /** `sound`: this is known; undefined: nothing says so. */
    of(sealed: string): Progress & { readonly sound: boolean | undefined } {
      const found = reading.get(sealed) as (Progress & { readonly mac: string }) | undefined
      const key = known.get(sealed)
      if (!found || !key) return { kept: 0, made: 0, sound: undefined }
      if (macOf(key, found) !== found.mac) return { kept: 0, made: 0, sound: false }
      return { ...found, sound: true }
    },
    save(sealed: string, progress: Progress): void {
      const key = known.get(sealed)
      if (key) saving.run(sealed, progress.kept, progress.made, macOf(key, progress))
    },
    forget: (sealed: string): void => void forgetting.run(sealed),
  }
}

type ProgressOf = (sealed: string) => ReturnType<ReturnType<typeof createProgress>['of']>

/** Adds up what is made into rows, key by key, and what is missing before it. */
const createSum = (progressOf: ProgressOf) => {
  const made = new Map<string, [number, number]>()
  let lost = 0
  let sound = true
  const rangeOf = (sealed: string): [number, number] => {
    const before = progressOf(sealed).made
    const range = made.get(sealed) ?? [before, before]
    made.set(sealed, range)
    return range
  }
  return {
    made,
    /** How many were kept is unknown where that was changed, so it is not known either that nothing is missing. */
    lost: () => (sound ? lost : Math.max(lost, 1)),
    /** The next batch of a key; undefined where it was changed, or is there a second time. */
    next(sealed: string, found: Kept | undefined): EventBatch | undefined {
      const range = rangeOf(sealed)
      if (progressOf(sealed).sound !== true) sound = false
      if (!found || found.from < range[1]) return undefined
      lost += found.from - range[1]
      range[1] = found.from + found.batch.times.length
      return found.batch
    },
    /** There is no other: what was kept behind it is missing. */
    end(sealed: string): void {
      const [range, { kept, sound: said }] = [rangeOf(sealed), progressOf(sealed)]
      if (said === false) sound = false
      lost += Math.max(0, kept - range[1])
      range[1] = Math.max(kept, range[1])
    },
  }
}

/** Reads the oldest. */
const createTake = (
  reading: () => Iterable<Readonly<Record<string, unknown>>>,
  known: ReadonlyMap<string, Uint8Array>,
  progressOf: ProgressOf,
) => {
  const opened = (sealed: string, text: unknown): Kept | undefined => {
    const key = known.get(sealed)
    const plain = key && decrypt(key, text as Uint8Array)
    return plain && (deserialize(plain) as Kept)
  }
  return (): Taken => {
    const left: Left[] = []
    const sum = createSum(progressOf)
    let events = 0
    for (const { id, key, batch: text } of reading()) {
      const batch = sum.next(String(key), opened(String(key), text))
      const count = batch?.times.length ?? 0
      left.push({ id: Number(id), events: count, batch })
      events += count
      if (events >= stepEvents) break
    }
    if (events < stepEvents && left.length < stepEvents) for (const sealed of known.keys()) sum.end(sealed)
    return { left, lost: sum.lost(), made: sum.made }
  }
}

/** What waits in the file. */
export const createWaiting = (db: DatabaseSync, { own, others }: WaitingStart) => {
  db.exec(schema)
  const { transaction } = trailDatabase(db)
  const known = new Map([own, ...others].map(({ sealed, key }) => [sealed, key]))
  const progress = createProgress(db, known)
  const mine = `FROM waiting WHERE key IN (${[...known.keys()].map(() => '?').join(', ')})`
  const counting = db.prepare(`SELECT coalesce(sum(events), 0) AS events ${mine}`)
  const reading = db.prepare(`SELECT * ${mine} ORDER BY id LIMIT ${stepEvents}`)
  const keeping = db.prepare('INSERT INTO waiting (key, day, events, batch) VALUES (?, ?, ?, ?)')
  const removing = db.prepare('DELETE FROM waiting WHERE id = ?')
  /** Events of this process, and batches, which are numbered whether or not they were written. */
  let [kept, count] = [0, 0]
  const progressOf: ProgressOf = (sealed) => {
    const found = progress.of(sealed)
    return sealed === own.sealed ? { ...found, kept } : found
  }
  const take = createTake(() => reading.iterate(...known.keys()), known, progressOf)
  return {
    others: others.length,
    events: (): number => Number(counting.get(...known.keys())?.['events']),
    /** In one commit. */
    keep(batches: readonly EventBatch[]): void {
      kept = transaction(() => {
        let from = kept
        for (const batch of batches) {
          const { length } = batch.times
          const text = serialize({ from, batch } satisfies Kept)
          keeping.run(own.sealed, dayOf(batch.times[0] ?? 0), length, encrypt(own.key, count++, text))
          from += length
        }
        progress.save(own.sealed, { kept: from, made: progress.of(own.sealed).made })
        return from
      })
    },
    /** The oldest, about as many as are made into rows at once. */
    oldest: (): Taken => transaction(take),
    /** Within the transaction that writes their rows, so that they are written once. */
    remove({ left, made }: Taken) {
      for (const { id } of left) if (Number(removing.run(id).changes) !== 1) throw new TakenError()
      for (const [sealed, [before, then]] of made) {
        const now = progressOf(sealed)
        if (now.made !== before) throw new TakenError()
        // That of a process that still runs is its own to remove.
        if (then !== before || now.sound === false)
          progress.save(sealed, { kept: Math.max(now.kept, then), made: then })
      }
    },
    /** At the end of the process, when all are rows. */
    end(): void {
      if (progress.of(own.sealed).made === kept) progress.forget(own.sealed)
    },
  }
}

/** Rows of a batch, and what is kept beside them. */
export type MadeBatch = WrittenBatch & Pick<EventBatch, 'kept'>

export interface CatchUpDeps {
  readonly waiting: ReturnType<typeof createWaiting>
  readonly make: (batch: EventBatch) => MadeBatch
  /** Writes the rows, and with them does the other; false where that has to be tried again. */
  readonly write: (made: readonly MadeBatch[], also: () => void) => boolean
  /** So many events cannot be read. */
  readonly lose: (events: number) => void
  /** So many wait. */
  readonly tell: (events: number) => void
}

const retryMs = 500

/** Makes rows of the oldest; false where that has to be tried again. */
const createStep = ({ waiting, make, write, lose }: CatchUpDeps) => {
  /** Undefined for what no row can be made of: it would be met again at each start. */
  const madeOf = ({ batch }: Left): MadeBatch | undefined => {
    try {
      return batch && make(batch)
    } catch {
      return undefined
    }
  }
  return (): boolean => {
    const taken = waiting.oldest()
    const made = taken.left.map(madeOf)
    const lost = taken.left.reduce((sum, one, i) => sum + (made[i] ? 0 : one.events), taken.lost)
    if (taken.left.length === 0 && lost === 0) return true
    try {
      const rows = made.filter((one) => one !== undefined)
      if (!write(rows, () => waiting.remove(taken))) return false
      if (lost > 0) lose(lost)
    } catch (error) {
      if (!(error instanceof TakenError)) throw error
    }
    return true
  }
}

/** Makes rows of what waits, whenever there is time. */
export const createCatchUp = (deps: CatchUpDeps) => {
  const { waiting, tell } = deps
  const makeRows = createStep(deps)
  let events = waiting.events()
  let [busyUntil, since] = [0, Date.now()]
  let hurried = false
  let timer: NodeJS.Timeout | undefined
  const step = (): boolean => {
    if (!makeRows()) return false
    events = waiting.events()
    if (events === 0) hurried = false
    tell(events)
    return true
  }
  const isTime = (): boolean => {
    const now = Date.now()
    return hurried || now >= busyUntil || events > mostWaiting || now - since > longestWaitMs
  }
  const go = (): void => {
    timer = undefined
    if (events === 0) return
    const time = isTime()
    const done = !time || step()
    if (events > 0) timer = setTimeout(go, done ? (time ? 0 : calmMs) : retryMs)
  }
  tell(events)
  // What processes before have kept may all be missing.
  if (events === 0 && waiting.others > 0) step()
  if (events > 0) go()
  return {
    waits: () => events > 0,
    /** Keeps them, and tells that there is much to do. Throws SQLite's error with nothing kept. */
    keep(batches: readonly EventBatch[], busy: boolean) {
      waiting.keep(batches)
      const now = Date.now()
      if (events === 0) since = now
      if (busy) busyUntil = now + calmMs
      events += batches.reduce((sum, { times }) => sum + times.length, 0)
      tell(events)
      timer ??= setTimeout(go, calmMs)
    },
    /** Somebody wants to read the rows. */
    hurry() {
      hurried = events > 0
      if (!hurried) return
      clearTimeout(timer)
      go()
    },
    /** Until then (epoch ms) at most. */
    end(until: number) {
      clearTimeout(timer)
      const goesOn = (): boolean => events > 0 && Date.now() < until && step()
      while (goesOn());
      if (events === 0) waiting.end()
    },
  }
}

/** Events that no row was made of yet. */
export const countWaiting = (db: Pick<TrailDatabase, 'prepare'>): number =>
  hasTable(db, 'waiting')
    ? (db.prepare('SELECT coalesce(sum(events), 0) AS n FROM waiting').get() as { readonly n: number }).n
    : 0
