// The stdio bridge of each service that is a command: Streamable HTTP of every revision on one side, the
// command's standard input and output on the other.
import type { Config } from '../config/schema.ts'
import { newId as idOf } from '../kit/bytes.ts'
import { fieldOf } from '../kit/http.ts'
import type { PlainResponse } from '../kit/plain-response.ts'
import { Refusal } from '../kit/refusal.ts'
import { type DescribedMessage, kindOf } from '../mcp/json-rpc.ts'
import { isModernMessage } from '../mcp/revisions.ts'
import {
  type StreamableHttp,
  checkRequest,
  createStreamableHttp,
  readMessages,
} from '../mcp/streamable-http.ts'
import type { Principal } from '../ports/people.ts'
import type { Log, ProcessPlan, Runtime, SpawnServer, Timer } from '../ports/runtime.ts'
import type {
  Attend,
  CallerContext,
  DispatchStdio,
  Service,
  ServiceState,
  StdioCall,
} from '../ports/services.ts'
import { type StatelessEndpoint, createStatelessEndpoint } from './person-process.ts'
import { createOwnerKeys, createPool, mayServe, type ProcessPool, variablesFor } from './process-pool.ts'
import { nameOf } from './process-slots.ts'
import { type SharedProcess, createSharedProcess } from './shared-process.ts'
import { type Starting, createStarting, deliverReply, describeStart } from './starting.ts'

// What has to be looked after from time to time while processes run: calls that take long, servers that say
// nothing, idleness.

const tickMs = 100
const lookMs = 1000
/** A server that waits for its client waits this long: there may be a person to ask. */
const askMs = 600_000

interface SweeperOptions extends Pick<BridgeOptions, 'timeoutMs' | 'sleepMs' | 'keepAliveMs' | 'holdMs'> {
  readonly sessions: StreamableHttp
  readonly stateless: StatelessEndpoint
  readonly sharedProcess: SharedProcess | undefined
  readonly pool: ProcessPool
  readonly starting: Pick<Starting, 'tick'>
  readonly now: () => number
  readonly timer: Timer
}

interface Sweeper {
  /** Goes on by itself until no process is left. */
  run(): void
  tick(): void
  stop(): void
}

const createSweeper = (options: SweeperOptions): Sweeper => {
  const { sessions, stateless, sharedProcess, pool, starting, now, timer } = options
  const { timeoutMs, sleepMs, keepAliveMs, holdMs } = options
  // Streams that are to be closed early are closed in time, however short that is.
  const everyMs = holdMs > 0 ? Math.min(tickMs, Math.max(10, holdMs / 2)) : tickMs
  let cancel: (() => void) | undefined
  let lookedAt = 0
  let commentedAt = now()
  const stop = (): void => {
    cancel?.()
    cancel = undefined
  }
  const tick = (): void => {
    const time = now()
    const comment = time - commentedAt >= keepAliveMs
    sessions.tick(comment)
    starting.tick()
    if (comment) {
      commentedAt = time
      stateless.comment()
    }
    if (time - lookedAt < lookMs) return
    lookedAt = time
    sharedProcess?.expire(timeoutMs)
    sessions.expire(timeoutMs, Math.max(timeoutMs, askMs))
    stateless.expire(timeoutMs)
    pool.tick(sleepMs)
    if (pool.size === 0) stop()
  }
  const again = (): void => {
    cancel = timer(everyMs, again)
    tick()
  }
  return {
    tick,
    stop,
    run() {
      cancel ??= timer(everyMs, again)
    },
  }
}

export interface BridgeOptions {
  /** Display name, for sentences that callers read. */
  readonly name: string
  /** What is started; for whom is filled in. */
  readonly plan: Omit<ProcessPlan, 'owner' | 'about'>
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
  readonly timer: Timer
  readonly random: (n: number) => Uint8Array
  readonly peers?: Runtime['peers']
  readonly digest: Runtime['digest']
  readonly log: Log
  readonly about: { readonly version: string }
  /** Whether the grant of this principal lives. */
  readonly alive: (principal: Principal) => Promise<boolean>
  readonly context: CallerContext
}

export interface Bridge {
  readonly carry: DispatchStdio
  readonly attend: Attend
  /** For the operator: the processes that run, and those that failed last. */
  readonly processes: ProcessPool['list']
  readonly failures: ProcessPool['failures']
  /** Whether its command can be started, as far as is known. */
  readonly state: ProcessPool['state']
  /** Looks after streams, silence and idleness; runs by itself while there are processes. */
  tick(): void
  /**
   * Refuses what comes, lets calls that are going finish for `graceMs`, and ends every process. Resolves when
   * all are gone.
   */
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

interface Endpoints {
  readonly sessions: StreamableHttp
  readonly stateless: StatelessEndpoint
  readonly starting: Starting
  /** Throws what went wrong, in the words that callers read. */
  readonly named: (error: unknown) => never
  readonly newId: () => string
}

/** A request that may have to wait for a process; everything else is answered at once. */
const waits = (
  { stateless }: Endpoints,
  owner: string,
  { message }: DescribedMessage,
  modern: boolean,
  call: StdioCall,
): boolean => {
  if (call.attended || kindOf(message) !== 'request') return false
  return modern ? !stateless.ready(owner) : message['method'] === 'initialize'
}

const route = (endpoints: Endpoints, owner: string, call: StdioCall): Promise<PlainResponse> => {
  const { sessions, stateless, starting, named, newId } = endpoints
  if (call.method !== 'POST') return sessions.handle(owner, call)
  checkRequest(call)
  const posted = readMessages(call)
  const [first] = posted.messages
  if (posted.batch || !first) return sessions.post(owner, posted, call)
  const modern = isModernMessage(first.message, fieldOf(call.headers, 'mcp-protocol-version'))
  const answer = (made: StdioCall): Promise<PlainResponse> =>
    modern ? stateless.handle(owner, first, made) : sessions.post(owner, posted, made)
  if (!waits(endpoints, owner, first, modern, call)) return answer(call)
  const { signal, refused } = call
  const work = {
    run: (about: Pick<StdioCall, 'signal' | 'sessionId'>) => answer({ ...call, ...about }).catch(named),
    deliver: deliverReply,
    nameSession: modern ? undefined : newId,
  }
  return starting.watch(owner, { message: first.message, signal, refused }, work)
}

const createEndpoints = (options: BridgeOptions, deps: BridgeDeps, pool: ProcessPool) => {
  const { name, plan, shared, startMs, sessionIdleMs, holdMs, keepAliveMs } = options
  const { now, timer, random, log, about } = deps
  const unexpected = (what: string): void => log('debug', 'process.stray', { service: plan.service, what })
  const base = { pool, now, timer, about, startMs, unexpected }
  const sharedProcess = shared ? createSharedProcess({ ...base, owner: 'shared' }) : undefined
  const newId = (): string => idOf(random, 24, deps.peers?.node)
  return {
    sharedProcess,
    newId,
    stateless: createStatelessEndpoint({ ...base, shared }),
    sessions: createStreamableHttp({
      now,
      timer,
      unexpected,
      newId,
      mayUse: mayServe,
      startMs,
      holdMs,
      sessionMs: sessionIdleMs,
      connect: async (owner, { signal }, user) =>
        sharedProcess ? sharedProcess.connect(user) : pool.start(owner, user, signal),
    }),
    starting: createStarting({
      now,
      startMs,
      keepAliveMs,
      describe: (owner) => describeStart(name, plan.command, pool.waitsFor(owner)),
    }),
    named: createNamed(name, plan.service, log),
  }
}

export const createBridge = (options: BridgeOptions, deps: BridgeDeps): Bridge => {
  const { name, plan, shared } = options
  const { spawn, now, timer, digest, log, context } = deps
  const pool = createPool({
    name,
    spawn,
    now,
    timer,
    alive: deps.alive,
    plan: (owner) => ({ ...plan, owner: nameOf(owner), about: variablesFor(plan.service, owner) }),
    limits: {
      perPerson: shared ? options.maxProcesses : options.maxProcessesPerPerson,
      total: options.maxProcesses,
      waitMs: options.startMs,
    },
    tell(level, event, facts) {
      if (event === 'process.started' || event === 'process.list-changed') context.listsChanged?.()
      log(level, event, { service: plan.service, ...facts })
    },
  })
  const endpoints = createEndpoints(options, deps, pool)
  const ownerOf = createOwnerKeys(shared, digest, context)
  const sweeper = createSweeper({ ...options, ...endpoints, pool, now, timer })
  return {
    async carry(call) {
      const owner = ownerOf(call.principal)
      if (!shared) pool.used(owner, call.principal)
      call.signal.throwIfAborted()
      sweeper.run()
      try {
        return await route(endpoints, owner, call)
      } catch (error) {
        return endpoints.named(error)
      }
    },
    async attend({ principal, ...call }, work) {
      const owner = ownerOf(principal)
      sweeper.run()
      return endpoints.starting.watch(owner, call, work)
    },
    processes: pool.list,
    failures: pool.failures,
    get state() {
      return pool.state
    },
    tick: sweeper.tick,
    async close(graceMs) {
      await pool.close(graceMs)
      sweeper.stop()
    },
  }
}

// The services that are commands on this computer, each behind a bridge of its own.

/** What is left of a removed service ends within five seconds. */
const goneMs = 3000

type ServiceConfig = Config['mcp_services'][string]

export interface Bridges {
  /** From now on, the processes of a person end when none of their grants lives. */
  follow(alive: (principal: Principal) => Promise<boolean>): void
  /** The bridge of a command, made when first asked for. */
  of(id: string, service: ServiceConfig): Service['upstream']
  /** For the operator, service by service: the processes that run, and those that failed last. */
  all(): readonly (Pick<Bridge, 'processes' | 'failures'> & { readonly service: string })[]
  /** Whether the command behind a service can be started, as far as is known. */
  state(upstream: Service['upstream']): ServiceState
  /**
   * Ends the processes of what a service that is gone stood in front of; calls that are going get a moment.
   */
  end(upstream: Service['upstream']): void
  /** Lets calls that are going finish for `graceMs`, then ends every process. Resolves when all are gone. */
  close(graceMs: number): Promise<void>
}

type ContextOfService = (service: Pick<Service, 'id' | 'provider'>) => CallerContext

const bridgeOf = (
  id: string,
  service: ServiceConfig & { readonly command: string },
  runtime: Runtime & Pick<BridgeDeps, 'alive'>,
  keepAliveMs: number,
  contextOf: ContextOfService,
): Bridge | undefined =>
  runtime.spawn &&
  createBridge(
    {
      name: service.name ?? id,
      plan: {
        service: id,
        command: service.command,
        args: service.args,
        env: service.env,
        cwd: service.cwd,
        sandbox: service.sandbox,
        network: service.sandbox_network,
        read: service.sandbox_read,
        write: service.sandbox_write,
        limits: service.process_limits,
      },
      shared: service.shared,
      timeoutMs: service.timeout,
      startMs: service.start_timeout,
      sessionIdleMs: service.session_idle * 1000,
      sleepMs: service.sleep_after * 1000,
      holdMs: service.reconnect_after,
      keepAliveMs,
      // Each process of this computer has its part of them.
      maxProcesses: Math.max(1, Math.floor(service.max_processes / (runtime.peers?.siblings ?? 1))),
      maxProcessesPerPerson: service.max_processes_per_person,
    },
    {
      ...runtime,
      spawn: runtime.spawn,
      context: contextOf({ id, ...(service.oauth_provider && { provider: service.oauth_provider }) }),
    },
  )

/** Where nobody calls but the gateway itself. */
const nobody: CallerContext = { userId: () => undefined, permissions: ({ scopes }) => scopes }

/** `keepAliveMs`: how often a comment goes out on an idle stream. */
export const createBridges = (
  runtime: Runtime,
  keepAliveMs: number,
  contextOf: ContextOfService = () => nobody,
): Bridges => {
  let isAlive: BridgeDeps['alive'] = () => Promise.resolve(true)
  const bridges = new Map<Bridge['carry'], { readonly service: string; readonly bridge: Bridge }>()
  return {
    follow: (asked) => void (isAlive = asked),
    of(id, service) {
      const { command } = service
      const bridge =
        command === undefined
          ? undefined
          : bridgeOf(
              id,
              { ...service, command },
              { ...runtime, alive: (who) => isAlive(who) },
              keepAliveMs,
              contextOf,
            )
      if (bridge) bridges.set(bridge.carry, { service: id, bridge })
      return {
        kind: 'bridge',
        carry:
          bridge?.carry ??
          (() => Promise.reject(new Refusal('process.unsupported', 'this runtime cannot start programs'))),
        attend: bridge?.attend,
      }
    },
    all: () =>
      [...bridges.values()].map(({ service, bridge: { processes, failures } }) => ({
        service,
        processes,
        failures,
      })),
    state: (upstream) =>
      (upstream.kind === 'bridge' ? bridges.get(upstream.carry)?.bridge.state : undefined) ?? 'unknown',
    end(upstream) {
      const gone = upstream.kind === 'bridge' ? bridges.get(upstream.carry) : undefined
      if (!gone || upstream.kind !== 'bridge') return
      bridges.delete(upstream.carry)
      runtime.defer(gone.bridge.close(goneMs))
    },
    async close(graceMs) {
      await Promise.all([...bridges.values()].map(({ bridge }) => bridge.close(graceMs)))
    },
  }
}
