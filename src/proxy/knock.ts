// A request at the door: read, found its service, and come from where it may. Nobody has been asked yet who it is.
import type { Config } from '../config/schema.ts'
import { Refusal } from '../kit/refusal.ts'
import { isModern } from '../mcp/revisions.ts'
import type { Head } from '../ports/calls.ts'
import type { Address, Directory, Service } from '../ports/services.ts'
import type { Cors } from './cors.ts'
import { createFront } from './front.ts'
import type { Inbound } from './inbound.ts'
import type { Place } from './place.ts'
import { isNormalQuery } from './target.ts'

export interface Knock {
  readonly head: Head
  /** The origin of ours that the caller used. */
  readonly origin: string
  readonly address: Address
  /** What follows the endpoint's path: `''` or `/rest`. */
  readonly rest: string
  readonly query: string
  readonly place: Place
  readonly inbound: Inbound
  /** A revision without sessions, by the header; a body that says otherwise is refused. */
  readonly modern: boolean
  /** Epoch ms. */
  readonly startedAt: number
}

export interface KnockDeps {
  readonly config: Pick<Config, 'allowed_hosts'>
  readonly directory: Directory
  readonly cors: Cors
  readonly placeOf: (service: Service) => Place
  readonly now: () => number
}

/**
 * A page says its origin; elements of a page (`<script>`, `<iframe>`, `<object>`) say only that they come from another
 * site. These carry no token, so that they matter at services without login alone.
 */
const checkOrigin = ({ origin, site }: Inbound, { authRequired, id }: Service, cors: Cors): void => {
  if (origin === undefined) {
    if (authRequired || site === undefined || site === 'same-origin' || site === 'none') return
    throw new Refusal('request.origin', `Sec-Fetch-Site ${site.slice(0, 40)} at ${id}, which needs no login`, { about: { service: id } })
  }
  if (cors.allows(origin, !authRequired)) return
  const hint = authRequired ? '' : `; ${id} needs no login: list the origin in cors.allow_origins ("*" does not count)`
  throw new Refusal('request.origin', `Origin ${origin.slice(0, 200)}${hint}`, { about: { service: id } })
}

/** Throws `request.host`, `request.host-unknown`, `route.unknown` (`storage.unavailable` while the services are not known) or `request.origin`, in this order. */
export const createKnock = ({ config, directory, cors, placeOf, now }: KnockDeps): ((head: Head) => Knock) => {
  const front = createFront({ config, directory })
  const encrypted = directory.issuer.startsWith('https:')
  return (head) => {
    const origin = front.host(head.host)
    if (encrypted && head.plainHttp === true) throw new Refusal('request.plain-http', head.target.slice(0, 200))
    const mark = head.target.indexOf('?')
    const query = mark === -1 ? '' : head.target.slice(mark + 1)
    const located = directory.locate(mark === -1 ? head.target : head.target.slice(0, mark), head.host)
    if (!located) directory.assertComplete()
    if (!located || !isNormalQuery(query)) throw new Refusal('route.unknown', head.target.slice(0, 200))
    const { service } = located.address
    const place = placeOf(service)
    const inbound = place.read(head.rawHeaders)
    checkOrigin(inbound, service, cors)
    const version = inbound.versions[0]
    return { head, origin, address: located.address, rest: located.rest, query, place, inbound, modern: version !== undefined && isModern(version), startedAt: now() }
  }
}
