// The audit trail of an isolate: events are gathered and sent to the object that writes them, after the answer.
import { encodeBase64url } from '../kit/bytes.ts'
import type { KeyRing } from '../kit/keyring.ts'
import type { Principal } from '../ports/people.ts'
import type { Log, Trail } from '../ports/runtime.ts'
import type { AuditBody } from '../ports/store.ts'
import { createBatch, createLosses, dayOf } from '../stores/audit-batches.ts'
import { type EventBatch, createAuditRows, createSnapshots } from '../stores/audit-events.ts'
import { createAuditLog } from '../stores/audit-log.ts'
import { createMac, digest } from './audit-crypto.ts'
import type { AppendedRows, TrailCalls } from './trail-calls.ts'
import { createTrailReader, unavailable } from './trail-reader.ts'

/** Events of so much time are sent together. */
const gatherMs = 20
/** After a failure it is tried again after these; after that with the next event. */
const retriesMs = [100, 500] as const
/** A request that was to send a batch and has not done so for so long was ended by the platform. */
const lostMs = 15_000
const sweepMs = 60_000
/** What is kept in memory while nothing can be written: an isolate has 128 MiB for everything. */
const mostEvents = 2_000
const mostCharacters = 4_194_304
/** Of a larger message the arguments are not digested. */
const mostBody = 262_144

export interface WorkerTrailOptions {
  /** A stub whose object failed stays broken, so each call gets its own. */
  readonly object: () => TrailCalls
  readonly keys: Pick<KeyRing, 'mac'>
  readonly log: Log
  readonly now: () => number
  /** Keeps the request's work going after its answer. Rejects never reach it. */
  readonly waitUntil: (work: Promise<unknown>) => void
  readonly pause?: (ms: number) => Promise<void>
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))

const parsedBody = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}

/** Keys of digests are of a day. Values are kept, never a promise: it ends with the request that made it. */
const createMacs = ({ keys, log }: Pick<WorkerTrailOptions, 'keys' | 'log'>) => {
  const known = new Map<number, (text: string) => string>()
  return {
    of: (at: number, text: string) => known.get(dayOf(at))?.(text),
    async make(times: readonly number[]): Promise<void> {
      for (const day of new Set(times.map(dayOf))) {
        if (known.has(day)) continue
        try {
          const key = await keys.mac('audit/arguments', String(day))
          if (known.size > 1) known.clear()
          if (key) known.set(day, createMac(key))
        } catch (error) {
          // Without it arguments have no digest, which is the lesser loss.
          log('error', 'audit.key', { message: String(error) })
        }
      }
    },
  }
}

/** Makes rows of a batch. */
const createMakeRows = (options: WorkerTrailOptions) => {
  const macs = createMacs(options)
  const rowsOf = createAuditRows({ digest, parse: parsedBody, mac: macs.of })
  return async (batch: EventBatch): Promise<AppendedRows> => {
    await macs.make(batch.times)
    const { rows, subjects } = rowsOf(batch)
    const id = encodeBase64url(crypto.getRandomValues(new Uint8Array(12)))
    return { id, rows, subjects: [...subjects], bodies: batch.kept }
  }
}

interface Waiting {
  readonly batch: EventBatch
  readonly events: number
  readonly characters: number
  /** Once they are made: the same again when they are sent again. */
  rows?: AppendedRows
  /** Somebody is sending it, at most until then (epoch ms). */
  busyUntil: number
}

/** What is not in the object yet, in batches. */
const createWaiting = ({ now }: Pick<WorkerTrailOptions, 'now'>) => {
  const [gathered, snapshotOf] = [createBatch(), createSnapshots()]
  const waiting = new Set<Waiting>()
  let open = { events: 0, characters: 0 }
  let all = { events: 0, characters: 0 }
  const count = (events: number, characters: number): void => {
    open = { events: open.events + events, characters: open.characters + characters }
    all = { events: all.events + events, characters: all.characters + characters }
  }
  return {
    hasRoom: () => all.events < mostEvents && all.characters < mostCharacters,
    add(json: string, body?: Uint8Array, caller?: Principal) {
      const length = body?.byteLength ?? 0
      const taken = body && length <= mostBody ? body : undefined
      count(1, json.length + (taken ? length : 0))
      gathered.add(json, now(), taken, caller && snapshotOf(caller))
    },
    keep(body: AuditBody) {
      count(0, body.text.length)
      gathered.keep(body)
    },
    /** Batches, the oldest first; what was gathered is the last of them. */
    batches(): Iterable<Waiting> {
      if (gathered.size() > 0) {
        waiting.add({ batch: gathered.take(), ...open, busyUntil: 0 })
        open = { events: 0, characters: 0 }
      }
      return waiting
    },
    written(one: Waiting) {
      if (!waiting.delete(one)) return
      all = { events: all.events - one.events, characters: all.characters - one.characters }
    },
  }
}

const nearlyFull =
  'Less than 5 % of what the object of the audit trail can store is free. When it is full, audit events are lost.'

/** Sends what waits. */
const createSend = (options: WorkerTrailOptions, waiting: ReturnType<typeof createWaiting>) => {
  const { object, log, now } = options
  const makeRows = createMakeRows(options)
  let [failing, low] = [false, false]
  let fault: string | undefined
  const append = async (one: Waiting): Promise<void> => {
    one.rows ??= await makeRows(one.batch)
    const appended = await object().append(one.rows)
    waiting.written(one)
    failing = false
    if (appended.low && !low) log('warn', 'audit.disk-low', { message: nearlyFull })
    low = appended.low
    if (appended.fault !== undefined && fault !== appended.fault)
      log('error', 'audit.changed', {
        message: `The audit trail is not as it was written: ${appended.fault}. Verify it (POST /api/audit/verify).`,
      })
    fault = appended.fault
  }
  const fail = (error: unknown): void => {
    if (!failing)
      log('error', 'audit.unavailable', {
        message: `The audit trail cannot be written: ${String(error)}`,
      })
    failing = true
  }
  return {
    isFailing: () => failing,
    condition: () => ({ diskLow: low, fault }),
    /** One after the other; false when one could not be sent. */
    async send(): Promise<boolean> {
      for (const one of waiting.batches()) {
        if (one.busyUntil > now()) continue
        one.busyUntil = now() + lostMs
        try {
          await append(one)
        } catch (error) {
          one.busyUntil = 0
          fail(error)
          return false
        }
      }
      return true
    },
  }
}

/** Sends what was gathered, soon, as part of the request that recorded it. */
const createFlush = (
  send: () => Promise<boolean>,
  sweep: () => void,
  { now, waitUntil, log, pause = sleep }: WorkerTrailOptions,
) => {
  let due = -Infinity
  let swept = -Infinity
  const flush = async (): Promise<void> => {
    await pause(gatherMs)
    due = -Infinity
    if (now() - swept >= sweepMs) {
      swept = now()
      sweep()
    }
    for (const again of retriesMs) {
      if (await send()) return
      await pause(again)
    }
    await send()
  }
  return (): void => {
    // Another request does so, unless it was ended before it could.
    if (now() - due < 1000) return
    due = now()
    try {
      waitUntil(flush())
    } catch (error) {
      log('error', 'audit.unavailable', { message: String(error) })
    }
  }
}

export interface WorkerTrail extends Trail {
  /** The log, of which the trail keeps what belongs there. */
  readonly log: Log
}

export const createTrail = (options: WorkerTrailOptions): WorkerTrail => {
  const { object, log, now } = options
  const waiting = createWaiting(options)
  const losses = createLosses()
  const { send, isFailing, condition } = createSend(options, waiting)
  const flush = createFlush(send, () => logged.sweep(false), options)
  const record: Trail['record'] = (event, body, caller, json) => {
    const lost = waiting.hasRoom() ? losses.take() : undefined
    if (lost) {
      log('error', 'audit.lost', { rows: lost.rows })
      waiting.add(JSON.stringify(lost))
    }
    if (waiting.hasRoom()) waiting.add(json ?? JSON.stringify(event), body, caller)
    else losses.add(1, now())
    flush()
  }
  const logged = createAuditLog(log, record, now)
  return {
    log: logged.log,
    record,
    keepBody(body) {
      if (waiting.hasRoom()) waiting.keep(body)
    },
    available: () => !isFailing() && waiting.hasRoom(),
    condition,
    keys: () => object().keys().catch(unavailable),
    reader: createTrailReader(options),
  }
}
