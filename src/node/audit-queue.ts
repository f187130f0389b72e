// What of the audit trail waits to be written: events are gathered, handed over to the thread that writes them, and
// counted until they are in the file. What there is no room for is counted too.
import type { Worker } from 'node:worker_threads'
import type { KeyRing } from '../kit/keyring.ts'
import type { Principal } from '../ports/people.ts'
import type { Log } from '../ports/runtime.ts'
import type { AuditBody } from '../ports/store.ts'
import { type EventBatch, createSnapshots } from '../stores/audit-events.ts'
import { type ToWriter, dayOf } from './audit-thread.ts'

/** Events are handed over when so many wait, or one has waited so long. */
const batchSize = 64
const batchMs = 50
/** What is kept in memory while nothing can be written. */
const mostEvents = 20_000
const mostCharacters = 16_777_216
/** Of a larger message the arguments are not digested. */
const mostBody = 1_048_576

/** The thread that writes. */
type Writer = Pick<Worker, 'postMessage'>

export const post = (writer: Writer, said: ToWriter): void => writer.postMessage(said, [])

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

/** How much is kept in memory. Batches are written in their order, each as a whole. */
const createRoom = () => {
  let handed: { readonly events: number; readonly characters: number }[] = []
  let open = { events: 0, characters: 0 }
  let events = 0
  let characters = 0
  return {
    hasSome: () => events < mostEvents && characters < mostCharacters,
    /** Bodies take at most half of it: an event without a digest is better than none. */
    hasSomeFor: (body: number) => characters + body <= mostCharacters / 2,
    add(count: number, length: number) {
      open.events += count
      open.characters += length
      events += count
      characters += length
    },
    handOver() {
      handed.push(open)
      open = { events: 0, characters: 0 }
    },
    written(count: number) {
      for (let left = count; left > 0;) {
        const first = handed.shift()
        if (!first) return
        left -= first.events
        events -= first.events
        characters -= first.characters
      }
    },
    /** Forgets what was handed over and will not be written any more; returns how many events that were. */
    forget(): number {
      const lost = events - open.events
      handed = []
      events = open.events
      characters = open.characters
      return lost
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

export interface QueueOptions {
  readonly keys: Pick<KeyRing, 'mac'>
  readonly now: () => number
  readonly log: Log
}

/** One key a day, handed over before the day begins. */
const createDayKeys = ({ keys, log }: QueueOptions) => {
  let until = 0
  const hand = (writer: Writer, day: number): void => {
    until = Math.max(until, day)
    keys.mac('audit/arguments', String(day)).then(
      (key) => key && post(writer, { day, key }),
      // Without it arguments have no digest, which is the lesser loss.
      (error: unknown) => log('error', 'audit.key', { message: String(error) }),
    )
  }
  return {
    first(writer: Writer, day: number) {
      hand(writer, day)
      hand(writer, day + 1)
    },
    next(writer: Writer, day: number) {
      if (day + 1 > until) hand(writer, day + 1)
    },
  }
}

const latin1Of = ({ buffer, byteOffset, byteLength }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('latin1')

/** Gathers events in batches, and hands these over. */
const createGathered = (options: QueueOptions, room: ReturnType<typeof createRoom>) => {
  const batch = createBatch()
  const dayKeys = createDayKeys(options)
  const snapshotOf = createSnapshots()
  let writer: Writer | undefined
  let timer: NodeJS.Timeout | undefined
  const flush = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (batch.size() === 0 || !writer) return
    room.handOver()
    post(writer, batch.take())
    dayKeys.next(writer, dayOf(options.now()))
  }
  return {
    flush,
    hasWriter: () => writer !== undefined,
    add(json: string, at: number, body?: Uint8Array, caller?: Principal) {
      const length = body?.byteLength ?? 0
      const taken = body && length <= mostBody && room.hasSomeFor(length) ? body : undefined
      room.add(1, json.length + (taken ? length : 0))
      batch.add(json, at, taken && latin1Of(taken), caller && snapshotOf(caller))
      if (batch.size() >= batchSize) flush()
      else timer ??= setTimeout(flush, batchMs)
    },
    keepBody(body: AuditBody) {
      if (!room.hasSome()) return
      room.add(0, body.text.length)
      batch.keep(body)
    },
    attach(next: Writer | undefined) {
      writer = next
      if (!next) return
      dayKeys.first(next, dayOf(options.now()))
      flush()
    },
  }
}

/** What is not in the file yet, and whether there is room for more. */
export const createQueue = (options: QueueOptions) => {
  const { now, log } = options
  const room = createRoom()
  const gathered = createGathered(options, room)
  const losses = createLosses()
  let failing = false
  return {
    flush: gathered.flush,
    keepBody: gathered.keepBody,
    available: () => gathered.hasWriter() && room.hasSome() && !failing,
    record(event: Readonly<Record<string, unknown>>, body?: Uint8Array, caller?: Principal, json?: string) {
      const at = now()
      if (!room.hasSome()) return losses.add(1, at)
      const lost = losses.take()
      if (lost) {
        log('error', 'audit.lost', { rows: lost.rows })
        gathered.add(JSON.stringify(lost), at)
      }
      return gathered.add(json ?? JSON.stringify(event), at, body, caller)
    },
    /** So many events are in the file. */
    written(count: number) {
      room.written(count)
      failing = false
    },
    failed(why: string) {
      if (!failing)
        log('error', 'audit.unavailable', { message: `The audit trail cannot be written: ${why}` })
      failing = true
    },
    /** From now on `next` writes; what the one before had not written is lost. */
    attach(next: Writer | undefined) {
      const lost = room.forget()
      if (lost > 0) losses.add(lost, now())
      gathered.attach(next)
    },
  }
}
