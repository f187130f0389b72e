// Reloads the configuration file when it changes and on SIGHUP. Some keys take effect at once; the others
// need a restart, and a warning names them.
import { unwatchFile, watchFile } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import type { Sources } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { faultText } from '../config/tree.ts'
import type { Log } from '../ports/runtime.ts'
import type { ServiceRegistry } from '../services/registry.ts'
import type { FoundConfiguration } from './configuration.ts'

export interface ReloadSource {
  /** Path of the file; without one nothing is watched. */
  readonly path: string | undefined
  /** As people name it. */
  readonly file: string | undefined
  load(): Promise<FoundConfiguration>
  /** Where the values that are in force came from; changed by each reload. */
  readonly sources: { now: Sources }
}

interface Reload {
  /** Reloads now. Never rejects. */
  now(): Promise<void>
  stop(): void
}

/** Keys that take effect without a restart: services, their addresses, and who may use and change them. */
const liveKeys: ReadonlySet<string> = new Set([
  'access',
  'mcp_services',
  'default_service',
  'hosts',
  'domain_root',
  'base_domain',
  'admins',
  'auditors',
  'admin_commands',
] satisfies readonly (keyof Config)[])

const watchMs = 1000
/** Editors write in pieces, so the file is read a moment after its last change. */
const settleMs = 250

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

const changed = (from: Config, to: Config): string[] =>
  [...new Set([...Object.keys(from), ...Object.keys(to)])].filter(
    (key) => !same(from[key as keyof Config], to[key as keyof Config]),
  )

const withLive = (started: Config, next: Config): Config =>
  Object.fromEntries([
    ...Object.entries(started).filter(([key]) => !liveKeys.has(key)),
    ...Object.entries(next).filter(([key, value]) => liveKeys.has(key) && value !== undefined),
  ]) as Config

const difference = (from: Config['mcp_services'], to: Config['mcp_services']) => ({
  added: Object.keys(to).filter((id) => !(id in from)),
  removed: Object.keys(from).filter((id) => !(id in to)),
  changed: Object.keys(to).filter((id) => id in from && !same(from[id], to[id])),
})

/** Watches the file until it is stopped. `started`: the configuration at the start. */
export const watchConfiguration = (
  source: ReloadSource,
  registry: ServiceRegistry,
  started: Config,
  log: Log,
): Reload => {
  let going: Promise<void> = Promise.resolve()

  const read = async (): Promise<void> => {
    const loaded = await source.load()
    // Without its file the gateway would use another one, or none, which is a mistake.
    if (loaded.file !== source.file) {
      log('error', 'config.refused', {
        message: `${source.file ?? 'the configuration file'} was not found; keeping the current configuration`,
      })
      return
    }
    if (!loaded.ok) {
      for (const fault of loaded.faults)
        log('error', 'config.refused', { message: `${faultText(fault)} (keeping the current configuration)` })
      return
    }
    for (const warning of [...loaded.warnings, ...loaded.unusable])
      log('warn', 'config.warning', { message: faultText(warning) })
    const waiting = changed(started, loaded.config).filter((key) => !liveKeys.has(key))
    if (waiting.length > 0)
      log('warn', 'config.needs-restart', {
        keys: waiting,
        message: `Restart the gateway to apply changes to: ${waiting.join(', ')}`,
      })
    const isWaiting = ([key]: readonly [string, unknown]) => waiting.includes(/^[^.[]+/.exec(key)?.[0] ?? '')
    source.sources.now = Object.fromEntries([
      ...Object.entries(loaded.sources).filter((entry) => !isWaiting(entry)),
      ...Object.entries(source.sources.now).filter(isWaiting),
    ])
    const before = registry.config()
    const next = withLive(started, loaded.config)
    const keys = changed(before, next)
    if (keys.length > 0) registry.reconfigure(next)
    log('info', keys.length > 0 ? 'config.reloaded' : 'config.unchanged', {
      keys,
      ...difference(before.mcp_services, next.mcp_services),
    })
  }

  const now = (): Promise<void> =>
    (going = going
      .then(read)
      .catch((error: unknown) => log('error', 'config.refused', { message: String(error) })))
  const { path } = source
  const onChange = (): void => void pause(settleMs, undefined, { ref: false }).then(now)
  // Polled, because editors, volumes and symbolic links replace files in ways that file system events do not
  // report reliably.
  if (path !== undefined) watchFile(path, { interval: watchMs, persistent: false }, onChange)
  return {
    now,
    stop() {
      if (path !== undefined) unwatchFile(path, onChange)
    },
  }
}
