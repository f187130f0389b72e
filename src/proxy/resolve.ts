// The first steps of a call: whether its host is one of the gateway's, which service it is for, and whether
// the page that sent it may call.
import type { Config } from '../config/schema.ts'
import { hostSpellings, isHost } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { UpstreamCredentials, Signer } from '../ports/modules.ts'
import type { Closed, Directory, LocatedAddress, Service } from '../ports/services.ts'
import type { Policy } from '../ports/policy.ts'
import type { RuntimeTransports } from '../ports/runtime.ts'
import type {
  AddressedCall,
  AuthenticatedCall,
  ContextOf,
  HostedCall,
  ReceivedCall,
  ResolvedRequest,
  UpstreamRoute,
  VersionedCall,
  ServiceContext,
  Step,
} from './admitted-call.ts'
import { createIdentity, isQualified, permissionsAt } from './identity-headers.ts'
import { type RequestHeaders, createRequestHeaders, normalName } from './inbound-request.ts'
import { type EndpointOf, circuitBreakerOf, createTarget } from './upstream-endpoint.ts'

// Under which names the gateway answers: the Host check against DNS rebinding (MCP transports, security
// warning) and Host confusion.

export interface HostCheckOptions {
  /** `allowed_hosts`: further `host` or `host:port`; one without a port holds for every port. */
  readonly config: Pick<Config, 'allowed_hosts'>
  readonly directory: Pick<Directory, 'origins' | 'host' | 'unknownHost' | 'assertComplete'>
}

export interface HostCheck {
  /**
   * The origin that this Host means: one of the gateway's, or that of a service's own host. Throws
   * `request.host` for a malformed value, `route.unknown` for a host below one of the services' domains at
   * which there is no service, and `request.host-unknown` for any other name the gateway does not go by.
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

// One service as the proxy knows it: everything that can be worked out before the first call comes.

const routeOf = ({ upstream }: Service): UpstreamRoute => ({
  translated: upstream.kind !== 'local',
  adaptedUntil:
    upstream.kind === 'http' && (upstream.transport === 'sse' || /^wss?:/.test(upstream.url)) ? Infinity : 0,
})

export interface ServiceContextsDeps {
  /**
   * Where people sign in in more than one way, and a service takes people of more than one, their ids name
   * the way.
   */
  readonly config: Pick<Config, 'oauth_providers' | 'local_users' | 'personal_tokens'>
  readonly directory: Directory
  readonly signer: Signer
  readonly credentials: Pick<UpstreamCredentials, 'names' | 'lookup'>
  readonly transports: RuntimeTransports
  readonly endpointOf: EndpointOf
  readonly policy?: Policy
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
  policy,
  now,
}: ServiceContextsDeps): ContextOf => {
  const contexts = new WeakMap<Service, ServiceContext>()
  const make = (service: Service): ServiceContext => {
    const written = credentials.names(service).map(normalName)
    const identity = createIdentity({
      service,
      audience: `${directory.issuer}/${service.id}/mcp`,
      signer,
      fixed: written,
      qualified: isQualified(config, service),
      permissions: permissionsAt({ policy }, service),
      now,
    })
    const reserved = written.length === 0 ? identity.reserved : new Set([...identity.reserved, ...written])
    const endpoint = endpointOf(service)
    const context: ServiceContext = {
      identity,
      read: createRequestHeaders(
        reserved,
        new Set(service.passHeaders?.map(normalName)),
        config.personal_tokens.header?.toLowerCase(),
      ),
      credential: credentials.lookup(service),
      target: createTarget(service, endpoint),
      route: routeOf(service),
      endpoint,
      health: circuitBreakerOf(service, { transports, now }),
    }
    contexts.set(service, context)
    return context
  }
  // What the configuration says is judged at the start; services that come later are judged when they come.
  for (const service of directory.services) make(service)
  return (service) => contexts.get(service) ?? make(service)
}

// Which web pages may call: the Origin check of the MCP endpoints, and the CORS headers of everything that
// browsers' clients reach (Fetch standard, MCP transports).

interface Preflight {
  readonly origin?: string | undefined
  /** `Access-Control-Request-Headers`. */
  readonly headers?: string | undefined
  /** The methods that exist at this address. */
  readonly methods: readonly string[]
  readonly open?: boolean | undefined
}

/** `open` says everywhere: the service asks for no token, so a page could use it unseen. */
export interface Cors {
  /** Whether a request with this Origin may be served. */
  allows(origin: string, open?: boolean): boolean
  /** Flat header list for any answer to a request with that Origin. */
  answer(origin: string | undefined, open?: boolean): readonly string[]
  /** Flat header list for the answer to a preflight, `answer` included. */
  preflight(asked: Preflight): readonly string[]
}

interface CorsOptions {
  readonly cors: Config['cors']
  /** The gateway's own origins; always allowed. */
  readonly origins: readonly string[]
  readonly debug: boolean
}

const localOrigin = /^https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/
const nothing: readonly string[] = []
/** What the answer says depends on the Origin (Fetch, CORS protocol and HTTP caches). */
const vary: readonly string[] = ['Vary', 'Origin']

/** Headers a preflight asks for, as names; malformed and surplus ones are left out. */
const askedNames = (headers: string | undefined): readonly string[] =>
  (headers ?? '')
    .split(',', 64)
    .map((name) => name.trim())
    .filter((name) => token.test(name))

export const createCors = ({ cors, origins, debug }: CorsOptions): Cors => {
  const any = cors.allow_origins.includes('*')
  const listed = new Set([...cors.allow_origins.filter((origin) => origin !== '*'), ...origins])
  const loopback = localOrigin.test(origins[0] ?? '')
  const exposed =
    cors.expose_headers.length > 0 ? ['Access-Control-Expose-Headers', cors.expose_headers.join(', ')] : []
  const credentials = cors.allow_credentials && !any ? ['Access-Control-Allow-Credentials', 'true'] : []
  const forAny: readonly string[] = ['Access-Control-Allow-Origin', '*', ...exposed]

  const allows = (origin: string, open = false): boolean => {
    if (listed.has(origin)) return true
    if (loopback && localOrigin.test(origin) && (debug || (any && open))) return true
    // A page from anywhere must not drive a service that asks for nothing: whoever opens the page may reach
    // networks that its author does not (MCP security best practices).
    return any && !open
  }

  const answer = (from: string | undefined, open = false): readonly string[] => {
    if (any && !open) return forAny
    if (from === undefined || !allows(from, open)) return vary
    return ['Access-Control-Allow-Origin', from, ...credentials, ...exposed, ...vary]
  }

  return {
    allows,
    answer,
    preflight({ origin, headers, methods, open }) {
      const base = answer(origin, open)
      if (!base.includes('Access-Control-Allow-Origin')) return base
      const names = askedNames(headers)
      const reflected = cors.allow_headers.includes('*')
        ? names
        : [...cors.allow_headers, ...names.filter((name) => /^mcp-param-/i.test(name))]
      return [
        ...base,
        'Access-Control-Allow-Methods',
        cors.allow_methods.filter((method) => methods.includes(method)).join(', '),
        ...(reflected.length > 0 ? ['Access-Control-Allow-Headers', reflected.join(', ')] : nothing),
        'Access-Control-Max-Age',
        '600',
      ]
    },
  }
}

/**
 * A page says its origin; elements of a page (`<script>`, `<iframe>`, `<object>`) say only that they come
 * from another site. These carry no token, so that they matter at services without login alone.
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

/** A browser that navigates, not a client that streams: it asks for HTML and shows no token. */
const navigates = (method: string, accept: string | undefined, authorized: boolean): boolean =>
  (method === 'GET' || method === 'HEAD') &&
  !authorized &&
  accept !== undefined &&
  accept.includes('text/html') &&
  !accept.includes('text/event-stream')

/**
 * The address that a request is a call for, by its path as it was sent; undefined for every other request. A
 * person's browser that opens an MCP address gets a page instead. `host`: the Host header; needed where
 * `directory.hosted`.
 */
export type LocateCall = (
  method: string,
  path: string,
  accept: string | undefined,
  authorized: boolean,
  host?: string,
) => LocatedAddress | undefined

export const createLocateCall =
  ({ locate }: Pick<Directory, 'locate'>): LocateCall =>
  (method, path, accept, authorized, host) =>
    navigates(method, accept, authorized) ? undefined : locate(path, host)

// The steps.

/** A query that may be sent on: visible ASCII without a fragment or a backslash. */
export const isNormalQuery = (query: string): boolean =>
  query.length <= 8192 && /^[\x21\x22\x24-\x5b\x5d-\x7e]*$/.test(query)

export interface ResolveDeps {
  readonly hosts: HostCheck
  readonly directory: Pick<Directory, 'issuer' | 'locate' | 'assertComplete'>
  readonly cors: Cors
  readonly contextOf: ContextOf
  readonly closures: KnownClosures
}

/**
 * Throws `request.host`, `request.host-unknown` and `route.unknown` (`storage.unavailable` while the services
 * are not known), and `request.plain-http`.
 */
export const checkHost: Step<ResolveDeps, ReceivedCall, HostedCall> = {
  name: 'host',
  make({ hosts, directory }) {
    const encrypted = directory.issuer.startsWith('https:')
    return (call) => {
      const { head } = call
      call.origin = hosts.host(head.host)
      if (encrypted && head.plainHttp === true)
        throw new Refusal('request.plain-http', head.target.slice(0, 200))
      return undefined
    }
  },
}

/** Throws `route.unknown`, or `storage.unavailable` while the services are not known. */
export const findService: Step<ResolveDeps, HostedCall, AddressedCall> = {
  name: 'service',
  make:
    ({ directory, contextOf }) =>
    (call) => {
      const { head } = call
      const { target } = head
      const mark = target.indexOf('?')
      const query = mark === -1 ? '' : target.slice(mark + 1)
      // Whoever had to know before whether this is a call has looked it up already.
      const located =
        head.located ?? directory.locate(mark === -1 ? target : target.slice(0, mark), head.host)
      if (!located) directory.assertComplete()
      if (!located || !isNormalQuery(query)) throw new Refusal('route.unknown', target.slice(0, 200))
      const { address, rest } = located
      call.address = address
      call.rest = rest
      call.query = query
      call.context = contextOf(address.service)
      return undefined
    },
}

/** Throws `request.origin`. */
export const checkPage: Step<ResolveDeps, AddressedCall, ResolvedRequest> = {
  name: 'origin',
  make:
    ({ cors }) =>
    (call) => {
      const { context, head, address } = call
      const inbound = context.read(head.rawHeaders)
      checkOrigin(inbound, address.service, cors)
      call.inbound = inbound
      return undefined
    },
}

/**
 * The one session a request names; a revision without sessions has none, whatever the header says (2026-07-28
 * transports).
 */
export const sessionOf = ({ inbound, modern, address }: VersionedCall): string | undefined => {
  if (modern || address.transport === 'sse' || inbound.sessions.length === 0) return undefined
  if (inbound.sessions.length > 1) throw new Refusal('request.malformed', 'two Mcp-Session-Id')
  return inbound.sessions[0]
}

// What an administrator has closed.

/** What is closed for now, and how to have that known anew. */
export interface KnownClosures {
  readonly closed: Readonly<Closed>
  refresh(): Promise<void>
}

/** A timer renews it sooner; whoever finds it this old waits for it. */
const staleMs = 900

const refuseClosed = (
  { gateway, services }: Closed,
  { address, principal }: AuthenticatedCall,
): undefined => {
  const { id } = address.service
  if (gateway || services.has(id))
    throw new Refusal(gateway ? 'gateway.locked' : 'service.disabled', '', {
      headers: { 'retry-after': '60' },
      about: { service: id, ...(principal && { person: principal.personKey }) },
    })
  return undefined
}

/** Throws or rejects with `gateway.locked` and `service.disabled`. */
export const checkOpen = (
  call: AuthenticatedCall,
  { closed, refresh }: KnownClosures,
  now: number,
): Promise<undefined> | undefined => {
  const age = now - closed.checkedAt
  // A clock that was set back says nothing about the age.
  if (age < 0 || age >= staleMs) return refresh().then(() => refuseClosed(closed, call))
  return refuseClosed(closed, call)
}
