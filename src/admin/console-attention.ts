// What needs an administrator, and how far logins come: worked out from what the gateway keeps of definitions, flows and
// its own state.
import type { Config } from '../config/schema.ts'
import type { Attention, Funnel } from '../ports/console.ts'
import type { FlowAdmin, ListedFlow } from '../ports/flow-record.ts'
import type { ListedPin, PinAdmin } from '../ports/policy.ts'
import type { Trail } from '../ports/runtime.ts'
import type { Directory, Service, ServiceState } from '../ports/services.ts'
import type { AccessAdmin } from './access-api.ts'

/** How far back the overview looks, ms. */
export const lookBackMs = 86_400_000
const mostFlows = 500

// Definitions.

type Pinning = NonNullable<NonNullable<Config['mcp_services'][string]['access']>['pinning']>

export const pinningOf = (config: Config, { id }: Pick<Service, 'id'>): Pinning | undefined =>
  config.mcp_services[id]?.access?.pinning

/** Whether it is hidden and refused until somebody approves it (policy/pins.ts decides so for calls). */
export const isHeld = (pinning: Pinning, { state, digest, first }: ListedPin): boolean =>
  digest === undefined ||
  state === 'blocked' ||
  (state === 'new' && first === true && pinning.first === 'hold') ||
  pinning[state === 'new' ? 'new' : 'changed'] === 'quarantine'

export const isWaiting = ({ state }: Pick<ListedPin, 'state'>): boolean =>
  state === 'new' || state === 'changed'

const definitionsOf = (
  service: Service,
  pinning: Pinning,
  pins: readonly ListedPin[],
): readonly Attention[] => {
  const waiting = pins.filter(isWaiting)
  const changed = waiting.filter(({ state }) => state === 'changed')
  const first = changed[0] ?? waiting[0]
  if (!first) return []
  const { id, name } = service
  return [
    {
      kind: 'definitions',
      service: { id, name },
      changed: changed.length,
      fresh: waiting.length - changed.length,
      item: first.kind,
      name: first.name,
      at: first.seenAt,
      held: isHeld(pinning, first),
    },
  ]
}

// Logins.

/** How far a login came: 0 it began, 1 signed in, 2 allowed, 3 token, 4 first call. Undefined: nobody was sent here. */
const stageOf = ({ steps, user }: ListedFlow): number | undefined => {
  const isDone = (kind: string): boolean =>
    steps.some(({ name, result }) => name === kind && result === 'done')
  if (isDone('first-call')) return 4
  if (isDone('token')) return 3
  if (isDone('consent')) return 2
  if (user !== undefined) return 1
  return steps.some(({ name }) => name === 'authorize') ? 0 : undefined
}

/** The stages by the step that did not come. */
const stages: Readonly<Record<string, number>> = { 'sign-in': 0, 'consent': 1, 'token': 2, 'call': 3 }

export const stoppedAt = (flows: readonly ListedFlow[], step: string): readonly ListedFlow[] =>
  flows.filter((flow) => stageOf(flow) === stages[step])

export const funnelOf = (flows: readonly ListedFlow[], more: boolean): Funnel => {
  const reached = flows.map(stageOf)
  const atLeast = (stage: number): number => reached.filter((one) => one !== undefined && one >= stage).length
  return {
    started: atLeast(0),
    signedIn: atLeast(1),
    allowed: atLeast(2),
    token: atLeast(3),
    called: atLeast(4),
    more,
  }
}

const isSameLogin = (one: ListedFlow, other: ListedFlow): boolean =>
  (one.client_name ?? one.client) === (other.client_name ?? other.client) &&
  one.service === other.service &&
  (one.user === undefined || one.user === other.user)

/** Where the user alone can go on, or nobody was sent here yet, no administrator is called. */
const needsHelp = ({ state, finding, steps }: ListedFlow): boolean => {
  if (state === 'stalled') return finding?.acts !== 'user' && steps.some(({ name }) => name === 'authorize')
  return state === 'failed' && (finding?.acts === 'operator' || finding?.acts === 'server')
}

/** Newest first; one for all that stopped alike, and none for those that came through later. */
export const stoppedLogins = (flows: readonly ListedFlow[]): readonly Attention[] => {
  const groups = new Map<string, { flow: ListedFlow; more: number }>()
  for (const [i, flow] of flows.entries()) {
    const later = flows.slice(0, i)
    if (!needsHelp(flow) || later.some((other) => other.state === 'completed' && isSameLogin(flow, other)))
      continue
    const key = JSON.stringify([flow.finding?.code, flow.client_name ?? flow.client, flow.service])
    const group = groups.get(key)
    if (group) group.more++
    else groups.set(key, { flow, more: 0 })
  }
  return [...groups.values()].map((group) => ({ kind: 'flow', ...group }))
}

// The audit trail.

const trailAttention = (trail: AttentionDeps['runtime']['trail']): readonly Attention[] => {
  const { diskLow = false, fault } = trail?.condition?.() ?? {}
  return [
    ...(trail?.available() === false ? [{ kind: 'trail' as const }] : []),
    ...(fault === undefined ? [] : [{ kind: 'trail-fault' as const, fault }]),
    ...(diskLow ? [{ kind: 'disk' as const }] : []),
  ]
}

// All of it.

export interface AttentionDeps {
  readonly directory: Pick<Directory, 'services'>
  readonly registry: { config(): Config }
  readonly policy: { readonly pins: Pick<PinAdmin, 'list'> }
  readonly flowAdmin: FlowAdmin | undefined
  readonly accessAdmin: Pick<AccessAdmin, 'closures'>
  readonly stateOf: (service: Service) => ServiceState
  readonly runtime: {
    now(): number
    readonly trail?: Pick<Trail, 'available' | 'condition'> | undefined
  }
}

export interface Overview {
  readonly attention: readonly Attention[]
  /** Of the last day, the newest first; absent where none are recorded. */
  readonly logins?: { readonly flows: readonly ListedFlow[]; readonly truncated: boolean }
}

/** Without what may be secret in it: a URL without its query, a program without its arguments. */
export const whereOf = (config: Config, { id, upstream }: Service): string => {
  if (upstream.kind !== 'http') return config.mcp_services[id]?.command ?? id
  return URL.parse(upstream.url)?.host ?? id
}

/** Reads what every page of the console says about the whole. */
export const readOverview = async (deps: AttentionDeps): Promise<Overview> => {
  const { directory, registry, policy, flowAdmin, accessAdmin, stateOf, runtime } = deps
  const config = registry.config()
  const pinned = directory.services.flatMap((service) => {
    const pinning = pinningOf(config, service)
    return pinning ? [{ service, pinning }] : []
  })
  const [{ gateway: lock }, logins, definitions] = await Promise.all([
    accessAdmin.closures(),
    flowAdmin?.list({ since: runtime.now() - lookBackMs }, mostFlows),
    Promise.all(
      pinned.map(async ({ service, pinning }) =>
        definitionsOf(service, pinning, await policy.pins.list(service)),
      ),
    ),
  ])
  const down = directory.services.filter((service) => stateOf(service) === 'degraded')
  return {
    attention: [
      ...(lock ? [{ kind: 'locked' as const, by: lock.by, at: lock.at }] : []),
      ...trailAttention(runtime.trail),
      ...down.map((service) => ({
        kind: 'service' as const,
        service: { id: service.id, name: service.name },
        where: whereOf(config, service),
      })),
      ...definitions.flat(),
      ...stoppedLogins(logins?.flows ?? []),
    ],
    ...(logins && { logins }),
  }
}
