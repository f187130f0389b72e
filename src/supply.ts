// Which services there are at the moment: those of the configuration, and those an administrator added while the gateway runs. One place puts them into the directory.
import { createAdded } from './added.ts'
import { type Addition, type Around, look, parsed, type ServiceConfig } from './additions.ts'
import type { Config } from './config/schema.ts'
import { Refusal } from './kit/refusal.ts'
import { type Added, placementOf, type ServiceMaker } from './placement.ts'
import type { Runtime } from './ports/runtime.ts'
import type { Service } from './ports/services.ts'
import type { LivingDirectory, Placement } from './proxy/locate.ts'
import type { Serving } from './proxy/watch.ts'
import { isUsable } from './services/discover.ts'
import { createRegistry, type Registry } from './services/registry.ts'
import type { Step } from './services/step.ts'
import type { Try } from './trial.ts'

export interface SuppliedService {
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

export interface Supply {
  list(): Promise<readonly SuppliedService[]>
  /** Looks at it and keeps nothing. Throws as `add` does. */
  check(addition: Addition): Promise<readonly Step[]>
  /** Looks at it, keeps it, and serves it from now on. Throws `service.invalid`, `service.taken` and `service.unusable`. */
  add(addition: Addition): Promise<readonly Step[]>
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
  onGone(listener: (gone: readonly Service[], before: LivingDirectory['locate']) => void): void
}

export interface SupplyDeps {
  readonly config: Config
  readonly runtime: Runtime
  readonly directory: LivingDirectory
  /** Services the door brings itself. */
  readonly first: readonly Service[]
  readonly serviceOf: ServiceMaker
  readonly attempt: Try
}

const shownUrl = (url: string): string => {
  if (!URL.canParse(url)) return url
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname}`
}

const row = (id: string, service: ServiceConfig | undefined): Pick<SuppliedService, 'id' | 'name' | 'url' | 'command'> => ({
  id,
  name: service?.name ?? id,
  ...(service?.url === undefined ? {} : { url: shownUrl(service.url) }),
  ...(service?.command === undefined ? {} : { command: service.command }),
})

const rowsOf = ({ mcp_services: written }: Config, all: Awaited<ReturnType<Registry['all']>>): readonly SuppliedService[] => [
  ...Object.entries(written).map(([id, service]) => ({ ...row(id, service), from: 'config' as const })),
  ...all
    .filter(({ id }) => !Object.hasOwn(written, id))
    .map(({ id, service, addedBy, addedAt, anywhere }) => {
      const about = row(id, parsed(id, service))
      return { ...about, from: 'registered' as const, addedBy, addedAt, ...(about.url === undefined ? {} : { network: anywhere ? ('anywhere' as const) : ('public' as const) }) }
    }),
]

type GoneListener = Parameters<Supply['onGone']>[0]

const replace = (directory: LivingDirectory, placement: Placement, listeners: readonly GoneListener[]): LivingDirectory => {
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
    log('warn', 'service.public', { service: id, message: `Service "${id}" requires no sign-in: anyone who can reach this gateway can use it.` })
  }
}

/** The configuration may have taken a name or a host of those that were added, since they were. */
const tellShadowed = ({ log }: Pick<Runtime, 'log'>, { clashes }: LivingDirectory, named: readonly Added[]): void => {
  for (const { id } of named) log('warn', 'service.shadowed', { service: id, why: 'a service in the configuration has the same ID and takes precedence' })
  for (const { id, by, label } of clashes) log('warn', 'service.shadowed', { service: id, why: `${label} is also the host of ${by}, which takes precedence` })
}

export const createSupply = ({ config: started, runtime, directory, first, serviceOf, attempt }: SupplyDeps): Supply => {
  const registry = createRegistry(runtime)
  const listeners: GoneListener[] = []
  let config = started
  tellPublic(runtime, directory.services)
  const apply = (added: readonly Added[]): void => {
    const before = new Set(directory.services)
    tellShadowed(
      runtime,
      replace(directory, placementOf(config, first, serviceOf, added), listeners),
      added.filter(({ id }) => Object.hasOwn(config.mcp_services, id)),
    )
    tellPublic(runtime, directory.services.filter((service) => !before.has(service)))
  }
  const fixed = (service: Service): boolean => first.includes(service) || Object.hasOwn(config.mcp_services, service.id)
  const added = createAdded({ registry, runtime, directory, apply, fixed })
  const { load, refresh, serving } = added
  const around = async (): Promise<Around> => {
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
    check: async (addition) => look(addition, await around()),
    async add(addition) {
      const { id, service, by, anywhere, force = false } = addition
      const steps = await look(addition, await around())
      if (!force && !isUsable(steps)) throw new Refusal('service.unusable', `${id}: ${steps.at(-1)?.say ?? ''}`, { say: steps.at(-1)?.say ?? '' })
      if (!(await registry.add(id, { service, addedBy: by, addedAt: runtime.now(), ...(anywhere ? { anywhere: true } : {}) }))) throw new Refusal('service.taken', `service ID ${id} already exists`)
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
