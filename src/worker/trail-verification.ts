// Verifies the audit trail in its object once a day by itself, a few rows at a time: what is written meanwhile must not
// wait for it.
import type { AuditCheck, ChainFault, ChainedRow } from '../ports/store.ts'
import type { AuditWriter } from '../stores/audit-append.ts'
import {
  type TrailCheck,
  type TrailOutline,
  createTrailCheck,
  keptFault,
  outlineOf,
} from '../stores/audit-check.ts'
import { createRows } from '../stores/audit-events.ts'
import { publicKeyOf, storedKeysIn } from '../stores/audit-keys.ts'
import { type TrailDatabase, segmentsOf } from '../stores/audit-tables.ts'
import { columnList } from '../stores/audit.ts'
import { createVerify, digest } from './audit-crypto.ts'

/** About a tenth of a second of computing. */
const rowsAtOnce = 4_000

interface Running {
  readonly outline: TrailOutline
  readonly check: TrailCheck
  /** Where it is: which of the segments, and the last row of it that was looked at. */
  segment: number
  row: number
}

export interface SelfVerification {
  /** Some of it, if it is due; true when there is more. */
  step(): boolean
  /** What was wrong the last time. */
  readonly fault: () => string | undefined
}

const begin = (db: TrailDatabase): Running => {
  const outline = outlineOf(db)
  const verify = createVerify(storedKeysIn(db).map(publicKeyOf))
  return { outline, check: createTrailCheck(outline, { digest, verify, signed: true }), segment: 0, row: 0 }
}

/** Looks at the next rows: what is wrong with one of them, or whether there are more. */
const lookOn = (db: TrailDatabase, running: Running): ChainFault | boolean => {
  const { outline, check } = running
  const segment = outline.segments[running.segment]
  if (!segment) return false
  const most = Math.min(rowsAtOnce, segment.rows - running.row)
  const rows = db
    .prepare(`SELECT ${columnList} FROM event_${segment.n} WHERE id > ? ORDER BY id LIMIT ?`)
    .all(running.row, most) as readonly ChainedRow[]
  for (const row of rows) {
    const fault = check.row(row)
    if (fault) return fault
  }
  running.row += rows.length
  if (rows.length < rowsAtOnce) {
    running.segment++
    running.row = 0
  }
  return true
}

export const createSelfVerification = (
  db: TrailDatabase,
  writer: Pick<AuditWriter, 'claimVerification' | 'append'>,
  now: () => number,
): SelfVerification => {
  const rowsOf = createRows(digest)
  let running: Running | undefined
  let last: string | undefined
  const end = ({ fault, rows, chains, open }: AuditCheck): void => {
    running = undefined
    last = fault?.say
    const event = { event: 'audit.verified', rows, chains, open: open.length, fault: last }
    writer.append(rowsOf(event, now()))
  }
  return {
    fault: () => last,
    step() {
      if (!running && !writer.claimVerification(now())) return false
      // Another one where a segment was removed meanwhile.
      if (!running || segmentsOf(db)[0]?.n !== running.outline.segments[0]?.n) running = begin(db)
      const looked = lookOn(db, running)
      if (looked === true) return true
      const { check } = running
      end(check.found(looked === false ? (check.end() ?? keptFault(db, digest)) : looked))
      return false
    },
  }
}
