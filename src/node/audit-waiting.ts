// While a gateway is busy, what it records is kept in the file of the audit trail as it came, encrypted, and made into rows
// as soon as there is time: a row with its hashes costs a fifth of a call. What a process leaves behind that was killed
// becomes rows of the next.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
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

const schema =
  'CREATE TABLE IF NOT EXISTS waiting (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, day INTEGER NOT NULL, events INTEGER NOT NULL, batch BLOB NOT NULL)'

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

const readLeft = (path: string): readonly { readonly key: string; readonly day: number }[] => {
  if (!existsSync(path)) return []
  const db = new DatabaseSync(path, { readOnly: true, timeout: lockWaitMs })
  try {
    return hasTable({ prepare: (sql) => db.prepare(sql) }, 'waiting')
      ? (db.prepare('SELECT DISTINCT key, day FROM waiting').all() as { key: string; day: number }[])
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
  for (const day of new Set(left.map((one) => one.day))) {
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
  /** Undefined where it was changed. */
  readonly batch: EventBatch | undefined
}

/** Another process has made rows of it. */
class TakenError extends Error {}

/** What waits in the file. */
export const createWaiting = (db: DatabaseSync, { own, others }: WaitingStart) => {
  db.exec(schema)
  const { transaction } = trailDatabase(db)
  const known = new Map([own, ...others].map(({ sealed, key }) => [sealed, key]))
  const mine = `FROM waiting WHERE key IN (${[...known.keys()].map(() => '?').join(', ')})`
  const counting = db.prepare(`SELECT coalesce(sum(events), 0) AS events ${mine}`)
  const reading = db.prepare(`SELECT * ${mine} ORDER BY id LIMIT ${stepEvents}`)
  const keeping = db.prepare('INSERT INTO waiting (key, day, events, batch) VALUES (?, ?, ?, ?)')
  const removing = db.prepare('DELETE FROM waiting WHERE id = ?')
  let count = 0
  const read = ({ id, key, events, batch }: Record<string, unknown>): Left => {
    const text = decrypt(known.get(String(key)) ?? own.key, batch as Uint8Array)
    return { id: Number(id), events: Number(events), batch: text && (deserialize(text) as EventBatch) }
  }
  return {
    events: (): number => Number(counting.get(...known.keys())?.['events']),
    /** In one commit. */
    keep: (batches: readonly EventBatch[]): void =>
      transaction(() => {
        for (const batch of batches) {
          const day = dayOf(batch.times[0] ?? 0)
          keeping.run(own.sealed, day, batch.times.length, encrypt(own.key, count++, serialize(batch)))
        }
      }),
    /** The oldest, about so many events. */
    oldest(most: number): readonly Left[] {
      const found: Left[] = []
      let events = 0
      for (const row of reading.iterate(...known.keys())) {
        const left = read(row)
        found.push(left)
        if ((events += left.events) >= most) break
      }
      return found
    },
    /** Within the transaction that writes its rows, so that they are written once. */
    remove(left: readonly Left[]) {
      for (const { id } of left) if (Number(removing.run(id).changes) !== 1) throw new TakenError()
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
    const left = waiting.oldest(stepEvents)
    const made = left.map(madeOf)
    const lost = left.reduce((sum, one, i) => sum + (made[i] ? 0 : one.events), 0)
    try {
      const rows = made.filter((one) => one !== undefined)
      if (left.length > 0 && !write(rows, () => waiting.remove(left))) return false
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
    },
  }
}

/** Events that no row was made of yet. */
export const countWaiting = (db: Pick<TrailDatabase, 'prepare'>): number =>
  hasTable(db, 'waiting')
    ? (db.prepare('SELECT coalesce(sum(events), 0) AS n FROM waiting').get() as { readonly n: number }).n
    : 0
