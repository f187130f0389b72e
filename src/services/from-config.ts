// From the configuration to the services and the hosts they are reached at.
import type { Config } from '../config/schema.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import type { Bridges } from '../stdio/bridges.ts'
import type { ServicePlan } from './directory.ts'

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
export const isWithoutPath = (url: string): boolean => /^https?:\/\/[^/?#]+(?:[?#]|$)/i.test(url)

const endpointAt = (url: string, path: string): string => {
  const endpoint = new URL(url)
  endpoint.pathname = path
  return endpoint.href
}

/** The endpoint that a URL means. */
export const withPath = (url: string, transport: Config['mcp_services'][string]['transport']): string =>
  isWithoutPath(url) ? endpointAt(url, transport === 'sse' ? '/sse' : '/mcp') : url

/** A stdio server has time limits of its own. This one applies if they fail. */
const timeoutOf = ({ command, timeout, start_timeout: start }: Config['mcp_services'][string]): number =>
  command === undefined ? timeout : 2 * (timeout + start) + 10_000

type ServiceConfig = Config['mcp_services'][string]

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
}

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
  authRequired: service.auth_required,
  scopes: service.scopes,
  timeoutMs: timeoutOf(service),
  maxBodyBytes: service.max_body ?? (service.command === undefined ? 4_194_304 : 10_485_760),
  passHeaders: service.pass_headers,
  auth: service.upstream_auth,
  identity: service.identity,
})

export type ServiceMaker = (id: string, service: ServiceConfig, origin: Origin) => Service

/**
 * Creates services, and returns the same object for the same configuration, so that the processes and streams
 * of a service survive a change of others.
 */
export const createServiceMaker = (deps: MakerDeps): ServiceMaker => {
  const made = new Map<string, { readonly key: string; readonly service: Service }>()
  return (id, config, origin) => {
    const key = JSON.stringify([config, origin.publicOnly, origin.addedAt])
    const before = made.get(id)
    if (before?.key === key) return before.service
    const service = serviceOf(id, config, deps, origin)
    made.set(id, { key, service })
    return service
  }
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
): ServicePlan => ({
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
})
