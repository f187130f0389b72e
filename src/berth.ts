// The place of one session: the proxied ways of this gateway for that session alone, for whoever keeps it alive between requests.
import { arrivedAt } from './kit/arrived.ts'
import { Refusal } from './kit/refusal.ts'
import type { CatchUp } from './catch-up.ts'
import type { Refuse } from './ports/calls.ts'
import type { Berth } from './ports/lines.ts'
import type { Runtime } from './ports/runtime.ts'
import type { Directory } from './ports/services.ts'
import { createFetchProxy, headOf } from './proxy/fetch-proxy.ts'
import { createWays, type WaysDeps } from './proxy/ways.ts'

export interface BerthDeps extends Omit<WaysDeps, 'berth'> {
  readonly runtime: Runtime
  readonly directory: Directory
  readonly refuse: Refuse
  readonly catchUp: CatchUp
}

/** `id`: of the session. */
export const createBerth = (deps: BerthDeps, id: string): Berth => {
  const { runtime, directory, refuse, catchUp } = deps
  const { berths: _, ...lines } = runtime.lines
  const ways = createWays({ ...deps, runtime: { ...runtime, lines }, berth: id })
  const client = createFetchProxy({ admit: ways.admit, refuse })
  return {
    async client(request, visit) {
      const at = arrivedAt(request.url)
      await catchUp.request(at.path, at.host)
      return client(request, headOf(request, visit, at), lines.fetch)
    },
    async server(request, about) {
      // Who sent it here knows the service already.
      await catchUp.request(`/${about.service}/mcp`)
      const service = directory.service(about.service)
      if (!service) throw new Refusal('session.unknown', `no service ${about.service}`)
      return ways.server(service, request, about)
    },
  }
}
