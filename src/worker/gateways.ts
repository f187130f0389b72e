// Reads the configuration once per isolate, and makes one gateway per issuer.
import { waitUntil } from 'cloudflare:workers'
import type { Sources } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { type Gateway, type GatewayOptions as CoreOptions, createGateway } from '../gateway.ts'
import type { Runtime, Timer } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import { startedEvent } from '../status.ts'
import {
  type WorkerConfiguration,
  type WorkerEnvironment,
  type MissingSetting,
  type Origins,
  isLoopback,
  isMissingIssuer,
  loopbackOrigins,
  readConfiguration,
} from './configuration.ts'
import { createLog } from './log.ts'
import { createWorkerRuntime } from './runtime.ts'

// The demo MCP server of a Worker without services. Its code is evaluated when the first call to it comes.

export const demoService = ({ timer, about }: Pick<Runtime, 'timer' | 'about'>): Service => {
  let handle: ((request: Request) => Promise<Response>) | undefined
  return {
    id: 'demo',
    name: 'Demo',
    generation: 'built-in',
    description: 'A small MCP server inside this gateway, to try it with.',
    upstream: {
      kind: 'local',
      async handle(request) {
        const { createDemo } = await import('../demo/demo.ts')
        handle ??= createDemo({ timer, version: about.version })
        return handle(request)
      },
    },
    authRequired: true,
    scopes: ['mcp'],
    timeoutMs: 30_000,
    maxBodyBytes: 4_194_304,
    identity: { preset: 'all', headers: {}, assertion: true },
  }
}

// One gateway: its origins, its runtime, its services.

export type FoundGateway = { readonly gateway: Gateway } | { readonly lacks: readonly MissingSetting[] }

/** The issuer as configured; on loopback also the other names of this computer. */
const originsOf = (url: URL, pinned: string | undefined): Origins => {
  if (!isLoopback(url)) return { issuer: pinned ?? url.origin, aliases: [] }
  const { issuer, aliases } = loopbackOrigins(url)
  return pinned === undefined
    ? { issuer, aliases }
    : { issuer: pinned, aliases: [issuer, ...aliases].filter((origin) => origin !== pinned) }
}

/**
 * No name below a public domain leads to a developer's computer; every name below localhost does (RFC 6761
 * §6.3).
 */
const withLoopbackNames = (config: Config, at: URL): Config => {
  const here = (root: string | undefined): string | undefined =>
    root === undefined || `.${root}`.endsWith('.localhost') ? root : `${root}.localhost`
  if (!isLoopback(at)) return config
  const [domain, base] = [here(config.domain_root), here(config.base_domain)]
  return {
    ...config,
    ...(domain === undefined ? {} : { domain_root: domain }),
    ...(base === undefined ? {} : { base_domain: base }),
  }
}

interface GatewayOptions {
  readonly config: Config
  readonly sources: Sources
  readonly env: WorkerEnvironment
  /** URL of the request. It counts on loopback alone, where no issuer is set. */
  readonly url: URL
  readonly now: () => number
  readonly timer: Timer | undefined
  readonly trim?: CoreOptions['trim']
}

/**
 * Rejects with a fault that may pass. A RangeError from a module means a configuration that it cannot work
 * with, which stays.
 */
export const makeGateway = async ({
  config: written,
  sources,
  env,
  url,
  now,
  timer,
  trim,
}: GatewayOptions): Promise<FoundGateway> => {
  try {
    const at = written.issuer === undefined ? url : new URL(written.issuer)
    const config = withLoopbackNames(written, at)
    const runtime = await createWorkerRuntime({ config, env, url: at, now, timer, waitUntil })
    const services = Object.keys(config.mcp_services).length === 0 ? [demoService(runtime)] : []
    const origins = originsOf(at, config.issuer)
    const gateway = createGateway({ config, sources: () => sources, runtime, ...origins, services, trim })
    gateway.record(startedEvent(gateway, runtime.about))
    return { gateway }
  } catch (error) {
    if (error instanceof RangeError) return { lacks: [{ text: error.message, open: false }] }
    throw error
  }
}

/** A developer uses a port or two. Requests that make up more must not fill the isolate with gateways. */
export const mostLoopback = 4

/**
 * The gateway of the configured issuer, or of this loopback port. A public issuer is never taken from a
 * request.
 */
export type FindGateway = (env: WorkerEnvironment, url: URL) => Promise<FoundGateway>

/** Logs each fault once, however many requests meet it. */
export const createReport = (now: () => number): ((lack: MissingSetting) => void) => {
  const reported = new Set<string>()
  return ({ text }) => {
    if (!reported.has(text) && reported.size < 100)
      createLog('error', now)('error', 'config.fault', { message: text })
    reported.add(text)
  }
}

/**
 * Keeps finished values for later requests, never a promise: when a request is cut off, its unfinished work
 * ends too, and another request that waited for it would wait for ever. Failures are not kept. A faulty
 * configuration is, because it cannot change while the isolate lives.
 */
export const createGateways = (
  { now, timer, trim }: Pick<GatewayOptions, 'now' | 'timer' | 'trim'>,
  report: (lack: MissingSetting) => void,
): FindGateway => {
  let configured: WorkerConfiguration | undefined
  const gateways = new Map<string, FoundGateway>()

  const configuration = async (env: WorkerEnvironment): Promise<WorkerConfiguration> => {
    if (configured) return configured
    const read = await readConfiguration(env)
    if ('lacks' in read) for (const lack of read.lacks) report(lack)
    else if (!configured)
      for (const message of read.warnings)
        createLog(read.config.log_level, now)('warn', 'config.warning', { message })
    return (configured ??= read)
  }

  return async (env, url) => {
    const known = await configuration(env)
    if ('lacks' in known) return known
    const { config, sources } = known
    if (config.issuer === undefined && !isLoopback(url)) return { lacks: [isMissingIssuer(url.origin)] }
    const key = config.issuer ?? `${url.protocol}${url.port}`
    const made = gateways.get(key)
    if (made) return made
    const found = await makeGateway({ config, sources, env, url, now, timer, trim })
    if (gateways.size >= mostLoopback) gateways.clear()
    if (!gateways.has(key)) gateways.set(key, found)
    return gateways.get(key) ?? found
  }
}
