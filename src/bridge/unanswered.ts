// Answers of a server that nobody can be given: an error without an id, a message beyond repair, one that is too large. The call that is meant must not wait
// for its timeout, and no other call may fail for it.
import type { Refusal } from '../kit/refusal.ts'
import type { Rpc } from '../mcp/rpc.ts'

/** The call may be answered after all: servers log what they write, and answer notifications with errors that nobody asked for. */
const graceMs = 500

/** What becomes of a call that can only be the one that is meant. */
export type Lost = { readonly refusal: Refusal } | { readonly error: Rpc }

interface Notice {
  readonly lost: Lost
  /** The calls that may be meant. */
  readonly among: Set<number>
  due: boolean
}

export interface Unanswered {
  /** Something was said that belongs to one of these calls. */
  notice(among: Iterable<number>, lost: Lost): void
  /** A call was answered, failed or given up. */
  settled(id: number): void
  close(): void
}

/** `end` fails or answers a call; it must lead to `settled`. */
export const createUnanswered = (end: (id: number, lost: Lost) => void): Unanswered => {
  let notices: Notice[] = []
  const timers = new Set<ReturnType<typeof setTimeout>>()

  /** As many notices as calls that may be meant: it is all of them. With fewer, those that are answered tell which is left. */
  const judge = (): void => {
    notices = notices.filter(({ among }) => among.size > 0)
    const due = notices.filter(({ due: isDue }) => isDue)
    const meant = new Set(due.flatMap(({ among }) => [...among]))
    const alone = due.find(({ among }) => among.size === 1)
    const [id] = alone?.among ?? []
    if (alone && id !== undefined) {
      notices = notices.filter((other) => other !== alone)
      end(id, alone.lost)
    } else if (due.length > 0 && due.length >= meant.size) {
      notices = notices.filter((other) => !due.includes(other))
      for (const [at, each] of [...meant].entries()) end(each, (due[at] as Notice).lost)
    }
  }

  return {
    notice(among, lost) {
      const made: Notice = { lost, among: new Set(among), due: false }
      if (made.among.size === 0) return
      notices.push(made)
      const timer = setTimeout(() => {
        timers.delete(timer)
        made.due = true
        judge()
      }, graceMs)
      timers.add(timer)
    },
    settled(id) {
      if (notices.length === 0) return
      for (const { among } of notices) among.delete(id)
      judge()
    },
    close() {
      for (const timer of timers) clearTimeout(timer)
      timers.clear()
      notices = []
    },
  }
}
