// The audit trail of a process: events are gathered here and written by a thread of its own, so that no call
// waits for a hash or a disk.
import { fileURLToPath } from 'node:url'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import type { KeyRing } from '../kit/keyring.ts'
import type { AuditKey } from '../stores/audit-signatures.ts'
import type { Log, Trail } from '../ports/runtime.ts'
import type { AuditCheck } from '../ports/store.ts'
import { identityOf, isDamaged, setAside } from './audit-damaged.ts'
import { createAuditLog } from '../stores/audit-log.ts'
import type { FormerTrail } from '../stores/audit-append.ts'
import { publicKeyOf, trailKey } from '../stores/audit-keys.ts'
import { keyMaker, readStoredKeys } from './audit-keys.ts'
import type { SpillTold } from './audit-spill.ts'
import type { SinkPlan } from './audit-targets.ts'
import { waitingKeys } from './audit-waiting.ts'
import { createQueue, post } from './audit-queue.ts'
import { type FromWriter, type WriterStart, runWriter } from './audit-thread.ts'

// The process's own thread.

/** The thread is started again after so long, and after twice as long each time. */
const firstRestartMs = 100
const longestRestartMs = 5000
/** Unless it ran for so long. */
const soundMs = 60_000
const keysMs = 60_000
/** How often it is told what was refused again and again. */
const sweepMs = 30_000
const usualCloseMs = 3000
/** How long a reader waits for rows of what has just been recorded. */
const settleMs = 1000

export interface AuditTrail extends Trail {
  /** The log, of which the trail keeps what belongs there. */
  readonly log: Log
  /** Waits for rows of what was recorded while the gateway was busy, for a second at most. */
  settled(): Promise<void>
  /** Writes what is left and ends the chain; false when it could not be written in time. */
  close(): Promise<boolean>
}

export interface AuditTrailOptions {
  readonly path: string
  readonly version: string
  readonly retentionMs: number
  readonly bodiesMs: number
  readonly durable: boolean
  readonly makeRoom: boolean
  readonly sinks: readonly SinkPlan[]
  /** A directory for what cannot be written. Absent: it waits in memory. */
  readonly spill?: string | undefined
  readonly keys: Pick<KeyRing, 'mac' | 'open' | 'seal'>
  readonly now: () => number
  readonly log: Log
  /** Longest wait for the last rows; default: 3 s. */
  readonly closeMs?: number
  /** Absent: it is not verified by itself. */
  readonly verify?: (() => Promise<AuditCheck>) | undefined
}

/** A started writer; rejects with the reason why the file cannot be used. `hear`: what it says from then on. */
const startWriter = (start: WriterStart, hear: (said: FromWriter) => void): Promise<Worker> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: start, execArgv: [], env: {} })
    worker.unref()
    worker.on('message', (said: FromWriter) => (said === 'open' ? resolve(worker) : hear(said)))
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

const reportSpill = (log: Log, { spill, why }: SpillTold): void =>
  why === undefined
    ? log('info', 'audit.spill-read', { message: `The audit events in ${spill} are in the audit trail now.` })
    : log('error', 'audit.spilling', {
        message: `The audit trail cannot be written: ${why}. Events are kept in ${spill} until it can.`,
      })

const createRestartTimes = (now: () => number) => {
  let [last, wait] = [-Infinity, 0]
  return (): number => {
    wait = now() - last > soundMs ? firstRestartMs : Math.min(wait * 2, longestRestartMs)
    last = now()
    return wait
  }
}

/** Starts the thread; a file that is damaged is set aside, and another begun. Rejects with the reason why not. */
const createStart = (
  { keys, now, log, verify: _, ...start }: AuditTrailOptions,
  hear: (said: FromWriter) => void,
) => {
  const { path } = start
  let opened: string | undefined
  const tried = async (former: FormerTrail | undefined): Promise<Worker> => {
    opened = identityOf(path)
    const key = await trailKey([...(former?.keys ?? []), ...readStoredKeys(path)], keys, keyMaker)
    const waiting = await waitingKeys(path, keys)
    return startWriter({ audit: true, ...start, key, waiting, former }, hear)
  }
  const asideFor = (error: unknown): FormerTrail | undefined => {
    // Another process may have done so.
    if (identityOf(path) !== opened) return undefined
    const former = setAside(path, (error as Error).message, now())
    const message = `The audit trail is damaged: ${former.why}. It was moved to ${former.file}, and a new one was begun.`
    log('error', 'audit.damaged', { message, file: former.file })
    return former
  }
  /** `damage`: what the thread before ended with. */
  return async (damage?: unknown): Promise<Worker> => {
    const former = damage === undefined ? undefined : asideFor(damage)
    return tried(former).catch((error: unknown) => {
      if (!isDamaged(error)) throw error
      return tried(asideFor(error))
    })
  }
}

/** What the thread finds out about the disk, and every day about the trail. */
const createCondition = (
  { path, log, verify }: AuditTrailOptions,
  record: (event: Readonly<Record<string, unknown>>) => void,
) => {
  let diskLow = false
  let fault: string | undefined
  const verified = ({ fault: found, rows, chains, open }: AuditCheck): void => {
    fault = found?.say
    if (fault !== undefined)
      log('error', 'audit.changed', {
        message: `The audit trail is not as it was written: ${fault}. Run postern audit verify.`,
      })
    record({ event: 'audit.verified', rows, chains, open: open.length, fault })
  }
  return {
    get: () => ({ diskLow, fault }),
    disk({ free, low }: { readonly free: number; readonly low: boolean }) {
      const message = `${(free * 100).toFixed(1)} % of the disk of ${path} is free. When it is full, audit events are lost.`
      if (low && !diskLow) log('warn', 'audit.disk-low', { message })
      diskLow = low
    },
    verify() {
      verify?.().then(verified, (error: unknown) =>
        log('warn', 'audit.not-verified', { message: String(error) }),
      )
    },
  }
}

/** How many events are in the file of which no row was made yet, and who waits for rows of them. */
const createSettling = () => {
  let events = 0
  let settled = Promise.withResolvers<undefined>()
  return {
    waiting(count: number) {
      events = count
      if (count > 0) return
      settled.resolve(undefined)
      settled = Promise.withResolvers()
    },
    /** Until there is none, or for a second: then it is read without them. `hurry`: asks for it. */
    async wait(hurry: () => void): Promise<void> {
      if (events === 0) return
      hurry()
      let late: NodeJS.Timeout | undefined
      await Promise.race([
        settled.promise,
        new Promise((resolve) => {
          late = setTimeout(resolve, settleMs).unref()
        }),
      ])
      clearTimeout(late)
    },
  }
}

type Queue = ReturnType<typeof createQueue>
type Condition = ReturnType<typeof createCondition>

/** The thread, begun again whenever it ends by itself. */
const createThread = (options: AuditTrailOptions, queue: Queue, condition: Condition) => {
  const { now, log, closeMs = usualCloseMs } = options
  const hear = (said: FromWriter): void => {
    if (typeof said === 'number') queue.written(said)
    else if (said === 'closed') ended.resolve(true)
    else if (said === 'verify') condition.verify()
    else if (typeof said === 'object') hearOf(said)
  }
  const startThread = createStart(options, hear)
  const restartMs = createRestartTimes(now)
  const settling = createSettling()
  const ended = Promise.withResolvers<boolean>()
  let [closing, over] = [false, false]
  let current: Worker | undefined
  const tellEnd = (worker: Worker): void => {
    worker.ref()
    post(worker, 'close')
  }
  const lost = (error: unknown): void => {
    current = undefined
    if (over) return
    queue.detach()
    queue.failed(String(error))
    const damage = isDamaged(error) ? error : undefined
    setTimeout(again, restartMs(), damage).unref()
  }
  const hearOf = (said: Extract<FromWriter, object>): void => {
    if ('sink' in said) reportSink(log, said)
    else if ('spill' in said) reportSpill(log, said)
    else if ('free' in said) condition.disk(said)
    else if ('waiting' in said) settling.waiting(said.waiting)
    else queue.failed(said.failed)
  }
  const begin = async (damage?: unknown): Promise<void> => {
    const worker = await startThread(damage)
    if (over) return void worker.terminate()
    current = worker
    worker.once('error', lost)
    await queue.attach(worker)
    if (closing && current === worker) tellEnd(worker)
  }
  const again = (damage: unknown): void => {
    begin(damage).catch(lost)
  }
  return {
    begin,
    settled: () => settling.wait(() => current && post(current, 'hurry')),
    /** False when what was left could not be written in time. */
    async close(): Promise<boolean> {
      closing = true
      // One that is about to begin again gets what is left.
      if (current && queue.isAttached()) tellEnd(current)
      const late = setTimeout(() => ended.resolve(false), closeMs)
      const whole = await ended.promise
      clearTimeout(late)
      over = true
      await current?.terminate()
      return whole
    },
  }
}

/** Opens the trail. Rejects with the reason when the file cannot be used. */
export const openAuditTrail = async (options: AuditTrailOptions): Promise<AuditTrail> => {
  const { path, now, log } = options
  const queue = createQueue(options)
  const condition = createCondition(options, queue.record)
  const thread = createThread(options, queue, condition)
  await thread.begin()
  const publicKeys = createPublicKeys(path, now)
  const logged = createAuditLog(log, queue.record, now)
  const sweeping = setInterval(logged.sweep, sweepMs, false).unref()
  log('debug', 'audit.open', { path })
  return {
    log: logged.log,
    record: queue.record,
    keepBody: queue.keepBody,
    available: queue.available,
    condition: condition.get,
    keys: () => publicKeys.get(),
    settled: thread.settled,
    close() {
      clearInterval(sweeping)
      logged.sweep(true)
      queue.flush()
      return thread.close()
    },
  }
}

const started = workerData as Partial<WriterStart> | undefined
if (!isMainThread && parentPort && started?.audit) runWriter(started as WriterStart, parentPort)
