// Which services there are at the moment: those of the configuration, and those an administrator added while the gateway runs. One place puts them into the directory.
import { faultText } from './config/fault.ts'
import { loadConfig } from './config/load.ts'
import { type Config, configSchema } from './config/schema.ts'
import { Refusal } from './kit/refusal.ts'
import { placementOf, type ServiceMaker, withPath } from './placement.ts'
import type { Outbound, Runtime } from './ports/runtime.ts'
import type { Service } from './ports/services.ts'
import type { LivingDirectory, Placement } from './proxy/locate.ts'
import { discover, isUsable, type Step } from './services/discover.ts'
import { createRegistry, type Registry } from './services/registry.ts'

type ServiceConfig = Config['mcp_services'][string]

export interface SuppliedService {
  readonly id: string
  readonly name: string
  readonly url: string
  /** `config`: written in the configuration, and changed there alone. */
  readonly from: 'config' | 'registered'
  readonly addedBy?: string
  /** Epoch ms. */
  readonly addedAt?: number
}

export interface Addition {
  readonly id: string
  /** As in `mcp_services` of the configuration. */
  readonly service: Readonly<Record<string, unknown>>
  /** Person key, or `cli`. */
  readonly by: string
  /** For looking at it first; the runtime's guarded one unless the operator of this computer asks. */
  readonly outbound?: Outbound
  readonly told?: (step: Step) => void
  /** Keeps it even when nothing useful answers there yet. */
  readonly force?: boolean
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
  fresh(mostMs: number): Promise<void>
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
}

const parsed = (id: string, service: unknown): ServiceConfig | undefined => configSchema.safeParse({ mcp_services: { [id]: service } }).data?.mcp_services[id]

/** Where the service's endpoint is, path included. */
const upstreamUrl = (id: string, service: unknown): string => {
  const url = parsed(id, service)?.url ?? ''
  return URL.canParse(url) ? withPath(url, 'auto') : url
}

/** Text that came from a loaded configuration stands for itself when it is loaded again. */
const literal = (value: unknown): unknown => {
  if (typeof value === 'string') return value.replaceAll('${', '$${')
  if (Array.isArray(value)) return value.map(literal)
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, literal(part)])) : value
}

interface Around {
  readonly config: Config
  readonly registered: Readonly<Record<string, ServiceConfig>>
  readonly directory: LivingDirectory
  readonly runtime: Runtime
}

/** What is wrong with such a service beside all others, as sentences: the very rules of the configuration file. */
const faultsOf = async (id: string, service: object, { config, registered, directory }: Around): Promise<readonly string[]> => {
  const { session_secret: _, previous_secrets: __, mcp_services: others, ...rest } = config
  const document = { ...(literal(rest) as object), issuer: directory.issuer, mcp_services: { ...(literal(registered) as object), ...(literal(others) as object), [id]: service } }
  const loaded = await loadConfig({ file: { path: id, text: JSON.stringify(document) }, env: {} })
  const own = loaded.ok ? [] : loaded.faults.filter(({ key }) => key === '' || key === `mcp_services.${id}` || key.startsWith(`mcp_services.${id}.`) || key.startsWith(`mcp_services.${id}[`))
  return own.map((fault) => faultText({ ...fault, origin: { from: 'default' } }))
}

const look = async ({ id, service, outbound, told = () => undefined }: Addition, around: Around): Promise<readonly Step[]> => {
  if ('command' in service) throw new Refusal('service.invalid', `${id}: command`, { say: 'A command is added in the configuration file alone: whoever adds one runs programs on the gateway’s computer.' })
  if (around.directory.service(id)) throw new Refusal('service.taken', id)
  const wrong = await faultsOf(id, service, around)
  if (wrong.length > 0) throw new Refusal('service.invalid', wrong.join('; '), { say: wrong.join(' ') })
  return discover(upstreamUrl(id, service), outbound ?? around.runtime.outbound, told)
}

const row = (id: string, service: ServiceConfig | undefined): Pick<SuppliedService, 'id' | 'name' | 'url'> => ({ id, name: service?.name ?? id, url: service?.url ?? '' })

const rowsOf = ({ mcp_services: written }: Config, all: Awaited<ReturnType<Registry['all']>>): readonly SuppliedService[] => [
  ...Object.entries(written).map(([id, service]) => ({ ...row(id, service), from: 'config' as const })),
  ...all.filter(({ id }) => !Object.hasOwn(written, id)).map(({ id, service, addedBy, addedAt }) => ({ ...row(id, parsed(id, service)), from: 'registered' as const, addedBy, addedAt })),
]

type GoneListener = Parameters<Supply['onGone']>[0]

const replace = (directory: LivingDirectory, placement: Placement, listeners: readonly GoneListener[]): void => {
  const before = directory.services
  const locate = directory.replace(placement)
  const now = new Set(directory.services)
  const gone = before.filter((service) => !now.has(service))
  if (gone.length > 0) for (const listener of listeners) listener(gone, locate)
}

const readAll = async (registry: Registry, { log }: Pick<Runtime, 'log'>): Promise<Around['registered']> => {
  const usable = (await registry.all()).flatMap(({ id, service }): [string, ServiceConfig][] => {
    const read = parsed(id, service)
    if (!read) log('error', 'service.unreadable', { service: id, why: 'this version cannot read how it was registered' })
    return read ? [[id, read]] : []
  })
  return Object.fromEntries(usable)
}

export const createSupply = ({ config: started, runtime, directory, first, serviceOf }: SupplyDeps): Supply => {
  const registry = createRegistry(runtime)
  const listeners: GoneListener[] = []
  let config = started
  let registered: Readonly<Record<string, ServiceConfig>> = {}
  let seen: string | undefined
  let checkedAt = Number.NEGATIVE_INFINITY
  let failing = false

  const apply = (): void => {
    // Of two with one name the written one stands; it was there first, or whoever wrote it meant it.
    replace(directory, placementOf({ ...config, mcp_services: { ...registered, ...config.mcp_services } }, first, serviceOf), listeners)
  }

  const load = async (): Promise<void> => {
    const version = await registry.version()
    failing = false
    if (version === seen) return
    registered = await readAll(registry, runtime)
    seen = version
    apply()
  }

  const refresh = async (): Promise<void> => {
    checkedAt = runtime.now()
    await load().catch((error: unknown) => {
      if (!failing) runtime.log('warn', 'services.refresh-failed', { why: String(error) })
      failing = true
    })
  }

  return {
    config: () => config,
    async fresh(mostMs) {
      if (runtime.now() - checkedAt < mostMs) return
      await refresh()
    },
    reconfigure(next) {
      config = next
      apply()
    },
    onGone: (listener) => void listeners.push(listener),
    refresh,
    list: async () => rowsOf(config, await registry.all()),
    check: (addition) => look(addition, { config, registered, directory, runtime }),
    async add(addition) {
      const { id, service, by, force = false } = addition
      const steps = await look(addition, { config, registered, directory, runtime })
      if (!force && !isUsable(steps)) throw new Refusal('service.unusable', `${id}: ${steps.at(-1)?.say ?? ''}`, { say: steps.at(-1)?.say ?? '' })
      if (!(await registry.add(id, { service, addedBy: by, addedAt: runtime.now() }))) throw new Refusal('service.taken', id)
      await load()
      return steps
    },
    async remove(id) {
      if (id in config.mcp_services) throw new Refusal('service.configured', id)
      if (!(await registry.remove(id))) throw new Refusal('service.unknown', id)
      await load()
    },
  }
}
