// The stdio bridge of one service: Streamable HTTP of every revision on one side, a command's standard input and output on the other.
import { Refusal } from '../kit/refusal.ts'
import type { BridgeCall, BridgeReply, Carry } from '../ports/bridge.ts'
import type { Log, Runtime } from '../ports/runtime.ts'
import type { ProcessPlan, SpawnServer } from '../ports/spawn.ts'
import { checkRequest, isModernCall, readMessages } from './http-rules.ts'
import { createHousekeeping } from './housekeeping.ts'
import { createLegacy } from './legacy.ts'
import { createModern } from './modern.ts'
import { createOwners } from './owners.ts'
import { createPool, type Pool } from './pool.ts'

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

  const clock = createHousekeeping({ legacy, modern, pool, now, timeoutMs: options.timeoutMs, sleepMs: options.sleepMs, keepAliveMs: options.keepAliveMs })

  const route = (owner: string, call: BridgeCall): Promise<BridgeReply> => {
    checkRequest(call)
    if (call.method === 'GET') return legacy.get(owner, call)
    if (call.method === 'DELETE') return legacy.delete(owner, call)
    const { batch, messages } = readMessages(call)
    const [first] = messages
    return !batch && first && isModernCall(first.message, call.headers) ? modern.handle(owner, first, call) : legacy.post(owner, messages, batch, call)
  }

  /** A start that took too long: the caller reads the server's name, and the operator what it complained of. */
  const named = (error: unknown): never => {
    if (!(error instanceof Refusal) || error.code !== 'upstream.timeout' || error.detail.say !== undefined) throw error
    log('warn', 'process.late', { service: plan.service, why: error.why })
    throw new Refusal('upstream.timeout', error.why, { ...error.detail, say: `Request to ${options.name} timed out` })
  }

  return {
    async carry(call) {
      const owner = ownerOf(call.principal)
      call.signal.throwIfAborted()
      clock.run()
      try {
        return await route(owner, call)
      } catch (error) {
        return named(error)
      }
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
