// The processes of one service: started when there is a slot for one, not too soon after a failure, and ended
// when idle.
import { decodeBase64url, encodeHex } from '../kit/bytes.ts'
import type { AbortListener } from '../kit/plain-response.ts'
import { Refusal } from '../kit/refusal.ts'
import {
  type JsonRpcPeer,
  type JsonRpcPeerDeps,
  type PeerEvents,
  type Transport,
  createJsonRpcPeer,
} from '../mcp/json-rpc-peer.ts'
import type { SessionUser } from '../mcp/streamable-http.ts'
import type { Principal } from '../ports/people.ts'
import type { ProcessEnd, ProcessPlan, Runtime, ServerProcess, SpawnServer, Timer } from '../ports/runtime.ts'
import type { CallerContext, ServiceState } from '../ports/services.ts'
import {
  type CrashLog,
  type FailedProcess,
  type KnownProcess,
  type ProcessNoise,
  type ReportedProcess,
  type ReportToOperator,
  createCrashLog,
  createReports,
  known,
} from './process-reports.ts'

// A process as a JSON-RPC peer: its standard input and output are the transport (2025-11-25 transports, stdio).

export interface ProcessPeer extends JsonRpcPeer, ReportedProcess {}

interface ProcessPeerDeps extends JsonRpcPeerDeps, ProcessNoise {
  readonly spawn: SpawnServer
}

const processTransport = (child: ServerProcess): Transport => ({
  send(line) {
    if (child.send(line)) return
    throw new Refusal('upstream.busy', 'stdin of the process is full', { headers: { 'retry-after': '1' } })
  },
  close: () => void child.stop().catch(() => undefined),
  pause: () => child.pause(),
  resume: () => child.resume(),
})

const createProcessPeer = (plan: ProcessPlan, deps: ProcessPeerDeps, events: PeerEvents): ProcessPeer => {
  const { spawn, unexpected, complained } = deps
  const startedAt = deps.now()
  let end: ProcessEnd | undefined
  const peer = createJsonRpcPeer(deps, events)
  const { onmessage, onoversized, onclose } = peer.heard
  const child = spawn(plan, {
    line: onmessage,
    garbage: () => unexpected('bytes that are no UTF-8'),
    oversized: onoversized,
    complained,
    ended(how) {
      end = how
      onclose(new Refusal('process.ended', how.why, { say: how.say }))
    },
  })
  peer.attach(processTransport(child))
  return { ...peer, complaint: () => child.complaint(), startedAt, end: () => end, process: child }
}

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

/** A process that served this long before it failed is started again at once. */
const steadyMs = 60_000

export interface PoolDeps {
  /** Display name of the service. */
  readonly name: string
  readonly spawn: SpawnServer
  readonly now: () => number
  readonly timer: Timer
  readonly plan: (owner: string) => ProcessPlan
  readonly limits: SlotLimits
  /** For the operator: a process started or ended, or said something that belongs to no call. */
  readonly tell: ReportToOperator
}

export interface RunningProcess extends KnownProcess {
  /** Calls without an answer. */
  readonly pending: number
}

export interface ProcessPool {
  /**
   * A process for this owner, as soon as there is a slot. Rejects with `process.limit` when there is none in
   * time, `process.resting` soon after failures.
   */
  start(owner: string, user: ProcessUser, signal: AbortListener): Promise<ProcessPeer>
  /** Serves the queue, and ends who has been idle for longer than `idleMs`. */
  tick(idleMs: number): void
  readonly size: number
  /** What this owner's calls wait for: a process that has not answered yet, or a slot for one. */
  waitsFor(owner: string): 'start' | 'slot' | undefined
  list(): readonly RunningProcess[]
  /** The last few that ended by themselves, the newest last. */
  failures(): readonly FailedProcess[]
  /** Whether the command can be started, as far as is known. */
  readonly state: ServiceState
  /**
   * Starts nothing more, lets processes finish the calls they have for `graceMs`, and ends them; resolves
   * when all are gone.
   */
  close(graceMs: number): Promise<void>
}

interface Running {
  readonly slots: ProcessSlots
  readonly backoff: RestartBackoff
  readonly failures: CrashLog
}

/** Starts the process of a slot. */
const createStart = (
  { name, spawn, now, timer, plan, tell }: PoolDeps,
  { slots, backoff, failures }: Running,
): ((slot: ProcessSlot) => ProcessPeer) => {
  const reports = createReports(tell, now, timer)
  return (slot) => {
    const { user } = slot
    const owner = nameOf(slot.owner)
    const ended = (): void => {
      const end = peer.end() as ProcessEnd
      starting.over()
      const probe = user.probing?.() === true
      const calm = end.kind === 'stopped' || probe
      if (end.kind === 'stopped') backoff.forget(owner)
      else if (!probe) backoff.failed(owner, end, peer.spoke() && now() - peer.startedAt >= steadyMs)
      failures.ended(owner, peer, end, probe)
      tell(calm ? 'debug' : 'warn', 'process.ended', {
        owner,
        pid: peer.process.pid,
        why: end.why,
        lived_ms: now() - peer.startedAt,
      })
      user.ended()
      slots.give(slot)
    }
    const peer: ProcessPeer = createProcessPeer(
      plan(slot.owner),
      { name, spawn, now, timer, ...reports.of(owner, () => peer) },
      { ...user, ended },
    )
    slot.peer = peer
    const starting = reports.started(owner, peer)
    return peer
  }
}

export const createPool = (deps: PoolDeps): ProcessPool => {
  const { now, timer, limits } = deps
  const slots = createProcessSlots(limits, now)
  const backoff = createRestartBackoff(now)
  const failures = createCrashLog(now, limits.waitMs)
  const start = createStart(deps, { slots, backoff, failures })
  let closed = false

  return {
    async start(owner, user, signal) {
      if (closed) throw new Refusal('process.limit', 'gateway is shutting down')
      if (user.probing?.() !== true) backoff.check(nameOf(owner))
      return start(await slots.take(owner, user, signal))
    },
    tick(idleMs) {
      for (const slot of slots.all) if (slot.user.idle() >= idleMs) slots.dismiss(slot)
      slots.serve()
    },
    get size() {
      return slots.all.size
    },
    waitsFor(owner) {
      for (const { owner: whose, peer } of slots.all)
        if (whose === owner && (!peer || (!peer.spoke() && !peer.end()))) return 'start'
      return slots.waits(owner) ? 'slot' : undefined
    },
    get state() {
      return [...slots.all].some(({ peer }) => peer?.spoke() === true) ? 'healthy' : failures.state
    },
    list: () =>
      [...slots.all].flatMap(({ owner, peer }) =>
        peer ? [{ ...known(nameOf(owner), peer), pending: peer.pending() }] : [],
      ),
    failures: () => failures.all,
    async close(graceMs) {
      closed = true
      slots.close()
      for (const until = now() + graceMs; slots.all.size > 0 && now() < until;) {
        for (const slot of slots.all) if (!slot.user.busy()) slots.dismiss(slot)
        await new Promise<void>((done) => void timer(50, done))
      }
      await Promise.all([...slots.all].flatMap(({ peer }) => (peer ? [peer.process.stop()] : [])))
    },
  }
}

// Whose process it is, as a name for folders and logs that tells nobody who that is, and behind it what the
// process is told of them: whoever may do something else gets another process.

const mostOwners = 10_000

type CallerFacts = readonly [userId: string | null, permissions: readonly string[]]

/** The name without what the process is told. */
export const nameOf = (owner: string): string => owner.split(' ', 1)[0] as string

const factsOf = (owner: string): CallerFacts | undefined => {
  const at = owner.indexOf(' ')
  return at < 0 ? undefined : (JSON.parse(owner.slice(at)) as CallerFacts)
}

/** What a process is told of its owner. */
export const variablesFor = (service: string, owner: string): Readonly<Record<string, string>> => {
  const [userId, permissions] = factsOf(owner) ?? [null]
  return {
    MCP_SERVER_ID: service,
    ...(userId === null ? {} : { MCP_USER_ID: userId }),
    ...(permissions && { MCP_PERMISSIONS: JSON.stringify(permissions) }),
  }
}

/** Whether a process that was told this of its owner may serve them as they are now: it was told no more. */
export const mayServe = (process: string, owner: string): boolean => {
  const [before, now] = [factsOf(process), factsOf(owner)]
  if (!before || !now || nameOf(process) !== nameOf(owner)) return process === owner
  return before[1].every((permission) => now[1].includes(permission))
}

/**
 * 32 hexadecimal digits for a person, the same ones always; `shared` where everybody has one process,
 * `anyone` where nobody signs in.
 */
export const createOwnerKeys = (
  shared: boolean,
  digest: Runtime['digest'],
  context: CallerContext,
): ((principal: Principal | undefined) => string) => {
  const names = new Map<string, string>()
  const owners = new WeakMap<Principal, { readonly owner: string; readonly permissions: readonly string[] }>()
  const nameFor = ({ personKey: key }: Principal): string => {
    const before = names.get(key)
    if (before !== undefined) return before
    const name = encodeHex((decodeBase64url(digest(key)) as Uint8Array).subarray(0, 16))
    if (names.size >= mostOwners) names.delete(names.keys().next().value as string)
    names.set(key, name)
    return name
  }
  return (principal) => {
    if (shared || !principal) return shared ? 'shared' : 'anyone'
    const permissions = context.permissions(principal)
    const before = owners.get(principal)
    if (before?.permissions === permissions) return before.owner
    const facts: CallerFacts = [context.userId(principal) ?? null, permissions]
    const owner = `${nameFor(principal)} ${JSON.stringify(facts)}`
    owners.set(principal, { owner, permissions })
    return owner
  }
}
