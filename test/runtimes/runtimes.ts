// The runtimes in which every flow and attack runs: in process, behind a node socket, in workerd. One
// configuration, one set of tests.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConfigInput, parseConfig } from '../../src/config/schema.ts'
import { type Gateway, createGateway } from '../../src/gateway.ts'
import type { ForwardProxies } from '../../src/node/forward-proxy.ts'
import type { Lookup } from '../../src/node/outbound.ts'
import { createNodeRuntime } from '../../src/node/runtime.ts'
import { serve } from '../../src/node/serve.ts'
import type { Log, Outbound, Passwords, Runtime } from '../../src/ports/runtime.ts'
import type { Store } from '../../src/ports/store.ts'
import { createServiceRecords } from '../../src/services/registry.ts'
import { createTestClock } from './clock.ts'
import type { LoginTarget } from './login.ts'
import { person } from './login.ts'
import { addressIn } from './networks.ts'
import { trim } from '../workers/trim.ts'
import { startWorkerd } from './workerd.ts'

export interface LogLine {
  readonly level: string
  readonly event: string
  readonly fields: Readonly<Record<string, unknown>>
}

export interface TestGateway extends LoginTarget {
  /** What the gateway logged so far. */
  readonly log: readonly LogLine[]
  /** Where it listens, which an issuer does not say. */
  readonly listens?: string
  /** Where the SQLite file lies, on the socket. */
  readonly stateDir?: string
  /** Moves the gateway's clock; timers that become due fire, in workerd within the next 25 milliseconds. */
  advance(ms: number): void
  close(): Promise<void>
}

export interface RuntimeGateway extends TestGateway {
  /** Adds a service while the gateway runs, as somebody at its own computer does; without one, removes it. */
  supply(id: string, service?: Readonly<Record<string, unknown>>): Promise<void>
}

export interface TestGatewayOptions {
  readonly config?: ConfigInput
  /** Upstream of the service `echo`; more services go into `config.mcp_services`. */
  readonly upstream: string
  /** In place of the guarded outbound function (in process and on the socket). */
  readonly outbound?: Outbound
  /** In place of the store, made of it (in process and on the socket). */
  readonly store?: (inner: Store) => Store
  /** Names to addresses, wherever that decides where the gateway goes (in process and on the socket). */
  readonly lookup?: Lookup
  /** Forward proxies on the way out (on the socket; in process for all but calls). */
  readonly proxies?: ForwardProxies
}

const secret = randomBytes(32).toString('base64url')

export const configOf = ({ config = {}, upstream }: TestGatewayOptions): ConfigInput => ({
  session_secret: secret,
  local_users: [{ ...person, email: 'ana@example.com', name: 'Ana Example', groups: ['staff'] }],
  ...config,
  mcp_services: {
    echo: { name: 'Echo', url: upstream, description: 'Says what it heard.' },
    ...config.mcp_services,
  },
})

const supplier =
  (runtime: Runtime): RuntimeGateway['supply'] =>
  async (id, service) => {
    const registry = createServiceRecords(runtime)
    await (service
      ? registry.add(id, { service, addedBy: 'cli', addedAt: runtime.now(), anywhere: true })
      : registry.remove(id))
  }

const quietVisit = (n: number, init: RequestInit | undefined) => ({
  requestId: `request-${n}`,
  ip: addressIn(init),
})

/**
 * A plain password is hashed for the time it takes alone: a twentieth of a second and 46 MiB at each sign-in,
 * which the tests of processes pay. Stored hashes are verified as ever.
 */
export const withoutDelay = (passwords: Passwords): Passwords => ({
  ...passwords,
  hash: () => Promise.resolve(''),
})

const made = async (options: TestGatewayOptions, stateDir: string) => {
  const config = parseConfig(configOf(options))
  const log: LogLine[] = []
  const write: Log = (level, event, fields = {}) => void log.push({ level, event, fields })
  const clock = createTestClock({ runs: true })
  const own = await createNodeRuntime({
    config,
    stateDir,
    log: write,
    version: '0.0.0-test',
    now: clock.now,
    lookup: options.lookup,
    proxies: options.proxies,
    traced: true,
  })
  const runtime = {
    ...own,
    timer: clock.timer,
    passwords: withoutDelay(own.passwords),
    ...(options.outbound && { outbound: options.outbound }),
    ...(options.store && { store: options.store(own.store) }),
  }
  return { config, log, runtime, advance: clock.advance }
}

/** The core alone, called with Request and answered with Response; memory store. */
export const openInProcess = async (
  options: TestGatewayOptions,
): Promise<RuntimeGateway & Pick<Gateway, 'connections'>> => {
  const stateDir = mkdtempSync(join(tmpdir(), 'postern-flow-'))
  const { config, log, runtime, advance } = await made(
    { ...options, config: { storage: { type: 'memory' }, ...options.config } },
    stateDir,
  )
  const origin = config.issuer ?? 'http://localhost:8080'
  const gateway = createGateway({ config, runtime, issuer: origin, trim })
  let count = 0
  return {
    origin,
    connections: gateway.connections,
    log,
    advance,
    supply: supplier(runtime),
    fetch(url, init) {
      const request = new Request(url, {
        ...init,
        headers: { host: new URL(url).host, ...Object.fromEntries(new Headers(init?.headers)) },
      })
      // As a runtime holds a request while it is answered: its signal follows the caller's no longer than it
      // lives.
      init?.signal?.addEventListener('abort', () => void request, { once: true })
      return gateway.handle(request, quietVisit(count++, init), fetch)
    },
    async close() {
      await runtime.close()
      rmSync(stateDir, { recursive: true, force: true })
    },
  }
}

/** The Node door on a real socket, SQLite in a directory of its own. */
export const openOnSocket = async (options: TestGatewayOptions): Promise<RuntimeGateway> => {
  const stateDir = mkdtempSync(join(tmpdir(), 'postern-flow-'))
  const { config, log, runtime, advance } = await made(options, stateDir)
  const listening = await serve({
    host: '127.0.0.1',
    port: 0,
    trustedProxies: config.trusted_proxies,
    now: () => runtime.now(),
    timer: runtime.timer,
    lookup: options.lookup,
    proxies: options.proxies,
  })
  const origin = config.issuer ?? `http://localhost:${listening.port}`
  const aliases = [`http://127.0.0.1:${listening.port}`, `http://[::1]:${listening.port}`]
  listening.open(createGateway({ config, runtime, issuer: origin, aliases, trim }))
  return {
    origin,
    listens: `http://127.0.0.1:${listening.port}`,
    log,
    stateDir,
    advance,
    supply: supplier(runtime),
    fetch: (url, init) => fetch(url, { redirect: 'manual', ...init }),
    async close() {
      await listening.drain({ graceMs: 1000 })
      await runtime.close()
      rmSync(stateDir, { recursive: true, force: true })
    },
  }
}

/** What a Worker logged, as the other runtimes keep it. */
const logOf = (lines: readonly string[]): LogLine[] =>
  lines.flatMap((line) => {
    if (!line.startsWith('{"level":')) return []
    const {
      level,
      ts: _,
      audit,
      event,
      ...fields
    } = JSON.parse(line) as { level: string; ts: string; audit?: true; event: string }
    // An audit event names itself among its fields.
    return [{ level, event, fields: audit ? { event, ...fields } : fields }]
  })

export interface WorkerGateway extends RuntimeGateway {
  /**
   * What the Worker is asked beside its work: `__slow?ms=`, `__limit?calls=`, `__calls`
   * (test/workers/entry.ts).
   */
  tell(what: string): Promise<unknown>
}

/**
 * The Workers door in workerd, with its Durable Objects; the code is what a deployment would upload, but for
 * a clock that moves.
 */
export const openInWorkerd = async (options: TestGatewayOptions): Promise<WorkerGateway> => {
  const workerd = await startWorkerd({
    vars: { POSTERN_CONFIG: { log_level: 'debug', ...configOf(options) } },
  })
  let ahead = 0
  let moved: Promise<unknown> = Promise.resolve()
  return {
    origin: options.config?.issuer ?? workerd.origin,
    listens: workerd.origin,
    get log() {
      return logOf(workerd.lines)
    },
    advance(ms) {
      ahead += ms
      moved = fetch(`${workerd.origin}/__clock?ahead=${ahead}`)
    },
    async supply(id, service) {
      await fetch(`${workerd.origin}/__service?id=${id}`, {
        method: 'POST',
        body: JSON.stringify(service ?? null),
      })
    },
    async fetch(target, init) {
      await moved
      const response = await fetch(target, { redirect: 'manual', ...init })
      // The log comes by another pipe: what was written before the answer is read after one more turn.
      await new Promise((resolve) => setImmediate(resolve))
      await new Promise((resolve) => setImmediate(resolve))
      return response
    },
    tell: async (what) => (await fetch(`${workerd.origin}/${what}`)).text(),
    close: () => workerd.close(),
  }
}

/** Every house that flows and attacks run in. */
export const runtimes = [
  ['in process', openInProcess],
  ['on a node socket', openOnSocket],
  ['in workerd', openInWorkerd],
] as const
