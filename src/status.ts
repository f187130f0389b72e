// What the gateway says of itself: health, readiness, the services, and the front door as JSON or page.
import { Refusal } from './kit/refusal.ts'
import { createOnce } from './kit/once.ts'
import type { ConnectStep } from './ports/connections.ts'
import type { ConnectView, Pages } from './ports/pages.ts'
import type { Handler, Sessions } from './ports/rooms.ts'
import type { Runtime } from './ports/runtime.ts'
import type { Address, Directory, Service, ServiceState } from './ports/services.ts'
import { hostOf } from './route.ts'
import { isLoopback, mainAddress } from './services-list.ts'

export interface Status {
  /** `GET /`: JSON for programs, the signed-in person's services for browsers. */
  readonly front: Handler
  /** Of the gateway itself, or of the service that the path or `server` names. */
  readonly health: Handler
  readonly live: Handler
  readonly ready: Handler
  /** An MCP address opened in a browser. */
  readonly connect: Handler
}

interface StatusOptions {
  readonly runtime: Runtime
  readonly directory: Directory
  readonly sessions: Sessions
  readonly pages: Pages
  readonly standing: ConnectStep['standing']
  readonly draining: () => boolean
  /** Whether domains have hosts here that stand for them. */
  readonly encodes: () => boolean
  readonly stateOf: (service: Service) => ServiceState
}

const json = (body: unknown, status = 200): Response => Response.json(body, { status, headers: { 'cache-control': 'no-store' } })

/** The storage answers or it does not; asked at most once a second however many probes come. */
const createProbe = (runtime: Runtime): (() => Promise<boolean>) => {
  let last: { readonly at: number; readonly healthy: boolean } | undefined
  const once = createOnce(runtime)
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

const isPublic = (origin: string): boolean => origin.startsWith('https:') && !isLoopback(origin)

/** The clients on the page speak Streamable HTTP, whichever address of the service somebody opened. */
const streamable = ({ addresses }: Directory, opened: Address): Address => {
  const { origin } = new URL(opened.resource)
  return [opened, ...addresses].find(({ service, transport, resource }) => service === opened.service && transport === undefined && new URL(resource).origin === origin) ?? opened
}

/** Seed 004, `/health`: the service that is asked about; where there is one command alone, its id is told, too. */
const askedOf = (directory: Directory, url: URL): { readonly service: Service; readonly alone: boolean } | undefined => {
  const id = url.pathname.startsWith('/health/') ? url.pathname.slice('/health/'.length) : url.searchParams.get('server')
  if (id === null) {
    const [command, another] = directory.services.filter(({ upstream }) => upstream.kind === 'bridge')
    return command && !another ? { service: command, alone: true } : undefined
  }
  const service = directory.service(id)
  if (!service) throw new Refusal('route.unknown', `service ${id.slice(0, 80)}`, { say: `Service '${id.slice(0, 64)}' not found` })
  return { service, alone: false }
}

const createHealthOf = ({ runtime, directory, sessions, stateOf }: StatusOptions, probe: () => Promise<boolean>): Handler =>
  async (request) => {
    const about = askedOf(directory, new URL(request.url))
    const stored = await probe()
    // The gateway is well while it can work, whatever becomes of one server: what restarts it must not depend on a caller.
    const state = about && !about.alone ? stateOf(about.service) : 'healthy'
    const status = stored ? state : 'degraded'
    const session = about && stored ? await sessions.of(request) : undefined
    const body = {
      status,
      timestamp: new Date(runtime.now()).toISOString(),
      version: runtime.about.version,
      storage: { healthy: stored, backend_type: runtime.about.storage },
      ...(about && !about.alone ? {} : { services: Object.fromEntries(directory.services.map((each) => [each.id, { status: stateOf(each) }])) }),
      ...(about && { serverId: about.service.id, userId: session?.person.subject ?? null }),
    }
    return json(body, status === 'degraded' ? 503 : 200)
  }

export const createStatus = (options: StatusOptions): Status => {
  const { runtime, directory, sessions, pages, standing, encodes, draining } = options
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
    async front(request) {
      const accept = request.headers.get('accept') ?? ''
      if (!accept.includes('text/html')) return json({ name: 'Postern', version: runtime.about.version, issuer: directory.issuer, services: directory.services.length })
      const session = await sessions.of(request)
      if (!session) return new Response(null, { status: 303, headers: { location: '/login', 'cache-control': 'no-store' } })
      const shown = directory.services.flatMap((service) => main(service.id) ?? [])
      const services = await Promise.all(shown.map(async (address) => ({ ...view(address), account: await standing(address.service, session.person) })))
      return pages.home({ person: session.person, csrf: session.csrf, services, reachable, encodes: encodes() })
    },
    health: createHealthOf(options, probe),
    live: () => Promise.resolve(json({ ok: true })),
    async ready() {
      if (draining()) return json({ ok: false, reason: 'draining' }, 503)
      return (await probe()) ? json({ ok: true }) : json({ ok: false, reason: 'storage' }, 503)
    },
    connect(request) {
      const found = directory.locate(new URL(request.url).pathname, hostOf(request))
      if (!found) throw new Refusal('route.unknown', 'no such address')
      return Promise.resolve(pages.connect({ service: view(streamable(directory, found.address)), reachable }))
    },
  }
}
