// One service as the proxy knows it: everything that can be worked out before the first call comes.
import type { Config } from '../config/schema.ts'
import type { Credentials } from '../ports/connections.ts'
import type { Lines } from '../ports/lines.ts'
import type { Signer } from '../ports/rooms.ts'
import type { Directory, Service } from '../ports/services.ts'
import type { Endpoint, EndpointOf } from './endpoint.ts'
import { type Health, healthOf } from './health.ts'
import { createIdentity } from './identity.ts'
import type { Identity } from './identity.ts'
import { normalName } from './claiming-headers.ts'
import { createInbound } from './inbound.ts'
import type { Inbound } from './inbound.ts'
import { createTarget } from './target.ts'
import type { Target } from './target.ts'

export interface Place {
  readonly read: (rawHeaders: readonly string[]) => Inbound
  readonly identity: Identity
  readonly target: Target
  /** Of a server over HTTP. */
  readonly endpoint: Endpoint | undefined
  /** Of an HTTP server. */
  readonly health: Health | undefined
}

interface PlacesOptions {
  /** Where people sign in in more than one way, and a service takes people of more than one, their ids name the way. */
  readonly config: Pick<Config, 'oauth_providers' | 'local_users'>
  readonly directory: Directory
  readonly signer: Signer
  readonly credentials?: Pick<Credentials, 'names'> | undefined
  readonly lines: Lines
  readonly endpointOf: EndpointOf
  readonly now: () => number
}

/** Throws RangeError for a service whose identity headers cannot be sent. */
export const createPlaces = ({ config, directory, signer, credentials, lines, endpointOf, now }: PlacesOptions): ((service: Service) => Place) => {
  const places = new WeakMap<Service, Place>()
  const several = Object.keys(config.oauth_providers).length + (config.local_users.length > 0 ? 1 : 0) > 1
  const make = (service: Service): Place => {
    const shown = credentials?.names(service).map(normalName) ?? []
    const identity = createIdentity({ service, audience: `${directory.issuer}/${service.id}/mcp`, signer, fixed: shown, qualified: several && service.provider === undefined, now })
    const reserved = shown.length === 0 ? identity.reserved : new Set([...identity.reserved, ...shown])
    const endpoint = endpointOf(service)
    const read = createInbound(reserved, new Set(service.passHeaders?.map(normalName)))
    const place = { identity, read, target: createTarget(service, endpoint), endpoint, health: healthOf(service, { lines, now }) }
    places.set(service, place)
    return place
  }
  // What the configuration says is judged at the start; services that come later are judged when they come.
  for (const service of directory.services) make(service)
  return (service) => places.get(service) ?? make(service)
}
