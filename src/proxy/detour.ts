// Calls that the straight way does not carry: clients of HTTP+SSE, servers that speak it or a WebSocket, and clients and servers of different eras.
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Upstream } from '../ports/calls.ts'
import type { BerthCall } from '../ports/lines.ts'
import type { Service } from '../ports/services.ts'
import type { EndpointOf } from './endpoint.ts'
import { createEraWays, type EraWaysDeps } from './era-ways.ts'
import { createLegacyFront } from './legacy-sse.ts'
import type { LegacyDeps } from './legacy-sse.ts'
import { ownerOf } from './owner.ts'
import type { Passed } from './passed.ts'
import { createReach } from './reach.ts'
import type { Reach, ReachDeps } from './reach.ts'
import { askedOf } from './refuse.ts'

export interface DetourDeps extends Pick<LegacyDeps, 'watch' | 'record' | 'ask' | 'keepAliveMs' | 'budget'> {
  readonly runtime: LegacyDeps['runtime'] & ReachDeps['runtime'] & EraWaysDeps['runtime']
  readonly config: EraWaysDeps['config'] & { readonly max_concurrent_calls: number; readonly max_open_streams: number }
  readonly endpointOf: EndpointOf
  /** The id of the one session that may live here; absent: any number, with ids of their own. */
  readonly berth?: string | undefined
}

export interface Detour {
  /** Where an admitted call goes instead; undefined for the straight way. */
  upstream(passed: Passed): Upstream | undefined
  /** A call that was let in elsewhere, to the server on a line whose session lives here. Rejects with `Refusal`. */
  server(service: Service, request: Request, about: BerthCall): Promise<Response>
}

export const createDetour = ({ runtime, config, watch, record, ask, keepAliveMs, endpointOf, budget, berth }: DetourDeps): Detour => {
  const reaches = new WeakMap<Service, { readonly reach: Reach | undefined }>()
  const reachOf = (service: Service): Reach | undefined => {
    const made = reaches.get(service) ?? { reach: createReach(service, { runtime, endpointOf, watch, most: config.max_open_streams, keepAliveMs }) }
    reaches.set(service, made)
    return made.reach
  }
  const nextId = (): string => berth ?? encodeBase64url(runtime.random(32))
  const front = createLegacyFront({ runtime, ask, nextId, watch, record, keepAliveMs, most: config.max_concurrent_calls, budget })
  const eras = createEraWays({ runtime, config, keepAliveMs, reachOf, endpointOf })
  return {
    upstream(passed) {
      const { call, principal, envelope, session } = passed
      const { address } = call
      if (address.transport === 'sse') return front.upstream(passed)
      const crossing = eras.upstream(passed)
      if (crossing) return crossing
      const way = call.rest === '' ? reachOf(address.service) : undefined
      if (!way?.needed(session, envelope?.messages[0]?.method === 'initialize')) return undefined
      return { kind: 'local', url: 'http://line.invalid/mcp', handle: (request) => way.ask(request, { owner: ownerOf(principal), asked: askedOf(call.head, { address, principal }) }) }
    },
    server(service, request, about) {
      const way = reachOf(service)
      if (!way) throw new Refusal('session.unknown', `${service.id} is no server elsewhere`)
      return way.server(request, about, berth)
    },
  }
}
