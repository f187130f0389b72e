// The audit trail of a process: events are gathered here and written by a thread of its own, so that no call
// waits for a hash or a disk.
import { fileURLToPath } from 'node:url'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import { type EventBatch, createSnapshots } from '../stores/audit-events.ts'
import type { KeyRing } from '../kit/keyring.ts'
import type { AuditKey } from '../stores/audit-signatures.ts'
import type { AuditBody } from '../ports/store.ts'
import type { Principal } from '../ports/people.ts'
import type { Log, Trail } from '../ports/runtime.ts'
import { createAuditLog } from '../stores/audit-log.ts'
import { publicKeyOf, readStoredKeys, trailKey } from './audit-keys.ts'
import type { SinkPlan } from './audit-targets.ts'
import { type FromWriter, type ToWriter, type WriterStart, dayOf, runWriter } from './audit-thread.ts'

// The process's own thread.

/** Events are handed over when so many wait, or one has waited so long. */
const batchSize = 64
const batchMs = 50
/** What is kept in memory while nothing can be written. */
const mostEvents = 20_000
const mostCharacters = 16_777_216
/** Of a larger message the arguments are not digested. */
const mostBody = 1_048_576
const restartMs = 5000
const keysMs = 60_000
/** How often it is told what was refused again and again. */
const sweepMs = 30_000
/** Longest wait for the last rows. */
const closeMs = 3000

export interface AuditTrail extends Trail {
  /** The log, of which the trail keeps what belongs there. */
  readonly log: Log
  /** Writes what is left and ends the chain; false when it could not be written in time. */
  close(): Promise<boolean>
}

export interface AuditTrailOptions {
  readonly path: string
  readonly version: string
  readonly retentionMs: number
  readonly bodiesMs: number
  readonly sinks: readonly SinkPlan[]
  readonly keys: Pick<KeyRing, 'mac' | 'open' | 'seal'>
  readonly now: () => number
  readonly log: Log
}

/** A started writer; rejects with the reason why the file cannot be used. */
const startWriter = (start: WriterStart): Promise<Worker> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: start, execArgv: [], env: {} })
    worker.unref()
    worker.once('message', () => resolve(worker))
    worker.once('error', reject)
  })

const post = (writer: Worker, said: ToWriter): void => writer.postMessage(said, [])

/** Events that wait to be handed over. */
const createBatch = () => {
  let events: string[] = []
  let times: number[] = []
  let bodies: (string | undefined)[] = []
  let subjects: (string | undefined)[] = []
  let kept: AuditBody[] = []
  return {
    keep: (body: AuditBody) => void kept.push(body),
    size: () => events.length,
    add(event: string, at: number, body: string | undefined, subject: string | undefined) {
      subjects.push(subject)
      events.push(event)
      times.push(at)
      bodies.push(body)
    },
    take(): EventBatch {
      const taken = { events: `[${events.join(',')}]`, times, bodies, subjects, kept }
      events = []
      times = []
      bodies = []
      subjects = []
      kept = []
      return taken
    },
  }
}

/** Counts what the queue has no room for, and tells it as soon as there is some. */
const createLosses = () => {
  let rows = 0
  let from = 0
  let to = 0
  return {
    add(count: number, at: number) {
      if (rows === 0) from = at
      rows += count
      to = at
    },
    take() {
      if (rows === 0) return undefined
      const lost = { event: 'audit.lost', rows, from, to }
      rows = 0
      return lost
    },
  }
}

/** One key a day, handed over before the day begins. */
const createDayKeys = ({ keys, log }: AuditTrailOptions) => {
  let until = 0
  const hand = (writer: Worker, day: number): void => {
    until = Math.max(until, day)
    keys.mac('audit/arguments', String(day)).then(
      (key) => key && post(writer, { day, key }),
      // Without it arguments have no digest, which is the lesser loss.
      (error: unknown) => log('error', 'audit.key', { message: String(error) }),
    )
  }
  return {
    first(writer: Worker, day: number) {
      hand(writer, day)
      hand(writer, day + 1)
    },
    next(writer: Worker, day: number) {
      if (day + 1 > until) hand(writer, day + 1)
    },
  }
}

const latin1Of = ({ buffer, byteOffset, byteLength }: Uint8Array): string | undefined =>
  byteLength <= mostBody ? Buffer.from(buffer, byteOffset, byteLength).toString('latin1') : undefined

/** What of a batch is kept in memory until it is written. */
const charactersOf = ({ events, kept }: EventBatch): number =>
  kept.reduce((sum, { text }) => sum + text.length, events.length)

/** What was handed over and is not in the file yet, and whether more may be. */
const createQueue = (options: AuditTrailOptions) => {
  const { now, log } = options
  const batch = createBatch()
  const losses = createLosses()
  const dayKeys = createDayKeys(options)
  const snapshotOf = createSnapshots()
  let [handed, characters] = [0, 0]
  let failing = false
  let writer: Worker | undefined
  let timer: NodeJS.Timeout | undefined

  const flush = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (batch.size() === 0 || !writer) return
    const taken = batch.take()
    handed += taken.times.length
    characters += charactersOf(taken)
    post(writer, taken)
    dayKeys.next(writer, dayOf(now()))
  }
  const add = (event: object, at: number, body?: Uint8Array, caller?: Principal): void => {
    batch.add(JSON.stringify(event), at, body && latin1Of(body), caller && snapshotOf(caller))
    if (batch.size() >= batchSize) flush()
    else timer ??= setTimeout(flush, batchMs)
  }
  const hasRoom = (): boolean =>
    writer !== undefined && handed + batch.size() < mostEvents && characters < mostCharacters
  return {
    flush,
    available: () => hasRoom() && !failing,
    record(event: object, body?: Uint8Array, caller?: Principal) {
      const at = now()
      if (!hasRoom()) return losses.add(1, at)
      const lost = losses.take()
      if (lost) {
        log('error', 'audit.lost', { rows: lost.rows })
        add(lost, at)
      }
      return add(event, at, body, caller)
    },
    keepBody: (body: AuditBody): void => void (hasRoom() && batch.keep(body)),
    written(count: number) {
      handed -= count
      if (handed === 0) characters = 0
      failing = false
    },
    failed(why: string) {
      if (!failing)
        log('error', 'audit.unavailable', { message: `The audit trail cannot be written: ${why}` })
      failing = true
    },
    /** From now on `next` writes; what the one before had not written is lost. */
    attach(next: Worker | undefined) {
      if (handed > 0) losses.add(handed, now())
      handed = 0
      characters = 0
      writer = next
      if (next) dayKeys.first(next, dayOf(now()))
    },
  }
}

const reportSink = (log: Log, { sink, why }: { sink: string; why: string | undefined }): void =>
  why === undefined
    ? log('info', 'audit.sink-works', { sink })
    : log('warn', 'audit.sink-failed', { sink, message: `Audit events are not sent to ${sink}: ${why}` })

/** Of all processes that write the file; read again now and then, because others may begin to write it. */
const createPublicKeys = (path: string, now: () => number) => {
  let read: { readonly at: number; readonly keys: readonly AuditKey[] } | undefined
  return {
    get(): readonly AuditKey[] {
      if (!read || now() - read.at > keysMs) read = { at: now(), keys: readStoredKeys(path).map(publicKeyOf) }
      return read.keys
    },
  }
}

/** Opens the trail. Rejects with SQLite's error when the file cannot be used. */
export const openAuditTrail = async (options: AuditTrailOptions): Promise<AuditTrail> => {
  const { keys, now, log, ...start } = options
  const queue = createQueue(options)
  const ended = Promise.withResolvers<boolean>()
  let closing = false
  let current: Worker | undefined
  const key = await trailKey(start.path, keys)

  const begin = async (): Promise<void> => {
    const worker = await startWriter({ audit: true, ...start, key })
    current = worker
    worker.on('message', (said: FromWriter) => {
      if (typeof said === 'number') queue.written(said)
      else if (said === 'closed') ended.resolve(true)
      else if (typeof said === 'object' && 'sink' in said) reportSink(log, said)
      else if (typeof said === 'object') queue.failed(said.failed)
    })
    const lost = (why: string): void => {
      current = undefined
      if (closing) return ended.resolve(false)
      queue.failed(why)
      queue.attach(undefined)
      setTimeout(() => void begin().catch((error: unknown) => lost(String(error))), restartMs).unref()
    }
    worker.once('error', (error) => lost(String(error)))
    queue.attach(worker)
  }
  await begin()
  const publicKeys = createPublicKeys(start.path, now)
  const logged = createAuditLog(log, queue.record, now)
  const sweeping = setInterval(logged.sweep, sweepMs, false).unref()
  log('debug', 'audit.open', { path: start.path })
  return {
    log: logged.log,
    record: queue.record,
    keepBody: queue.keepBody,
    available: queue.available,
    keys: () => publicKeys.get(),
    async close() {
      clearInterval(sweeping)
      logged.sweep(true)
      queue.flush()
      closing = true
      if (!current) return false
      current.ref()
      post(current, 'close')
      const late = setTimeout(() => ended.resolve(false), closeMs)
      const whole = await ended.promise
      clearTimeout(late)
      await current?.terminate()
      return whole
    },
  }
}

const started = workerData as Partial<WriterStart> | undefined
if (!isMainThread && parentPort && started?.audit) runWriter(started as WriterStart, parentPort)
