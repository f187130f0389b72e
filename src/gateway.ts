// The hall: makes every room, hands each the functions it needs, and offers the doors one gateway.
import { createIsAdmin, createServicesApi } from './admin/services-api.ts'
import { createApp } from './app.ts'
import { createAudit } from './audit/audit.ts'
import type { Config } from './config/schema.ts'
import { createConnections } from './connections/connections.ts'
import { createDryRun } from './dry-run.ts'
import { createAccessRules, createLocalPeople } from './identity/local-users.ts'
import { type LoginLinks, createLoginLinks, owner } from './identity/login-link.ts'
import { createProviders } from './identity/providers/configured.ts'
import { createSessions } from './identity/session.ts'
import { createSignIn } from './identity/sign-in.ts'
import { type RequestUrl, requestUrl, transportSecurity } from './kit/http.ts'
import { createPendingRequests } from './oauth/authorization-requests.ts'
import { authorizationResponse } from './oauth/authorization-response.ts'
import { createAuthorize } from './oauth/authorize.ts'
import { createAuthenticateBearer } from './oauth/bearer.ts'
import { createClientDocuments } from './oauth/client-id-document.ts'
import { createClients } from './oauth/clients.ts'
import { createConsent } from './oauth/consent.ts'
import { createGrants } from './oauth/grants.ts'
import { createIntrospect } from './oauth/introspect.ts'
import { createMetadata } from './oauth/metadata.ts'
import { createClientConfiguration, createRegister } from './oauth/registration.ts'
import { createRevoke } from './oauth/revoke.ts'
import { createSigner } from './oauth/signing-keys.ts'
import { createToken } from './oauth/token-endpoint.ts'
import { createTokens } from './oauth/tokens.ts'
import { createAssets } from './pages/assets.ts'
import { createPages } from './pages/views.ts'
import { createLimit } from './policy/rate-limit.ts'
import type { Admit, Fetch, Refuse } from './ports/call.ts'
import type { Audit, AuditEvent } from './ports/modules.ts'
import type { Principal } from './ports/people.ts'
import type { Runtime, RequestContext } from './ports/runtime.ts'
import type { Directory, Service, ServiceState } from './ports/services.ts'
import type { SessionLocation } from './ports/transport.ts'
import type { ContextOf } from './proxy/admitted-call.ts'
import { createCors } from './proxy/cors.ts'
import { createRefuse } from './proxy/error-response.ts'
import { createFetchProxy, headOf } from './proxy/fetch-handler.ts'
import { type ProxyDeps, createProxy } from './proxy/proxy.ts'
import { type LocateCall, createHostCheck, createLocateCall, createServiceContexts } from './proxy/resolve.ts'
import type { AdmitSocket } from './proxy/transports/client-websocket.ts'
import { createEndpoints } from './proxy/upstream-endpoint.ts'
import { createKnownFacts } from './request-facts.ts'
import { createServicesRefresh } from './services-refresh.ts'
import { createDirectory } from './services/directory.ts'
import { createEncode } from './services/encode.ts'
import { createServiceMaker, servicePlanOf } from './services/from-config.ts'
import { type ServiceRegistry, createServiceRegistry } from './services/live.ts'
import { createSessionGateway } from './session-gateway.ts'
import { createServicesList, createStatus } from './status.ts'
import { type Bridges, createBridges } from './stdio/bridges.ts'

export interface GatewayOptions {
  readonly config: Config
  readonly runtime: Runtime
  /** The public origin (issuer), no trailing slash, and the other origins that mean the same place (ports/services.ts `Directory`). */
  readonly issuer: string
  readonly aliases?: readonly string[]
  /** Services the door brings itself, e.g. the demo server. */
  readonly services?: readonly Service[]
  /** True while the process finishes its last requests; `/readyz` says so. */
  readonly draining?: () => boolean
}

export interface Gateway {
  readonly directory: Directory
  readonly links: LoginLinks
  /** Services that come and go while the gateway runs. */
  readonly supply: ServiceRegistry
  readonly locateCall: LocateCall
  readonly admit: Admit
  readonly refuse: Refuse
  /** The proxied way of a WebSocket handshake. */
  readonly admitSocket: AdmitSocket
  /** One session by its id, for the object that keeps it in memory (Workers). */
  session(id: string): SessionLocation
  /** Keeps an event of the audit trail that a door knows of. */
  readonly record: Audit
  /** Everything that is not a proxied call: OAuth, sign-in, metadata, pages, status. Never rejects. */
  fetch(request: Request, visit: RequestContext): Promise<Response>
  /** Both ways as web standards, for runtimes without the fast pipe. `at`: what the request's URL says, where that has been read. Never rejects. */
  handle(request: Request, visit: RequestContext, fetchUpstream: Fetch, at?: RequestUrl): Promise<Response>
  /** The processes of services that are commands. To be closed when the gateway is. */
  readonly bridges: Bridges
  /** Loads the signing keys, so that metadata and token checks survive a later storage outage. */
  warm(): Promise<void>
}

/** What the audit trail keeps of a start: whatever it says afterwards was said by this version, of these services. */
export const startedEvent = (
  { directory }: Pick<Gateway, 'directory'>,
  { version, runtime, storage }: Runtime['about'],
): AuditEvent => ({
  event: 'gateway.started',
  version,
  runtime,
  storage,
  issuer: directory.issuer,
  services: directory.services.map(({ id }) => id),
})

const isLoopback = (origin: string): boolean =>
  ['localhost', '127.0.0.1', '[::1]'].includes(new URL(origin).hostname)

const stateOf = (service: Service, bridges: Bridges, contextOf: ContextOf): ServiceState => {
  const { upstream } = service
  if (upstream.kind === 'local') return 'healthy'
  return upstream.kind === 'bridge'
    ? bridges.state(upstream)
    : (contextOf(service).health?.state ?? 'unknown')
}

export const createGateway = (options: GatewayOptions): Gateway => {
  const { config, runtime, issuer } = options
  const origins = [issuer, ...(options.aliases ?? [])]
  const bridges = createBridges(runtime, config.heartbeat * 1000)
  const first = options.services ?? []
  const serviceOf = createServiceMaker({ bridges, digest: runtime.digest })
  const directory = createDirectory({
    issuer,
    origins,
    incomplete: true,
    ...servicePlanOf(config, first, serviceOf),
  })
  const supply = createServiceRegistry({
    config,
    runtime,
    directory,
    first,
    serviceOf,
    attempt: createDryRun(bridges),
  })
  const catchUp = createServicesRefresh({ directory, supply, defer: runtime.defer })
  supply.onGone((gone) => gone.forEach(({ upstream }) => bridges.end(upstream)))
  const record = createAudit({ log: runtime.log })
  const limit = createLimit({
    now: () => runtime.now(),
    loopback: isLoopback(issuer),
    shared: runtime.counts,
  })
  const cors = createCors({ cors: config.cors, origins, debug: config.debug })
  const pages = createPages({ issuer, version: runtime.about.version })

  const people = createLocalPeople({ runtime, users: config.local_users })
  const providers = createProviders({ runtime, config, issuer })
  const links = createLoginLinks({
    runtime,
    enabled: config.local_users.length === 0 && providers.size === 0,
  })
  const mayStillSignIn = createAccessRules({ people, providers, links, directory })

  const known = createKnownFacts(directory)
  const sessions = known.sessions(
    createSessions({
      runtime,
      mayStillSignIn,
      issuer,
      idleMs: config.session_timeout * 1000,
      absoluteMs: 8 * 3_600_000,
    }),
  )
  const signer = createSigner({
    runtime,
    issuer,
    rotationMs: config.key_rotation * 1000,
    overlapMs: config.access_token_lifetime * 1000,
  })
  const clients = known.clients(
    createClients({ runtime, config, documents: createClientDocuments({ runtime, directory }), directory }),
  )
  const grants = createGrants({ runtime, config, record, mayStillSignIn, find: catchUp.find })
  const tokens = createTokens({ runtime, config, signer })
  const pendingRequests = known.pendingRequests(createPendingRequests({ runtime }))
  const authenticate = createAuthenticateBearer({ runtime, directory, signer, grants })
  const connections = createConnections({ runtime, config, directory, sessions, pages, limit, record })
  const consent = createConsent({
    runtime,
    config,
    directory,
    find: catchUp.find,
    clients,
    grants,
    tokens,
    pendingRequests,
    sessions,
    pages,
    record,
    upstream: connections.step,
  })

  const signIn = createSignIn({
    runtime,
    sessions,
    people,
    links,
    providers,
    pages,
    describeFlow: known.describeFlow(consent.describeFlow),
    keepTokens: connections.keepTokens,
    limit,
    record,
    origins,
  })

  const [hosts, endpointOf] = [createHostCheck({ config, directory }), createEndpoints(() => runtime.now())]
  const always = transportSecurity(issuer)
  const refuse = createRefuse({ cors, log: runtime.log, always })
  const contextOf = createServiceContexts({
    config,
    directory,
    signer,
    credentials: connections.credentials,
    transports: runtime.transports,
    endpointOf,
    now: runtime.now,
  })
  const alive = async ({ grantId }: Principal): Promise<boolean> => (await grants.live(grantId)) !== undefined
  const proxyDeps: ProxyDeps = {
    runtime,
    config,
    directory,
    hosts,
    contextOf,
    endpointOf,
    authenticate,
    cors,
    record,
    credentials: connections.credentials,
    alive,
    serving: supply.serving,
    always,
  }
  const { admit, admitSocket, moved } = createProxy(proxyDeps)
  const callByFetch = createFetchProxy({ admit, refuse, moved })
  const status = createStatus({
    runtime,
    directory,
    sessions,
    pages,
    standing: connections.step.standing,
    encodes: () => supply.config().domain_root !== undefined,
    draining: options.draining ?? (() => false),
    stateOf: (service) => stateOf(service, bridges, contextOf),
  })

  const app = createApp({
    handlers: {
      metadata: createMetadata({ config, directory, signer }),
      register: createRegister({ directory, clients, limit, record }),
      manage: createClientConfiguration({ runtime, directory, clients, grants, record }),
      authorize: createAuthorize({
        runtime,
        directory,
        find: catchUp.find,
        clients,
        pendingRequests,
        sessions,
        limit,
      }),
      consent,
      connections,
      token: createToken({
        runtime,
        config,
        directory,
        find: catchUp.find,
        clients,
        grants,
        tokens,
        limit,
        record,
      }),
      revoke: createRevoke({ runtime, clients, grants, tokens, limit, record }),
      introspect: createIntrospect({ runtime, directory, clients, grants, tokens, limit }),
      signIn,
      status,
      servicesList: createServicesList({ directory, sessions, allows: cors.allows }),
      services: createServicesApi({
        supply,
        sessions,
        isAdmin: createIsAdmin(() => supply.config().admins, links.enabled ? owner : undefined),
        origins,
        record,
        bridges,
      }),
      encode: createEncode({ domainRoot: () => supply.config().domain_root, directory, pages }),
      assets: createAssets(),
    },
    registration: config.dynamic_registration,
    directory,
    cors,
    hostCheck: hosts,
    pages,
    log: runtime.log,
    factsOf: known.of,
    redirectTo: authorizationResponse(issuer),
  })

  const locateCall = createLocateCall(directory)
  return {
    directory,
    links,
    supply,
    bridges,
    locateCall,
    record,
    admit,
    refuse,
    admitSocket: (head) =>
      Promise.resolve(catchUp.request(head.target.split('?', 1)[0] as string, head.host)).then(() =>
        admitSocket(head),
      ),
    session: (id) => createSessionGateway({ ...proxyDeps, directory, refuse, catchUp }, id),
    fetch: app,
    async handle(request, visit, fetchUpstream, at = requestUrl(request.url)) {
      const catchingUp = catchUp.request(at.path, at.host)
      if (catchingUp) await catchingUp
      const { method, headers } = request
      const accept = headers.get('accept') ?? undefined
      const located = at.routable
        ? locateCall(method, at.path, accept, headers.has('authorization'), headers.get('host') ?? at.host)
        : undefined
      if (located) return callByFetch(request, headOf(request, visit, at, located), fetchUpstream)
      return app(request, at.routable ? visit : { ...visit, unroutable: true })
    },
    async warm() {
      await Promise.all([signer.jwks(), supply.refresh()])
    },
  }
}
