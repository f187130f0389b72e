// The composition root: builds every module, passes each the functions it needs, and returns one gateway for
// a runtime to serve.
import { hasAccessRules } from './access-examples.ts'
import { type AccessAdmin, createAccessAdmin } from './admin/access-api.ts'
import { createBlocks, createClosures } from './admin/blocks.ts'
import { createAdminHandlers } from './admin/routes.ts'
import { createIsAdmin } from './admin/services-api.ts'
import { type RulesAdmin, createRulesAdmin, createStoredRules } from './admin/stored-rules.ts'
import { createAfterSignIn } from './after-sign-in.ts'
import { type RequestHandling, createApp, createRequestHandling } from './app.ts'
import { createServiceChoices } from './consent-choices.ts'
import { createConsoleSources } from './console-sources.ts'
import type { Sources } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { createConnections } from './connections/connections.ts'
import { createRecording } from './flows/observe.ts'
import { createFlowsApi } from './flows/api.ts'
import {
  type LoginLinks,
  createAccessRules,
  createLocalPeople,
  createLoginLinks,
  owner,
} from './identity/local-users.ts'
import { createProviders } from './identity/providers/configured.ts'
import { createProvisionPerson } from './identity/scim-groups.ts'
import { withProvisioning } from './identity/scim-users.ts'
import { createSessions } from './identity/session.ts'
import { createSessionAdmin } from './identity/session-list.ts'
import { createSignIn } from './identity/sign-in.ts'
import { transportSecurity } from './kit/http.ts'
import { createTokensPage } from './oauth/tokens-page.ts'
import { choicesWithApi } from './oauth/api-tokens.ts'
import { createAssertionIssuers } from './oauth/assertion-issuers.ts'
import { createPendingRequests } from './oauth/authorization-requests.ts'
import { createAuthorize } from './oauth/authorize.ts'
import { createAuthenticateBearer } from './oauth/bearer.ts'
import { createClientParts } from './oauth/client-bindings.ts'
import { createConnectedApps } from './oauth/connected-apps.ts'
import { createConsent } from './oauth/consent.ts'
import { createDeviceHandlers } from './oauth/device-page.ts'
import { createDpop } from './oauth/dpop.ts'
import { createIssuedTokens } from './oauth/issued-tokens.ts'
import { type OAuthEndpoint, createMetadata, endpoints } from './oauth/metadata.ts'
import { authorizationResponse, findWithApi } from './oauth/parameters.ts'
import { createClientConfiguration, createRegister } from './oauth/registration.ts'
import { createSigner } from './oauth/signing-keys.ts'
import { createStepUps } from './oauth/step-up.ts'
import { createToken } from './oauth/token-endpoint.ts'
import { createTokens } from './oauth/tokens.ts'
import type { PersonalTokens } from './oauth/personal-tokens.ts'
import { createSite } from './pages/views.ts'
import { createCallRates } from './policy/call-rates.ts'
import { createPolicy } from './policy/policy.ts'
import { createCounterSteps, createLimit } from './policy/rate-limit.ts'
import type { ProxiedCalls, Refuse } from './ports/call.ts'
import type { FlowAdmin } from './ports/flow-record.ts'
import type { AssertionIssuers } from './ports/assertions.ts'
import type { Audit, Signer } from './ports/modules.ts'
import type { BoundClients, ConnectionAdmin, Principal } from './ports/people.ts'
import type { Policy } from './ports/policy.ts'
import type { Runtime, SessionLocation } from './ports/runtime.ts'
import type { Directory, Service } from './ports/services.ts'
import type { CounterSteps, CountTable } from './ports/store.ts'
import { callStdio, createFetchProxy } from './proxy/fetch.ts'
import { createForwardAuth } from './proxy/forward-auth.ts'
import { createRefuse } from './proxy/outcome.ts'
import { type PeerSide, createPeerSide } from './proxy/peers.ts'
import { callerContext } from './proxy/identity-headers.ts'
import { type ProxyDeps, createProxy, createSessionGateway } from './proxy/proxy.ts'
import { createCors, createHostCheck, createLocateCall, createServiceContexts } from './proxy/resolve.ts'
import { createEndpoints } from './proxy/upstream-endpoint.ts'
import { createKnownFacts } from './request-facts.ts'
import { createDirectory } from './services/directory.ts'
import { createEncode } from './services/encode.ts'
import { createHealthChecks } from './services/health-checks.ts'
import { createDryRun, createServiceMaker, servicePlanOf } from './services/from-config.ts'
import { type ServiceRegistry, createServiceRegistry, createServicesRefresh } from './services/registry.ts'
import { createServicesList, createStatus, isLoopback } from './status.ts'
import { type Bridges, createBridges } from './stdio/bridge.ts'
import { createToolMemory } from './stored-tools.ts'

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
  /** Where each value of the configuration came from; absent: nobody knows. */
  readonly sources?: () => Sources
  /** What callers are to see of the lists of services; absent: all of it. */
  readonly trim?: ProxyDeps['trim']
}

export interface Gateway extends RequestHandling, ProxiedCalls {
  readonly directory: Directory
  readonly links: LoginLinks
  /** The configured services and those added while the gateway runs. */
  readonly registry: ServiceRegistry
  /** Grants and blocks, for whoever runs the gateway. */
  readonly access: AccessAdmin
  /** Access rules beside those of the configuration. */
  readonly rules: RulesAdmin
  /** Absent where no flows are recorded. */
  readonly flows: FlowAdmin | undefined
  readonly personalTokens: PersonalTokens
  readonly assertions: AssertionIssuers
  readonly boundClients: BoundClients
  /** Accounts of users at MCP servers. */
  readonly connections: ConnectionAdmin
  /** The keys that sign access tokens. */
  readonly signer: Pick<Signer, 'published' | 'rotate'>
  readonly refuse: Refuse
  /** Sessions of the other processes, and theirs of this one (`Runtime.peers`); absent where there are none. */
  readonly peers: PeerSide | undefined
  /** One session by its id, for the object that keeps it in memory (Workers). */
  session(id: string): SessionLocation
  /** Writes an audit event that only the runtime knows of. */
  readonly record: Audit
  /** The stdio servers. The runtime closes them when the gateway ends. */
  readonly bridges: Bridges
  /** Loads the signing keys, so that metadata and token checks survive a later storage outage. */
  warm(): Promise<void>
}

// Each stage gets what the stages before it have made.

/** What several modules get. */
const createPlatform = ({
  config,
  runtime,
  issuer,
  aliases = [],
  services = [],
  draining = () => false,
  sources,
  trim,
}: GatewayOptions) => {
  const origins = [issuer, ...aliases]
  return {
    config,
    runtime,
    issuer,
    origins,
    builtIn: services,
    draining,
    sources,
    trim,
    blocks: withProvisioning(createBlocks(runtime), runtime, config.oauth_providers),
    provision: createProvisionPerson(runtime, config.oauth_providers),
    closures: createClosures(runtime),
    toolMemory: createToolMemory(runtime),
    limit: createLimit({ now: runtime.now, loopback: isLoopback(issuer), shared: runtime.counters, runtime }),
    cors: createCors({ cors: config.cors, origins, debug: config.debug }),
    ...createSite({ issuer, version: runtime.about.version }, config),
  }
}
type Platform = ReturnType<typeof createPlatform>

const withServices = (platform: Platform) => {
  const { config, runtime, issuer, origins, builtIn } = platform
  // The policy is about services, whose processes are told what it grants.
  const granted: { policy?: Policy } = {}
  const bridges = createBridges(runtime, config.heartbeat * 1000, (service) =>
    callerContext(config, granted, service),
  )
  const check = createHealthChecks(runtime, (service) => directory.services.includes(service))
  const serviceOf = createServiceMaker({ bridges, digest: runtime.digest, check })
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
  const endpointPaths = Object.values<OAuthEndpoint>(endpoints).flatMap(({ path, alias = path }) => [
    path,
    alias,
  ])
  const refresh = createServicesRefresh({ directory, registry, defer: runtime.defer, endpointPaths })
  const stored = createStoredRules(runtime, registry.config)
  const events = createRecording({ config, runtime, limit: platform.limit, directory })
  const policy = createPolicy({ runtime, ...events, config: registry.config, services: serviceOf, stored })
  granted.policy = policy
  const rates = createCallRates({ runtime, config: registry.config, services: serviceOf })
  const { find } = refresh
  const made = { bridges, directory, serviceOf, registry, refresh, find, stored, policy, rates }
  return { ...platform, ...events, ...made }
}

const withIdentity = (parts: ReturnType<typeof withServices>) => {
  const { config, runtime, issuer, directory, provision } = parts
  const people = createLocalPeople({ runtime, users: config.local_users })
  const providers = createProviders({ runtime, config, issuer })
  const links = createLoginLinks({ runtime, enabled: !people.any && providers.size === 0 })
  const mayStillSignIn = createAccessRules({
    accounts: config.service_accounts,
    people,
    providers,
    links,
    directory,
  })
  const known = createKnownFacts(directory)
  const timing = { idleMs: config.session_timeout * 1000, absoluteMs: 8 * 3_600_000 }
  const sessionDeps = { runtime, mayStillSignIn, provision, issuer, ...timing }
  const sessions = known.sessions(createSessions(sessionDeps))
  const sessionAdmin = createSessionAdmin(sessionDeps)
  const builtInUser = links.enabled ? owner : undefined
  const isAdmin = createIsAdmin(() => parts.registry.config().admins, builtInUser)
  const connections = createConnections({ ...parts, sessions, mayStillSignIn, isAdmin })
  const isAuditor = createIsAdmin(() => parts.registry.config().auditors, builtInUser)
  const signingIn = { people, providers, links, builtInUser, isAdmin, isAuditor, mayStillSignIn, sessions }
  return { ...parts, ...signingIn, sessionAdmin, known, connections }
}

const withAuthorizationServer = (parts: ReturnType<typeof withIdentity>) => {
  const { config, runtime, issuer, directory, known } = parts
  const rotation = { rotationMs: config.key_rotation * 1000, overlapMs: config.access_token_lifetime * 1000 }
  const signer = createSigner({ runtime, issuer, ...rotation })
  const dpop = createDpop(parts)
  const afterSignIn = createAfterSignIn({ ...parts, signer, dpop })
  return {
    ...parts,
    ...afterSignIn,
    signer,
    findResource: findWithApi(parts.find, directory),
    dpop,
    accessAdmin: createAccessAdmin({ ...parts, ...afterSignIn, now: runtime.now }),
    rules: createRulesAdmin({ ...parts, isRuled: hasAccessRules }),
    stepUps: createStepUps(parts),
    ...createClientParts({ ...parts, ...afterSignIn }, known.clients),
    tokens: createTokens({ runtime, config, signer }),
    pendingRequests: known.pendingRequests(parts.watchPending(createPendingRequests({ runtime }))),
    authenticate: createAuthenticateBearer({ runtime, directory, signer, dpop, ...afterSignIn }),
  }
}
type Parts = ReturnType<typeof withAuthorizationServer>

/** Everything that a person sees between a client's request and its token. */
const createLogin = (parts: Parts) => {
  const { connections } = parts
  const choices = choicesWithApi(createServiceChoices(parts, connections.step.standing), parts.isAdmin)
  const consent = createConsent({ ...parts, find: parts.findResource, choices, upstream: connections.step })
  const signIn = createSignIn({
    ...parts,
    describeFlow: parts.known.describeFlow(consent.describeFlow),
    keepTokens: connections.keepTokens,
  })
  return { connections, consent, signIn }
}
type Login = ReturnType<typeof createLogin>

const createCalls = (parts: Parts, { connections: { credentials, transports, located } }: Login) => {
  const { config, issuer, recordCall: record, cors, trim, policy, rates, closures, documentationOf } = parts
  const { directory, registry, refresh, signer, grants, authenticate } = parts
  const runtime = { ...parts.runtime, transports }
  const hosts = createHostCheck({ config, directory })
  const always = transportSecurity(issuer)
  const refuse = parts.watchRefuse(createRefuse({ cors, log: runtime.log, always, documentationOf }))
  const common = { config, directory, credentials, policy, endpointOf: createEndpoints(() => runtime.now()) }
  const contextOf = createServiceContexts({ ...common, signer, transports, now: runtime.now })
  const alive = async ({ grantId }: Principal) => (await grants.live(grantId)) !== undefined
  parts.bridges.follow(alive)
  const proxyDeps = {
    ...common,
    ...{ runtime, hosts, contextOf, authenticate, cors, record, alive },
    newest: parts.newest,
    serving: closures.over(registry.serving),
    ...{ closures, running: parts.running },
    always,
    trim,
    rates,
    toolMemory: parts.toolMemory,
    askForMore: parts.stepUps.askForMore,
  }
  const { admit, respond, makeCall, verify, admitSocket, moved, peers } = createProxy(proxyDeps)
  return {
    verify: createForwardAuth({ settings: config.forward_auth, verify, refuse }),
    ...{ hosts, contextOf, refuse, admit, respond, admitSocket },
    fetchProxy: createFetchProxy({ makeCall, refuse, moved, fetchFor: peers?.fetchFor }),
    peers: peers && createPeerSide(peers, transports, { makeCall, refuse }),
    session: (id: string) => located(createSessionGateway({ ...proxyDeps, directory, refuse, refresh }, id)),
  }
}

const createOAuthHandlers = (parts: Parts) => ({
  metadata: createMetadata(parts),
  register: createRegister(parts),
  manage: createClientConfiguration(parts),
  authorize: createAuthorize({ ...parts, find: parts.findResource }),
  token: createToken(parts),
  apps: createConnectedApps(parts),
  accountTokens: createTokensPage(parts),
  backChannelLogout: parts.backChannelLogout,
  scim: parts.scim,
  ...createDeviceHandlers({ ...parts, find: parts.findResource }),
  ...createIssuedTokens(parts),
})

const createServiceHandlers = (
  parts: Parts,
  { connections }: Login,
  contextOf: ReturnType<typeof createCalls>['contextOf'],
) => {
  const { directory, registry, sessions, cors, pages } = parts
  return {
    status: createStatus({
      ...parts,
      accountStatus: connections.step.standing,
      encodes: () => registry.config().domain_root !== undefined,
      contextOf,
    }),
    servicesList: createServicesList({ directory, sessions, allows: cors.allows }),
    ...createAdminHandlers({ ...parts, ...createConsoleSources(parts, { contextOf }) }),
    flows: createFlowsApi({ ...parts, sessions: parts.apiSessions }),
    encode: createEncode({ domainRoot: () => registry.config().domain_root, directory, pages }),
    assets: parts.assets,
  }
}

export const createGateway = (options: GatewayOptions): Gateway => {
  const parts = withAuthorizationServer(withIdentity(withServices(createPlatform(options))))
  const login = createLogin(parts)
  const { hosts, fetchProxy, admitSocket, contextOf, verify, ...calls } = createCalls(parts, login)
  const { config, runtime, issuer, record, cors, pages, directory, registry, bridges, links, signer } = parts
  const app = createApp({
    handlers: {
      ...{ ...login, ...createOAuthHandlers(parts), ...(verify && { verify }) },
      ...createServiceHandlers(parts, login, contextOf),
    },
    registration: config.dynamic_registration !== false,
    directory,
    cors,
    hostCheck: hosts,
    pages,
    log: parts.watchLog(runtime.log),
    documentationOf: parts.documentationOf,
    factsOf: parts.known.of,
    nonceOf: parts.apiSessions.nonceOf,
    redirectTo: authorizationResponse(issuer),
  })
  return {
    directory,
    links,
    registry,
    access: parts.accessAdmin,
    rules: parts.rules,
    flows: parts.flowAdmin,
    personalTokens: parts.personalTokens,
    assertions: createAssertionIssuers(parts),
    boundClients: parts.boundClients,
    connections: parts.connections.admin,
    signer,
    bridges,
    record,
    ...calls,
    ...createRequestHandling({
      locateCall: createLocateCall(directory),
      refresh: parts.refresh,
      fetchProxy,
      admitSocket,
      app: parts.watchApp(app),
    }),
    async warm() {
      const { policy, accessAdmin } = parts
      await Promise.all([signer.jwks(), registry.refresh(), policy.fresh(), accessAdmin.refresh()])
    },
  }
}

/** The counts of all processes, for a runtime that keeps them in a table of its own, step by step. */
export const createSharedCounters = (now: () => number, table: CountTable): CounterSteps =>
  createCounterSteps({ now, loopback: false, table })
