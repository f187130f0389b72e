// Calls that the straight way does not carry: clients of HTTP+SSE, and servers that speak it or a WebSocket.
import type { Config } from '../config/schema.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Upstream } from '../ports/calls.ts'
import type { Audit } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import type { Passed } from './passed.ts'
import { createLegacyFront } from './legacy-sse.ts'
import { createReach } from './reach.ts'
import type { Reach } from './reach.ts'
import type { Watch } from './watch.ts'

export interface DetourDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'lines' | 'defer'>
  readonly config: Pick<Config, 'max_concurrent_calls' | 'max_open_streams' | 'heartbeat'>
  readonly watch: Watch
  readonly record: Audit
}

export interface Detour {
  /** Where an admitted call goes instead; undefined for the straight way. */
  upstream(passed: Passed): Upstream | undefined
  readonly reach: (service: Service) => Reach
}

/** Whether a server is known to speak on a line. */
const onLine = (upstream: Service['upstream']): boolean => upstream.kind === 'http' && (upstream.transport === 'sse' || /^wss?:/.test(upstream.url))

export const createDetour = ({ runtime, config, watch, record }: DetourDeps): Detour => {
  const keepAliveMs = config.heartbeat * 1000
  const { lasting } = runtime.lines
  const reaches = new WeakMap<Service, Reach>()
  const reach = (service: Service): Reach => {
    const made = reaches.get(service) ?? createReach(service, { runtime, most: config.max_open_streams, keepAliveMs })
    reaches.set(service, made)
    return made
  }
  const front = createLegacyFront({ runtime, reach, watch, record, keepAliveMs, most: config.max_concurrent_calls })
  return {
    reach,
    upstream(passed) {
      const { call, principal, envelope } = passed
      const { address } = call
      if (address.transport === 'sse' && lasting) return front.upstream(passed)
      const { upstream } = address.service
      if (!lasting && (address.transport === 'sse' || onLine(upstream))) throw new Refusal('line.unsupported', address.path)
      if (upstream.kind !== 'http' || call.rest !== '' || !lasting) return undefined
      const opening = envelope !== undefined && envelope.messages[0]?.method === 'initialize'
      const way = reach(address.service)
      if (!way.needed(opening)) return undefined
      return { kind: 'local', url: 'http://line.invalid/mcp', handle: (request) => way.ask(request, principal) }
    },
  }
}
