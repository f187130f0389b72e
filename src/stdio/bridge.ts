// The stdio bridge of one service: Streamable HTTP of every revision on one side, a command's standard input and output on the other.
import { Refusal } from '../kit/refusal.ts'
import { type DescribedMessage, kindOf } from '../mcp/json-rpc.ts'
import type { Log, ProcessPlan, Runtime, SpawnServer } from '../ports/runtime.ts'
import type { PlainResponse } from '../kit/plain-response.ts'
import type { Attend, StdioCall, DispatchStdio } from '../ports/stdio-call.ts'
import {
  type Legacy,
  type Modern,
  checkRequest,
  createLegacy,
  createModern,
  isModernCall,
  newSession,
  readMessages,
} from './http-endpoint.ts'
import { type Pool, createOwnerKeys, createPool } from './process-pool.ts'
import { type Starting, createStarting, deliverReply, describeStart } from './starting.ts'

// What has to be looked after from time to time while processes run: calls that take long, servers that say nothing, idleness.

const tickMs = 100
const houseMs = 1000
/** A server that waits for its client waits this long: there may be a person to ask. */
const askMs = 600_000

export interface SweeperOptions {
  readonly legacy: Legacy
  readonly modern: Modern
  readonly pool: Pool
  readonly starting: Pick<Starting, 'tick'>
  readonly now: () => number
  /** Longest silence of a server during a call, milliseconds. */
  readonly timeoutMs: number
  /** A process unused for this long is ended, milliseconds. */
  readonly sleepMs: number
  /** How often a comment goes out on an idle stream, milliseconds. */
  readonly keepAliveMs: number
}

export interface Sweeper {
  /** Goes on by itself until no process is left. */
  run(): void
  tick(): void
  stop(): void
}

export const createSweeper = ({
  legacy,
  modern,
  pool,
  starting,
  now,
  timeoutMs,
  sleepMs,
  keepAliveMs,
}: SweeperOptions): Sweeper => {
  let timer: ReturnType<typeof setInterval> | undefined
  let housedAt = 0
  let commentedAt = now()
  const stop = (): void => {
    clearInterval(timer)
    timer = undefined
  }
  const tick = (): void => {
    const time = now()
    const comment = time - commentedAt >= keepAliveMs
    legacy.tick(comment)
    starting.tick()
    if (comment) {
      commentedAt = time
      modern.comment()
    }
    if (time - housedAt < houseMs) return
    housedAt = time
    legacy.expire(timeoutMs, Math.max(timeoutMs, askMs))
    modern.expire(timeoutMs)
    pool.tick(sleepMs)
    if (pool.size === 0) stop()
  }
  return {
    tick,
    stop,
    run() {
      timer ??= setInterval(tick, tickMs)
    },
  }
}

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
  readonly carry: DispatchStdio
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
    if (!(error instanceof Refusal) || error.code !== 'upstream.timeout' || error.detail.say !== undefined)
      throw error
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
const waits = (
  { modern }: Ends,
  owner: string,
  { message }: DescribedMessage,
  isModern: boolean,
  call: StdioCall,
): boolean => {
  if (call.attended || kindOf(message) !== 'request') return false
  return isModern ? !modern.ready(owner) : message['method'] === 'initialize'
}

const route = (ends: Ends, owner: string, call: StdioCall): Promise<PlainResponse> => {
  const { legacy, modern, starting, named, nameSession } = ends
  checkRequest(call)
  if (call.method === 'GET') return legacy.get(owner, call)
  if (call.method === 'DELETE') return legacy.delete(owner, call)
  const { batch, messages } = readMessages(call)
  const [first] = messages
  if (batch || !first) return legacy.post(owner, messages, batch, call)
  const isModern = isModernCall(first.message, call.headers)
  const answer = (made: StdioCall): Promise<PlainResponse> =>
    isModern ? modern.handle(owner, first, made) : legacy.post(owner, messages, batch, made)
  if (!waits(ends, owner, first, isModern, call)) return answer(call)
  const { signal, refused } = call
  const work = {
    run: (about: Pick<StdioCall, 'signal' | 'sessionId'>) => answer({ ...call, ...about }).catch(named),
    deliver: deliverReply,
    nameSession: isModern ? undefined : nameSession,
  }
  return starting.watch(owner, { message: first.message, signal, refused }, work)
}

export const createBridge = (
  options: BridgeOptions,
  { spawn, now, random, digest, log, about }: BridgeDeps,
): Bridge => {
  const { plan, shared } = options
  const stray = (what: string): void => log('debug', 'process.stray', { service: plan.service, what })
  const pool = createPool({
    name: options.name,
    spawn,
    now,
    plan: (owner) => ({ ...plan, owner }),
    limits: {
      perPerson: shared ? options.maxProcesses : options.maxProcessesPerPerson,
      total: options.maxProcesses,
      waitMs: options.startMs,
    },
    tell: (level, event, facts) => log(level, event, { service: plan.service, ...facts }),
  })
  const modern = createModern({ pool, now, about, startMs: options.startMs, shared, stray })
  const legacy = createLegacy({
    pool,
    now,
    random,
    about,
    shared,
    startMs: options.startMs,
    sessionMs: options.sessionIdleMs,
    holdMs: options.holdMs,
    stray,
  })
  const ownerOf = createOwnerKeys(shared, digest)
  const starting = createStarting({
    now,
    startMs: options.startMs,
    keepAliveMs: options.keepAliveMs,
    describe: (owner) => describeStart(options.name, plan.command, pool.waitsFor(owner)),
  })

  const clock = createSweeper({
    legacy,
    modern,
    pool,
    starting,
    now,
    timeoutMs: options.timeoutMs,
    sleepMs: options.sleepMs,
    keepAliveMs: options.keepAliveMs,
  })

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
