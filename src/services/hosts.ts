// Services at hosts of their own: which host means which service, and under which path.
import { hostSpellings } from '../kit/http.ts'
import { type EncodedHosts, domainOfLabel, encodedHosts } from '../kit/encoded-hosts.ts'
import type { Address, Service, ServiceHost } from '../ports/services.ts'

export interface HostNames {
  /** Service id by exact host, `host` or `host:port`. */
  readonly hosts?: Readonly<Record<string, string>> | undefined
  readonly domainRoot?: string | undefined
  readonly baseDomain?: string | undefined
}

/** One service at one host. `transport`: what the server's own clients speak at `path`. */
interface Named {
  readonly kind: 'exact' | 'encoded' | 'below'
  readonly host: string
  readonly service: Service
  readonly path: string
  readonly transport?: Address['transport']
}

/**
 * At an encoded host a server that ends in `/sse` is met there by the clients of HTTP+SSE it was made for.
 */
const spoken = ({ upstream }: Service, path: string): Pick<Named, 'transport'> =>
  path.endsWith('/sse') && upstream.kind === 'http' && upstream.transport !== 'streamable'
    ? { transport: 'sse' }
    : {}

const encodedOf = (services: readonly Service[]): EncodedHosts =>
  encodedHosts(
    services.map(({ id, alias, upstream }) => ({
      id,
      url: upstream.kind === 'http' ? new URL(upstream.url) : undefined,
      alias,
    })),
  )

/**
 * In the order in which they win: what the operator wrote, what encodes a domain, what follows from an id.
 */
const namesOf = (
  services: readonly Service[],
  { hosts = {}, domainRoot, baseDomain }: HostNames,
  places: EncodedHosts['places'],
): readonly Named[] => {
  const byId = new Map(services.map((service) => [service.id, service]))
  const exact = Object.entries(hosts).flatMap(([host, id]): Named[] =>
    services
      .filter((service) => service.id === id)
      .map((service) => ({ kind: 'exact', host, service, path: '/mcp' })),
  )
  const encoded = places.map(({ id, label, path }): Named => {
    const service = byId.get(id) as Service
    return { kind: 'encoded', host: `${label}.${domainRoot}`, service, path, ...spoken(service, path) }
  })
  const below = services.flatMap((service): Named[] => {
    const label = service.id.replaceAll('_', '-')
    return baseDomain === undefined || label.endsWith('-')
      ? []
      : [{ kind: 'below', host: `${label}.${baseDomain}`, service, path: '/mcp' }]
  })
  return [...exact, ...encoded, ...below]
}

/** Where the clients of the other transport are met: the sibling of the endpoint, as `/sse` is of `/mcp`. */
const sibling = ({ path, transport }: Named): Pick<Address, 'path' | 'transport'> =>
  transport === 'sse'
    ? { path: path.replace(/\/sse$/, '/mcp') }
    : { path: path.endsWith('/mcp') ? path.replace(/\/mcp$/, '/sse') : '/sse', transport: 'sse' }

export interface HostAddresses {
  readonly addresses: readonly Address[]
  /** By every spelling of a Host header, in lower case. */
  readonly byHost: ReadonlyMap<string, ServiceHost>
  /** Services that are not at a host that another one (`by`) has; `label` is the host, or its first label. */
  readonly clashes: EncodedHosts['clashes']
}

interface Made {
  readonly origin: string
  readonly kind: Named['kind']
  /** Whose host it is, in the order of their claims. */
  readonly named: Named[]
}

const addressesOf = ({ origin, named }: Made): Address[] => {
  const addresses: Address[] = []
  // What a server itself has comes before what follows from the paths of others.
  for (const { service, path, transport } of [
    ...named,
    ...named.map((each) => ({ service: each.service, transport: undefined, ...sibling(each) })),
  ]) {
    if (!addresses.some((address) => address.path === path))
      addresses.push({
        service,
        path,
        resource: `${origin}${path}`,
        ...(transport === undefined ? {} : { transport }),
      })
  }
  return addresses
}

/**
 * Scheme and, where a host names none, port are the issuer's. Hosts of the issuer itself are never given
 * away. Hosts by exact name or id belong to one service alone, encoded ones to every server of their domain.
 */
export const hostAddresses = (
  issuer: string,
  origins: readonly string[],
  services: readonly Service[],
  names: HostNames,
): HostAddresses => {
  const { protocol, port } = new URL(issuer)
  const own = new Set(origins.flatMap(hostSpellings))
  const made = new Map<string, Made>()
  const hidden: EncodedHosts['clashes'][number][] = []
  const { places: encoded, clashes } = encodedOf(names.domainRoot === undefined ? [] : services)
  for (const named of namesOf(services, names, encoded)) {
    const { host, kind } = named
    const { origin } = new URL(`${protocol}//${/:\d+$/.test(host) || port === '' ? host : `${host}:${port}`}`)
    if (hostSpellings(origin).some((spelling) => own.has(spelling))) continue
    const there = made.get(origin)
    const [first] = there?.named ?? []
    if (!there) made.set(origin, { origin, kind, named: [named] })
    else if (there.kind === 'encoded' && kind === 'encoded') there.named.push(named)
    // What the operator wrote under `hosts` is meant to win.
    else if (kind === 'below' && there.kind === kind && first)
      hidden.push({ id: named.service.id, label: host, path: named.path, by: first.service.id })
  }
  const hosts = [...made.values()].map((each): ServiceHost => ({
    origin: each.origin,
    addresses: addressesOf(each),
  }))
  return {
    clashes: [...clashes, ...hidden],
    addresses: hosts.flatMap(({ addresses }) => addresses),
    byHost: new Map(hosts.flatMap((each) => hostSpellings(each.origin).map((host) => [host, each] as const))),
  }
}

/**
 * For the operator's log: what a host under one of the domains would have meant. Undefined for a host that is
 * not below them.
 */
export const unknownHost = (host: string, { domainRoot, baseDomain }: HostNames): string | undefined => {
  const name = host.toLowerCase().replace(/:\d+$/, '')
  const root = [domainRoot, baseDomain].find((domain) => domain !== undefined && name.endsWith(`.${domain}`))
  if (root === undefined) return undefined
  const domain = root === domainRoot ? domainOfLabel(name.slice(0, -root.length - 1)) : undefined
  return domain === undefined ? `no service at ${name.slice(0, 200)}` : `no service for ${domain}`
}
