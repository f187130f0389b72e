// `postern serve`: starts the gateway, prints where it listens, reloads its configuration, and shuts it down
// in order.
import { Buffer } from 'node:buffer'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Sources } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { type Gateway, createGateway } from '../gateway.ts'
import { networkReason } from '../kit/log.ts'
import { createJsonLog, createTerminalLog } from '../node/log.ts'
import type { Metrics } from '../node/metrics.ts'
import { type NodeRuntime, createNodeRuntime } from '../node/runtime.ts'
import { type ListeningServer, serve } from '../node/serve.ts'
import type { Log, LogLevel, Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import { startedEvent } from '../status.ts'
import { forwardProxies } from './configuration.ts'
import { StartError, packageVersion } from './output.ts'
import { type ReloadSource, watchConfiguration } from './reload.ts'
import { listenError, writePidFile, openStateDirectory, stateError } from './state.ts'
import type { WorkerRole } from './workers.ts'
import {
  exitCodes,
  inForeground,
  ignoreClosedOutput,
  listenKeys,
  logFaults,
  untilSignal,
  withStderr,
  isolationText,
  startBanner,
  type StartFacts,
} from './terminal.ts'

// The service of a gateway without configured services: the demo server, in this process.

/** The first request loads its code, which takes a third of the memory of everything else. */
export const demoService = (runtime: Pick<Runtime, 'timer' | 'random' | 'about'>): Service => {
  let made: Promise<(request: Request) => Promise<Response>> | undefined
  const sessionId = (): string => Buffer.from(runtime.random(16)).toString('hex')
  const load = () =>
    (made ??= import('../demo/demo.ts').then(({ createDemo }) =>
      createDemo({ timer: runtime.timer, version: runtime.about.version, sessionId }),
    ))
  return {
    id: 'demo',
    name: 'Demo',
    generation: 'built-in',
    description: 'A small MCP server inside this gateway, to try it with.',
    upstream: { kind: 'local', handle: async (request) => (await load())(request) },
    authRequired: true,
    scopes: ['mcp'],
    timeoutMs: 30_000,
    maxBodyBytes: 4_194_304,
    identity: { preset: 'all', headers: {}, assertion: true },
  }
}

// From a configuration to a gateway that listens, or an error in one sentence.

export interface StartedGateway {
  readonly gateway: Gateway
  readonly listening: ListeningServer
  readonly runtime: NodeRuntime
  /** Absent where this is the only process. */
  readonly hop: { close(): Promise<void> } | undefined
  /** Removes its pid file, so that commands no longer find it. */
  readonly forget: () => void
}

export interface StartGatewayOptions {
  readonly config: Config
  readonly sources: () => Sources
  readonly stateDir: string
  readonly privateFiles: readonly string[]
  /** The service of `postern wrap`, which is in no file. */
  readonly wrapped?: string | undefined
  readonly log: Log
  /** The environment, with the variables of `.env`. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether the process is finishing its last requests. */
  readonly draining: () => boolean
  /** Which of the processes of this computer it is, from 0; undefined where it is one. */
  readonly slot?: number | undefined
  /** In place of listening. */
  readonly handed?: Parameters<typeof serve>[0]['handed']
}

const loopbackHosts = new Set(['localhost', '127.0.0.1', '::1'])

/** The issuer, and the other origins of the same loopback address. */
const origins = (config: Config, port: number): { issuer: string; aliases: string[] } => {
  // As in URLs: without the scheme's default port.
  const origin = (name: string): string => new URL(`http://${name}:${port}`).origin
  const local = ['localhost', '127.0.0.1', '[::1]'].map(origin)
  const host = config.host.replaceAll(/[[\]]/g, '')
  const issuer =
    config.issuer ??
    origin(host === '127.0.0.1' || !loopbackHosts.has(host) ? 'localhost' : host === '::1' ? '[::1]' : host)
  return { issuer, aliases: local.includes(issuer) ? local.filter((other) => other !== issuer) : [] }
}

/** Resolves when requests are answered. Throws `StartError`. */
export const startGateway = async ({
  config,
  sources,
  stateDir,
  privateFiles,
  wrapped,
  log,
  env,
  draining,
  slot,
  handed,
}: StartGatewayOptions): Promise<StartedGateway> => {
  const version = packageVersion()
  const proxies = forwardProxies(env)
  const own = await createNodeRuntime({
    config,
    stateDir,
    privateFiles,
    log,
    version,
    proxies,
    env,
    traced: true,
  }).catch((error: unknown) => {
    throw stateError(error, config)
  })
  const several = config.cluster !== undefined || slot !== undefined
  const hop = several ? await (await import('./workers.ts')).startHop(config, slot, own) : undefined
  const runtime = hop ? { ...own, peers: hop } : own
  const { host, port, trusted_proxies: trustedProxies } = config
  const listening = await serve({
    host,
    port,
    trustedProxies,
    now: runtime.now,
    timer: runtime.timer,
    ...{ proxies, handed },
  }).catch((error: unknown) => {
    throw listenError(error, config)
  })
  const services = Object.keys(config.mcp_services).length === 0 ? [demoService(runtime)] : []
  const named = origins(config, listening.port)
  const gateway = createGateway({ config, sources, runtime, ...named, services, draining })
  await gateway.warm().catch((error: unknown) => {
    throw stateError(error, config)
  })
  isolationText(config, runtime)
  gateway.record(startedEvent(gateway, runtime.about))
  const program = wrapped === undefined ? undefined : config.mcp_services[wrapped]?.command
  const local = [
    ...services.map(({ id }) => ({ id, from: 'built in' as const })),
    ...(wrapped === undefined
      ? []
      : [{ id: wrapped, from: 'wrap' as const, ...(program === undefined ? {} : { command: program }) }]),
  ]
  listening.open(gateway)
  if (gateway.peers) hop?.open(gateway.peers.answer)
  const forget = writePidFile(stateDir, gateway.directory.issuer, local)
  return { gateway, listening, runtime, hop, forget }
}

// Runs until it is told to stop.

export interface StartOptions {
  readonly config: Config
  /** Reads the configuration again. */
  readonly source: ReloadSource
  readonly warnings: readonly string[]
  readonly stateDir: string
  /** The environment, with the variables of `.env`. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Absolute paths of the configuration and the files it was read from: isolated servers never see them. */
  readonly privateFiles: readonly string[]
  /** Whether standard output is a terminal. */
  readonly tty: boolean
  readonly logLevel: LogLevel
  /** Prints the standard error of stdio servers. */
  readonly showStderr?: boolean
  /** Id of the service that the command line describes. */
  readonly wrapped?: string | undefined
  /** Without a terminal, prints a sign-in link in the first line. */
  readonly printLink: boolean
  /** The words before a command, and a command as it can be pasted. */
  readonly program: string
  readonly command: (verb: string) => string
  /** Once requests are answered and the first lines are printed. */
  readonly ready?: (gateway: Gateway) => Promise<void>
}

/**
 * Longest wait for calls in flight after SIGTERM. With what follows it takes less than the 30 s after which
 * Kubernetes and others kill.
 */
const drainMs = 28_000
/** Longest wait for calls of stdio servers; stopping one takes up to eight seconds more. */
const serversMs = 20_000
/**
 * After SIGTERM, load balancers and clients may still send requests on open connections for a moment. After
 * SIGINT a person at a terminal is waiting.
 */
const lingerMs = 2_000
/** Longest wait for writes after the last response. */
const afterwardsMs = 1_500

/** Creates the directory when missing; true when no gateway has used it. */
const openState = (path: string): boolean =>
  openStateDirectory(path) || !['root.key', 'postern.db'].some((name) => existsSync(join(path, name)))

/** Returns the exit code. */
const shutDown = async (
  { listening, runtime, gateway, hop }: StartedGateway,
  signal: NodeJS.Signals,
): Promise<number> => {
  const [clean] = await Promise.all([
    listening.drain({ graceMs: drainMs, lingerMs: signal === 'SIGTERM' ? lingerMs : 0 }),
    gateway.bridges.close(serversMs),
  ])
  // Its sessions end with it; until here the other processes may ask for them.
  await hop?.close()
  const closed = await Promise.race([
    runtime.close().then(() => true),
    new Promise<false>((resolve) => void setTimeout(resolve, afterwardsMs, false).unref()),
  ])
  return clean && closed ? exitCodes.inOrder : exitCodes.unclean
}

/** The last event; returns the exit code. */
const endTrail = async (
  { gateway, runtime }: StartedGateway,
  signal: NodeJS.Signals,
  code: number,
): Promise<number> => {
  gateway.record({
    event: 'gateway.stopped',
    issuer: gateway.directory.issuer,
    version: runtime.about.version,
    signal,
    in_order: code === exitCodes.inOrder,
  })
  return (await runtime.trail?.close()) === false ? exitCodes.unclean : code
}

/** Undefined where none are configured. Throws `StartError`. */
const startMetrics = async (
  { metrics }: Config,
  role: WorkerRole | undefined,
): Promise<Metrics | undefined> => {
  if (!metrics) return undefined
  const about = { version: packageVersion(), runtime: `node ${process.versions.node}` }
  const { createCounting, openMetrics } = await import('../node/metrics.ts')
  if (role) {
    const counting = createCounting(about)
    role.count(counting.values)
    return counting
  }
  return openMetrics({ ...metrics, about }).catch((error: unknown) => {
    throw new StartError(
      'metrics.port',
      `Metrics cannot be served on ${metrics.host}, port ${metrics.port} (${networkReason(error)}). Change metrics.host or metrics.port.`,
    )
  })
}

/** Says where the metrics are, and lets them ask for the health of this gateway. */
const watchHealth = (metrics: Metrics, { gateway, runtime }: StartedGateway): void => {
  if (metrics.url !== undefined) runtime.log('info', 'metrics.listening', { url: metrics.url })
  const request = new Request(`${gateway.directory.issuer}/health`)
  metrics.watch(async () => (await gateway.fetch(request, { requestId: 'metrics', ip: '127.0.0.1' })).json())
}

/** The first lines: where it listens, and how to sign in. */
const announce = async (
  { stateDir, tty, printLink, program, command, wrapped }: StartOptions,
  { gateway, runtime: { about } }: StartedGateway,
  { fresh, keys }: Pick<StartFacts, 'fresh' | 'keys'>,
): Promise<void> => {
  const { links, directory } = gateway
  const wanted = links.enabled && (tty ? fresh : printLink)
  const link = wanted ? `${directory.issuer}/?t=${await links.mint()}` : undefined
  const readyMs = Math.round(performance.now())
  const wraps = wrapped !== undefined
  startBanner({ stateDir, tty, gateway, about, link, fresh, keys, program, command, readyMs, wraps })
}

/** A process that is the whole gateway. */
const alone = {
  slot: undefined,
  handed: undefined,
  leads: true,
  ready: () => Promise.resolve(),
  untilStopped: untilSignal,
}

/**
 * Runs until SIGTERM or SIGINT, then drains; a second signal ends it at once with exit code 2. Throws
 * `StartError` when it cannot start.
 */
export const start = async (options: StartOptions): Promise<void> => {
  if (options.config.workers === 1 || options.ready) return run(options)
  const { runWorkers, workerRole } = await import('./workers.ts')
  const role = workerRole()
  if (role) return run(options, role)
  openState(options.stateDir)
  return runWorkers(options)
}

const run = async (options: StartOptions, role?: WorkerRole): Promise<void> => {
  const { config, stateDir, tty, logLevel, source } = options
  const { slot, handed, leads, untilStopped, ready } = role ?? alone
  const fresh = openState(stateDir)
  // Until the first line, which programs read, has been printed.
  const held = true
  const nodeLog = tty ? createTerminalLog(logLevel, held) : createJsonLog(logLevel, held)
  const shown = options.showStderr ? withStderr(nodeLog.log, nodeLog.stderr) : nodeLog.log
  const metrics = await startMetrics(config, role)
  const log = metrics?.observe(shown) ?? shown
  let ending = false
  const up = await startGateway({
    config,
    sources: () => source.sources.now,
    stateDir,
    privateFiles: options.privateFiles,
    wrapped: options.wrapped,
    log,
    env: options.env,
    draining: () => ending,
    slot,
    handed,
  }).catch(async (error: unknown) => {
    await nodeLog.end()
    throw error
  })
  const { gateway, runtime } = up
  if (metrics) watchHealth(metrics, up)
  ignoreClosedOutput()
  logFaults(nodeLog)
  // Before the first line is printed: a program that reads it may send a signal at once.
  const reload = watchConfiguration(source, gateway.registry, config, runtime.log)
  const asked = untilStopped({ terminal: tty, log: nodeLog, again: () => void reload.now() })
  await ready()
  const keys = !role && tty && process.stdin.isTTY && inForeground()
  // Before the banner mentions the keys.
  const stopKeys = keys ? listenKeys(gateway) : () => undefined
  if (leads) await announce(options, up, { fresh, keys })
  await options.ready?.(gateway)
  nodeLog.release()
  for (const message of options.warnings) log('warn', 'config.warning', { message })
  const signal = await asked
  ending = true
  stopKeys()
  reload.stop()
  up.forget()
  process.exitCode = await endTrail(up, signal, await shutDown(up, signal))
  await nodeLog.end()
  // Nothing that is still open (a DNS lookup, a request to a provider) is worth waiting for.
  process.exit()
}
