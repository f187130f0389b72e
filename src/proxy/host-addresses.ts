// Services at hosts of their own: which host means which service, and under which path.
import { domainOfLabel, labelOfAlias, labelOfDomain } from '../kit/encoded-host.ts'
import type { Address, Service, ServiceHost } from '../ports/services.ts'

export interface HostNames {
  /** Service id by exact host, `host` or `host:port`. */
  readonly hosts?: Readonly<Record<string, string>> | undefined
  readonly domainRoot?: string | undefined
  readonly baseDomain?: string | undefined
}

/** The path under which a server's own clients know it; a host that stands for its domain keeps it. */
const ownPath = ({ upstream }: Service): string => {
  const path = upstream.kind === 'http' ? new URL(upstream.url).pathname.replace(/\/+$/, '') : ''
  return path === '' ? '/mcp' : path
}

const domainOf = ({ upstream }: Service): string => (upstream.kind === 'http' ? new URL(upstream.url).hostname : '')

interface Named {
  readonly host: string
  readonly service: Service
  readonly path: string
}

/** In the order in which they win: what the operator wrote, what encodes a domain, what follows from an id. */
const namesOf = (services: readonly Service[], { hosts = {}, domainRoot, baseDomain }: HostNames): readonly Named[] => {
  const exact = Object.entries(hosts).flatMap(([host, id]) => services.filter((service) => service.id === id).map((service) => ({ host, service, path: '/mcp' })))
  const encoded = services.flatMap((service) => {
    const labels = domainRoot === undefined ? [] : [labelOfDomain(domainOf(service)), service.alias === undefined ? undefined : labelOfAlias(service.alias)]
    return labels.flatMap((label) => (label === undefined ? [] : [{ host: `${label}.${domainRoot}`, service, path: ownPath(service) }]))
  })
  const below = services.flatMap((service) => {
    const label = service.id.replaceAll('_', '-')
    return baseDomain === undefined || label.endsWith('-') ? [] : [{ host: `${label}.${baseDomain}`, service, path: '/mcp' }]
  })
  return [...exact, ...encoded, ...below]
}

/** `host` and `host:port` as a Host header may write them, for an origin. */
export const spellings = (origin: string): readonly string[] => {
  const authority = origin.slice(origin.indexOf('://') + 3).toLowerCase()
  return /:\d+$/.test(authority) ? [authority] : [authority, `${authority}:${origin.startsWith('https:') ? 443 : 80}`]
}

export interface HostAddresses {
  readonly addresses: readonly Address[]
  /** By every spelling of a Host header, in lower case. */
  readonly byHost: ReadonlyMap<string, ServiceHost>
}

/**
 * Scheme and, where a host names none, port are the issuer's. Hosts of the issuer itself are never given away. Of two services with one host and one path the
 * first in the order of the configuration is reached there; hosts by exact name or id belong to one service alone.
 */
export const hostAddresses = (issuer: string, origins: readonly string[], services: readonly Service[], names: HostNames): HostAddresses => {
  const { protocol, port } = new URL(issuer)
  const own = new Set(origins.flatMap(spellings))
  const made = new Map<string, { origin: string; addresses: Address[]; paths: boolean }>()
  for (const { host, service, path } of namesOf(services, names)) {
    const { origin } = new URL(`${protocol}//${/:\d+$/.test(host) || port === '' ? host : `${host}:${port}`}`)
    if (spellings(origin).some((spelling) => own.has(spelling))) continue
    const encodes = names.domainRoot !== undefined && host.endsWith(`-enc.${names.domainRoot}`)
    const there = made.get(origin) ?? { origin, addresses: [], paths: encodes }
    if (there.addresses.length > 0 && !(there.paths && encodes)) continue
    if (there.addresses.some((address) => address.path === path)) continue
    there.addresses.push({ service, path, resource: `${origin}${path}` })
    made.set(origin, there)
  }
  const places = [...made.values()].map(({ origin, addresses }): ServiceHost => ({ origin, addresses }))
  return { addresses: places.flatMap(({ addresses }) => addresses), byHost: new Map(places.flatMap((place) => spellings(place.origin).map((host) => [host, place] as const))) }
}

/** For the operator's log: what a host under one of the domains would have meant. Undefined for a host that is not below them. */
export const unknownHost = (host: string, { domainRoot, baseDomain }: HostNames): string | undefined => {
  const name = host.toLowerCase().replace(/:\d+$/, '')
  const root = [domainRoot, baseDomain].find((domain) => domain !== undefined && name.endsWith(`.${domain}`))
  if (root === undefined) return undefined
  const domain = root === domainRoot ? domainOfLabel(name.slice(0, -root.length - 1)) : undefined
  return domain === undefined ? `no service at ${name.slice(0, 200)}` : `no service for ${domain}`
}
