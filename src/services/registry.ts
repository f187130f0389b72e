// The services of this moment: those of the configuration, and those that an administrator added while the
// gateway runs. Each added service is one sealed record, and one version record lets every process notice a
// change.
import type { Config } from '../config/schema.ts'
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { FindAddress, Service, Serving } from '../ports/services.ts'
import type { LiveDirectory, ServicePlan } from './directory.ts'
import {
  type Added,
  type Addition,
  type DryRun,
  type KnownServices,
  type ListedService,
  type ServiceMaker,
  listedAs,
  parseServiceConfig,
  servicePlanOf,
  validateAddition,
} from './from-config.ts'
import type { ProbeStep } from './probe-steps.ts'
import { isUsable } from './probe.ts'

// The records of added services.

interface ServiceRecord {
  /**
   * As in `mcp_services` of the configuration; validated when it was added, and parsed again when it is read.
   */
  readonly service: Readonly<Record<string, unknown>>
  /** Person key, or `cli`. */
  readonly addedBy: string
  /** Epoch ms. */
  readonly addedAt: number
  /**
   * It may be on a private network, because it was added on the gateway's own computer. Otherwise every
   * connection goes to a public address.
   */
  readonly anywhere?: true
}

const page = 100
const prefix = 'service:'
/** Every addition and removal writes this record. */
const servicesRecord = 'services-version'

export const createServiceRecords = (runtime: Pick<Runtime, 'store' | 'keys' | 'log'>) => {
  const records = createRecords<ServiceRecord>(runtime, prefix)
  const changed = async (): Promise<void> => void (await runtime.store.put(servicesRecord, '{}'))
  return {
    /** In order of id. */
    async all(): Promise<readonly (ServiceRecord & { readonly id: string })[]> {
      const found: (ServiceRecord & { readonly id: string })[] = []
      for (let after: string | undefined; ;) {
        const some = await records.list({ limit: page, ...(after === undefined ? {} : { after }) })
        found.push(...some.map(({ id, value }) => ({ id, ...value })))
        after = some.at(-1)?.id
        if (some.length < page) return found
      }
    },
    /** False when the id is taken. */
    async add(id: string, record: ServiceRecord): Promise<boolean> {
      if ((await records.put(id, record, { only: 'absent' })) === undefined) return false
      await changed()
      return true
    },
    /** False when there was none. */
    async remove(id: string): Promise<boolean> {
      // A record that cannot be read is removed as well.
      if (!(await runtime.store.take(`${prefix}${id}`))) return false
      await changed()
      return true
    },
    /** Changes whenever a service was added or removed. Undefined while none ever was. */
    async version(): Promise<string | undefined> {
      return (await runtime.store.get(servicesRecord))?.mark
    },
  }
}

type ServiceRecords = ReturnType<typeof createServiceRecords>

interface AddedServicesDeps {
  readonly records: ServiceRecords
  readonly runtime: Pick<Runtime, 'now' | 'log' | 'defer'>
  readonly directory: LiveDirectory
  /** Serves these beside those of the configuration. */
  readonly apply: (added: readonly Added[]) => void
  /** Whether the service comes from the configuration. */
  readonly isConfigured: (service: Service) => boolean
}

/** An open stream ends at most this long after its service was removed elsewhere. */
const recheckMs = 500

const missing = (some: readonly Added[], others: readonly Added[]): string[] =>
  some.filter(({ id }) => !others.some((other) => other.id === id)).map(({ id }) => id)

const readAll = async (records: ServiceRecords, { log }: Pick<Runtime, 'log'>): Promise<readonly Added[]> =>
  (await records.all()).flatMap(({ id, service, anywhere, addedAt }): Added[] => {
    const config = parseServiceConfig(id, service)
    if (!config)
      log('error', 'service.unreadable', {
        service: id,
        why: 'its stored registration is not valid in this version',
      })
    return config ? [{ id, config, publicOnly: anywhere !== true, addedAt }] : []
  })

const createAddedServices = ({ records, runtime, directory, apply, isConfigured }: AddedServicesDeps) => {
  const singleFlight = createSingleFlight(runtime)
  let all: readonly Added[] = []
  let seen: string | undefined
  let loaded = false
  let failing = false
  let checkedAt = Number.NEGATIVE_INFINITY

  const reload = async (version: string | undefined): Promise<void> => {
    const before = all
    all = await readAll(records, runtime)
    seen = version
    apply(all)
    runtime.log('info', 'services.changed', { added: missing(all, before), removed: missing(before, all) })
  }

  /** Reads changes. Rejects if the storage does not respond. */
  const load = async (): Promise<void> => {
    const version = await records.version()
    if (version !== seen) await reload(version)
    failing = false
    loaded = true
    directory.complete()
  }

  /** The same without rejecting: if the storage does not respond, nothing changes. */
  const refresh = (): Promise<void> =>
    singleFlight('services', async () => {
      checkedAt = runtime.now()
      await load().catch((error: unknown) => {
        if (!failing) runtime.log('warn', 'services.refresh-failed', { why: String(error) })
        failing = true
      })
    })

  /** Below 0 after the clock was set back. */
  const isWithin = (ms: number): boolean => {
    const age = runtime.now() - checkedAt
    return age >= 0 && age < ms
  }
  const serving: Serving = {
    known: (service) => directory.serves(service),
    record: (service) => (isConfigured(service) ? undefined : servicesRecord),
    async served(service) {
      if (!directory.serves(service) || isConfigured(service)) return directory.serves(service)
      if (!isWithin(recheckMs)) await refresh()
      if (failing || !loaded) throw new Refusal('storage.unavailable', 'added services could not be loaded')
      return directory.serves(service)
    },
  }

  return {
    get all(): readonly Added[] {
      return all
    },
    /** Whether any service was ever added; undefined until the storage has responded. */
    get everAdded() {
      return loaded ? seen !== undefined : undefined
    },
    serving,
    load,
    refresh,
    /**
     * `refresh`, unless the last one began less than `maxAgeMs` ago. Until the first result every request
     * waits for it, because a 404 for a service that exists would be wrong.
     */
    fresh: (maxAgeMs: number) => (loaded && isWithin(maxAgeMs) ? undefined : refresh()),
  }
}

const rowsOf = (
  { mcp_services: configured }: Config,
  all: Awaited<ReturnType<ServiceRecords['all']>>,
): readonly ListedService[] => [
  ...Object.entries(configured).map(([id, service]) => ({
    ...listedAs(id, service),
    from: 'config' as const,
  })),
  ...all
    .filter(({ id }) => !Object.hasOwn(configured, id))
    .map(({ id, service, addedBy, addedAt, anywhere }) => {
      const about = listedAs(id, parseServiceConfig(id, service))
      return {
        ...about,
        from: 'registered' as const,
        addedBy,
        addedAt,
        ...(about.url === undefined
          ? {}
          : { network: anywhere ? ('anywhere' as const) : ('public' as const) }),
      }
    }),
]

// The registry.

export interface ServiceRegistry {
  list(): Promise<readonly ListedService[]>
  /** Validates and probes the service, and keeps nothing. Throws as `add` does. */
  check(addition: Addition): Promise<readonly ProbeStep[]>
  /**
   * Validates, probes and keeps the service, and serves it from now on. Throws `service.invalid`,
   * `service.taken` and `service.unusable`.
   */
  add(addition: Addition): Promise<readonly ProbeStep[]>
  /** Throws `service.unknown`, and `service.configured` for a service of the configuration. */
  remove(id: string): Promise<void>
  /**
   * Applies what other processes added or removed. Never rejects: if the storage does not respond, nothing
   * changes.
   */
  refresh(): Promise<void>
  /** The current configuration. Keys that only a restart changes are as they were at the start. */
  config(): Config
  /** `refresh`, unless the last one began less than `maxAgeMs` ago. */
  fresh(maxAgeMs: number): Promise<void> | undefined
  /** Whether any service was ever added; undefined until the storage has responded. */
  readonly everAdded: boolean | undefined
  /** For open streams, which end with their service. */
  readonly serving: Serving
  /** Serves the services and hosts of another configuration from now on. */
  reconfigure(config: Config): void
  /**
   * Calls the listener with services right after they were removed. `before`: how paths were located until
   * then.
   */
  onRemoved(listener: (removed: readonly Service[], before: LiveDirectory['locate']) => void): void
}

interface ServiceRegistryDeps {
  readonly config: Config
  readonly runtime: Runtime
  readonly directory: LiveDirectory
  /** Services that the runtime adds itself. */
  readonly builtIn: readonly Service[]
  readonly serviceOf: ServiceMaker
  readonly dryRun: DryRun
}

type RemovedListener = Parameters<ServiceRegistry['onRemoved']>[0]

const replace = (
  directory: LiveDirectory,
  plan: ServicePlan,
  listeners: readonly RemovedListener[],
): LiveDirectory => {
  const before = directory.services
  const locate = directory.replace(plan)
  const now = new Set(directory.services)
  const removed = before.filter((service) => !now.has(service))
  if (removed.length > 0) for (const listener of listeners) listener(removed, locate)
  return directory
}

/** Logged for each public service at the start, and for one that is added later. */
const warnPublic = ({ log }: Pick<Runtime, 'log'>, services: readonly Service[]): void => {
  for (const { id, authRequired } of services) {
    if (authRequired) continue
    log('warn', 'service.public', {
      service: id,
      message: `Service "${id}" requires no sign-in: anyone who can reach this gateway can use it.`,
    })
  }
}

/** The configuration may since have taken the ID or the host of an added service. */
const warnShadowed = (
  { log }: Pick<Runtime, 'log'>,
  { clashes }: LiveDirectory,
  named: readonly Added[],
): void => {
  for (const { id } of named)
    log('warn', 'service.shadowed', {
      service: id,
      why: 'a service in the configuration has the same ID and takes precedence',
    })
  for (const { id, by, label } of clashes)
    log('warn', 'service.shadowed', {
      service: id,
      why: `${label} is also the host of ${by}, which takes precedence`,
    })
}

/** Throws `service.unusable` and `service.taken`. */
const keepAddition = async (
  { id, service, by, anywhere, force = false }: Addition,
  steps: readonly ProbeStep[],
  records: ServiceRecords,
  addedAt: number,
): Promise<void> => {
  const say = steps.at(-1)?.say ?? ''
  if (!force && !isUsable(steps)) throw new Refusal('service.unusable', `${id}: ${say}`, { say })
  const record = { service, addedBy: by, addedAt, ...(anywhere ? { anywhere: true as const } : {}) }
  if (!(await records.add(id, record))) throw new Refusal('service.taken', `service ID ${id} already exists`)
}

export const createServiceRegistry = ({
  config: started,
  runtime,
  directory,
  builtIn,
  serviceOf,
  dryRun,
}: ServiceRegistryDeps): ServiceRegistry => {
  const records = createServiceRecords(runtime)
  const listeners: RemovedListener[] = []
  let config = started
  warnPublic(runtime, directory.services)
  const apply = (added: readonly Added[]): void => {
    const before = new Set(directory.services)
    warnShadowed(
      runtime,
      replace(directory, servicePlanOf(config, builtIn, serviceOf, added), listeners),
      added.filter(({ id }) => Object.hasOwn(config.mcp_services, id)),
    )
    warnPublic(
      runtime,
      directory.services.filter((service) => !before.has(service)),
    )
  }
  const isConfigured = (service: Service): boolean =>
    builtIn.includes(service) || Object.hasOwn(config.mcp_services, service.id)
  const added = createAddedServices({ records, runtime, directory, apply, isConfigured })
  const { load, refresh, serving } = added
  const knownServices = async (): Promise<KnownServices> => {
    if (added.everAdded === undefined) await load()
    return { config, added: added.all, directory, runtime, dryRun }
  }

  return {
    config: () => config,
    fresh: added.fresh,
    reconfigure(next) {
      config = next
      apply(added.all)
    },
    onRemoved: (listener) => void listeners.push(listener),
    refresh,
    get everAdded() {
      return added.everAdded
    },
    serving,
    list: async () => rowsOf(config, await records.all()),
    check: async (addition) => validateAddition(addition, await knownServices()),
    async add(addition) {
      const steps = await validateAddition(addition, await knownServices())
      await keepAddition(addition, steps, records, runtime.now())
      await load()
      return steps
    },
    async remove(id) {
      if (Object.hasOwn(config.mcp_services, id)) throw new Refusal('service.configured', id)
      if (!(await records.remove(id))) throw new Refusal('service.unknown', id)
      await load()
    },
  }
}

// Requests wait here until the services they are about are known. On Node a timer refreshes them; on Workers,
// where nothing runs between requests, requests do.

interface ServicesRefreshDeps {
  readonly directory: LiveDirectory
  readonly registry: Pick<ServiceRegistry, 'fresh' | 'everAdded' | 'serving'>
  readonly defer: Runtime['defer']
  /** Paths of the authorization server; a service has no part in them. */
  readonly endpointPaths: readonly string[]
}

export interface ServicesRefresh {
  /**
   * Resolves when the service that the request is about is known as well as possible; undefined if it is
   * already. Never rejects.
   */
  readonly request: (path: string, host?: string) => Promise<void> | undefined
  /**
   * The address that a resource indicator names. Throws `storage.unavailable` until the added services are
   * known.
   */
  readonly find: FindAddress
}

/** For a service that was added and may be removed, or that may have been added a moment ago. */
const addedMs = 500
/** For services of the configuration. */
const configuredMs = 30_000

/**
 * Further paths that are about no service. `find` resolves a service that they name by a resource indicator.
 */
const otherPaths: readonly string[] = [
  '/oauth/callback',
  '/callback',
  '/authorize/callback',
  '/connect/callback',
  '/login',
  '/logout',
  '/.well-known/oauth-authorization-server',
  '/.well-known/openid-configuration',
  '/health',
  '/healthz',
  '/readyz',
]

const metadata = '/.well-known/oauth-protected-resource/'
/** The path of the service that a request is about. */
const subjectOf = (path: string): string =>
  path.startsWith(metadata) ? path.slice(metadata.length - 1) : path.replace(/\/ws$/, '/mcp')

export const createServicesRefresh = ({
  directory,
  registry,
  defer,
  endpointPaths,
}: ServicesRefreshDeps): ServicesRefresh => {
  const serviceless: ReadonlySet<string> = new Set([...endpointPaths, ...otherPaths])
  const refreshInBackground = (): undefined => {
    const refreshing = registry.fresh(configuredMs)
    if (refreshing) defer(refreshing)
    return undefined
  }
  return {
    request(path, host) {
      const service = directory.locate(subjectOf(path), host)?.address.service
      if (service)
        return registry.serving.record(service) === undefined
          ? refreshInBackground()
          : registry.fresh(addedMs)
      return serviceless.has(path) && registry.everAdded !== undefined
        ? refreshInBackground()
        : registry.fresh(addedMs)
    },
    async find(resource) {
      if (registry.everAdded === undefined) await registry.fresh(addedMs)
      const known = directory.resolve(resource)
      if (known && registry.serving.record(known.service) === undefined) return known
      await registry.fresh(addedMs)
      return directory.resolve(resource)
    },
  }
}
