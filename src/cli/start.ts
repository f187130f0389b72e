// `postern serve`: brings the gateway up, says where it is, and takes it down again in order.
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { Config } from '../config/schema.ts'
import { createGateway, type Gateway } from '../gateway.ts'
import { createJsonLog, createTerminalLog, type NodeLog } from '../node/log.ts'
import { createNodeRuntime, type NodeRuntime } from '../node/runtime.ts'
import { type Listening, serve } from '../node/serve.ts'
import type { LogLevel } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import { startBlock } from './block.ts'
import { StartRefused } from './start-refused.ts'
import { openStateDirectory } from './state.ts'

export interface StartOptions {
  readonly config: Config
  readonly warnings: readonly string[]
  readonly stateDir: string
  /** Whether a person reads the output. */
  readonly tty: boolean
  readonly logLevel: LogLevel
}

/** Longest wait for calls in flight after SIGTERM (Kubernetes' default grace period). */
const drainMs = 30_000

const loopbackHosts = new Set(['localhost', '127.0.0.1', '::1', '[::1]'])

const version = (): string => (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version

const sayWhyNot = (error: unknown, host: string, port: number): Error => {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') return new StartRefused('port.taken', `Port ${port} on ${host} is taken by another process. Choose another with --port or PORT, or 0 for a free one.`)
  if (code === 'EACCES') return new StartRefused('port.forbidden', `This user may not listen on port ${port}. Choose one above 1023 with --port or PORT.`)
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') return new StartRefused('host.unknown', `${host} is not an address of this machine. Set --host to one that is, or 0.0.0.0 for all.`)
  return error as Error
}

/** The issuer and the other names of the same loopback place. */
const origins = (config: Config, port: number): { issuer: string; aliases: string[] } => {
  const local = ['localhost', '127.0.0.1', '[::1]'].map((name) => `http://${name}:${port}`)
  const issuer = config.issuer ?? `http://${config.host === '127.0.0.1' || !loopbackHosts.has(config.host) ? 'localhost' : isIP(config.host) === 6 ? `[${config.host}]` : config.host}:${port}`
  return { issuer, aliases: local.includes(issuer) ? local.filter((origin) => origin !== issuer) : [] }
}

/** The demo server, in this process; its code (a third of everything's memory) is loaded by the first request that needs it. */
const demoService = (runtime: NodeRuntime, about: string): Service => {
  let made: Promise<(request: Request) => Promise<Response>> | undefined
  const sessionId = (): string => Buffer.from(runtime.random(16)).toString('hex')
  const load = () => (made ??= import('../demo/demo.ts').then(({ createDemo }) => createDemo({ version: about, sessionId })))
  return {
    id: 'demo',
    name: 'Demo',
    description: 'A small MCP server inside this gateway, to try it with.',
    upstream: { kind: 'local', handle: async (request) => (await load())(request) },
    authRequired: true,
    scopes: ['mcp'],
    timeoutMs: 30_000,
    maxBodyBytes: 4_194_304,
    identity: { preset: 'all', headers: {}, assertion: true },
  }
}

const untilSignal = (): Promise<void> =>
  new Promise((resolve) => {
    const stop = (): void => {
      process.once('SIGTERM', () => process.exit(2))
      process.once('SIGINT', () => process.exit(2))
      resolve()
    }
    process.once('SIGTERM', stop)
    process.once('SIGINT', stop)
  })

interface Up {
  readonly gateway: Gateway
  readonly listening: Listening
  readonly runtime: NodeRuntime
}

const bringUp = async ({ config, stateDir }: StartOptions, nodeLog: NodeLog, draining: () => boolean): Promise<Up> => {
  const about = version()
  const runtime = await createNodeRuntime({ config, stateDir, log: nodeLog.log, version: about })
  const listening = await serve({ host: config.host, port: config.port, trustedProxies: config.trusted_proxies, now: () => runtime.now() }).catch((error: unknown) => {
    throw sayWhyNot(error, config.host, config.port)
  })
  const demo = Object.keys(config.mcp_services).length === 0 ? demoService(runtime, about) : undefined
  const gateway = createGateway({ config, runtime, ...origins(config, listening.port), services: demo ? [demo] : [], draining })
  await gateway.warm()
  listening.open(gateway)
  return { gateway, listening, runtime }
}

/** Runs until SIGTERM or SIGINT, then drains; a second signal ends it at once with exit code 2. Throws `StartRefused` when it cannot start. */
export const start = async (options: StartOptions): Promise<void> => {
  const fresh = openStateDirectory(options.stateDir)
  const nodeLog = options.tty ? createTerminalLog(options.logLevel) : createJsonLog(options.logLevel)
  let ending = false
  const { gateway, listening, runtime } = await bringUp(options, nodeLog, () => ending)
  const link = gateway.links.enabled && (fresh || !options.tty) ? `${gateway.directory.issuer}/?t=${await gateway.links.mint()}` : undefined
  // Before anybody is told that the gateway listens: whoever reads that may end it at once.
  const signal = untilSignal()
  const readyMs = Math.round(performance.now())
  startBlock({ ...options, gateway, about: runtime.about, link, fresh, readyMs })
  for (const warning of options.warnings) nodeLog.log('warn', 'config.warning', { message: warning })
  const stopKeys = options.tty && gateway.links.enabled ? (await import('./keys.ts')).listenKeys(gateway) : () => undefined
  await signal
  ending = true
  stopKeys()
  await listening.drain(drainMs)
  await runtime.close()
  nodeLog.flush()
}
