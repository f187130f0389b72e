// A request at the door: read, found its service, and come from where it may. Nobody has been asked yet who it is.
import type { Config } from '../config/schema.ts'
import { isHost } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { isModern } from '../mcp/revisions.ts'
import type { Head, Upstream } from '../ports/call.ts'
import type { UpstreamCredentials, Signer } from '../ports/modules.ts'
import type { Address, Directory, Service } from '../ports/services.ts'
import type { RuntimeTransports } from '../ports/transport.ts'
import { hostSpellings } from '../kit/http.ts'
import { type CircuitBreaker, circuitBreakerOf } from './circuit-breaker.ts'
import type { Cors } from './cors.ts'
import { type Identity, createIdentity } from './identity-headers.ts'
import { type RequestHeaders, createRequestHeaders, normalName } from './request-headers.ts'
import type { Endpoint, EndpointOf, EndpointPath } from './upstream-endpoint.ts'

// Under which names the gateway answers: the Host check against DNS rebinding (MCP transports, security warning) and Host confusion.

export interface HostCheckOptions {
  /** `allowed_hosts`: further `host` or `host:port`; one without a port holds for every port. */
  readonly config: Pick<Config, 'allowed_hosts'>
  readonly directory: Pick<Directory, 'origins' | 'host' | 'unknownHost' | 'assertComplete'>
}

export interface HostCheck {
  /**
   * The origin that this Host means: one of the gateway's, or that of a service's own host. Throws `request.host` for a malformed value, `route.unknown` for a
   * host below one of the services' domains at which there is no service, and `request.host-unknown` for any other name the gateway does not go by.
   */
  host(host: string | undefined): string
}

export const createHostCheck = ({ config, directory }: HostCheckOptions): HostCheck => {
  const whole = new Map<string, string>()
  const anyPort = new Set<string>()
  for (const origin of directory.origins) {
    for (const spelling of hostSpellings(origin)) whole.set(spelling, origin)
  }
  // A proxy in front may send the name without the port. It is the name that protects against rebinding.
  for (const origin of directory.origins) {
    const name = (hostSpellings(origin)[0] as string).replace(/:\d+$/, '')
    if (!whole.has(name)) whole.set(name, origin)
  }
  const issuer = directory.origins[0] as string
  const publicHost = new URL(issuer).host
  for (const entry of config.allowed_hosts) {
    if (/:\d+$/.test(entry)) whole.set(entry.toLowerCase(), issuer)
    else anyPort.add(entry.toLowerCase())
  }
  return {
    host(host) {
      const known = host === undefined ? undefined : whole.get(host)
      if (known !== undefined) return known
      if (host === undefined || !isHost(host)) throw new Refusal('request.host', String(host).slice(0, 80))
      const name = host.toLowerCase()
      const origin =
        whole.get(name) ??
        directory.host(name)?.origin ??
        (anyPort.has(name.replace(/:\d+$/, '')) ? issuer : undefined)
      if (origin !== undefined) return origin
      directory.assertComplete()
      const nobody = directory.unknownHost(name)
      if (nobody !== undefined) throw new Refusal('route.unknown', nobody)
      throw new Refusal('request.host-unknown', `${name} instead of ${publicHost}`, {
        say: `The public host of this gateway is ${publicHost}, but the request was for ${name}. Make the reverse proxy forward the original Host header, or add ${name} to allowed_hosts.`,
      })
    },
  }
}

// Where a call goes: the configured endpoint, what follows it in the request, and a query that carries no token.

/** The same name however it is encoded; undefined when it cannot be read. */
const nameOf = (pair: string): string | undefined => {
  const end = pair.indexOf('=')
  try {
    return decodeURIComponent((end === -1 ? pair : pair.slice(0, end)).replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

/** The caller's query without parameters that are not theirs to send: `access_token` (RFC 6750 §2.3) and those the operator configured. */
const cleaned = (query: string, reserved: ReadonlySet<string>): string =>
  query
    .split('&')
    .filter((pair) => {
      const name = nameOf(pair)
      return pair !== '' && name !== undefined && name !== 'access_token' && !reserved.has(name)
    })
    .join('&')

/** A query that may be sent on: visible ASCII without a fragment or a backslash. */
export const isNormalQuery = (query: string): boolean =>
  query.length <= 8192 && /^[\x21\x22\x24-\x5b\x5d-\x7e]*$/.test(query)

export interface Target {
  /** The endpoint as an operator would recognise it: no userinfo, no query. */
  readonly shown: string
  upstream(rest: string, query: string): Upstream
}

/** `endpoint`: where the server's endpoint is found; absent: where the URL says. */
export const createTarget = (service: Service, endpoint?: Endpoint): Target => {
  if (service.upstream.kind === 'local') {
    const { handle } = service.upstream
    const base = 'http://local.invalid/mcp'
    return {
      shown: 'this process',
      upstream: (rest, query) => ({
        kind: 'local',
        handle,
        url: `${base}${rest}${query === '' ? '' : `?${cleaned(query, new Set())}`}`,
      }),
    }
  }
  if (service.upstream.kind === 'bridge') {
    const bridge: Upstream = { kind: 'bridge', carry: service.upstream.carry }
    return { shown: 'its command', upstream: () => bridge }
  }
  const url = new URL(service.upstream.url)
  const place = {
    kind: 'http',
    origin: url.origin,
    host: url.host,
    ...(service.upstream.publicOnly ? { publicOnly: true as const } : {}),
  } as const
  const at = (path: EndpointPath) => {
    const own = path.search.slice(1)
    return {
      path,
      own,
      reserved: new Set(own.split('&').map((pair) => nameOf(pair) ?? '')),
      trimmed: path.pathname.endsWith('/') ? path.pathname.slice(0, -1) : path.pathname,
      plain: { ...place, path: `${path.pathname}${path.search}` } as Upstream,
    }
  }
  let found = at({ pathname: url.pathname, search: url.search })
  return {
    shown: `${url.origin}${url.pathname}`,
    upstream(rest, query) {
      const path = endpoint?.current()
      if (path && path !== found.path) found = at(path)
      if (rest === '' && query === '') return found.plain
      const { own, reserved, trimmed } = found
      const whole = [own, cleaned(query, reserved)].filter(Boolean).join('&')
      return {
        ...place,
        path: `${rest === '' ? found.path.pathname : trimmed + rest}${whole === '' ? '' : `?${whole}`}`,
      }
    },
  }
}

// One service as the proxy knows it: everything that can be worked out before the first call comes.

export interface ServiceContext {
  readonly read: (rawHeaders: readonly string[]) => RequestHeaders
  readonly identity: Identity
  readonly target: Target
  /** Of a server over HTTP. */
  readonly endpoint: Endpoint | undefined
  /** Of an HTTP server. */
  readonly health: CircuitBreaker | undefined
}

interface PlacesOptions {
  /** Where people sign in in more than one way, and a service takes people of more than one, their ids name the way. */
  readonly config: Pick<Config, 'oauth_providers' | 'local_users'>
  readonly directory: Directory
  readonly signer: Signer
  readonly credentials?: Pick<UpstreamCredentials, 'names'> | undefined
  readonly transports: RuntimeTransports
  readonly endpointOf: EndpointOf
  readonly now: () => number
}

/** Throws RangeError for a service whose identity headers cannot be sent. */
export const createServiceContexts = ({
  config,
  directory,
  signer,
  credentials,
  transports,
  endpointOf,
  now,
}: PlacesOptions): ((service: Service) => ServiceContext) => {
  const places = new WeakMap<Service, ServiceContext>()
  const several = Object.keys(config.oauth_providers).length + (config.local_users.length > 0 ? 1 : 0) > 1
  const make = (service: Service): ServiceContext => {
    const shown = credentials?.names(service).map(normalName) ?? []
    const identity = createIdentity({
      service,
      audience: `${directory.issuer}/${service.id}/mcp`,
      signer,
      fixed: shown,
      qualified: several && service.provider === undefined,
      now,
    })
    const reserved = shown.length === 0 ? identity.reserved : new Set([...identity.reserved, ...shown])
    const endpoint = endpointOf(service)
    const read = createRequestHeaders(reserved, new Set(service.passHeaders?.map(normalName)))
    const place = {
      identity,
      read,
      target: createTarget(service, endpoint),
      endpoint,
      health: circuitBreakerOf(service, { transports, now }),
    }
    places.set(service, place)
    return place
  }
  // What the configuration says is judged at the start; services that come later are judged when they come.
  for (const service of directory.services) make(service)
  return (service) => places.get(service) ?? make(service)
}

export interface ResolvedRequest {
  readonly head: Head
  /** The origin of ours that the caller used. */
  readonly origin: string
  readonly address: Address
  /** What follows the endpoint's path: `''` or `/rest`. */
  readonly rest: string
  readonly query: string
  readonly place: ServiceContext
  readonly inbound: RequestHeaders
  /** A revision without sessions, by the header; a body that says otherwise is refused. */
  readonly modern: boolean
  /** Epoch ms. */
  readonly startedAt: number
}

export interface ResolveDeps {
  readonly config: Pick<Config, 'allowed_hosts'>
  readonly directory: Directory
  readonly cors: Cors
  readonly placeOf: (service: Service) => ServiceContext
  readonly now: () => number
}

/**
 * A page says its origin; elements of a page (`<script>`, `<iframe>`, `<object>`) say only that they come from another
 * site. These carry no token, so that they matter at services without login alone.
 */
const checkOrigin = ({ origin, site }: RequestHeaders, { authRequired, id }: Service, cors: Cors): void => {
  if (origin === undefined) {
    if (authRequired || site === undefined || site === 'same-origin' || site === 'none') return
    throw new Refusal(
      'request.origin',
      `Sec-Fetch-Site ${site.slice(0, 40)} at ${id}, which needs no login`,
      { about: { service: id } },
    )
  }
  if (cors.allows(origin, !authRequired)) return
  const hint = authRequired
    ? ''
    : `; ${id} needs no login: list the origin in cors.allow_origins ("*" does not count)`
  throw new Refusal('request.origin', `Origin ${origin.slice(0, 200)}${hint}`, { about: { service: id } })
}

/** Throws `request.host`, `request.host-unknown`, `route.unknown` (`storage.unavailable` while the services are not known) or `request.origin`, in this order. */
export const createResolve = ({
  config,
  directory,
  cors,
  placeOf,
  now,
}: ResolveDeps): ((head: Head) => ResolvedRequest) => {
  const front = createHostCheck({ config, directory })
  const encrypted = directory.issuer.startsWith('https:')
  return (head) => {
    const origin = front.host(head.host)
    if (encrypted && head.plainHttp === true)
      throw new Refusal('request.plain-http', head.target.slice(0, 200))
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
    return {
      head,
      origin,
      address: located.address,
      rest: located.rest,
      query,
      place,
      inbound,
      modern: version !== undefined && isModern(version),
      startedAt: now(),
    }
  }
}
