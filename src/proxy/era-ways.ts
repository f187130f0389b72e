// Calls whose server is not known to speak their era, or known not to: the parts for each service, made when the first such call comes.
import { isModern, publishedVersions } from '../mcp/revisions.ts'
import type { Upstream } from '../ports/calls.ts'
import type { Service } from '../ports/services.ts'
import { type Crossing, createCrossing } from './era-crossing.ts'
import { createTell } from './era-exchange.ts'
import { createNewer, type NewerDeps } from './era-newer.ts'
import { createOlder, type OlderDeps } from './era-older.ts'
import { createScout } from './era-scout.ts'
import { createStraight, type StraightDeps } from './era-straight.ts'
import { createVerdicts } from './era-verdicts.ts'
import type { Passed } from './passed.ts'
import { askedOf, refusedOf } from './refuse.ts'

export interface EraWaysDeps extends Pick<StraightDeps, 'reachOf' | 'endpointOf'> {
  readonly runtime: NewerDeps['runtime'] & OlderDeps['runtime'] & StraightDeps['runtime']
  readonly config: { readonly protocol_versions?: readonly string[] | undefined }
  readonly keepAliveMs: number
}

export interface EraWays {
  /** Where an admitted call goes instead; undefined for every other way. */
  upstream(passed: Passed): Upstream | undefined
}

const crossingOf = (service: Service, { runtime, config, keepAliveMs, reachOf, endpointOf }: EraWaysDeps): Crossing | undefined => {
  const straight = createStraight(service, { runtime, reachOf, endpointOf })
  if (!straight) return undefined
  const tell = createTell({ ask: straight, service: service.id, name: service.name, timeoutMs: service.timeoutMs })
  const verdicts = createVerdicts(() => runtime.now())
  // Where nothing outlives the request that made it, nobody can be waited for, and nothing of the server's own accord be heard.
  const common = { runtime, tell, service: service.id, keepAliveMs, lasting: runtime.lines.berths === undefined }
  const older = createOlder({ ...common, versions: (config.protocol_versions ?? publishedVersions).filter((version) => !isModern(version)) })
  const newer = createNewer(common)
  const scout = createScout({ tell, about: runtime.about, verdicts, crossNewer: newer, beginOlder: older.begin })
  return createCrossing({ runtime, attend: service.upstream.kind === 'bridge' ? service.upstream.attend : undefined, straight, verdicts, scout, older, newer })
}

const urlOf = (upstream: Upstream): string => (upstream.kind === 'http' ? `${upstream.origin}${upstream.path}` : 'http://command.invalid/mcp')

export const createEraWays = (deps: EraWaysDeps): EraWays => {
  const crossings = new WeakMap<Service, { readonly crossing: Crossing | undefined }>()
  const of = (service: Service): Crossing | undefined => {
    const made = crossings.get(service) ?? { crossing: crossingOf(service, deps) }
    crossings.set(service, made)
    return made.crossing
  }
  return {
    upstream({ call, principal, session, envelope }) {
      if (call.rest !== '') return undefined
      const crossing = of(call.address.service)
      if (!crossing?.needed({ principal, modern: call.modern, session, method: envelope?.messages[0]?.method })) return undefined
      const asked = askedOf(call.head, { address: call.address, principal })
      const about = { principal, asked, refused: refusedOf(deps.runtime.log, asked) }
      return { kind: 'local', url: urlOf(call.place.target.upstream('', call.query)), handle: (request) => crossing.ask(request, about) }
    },
  }
}
