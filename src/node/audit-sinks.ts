// Sends the rows of the audit trail elsewhere, at least once and in the order in which they were written. Each sink
// has a position in the trail of its own. Of several processes that share the file one sends, as long as it renews
// its lease.
import type { ChainedRow } from '../ports/store.ts'
import { anchorKinds } from '../stores/audit-anchors.ts'
import { type TrailDatabase, segmentsOf } from '../stores/audit-tables.ts'
import { columnList } from '../stores/audit.ts'
import type { SinkTarget } from './audit-targets.ts'

/** The row that was sent last: segment, and row in it. */
interface Position {
  readonly n: number
  readonly id: number
}

interface SentRow extends ChainedRow {
  readonly id: number
}

export interface SinkPositions {
  /** Where a sink that is new begins: behind what there is now. */
  begin(name: string): void
  /** False while another process sends. */
  hold(name: string, now: number): boolean
  at(name: string): Position
  save(name: string, position: Position): void
  release(name: string): void
  /** The next rows, of one segment. `anchors`: only those that the trail writes about itself. */
  after(
    position: Position,
    most: number,
    anchors?: boolean,
  ): { readonly rows: readonly ChainedRow[]; readonly end: Position }
}

const leaseMs = 15_000
const renewMs = 5_000

/** Throws SQLite's error. `holder`: of this process. */
export const createPositions = (db: TrailDatabase, holder: string): SinkPositions => {
  const { prepare } = db
  db.exec(
    "CREATE TABLE IF NOT EXISTS sink (name TEXT PRIMARY KEY, n INTEGER NOT NULL, id INTEGER NOT NULL, holder TEXT NOT NULL DEFAULT '', until INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
  )
  return {
    begin(name) {
      const n = segmentsOf(db).at(-1)?.n ?? 0
      const last = n === 0 ? undefined : prepare(`SELECT max(id) AS id FROM event_${n}`).get()
      prepare('INSERT OR IGNORE INTO sink (name, n, id) VALUES (?, ?, ?)').run(
        name,
        n,
        (last as { readonly id: number | null } | undefined)?.id ?? 0,
      )
    },
    hold: (name, now) =>
      prepare('UPDATE sink SET holder = ?, until = ? WHERE name = ? AND (holder = ? OR until < ?)').run(
        ...[holder, now + leaseMs, name, holder, now],
      ).changes === 1,
    at: (name) => prepare('SELECT n, id FROM sink WHERE name = ?').get(name) as Position,
    save: (name, { n, id }) =>
      void prepare('UPDATE sink SET n = ?, id = ? WHERE name = ? AND holder = ?').run(n, id, name, holder),
    release: (name) =>
      void prepare('UPDATE sink SET until = 0 WHERE name = ? AND holder = ?').run(name, holder),
    after(position, most, anchors = false) {
      const only = anchors
        ? ` AND kind <> 'call' AND kind IN (${anchorKinds.map((kind) => `'${kind}'`).join(', ')})`
        : ''
      for (const { n } of segmentsOf(db)) {
        if (n < position.n) continue
        const from = n === position.n ? position.id : 0
        const found = prepare(
          `SELECT id, ${columnList} FROM event_${n} WHERE id > ?${only} ORDER BY id LIMIT ?`,
        ).all(from, most) as readonly SentRow[]
        const last = found.at(-1)
        if (last) return { rows: found.map(({ id: _, ...row }) => row), end: { n, id: last.id } }
      }
      return { rows: [], end: position }
    },
  }
}

export interface SinkEvents {
  /** It does not work; told once until it does again. */
  failed(name: string, why: string): void
  works(name: string): void
  /** The other end will never take so many rows. */
  dropped(name: string, rows: number): void
}

export interface AuditSink {
  /** There are new rows. */
  nudge(): void
  /** Sends what is left, at most until then (epoch ms). */
  end(until: number): Promise<void>
}

const batchRows = 200
const idleMs = 1_000
const firstRetryMs = 500
const longestRetryMs = 30_000

interface SinkDeps {
  readonly name: string
  readonly positions: SinkPositions
  readonly target: SinkTarget
  /** It gets only the rows that the trail writes about itself. */
  readonly anchors?: boolean
  readonly events: SinkEvents
  readonly now: () => number
}

/** What was sent, and when it counts as received. */
const createUnsettled = ({ name, positions, target, now }: SinkDeps) => {
  let sent: { readonly end: Position; readonly at: number }[] = []
  return {
    add(end: Position) {
      sent.push({ end, at: now() })
    },
    settle() {
      let last: Position | undefined
      while (sent[0] && sent[0].at + target.settleMs <= now()) last = sent.shift()?.end
      if (last) positions.save(name, last)
    },
    settleAll() {
      const last = sent.at(-1)
      if (last) positions.save(name, last.end)
    },
    forget() {
      sent = []
    },
  }
}

/** Sends one batch after the other. */
const createSteps = (deps: SinkDeps) => {
  const { name, positions, target, events, now, anchors } = deps
  const unsettled = createUnsettled(deps)
  let position: Position | undefined
  let heldAt = -Infinity
  const isHeld = (): boolean => {
    if (now() - heldAt <= renewMs) return true
    const held = positions.hold(name, now())
    heldAt = held ? now() : -Infinity
    return held
  }
  return {
    /** Goes back to what is known to be received. */
    back() {
      position = undefined
    },
    /** One batch; resolves with how long to wait for the next. */
    async next(): Promise<number> {
      if (!isHeld()) {
        position = undefined
        return idleMs
      }
      // What a lost connection held has to be sent again.
      if (target.broken()) position = undefined
      if (!position) unsettled.forget()
      position ??= positions.at(name)
      const { rows, end } = positions.after(position, batchRows, anchors)
      if (rows.length > 0) {
        const refused = await target.send(rows)
        // A row that says so would otherwise be followed by one that says that it was refused.
        if (refused > 0 && rows.some(({ kind }) => kind !== 'audit.dropped')) events.dropped(name, refused)
        position = end
        unsettled.add(end)
      }
      unsettled.settle()
      // A short batch is the end of a segment only, and there may be another.
      return rows.length > 0 ? 0 : idleMs
    },
    /** Nothing more is sent, so what was sent counts as received. */
    end() {
      if (position && !target.broken()) unsettled.settleAll()
      positions.release(name)
    },
  }
}

/** Waits, until it is woken. */
const createRest = () => {
  let wake: () => void = () => undefined
  return {
    wake: () => wake(),
    wait: (ms: number): Promise<void> =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, ms)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      }),
  }
}

export const createSink = (deps: SinkDeps): AuditSink => {
  const { name, target, events, now } = deps
  const steps = createSteps(deps)
  const rest = createRest()
  let failing = false
  let retryMs = firstRetryMs
  let ending = Infinity
  /** How often new rows were announced. */
  let asked = 0

  const tried = async (): Promise<number> => {
    try {
      const wait = await steps.next()
      if (failing) events.works(name)
      failing = false
      retryMs = firstRetryMs
      return wait
    } catch (error) {
      if (!failing) events.failed(name, error instanceof Error ? error.message : String(error))
      failing = true
      steps.back()
      retryMs = Math.min(retryMs * 2, longestRetryMs)
      return retryMs
    }
  }
  const run = async (): Promise<void> => {
    for (;;) {
      const before = asked
      const wait = await tried()
      const more = wait === 0 || (asked !== before && !failing)
      // At the end nothing more comes.
      if (now() >= ending || (ending < Infinity && !more)) break
      if (!more) await rest.wait(wait)
    }
    try {
      steps.end()
    } finally {
      target.close()
    }
  }
  const running = run()
  return {
    nudge() {
      asked++
      if (!failing) rest.wake()
    },
    end(until) {
      asked++
      ending = until
      rest.wake()
      return running
    },
  }
}
