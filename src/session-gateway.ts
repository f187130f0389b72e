// The place of one session: the proxied ways of this gateway for that session alone, for whoever keeps it alive between requests.
import { requestUrl } from './kit/http.ts'
import { Refusal } from './kit/refusal.ts'
import { createCounts } from './policy/rate-limit.ts'
import type { Refuse } from './ports/call.ts'
import type { Directory } from './ports/services.ts'
import type { CountAction, CountStore } from './ports/store.ts'
import type { SessionLocation } from './ports/transport.ts'
import { createFetchProxy, headOf } from './proxy/fetch-handler.ts'
import { type ProxyDeps, createProxy } from './proxy/proxy.ts'
import type { ServicesRefresh } from './services-refresh.ts'

export interface SessionGatewayDeps extends ProxyDeps {
  readonly directory: Directory
  readonly refuse: Refuse
  readonly catchUp: ServicesRefresh
}

/** `id`: of the session. */
export const createSessionGateway = (deps: SessionGatewayDeps, id: string): SessionLocation => {
  const { runtime, directory, refuse, catchUp } = deps
  const { sessionLocations: _, ...transports } = runtime.transports
  const proxy = createProxy({ ...deps, runtime: { ...runtime, transports }, sessionId: id })
  const client = createFetchProxy({ admit: proxy.admit, refuse })
  return {
    async client(request, visit) {
      const at = requestUrl(request.url)
      await catchUp.request(at.path, at.host)
      return client(request, headOf(request, visit, at), transports.fetch)
    },
    async server(request, about) {
      // Who sent it here knows the service already.
      await catchUp.request(`/${about.service}/mcp`)
      const service = directory.service(about.service)
      if (!service) throw new Refusal('session.unknown', `no service ${about.service}`)
      return proxy.server(service, request, about)
    },
  }
}

// The counts of all processes together, for whatever keeps them in one place.

interface SharedCountsDeps {
  readonly now: () => number
  readonly ledger: CountStore
}

/** Carries out actions as `SharedCounts` says. */
export const createSharedCounts = ({
  now,
  ledger,
}: SharedCountsDeps): ((actions: readonly CountAction[]) => number) =>
  createCounts({ now, loopback: false, ledger })
