// The gateway inside one session object: it serves the calls of that session alone.
import { requestUrl } from './kit/http.ts'
import { Refusal } from './kit/refusal.ts'
import { createCounts } from './policy/rate-limit.ts'
import type { Refuse } from './ports/call.ts'
import type { Directory } from './ports/services.ts'
import type { CountAction, CountStore } from './ports/store.ts'
import type { SessionLocation } from './ports/runtime.ts'
import { createFetchProxy, headOf } from './proxy/fetch.ts'
import { type ProxyDeps, createProxy } from './proxy/proxy.ts'
import type { ServicesRefresh } from './services/registry.ts'

export interface SessionGatewayDeps extends ProxyDeps {
  readonly directory: Directory
  readonly refuse: Refuse
  readonly refresh: ServicesRefresh
}

/** `id`: of the session. */
export const createSessionGateway = (deps: SessionGatewayDeps, id: string): SessionLocation => {
  const { runtime, directory, refuse, refresh } = deps
  const { sessionLocations: _, ...transports } = runtime.transports
  const proxy = createProxy({ ...deps, runtime: { ...runtime, transports }, sessionId: id })
  const client = createFetchProxy({ makeCall: proxy.makeCall, refuse })
  return {
    async client(request, context) {
      const at = requestUrl(request.url)
      await refresh.request(at.path, at.host)
      return client(request, headOf(request, context, at), transports.fetch)
    },
    async server(request, about) {
      // The sender already knows the service.
      await refresh.request(`/${about.service}/mcp`)
      const service = directory.service(about.service)
      if (!service) throw new Refusal('session.unknown', `no service ${about.service}`)
      return proxy.server(service, request, about)
    },
  }
}

// The rate-limit counts of all processes, for an object that keeps them in one place.

interface SharedCountsDeps {
  readonly now: () => number
  readonly ledger: CountStore
}

/** Applies the actions of `SharedCounts`. */
export const createSharedCounts = ({
  now,
  ledger,
}: SharedCountsDeps): ((actions: readonly CountAction[]) => number) =>
  createCounts({ now, loopback: false, ledger })
