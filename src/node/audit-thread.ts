// The thread that writes the audit trail of a process, and sends it elsewhere: hashes, signatures, disks and networks
// keep no call waiting here.
import { hash, randomBytes } from 'node:crypto'
import type { parentPort } from 'node:worker_threads'
import type { AuditWriter, FormerTrail } from '../stores/audit-append.ts'
import { dayOf } from '../stores/audit-batches.ts'
import type { TrailKey } from '../stores/audit-keys.ts'
import { type EventBatch, type WrittenBatch, createAuditRows } from '../stores/audit-events.ts'
import { type FromChores, startChores } from './audit-chores.ts'
import { isDamaged } from './audit-damaged.ts'
import { openAuditWriter } from './audit-file.ts'
import { createSigner } from './audit-keys.ts'
import { type SpillTold, withSpill } from './audit-spill.ts'
import { type AuditSink, type SinkPositions, createPositions, createSink } from './audit-sinks.ts'
import { type SinkPlan, createTarget } from './audit-targets.ts'
import {
  type DayKey,
  type MadeBatch,
  type WaitingStart,
  createCatchUp,
  createWaiting,
} from './audit-waiting.ts'

// What the two threads say to each other.

export interface WriterStart {
  readonly audit: true
  readonly path: string
  readonly version: string
  readonly retentionMs: number
  readonly bodiesMs: number
  readonly durable: boolean
  /** Whether the oldest events make room where the disk is nearly full. */
  readonly makeRoom: boolean
  readonly key: TrailKey
  readonly waiting: WaitingStart
  readonly sinks: readonly SinkPlan[]
  /** A directory elsewhere, for what cannot be written. */
  readonly spill?: string | undefined
  readonly former?: FormerTrail | undefined
}

/** `busy`: the process has no time for rows now. */
type HandedEvents = EventBatch & { readonly busy?: true }

/** `hurry`: somebody waits for rows of what waits. */
export type ToWriter = HandedEvents | DayKey | 'hurry' | 'close'

export type FromWriter =
  | 'open'
  | 'closed'
  /** So many events are in the file. */
  | number
  /** They could not be written, which will be tried again. */
  | { readonly failed: string }
  | FromChores
  /** So many events are in the file, and no row was made of them yet. */
  | { readonly waiting: number }
  | SpillTold
  /** A sink does not work, or does again. */
  | { readonly sink: string; readonly why: string | undefined }

// The thread.

/** Rows are committed when so many wait, or one has waited so long. */
const commitRows = 500
/** Fewer are made into rows at once, however busy the process is. */
const manyEvents = 64
/** While it is, commits are larger. */
const busyEvents = 4_000
const busyMs = 250
const commitMs = 100
const longestRetryMs = 5000
/** How long a process that ends goes on sending. */
const lastSendMs = 1_500
/** How long it goes on making rows; the next process makes those that are left. */
const lastRowsMs = 1_000

const parsedBody = ({ buffer, byteOffset, byteLength }: Uint8Array): unknown => {
  try {
    return JSON.parse(Buffer.from(buffer, byteOffset, byteLength).toString('utf8'))
  } catch {
    return undefined
  }
}

const blockBytes = 64

/** The key of an HMAC, filled up to a block (RFC 2104 §2), with room for the text behind it. */
const keyedBlock = (key: Uint8Array, fill: number, room: number): Buffer => {
  const block = Buffer.alloc(blockBytes + room, 0)
  for (let i = 0; i < blockBytes; i++) block[i] = (key[i] ?? 0) ^ fill
  return block
}

/**
 * HMAC-SHA-256, of which 128 bits. `key`: of the day, at most a block. Two hashes in one call each, because
 * `createHmac` makes a key object of the key each time, which takes ten times as long.
 */
export const createMac = (key: Uint8Array): ((text: string) => string) => {
  const room = 4096
  const usual = keyedBlock(key, 0x36, room)
  const outer = keyedBlock(key, 0x5c, 32)
  return (text) => {
    // One UTF-16 unit is at most three bytes of UTF-8.
    const most = text.length * 3
    const inner = most <= room ? usual : keyedBlock(key, 0x36, most)
    const end = blockBytes + inner.write(text, blockBytes)
    outer.write(hash('sha256', inner.subarray(0, end), 'binary'), blockBytes, 'latin1')
    return Buffer.from(hash('sha256', outer, 'binary').slice(0, 16), 'latin1').toString('base64url')
  }
}

/** Whether it may pass; after any other another chain has to be begun. */
const mayPass = (error: unknown): boolean =>
  (error as { readonly code?: string }).code === 'ERR_SQLITE_ERROR' && !isDamaged(error)

/** `macs`: what makes digests, by day. */
const createRowsBy = (macs: ReadonlyMap<number, (text: string) => string>) =>
  createAuditRows({
    digest: (text) => hash('sha256', text, 'base64url'),
    parse: parsedBody,
    mac: (at, text) => macs.get(dayOf(at))?.(text),
  })

interface Rows {
  readonly make: (batch: EventBatch) => MadeBatch
  readonly append: (made: readonly MadeBatch[], also?: () => void) => void
  /** What cannot be written is kept elsewhere. */
  readonly spills: boolean
}

/** Makes rows of events, and writes them. */
const createRowWriter = (
  { writer, spills }: { readonly writer: AuditWriter; readonly spills: boolean },
  rowsOf: (batch: EventBatch) => WrittenBatch,
  written: () => void,
): Rows => ({
  spills,
  make: (batch) => ({ ...rowsOf(batch), kept: batch.kept }),
  append(made, also) {
    writer.append(
      made.flatMap(({ rows }) => rows),
      new Map(made.flatMap(({ subjects }) => [...subjects])),
      made.flatMap(({ kept }) => kept),
      also,
    )
    written()
  },
})

const createCommits = (
  { make, append, spills }: Rows,
  catchUp: Pick<ReturnType<typeof createCatchUp>, 'keep' | 'waits'>,
  say: (said: FromWriter) => void,
) => {
  let batches: EventBatch[] = []
  let events = 0
  let timer: NodeJS.Timeout | undefined
  let retryMs = commitMs
  let busy = false
  /** False where rows can be kept elsewhere, and these cannot be kept in the file. */
  const isKept = (many: boolean): boolean => {
    try {
      catchUp.keep(batches, many)
      return true
    } catch (error) {
      if (!spills || !mayPass(error)) throw error
      return false
    }
  }
  const commit = (): boolean => {
    clearTimeout(timer)
    timer = undefined
    if (events === 0) return true
    try {
      // What came before becomes rows before.
      const many = busy && events >= manyEvents
      if (!(many || catchUp.waits()) || !isKept(many)) append(batches.map(make))
    } catch (error) {
      if (!mayPass(error)) throw error
      say({ failed: (error as Error).message })
      timer = setTimeout(commit, retryMs)
      retryMs = Math.min(retryMs * 2, longestRetryMs)
      return false
    }
    say(events)
    batches = []
    events = 0
    retryMs = commitMs
    return true
  }
  return {
    commit,
    add({ busy: isBusy, ...batch }: HandedEvents) {
      batches.push(batch)
      events += batch.times.length
      busy = isBusy === true
      const [most, ms] = busy ? [busyEvents, busyMs] : [commitRows, commitMs]
      if (events >= most && retryMs === commitMs) commit()
      else timer ??= setTimeout(commit, ms)
    },
  }
}

/** Sends the rows elsewhere, and tells when that does not work. */
const createSinks = (
  plans: readonly SinkPlan[],
  {
    writer,
    positions,
    version,
    say,
  }: {
    readonly writer: AuditWriter
    readonly positions: SinkPositions
    readonly version: string
    readonly say: (said: FromWriter) => void
  },
): readonly AuditSink[] =>
  plans.map((plan) =>
    createSink({
      name: plan.name,
      positions,
      target: createTarget(plan, { version }),
      anchors: plan.anchors ?? false,
      now: Date.now,
      events: {
        failed: (sink, why) => say({ sink, why }),
        works: (sink) => say({ sink, why: undefined }),
        dropped: (sink, rows) =>
          writer.note({ kind: 'audit.dropped', at: Date.now(), facts: { sink, rows } }),
      },
    }),
  )

/** Does what may fail for a while: it is done later then, and told of elsewhere; true when it was done. */
const later = (work: () => void): boolean => {
  try {
    work()
    return true
  } catch (error) {
    if (!mayPass(error)) throw error
    return false
  }
}

/** The file, and what of it the thread works with. */
const openWriter = (
  { path, version, makeRoom: _, key, sinks, waiting, spill, ...keeping }: WriterStart,
  say: (said: FromWriter) => void,
) => {
  let positions: SinkPositions | undefined
  let left: ReturnType<typeof createWaiting> | undefined
  const id = randomBytes(8).toString('hex')
  const opened = openAuditWriter(path, {
    ...keeping,
    opened(db) {
      left = createWaiting(db, waiting)
    },
    begun(db, chain) {
      if (sinks.length === 0) return
      positions = createPositions(db, chain)
      for (const { name } of sinks) positions.begin(name)
    },
    now: Date.now(),
    version,
    id,
    signing: { signer: createSigner(key), key },
  })
  const writer =
    spill === undefined ? opened : withSpill(opened, { dir: spill, id, now: Date.now, mayPass, say })
  return { writer, positions, spills: spill !== undefined, left: left as ReturnType<typeof createWaiting> }
}

export const runWriter = (start: WriterStart, port: NonNullable<typeof parentPort>): void => {
  const { path, version, makeRoom, sinks: plans, waiting } = start
  const say = (said: FromWriter): void => port.postMessage(said)
  const { writer, positions, spills, left } = openWriter(start, say)
  const macs = new Map(waiting.days.map((one) => [one.day, createMac(one.key)]))
  const sinks = positions ? createSinks(plans, { writer, positions, version, say }) : []
  const rows = createRowWriter({ writer, spills }, createRowsBy(macs), () => {
    later(() => writer.anchor(Date.now()))
    for (const sink of sinks) sink.nudge()
  })
  say('open')
  const catchUp = createCatchUp({
    waiting: left,
    make: rows.make,
    write: (made, also) => later(() => rows.append(made, also)),
    lose: (events) => writer.note({ kind: 'audit.lost', at: Date.now(), facts: { rows: events } }),
    tell: (events) => say({ waiting: events }),
  })
  const commits = createCommits(rows, catchUp, say)
  const stopChores = startChores({ path, writer, later, say, makeRoom })
  const close = async (): Promise<void> => {
    stopChores()
    const written = commits.commit()
    catchUp.end(Date.now() + lastRowsMs)
    if (written) later(() => writer.end(Date.now()))
    // A sink that does not respond keeps nobody waiting: what it has not got yet it gets from the next process.
    const sent = sinks.map((sink) => sink.end(Date.now() + lastSendMs).catch(() => undefined))
    await Promise.race([Promise.all(sent), new Promise((resolve) => setTimeout(resolve, lastSendMs))])
    writer.close(Date.now())
    say('closed')
    port.close()
  }
  port.on('message', (said: ToWriter) => {
    if (said === 'close') close().catch((error: unknown) => say({ failed: String(error) }))
    else if (said === 'hurry') catchUp.hurry()
    else if ('key' in said) macs.set(said.day, createMac(said.key))
    else commits.add(said)
  })
}
