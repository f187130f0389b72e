// Which encoded host and path mean which server, and which servers could not be told apart there.
import { labelOfAlias, labelOfDomain } from './encoded-host.ts'

export interface Encodable {
  readonly id: string
  /** The MCP endpoint, path included; undefined for a server that is at no URL. */
  readonly url: URL | undefined
  readonly alias: string | undefined
}

export interface EncodedPlace {
  readonly id: string
  /** One DNS label. */
  readonly label: string
  /** The path under which a server's own clients know it, without a final slash. */
  readonly path: string
}

export interface EncodedPlaces {
  /** In the order of the servers. */
  readonly places: readonly EncodedPlace[]
  /** Servers that would be where another one (`by`) is already. */
  readonly clashes: readonly (EncodedPlace & { readonly by: string })[]
}

/** A host that stands for a server's domain keeps the path its own clients know. */
const pathOf = (url: URL | undefined): string => url?.pathname.replace(/\/+$/, '') || '/mcp'

interface Claim extends EncodedPlace {
  /** The server has a host of its own besides, and leaves the one of its domain to others. */
  readonly yields: boolean
}

const claimsOf = ({ id, url, alias }: Encodable): readonly Claim[] => {
  const path = pathOf(url)
  const domain = url && labelOfDomain(url.hostname)
  return [
    ...(domain === undefined ? [] : [{ id, label: domain, path, yields: alias !== undefined }]),
    ...(alias === undefined ? [] : [{ id, label: labelOfAlias(alias), path, yields: false }]),
  ]
}

/**
 * A domain means the server that has nothing but its domain. Several that have an alias each share the domain of none: it means nobody then. Two that have only the
 * same domain and path clash.
 */
export const encodedPlaces = (servers: readonly Encodable[]): EncodedPlaces => {
  const claims = servers.flatMap(claimsOf)
  const byPlace = new Map<string, Claim[]>()
  for (const claim of claims) {
    const place = `${claim.label}${claim.path}`
    const there = byPlace.get(place)
    if (there) there.push(claim)
    else byPlace.set(place, [claim])
  }
  const holder = ({ label, path }: Claim): Claim | undefined => {
    const there = byPlace.get(`${label}${path}`) ?? []
    return there.find(({ yields }) => !yields) ?? (there.length === 1 ? there[0] : undefined)
  }
  const plain = ({ id, label, path }: Claim): EncodedPlace => ({ id, label, path })
  return {
    places: claims.filter((claim) => holder(claim) === claim).map(plain),
    clashes: claims.flatMap((claim) => {
      const held = holder(claim)
      return held === undefined || held === claim || claim.yields ? [] : [{ ...plain(claim), by: held.id }]
    }),
  }
}
