// Which services there are at the moment: those of the configuration, and those an administrator added while the gateway runs. One place puts them into the directory.
import type { Config, ServiceConfig } from '../config/schema.ts'
import type { DryRun } from './validation.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import type { Serving } from '../ports/services.ts'
import type { LiveDirectory, ServicePlan } from './directory.ts'
import { type Added, type ServiceMaker, servicePlanOf } from './from-config.ts'
import { type ProbeStep, isUsable } from './probe.ts'
import { type ServiceRecords, createServiceRecords, servicesRecord } from './registry.ts'
import { type Addition, type KnownServices, validateAddition, parseServiceConfig } from './validation.ts'

// The services that were added while the gateway runs, as the storage has them: read again when somebody added or removed one.

interface AddedDeps {
  readonly registry: ServiceRecords
  readonly runtime: Pick<Runtime, 'now' | 'log' | 'defer'>
  readonly directory: LiveDirectory
  /** Serves these from now on, beside those of the configuration. */
  readonly apply: (added: readonly Added[]) => void
  /** Whether only a configuration changes this service. */
  readonly fixed: (service: Service) => boolean
}

export interface AddedServices {
  readonly all: readonly Added[]
  /** Whether any was ever added; undefined while the storage has not answered. */
  readonly grows: boolean | undefined
  readonly serving: Serving
  /** Reads what is new. Rejects when the storage does not answer. */
  load(): Promise<void>
  /** The same, and never rejects: without storage everything stays as it is. */
  refresh(): Promise<void>
  /** `refresh`, unless that was done less than `mostMs` ago. */
  fresh(mostMs: number): Promise<void> | undefined
}

/** How old what a stream lives by may be. */
const askMs = 500

const missing = (some: readonly Added[], others: readonly Added[]): string[] =>
  some.filter(({ id }) => !others.some((other) => other.id === id)).map(({ id }) => id)

const readAll = async (registry: ServiceRecords, { log }: Pick<Runtime, 'log'>): Promise<readonly Added[]> =>
  (await registry.all()).flatMap(({ id, service, anywhere, addedAt }): Added[] => {
    const config = parseServiceConfig(id, service)
    if (!config)
      log('error', 'service.unreadable', {
        service: id,
        why: 'its stored registration is not valid in this version',
      })
    return config ? [{ id, config, publicOnly: anywhere !== true, addedAt }] : []
  })

export const createAdded = ({ registry, runtime, directory, apply, fixed }: AddedDeps): AddedServices => {
  const once = createSingleFlight(runtime)
  let all: readonly Added[] = []
  let seen: string | undefined
  let loaded = false
  let failing = false
  let checkedAt = Number.NEGATIVE_INFINITY

  const take = async (version: string | undefined): Promise<void> => {
    const before = all
    all = await readAll(registry, runtime)
    seen = version
    apply(all)
    runtime.log('info', 'services.changed', { added: missing(all, before), removed: missing(before, all) })
  }

  const load = async (): Promise<void> => {
    const version = await registry.version()
    if (version !== seen) await take(version)
    failing = false
    loaded = true
    directory.complete()
  }

  const refresh = (): Promise<void> =>
    once('services', async () => {
      checkedAt = runtime.now()
      await load().catch((error: unknown) => {
        if (!failing) runtime.log('warn', 'services.refresh-failed', { why: String(error) })
        failing = true
      })
    })

  const serving: Serving = {
    known: (service) => directory.serves(service),
    record: (service) => (fixed(service) ? undefined : servicesRecord),
    async served(service) {
      if (!directory.serves(service) || fixed(service)) return directory.serves(service)
      if (runtime.now() - checkedAt >= askMs) await refresh()
      if (failing || !loaded) throw new Refusal('storage.unavailable', 'added services could not be loaded')
      return directory.serves(service)
    },
  }

  return {
    get all() {
      return all
    },
    get grows() {
      return loaded ? seen !== undefined : undefined
    },
    serving,
    load,
    refresh,
    // Until the first answer everybody waits for it: nobody may be told of a service that it is not there.
    fresh: (mostMs) => (loaded && runtime.now() - checkedAt < mostMs ? undefined : refresh()),
  }
}

export interface ListedService {
  readonly id: string
  readonly name: string
  /** Where it is, without query, which may hold a key; absent for a command. */
  readonly url?: string
  /** The program; its arguments may hold a key. */
  readonly command?: string
  /** `config`: written in the configuration, and changed there alone. */
  readonly from: 'config' | 'registered'
  readonly addedBy?: string
  /** Epoch ms. */
  readonly addedAt?: number
  /** Where its connections may go: to `public` addresses alone, or `anywhere`, because somebody at the gateway's computer said so. */
  readonly network?: 'public' | 'anywhere'
}

export interface ServiceRegistry {
  list(): Promise<readonly ListedService[]>
  /** Looks at it and keeps nothing. Throws as `add` does. */
  check(addition: Addition): Promise<readonly ProbeStep[]>
  /** Looks at it, keeps it, and serves it from now on. Throws `service.invalid`, `service.taken` and `service.unusable`. */
  add(addition: Addition): Promise<readonly ProbeStep[]>
  /** Throws `service.unknown`, and `service.configured` for one that the configuration holds. */
  remove(id: string): Promise<void>
  /** Sees what other processes added or removed. Cheap when nothing was. Never rejects: without storage everything stays as it is. */
  refresh(): Promise<void>
  /** The configuration that holds at the moment; keys that only a start changes are as they were at the start. */
  config(): Config
  /** `refresh`, unless that was done less than `mostMs` ago: for runtimes without timers between requests. */
  fresh(mostMs: number): Promise<void> | undefined
  /** Whether any service was ever added, as far as this process knows; undefined while it could not find out. */
  readonly grows: boolean | undefined
  /** Which services there are, for those who hold one open. */
  readonly serving: Serving
  /** Another configuration: its services and hosts from now on. */
  reconfigure(config: Config): void
  /** Told with the services that are gone, right after they are. */
  onGone(listener: (gone: readonly Service[], before: LiveDirectory['locate']) => void): void
}

export interface ServiceRegistryDeps {
  readonly config: Config
  readonly runtime: Runtime
  readonly directory: LiveDirectory
  /** Services the door brings itself. */
  readonly first: readonly Service[]
  readonly serviceOf: ServiceMaker
  readonly attempt: DryRun
}

const shownUrl = (url: string): string => {
  if (!URL.canParse(url)) return url
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname}`
}

const row = (
  id: string,
  service: ServiceConfig | undefined,
): Pick<ListedService, 'id' | 'name' | 'url' | 'command'> => ({
  id,
  name: service?.name ?? id,
  ...(service?.url === undefined ? {} : { url: shownUrl(service.url) }),
  ...(service?.command === undefined ? {} : { command: service.command }),
})

const rowsOf = (
  { mcp_services: written }: Config,
  all: Awaited<ReturnType<ServiceRecords['all']>>,
): readonly ListedService[] => [
  ...Object.entries(written).map(([id, service]) => ({ ...row(id, service), from: 'config' as const })),
  ...all
    .filter(({ id }) => !Object.hasOwn(written, id))
    .map(({ id, service, addedBy, addedAt, anywhere }) => {
      const about = row(id, parseServiceConfig(id, service))
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

type GoneListener = Parameters<ServiceRegistry['onGone']>[0]

const replace = (
  directory: LiveDirectory,
  placement: ServicePlan,
  listeners: readonly GoneListener[],
): LiveDirectory => {
  const before = directory.services
  const locate = directory.replace(placement)
  const now = new Set(directory.services)
  const gone = before.filter((service) => !now.has(service))
  if (gone.length > 0) for (const listener of listeners) listener(gone, locate)
  return directory
}

/** Said of each at the start, and of one that comes later when it does. */
const tellPublic = ({ log }: Pick<Runtime, 'log'>, services: readonly Service[]): void => {
  for (const { id, authRequired } of services) {
    if (authRequired) continue
    log('warn', 'service.public', {
      service: id,
      message: `Service "${id}" requires no sign-in: anyone who can reach this gateway can use it.`,
    })
  }
}

/** The configuration may have taken a name or a host of those that were added, since they were. */
const tellShadowed = (
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

export const createServiceRegistry = ({
  config: started,
  runtime,
  directory,
  first,
  serviceOf,
  attempt,
}: ServiceRegistryDeps): ServiceRegistry => {
  const registry = createServiceRecords(runtime)
  const listeners: GoneListener[] = []
  let config = started
  tellPublic(runtime, directory.services)
  const apply = (added: readonly Added[]): void => {
    const before = new Set(directory.services)
    tellShadowed(
      runtime,
      replace(directory, servicePlanOf(config, first, serviceOf, added), listeners),
      added.filter(({ id }) => Object.hasOwn(config.mcp_services, id)),
    )
    tellPublic(
      runtime,
      directory.services.filter((service) => !before.has(service)),
    )
  }
  const fixed = (service: Service): boolean =>
    first.includes(service) || Object.hasOwn(config.mcp_services, service.id)
  const added = createAdded({ registry, runtime, directory, apply, fixed })
  const { load, refresh, serving } = added
  const around = async (): Promise<KnownServices> => {
    if (added.grows === undefined) await load()
    return { config, added: added.all, directory, runtime, attempt }
  }

  return {
    config: () => config,
    fresh: added.fresh,
    reconfigure(next) {
      config = next
      apply(added.all)
    },
    onGone: (listener) => void listeners.push(listener),
    refresh,
    get grows() {
      return added.grows
    },
    serving,
    list: async () => rowsOf(config, await registry.all()),
    check: async (addition) => validateAddition(addition, await around()),
    async add(addition) {
      const { id, service, by, anywhere, force = false } = addition
      const steps = await validateAddition(addition, await around())
      if (!force && !isUsable(steps))
        throw new Refusal('service.unusable', `${id}: ${steps.at(-1)?.say ?? ''}`, {
          say: steps.at(-1)?.say ?? '',
        })
      if (
        !(await registry.add(id, {
          service,
          addedBy: by,
          addedAt: runtime.now(),
          ...(anywhere ? { anywhere: true } : {}),
        }))
      )
        throw new Refusal('service.taken', `service ID ${id} already exists`)
      await load()
      return steps
    },
    async remove(id) {
      if (Object.hasOwn(config.mcp_services, id)) throw new Refusal('service.configured', id)
      if (!(await registry.remove(id))) throw new Refusal('service.unknown', id)
      await load()
    },
  }
}
