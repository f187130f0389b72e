// The processes of one service: started when there is a slot for one, not too soon after a failure, and ended
// when idle, or when their person may have them no more.
import { decodeBase64url, encodeHex } from '../kit/bytes.ts'
import type { AbortListener } from '../kit/plain-response.ts'
import { Refusal } from '../kit/refusal.ts'
import {
  type JsonRpcPeerDeps,
  type PeerEvents,
  type Transport,
  createJsonRpcPeer,
} from '../mcp/json-rpc-peer.ts'
import type { Principal } from '../ports/people.ts'
import type { ProcessEnd, ProcessPlan, Runtime, ServerProcess, SpawnServer, Timer } from '../ports/runtime.ts'
import type { CallerContext, ServiceState } from '../ports/services.ts'
import {
  type CrashLog,
  type FailedProcess,
  type KnownProcess,
  type ProcessNoise,
  type ProcessPeer,
  type ReportToOperator,
  createCrashLog,
  createReports,
  known,
} from './process-reports.ts'
import {
  type ProcessSlot,
  type ProcessSlots,
  type ProcessUser,
  type RestartBackoff,
  type SlotLimits,
  createProcessSlots,
  createRestartBackoff,
  nameOf,
} from './process-slots.ts'

// A process as a JSON-RPC peer: its standard input and output are the transport (2025-11-25 transports, stdio).

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

/** A process that served this long before it failed is started again at once. */
const steadyMs = 60_000

export interface PoolDeps {
  /** Display name of the service. */
  readonly name: string
  readonly spawn: SpawnServer
  readonly now: () => number
  readonly timer: Timer
  readonly plan: (owner: string) => ProcessPlan
  /** Whether the grant of this principal lives. */
  readonly alive: (principal: Principal) => Promise<boolean>
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
  /** A call by this grant is for the processes of this owner, which end when no such grant lives any more. */
  used(owner: string, principal: Principal | undefined): void
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

// A process belongs to a person, who may use it by several grants. When none of them lives any more it ends, although
// no call comes by which it would show.

interface Holders {
  /** A call by this grant is for the processes of this owner. */
  used(owner: string, principal: Principal | undefined): void
  /** Asks about the grants of those who have processes, every two seconds at most. Never rejects. */
  check(): void
}

interface HoldersDeps {
  readonly now: () => number
  /** Rejects where the storage does not answer: nobody's process ends by that. */
  readonly alive: (principal: Principal) => Promise<boolean>
  readonly slots: Pick<ProcessSlots, 'all' | 'dismiss'>
}

const checkMs = 2000

const createHolders = ({ now, alive, slots }: HoldersDeps): Holders => {
  const holders = new Map<string, Map<string, Principal>>()
  let checkedAt = now()
  const ask = async (owner: string, grants: Map<string, Principal>): Promise<void> => {
    for (const [id, principal] of grants) if (!(await alive(principal))) grants.delete(id)
    if (grants.size > 0) return
    const own = [...slots.all].filter((slot) => slot.owner === owner)
    // What is open is cut first, within seconds: an end of the process would look like its answer.
    if (own.some(({ user }) => user.idle() === 0)) return
    holders.delete(owner)
    for (const slot of own) slots.dismiss(slot)
  }
  return {
    used(owner, principal) {
      if (!principal) return
      const grants = holders.get(owner) ?? new Map<string, Principal>()
      if (grants.size === 0) holders.set(owner, grants)
      grants.set(principal.grantId, principal)
    },
    check() {
      if (now() - checkedAt < checkMs) return
      checkedAt = now()
      const owners = new Set([...slots.all].map(({ owner }) => owner))
      for (const [owner, grants] of holders) {
        if (owners.has(owner)) ask(owner, grants).catch(() => undefined)
        else holders.delete(owner)
      }
    },
  }
}

export const createPool = (deps: PoolDeps): ProcessPool => {
  const { now, timer, limits } = deps
  const slots = createProcessSlots(limits, now)
  const backoff = createRestartBackoff(now)
  const failures = createCrashLog(now, limits.waitMs)
  const holders = createHolders({ now, alive: deps.alive, slots })
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
      holders.check()
    },
    used: holders.used,
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
