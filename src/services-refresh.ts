// What a request waits for to know which services were added elsewhere. On Node a timer looks; where nothing runs between requests (Workers), requests look themselves.
import { type OAuthEndpoint, endpoints } from './oauth/endpoints.ts'
import type { Runtime } from './ports/runtime.ts'
import type { FindAddress } from './ports/services.ts'
import type { LiveDirectory } from './services/directory.ts'
import type { ServiceRegistry } from './services/live.ts'

interface CatchUpDeps {
  readonly directory: LiveDirectory
  readonly supply: Pick<ServiceRegistry, 'fresh' | 'grows' | 'serving'>
  readonly defer: Runtime['defer']
}

export interface ServicesRefresh {
  /** Resolves when what this request is about is known as well as it can be; undefined when it is already. Never rejects. */
  readonly request: (path: string, host?: string) => Promise<void> | undefined
  /** The address that a resource indicator names. Throws `storage.unavailable` while nobody knows. */
  readonly find: FindAddress
}

/** For a service that was added, and may be gone, or that is not there, and may have been added a moment ago. */
const soonMs = 500
/** For what only a configuration changes. */
const quietMs = 30_000

/** Steps of a login, and what no service has a part in. Services that they name by a resource indicator are found by `find`. */
const steps: ReadonlySet<string> = new Set([
  ...Object.values<OAuthEndpoint>(endpoints).flatMap(({ path, alias = path }) => [path, alias]),
  '/oauth/callback',
  '/callback',
  '/connect/callback',
  '/login',
  '/logout',
  '/.well-known/oauth-authorization-server',
  '/.well-known/openid-configuration',
  '/health',
  '/healthz',
  '/readyz',
])

const metadata = '/.well-known/oauth-protected-resource/'
/** The address of a service that a path is about. */
const subjectOf = (path: string): string =>
  path.startsWith(metadata) ? path.slice(metadata.length - 1) : path.replace(/\/ws$/, '/mcp')

export const createServicesRefresh = ({ directory, supply, defer }: CatchUpDeps): ServicesRefresh => {
  const beside = (): undefined => {
    const looking = supply.fresh(quietMs)
    if (looking) defer(looking)
    return undefined
  }
  return {
    request(path, host) {
      const service = directory.locate(subjectOf(path), host)?.address.service
      if (service) return supply.serving.record(service) === undefined ? beside() : supply.fresh(soonMs)
      return steps.has(path) && supply.grows !== undefined ? beside() : supply.fresh(soonMs)
    },
    async find(resource) {
      if (supply.grows === undefined) await supply.fresh(soonMs)
      const known = directory.resolve(resource)
      if (known && supply.serving.record(known.service) === undefined) return known
      await supply.fresh(soonMs)
      return directory.resolve(resource)
    },
  }
}
