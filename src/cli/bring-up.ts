// From a configuration to a gateway that listens, or one sentence that says why there is none.
import { readFileSync } from 'node:fs'
import type { Config } from '../config/schema.ts'
import { createGateway, type Gateway, startedEvent } from '../gateway.ts'
import { createNodeRuntime, type NodeRuntime } from '../node/runtime.ts'
import { type Listening, serve } from '../node/serve.ts'
import type { Log } from '../ports/runtime.ts'
import { demoService } from './demo-service.ts'
import { forwardProxies } from './forward-proxies.ts'
import { sayIsolation } from './isolation.ts'
import { noteRunning } from './running.ts'
import { StartRefused } from './start-refused.ts'
import { whyNoState } from './state.ts'

export interface Up {
  readonly gateway: Gateway
  readonly listening: Listening
  readonly runtime: NodeRuntime
  /** Commands beside it do not find it any more. */
  readonly forget: () => void
}

export interface BringUpOptions {
  readonly config: Config
  readonly stateDir: string
  readonly privateFiles: readonly string[]
  /** The service of `postern wrap`, which no file holds. */
  readonly wrapped?: string | undefined
  readonly log: Log
  /** The variables, a `.env` file's among them. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** True while the process finishes its last requests. */
  readonly draining: () => boolean
}

const loopbackHosts = new Set(['localhost', '127.0.0.1', '::1'])

const version = (): string => (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version

/** The issuer and the other names of the same loopback place. */
const origins = (config: Config, port: number): { issuer: string; aliases: string[] } => {
  // As URLs write them: without the port where it is the scheme's own.
  const origin = (name: string): string => new URL(`http://${name}:${port}`).origin
  const local = ['localhost', '127.0.0.1', '[::1]'].map(origin)
  const host = config.host.replaceAll(/[[\]]/g, '')
  const issuer = config.issuer ?? origin(host === '127.0.0.1' || !loopbackHosts.has(host) ? 'localhost' : host === '::1' ? '[::1]' : host)
  return { issuer, aliases: local.includes(issuer) ? local.filter((other) => other !== issuer) : [] }
}

const whyNotListening = (error: unknown, { host, port }: Config): unknown => {
  const { code, address } = error as NodeJS.ErrnoException & { readonly address?: string }
  if (code === 'EADDRINUSE') return new StartRefused('port.taken', `Port ${port} on ${address ?? host} is already in use. Choose another port with --port or PORT; --port 0 picks a free one.`)
  if (code === 'EACCES') return new StartRefused('port.forbidden', `Permission denied for port ${port}. Choose a port above 1023 with --port or PORT.`)
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EINVAL') return new StartRefused('host.unknown', `${host} is not an address of this computer. Set --host to one of its addresses, or to 0.0.0.0 for all.`)
  return error
}

/** Resolves when requests are answered. Throws `StartRefused`. */
export const bringUp = async ({ config, stateDir, privateFiles, wrapped, log, env, draining }: BringUpOptions): Promise<Up> => {
  const about = version()
  const proxies = forwardProxies(env)
  const runtime = await createNodeRuntime({ config, stateDir, privateFiles, log, version: about, proxies }).catch((error: unknown) => {
    throw whyNoState(error)
  })
  const { host, port, trusted_proxies: trustedProxies } = config
  const listening = await serve({ host, port, trustedProxies, now: () => runtime.now(), proxies }).catch((error: unknown) => {
    throw whyNotListening(error, config)
  })
  const services = Object.keys(config.mcp_services).length === 0 ? [demoService(runtime)] : []
  const gateway = createGateway({ config, runtime, ...origins(config, listening.port), services, draining })
  await gateway.warm().catch((error: unknown) => {
    throw whyNoState(error)
  })
  sayIsolation(config, runtime)
  gateway.record(startedEvent(gateway, runtime.about))
  const program = wrapped === undefined ? undefined : config.mcp_services[wrapped]?.command
  const own = [...services.map(({ id }) => ({ id, from: 'built in' as const })), ...(wrapped === undefined ? [] : [{ id: wrapped, from: 'wrap' as const, ...(program === undefined ? {} : { command: program }) }])]
  listening.open(gateway)
  return { gateway, listening, runtime, forget: noteRunning(stateDir, gateway.directory.issuer, own) }
}
