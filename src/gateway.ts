// The composition root: builds every module, passes each the functions it needs, and returns one gateway for
// a runtime to serve.
import { createIsAdmin, createServicesApi } from './admin/services-api.ts'
import { type RequestHandling, createApp, createRequestHandling } from './app.ts'
import type { Config } from './config/schema.ts'
import { createConnections } from './connections/connections.ts'
import {
  type LoginLinks,
  createAccessRules,
  createLocalPeople,
  createLoginLinks,
  owner,
} from './identity/local-users.ts'
import { createProviders } from './identity/providers/configured.ts'
import { createSessions } from './identity/session.ts'
import { createSignIn } from './identity/sign-in.ts'
import { transportSecurity } from './kit/http.ts'
import { createAudit } from './kit/log.ts'
import { createPendingRequests } from './oauth/authorization-requests.ts'
import { createAuthorize } from './oauth/authorize.ts'
import { createAuthenticateBearer } from './oauth/bearer.ts'
import { createClientDocuments } from './oauth/client-id-document.ts'
import { createClients } from './oauth/clients.ts'
import { createConsent } from './oauth/consent.ts'
import { createGrants } from './oauth/grants.ts'
import { createIssuedTokens } from './oauth/issued-tokens.ts'
import { type OAuthEndpoint, createMetadata, endpoints } from './oauth/metadata.ts'
import { authorizationResponse } from './oauth/parameters.ts'
import { createClientConfiguration, createRegister } from './oauth/registration.ts'
import { createSigner } from './oauth/signing-keys.ts'
import { createToken } from './oauth/token-endpoint.ts'
import { createTokens } from './oauth/tokens.ts'
import { createAssets } from './pages/assets.ts'
import { createPages } from './pages/views.ts'
import { createLimit } from './policy/rate-limit.ts'
import type { Refuse, ProxiedCalls } from './ports/call.ts'
import type { Audit, AuditEvent } from './ports/modules.ts'
import type { Principal } from './ports/people.ts'
import type { Runtime, SessionLocation } from './ports/runtime.ts'
import type { Directory, Service } from './ports/services.ts'
import { callStdio, createFetchProxy } from './proxy/fetch.ts'
import { createRefuse } from './proxy/outcome.ts'
import { type ProxyDeps, createProxy } from './proxy/proxy.ts'
import { createCors, createHostCheck, createLocateCall, createServiceContexts } from './proxy/resolve.ts'
import { createEndpoints } from './proxy/upstream-endpoint.ts'
import { createKnownFacts } from './request-facts.ts'
import { createDirectory } from './services/directory.ts'
import { createEncode } from './services/encode.ts'
import { createDryRun, createServiceMaker, servicePlanOf } from './services/from-config.ts'
import { type ServiceRegistry, createServiceRegistry, createServicesRefresh } from './services/registry.ts'
import { createSessionGateway } from './session-gateway.ts'
import { createServicesList, createStatus, isLoopback } from './status.ts'
import { type Bridges, createBridges } from './stdio/bridges.ts'

export interface GatewayOptions {
  readonly config: Config
  readonly runtime: Runtime
  /**
   * The public origin (issuer), no trailing slash, and the other origins of the same gateway
   * (ports/services.ts `Directory`).
   */
  readonly issuer: string
  readonly aliases?: readonly string[]
  /** Services that the runtime adds itself, such as the demo server. */
  readonly services?: readonly Service[]
  /** True while the process finishes its last requests; `/readyz` says so. */
  readonly draining?: () => boolean
  /** What callers are to see of the lists of services; absent: all of it. */
  readonly trim?: ProxyDeps['trim']
}

export interface Gateway extends RequestHandling, ProxiedCalls {
  readonly directory: Directory
  readonly links: LoginLinks
  /** The configured services and those added while the gateway runs. */
  readonly registry: ServiceRegistry
  readonly refuse: Refuse
  /** One session by its id, for the object that keeps it in memory (Workers). */
  session(id: string): SessionLocation
  /** Writes an audit event that only the runtime knows of. */
  readonly record: Audit
  /** The stdio servers. The runtime closes them when the gateway ends. */
  readonly bridges: Bridges
  /** Loads the signing keys, so that metadata and token checks survive a later storage outage. */
  warm(): Promise<void>
}

/** The audit event of a start: version and services behind all later events. */
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

/** What several modules get. */
const createPlatform = ({ config, runtime, issuer, aliases = [], trim }: GatewayOptions) => {
  const origins = [issuer, ...aliases]
  return {
    config,
    runtime,
    issuer,
    origins,
    trim,
    record: createAudit(runtime.log),
    limit: createLimit({
      now: () => runtime.now(),
      loopback: isLoopback(issuer),
      shared: runtime.counts,
    }),
    cors: createCors({ cors: config.cors, origins, debug: config.debug }),
    pages: createPages({ issuer, version: runtime.about.version }),
  }
}
type Platform = ReturnType<typeof createPlatform>

const createServices = ({ config, runtime, issuer, origins }: Platform, builtIn: readonly Service[]) => {
  const bridges = createBridges(runtime, config.heartbeat * 1000)
  const serviceOf = createServiceMaker({ bridges, digest: runtime.digest })
  const directory = createDirectory({
    issuer,
    origins,
    incomplete: true,
    ...servicePlanOf(config, builtIn, serviceOf),
  })
  const registry = createServiceRegistry({
    config,
    runtime,
    directory,
    builtIn,
    serviceOf,
    dryRun: createDryRun(bridges, callStdio),
  })
  registry.onRemoved((removed) => removed.forEach(({ upstream }) => bridges.end(upstream)))
  const refresh = createServicesRefresh({
    directory,
    registry,
    defer: runtime.defer,
    endpointPaths: Object.values<OAuthEndpoint>(endpoints).flatMap(({ path, alias = path }) => [path, alias]),
  })
  return { bridges, directory, registry, refresh }
}
type Services = ReturnType<typeof createServices>

const createIdentity = ({ config, runtime, issuer }: Platform, { directory }: Services) => {
  const people = createLocalPeople({ runtime, users: config.local_users })
  const providers = createProviders({ runtime, config, issuer })
  const links = createLoginLinks({ runtime, enabled: !people.any && providers.size === 0 })
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
  return { people, providers, links, mayStillSignIn, known, sessions }
}
type Identity = ReturnType<typeof createIdentity>

const createAuthorizationServer = (
  { config, runtime, issuer, record }: Platform,
  { directory, refresh: { find } }: Services,
  { mayStillSignIn, known }: Identity,
) => {
  const signer = createSigner({
    runtime,
    issuer,
    rotationMs: config.key_rotation * 1000,
    overlapMs: config.access_token_lifetime * 1000,
  })
  const documents = createClientDocuments({ runtime, directory })
  const grants = createGrants({ runtime, config, record, mayStillSignIn, find })
  return {
    signer,
    clients: known.clients(createClients({ runtime, config, documents, directory })),
    grants,
    tokens: createTokens({ runtime, config, signer }),
    pendingRequests: known.pendingRequests(createPendingRequests({ runtime })),
    authenticate: createAuthenticateBearer({ runtime, directory, signer, grants }),
  }
}
type AuthorizationServer = ReturnType<typeof createAuthorizationServer>

/** Everything that a person sees between a client's request and its token. */
const createLogin = (
  { config, runtime, origins, record, limit, pages }: Platform,
  { directory, refresh: { find } }: Services,
  { people, providers, links, known, sessions }: Identity,
  { clients, grants, tokens, pendingRequests }: AuthorizationServer,
) => {
  const connections = createConnections({ runtime, config, directory, sessions, pages, limit, record })
  const consent = createConsent({
    runtime,
    config,
    directory,
    find,
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
  return { connections, consent, signIn }
}
type Login = ReturnType<typeof createLogin>

const createCalls = (
  { config, runtime, issuer, record, cors, trim }: Platform,
  { directory, registry, refresh }: Services,
  { signer, grants, authenticate }: AuthorizationServer,
  { connections: { credentials } }: Login,
) => {
  const hosts = createHostCheck({ config, directory })
  const endpointOf = createEndpoints(() => runtime.now())
  const always = transportSecurity(issuer)
  const refuse = createRefuse({ cors, log: runtime.log, always })
  const contextOf = createServiceContexts({
    config,
    directory,
    signer,
    credentials,
    transports: runtime.transports,
    endpointOf,
    now: runtime.now,
  })
  const proxyDeps = {
    runtime,
    config,
    directory,
    hosts,
    contextOf,
    endpointOf,
    authenticate,
    cors,
    record,
    credentials,
    alive: async ({ grantId }: Principal) => (await grants.live(grantId)) !== undefined,
    serving: registry.serving,
    always,
    trim,
  }
  const { admit, respond, makeCall, admitSocket, moved } = createProxy(proxyDeps)
  return {
    hosts,
    contextOf,
    refuse,
    admit,
    respond,
    admitSocket,
    fetchProxy: createFetchProxy({ makeCall, refuse, moved }),
    session: (id: string) => createSessionGateway({ ...proxyDeps, directory, refuse, refresh }, id),
  }
}
type Calls = ReturnType<typeof createCalls>

const createOAuthHandlers = (
  { config, runtime, record, limit }: Platform,
  { directory, refresh: { find } }: Services,
  { sessions }: Identity,
  { signer, clients, grants, tokens, pendingRequests }: AuthorizationServer,
) => ({
  metadata: createMetadata({ config, directory, signer }),
  register: createRegister({ directory, clients, limit, record }),
  manage: createClientConfiguration({ runtime, directory, clients, grants, record }),
  authorize: createAuthorize({ runtime, directory, find, clients, pendingRequests, sessions, limit }),
  token: createToken({ runtime, config, directory, find, clients, grants, tokens, limit, record }),
  ...createIssuedTokens({ runtime, directory, clients, grants, tokens, limit, record }),
})

const createServiceHandlers = (
  { runtime, origins, record, cors, pages }: Platform,
  { bridges, directory, registry }: Services,
  { links, sessions }: Identity,
  { connections }: Login,
  { contextOf, draining }: Pick<Calls, 'contextOf'> & { readonly draining: () => boolean },
) => ({
  status: createStatus({
    runtime,
    directory,
    sessions,
    pages,
    accountStatus: connections.step.standing,
    encodes: () => registry.config().domain_root !== undefined,
    draining,
    bridges,
    contextOf,
  }),
  servicesList: createServicesList({ directory, sessions, allows: cors.allows }),
  services: createServicesApi({
    registry,
    sessions,
    isAdmin: createIsAdmin(() => registry.config().admins, links.enabled ? owner : undefined),
    origins,
    record,
    bridges,
  }),
  encode: createEncode({ domainRoot: () => registry.config().domain_root, directory, pages }),
  assets: createAssets(),
})

export const createGateway = (options: GatewayOptions): Gateway => {
  const platform = createPlatform(options)
  const services = createServices(platform, options.services ?? [])
  const identity = createIdentity(platform, services)
  const authorizationServer = createAuthorizationServer(platform, services, identity)
  const login = createLogin(platform, services, identity, authorizationServer)
  const calls = createCalls(platform, services, authorizationServer, login)
  const { config, runtime, issuer, cors, pages, record } = platform
  const { directory, registry, bridges } = services
  const app = createApp({
    handlers: {
      ...login,
      ...createOAuthHandlers(platform, services, identity, authorizationServer),
      ...createServiceHandlers(platform, services, identity, login, {
        contextOf: calls.contextOf,
        draining: options.draining ?? (() => false),
      }),
    },
    registration: config.dynamic_registration,
    directory,
    cors,
    hostCheck: calls.hosts,
    pages,
    log: runtime.log,
    factsOf: identity.known.of,
    redirectTo: authorizationResponse(issuer),
  })
  return {
    directory,
    links: identity.links,
    registry,
    bridges,
    record,
    admit: calls.admit,
    respond: calls.respond,
    refuse: calls.refuse,
    session: calls.session,
    ...createRequestHandling({
      locateCall: createLocateCall(directory),
      refresh: services.refresh,
      fetchProxy: calls.fetchProxy,
      admitSocket: calls.admitSocket,
      app,
    }),
    async warm() {
      await Promise.all([authorizationServer.signer.jwks(), registry.refresh()])
    },
  }
}
