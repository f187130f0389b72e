// The stdio bridge of one service: Streamable HTTP of every revision on one side, a command's standard input and output on the other.
import { Refusal } from '../kit/refusal.ts'
import type { Attend, BridgeCall, BridgeReply, Carry } from '../ports/bridge.ts'
import type { Log, Runtime } from '../ports/runtime.ts'
import type { ProcessPlan, SpawnServer } from '../ports/spawn.ts'
import { checkRequest, isModernCall, readMessages } from './http-rules.ts'
import { createHousekeeping } from './housekeeping.ts'
import { createLegacy, type Legacy, newSession } from './legacy.ts'
import { createModern, type Modern } from './modern.ts'
import { createOwners } from './owners.ts'
import { createPool, type Pool } from './pool.ts'
import { kindOf, type Said } from '../mcp/rpc.ts'
import { createStarting, deliverReply, describeStart, type Starting } from './starting.ts'

export interface BridgeOptions {
  /** Display name, for sentences that callers read. */
  readonly name: string
  /** What is started; `owner` is filled in. */
  readonly plan: Omit<ProcessPlan, 'owner'>
  /** One process for everybody instead of one for each person. */
  readonly shared: boolean
  /** All milliseconds. */
  readonly timeoutMs: number
  readonly startMs: number
  readonly sessionIdleMs: number
  readonly sleepMs: number
  readonly holdMs: number
  readonly keepAliveMs: number
  readonly maxProcesses: number
  readonly maxProcessesPerPerson: number
}

export interface BridgeDeps {
  readonly spawn: SpawnServer
  readonly now: () => number
  readonly random: (n: number) => Uint8Array
  readonly digest: Runtime['digest']
  readonly log: Log
  readonly about: { readonly version: string }
}

export interface Bridge {
  readonly carry: Carry
  readonly attend: Attend
  /** For the operator: the processes that run, and those that failed last. */
  readonly processes: Pool['list']
  readonly failures: Pool['failures']
  /** Whether its command can be started, as far as is known. */
  readonly state: Pool['state']
  /** Looks after streams, silence and idleness; runs by itself while there are processes. */
  tick(): void
  /** Refuses what comes, lets calls that are going finish for `graceMs`, and ends every process. Resolves when all are gone. */
  close(graceMs: number): Promise<void>
}

/** A start that took too long: the caller reads the server's name, and the operator what it complained of. */
const createNamed =
  (name: string, service: string, log: Log) =>
  (error: unknown): never => {
    if (!(error instanceof Refusal) || error.code !== 'upstream.timeout' || error.detail.say !== undefined) throw error
    log('warn', 'process.late', { service, why: error.why })
    throw new Refusal('upstream.timeout', error.why, { ...error.detail, say: `Request to ${name} timed out` })
  }

interface Ends {
  readonly legacy: Legacy
  readonly modern: Modern
  readonly starting: Starting
  /** Throws what went wrong, in the words that callers read. */
  readonly named: (error: unknown) => never
  readonly nameSession: () => string
}

/** A request that may have to wait for a process; everything else is answered at once. */
const waits = ({ modern }: Ends, owner: string, { message }: Said, isModern: boolean, call: BridgeCall): boolean => {
  if (call.attended || kindOf(message) !== 'request') return false
  return isModern ? !modern.ready(owner) : message['method'] === 'initialize'
}

const route = (ends: Ends, owner: string, call: BridgeCall): Promise<BridgeReply> => {
  const { legacy, modern, starting, named, nameSession } = ends
  checkRequest(call)
  if (call.method === 'GET') return legacy.get(owner, call)
  if (call.method === 'DELETE') return legacy.delete(owner, call)
  const { batch, messages } = readMessages(call)
  const [first] = messages
  if (batch || !first) return legacy.post(owner, messages, batch, call)
  const isModern = isModernCall(first.message, call.headers)
  const answer = (made: BridgeCall): Promise<BridgeReply> => (isModern ? modern.handle(owner, first, made) : legacy.post(owner, messages, batch, made))
  if (!waits(ends, owner, first, isModern, call)) return answer(call)
  const { signal, refused } = call
  const work = { run: (about: Pick<BridgeCall, 'signal' | 'sessionId'>) => answer({ ...call, ...about }).catch(named), deliver: deliverReply, nameSession: isModern ? undefined : nameSession }
  return starting.watch(owner, { message: first.message, signal, refused }, work)
}

export const createBridge = (options: BridgeOptions, { spawn, now, random, digest, log, about }: BridgeDeps): Bridge => {
  const { plan, shared } = options
  const stray = (what: string): void => log('debug', 'process.stray', { service: plan.service, what })
  const pool = createPool({
    name: options.name,
    spawn,
    now,
    plan: (owner) => ({ ...plan, owner }),
    limits: { perPerson: shared ? options.maxProcesses : options.maxProcessesPerPerson, total: options.maxProcesses, waitMs: options.startMs },
    tell: (level, event, facts) => log(level, event, { service: plan.service, ...facts }),
  })
  const modern = createModern({ pool, now, about, startMs: options.startMs, shared, stray })
  const legacy = createLegacy({ pool, now, random, about, shared, startMs: options.startMs, sessionMs: options.sessionIdleMs, holdMs: options.holdMs, stray })
  const ownerOf = createOwners(shared, digest)
  const starting = createStarting({ now, startMs: options.startMs, keepAliveMs: options.keepAliveMs, describe: (owner) => describeStart(options.name, plan.command, pool.waitsFor(owner)) })

  const clock = createHousekeeping({ legacy, modern, pool, starting, now, timeoutMs: options.timeoutMs, sleepMs: options.sleepMs, keepAliveMs: options.keepAliveMs })

  const named = createNamed(options.name, plan.service, log)
  const ends: Ends = { legacy, modern, starting, named, nameSession: () => newSession(random) }

  return {
    async carry(call) {
      const owner = ownerOf(call.principal)
      call.signal.throwIfAborted()
      clock.run()
      try {
        return await route(ends, owner, call)
      } catch (error) {
        return named(error)
      }
    },
    async attend({ principal, ...call }, work) {
      const owner = ownerOf(principal)
      clock.run()
      return starting.watch(owner, call, work)
    },
    processes: pool.list,
    failures: pool.failures,
    get state() {
      return pool.state
    },
    tick: clock.tick,
    async close(graceMs) {
      await pool.close(graceMs)
      clock.stop()
    },
  }
}
