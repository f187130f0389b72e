// How many processes a service has, and how soon one that failed is started again.
import type { AbortListener } from '../kit/plain-response.ts'
import { Refusal } from '../kit/refusal.ts'
import type { SessionUser } from '../mcp/streamable-http.ts'
import type { ProcessEnd } from '../ports/runtime.ts'
import type { ProcessPeer } from './process-reports.ts'

/** Whose process it is, without what the process is told of them. */
export const nameOf = (owner: string): string => owner.split(' ', 1)[0] as string

// The slots of a service: so many processes in all and for one person, and so many that start at once; a call
// that finds no slot waits in a queue.

/**
 * Processes that start at the same moment; a start counts until the server has said something, at most this
 * long.
 */
const mostStarting = 8
const startingMs = 5000
/** A process unused for this long may be ended so that a call that waits gets its slot. */
const evictMs = 10_000

export interface SlotLimits {
  readonly perPerson: number
  readonly total: number
  /** Longest wait for a slot, milliseconds. */
  readonly waitMs: number
}

/** Who uses a process. */
export interface ProcessUser extends SessionUser {
  /** True while the process is only asked what it is: that it fails says nothing about the next. */
  readonly probing?: () => boolean
}

export interface ProcessSlot {
  readonly owner: string
  readonly user: ProcessUser
  /** Absent while the process starts. */
  peer: ProcessPeer | undefined
  dismissed: boolean
}

export interface ProcessSlots {
  /**
   * A slot, as soon as there is one. Rejects with `process.limit` when there is none in time, or when the
   * caller leaves.
   */
  take(owner: string, user: ProcessUser, signal: AbortListener): Promise<ProcessSlot>
  give(slot: ProcessSlot): void
  /** Asks the user of the process to end it, once. */
  dismiss(slot: ProcessSlot): void
  /** Gives free slots to the calls that wait, and refuses those that waited too long. */
  serve(): void
  /** Refuses all calls that wait. */
  close(): void
  /** Whether anybody of this owner waits for a slot. */
  waits(owner: string): boolean
  readonly all: ReadonlySet<ProcessSlot>
}

interface Waiting {
  readonly owner: string
  readonly user: ProcessUser
  readonly until: number
  admit(slot: ProcessSlot): void
  refuse(refusal: Refusal): void
}

const dismissUser = (slot: ProcessSlot): void => {
  if (slot.dismissed) return
  slot.dismissed = true
  slot.user.leave()
}

const isStarting = ({ peer }: ProcessSlot, now: () => number): boolean =>
  peer === undefined || (!peer.spoke() && !peer.end() && now() - peer.startedAt < startingMs)

const ofOwner = (all: ReadonlySet<ProcessSlot>, owner: string): readonly ProcessSlot[] =>
  [...all].filter((slot) => nameOf(slot.owner) === nameOf(owner))

/**
 * Frees a slot where a process has been idle for long: among the person's own when they have too many, among
 * everybody's otherwise.
 */
const evict = (all: ReadonlySet<ProcessSlot>, limits: SlotLimits, owner: string): void => {
  const own = ofOwner(all, owner)
  const candidates = own.length >= limits.perPerson ? own : all.size >= limits.total ? [...all] : []
  const [longest] = candidates
    .filter(({ dismissed, user }) => !dismissed && user.idle() >= evictMs)
    .sort((a, b) => b.user.idle() - a.user.idle())
  if (longest) dismissUser(longest)
}

const noSlot = (all: ReadonlySet<ProcessSlot>, owner: string): Refusal =>
  new Refusal('process.limit', `${all.size} processes, ${ofOwner(all, owner).length} of this owner`, {
    headers: { 'retry-after': '5' },
  })

export const createProcessSlots = (limits: SlotLimits, now: () => number): ProcessSlots => {
  const all = new Set<ProcessSlot>()
  const queue = new Set<Waiting>()
  const fits = (owner: string): boolean =>
    all.size < limits.total &&
    ofOwner(all, owner).length < limits.perPerson &&
    [...all].filter((slot) => isStarting(slot, now)).length < mostStarting

  const enter = ({ owner, user }: Pick<Waiting, 'owner' | 'user'>): ProcessSlot => {
    const slot: ProcessSlot = { owner, user, peer: undefined, dismissed: false }
    all.add(slot)
    return slot
  }

  const serve = (): void => {
    for (const waiting of queue) {
      if (fits(waiting.owner)) {
        queue.delete(waiting)
        waiting.admit(enter(waiting))
      } else if (now() >= waiting.until) {
        queue.delete(waiting)
        waiting.refuse(noSlot(all, waiting.owner))
      } else evict(all, limits, waiting.owner)
    }
  }

  return {
    all,
    serve,
    dismiss: dismissUser,
    take(owner, user, signal) {
      if (queue.size === 0 && fits(owner)) return Promise.resolve(enter({ owner, user }))
      const { promise, resolve, reject } = Promise.withResolvers<ProcessSlot>()
      const waiting: Waiting = { owner, user, until: now() + limits.waitMs, admit: resolve, refuse: reject }
      const gone = (): void => {
        if (queue.delete(waiting)) reject(new Refusal('process.limit', 'caller left the queue'))
      }
      signal.addEventListener('abort', gone, { once: true })
      queue.add(waiting)
      serve()
      return promise.finally(() => signal.removeEventListener('abort', gone))
    },
    give(slot) {
      all.delete(slot)
      serve()
    },
    waits: (owner) => [...queue].some((waiting) => waiting.owner === owner),
    close() {
      for (const waiting of queue) waiting.refuse(new Refusal('process.limit', 'gateway is shutting down'))
      queue.clear()
    },
  }
}

// How soon after a failure a server is tried again: at once the first time, then after half a second, one,
// two, four, at most a minute.

const mostResting = 1000
const longestMs = 60_000

interface Failures {
  readonly count: number
  readonly until: number
  readonly end: ProcessEnd
}

export interface RestartBackoff {
  /** Passes unless this owner's server failed a moment ago; throws `process.resting` then. */
  check(owner: string): void
  /** A process of this owner failed; `steady` when it had served well before. */
  failed(owner: string, end: ProcessEnd, steady: boolean): void
  /** A process of this owner served and was ended in order. */
  forget(owner: string): void
}

const restMs = (failures: number): number =>
  failures < 2 ? 0 : Math.min(longestMs, 500 * 2 ** (failures - 2))

export const createRestartBackoff = (now: () => number): RestartBackoff => {
  const failures = new Map<string, Failures>()
  return {
    check(owner) {
      const rest = failures.get(owner)
      const ms = rest ? rest.until - now() : 0
      if (rest && ms > 0)
        throw new Refusal('process.resting', rest.end.why, {
          say: `${rest.end.say} The gateway retries in a moment.`,
          headers: { 'retry-after': String(Math.ceil(ms / 1000)) },
        })
    },
    failed(owner, end, steady) {
      const count = steady ? 1 : (failures.get(owner)?.count ?? 0) + 1
      if (failures.size >= mostResting) failures.delete(failures.keys().next().value as string)
      failures.set(owner, { count, until: now() + restMs(count), end })
    },
    forget: (owner) => void failures.delete(owner),
  }
}
