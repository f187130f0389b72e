// The audit trail of a process: events are gathered here and written by a thread of its own, so that no call
// waits for a hash or a disk.
import { fileURLToPath } from 'node:url'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import type { KeyRing } from '../kit/keyring.ts'
import type { AuditKey } from '../stores/audit-signatures.ts'
import type { Log, Trail } from '../ports/runtime.ts'
import { createAuditLog } from '../stores/audit-log.ts'
import { publicKeyOf, readStoredKeys, trailKey } from './audit-keys.ts'
import type { SinkPlan } from './audit-targets.ts'
import { createQueue, post } from './audit-queue.ts'
import { type FromWriter, type WriterStart, runWriter } from './audit-thread.ts'

// The process's own thread.

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
