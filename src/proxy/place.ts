// One service as the proxy knows it: everything that can be worked out before the first call comes.
import type { Signer } from '../ports/rooms.ts'
import type { Directory, Service } from '../ports/services.ts'
import { createIdentity } from './identity.ts'
import type { Identity } from './identity.ts'
import { createInbound } from './inbound.ts'
import type { Inbound } from './inbound.ts'
import { createTarget } from './target.ts'
import type { Target } from './target.ts'

export interface Place {
  readonly read: (rawHeaders: readonly string[]) => Inbound
  readonly identity: Identity
  readonly target: Target
}

export interface PlacesOptions {
  readonly directory: Directory
  readonly signer: Signer
  readonly now: () => number
}

/** Throws RangeError for a service whose identity headers cannot be sent. */
export const createPlaces = ({ directory, signer, now }: PlacesOptions): ((service: Service) => Place) => {
  const places = new Map(
    directory.services.map((service) => {
      const identity = createIdentity({ service, audience: `${directory.issuer}/${service.id}/mcp`, signer, now })
      return [service, { identity, read: createInbound(identity.reserved), target: createTarget(service) }] as const
    }),
  )
  return (service) => places.get(service) as Place
}
