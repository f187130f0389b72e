// Every way to a service: a call over HTTP, a WebSocket, a line of HTTP+SSE, each judged by the same checks; here, or in the berth of one session.
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import { publishedVersions } from '../mcp/revisions.ts'
import type { Admit, Upstream } from '../ports/call.ts'
import type { UpstreamCredentials } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import type { LocatedCall } from '../ports/transport.ts'
import { type AdmitDeps, type AdmitStepsDeps, createAdmit, createOpenCall } from './admit.ts'
import { type AdmittedCall, ownerOf } from './admitted-call.ts'
import { createBodyBudget } from './body.ts'
import { createConcurrencyLimit } from './concurrency.ts'
import { askedOf } from './error-response.ts'
import { type RevalidationDeps, createRevalidation } from './revalidate.ts'
import { type RevisionBridgeDeps, createRevisionBridge } from './revisions/bridge.ts'
import { type MakeInternalCall, createInternalCalls } from './transports/client-messages.ts'
import { type ClientSseDeps, createClientSse } from './transports/client-sse.ts'
import { type AdmitSocket, createAdmitSocket } from './transports/client-websocket.ts'
import {
  type ServerAdapter,
  type ServerAdapterDeps,
  createServerAdapter,
} from './transports/server-adapter.ts'
import { createSessionLocation } from './transports/session-location.ts'
import type { EndpointOf } from './upstream-endpoint.ts'

// Calls that the straight way does not carry: clients of HTTP+SSE, servers that speak it or a WebSocket, and clients and servers of different eras.

export interface AdapterDeps extends Pick<
  ClientSseDeps,
  'watch' | 'record' | 'ask' | 'keepAliveMs' | 'budget'
> {
  readonly runtime: ClientSseDeps['runtime'] & ServerAdapterDeps['runtime'] & RevisionBridgeDeps['runtime']
  readonly config: RevisionBridgeDeps['config'] & {
    readonly max_concurrent_calls: number
    readonly max_open_streams: number
  }
  readonly endpointOf: EndpointOf
  /** The id of the one session that may live here; absent: any number, with ids of their own. */
  readonly berth?: string | undefined
}

export interface TransportAdapter {
  /** Where an admitted call goes instead; undefined for the straight way. */
  upstream(passed: AdmittedCall): Upstream | undefined
  /** A call that was let in elsewhere, to the server on a line whose session lives here. Rejects with `Refusal`. */
  server(service: Service, request: Request, about: LocatedCall): Promise<Response>
}

export const createTransportAdapter = ({
  runtime,
  config,
  watch,
  record,
  ask,
  keepAliveMs,
  endpointOf,
  budget,
  berth,
}: AdapterDeps): TransportAdapter => {
  const reaches = new WeakMap<Service, { readonly reach: ServerAdapter | undefined }>()
  const reachOf = (service: Service): ServerAdapter | undefined => {
    const made = reaches.get(service) ?? {
      reach: createServerAdapter(service, {
        runtime,
        endpointOf,
        watch,
        most: config.max_open_streams,
        keepAliveMs,
      }),
    }
    reaches.set(service, made)
    return made.reach
  }
  const nextId = (): string => berth ?? encodeBase64url(runtime.random(32))
  const front = createClientSse({
    runtime,
    ask,
    nextId,
    watch,
    record,
    keepAliveMs,
    most: config.max_concurrent_calls,
    budget,
  })
  const eras = createRevisionBridge({ runtime, config, keepAliveMs, reachOf, endpointOf })
  return {
    upstream(passed) {
      const { call, principal, envelope, session } = passed
      const { address } = call
      if (address.transport === 'sse') return front.upstream(passed)
      const crossing = eras.upstream(passed)
      if (crossing) return crossing
      const way = call.rest === '' ? reachOf(address.service) : undefined
      if (!way?.needed(session, envelope?.messages[0]?.method === 'initialize')) return undefined
      return {
        kind: 'local',
        url: 'http://line.invalid/mcp',
        handle: (request) =>
          way.ask(request, { owner: ownerOf(principal), asked: askedOf(call.head, { address, principal }) }),
      }
    },
    server(service, request, about) {
      const way = reachOf(service)
      if (!way) throw new Refusal('session.unknown', `${service.id} is no server elsewhere`)
      return way.server(request, about, berth)
    },
  }
}

// Calls over HTTP, joined: the decision, the ways beside the straight one, and what a line makes of its messages, which are calls again.

export interface CallsDeps
  extends
    Omit<AdapterDeps, 'ask'>,
    Omit<AdmitStepsDeps, 'detour' | 'runtime'>,
    Pick<AdmitDeps, 'knock' | 'guard'> {
  readonly runtime: AdapterDeps['runtime'] & AdmitStepsDeps['runtime']
}

export interface Calls {
  readonly admit: Admit
  readonly ask: MakeInternalCall
  readonly server: TransportAdapter['server']
}

export const createCalls = (deps: CallsDeps): Calls => {
  const admit: Admit = (head, readBody) => decide(head, readBody)
  const ask = createInternalCalls({ admit, transports: deps.runtime.transports })
  const { upstream, server } = createTransportAdapter({ ...deps, ask })
  const decide = createAdmit({ ...deps, open: createOpenCall({ ...deps, detour: upstream }) })
  return { admit, ask, server }
}

export interface UpstreamSelectionDeps
  extends
    Omit<CallsDeps, 'watch' | 'streamSlot' | 'callSlot' | 'budget' | 'supported' | 'keepAliveMs' | 'runtime'>,
    RevalidationDeps {
  readonly config: CallsDeps['config'] & {
    readonly heartbeat: number
    readonly protocol_versions?: readonly string[] | undefined
  }
  readonly credentials: UpstreamCredentials
  readonly runtime: CallsDeps['runtime'] & RevalidationDeps['runtime'] & Pick<Runtime, 'bodyBytes'>
}

export interface UpstreamSelection {
  readonly admit: Admit
  readonly admitSocket: AdmitSocket
  /** Requests about sessions that live elsewhere; absent where all live here. */
  readonly moved: ReturnType<typeof createSessionLocation> | undefined
  readonly server: Calls['server']
}

export const createUpstreamSelection = (deps: UpstreamSelectionDeps): UpstreamSelection => {
  const { transports, defer, now, log } = deps.runtime
  const watch = createRevalidation(deps)
  const supported = deps.config.protocol_versions ?? publishedVersions
  const streamSlot = createConcurrencyLimit(deps.config.max_open_streams)
  const callSlot = createConcurrencyLimit(deps.config.max_concurrent_calls)
  const budget = createBodyBudget(deps.runtime.bodyBytes)
  const keepAliveMs = deps.config.heartbeat * 1000
  const { admit, ask, server } = createCalls({
    ...deps,
    watch,
    streamSlot,
    callSlot,
    budget,
    supported,
    keepAliveMs,
  })
  return {
    admit,
    admitSocket: createAdmitSocket({
      ...deps,
      transports,
      defer,
      now,
      log,
      watch,
      ask,
      streamSlot,
      callSlot,
      budget,
      supported,
      heartbeatMs: keepAliveMs,
    }),
    moved:
      transports.sessionLocations &&
      createSessionLocation({ ...deps, sessionLocations: transports.sessionLocations, streamSlot }),
    server,
  }
}
