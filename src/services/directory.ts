// The addresses of services: a host and path, or a resource indicator, leads to one address. Pure functions
// of the current configuration.
import { type EncodedHosts, domainOfLabel, encodedHosts } from '../kit/encoded-hosts.ts'
import { hostSpellings, isNormalPath } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Address, Directory, Service, ServiceHost } from '../ports/services.ts'

// Services at hosts of their own: which host means which service, and under which path.

interface HostNames {
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

interface HostAddresses {
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
const hostAddresses = (
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
const unknownHost = (host: string, { domainRoot, baseDomain }: HostNames): string | undefined => {
  const name = host.toLowerCase().replace(/:\d+$/, '')
  const root = [domainRoot, baseDomain].find((domain) => domain !== undefined && name.endsWith(`.${domain}`))
  if (root === undefined) return undefined
  const domain = root === domainRoot ? domainOfLabel(name.slice(0, -root.length - 1)) : undefined
  return domain === undefined ? `no service at ${name.slice(0, 200)}` : `no service for ${domain}`
}

// Addresses by path, within one origin.

const absolute = /^([a-z][a-z0-9+.-]*):\/\/([^/?#@\\\s]+)(\/[^?#\\\s]*)?$/i

/**
 * Scheme and host in lower case without the default port, and the path; undefined for what is no plain
 * http(s) URL.
 */
const splitUrl = (url: string): { readonly origin: string; readonly path: string } | undefined => {
  const parts = absolute.exec(url)
  if (!parts) return undefined
  const scheme = (parts[1] as string).toLowerCase()
  if (scheme !== 'http' && scheme !== 'https') return undefined
  const host = (parts[2] as string).toLowerCase().replace(scheme === 'https' ? /:443$/ : /:80$/, '')
  return { origin: `${scheme}://${host}`, path: parts[3] ?? '' }
}

const withoutSlash = (path: string): string => (path.endsWith('/') ? path.slice(0, -1) : path)

interface Located {
  readonly address: Address
  readonly rest: string
}

/** Addresses of one origin by path: the exact one, or the longest above the path. */
const createFinder = (addresses: readonly Address[]): ((path: string) => Located | undefined) => {
  const exact = new Map(
    addresses.flatMap((address) =>
      [address.path, `${address.path}/`].map((path) => [path, { address, rest: '' }] as const),
    ),
  )
  const byPath = new Map(addresses.map((address) => [address.path, address]))
  const most = Math.max(0, ...addresses.map(({ path }) => path.length))
  const below = (path: string): Located | undefined => {
    if (!isNormalPath(path)) return undefined
    for (let end = path.lastIndexOf('/', most); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const address = byPath.get(path.slice(0, end))
      if (!address) continue
      const rest = path.slice(end)
      // Metadata below an endpoint is the gateway's own to answer (RFC 9728 §3.1 as clients probe it).
      return rest === '/.well-known' || rest.startsWith('/.well-known/') ? undefined : { address, rest }
    }
    return undefined
  }
  return (path) => exact.get(path) ?? below(path)
}

/** What may change while the gateway runs. */
export interface ServicePlan extends HostNames {
  readonly services: readonly Service[]
  /** Id of the service at `/mcp`. Absent: the only service, when there is one. */
  readonly defaultService?: string | undefined
}

interface DirectoryOptions extends ServicePlan {
  /** Added services have not been read yet. */
  readonly incomplete?: boolean
  readonly issuer: string
  readonly origins: readonly string[]
}

export interface LiveDirectory extends Directory {
  /** Whether this very service is among them. */
  serves(service: Service): boolean
  /** Called once the added services are known. */
  complete(): void
  /** Services whose host and path another service has already. */
  readonly clashes: EncodedHosts['clashes']
  /** Replaces services and hosts. Returns how paths were located until now. */
  replace(plan: ServicePlan): Directory['locate']
}

interface AddressMap {
  readonly plan: ServicePlan
  readonly addresses: readonly Address[]
  readonly only: Address | undefined
  readonly byId: ReadonlyMap<string, Service>
  readonly byPath: ReadonlyMap<string, Address>
  readonly byResource: ReadonlyMap<string, Address>
  readonly byHost: ReadonlyMap<string, ServiceHost>
  readonly clashes: EncodedHosts['clashes']
  readonly find: (path: string) => Located | undefined
  readonly findAt: ReadonlyMap<ServiceHost, (path: string) => Located | undefined>
}

const createAddressMap = (issuer: string, origins: readonly string[], plan: ServicePlan): AddressMap => {
  const { services, defaultService } = plan
  const byId = new Map(services.map((service) => [service.id, service]))
  const at = (service: Service, path: string): Address => ({ service, path, resource: `${issuer}${path}` })
  const main =
    defaultService === undefined
      ? services.length === 1
        ? services[0]
        : undefined
      : byId.get(defaultService)
  const streamable = [
    ...services.map((service) => at(service, `/${service.id}/mcp`)),
    ...(main ? [at(main, '/mcp')] : []),
  ]
  const legacy = [
    ...services.map((service) => at(service, `/${service.id}/sse`)),
    ...(main ? [at(main, '/sse')] : []),
  ].map((address) => ({ ...address, transport: 'sse' as const }))
  const paths: readonly Address[] = [...streamable, ...legacy]
  const { addresses, byHost, clashes } = hostAddresses(issuer, origins, services, plan)
  const byPath = new Map(paths.map((address) => [address.path, address]))
  return {
    plan,
    addresses: [...paths, ...addresses],
    only: main ? byPath.get(`/${main.id}/mcp`) : undefined,
    byId,
    byPath,
    byResource: new Map(addresses.map((address) => [address.resource, address])),
    byHost,
    clashes,
    find: createFinder(paths),
    findAt: new Map([...byHost.values()].map((host) => [host, createFinder(host.addresses)])),
  }
}

const hostIn = ({ byHost }: AddressMap, host: string): ServiceHost | undefined =>
  byHost.get(host) ?? byHost.get(host.toLowerCase())

const locateIn = (map: AddressMap, path: string, host: string | undefined): Located | undefined => {
  const there = host === undefined || map.byHost.size === 0 ? undefined : hostIn(map, host)
  return there ? map.findAt.get(there)?.(path) : map.find(path)
}

export const createDirectory = ({
  issuer,
  origins,
  incomplete = false,
  ...plan
}: DirectoryOptions): LiveDirectory => {
  const own = new Set(origins.map((origin) => origin.toLowerCase()))
  let map = createAddressMap(issuer, origins, plan)
  let known = !incomplete
  const assertComplete = (): void => {
    if (!known)
      throw new Refusal('storage.unavailable', 'added services not loaded yet', {
        headers: { 'retry-after': '1' },
      })
  }
  const found = <T>(one: T | undefined): T | undefined => {
    if (one === undefined) assertComplete()
    return one
  }
  const hostOf = (host: string): ServiceHost | undefined => hostIn(map, host)

  return {
    issuer,
    origins,
    get services() {
      return map.plan.services
    },
    get addresses() {
      return map.addresses
    },
    get only() {
      return map.only
    },
    get clashes() {
      return map.clashes
    },
    get hosted() {
      return map.byHost.size > 0
    },
    assertComplete,
    complete: () => void (known = true),
    serves: (service) => map.byId.get(service.id) === service,
    service: (id) => found(map.byId.get(id)),
    host: hostOf,
    unknownHost: (host) => (hostOf(host) ? undefined : unknownHost(host, map.plan)),
    resolve(resource) {
      if (resource.length > 2048) return undefined
      const url = splitUrl(resource)
      if (!url) return undefined
      const path = withoutSlash(url.path)
      return found(own.has(url.origin) ? map.byPath.get(path) : map.byResource.get(`${url.origin}${path}`))
    },
    locate: (path, host) => locateIn(map, path, host),
    replace(next) {
      const before = map
      map = createAddressMap(issuer, origins, next)
      return (path, host) => locateIn(before, path, host)
    },
  }
}
