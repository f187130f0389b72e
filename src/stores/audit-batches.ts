// Events of the audit trail on their way to whoever writes them: gathered in batches, and counted where there is no
// room for them.
import type { AuditBody } from '../ports/store.ts'
import type { EventBatch } from './audit-events.ts'

const dayMs = 86_400_000
/** Keys of digests are of a day. */
export const dayOf = (at: number): number => Math.floor(at / dayMs)

/** Room for the bodies of a batch, which grows for large ones. */
const usualBodies = 65_536

/** Bodies, one behind the other. */
const createBodies = () => {
  let bytes = new Uint8Array(usualBodies)
  let end = 0
  return {
    add(body: Uint8Array) {
      if (end + body.byteLength > bytes.byteLength) {
        const more = new Uint8Array((end + body.byteLength) * 2)
        more.set(bytes.subarray(0, end))
        bytes = more
      }
      bytes.set(body, end)
      end += body.byteLength
    },
    take(): Uint8Array {
      const taken = bytes.slice(0, end)
      if (bytes.byteLength > usualBodies) bytes = new Uint8Array(usualBodies)
      end = 0
      return taken
    },
  }
}

/** Callers, each once. */
const createCallers = () => {
  let snapshots: string[] = []
  let known = new Map<string, number>()
  return {
    indexOf(snapshot: string | undefined): number {
      if (snapshot === undefined) return -1
      const found = known.get(snapshot)
      if (found !== undefined) return found
      known.set(snapshot, snapshots.length)
      return snapshots.push(snapshot) - 1
    },
    take(): readonly string[] {
      const taken = snapshots
      snapshots = []
      known = new Map()
      return taken
    },
  }
}

/** Events that wait to be handed over. */
export const createBatch = () => {
  const [bodies, callers] = [createBodies(), createCallers()]
  let events: string[] = []
  let times: number[] = []
  let lengths: number[] = []
  let subjects: number[] = []
  let kept: AuditBody[] = []
  return {
    keep: (body: AuditBody) => void kept.push(body),
    size: () => events.length,
    add(event: string, at: number, body: Uint8Array | undefined, snapshot: string | undefined) {
      events.push(event)
      times.push(at)
      lengths.push(body ? body.byteLength : -1)
      if (body) bodies.add(body)
      subjects.push(callers.indexOf(snapshot))
    },
    take(): EventBatch {
      const taken = {
        ...{ events: `[${events.join(',')}]`, times, kept },
        ...{ bodies: bodies.take(), lengths, snapshots: callers.take(), subjects },
      }
      events = []
      times = []
      lengths = []
      subjects = []
      kept = []
      return taken
    },
  }
}

/** Counts what there is no room for, and tells it as soon as there is some. */
export const createLosses = () => {
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
