// From the configuration to the services and the hosts they are reached at.
import type { Bridges } from './bridges.ts'
import type { Config } from './config/schema.ts'
import type { Service } from './ports/services.ts'
import type { Placement } from './proxy/locate.ts'

export const withPath = (url: string, transport: Config['mcp_services'][string]['transport']): string => (new URL(url).pathname === '/' && !/^wss?:/.test(url) ? new URL(transport === 'sse' ? '/sse' : '/mcp', url).href : url)

/** A bridge keeps its own time limits, and words them; this one is for a bridge that does not. */
const timeoutOf = ({ command, timeout, start_timeout: start }: Config['mcp_services'][string]): number => (command === undefined ? timeout : 2 * (timeout + start) + 10_000)

type ServiceConfig = Config['mcp_services'][string]

const serviceOf = (id: string, service: ServiceConfig, bridges: Bridges, publicOnly: boolean): Service => ({
  id,
  name: service.name ?? id,
  description: service.description,
  ...(service.alias === undefined ? {} : { alias: service.alias }),
  upstream: service.url === undefined ? bridges.of(id, service) : { kind: 'http', url: withPath(service.url, service.transport), transport: service.transport, ...(publicOnly ? { publicOnly } : {}) },
  ...(service.oauth_provider === undefined ? {} : { provider: service.oauth_provider }),
  authRequired: service.auth_required,
  scopes: service.scopes,
  timeoutMs: timeoutOf(service),
  maxBodyBytes: service.max_body ?? (service.command === undefined ? 4_194_304 : 10_485_760),
  auth: service.upstream_auth,
  identity: service.identity,
})

/** `publicOnly`: as in ports/services.ts. */
export type ServiceMaker = (id: string, service: ServiceConfig, publicOnly: boolean) => Service

/** Makes services, and the same one again for the same words, so that what belongs to a service (its processes, its streams) outlives a change of others. */
export const createServiceMaker = (bridges: Bridges): ServiceMaker => {
  const made = new Map<string, { readonly words: string; readonly service: Service }>()
  return (id, config, publicOnly) => {
    const words = JSON.stringify([config, publicOnly])
    const before = made.get(id)
    if (before?.words === words) return before.service
    const service = serviceOf(id, config, bridges, publicOnly)
    made.set(id, { words, service })
    return service
  }
}

export interface Added {
  readonly id: string
  readonly config: ServiceConfig
  readonly publicOnly: boolean
}

/**
 * `first`: services that the door brings itself. `added`: those that came while the gateway runs; of two with one name, or one host, the written one stands: it was
 * there first, or whoever wrote it meant it.
 */
export const placementOf = (config: Config, first: readonly Service[], make: ServiceMaker, added: readonly Added[] = []): Placement => ({
  services: [
    ...first,
    ...Object.entries(config.mcp_services).map(([id, service]) => make(id, service, false)),
    ...added.filter(({ id }) => !Object.hasOwn(config.mcp_services, id)).map((service) => make(service.id, service.config, service.publicOnly)),
  ],
  defaultService: config.default_service,
  hosts: config.hosts,
  domainRoot: config.domain_root,
  baseDomain: config.base_domain,
})
