// The places that processes of a service have: so many in all and for one person, so many starting at once; whoever finds none waits in a queue.
import { Refusal } from '../kit/refusal.ts'
import type { Leave } from '../ports/bridge.ts'
import type { Channel } from './channel.ts'
import type { ChannelEvents } from './channel-events.ts'

/** Processes that start at the same moment; a start counts until the server has said something, at most this long. */
const mostStarting = 8
const startingMs = 5000
/** A process unused for this long may be ended so that somebody who waits gets its place. */
const evictMs = 10_000

export interface PlaceLimits {
  readonly perPerson: number
  readonly total: number
  /** Longest wait for a place, milliseconds. */
  readonly waitMs: number
}

/** Who lives in a process. */
export interface Lodger extends ChannelEvents {
  /** Milliseconds since it was last of use; 0 while it is. */
  idle(): number
  /** Whether anybody waits for an answer. */
  busy(): boolean
  /** Its process is to be ended. */
  leave(): void
  /** True while the process is only asked what it is: that it fails says nothing about the next. */
  readonly probing?: () => boolean
}

export interface Place {
  readonly owner: string
  readonly lodger: Lodger
  /** Absent while the process begins. */
  channel: Channel | undefined
  leaving: boolean
}

export interface Places {
  /** A place, as soon as there is one. Rejects with `process.limit` when there is none in time, or when the caller leaves. */
  take(owner: string, lodger: Lodger, signal: Leave): Promise<Place>
  give(place: Place): void
  /** Asks the lodger to leave, once. */
  dismiss(place: Place): void
  /** Lets in who fits, and sends away who waited too long. */
  serve(): void
  /** Sends everybody away who waits. */
  close(): void
  /** Whether anybody of this owner waits for a place. */
  waits(owner: string): boolean
  readonly all: ReadonlySet<Place>
}

interface Waiting {
  readonly owner: string
  readonly lodger: Lodger
  readonly until: number
  admit(place: Place): void
  refuse(refusal: Refusal): void
}

const dismiss = (place: Place): void => {
  if (place.leaving) return
  place.leaving = true
  place.lodger.leave()
}

export const createPlaces = (limits: PlaceLimits, now: () => number): Places => {
  const all = new Set<Place>()
  const queue = new Set<Waiting>()
  const isStarting = ({ channel }: Place): boolean => channel === undefined || (!channel.spoke() && !channel.end() && now() - channel.startedAt < startingMs)
  const of = (owner: string): readonly Place[] => [...all].filter((place) => place.owner === owner)
  const fits = (owner: string): boolean => all.size < limits.total && of(owner).length < limits.perPerson && [...all].filter(isStarting).length < mostStarting

  const enter = ({ owner, lodger }: Pick<Waiting, 'owner' | 'lodger'>): Place => {
    const place: Place = { owner, lodger, channel: undefined, leaving: false }
    all.add(place)
    return place
  }

  /** Makes room where somebody has been idle for long: among the person's own when they have too many, among everybody's otherwise. */
  const evict = (owner: string): void => {
    const candidates = of(owner).length >= limits.perPerson ? of(owner) : all.size >= limits.total ? [...all] : []
    const [longest] = candidates.filter(({ leaving, lodger }) => !leaving && lodger.idle() >= evictMs).sort((a, b) => b.lodger.idle() - a.lodger.idle())
    if (longest) dismiss(longest)
  }

  const serve = (): void => {
    for (const waiting of queue) {
      if (fits(waiting.owner)) {
        queue.delete(waiting)
        waiting.admit(enter(waiting))
      } else if (now() >= waiting.until) {
        queue.delete(waiting)
        waiting.refuse(new Refusal('process.limit', `${all.size} processes, ${of(waiting.owner).length} of this owner`, { headers: { 'retry-after': '5' } }))
      } else evict(waiting.owner)
    }
  }

  return {
    all,
    serve,
    dismiss,
    take(owner, lodger, signal) {
      if (queue.size === 0 && fits(owner)) return Promise.resolve(enter({ owner, lodger }))
      const { promise, resolve, reject } = Promise.withResolvers<Place>()
      const waiting: Waiting = { owner, lodger, until: now() + limits.waitMs, admit: resolve, refuse: reject }
      const gone = (): void => {
        if (queue.delete(waiting)) reject(new Refusal('process.limit', 'caller left the queue'))
      }
      signal.addEventListener('abort', gone, { once: true })
      queue.add(waiting)
      serve()
      return promise.finally(() => signal.removeEventListener('abort', gone))
    },
    give(place) {
      all.delete(place)
      serve()
    },
    waits: (owner) => [...queue].some((waiting) => waiting.owner === owner),
    close() {
      for (const waiting of queue) waiting.refuse(new Refusal('process.limit', 'gateway is shutting down'))
      queue.clear()
    },
  }
}
