// The pages of the console about services: what stands behind the gateway, how it does, and who may use it.
import type { Config } from '../config/schema.ts'
import type {
  AccessMatrix,
  ConsoleFrame,
  ConsolePages,
  ServiceAudience,
  ServiceSummary,
  ServiceTool,
  ServiceView,
} from '../ports/console.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Person } from '../ports/people.ts'
import type { ConsentChoices, Denied, LearnedTool, StoredRules } from '../ports/policy.ts'
import type { TrailCounts } from '../ports/runtime.ts'
import type { Directory, Service, ServiceState } from '../ports/services.ts'
import type { ServiceRegistry } from '../services/registry.ts'
import type { Bridges } from '../stdio/bridge.ts'
import type { AccessAdmin } from './access-api.ts'
import { whereOf } from './console-attention.ts'

/** What the access rules and the servers say, asked for administrators. */
export interface Outlook {
  tools(service: Service): readonly LearnedTool[]
  /** The same; after a restart, those that are stored. */
  listed(service: Service): Promise<readonly LearnedTool[]>
  fresh(): Promise<void> | undefined
  choices(service: Service, group: string | undefined): ConsentChoices | Denied | undefined
  ofPerson(service: Service, person: Person): ConsentChoices | Denied | undefined
}

export interface ConsoleServicesDeps {
  readonly directory: Pick<Directory, 'services' | 'service' | 'addresses'>
  readonly registry: Pick<ServiceRegistry, 'config' | 'list'>
  readonly accessAdmin: Pick<AccessAdmin, 'closures' | 'list'>
  /** As they were read last: to list them with their faults takes a second where there are many services. */
  readonly stored: Pick<StoredRules, 'now'>
  readonly outlook: Outlook
  readonly stateOf: (service: Service) => ServiceState
  readonly bridges: Pick<Bridges, 'all'>
  readonly consolePages: Pick<ConsolePages, 'services' | 'service'>
  readonly reachable: boolean
}

// Groups.

/** Every value of `groups` in a part of the configuration, or in a stored rule. */
const groupsIn = (part: unknown): readonly string[] => {
  if (Array.isArray(part)) return part.flatMap(groupsIn)
  if (typeof part !== 'object' || part === null) return []
  return Object.entries(part).flatMap(([key, value]) =>
    key === 'groups' && Array.isArray(value)
      ? value.filter((one): one is string => typeof one === 'string')
      : groupsIn(value),
  )
}

/** More are not drawn. */
const mostGroups = 12

export const namedGroups = (config: Config, stored: unknown, { id }: Service): readonly string[] =>
  [...new Set(groupsIn([config.access, config.mcp_services[id]?.access, stored]))].toSorted()

/** The groups whose people may use the service at all. */
const groupsOf = (outlook: Outlook, service: Service, groups: readonly string[]): readonly string[] =>
  groups.filter((group) => {
    const choices = outlook.choices(service, group)
    return choices !== undefined && !('allowed' in choices)
  })

const audienceOf = (outlook: Outlook, service: Service, groups: readonly string[]): ServiceAudience => {
  if (!service.authRequired) return 'public'
  const everybody = outlook.choices(service, undefined)
  if (everybody === undefined || !('allowed' in everybody)) return 'everyone'
  return { groups: groupsOf(outlook, service, groups) }
}

/** What people of each group may do. Those who are in no group come first, where they may do anything. */
export const readMatrix = async (
  { outlook, stored, registry }: Pick<ConsoleServicesDeps, 'outlook' | 'stored' | 'registry'>,
  service: Service,
): Promise<AccessMatrix> => {
  await outlook.fresh()
  const learned = outlook.tools(service)
  const known = new Map(learned.map((tool) => [tool.name, tool]))
  const everybody = outlook.choices(service, undefined)
  const toolOf = (name: string, allowed: readonly boolean[], need?: ServiceTool['need']): ServiceTool => {
    const tool = known.get(name)
    return {
      name,
      about: tool?.about,
      need: need ?? tool?.hint,
      unmarked: tool !== undefined && tool.hint === undefined,
      held: tool?.held === true,
      allowed,
    }
  }
  if (everybody === undefined) return { tools: learned.map(({ name }) => toolOf(name, [])) }
  const groups = [
    ...('allowed' in everybody ? [] : [undefined]),
    ...groupsOf(outlook, service, namedGroups(registry.config(), stored.now(), service)),
  ].slice(0, mostGroups)
  const columns = groups.map((group) => outlook.choices(service, group))
  const needs = new Map(
    columns.flatMap((column) =>
      column && 'tools' in column ? column.tools.map(({ name, need }) => [name, need] as const) : [],
    ),
  )
  const mayCall = (name: string): readonly boolean[] =>
    columns.map(
      (column) =>
        column !== undefined &&
        'tools' in column &&
        column.tools.some((tool) => tool.name === name && tool.locked === undefined),
    )
  const names = [...new Set([...known.keys(), ...needs.keys()])]
  return {
    groups: groups.map((group) => group ?? 'Everyone'),
    tools: names.map((name) => toolOf(name, mayCall(name), needs.get(name))),
  }
}

// One service in short.

/** What every summary is made from, read once for a page. */
interface Read {
  readonly config: Config
  readonly stored: unknown
  readonly disabled: Readonly<Record<string, { readonly by: string; readonly at: number }>>
  readonly calls: TrailCounts | undefined
  /** By ID of the service: how many definitions wait for a decision. */
  readonly waiting: ReadonlyMap<string, number>
  /** By ID: the URL that names the service. */
  readonly urls: ReadonlyMap<string, string>
}

const states = { healthy: 'up', degraded: 'down', unknown: 'unknown' } as const
const kinds = { http: 'remote', bridge: 'command', local: 'built-in' } as const

/** What services are found and sorted by. There may be a thousand, so that nothing is looked through for each. */
type Brief = Pick<ServiceSummary, 'id' | 'name' | 'url' | 'kind' | 'state' | 'waiting'>

const briefOf = (
  { stateOf }: ConsoleServicesDeps,
  { disabled, waiting, urls }: Read,
  service: Service,
): Brief => {
  const { id, name, upstream } = service
  return {
    id,
    name,
    url: urls.get(id) ?? '',
    kind: kinds[upstream.kind],
    state: Object.hasOwn(disabled, id) ? 'disabled' : states[stateOf(service)],
    waiting: waiting.get(id) ?? 0,
  }
}

/** The rest, which asks the rules. */
const summaryOf = (
  deps: ConsoleServicesDeps,
  read: Read,
  service: Service,
  brief: Brief = briefOf(deps, read, service),
): ServiceSummary => {
  const { outlook } = deps
  const { id, upstream, auth } = service
  const tools = outlook.tools(service).length
  return {
    ...brief,
    ...(tools > 0 && { tools }),
    credentials: upstream.kind === 'http' ? (auth?.type ?? 'auto') : 'none',
    audience: audienceOf(outlook, service, namedGroups(read.config, read.stored, service)),
    counts: read.calls?.services.find((one) => one.service === id),
  }
}

const readAll = async (
  deps: ConsoleServicesDeps,
  frame: ConsoleFrame,
  calls: TrailCounts | undefined,
): Promise<Read> => {
  const [{ services: disabled }] = await Promise.all([deps.accessAdmin.closures(), deps.outlook.fresh()])
  const urls = new Map<string, string>()
  for (const { service, path, resource } of deps.directory.addresses)
    if (path !== '/mcp' && !urls.has(service.id)) urls.set(service.id, resource)
  for (const { service, resource } of deps.directory.addresses)
    if (!urls.has(service.id)) urls.set(service.id, resource)
  const waiting = new Map(
    frame.attention.flatMap((one) =>
      one.kind === 'definitions' ? [[one.service.id, one.changed + one.fresh] as const] : [],
    ),
  )
  return { config: deps.registry.config(), stored: deps.stored.now(), disabled, calls, waiting, urls }
}

// The list.

const onePage = 50

const needsSomebody = ({ state, waiting }: Brief): boolean => state === 'down' || waiting > 0
const isOf: Readonly<Record<string, (service: Brief) => boolean>> = {
  all: () => true,
  attention: needsSomebody,
  remote: ({ kind }) => kind === 'remote',
  command: ({ kind }) => kind === 'command',
}

const rank = ({ state, waiting }: Brief): number =>
  state === 'down' ? 0 : waiting > 0 ? 1 : state === 'disabled' ? 3 : 2

export const drawServices = async (
  deps: ConsoleServicesDeps,
  frame: ConsoleFrame,
  { searchParams }: URL,
  calls: TrailCounts | undefined,
): Promise<Response> => {
  const read = await readAll(deps, frame, calls)
  const all = deps.directory.services.map((service) => briefOf(deps, read, service))
  const text = searchParams.get('q')?.trim().slice(0, 200) || undefined
  const only = searchParams.get('only') ?? 'all'
  const found = all
    .filter((service) => (Object.hasOwn(isOf, only) ? isOf[only] : isOf['all'])?.(service))
    .filter(({ id, name, url }) =>
      [id, name, url].some((value) => value.toLowerCase().includes(text?.toLowerCase() ?? '')),
    )
    .toSorted((one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name))
  const count = Math.max(1, Math.ceil(found.length / onePage))
  const at = Math.min(count, Math.max(1, Math.trunc(Number(searchParams.get('page'))) || 1))
  return deps.consolePages.services(frame, {
    found: found.slice((at - 1) * onePage, at * onePage).flatMap((brief) => {
      const service = deps.directory.service(brief.id)
      return service ? [summaryOf(deps, read, service, brief)] : []
    }),
    asked: { text, ...(Object.hasOwn(isOf, only) && only !== 'all' && { only }) },
    counts: {
      all: all.length,
      attention: all.filter(needsSomebody).length,
      remote: all.filter(({ kind }) => kind === 'remote').length,
      command: all.filter(({ kind }) => kind === 'command').length,
    },
    page: { at, count },
    counted: calls !== undefined,
  })
}

// One of them.

const processesOf = (
  { bridges }: ConsoleServicesDeps,
  { id, upstream }: Service,
): ServiceView['processes'] => {
  if (upstream.kind !== 'bridge') return undefined
  return bridges
    .all()
    .filter(({ service }) => service === id)
    .flatMap(({ processes, failures }) => [
      ...processes().map(({ owner, pid, startedAt, stderr }) => ({ owner, pid, startedAt, stderr })),
      ...failures().map(({ owner, pid, startedAt, endedAt, why, stderr }) => ({
        owner,
        pid,
        startedAt,
        endedAt,
        why,
        stderr,
      })),
    ])
}

const tabOf = (text: string | null, isCommand: boolean): ServiceView['tab'] => {
  if (text === 'tools') return 'tools'
  return text === 'processes' && isCommand ? 'processes' : 'connect'
}

export const drawService = async (
  deps: ConsoleServicesDeps,
  frame: ConsoleFrame,
  { pathname, searchParams }: URL,
  calls: TrailCounts | undefined,
): Promise<Response> => {
  const id = pathname.slice('/console/services/'.length)
  const service = deps.directory.service(id)
  if (!service) throw new Refusal('service.unknown', id.slice(0, 80))
  const [read, access, { grants }, listed] = await Promise.all([
    readAll(deps, frame, calls),
    readMatrix(deps, service),
    deps.accessAdmin.list({ service: id }),
    deps.registry.list(),
  ])
  const entry = listed.find((one) => one.id === id)
  const { addedBy, addedAt } = entry ?? {}
  return deps.consolePages.service(frame, {
    service: summaryOf(deps, read, service),
    description: service.description,
    tab: tabOf(searchParams.get('tab'), service.upstream.kind === 'bridge'),
    reachable: deps.reachable,
    where: entry?.url ?? entry?.command ?? whereOf(read.config, service),
    ...(addedBy !== undefined && addedAt !== undefined && { added: { by: addedBy, at: addedAt } }),
    disabled: read.disabled[id],
    grants: grants.length,
    access,
    processes: processesOf(deps, service),
  })
}
