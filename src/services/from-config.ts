// From the configuration of a service to the service, and to the check of one that somebody wants to add while
// the gateway runs: by the rules of the configuration, then by a probe of its server.
import { loadConfig } from '../config/load.ts'
import { type Config, type ServiceConfig, configSchema } from '../config/schema.ts'
import { faultText } from '../config/tree.ts'
import { Refusal, rpcErrorText } from '../kit/refusal.ts'
import type { Outbound, Runtime } from '../ports/runtime.ts'
import type { Directory, DispatchStdio, Service, StdioCall } from '../ports/services.ts'
import type { Bridges } from '../stdio/bridge.ts'
import type { ServicePlan } from './directory.ts'
import type { HealthCheck } from './health-checks.ts'
import type { ProbeStep } from './probe-steps.ts'
import { probeServer } from './probe.ts'

// The generation of a service: grants and cached results are bound to it, so that another service with the
// same ID inherits none of them.
//
// A service that an administrator added is itself from one adding to its removal. One that the configuration
// names is where its calls go: scheme, host, port and path of its URL (the query may hold a key, which
// changes), or its program and the words that are no options, without their versions, so that an upgrade ends
// nothing.

/**
 * `name@1.2.3`, `@scope/name@1.2.3`, `name==1.2.3` and `image:1.2.3` without what follows the name; a URL or
 * a path stays as it is.
 */
const withoutVersion = (word: string): string =>
  word.includes('://') ? word : word.replace(/^(@?[\w./-]+)(?:@|==|:)[\w.^~*+-]+$/, '$1')

const locationOf = (url: string): string => {
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname.replace(/\/$/, '')}`
}

const whatItIs = ({ url, command, args }: ServiceConfig): readonly string[] =>
  url === undefined
    ? ['command', command ?? '', ...args.filter((word) => !word.startsWith('-')).map(withoutVersion)]
    : ['url', locationOf(url)]

/** `addedAt`: of a service that came while the gateway ran, epoch ms. */
export const generationOf = (digest: Runtime['digest'], service: ServiceConfig, addedAt?: number): string =>
  digest(JSON.stringify(addedAt === undefined ? whatItIs(service) : ['added', addedAt])).slice(0, 22)

/** Whether an http(s) URL ends with its host (and query): a slash is a path already, and taken as written. */
const isWithoutPath = (url: string): boolean => /^https?:\/\/[^/?#]+(?:[?#]|$)/i.test(url)

const endpointAt = (url: string, path: string): string => {
  const endpoint = new URL(url)
  endpoint.pathname = path
  return endpoint.href
}

/** The endpoint that a URL means. */
export const withPath = (url: string, transport: ServiceConfig['transport']): string =>
  isWithoutPath(url) ? endpointAt(url, transport === 'sse' ? '/sse' : '/mcp') : url

/** A stdio server has time limits of its own. This one applies if they fail. */
const timeoutOf = ({ command, timeout, start_timeout: start }: ServiceConfig): number =>
  command === undefined ? timeout : 2 * (timeout + start) + 10_000

/** The origin of a service that is not in the configuration. */
interface Origin {
  /** As in ports/services.ts. */
  readonly publicOnly: boolean
  /** Epoch ms; absent for one that the configuration names. */
  readonly addedAt?: number
}

interface MakerDeps {
  readonly bridges: Bridges
  readonly digest: Runtime['digest']
  /** Absent: servers are never checked. */
  readonly check?: ((service: Service, check: HealthCheck) => Service) | undefined
}

const auditOf = ({ audit }: ServiceConfig): Pick<Service, 'auditRequired' | 'auditBodies'> => ({
  ...(audit?.required ? { auditRequired: true } : {}),
  ...(audit?.bodies ? { auditBodies: audit.bodies } : {}),
})

const serviceOf = (
  id: string,
  service: ServiceConfig,
  { bridges, digest }: MakerDeps,
  { publicOnly, addedAt }: Origin,
): Service => ({
  id,
  name: service.name ?? id,
  generation: generationOf(digest, service, addedAt),
  ...(addedAt === undefined ? {} : { addedAt }),
  description: service.description,
  ...(service.alias === undefined ? {} : { alias: service.alias }),
  upstream:
    service.url === undefined
      ? bridges.of(id, service)
      : {
          kind: 'http',
          url: withPath(service.url, service.transport),
          transport: service.transport,
          ...(isWithoutPath(service.url) && service.transport !== 'sse' ? { withoutPath: true } : {}),
          ...(publicOnly ? { publicOnly } : {}),
        },
  ...(service.oauth_provider === undefined ? {} : { provider: service.oauth_provider }),
  ...(service.oauth_providers === undefined ? {} : { providers: service.oauth_providers }),
  authRequired: service.auth_required,
  ...auditOf(service),
  scopes: service.scopes,
  ...(service.dpop === undefined ? {} : { dpop: service.dpop }),
  timeoutMs: timeoutOf(service),
  maxBodyBytes: service.max_body ?? (service.command === undefined ? 4_194_304 : 10_485_760),
  passHeaders: service.pass_headers,
  auth: service.upstream_auth,
  identity: service.identity,
})

export interface ServiceMaker {
  (id: string, service: ServiceConfig, origin: Origin): Service
  /** `access` of the service as it was made last. */
  accessOf(id: string): ServiceConfig['access']
  /** Whether access rules were written, for a service or for all, since the start. */
  ruled: boolean
  /** `rate_limits` of the service as it was made last. */
  ratesOf(id: string): ServiceConfig['rate_limits']
  /** Whether rate limits were written, for a service or for all, since the start. */
  limited: boolean
}

/**
 * Creates services, and returns the same object for the same configuration, so that the processes and streams
 * of a service survive a change of others.
 */
export const createServiceMaker = (deps: MakerDeps): ServiceMaker => {
  interface Made {
    readonly key: string
    readonly service: Service
    readonly access: ServiceConfig['access']
    readonly rates: ServiceConfig['rate_limits']
  }
  const made = new Map<string, Made>()
  const withChecks = (id: string, config: ServiceConfig, service: Service): Service => {
    const { health_interval: interval } = config
    if (interval === undefined || !deps.check) return service
    const isCurrent = (): boolean => made.get(id)?.service === checked
    const checked = deps.check(service, { everyMs: interval * 1000, alternative: rootOf(config), isCurrent })
    return checked
  }
  const make = (
    id: string,
    { access, rate_limits: rates, ...config }: ServiceConfig,
    origin: Origin,
  ): Service => {
    // Who may use a service, and how often, is no part of it: other rules end no process and no stream.
    const key = JSON.stringify([config, origin.publicOnly, origin.addedAt])
    const before = made.get(id)
    const service =
      before?.key === key ? before.service : withChecks(id, config, serviceOf(id, config, deps, origin))
    made.set(id, { key, service, access, rates })
    maker.ruled ||= access !== undefined
    maker.limited ||= rates !== undefined
    return service
  }
  const maker: ServiceMaker = Object.assign(make, {
    accessOf: (id: string) => made.get(id)?.access,
    ruled: false,
    ratesOf: (id: string) => made.get(id)?.rates,
    limited: false,
  })
  return maker
}

export interface Added extends Origin {
  readonly id: string
  readonly config: ServiceConfig
  readonly addedAt: number
}

/**
 * `builtIn`: services that the runtime adds itself. `added`: those that were added while the gateway runs. If
 * two have the same ID or host, the configured one wins.
 */
export const servicePlanOf = (
  config: Config,
  builtIn: readonly Service[],
  make: ServiceMaker,
  added: readonly Added[] = [],
): ServicePlan => {
  // Before a service is there that these rules are about.
  make.ruled ||= config.access !== undefined
  make.limited ||= config.rate_limits.length > 0
  return {
    services: [
      ...builtIn,
      ...Object.entries(config.mcp_services).map(([id, service]) => make(id, service, { publicOnly: false })),
      ...added
        .filter(({ id }) => !Object.hasOwn(config.mcp_services, id))
        .map((service) => make(service.id, service.config, service)),
    ],
    defaultService: config.default_service,
    hosts: config.hosts,
    domainRoot: config.domain_root,
    baseDomain: config.base_domain,
  }
}

// A service as administrators see it.

export interface ListedService {
  readonly id: string
  readonly name: string
  /** Without the query, which may hold a key. Absent for a command. */
  readonly url?: string
  /** The program without its arguments, which may hold a key. */
  readonly command?: string
  /** `config`: it can be changed only in the configuration. */
  readonly from: 'config' | 'registered'
  readonly addedBy?: string
  /** Epoch ms. */
  readonly addedAt?: number
  /** Which addresses it may be at: `anywhere` if it was added on the gateway's computer. */
  readonly network?: 'public' | 'anywhere'
}

const withoutQuery = (url: string): string => {
  if (!URL.canParse(url)) return url
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname}`
}

export const listedAs = (
  id: string,
  service: ServiceConfig | undefined,
): Pick<ListedService, 'id' | 'name' | 'url' | 'command'> => ({
  id,
  name: service?.name ?? id,
  ...(service?.url === undefined ? {} : { url: withoutQuery(service.url) }),
  ...(service?.command === undefined ? {} : { command: service.command }),
})

// A service that somebody wants to add while the gateway runs.

/** Starts the command of a service and reaches its server as if it were on HTTP. `end` ends the process. */
export type DryRun = (
  id: string,
  service: ServiceConfig,
) => { readonly outbound: Outbound; readonly end: () => void }

/** The URL under which a dry run reaches a command. */
export const commandUrl = 'http://command.invalid/mcp'

type CallStdio = (
  carry: DispatchStdio,
  request: Request,
  about: Pick<StdioCall, 'principal' | 'refused' | 'sessionId'>,
) => Promise<Response>

/** The command runs as a bridge of its own, which no caller reaches. */
export const createDryRun =
  (bridges: Bridges, callStdio: CallStdio): DryRun =>
  (id, service) => {
    const upstream = bridges.of(id, service)
    return {
      async outbound(url, { method = 'GET', headers = {}, body } = {}) {
        if (upstream.kind !== 'bridge') throw new TypeError('not a command')
        const response = await callStdio(
          upstream.carry,
          new Request(url, { method, headers, ...(body === undefined ? {} : { body }) }),
          { principal: undefined, refused: (refusal, id) => rpcErrorText(refusal, id, '') },
        )
        return {
          status: response.status,
          headers: response.headers,
          body: new Uint8Array(await response.arrayBuffer()),
        }
      },
      end: () => bridges.end(upstream),
    }
  }

export interface Addition {
  readonly id: string
  /** As in `mcp_services` of the configuration. */
  readonly service: Readonly<Record<string, unknown>>
  /** Person key, or `cli`. */
  readonly by: string
  /** The service is added on the gateway's own computer, where its user may run programs anyway. */
  readonly commands?: boolean
  /**
   * The same for a server on a private network: the outbound that reaches it. Absent: the guarded outbound of
   * the runtime, and only public addresses ever.
   */
  readonly anywhere?: Outbound
  readonly onStep?: (step: ProbeStep) => void
  /** Keeps the service even if its server is not usable yet. */
  readonly force?: boolean
}

export interface KnownServices {
  readonly config: Config
  readonly added: readonly Added[]
  readonly directory: Directory
  readonly runtime: Pick<Runtime, 'outbound' | 'transports' | 'spawn' | 'timer'>
  readonly dryRun: DryRun
}

export const parseServiceConfig = (id: string, service: unknown): ServiceConfig | undefined =>
  configSchema.safeParse({ mcp_services: { [id]: service } }).data?.mcp_services[id]

/** The endpoint of the service, path included. */
const upstreamUrl = ({ url = '', transport }: ServiceConfig): string =>
  URL.canParse(url) ? withPath(url, transport) : url

/** The other URL that a URL without a path may mean. */
const rootOf = ({ url = '', transport }: ServiceConfig): string | undefined =>
  URL.canParse(url) && isWithoutPath(url) && transport !== 'sse' ? new URL(url).href : undefined

/** Escapes text of a loaded configuration, so that loading it again changes nothing. */
export const literal = (value: unknown): unknown => {
  if (typeof value === 'string') return value.replaceAll('${', () => '$${')
  if (Array.isArray(value)) return value.map(literal)
  return typeof value === 'object' && value !== null
    ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, literal(part)]))
    : value
}

/** The faults of such a service beside all others, as sentences, by the rules of the configuration file. */
const faultsOf = async (
  id: string,
  service: object,
  { config, added, directory, runtime }: KnownServices,
): Promise<readonly string[]> => {
  const { session_secret: _, previous_secrets: __, mcp_services: others, ...rest } = config
  const registered = Object.fromEntries(added.map((each) => [each.id, literal(each.config)]))
  const document = {
    ...(literal(rest) as object),
    issuer: directory.issuer,
    mcp_services: { ...registered, ...(literal(others) as object), [id]: service },
  }
  const loaded = await loadConfig({
    file: { path: id, text: JSON.stringify(document) },
    env: {},
    workers: runtime.spawn === undefined,
  })
  const own = loaded.ok
    ? []
    : loaded.faults.filter(
        ({ key }) =>
          key === '' ||
          key === `mcp_services.${id}` ||
          key.startsWith(`mcp_services.${id}.`) ||
          key.startsWith(`mcp_services.${id}[`),
      )
  return own.map((fault) => faultText({ ...fault, origin: { from: 'default' } }))
}

const noCommand =
  'Commands cannot be added here. Use `postern services add` or the configuration file on the gateway’s computer, or set `admin_commands: true`.'

const noAssertion =
  'Assertions of the gateway’s computer cannot be added here. Use `postern services add` or the configuration file on the gateway’s computer, or set `admin_commands: true`.'

/** Whoever may not start programs may not have a file or a variable sent to a server of their choice either. */
const readsAssertion = (service: Addition['service']): boolean => {
  const { upstream_auth: auth } = service as { readonly upstream_auth?: unknown }
  return typeof auth === 'object' && auth !== null && ('assertion_file' in auth || 'assertion_env' in auth)
}

const noPrograms = 'This gateway cannot start programs. Add the URL of an MCP server instead of a command.'

const checkAllowed = (
  { id, service, commands }: Addition,
  { config, directory, runtime }: KnownServices,
): void => {
  if ('command' in service && !runtime.spawn)
    throw new Refusal('service.invalid', `${id}: commands need a runtime that starts programs`, {
      say: noPrograms,
    })
  if ('command' in service && !commands && !config.admin_commands)
    throw new Refusal('service.invalid', `${id}: command given, but admin_commands is false`, {
      say: noCommand,
    })
  if (readsAssertion(service) && !commands && !config.admin_commands)
    throw new Refusal('service.invalid', `${id}: an assertion of the gateway’s computer`, {
      say: noAssertion,
    })
  if (directory.service(id)) throw new Refusal('service.taken', `service ID ${id} already exists`)
}

const probeUrl = (
  { id, anywhere, onStep = () => undefined }: Addition,
  config: ServiceConfig,
  { runtime: { outbound, transports, timer } }: KnownServices,
): Promise<readonly ProbeStep[]> => {
  // Without TLS only where somebody on the gateway's own computer asks for it, as over HTTP.
  if (!anywhere && /^ws:/i.test(config.url ?? ''))
    throw new Refusal('service.unusable', `${id}: plain ws:// URL`, {
      say: 'Use a wss:// URL. Plain ws:// is allowed only when the service is added on the gateway’s computer.',
    })
  return probeServer(
    upstreamUrl(config),
    {
      ...(anywhere ? { outbound: anywhere, transports } : { outbound, transports: transports.publicOnly }),
      timer,
      alternative: rootOf(config),
    },
    onStep,
  )
}

const probeCommand = async (
  { id, onStep = () => undefined }: Addition,
  config: ServiceConfig,
  { dryRun, runtime: { timer } }: KnownServices,
): Promise<readonly ProbeStep[]> => {
  const { outbound, end } = dryRun(id, config)
  try {
    return await probeServer(commandUrl, { outbound, timer }, onStep)
  } finally {
    end()
  }
}

/** Throws `service.invalid`, `service.taken` and `service.unusable`. */
export const validateAddition = async (
  addition: Addition,
  known: KnownServices,
): Promise<readonly ProbeStep[]> => {
  const { id, service } = addition
  checkAllowed(addition, known)
  const faults = await faultsOf(id, service, known)
  const config = parseServiceConfig(id, service)
  if (faults.length > 0 || !config)
    throw new Refusal(
      'service.invalid',
      faults.join('; '),
      faults.length > 0 ? { say: faults.join(' ') } : {},
    )
  return config.command === undefined
    ? probeUrl(addition, config, known)
    : probeCommand(addition, config, known)
}
