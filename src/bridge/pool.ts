// The processes of one service: begun when there is a place, kept from being begun too soon after a failure, ended when idle.
import { Refusal } from '../kit/refusal.ts'
import type { Leave } from '../ports/bridge.ts'
import type { ServiceState } from '../ports/services.ts'
import type { ProcessEnd, ProcessPlan, SpawnServer } from '../ports/spawn.ts'
import { type Channel, createChannel } from './channel.ts'
import { createPlaces, type Lodger, type Place, type PlaceLimits } from './places.ts'
import { createFailures, type FailedProcess, known, type KnownProcess } from './failures.ts'
import { createReports, type Tell } from './reports.ts'
import { createRest } from './rest.ts'

/** A process that served this long before it failed is begun again at once. */
const steadyMs = 60_000
export interface PoolDeps {
  /** Display name of the service. */
  readonly name: string
  readonly spawn: SpawnServer
  readonly now: () => number
  readonly plan: (owner: string) => ProcessPlan
  readonly limits: PlaceLimits
  /** For the operator: a process began or ended, or said something that belongs to nobody. */
  readonly tell: Tell
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
  start(owner: string, lodger: Lodger, signal: Leave): Promise<Channel>
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
  const places = createPlaces(limits, now)
  const rest = createRest(now)
  const failures = createFailures(now, limits.waitMs)
  const reports = createReports(tell, now)
  let closed = false

  const begin = (place: Place): Channel => {
    const { owner, lodger } = place
    const ended = (end: ProcessEnd): void => {
      starting.over()
      const probe = lodger.probing?.() === true
      const calm = end.kind === 'stopped' || probe
      if (end.kind === 'stopped') rest.forget(owner)
      else if (!probe) rest.failed(owner, end, channel.spoke() && now() - channel.startedAt >= steadyMs)
      failures.ended(owner, channel, end, probe)
      tell(calm ? 'debug' : 'warn', 'process.ended', { owner, pid: channel.process.pid, why: end.why, lived_ms: now() - channel.startedAt })
      lodger.ended(end)
      places.give(place)
    }
    const channel: Channel = createChannel(plan(owner), { name, spawn, now, ...reports.of(owner, () => channel) }, { ...lodger, ended })
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
      for (const { owner: whose, channel } of places.all) if (whose === owner && (!channel || (!channel.spoke() && !channel.end()))) return 'start'
      return places.waits(owner) ? 'place' : undefined
    },
    get state() {
      return [...places.all].some(({ channel }) => channel?.spoke() === true) ? 'healthy' : failures.state
    },
    list: () => [...places.all].flatMap(({ owner, channel }) => (channel ? [{ ...known(owner, channel), pending: channel.pending() }] : [])),
    failures: () => failures.all,
    async close(graceMs) {
      closed = true
      places.close()
      for (const until = now() + graceMs; places.all.size > 0 && now() < until; ) {
        for (const place of places.all) if (!place.lodger.busy()) places.dismiss(place)
        await new Promise((done) => void setTimeout(done, 50))
      }
      await Promise.all([...places.all].flatMap(({ channel }) => (channel ? [channel.process.stop()] : [])))
    },
  }
}
