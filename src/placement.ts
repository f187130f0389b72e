// From the configuration to the services and the hosts they are reached at.
import type { Config } from './config/schema.ts'
import type { Service } from './ports/services.ts'
import type { Placement } from './proxy/locate.ts'

/** A WebSocket server is asked for exactly what is configured. */
const withPath = (url: string, transport: string): string =>
  new URL(url).pathname === '/' && !/^wss?:/.test(url) ? new URL(transport === 'sse' ? '/sse' : '/mcp', url).href : url

export const serviceOf = (id: string, service: Config['mcp_services'][string]): Service => ({
  id,
  name: service.name ?? id,
  description: service.description,
  ...(service.alias === undefined ? {} : { alias: service.alias }),
  upstream: { kind: 'http', url: withPath(service.url, service.transport), transport: service.transport },
  ...(service.oauth_provider === undefined ? {} : { provider: service.oauth_provider }),
  authRequired: service.auth_required,
  scopes: service.scopes,
  timeoutMs: service.timeout,
  maxBodyBytes: service.max_body,
  identity: service.identity,
})

/** `first`: services that the door brings itself. */
export const placementOf = (config: Config, first: readonly Service[]): Placement => ({
  services: [...first, ...Object.entries(config.mcp_services).map(([id, service]) => serviceOf(id, service))],
  defaultService: config.default_service,
  hosts: config.hosts,
  domainRoot: config.domain_root,
  baseDomain: config.base_domain,
})
