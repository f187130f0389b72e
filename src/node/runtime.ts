// The Runtime on Node: clock, randomness, storage, guarded outbound connections, passwords, processes, log.
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { getHeapStatistics } from 'node:v8'
import zlib from 'node:zlib'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Log, Runtime, Timer } from '../ports/runtime.ts'
import type { Store } from '../ports/store.ts'
import { createMemoryCache } from '../stores/memory.ts'
import { type RootSource, createRandomBytes, digest, es256, es256Check, openKeys } from './crypto.ts'
import type { ForwardProxies } from './forward-proxy.ts'
import { type Lookup, createOutbound } from './outbound.ts'
import { createPasswords } from './passwords.ts'
import { type NodeSpawn, createNodeSpawn } from './process/spawn.ts'
import { closeToOthers, closedText, secretFiles } from './file-modes.ts'
import { type AuditTrail, type AuditTrailOptions, openAuditTrail } from './audit-writer.ts'
import { openOrMemory, openStore } from './store.ts'
import { createTransports } from './websocket.ts'

/** Keeps the process running until it fires or is cancelled: somebody waits for what it does. */
export const timer: Timer = (ms, run) => {
  const timeout = setTimeout(run, ms)
  return () => clearTimeout(timeout)
}

/** Node's own for what DecompressionStream lacks; zstd where this Node has it. */
const decompress: Runtime['decompress'] = (coding) => {
  const stream =
    coding === 'br'
      ? zlib.createBrotliDecompress()
      : coding === 'zstd'
        ? zlib.createZstdDecompress?.()
        : undefined
  return stream && (Duplex.toWeb(stream) as ReadableWritablePair<Uint8Array, BufferSource>)
}

export interface NodeRuntime extends Runtime {
  /** Ends what the runtime holds open, the trail aside: the database file, timers. */
  close(): Promise<void>
  /** Ended last, with what the process says of its end. */
  readonly trail: AuditTrail | undefined
  /** What isolates stdio servers, or why nothing does. */
  readonly isolation: NodeSpawn['isolation']
}

interface NodeRuntimeOptions {
  readonly config: Config
  readonly stateDir: string
  /** The configuration and the files it was read from: isolated servers never see them. */
  readonly privateFiles?: readonly string[]
  readonly log: Log
  readonly version: string
  /** Epoch ms; default: the system clock. */
  readonly now?: () => number
  /** The resolver wherever an address decides whether the gateway may connect; default: the system's. */
  readonly lookup?: Lookup | undefined
  /** Forward proxies; default: none. */
  readonly proxies?: ForwardProxies | undefined
  /** Environment variables; default: those of the process. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** It serves calls, which are traced where that is configured, and may do so without its storage. */
  readonly traced?: boolean | undefined
}

/** Longer than any JWT. */
const mostAssertion = 65_536

const readAssertionFile = async (path: string): Promise<string> => {
  const file = await open(path)
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(mostAssertion), 0, mostAssertion, 0)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

/** The file of the audit trail in a state directory. */
export const trailFile = (stateDir: string): string => join(stateDir, 'audit.db')

/** Undefined where none is configured. Rejects with `Refusal('storage.unavailable')`. */
const openTrail = async ({
  config,
  stateDir,
  ...options
}: Pick<NodeRuntimeOptions, 'config' | 'stateDir' | 'version' | 'log'> &
  Pick<AuditTrailOptions, 'keys' | 'now'>): Promise<AuditTrail | undefined> => {
  if (!config.audit?.enabled) return undefined
  const path = trailFile(stateDir)
  try {
    const {
      retention,
      body_retention: bodies,
      durability,
      on_pressure: pressure,
      sinks,
      anchors,
      spill,
    } = config.audit
    const plans = Object.entries(sinks).map(([name, { url, headers, syslog_id: syslogId }]) => ({
      ...{ name, url, headers, syslogId },
    }))
    // No sink can have this name.
    const anchor = { name: 'audit.anchors', syslogId: '', anchors: true }
    const keep = { retentionMs: retention * 1000, bodiesMs: bodies * 1000, makeRoom: pressure === 'oldest' }
    // Nobody else needs what reads it.
    const { createAuditQueries, createSettledReader } = await import('./audit-queries.ts')
    const reader = createAuditQueries(path)
    const trail = await openAuditTrail({
      ...options,
      ...keep,
      durable: durability === 'disk',
      path,
      spill,
      sinks: anchors ? [...plans, { ...anchor, ...anchors }] : plans,
      verify: reader.verify,
    })
    return {
      ...trail,
      reader: createSettledReader(reader, trail.settled),
      close() {
        reader.close()
        return trail.close()
      },
    }
  } catch (error) {
    throw new Refusal('storage.unavailable', `${path}: ${(error as Error).message}`)
  }
}

type RecordsOptions = Pick<NodeRuntimeOptions, 'config' | 'stateDir' | 'version' | 'log'> &
  Pick<Runtime, 'now' | 'random'>

/** Where the root secret is, unless that is here; whatever asks Vault is loaded only then. */
export const rootSource = async (
  { config, ...options }: Omit<RecordsOptions, 'stateDir' | 'version'>,
  store: Store,
): Promise<RootSource | undefined> => {
  const { vault_transit: transit } = config.keys.root
  const { vault } = config.storage
  if (!transit || !vault) return undefined
  const { createTransitRoot } = await import('./vault-root.ts')
  return createTransitRoot({ ...options, timer, settings: vault, transit, store })
}

/** The store, the keys of its records and the trail. */
const openRecords = async ({ random, ...options }: RecordsOptions, serves: boolean) => {
  const { config, stateDir, version } = options
  const deps = { ...options, timer, random, product: version }
  // A command must not act on a storage that nobody else has.
  const opening = serves && config.storage.fallback === 'memory' ? openOrMemory(deps) : openStore(deps)
  const { close, location, ...storage } = await opening
  try {
    const source = await rootSource({ ...options, random }, storage.store)
    const keys = await openKeys(stateDir, config, { ...storage, location, source }, random)
    return { close, keys, trail: await openTrail({ ...options, keys }), ...storage }
  } catch (error) {
    close()
    throw error
  }
}

/** Undefined where none is configured; nobody else needs what it loads. */
const startTelemetry = async ({
  config: { telemetry },
  traced = false,
  ...options
}: Pick<NodeRuntimeOptions, 'config' | 'version' | 'log' | 'traced'> & Pick<Runtime, 'now'>) =>
  traced && telemetry
    ? (await import('./telemetry.ts')).openTelemetry({ ...options, settings: telemetry })
    : undefined

const aboutOf = (
  version: string,
  { storage }: Pick<Config, 'storage'>,
  insteadOf: string | undefined,
): Runtime['about'] => ({
  version,
  runtime: `node ${process.versions.node}`,
  storage: insteadOf === undefined ? storage.type : 'memory',
  insteadOf,
})

/** Throws the file system's error when the state directory cannot be used. */
export const createNodeRuntime = async ({
  config,
  stateDir,
  privateFiles = [],
  log,
  version,
  now = Date.now,
  lookup,
  proxies,
  env = process.env,
  traced,
}: NodeRuntimeOptions): Promise<NodeRuntime> => {
  const exposed = closeToOthers(secretFiles(stateDir))
  const random = createRandomBytes()
  const options = { config, stateDir, version, now, log, random }
  const { close, keys, trail, insteadOf, ...storage } = await openRecords(options, traced === true)
  for (const file of exposed) log('warn', 'state.exposed', { message: closedText(file) })
  const processes = createNodeSpawn({ stateDir, privateFiles })
  const telemetry = await startTelemetry({ config, version, log, now, traced })
  const pending = new Set<Promise<unknown>>()
  return {
    now,
    timer,
    decompress,
    random,
    outbound: createOutbound({
      allowOrigins: [],
      ...(lookup ? { lookup } : {}),
      ...(proxies ? { proxies } : {}),
    }),
    transports: createTransports(lookup, proxies),
    defer(work) {
      const settled = work
        .catch((error: unknown) => log('error', 'deferred.failed', { why: String(error) }))
        .finally(() => pending.delete(settled))
      pending.add(settled)
    },
    log: trail?.log ?? log,
    tracing: telemetry?.tracing,
    trail,
    ...storage,
    cache: createMemoryCache({ now, most: 1000 }),
    keys,
    es256,
    es256Check,
    digest,
    passwords: createPasswords(),
    readAssertion: async ({ file, env: name = '' }) =>
      file === undefined ? env[name] : readAssertionFile(file),
    spawn: processes.spawn,
    isolation: processes.isolation,
    bodyBytes: getHeapStatistics().heap_size_limit / 4,
    about: aboutOf(version, config, insteadOf),
    async close() {
      await Promise.allSettled(pending)
      await Promise.all([processes.close(), telemetry?.close()])
      close()
    },
  }
}
