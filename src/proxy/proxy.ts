// Every way to a service: a call over HTTP, a WebSocket, an event stream of HTTP+SSE, each judged by the
// steps of admit.ts; here, or in the object of one session.
import { newId } from '../kit/bytes.ts'
import { requestUrl } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import { publishedVersions } from '../mcp/revisions.ts'
import type { ProxiedCalls, Refuse, RunningCalls } from '../ports/call.ts'
import type { AskForMore, Audit, AuthenticateBearer, UpstreamCredentials } from '../ports/modules.ts'
import type { CallRates } from '../ports/policy.ts'
import type { Runtime, LocatedCall, SessionLocation } from '../ports/runtime.ts'
import type { Directory, Service } from '../ports/services.ts'
import { createAdmission } from './admission.ts'
import { type AdmitDeps, type SelectUpstream, createAdmit } from './admit.ts'
import { ownerOf, createBodyBudget, createConcurrencyLimit, createMcpSessions } from './callers.ts'
import { createTasks } from './tasks.ts'
import { type MakeCall, createFetchProxy, createMakeCall, headOf } from './fetch.ts'
import { type ListAccess, type TrimFor, createPolicyTrim, policyOf, trimByBoth } from './lists.ts'
import { createKeepBodies } from './kept-bodies.ts'
import { createWatchLists } from './list-notices.ts'
import { createFinish, askedOf } from './outcome.ts'
import type { ResolveDeps } from './resolve.ts'
import { type PeerRequests, createPeerRequests } from './peers.ts'
import { type Verify, createVerify } from './forward-auth.ts'
import { createRespond } from './response-sink.ts'
import { type RevalidationDeps, createRevalidation } from './revalidate.ts'
import { type RevisionBridgeDeps, createRevisionBridge } from './revisions/bridge.ts'
import {
  type ConnectionSteps,
  createInternalCalls,
  createConnectionSteps,
  type MakeInternalCall,
} from './transports/client-messages.ts'
import { type ClientSseDeps, createClientSse, createSessionLocation } from './transports/client-sse.ts'
import { type AdmitSocket, createAdmitSocket } from './transports/client-websocket.ts'
import {
  type ServerAdapter,
  type ServerAdapterDeps,
  createServerAdapter,
} from './transports/server-adapter.ts'
import { type ToolCatalogDeps, createToolCatalog } from './access.ts'
import { createCallTracing } from './trace-context.ts'
import { createCredentialRecovery } from './upstream-credential.ts'
import type { EndpointOf } from './upstream-endpoint.ts'

/** How long a server may take for an answer to a request of its own, ms. */
const replyMs = 10_000

interface ProxyConfig {
  readonly max_concurrent_calls: number
  readonly max_open_streams: number
  /** Seconds. */
  readonly heartbeat: number
  readonly protocol_versions?: readonly string[] | undefined
  readonly personal_tokens?: { readonly header?: string | undefined }
}

export interface ProxyDeps extends ResolveDeps, RevalidationDeps {
  /** The calls in progress, for whoever asks. */
  readonly running?: RunningCalls
  readonly runtime: Runtime
  readonly config: ProxyConfig
  readonly authenticate: AuthenticateBearer
  readonly record: Audit
  readonly credentials: UpstreamCredentials
  readonly endpointOf: EndpointOf
  /** Flat list of fields of every answer. */
  readonly always: readonly string[]
  /** The id of the one session that may live here; absent: any number, with ids of their own. */
  readonly sessionId?: string | undefined
  /** Besides the access rules; absent: lists are passed on as these leave them. */
  readonly trim?: TrimFor | undefined
  /** How a person is asked for more than they let an app do. */
  readonly askForMore: AskForMore
  /** What servers have said of their tools; the consent page shows them too. */
  readonly toolMemory: Pick<ToolCatalogDeps, 'known' | 'keep'>
  /** Absent: no rate limits of calls. */
  readonly rates?: CallRates | undefined
}

export interface Proxy extends ProxiedCalls {
  /** Decides about a call and carries it out with fetch. */
  readonly makeCall: MakeCall
  readonly admitSocket: AdmitSocket
  /** Decides about a call that a proxy in front of its server carries. */
  readonly verify: Verify
  /** Requests about sessions that live elsewhere; absent where all live here. */
  readonly moved: ReturnType<typeof createSessionLocation> | undefined
  /** Requests about sessions of the other processes; absent where there are none. */
  readonly peers: PeerRequests | undefined
  /**
   * A call that was let in elsewhere, to the server on a connection whose session lives here. Rejects with
   * `Refusal`.
   */
  server(service: Service, request: Request, about: LocatedCall): Promise<Response>
}

/**
 * Servers that are reached as Streamable HTTP whatever they speak; each made when the first call wants it.
 */
const createServerAdapters = (deps: ServerAdapterDeps): ((service: Service) => ServerAdapter | undefined) => {
  const adapters = new WeakMap<Service, { readonly adapter: ServerAdapter | undefined }>()
  return (service) => {
    const made = adapters.get(service) ?? { adapter: createServerAdapter(service, deps) }
    adapters.set(service, made)
    return made.adapter
  }
}

interface SelectionDeps extends Omit<ClientSseDeps, 'runtime'> {
  readonly runtime: ClientSseDeps['runtime'] & RevisionBridgeDeps['runtime']
  readonly config: RevisionBridgeDeps['config']
  readonly endpointOf: EndpointOf
  readonly adapterOf: (service: Service) => ServerAdapter | undefined
}

/**
 * For calls that their server does not take as they are: clients of HTTP+SSE, servers that speak it or a
 * WebSocket, and clients and servers of different revisions.
 */
const createSelection = ({ adapterOf, endpointOf, config, ...deps }: SelectionDeps): SelectUpstream => {
  const clients = createClientSse(deps)
  const { runtime, keepAliveMs } = deps
  const revisions = createRevisionBridge({ runtime, config, keepAliveMs, reachOf: adapterOf, endpointOf })
  return (call) => {
    const { address, principal, envelope, session, head, rest } = call
    if (address.transport === 'sse') return clients.upstream(call)
    const bridged = revisions.upstream(call)
    if (bridged) return bridged
    const adapter = rest === '' ? adapterOf(address.service) : undefined
    if (!adapter?.needed(session, envelope?.messages[0]?.method === 'initialize')) return undefined
    return {
      kind: 'local',
      url: 'http://line.invalid/mcp',
      handle: (request) => adapter.ask(request, { owner: ownerOf(principal), asked: askedOf(head, call) }),
    }
  }
}

/** What the steps of a call need, as far as it is made here. */
const createLimits = ({ config, runtime, running }: Pick<ProxyDeps, 'config' | 'runtime' | 'running'>) => ({
  supported: config.protocol_versions ?? publishedVersions,
  streamLimit: createConcurrencyLimit(config.max_open_streams),
  callLimit: createConcurrencyLimit(config.max_concurrent_calls, running),
  budget: createBodyBudget(runtime.bodyBytes),
  tracing: runtime.tracing && createCallTracing(runtime.tracing, runtime),
})

/** Answers a server by a call in its session, as the client would. Nobody waits for what it says to that. */
const createReplyOf =
  ({ defer }: Pick<Runtime, 'defer'>, ask: MakeInternalCall): ListAccess['replyOf'] =>
  ({ head, session, inbound }) => {
    const [version] = inbound.versions
    return (message) => {
      const body = JSON.stringify(message)
      const said = { method: 'POST', session, version, body, message, uncounted: true } as const
      const sent = ask({ head, path: head.target }, { ...said, signal: AbortSignal.timeout(replyMs) })
      defer(
        sent.then(
          (response) => response.body?.cancel(),
          () => undefined,
        ),
      )
    }
  }

/** The tools that are known, and what callers see of lists. */
const createListAccess = (
  {
    runtime,
    policy,
    trim,
    record,
    toolMemory,
    newest,
  }: Pick<ProxyDeps, 'runtime' | 'policy' | 'trim' | 'record' | 'toolMemory' | 'newest'>,
  ask: MakeInternalCall,
): ListAccess => {
  const catalog = createToolCatalog({
    ask,
    now: runtime.now,
    singleFlight: createSingleFlight(runtime),
    ...toolMemory,
    changed: (service) => policy?.of(service)?.pins?.changed(),
  })
  const byRules = policy && createPolicyTrim(policy, catalog, record, newest)
  return {
    catalog,
    trim: trim && byRules ? trimByBoth(trim, byRules) : (byRules ?? trim),
    rulesOf: policyOf(policy),
    replyOf: createReplyOf(runtime, ask),
    watchLists: policy ? createWatchLists(policy, runtime.timer, newest) : () => () => undefined,
    tasks: createTasks(runtime),
    newest,
  }
}

/** Sessions that are not kept here: each in an object of its own, or by another process. */
const createElsewhere = (
  { runtime, config }: Pick<ProxyDeps, 'runtime' | 'config'>,
  steps: AdmitDeps,
  connections: ConnectionSteps,
): Pick<Proxy, 'moved' | 'peers'> => {
  const { sessionLocations } = runtime.transports
  const tokenHeader = config.personal_tokens?.header
  const peers =
    runtime.peers &&
    createPeerRequests({ ...steps, peers: runtime.peers, transports: runtime.transports, tokenHeader })
  return {
    peers,
    moved: peers?.moved ?? (sessionLocations && createSessionLocation({ sessionLocations, connections })),
  }
}

export const createProxy = (deps: ProxyDeps): Proxy => {
  const { runtime, config, record, sessionId } = deps
  const { transports, now, timer, log, defer } = runtime
  const watch = createRevalidation(deps)
  const keepAliveMs = config.heartbeat * 1000
  const limits = createLimits(deps)
  const sessions = createMcpSessions({ runtime, record, alive: deps.alive })
  const recovery = createCredentialRecovery(deps)
  const { tracing } = limits
  const finish = createFinish({ now, record, keepBodies: createKeepBodies(runtime), tracing })
  // What a connection says becomes a call again.
  const respond = createRespond({ runtime })
  const makeCall = createMakeCall({ admit: (head, readBody) => admit(head, readBody), respond }, runtime)
  const ask = createInternalCalls({ makeCall, transports })
  const access = createListAccess(deps, ask)
  const most = config.max_concurrent_calls
  const shared = { runtime, ask, watch, record, keepAliveMs, most, budget: limits.budget }
  const adapterOf = createServerAdapters({
    ...deps,
    watch,
    most: config.max_open_streams,
    keepAliveMs,
    listsChanged: access.catalog.forget,
  })
  const select = createSelection({
    ...shared,
    config,
    endpointOf: deps.endpointOf,
    adapterOf,
    nextId: () => sessionId ?? newId(runtime.random, 32, runtime.peers?.node),
  })
  const admission = createAdmission({ ...deps, access, finish, sessions, recovery, watch, keepAliveMs })
  const steps: AdmitDeps = { ...deps, ...limits, ...access, sessions, recovery, select, admission, finish }
  const admit = createAdmit(steps)
  const connections = createConnectionSteps(steps)
  return {
    ...createElsewhere(deps, steps, connections),
    admit,
    ...{ respond, makeCall, verify: createVerify(steps) },
    admitSocket: createAdmitSocket({
      ...shared,
      ...access,
      changed: access.catalog.forget,
      connections,
      credentials: deps.credentials,
      heartbeatMs: keepAliveMs,
      transports,
      defer,
      now,
      timer,
      log,
    }),
    server(service, request, about) {
      const adapter = adapterOf(service)
      if (!adapter) throw new Refusal('session.unknown', `${service.id} is no server elsewhere`)
      return adapter.server(request, about, sessionId)
    },
  }
}

interface SessionGatewayDeps extends ProxyDeps {
  readonly directory: Directory
  readonly refuse: Refuse
  /** Makes sure that the services of a path and host are the newest. */
  readonly refresh: { request(path: string, host?: string): unknown }
}

/** The gateway inside one session object: it serves the calls of that session alone. `id`: of the session. */
export const createSessionGateway = (deps: SessionGatewayDeps, id: string): SessionLocation => {
  const { runtime, directory, refuse, refresh } = deps
  const { sessionLocations: _, ...transports } = runtime.transports
  const proxy = createProxy({ ...deps, runtime: { ...runtime, transports }, sessionId: id })
  const client = createFetchProxy({ makeCall: proxy.makeCall, refuse })
  return {
    async client(request, context) {
      const at = requestUrl(request.url)
      await refresh.request(at.path, at.host)
      return client(request, headOf(request, context, at), transports.fetch)
    },
    async server(request, about) {
      // The sender already knows the service.
      await refresh.request(`/${about.service}/mcp`)
      const service = directory.service(about.service)
      if (!service) throw new Refusal('session.unknown', `no service ${about.service}`)
      return proxy.server(service, request, about)
    },
  }
}
