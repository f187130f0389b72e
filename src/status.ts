// Health, readiness, the list of services, and the home page as JSON or HTML.
import { hostOf, isFromElsewhere } from './kit/http.ts'
import { Refusal } from './kit/refusal.ts'
import { createSingleFlight } from './kit/single-flight.ts'
import type { AuditEvent, ConnectStep, Handler, Sessions } from './ports/modules.ts'
import type { ConnectView, PagesFor } from './ports/pages.ts'
import type { Person } from './ports/people.ts'
import type { Runtime } from './ports/runtime.ts'
import type { Address, Directory, Service, ServiceState } from './ports/services.ts'
import type { Bridges } from './stdio/bridge.ts'

// The list of services, which anybody may read. Only users of this gateway get the URLs.

export interface ServicesList {
  /** GET /services */
  readonly services: Handler
  /** GET /services/:id */
  readonly service: Handler
}

interface ServicesListOptions {
  readonly directory: Directory
  readonly sessions: Sessions
  /** Whether a page of that origin may use services that ask for no token. */
  readonly allows: (origin: string, open: true) => boolean
}

const jsonAnswer = (body: unknown): Response =>
  Response.json(body, { headers: { 'cache-control': 'no-store' } })

export const isLoopback = (origin: string): boolean =>
  ['localhost', '127.0.0.1', '[::1]'].includes(new URL(origin).hostname)

/** The address of a service that names it. */
export const mainAddress = ({ addresses }: Directory, id: string): Address | undefined => {
  const own = addresses.filter(({ service }) => service.id === id)
  return own.find(({ path }) => path !== '/mcp') ?? own[0]
}

/** No list and no 404 before all services are known. */
const complete = (directory: Directory): Directory => {
  directory.assertComplete()
  return directory
}

const unknownService = (directory: Directory, id: string): Refusal => {
  complete(directory)
  return new Refusal('route.unknown', `service ${id}`, { say: `Service '${id.slice(0, 64)}' not found` })
}

export const createServicesList = ({ directory, sessions, allows }: ServicesListOptions): ServicesList => {
  /** Signed-in users are no strangers, and on a loopback gateway nobody is. */
  const isStranger = async (request: Request): Promise<boolean> => {
    if (await sessions.of(request)) return false
    const origin = request.headers.get('origin')
    if (!isLoopback(directory.issuer) || isFromElsewhere(request.headers)) return true
    return origin !== null && !allows(origin, true)
  }
  const describe = (id: string, stranger: boolean) => {
    const address = mainAddress(directory, id)
    const service = address?.service
    if (!address || !service) throw unknownService(directory, id)
    return {
      name: service.name,
      ...(stranger ? {} : { url: address.resource }),
      auth_required: service.authRequired,
      scopes: service.scopes,
      ...(service.provider === undefined ? {} : { oauth_provider: service.provider }),
      ...(service.providers === undefined ? {} : { oauth_providers: service.providers }),
    }
  }
  return {
    async services(request) {
      const stranger = await isStranger(request)
      return jsonAnswer({
        services: Object.fromEntries(
          complete(directory).services.map(({ id }) => [id, describe(id, stranger)]),
        ),
      })
    },
    async service(request) {
      const id = new URL(request.url).pathname.slice('/services/'.length)
      return jsonAnswer(describe(id, await isStranger(request)))
    },
  }
}

export interface Status {
  /** `GET /`: JSON for programs, the services of the signed-in user for browsers. */
  readonly home: Handler
  /** Of the gateway itself, or of the service that the path or `server` names. */
  readonly health: Handler
  readonly live: Handler
  readonly ready: Handler
  /** Public keys of the audit trail. */
  readonly auditKeys: Handler
  /** An MCP URL opened in a browser. */
  readonly connect: Handler
}

interface StatusOptions {
  readonly runtime: Runtime
  readonly directory: Directory
  readonly sessions: Sessions
  readonly pages: PagesFor
  readonly accountStatus: ConnectStep['standing']
  readonly draining: () => boolean
  /** Whether the gateway has encoded hosts. */
  readonly encodes: () => boolean
  readonly isAdmin: (person: Person) => boolean
  readonly bridges: Pick<Bridges, 'state'>
  readonly contextOf: (service: Service) => { readonly health?: { readonly state: ServiceState } | undefined }
}

const json = (body: unknown, status = 200): Response =>
  Response.json(body, { status, headers: { 'cache-control': 'no-store' } })

/** Whether the storage responds. It is read at most once a second, however many probes come. */
const createProbe = (runtime: Runtime): (() => Promise<boolean>) => {
  let last: { readonly at: number; readonly healthy: boolean } | undefined
  const once = createSingleFlight(runtime)
  const ask = async (): Promise<boolean> => {
    const healthy = await runtime.store.get('health:probe').then(
      () => true,
      () => false,
    )
    last = { at: runtime.now(), healthy }
    return healthy
  }
  return async () => (last && runtime.now() - last.at < 1000 ? last.healthy : once('health', ask))
}

export const isPublic = (origin: string): boolean => origin.startsWith('https:') && !isLoopback(origin)

/** The clients on the page use Streamable HTTP, whichever URL of the service was opened. */
const streamable = ({ addresses }: Directory, opened: Address): Address => {
  const { origin } = new URL(opened.resource)
  return (
    [opened, ...addresses].find(
      ({ service, transport, resource }) =>
        service === opened.service && transport === undefined && new URL(resource).origin === origin,
    ) ?? opened
  )
}

/**
 * The service that a request to `/health` names; otherwise the only stdio server, whose ID the response has
 * as well.
 */
const askedOf = (
  directory: Directory,
  url: URL,
): { readonly service: Service; readonly alone: boolean } | undefined => {
  const id = url.pathname.startsWith('/health/')
    ? url.pathname.slice('/health/'.length)
    : url.searchParams.get('server')
  if (id === null) {
    const [command, another] = directory.services.filter(({ upstream }) => upstream.kind === 'bridge')
    return command && !another ? { service: command, alone: true } : undefined
  }
  const service = directory.service(id)
  if (!service)
    throw new Refusal('route.unknown', `service ${id.slice(0, 80)}`, {
      say: `Service '${id.slice(0, 64)}' not found`,
    })
  return { service, alone: false }
}

export const stateOf = (
  service: Service,
  { bridges, contextOf }: Pick<StatusOptions, 'bridges' | 'contextOf'>,
): ServiceState => {
  const { upstream, checked } = service
  if (upstream.kind === 'local') return 'healthy'
  if (checked && checked.state !== 'unknown') return checked.state
  return upstream.kind === 'bridge'
    ? bridges.state(upstream)
    : (contextOf(service).health?.state ?? 'unknown')
}

/** A trail that cannot be written is told, and is no reason to restart the gateway. */
const withTrail = ({ trail }: Pick<Runtime, 'trail'>, status: ServiceState) => {
  if (!trail) return { status }
  const healthy = trail.available()
  return { status: healthy ? status : ('degraded' as const), audit: { healthy } }
}

const storageClasses: Readonly<Record<string, string>> = {
  'memory': 'MemoryStorage',
  'sqlite': 'SqliteStorage',
  'redis': 'RedisStorage',
  'postgres': 'PostgresStorage',
  'vault': 'VaultStorage',
  'durable-object': 'DurableObjectStorage',
}

/** Records in memory in place of the configured storage are told, and no reason to restart the gateway either. */
const storageOf = ({ storage, insteadOf }: Runtime['about'], healthy: boolean) => ({
  healthy: healthy && insteadOf === undefined,
  backend_type: storage,
  backend_class: storageClasses[storage] ?? storage,
  ...(insteadOf === undefined
    ? {}
    : { cause: `${insteadOf} could not be used at the start: all records are in memory` }),
})

const createHealthOf =
  (
    { runtime, directory, sessions, bridges, contextOf }: StatusOptions,
    probe: () => Promise<boolean>,
  ): Handler =>
  async (request) => {
    const about = askedOf(directory, new URL(request.url))
    const stored = await probe()
    // A failing server does not make the gateway unhealthy: an orchestrator must not restart it because of
    // one caller.
    const state = about && !about.alone ? stateOf(about.service, { bridges, contextOf }) : 'healthy'
    const sound = stored ? state : 'degraded'
    const { insteadOf } = runtime.about
    const session = about && stored ? await sessions.of(request) : undefined
    const body = {
      ...withTrail(runtime, insteadOf === undefined ? sound : 'degraded'),
      timestamp: new Date(runtime.now()).toISOString(),
      version: runtime.about.version,
      storage: storageOf(runtime.about, stored),
      ...(about && !about.alone
        ? {}
        : {
            services: Object.fromEntries(
              directory.services.map((each) => [each.id, { status: stateOf(each, { bridges, contextOf }) }]),
            ),
          }),
      ...(about && { serverId: about.service.id, userId: session?.person.subject ?? null }),
    }
    return json(body, sound === 'degraded' ? 503 : 200)
  }

const createAuditKeys =
  ({ trail }: Pick<Runtime, 'trail'>): Handler =>
  async () => {
    if (!trail) throw new Refusal('route.unknown', 'no audit trail')
    return json({ keys: await trail.keys() })
  }

/** What is searched for among the services. */
const queryIn = (request: Request): string =>
  new URL(request.url).searchParams.get('q')?.trim().slice(0, 100) ?? ''

export const createStatus = (options: StatusOptions): Status => {
  const { runtime, directory, sessions, pages, accountStatus, encodes, isAdmin, draining } = options
  const probe = createProbe(runtime)
  const reachable = isPublic(directory.issuer)
  const main = (id: string): Address | undefined => mainAddress(directory, id)
  const view = ({ service, resource }: Address): ConnectView['service'] => ({
    id: service.id,
    name: service.name,
    description: service.description,
    url: resource,
    authRequired: service.authRequired,
  })
  return {
    async home(request) {
      if (!(request.headers.get('accept') ?? '').includes('text/html'))
        return json({
          name: 'Postern',
          version: runtime.about.version,
          issuer: directory.issuer,
          services: directory.services.length,
        })
      const session = await sessions.of(request)
      if (!session)
        return new Response(null, {
          status: 303,
          headers: { location: '/login', 'cache-control': 'no-store' },
        })
      const listed = directory.services.flatMap((service) => main(service.id) ?? [])
      const services = await Promise.all(
        listed.map(async (address) => ({
          ...view(address),
          account: await accountStatus(address.service, session.person),
        })),
      )
      return pages(request).home({
        person: session.person,
        query: queryIn(request),
        csrf: session.csrf,
        services,
        reachable,
        encodes: encodes(),
        admin: isAdmin(session.person),
      })
    },
    health: createHealthOf(options, probe),
    live: () => Promise.resolve(json({ ok: true })),
    async ready() {
      if (draining()) return json({ ok: false, reason: 'draining' }, 503)
      return (await probe()) ? json({ ok: true }) : json({ ok: false, reason: 'storage' }, 503)
    },
    auditKeys: createAuditKeys(runtime),
    connect(request) {
      const found = directory.locate(new URL(request.url).pathname, hostOf(request))
      if (!found) throw new Refusal('route.unknown', 'no such address')
      return Promise.resolve(
        pages(request).connect({ service: view(streamable(directory, found.address)), reachable }),
      )
    },
  }
}

/** The audit event of a start: version and services behind all later events. */
export const startedEvent = (
  { directory }: { readonly directory: Pick<Directory, 'issuer' | 'services'> },
  { version, runtime, storage }: Runtime['about'],
): AuditEvent => ({
  event: 'gateway.started',
  version,
  runtime,
  storage,
  issuer: directory.issuer,
  services: directory.services.map(({ id }) => id),
})
