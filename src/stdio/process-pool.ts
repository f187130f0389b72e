// The processes of one service: begun when there is a place, kept from being begun too soon after a failure, ended when idle.
import { decodeBase64url, encodeHex } from '../kit/bytes.ts'
import { personKey } from '../kit/person-key.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Principal } from '../ports/people.ts'
import type { ProcessEnd, ProcessPlan, Runtime, SpawnServer } from '../ports/runtime.ts'
import type { ServiceState } from '../ports/services.ts'
import type { AbortListener } from '../kit/plain-response.ts'
import type { PeerEvents } from './incoming-messages.ts'
import { type JsonRpcPeer, createJsonRpcPeer } from './json-rpc-peer.ts'
import {
  type FailedProcess,
  type KnownProcess,
  type ReportToOperator,
  createCrashLog,
  createReports,
  known,
} from './process-reports.ts'

// The places that processes of a service have: so many in all and for one person, so many starting at once; whoever finds none waits in a queue.

/** Processes that start at the same moment; a start counts until the server has said something, at most this long. */
const mostStarting = 8
const startingMs = 5000
/** A process unused for this long may be ended so that somebody who waits gets its place. */
const evictMs = 10_000

export interface SlotLimits {
  readonly perPerson: number
  readonly total: number
  /** Longest wait for a place, milliseconds. */
  readonly waitMs: number
}

/** Who lives in a process. */
export interface ProcessUser extends PeerEvents {
  /** Milliseconds since it was last of use; 0 while it is. */
  idle(): number
  /** Whether anybody waits for an answer. */
  busy(): boolean
  /** Its process is to be ended. */
  leave(): void
  /** True while the process is only asked what it is: that it fails says nothing about the next. */
  readonly probing?: () => boolean
}

export interface ProcessSlot {
  readonly owner: string
  readonly lodger: ProcessUser
  /** Absent while the process begins. */
  channel: JsonRpcPeer | undefined
  leaving: boolean
}

export interface ProcessSlots {
  /** A place, as soon as there is one. Rejects with `process.limit` when there is none in time, or when the caller leaves. */
  take(owner: string, lodger: ProcessUser, signal: AbortListener): Promise<ProcessSlot>
  give(place: ProcessSlot): void
  /** Asks the lodger to leave, once. */
  dismiss(place: ProcessSlot): void
  /** Lets in who fits, and sends away who waited too long. */
  serve(): void
  /** Sends everybody away who waits. */
  close(): void
  /** Whether anybody of this owner waits for a place. */
  waits(owner: string): boolean
  readonly all: ReadonlySet<ProcessSlot>
}

interface Waiting {
  readonly owner: string
  readonly lodger: ProcessUser
  readonly until: number
  admit(place: ProcessSlot): void
  refuse(refusal: Refusal): void
}

const dismiss = (place: ProcessSlot): void => {
  if (place.leaving) return
  place.leaving = true
  place.lodger.leave()
}

export const createProcessSlots = (limits: SlotLimits, now: () => number): ProcessSlots => {
  const all = new Set<ProcessSlot>()
  const queue = new Set<Waiting>()
  const isStarting = ({ channel }: ProcessSlot): boolean =>
    channel === undefined || (!channel.spoke() && !channel.end() && now() - channel.startedAt < startingMs)
  const of = (owner: string): readonly ProcessSlot[] => [...all].filter((place) => place.owner === owner)
  const fits = (owner: string): boolean =>
    all.size < limits.total &&
    of(owner).length < limits.perPerson &&
    [...all].filter(isStarting).length < mostStarting

  const enter = ({ owner, lodger }: Pick<Waiting, 'owner' | 'lodger'>): ProcessSlot => {
    const place: ProcessSlot = { owner, lodger, channel: undefined, leaving: false }
    all.add(place)
    return place
  }

  /** Makes room where somebody has been idle for long: among the person's own when they have too many, among everybody's otherwise. */
  const evict = (owner: string): void => {
    const candidates =
      of(owner).length >= limits.perPerson ? of(owner) : all.size >= limits.total ? [...all] : []
    const [longest] = candidates
      .filter(({ leaving, lodger }) => !leaving && lodger.idle() >= evictMs)
      .sort((a, b) => b.lodger.idle() - a.lodger.idle())
    if (longest) dismiss(longest)
  }

  const serve = (): void => {
    for (const waiting of queue) {
      if (fits(waiting.owner)) {
        queue.delete(waiting)
        waiting.admit(enter(waiting))
      } else if (now() >= waiting.until) {
        queue.delete(waiting)
        waiting.refuse(
          new Refusal('process.limit', `${all.size} processes, ${of(waiting.owner).length} of this owner`, {
            headers: { 'retry-after': '5' },
          }),
        )
      } else evict(waiting.owner)
    }
  }

  return {
    all,
    serve,
    dismiss,
    take(owner, lodger, signal) {
      if (queue.size === 0 && fits(owner)) return Promise.resolve(enter({ owner, lodger }))
      const { promise, resolve, reject } = Promise.withResolvers<ProcessSlot>()
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

// How soon after a failure a server is tried again: at once the first time, then after half a second, one, two, four, at most a minute.

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

/** A process that served this long before it failed is begun again at once. */
const steadyMs = 60_000
export interface PoolDeps {
  /** Display name of the service. */
  readonly name: string
  readonly spawn: SpawnServer
  readonly now: () => number
  readonly plan: (owner: string) => ProcessPlan
  readonly limits: SlotLimits
  /** For the operator: a process began or ended, or said something that belongs to nobody. */
  readonly tell: ReportToOperator
}

export interface RunningProcess extends KnownProcess {
  /** Calls without an answer. */
  readonly pending: number
}

export interface Pool {
  /**
   * A process for this owner, as soon as there is a place. Rejects with `process.limit` when there is none in time, `process.resting`
   * soon after failures.
   */
  start(owner: string, lodger: ProcessUser, signal: AbortListener): Promise<JsonRpcPeer>
  /** Serves the queue, and ends who has been idle for longer than `idleMs`. */
  tick(idleMs: number): void
  readonly size: number
  /** What this owner's calls wait for: a process that has not answered yet, or a place for one. */
  waitsFor(owner: string): 'start' | 'place' | undefined
  list(): readonly RunningProcess[]
  /** The last few that ended by themselves, the newest last. */
  failures(): readonly FailedProcess[]
  /** Whether the command can be started, as far as is known. */
  readonly state: ServiceState
  /** Starts nothing more, lets processes finish the calls they have for `graceMs`, and ends them; resolves when all are gone. */
  close(graceMs: number): Promise<void>
}

export const createPool = ({ name, spawn, now, plan, limits, tell }: PoolDeps): Pool => {
  const places = createProcessSlots(limits, now)
  const rest = createRestartBackoff(now)
  const failures = createCrashLog(now, limits.waitMs)
  const reports = createReports(tell, now)
  let closed = false

  const begin = (place: ProcessSlot): JsonRpcPeer => {
    const { owner, lodger } = place
    const ended = (end: ProcessEnd): void => {
      starting.over()
      const probe = lodger.probing?.() === true
      const calm = end.kind === 'stopped' || probe
      if (end.kind === 'stopped') rest.forget(owner)
      else if (!probe) rest.failed(owner, end, channel.spoke() && now() - channel.startedAt >= steadyMs)
      failures.ended(owner, channel, end, probe)
      tell(calm ? 'debug' : 'warn', 'process.ended', {
        owner,
        pid: channel.process.pid,
        why: end.why,
        lived_ms: now() - channel.startedAt,
      })
      lodger.ended(end)
      places.give(place)
    }
    const channel: JsonRpcPeer = createJsonRpcPeer(
      plan(owner),
      { name, spawn, now, ...reports.of(owner, () => channel) },
      { ...lodger, ended },
    )
    place.channel = channel
    const starting = reports.started(owner, channel)
    return channel
  }

  return {
    async start(owner, lodger, signal) {
      if (closed) throw new Refusal('process.limit', 'gateway is shutting down')
      if (lodger.probing?.() !== true) rest.check(owner)
      return begin(await places.take(owner, lodger, signal))
    },
    tick(idleMs) {
      for (const place of places.all) if (place.lodger.idle() >= idleMs) places.dismiss(place)
      places.serve()
    },
    get size() {
      return places.all.size
    },
    waitsFor(owner) {
      for (const { owner: whose, channel } of places.all)
        if (whose === owner && (!channel || (!channel.spoke() && !channel.end()))) return 'start'
      return places.waits(owner) ? 'place' : undefined
    },
    get state() {
      return [...places.all].some(({ channel }) => channel?.spoke() === true) ? 'healthy' : failures.state
    },
    list: () =>
      [...places.all].flatMap(({ owner, channel }) =>
        channel ? [{ ...known(owner, channel), pending: channel.pending() }] : [],
      ),
    failures: () => failures.all,
    async close(graceMs) {
      closed = true
      places.close()
      for (const until = now() + graceMs; places.all.size > 0 && now() < until;) {
        for (const place of places.all) if (!place.lodger.busy()) places.dismiss(place)
        await new Promise((done) => void setTimeout(done, 50))
      }
      await Promise.all([...places.all].flatMap(({ channel }) => (channel ? [channel.process.stop()] : [])))
    },
  }
}

// Whose process it is, as a name for folders and logs that tells nobody who that is.

const mostOwners = 10_000

/** 32 hexadecimal digits for a person, the same ones always; `shared` where everybody has one process, `anyone` where nobody signs in. */
export const createOwnerKeys = (
  shared: boolean,
  digest: Runtime['digest'],
): ((principal: Principal | undefined) => string) => {
  const known = new Map<string, string>()
  return (principal) => {
    if (shared || !principal) return shared ? 'shared' : 'anyone'
    const key = personKey(principal.person)
    const before = known.get(key)
    if (before !== undefined) return before
    const owner = encodeHex((decodeBase64url(digest(key)) as Uint8Array).subarray(0, 16))
    if (known.size >= mostOwners) known.delete(known.keys().next().value as string)
    known.set(key, owner)
    return owner
  }
}
