// The thread that writes the audit trail of a process, and sends it elsewhere: hashes, signatures, disks and networks
// keep no call waiting here.
import { hash, randomBytes } from 'node:crypto'
import type { parentPort } from 'node:worker_threads'
import type { AuditBody, AuditRow } from '../ports/store.ts'
import type { AuditWriter, FormerTrail } from '../stores/audit-append.ts'
import { dayOf } from '../stores/audit-batches.ts'
import type { TrailKey } from '../stores/audit-keys.ts'
import { type EventBatch, type WrittenBatch, createAuditRows } from '../stores/audit-events.ts'
import { type FromChores, startChores } from './audit-chores.ts'
import { isDamaged } from './audit-damaged.ts'
import { openAuditWriter } from './audit-file.ts'
import { createSigner } from './audit-keys.ts'
import { type AuditSink, type SinkPositions, createPositions, createSink } from './audit-sinks.ts'
import { type SinkPlan, createTarget } from './audit-targets.ts'

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
  readonly sinks: readonly SinkPlan[]
  readonly former?: FormerTrail | undefined
}

export interface DayKey {
  readonly day: number
  readonly key: Uint8Array
}
export type ToWriter = EventBatch | DayKey | 'close'

export type FromWriter =
  | 'open'
  | 'closed'
  /** So many events are in the file. */
  | number
  /** They could not be written, which will be tried again. */
  | { readonly failed: string }
  | FromChores
  /** A sink does not work, or does again. */
  | { readonly sink: string; readonly why: string | undefined }

// The thread.

/** Rows are committed when so many wait, or one has waited so long. */
const commitRows = 500
const commitMs = 100
const longestRetryMs = 5000
/** How long a process that ends goes on sending. */
const lastSendMs = 1_500

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

const createCommits = (writer: AuditWriter, say: (said: FromWriter) => void, written: () => void) => {
  let rows: AuditRow[] = []
  let subjects = new Map<string, string>()
  let bodies: AuditBody[] = []
  let events = 0
  let timer: NodeJS.Timeout | undefined
  let retryMs = commitMs
  const commit = (): boolean => {
    clearTimeout(timer)
    timer = undefined
    if (events === 0) return true
    try {
      writer.append(rows, subjects, bodies)
    } catch (error) {
      if (!mayPass(error)) throw error
      say({ failed: (error as Error).message })
      timer = setTimeout(commit, retryMs)
      retryMs = Math.min(retryMs * 2, longestRetryMs)
      return false
    }
    say(events)
    rows = []
    subjects = new Map()
    bodies = []
    events = 0
    retryMs = commitMs
    written()
    return true
  }
  return {
    commit,
    add(more: WrittenBatch, { times: { length: count }, kept }: EventBatch) {
      rows.push(...more.rows)
      bodies.push(...kept)
      for (const [subject, snapshot] of more.subjects) subjects.set(subject, snapshot)
      events += count
      if (rows.length >= commitRows && retryMs === commitMs) commit()
      else timer ??= setTimeout(commit, commitMs)
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

export const runWriter = (
  { path, version, retentionMs, bodiesMs, durable, makeRoom, key, sinks: plans, former }: WriterStart,
  port: NonNullable<typeof parentPort>,
): void => {
  const say = (said: FromWriter): void => port.postMessage(said)
  let positions: SinkPositions | undefined
  const writer = openAuditWriter(path, {
    begun(db, chain) {
      if (plans.length === 0) return
      positions = createPositions(db, chain)
      for (const { name } of plans) positions.begin(name)
    },
    now: Date.now(),
    version,
    retentionMs,
    bodiesMs,
    durable,
    former,
    id: randomBytes(8).toString('hex'),
    signing: { signer: createSigner(key), key },
  })
  const macs = new Map<number, (text: string) => string>()
  const sinks = positions ? createSinks(plans, { writer, positions, version, say }) : []
  const later = (work: () => void): void => {
    try {
      work()
    } catch (error) {
      // What cannot be done now is done later; rows that cannot be written are told of elsewhere.
      if (!mayPass(error)) throw error
    }
  }
  const commits = createCommits(writer, say, () => {
    later(() => writer.anchor(Date.now()))
    for (const sink of sinks) sink.nudge()
  })
  const rowsOf = createRowsBy(macs)
  say('open')
  const stopChores = startChores({ path, writer, later, say, makeRoom })
  const close = async (): Promise<void> => {
    stopChores()
    if (commits.commit()) later(() => writer.end(Date.now()))
    // A sink that does not respond keeps nobody waiting: what it has not got yet it gets from the next process.
    const sent = sinks.map((sink) => sink.end(Date.now() + lastSendMs).catch(() => undefined))
    await Promise.race([Promise.all(sent), new Promise((resolve) => setTimeout(resolve, lastSendMs))])
    writer.close(Date.now())
    say('closed')
    port.close()
  }
  port.on('message', (said: ToWriter) => {
    if (said === 'close') close().catch((error: unknown) => say({ failed: String(error) }))
    else if ('key' in said) macs.set(said.day, createMac(said.key))
    else commits.add(rowsOf(said), said)
  })
}
