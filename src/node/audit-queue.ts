// What of the audit trail waits to be written: events are gathered, handed over to the thread that writes them, and
// counted until they are in the file. What there is no room for is counted too.
import { performance } from 'node:perf_hooks'
import type { Worker } from 'node:worker_threads'
import type { KeyRing } from '../kit/keyring.ts'
import type { Principal } from '../ports/people.ts'
import type { Log } from '../ports/runtime.ts'
import type { AuditBody } from '../ports/store.ts'
import { createBatch, createLosses, dayOf } from '../stores/audit-batches.ts'
import { type EventBatch, createSnapshots } from '../stores/audit-events.ts'
import type { ToWriter } from './audit-thread.ts'

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

interface HandedBatch {
  readonly batch: EventBatch
  readonly events: number
  readonly characters: number
  /** It was handed over to a writer that is gone, and then to another. */
  again: boolean
}

/** How much is kept in memory. Batches are written in their order, each as a whole. */
const createRoom = () => {
  let handed: HandedBatch[] = []
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
    handOver(batch: EventBatch) {
      handed.push({ ...open, batch, again: false })
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
    /**
     * What was handed over to a writer that is gone. Nothing a third time, because it may be what ends them: so many
     * events are lost then.
     */
    unwritten(): { readonly batches: readonly EventBatch[]; readonly lost: number } {
      const before = events
      for (const each of handed.filter(({ again }) => again)) {
        events -= each.events
        characters -= each.characters
      }
      handed = handed.filter(({ again }) => !again)
      for (const each of handed) each.again = true
      return { batches: handed.map(({ batch }) => batch), lost: before - events }
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
  const hand = (writer: Writer, day: number): Promise<unknown> => {
    until = Math.max(until, day)
    return keys.mac('audit/arguments', String(day)).then(
      (key) => key && post(writer, { day, key }),
      // Without it arguments have no digest, which is the lesser loss.
      (error: unknown) => log('error', 'audit.key', { message: String(error) }),
    )
  }
  return {
    async first(writer: Writer, day: number) {
      await hand(writer, day)
      await hand(writer, day + 1)
    },
    next(writer: Writer, day: number) {
      if (day + 1 > until) hand(writer, day + 1).catch(() => undefined)
    },
  }
}

/** Of the time since it was asked last the event loop was at work for more than this: it has calls enough. */
const busyShare = 0.8

const createLoad = () => {
  let last = performance.eventLoopUtilization()
  return (): boolean => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, last)
    last = now
    return utilization > busyShare
  }
}

/** Gathers events in batches, and hands these over. */
const createGathered = (options: QueueOptions, room: ReturnType<typeof createRoom>) => {
  const batch = createBatch()
  const dayKeys = createDayKeys(options)
  const snapshotOf = createSnapshots()
  const isBusy = createLoad()
  let writer: Writer | undefined
  let timer: NodeJS.Timeout | undefined
  const flush = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (batch.size() === 0 || !writer) return
    const taken = batch.take()
    room.handOver(taken)
    post(writer, isBusy() ? { ...taken, busy: true } : taken)
    dayKeys.next(writer, dayOf(options.now()))
  }
  return {
    flush,
    hasWriter: () => writer !== undefined,
    add(json: string, at: number, body?: Uint8Array, caller?: Principal) {
      const length = body?.byteLength ?? 0
      const taken = body && length <= mostBody && room.hasSomeFor(length) ? body : undefined
      room.add(1, json.length + (taken ? length : 0))
      batch.add(json, at, taken, caller && snapshotOf(caller))
      if (batch.size() >= batchSize) flush()
      else timer ??= setTimeout(flush, batchMs)
    },
    keepBody(body: AuditBody) {
      if (!room.hasSome()) return
      room.add(0, body.text.length)
      batch.keep(body)
    },
    detach() {
      writer = undefined
    },
    /** `unwritten`: what comes first. */
    attach(next: Writer, unwritten: readonly EventBatch[]) {
      writer = next
      for (const each of unwritten) post(next, each)
      flush()
    },
    firstKeys: (next: Writer) => dayKeys.first(next, dayOf(options.now())),
  }
}

/** What is not in the file yet, and whether there is room for more. */
export const createQueue = (options: QueueOptions) => {
  const { now, log } = options
  const room = createRoom()
  const gathered = createGathered(options, room)
  const losses = createLosses()
  let failing = false
  let attached: Writer | undefined
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
    isAttached: gathered.hasWriter,
    /** The writer is gone. */
    detach() {
      attached = undefined
      gathered.detach()
    },
    /** From now on this one writes, first what the one before has not written. */
    async attach(next: Writer): Promise<void> {
      attached = next
      // Without them there would be no digests.
      await gathered.firstKeys(next)
      if (attached !== next) return
      const { batches, lost } = room.unwritten()
      if (lost > 0) losses.add(lost, now())
      gathered.attach(next, batches)
    },
  }
}
