// What the console asks of the parts of the gateway: how services are, what rules say and would say, what is set.
import { explainSubject, hasAccessRules } from './access-examples.ts'
import { planChanges, readCells } from './access-matrix.ts'
import type { AccessEditor } from './admin/console-access.ts'
import type { ReplayCalls } from './admin/replay-api.ts'
import type { Config } from './config/schema.ts'
import { type ServiceOutlook, createServiceOutlook } from './consent-choices.ts'
import { personKey } from './kit/records.ts'
import { type AssertionIssuersDeps, createAssertionIssuers } from './oauth/assertion-issuers.ts'
import { replay } from './policy-replay.ts'
import type { ServiceAccess } from './policy/rules.ts'
import { withStored } from './policy/stored-rules.ts'
import type { AssertionIssuers } from './ports/assertions.ts'
import type { Person } from './ports/people.ts'
import type { StoredRules } from './ports/policy.ts'
import type { Runtime } from './ports/runtime.ts'
import type { Service, ServiceState } from './ports/services.ts'
import type { Settings } from './ports/settings.ts'
import type { AuditCombination } from './ports/store.ts'
import { type SettingsDeps, createSettings } from './settings.ts'
import { isPublic, stateOf } from './status.ts'

type StateDeps = Parameters<typeof stateOf>[1]

export type ConsoleSourcesDeps = SettingsDeps &
  Parameters<typeof createServiceOutlook>[0] &
  Pick<StateDeps, 'bridges'> &
  AssertionIssuersDeps & {
    readonly runtime: Pick<Runtime, 'now' | 'trail'>
    readonly registry: { config(): Config }
    readonly serviceOf: { accessOf(id: string): ServiceAccess }
    readonly stored: Pick<StoredRules, 'now'>
    /** While there is one: nobody else can sign in. */
    readonly builtInUser: Person | undefined
  }

export interface ConsoleSources {
  readonly stateOf: (service: Service) => ServiceState
  readonly outlook: ServiceOutlook
  readonly settings: Settings
  readonly accessEditor: AccessEditor
  readonly replayCalls: ReplayCalls
  readonly assertions: AssertionIssuers
  /** Whether a method to sign in with is configured. */
  readonly signsIn: boolean
  /** Whether clients on the internet can reach the gateway. */
  readonly reachable: boolean
}

// What rules say of one call.

const createWhy =
  (sectionOf: (id: string) => ServiceAccess): AccessEditor['why'] =>
  ({ config, service, tools }, stored, { person, tool }) => {
    const hint = tools.find(({ name }) => name === tool)?.hint
    const { open, rules, need, verdict } = explainSubject(
      withStored(config, stored),
      { id: service, section: sectionOf(service) },
      {
        caller: {
          person,
          personKey: personKey(person),
          clientId: '',
          redirectHost: '',
          consented: { level: 'admin', excluded: [] },
        },
        subject: { kind: 'tool', name: tool, hint },
        args: undefined,
      },
    )
    return {
      person: personKey(person),
      tool,
      open,
      allowed: verdict.allowed,
      need,
      rule: verdict.rule,
      ...(!verdict.allowed && { code: verdict.code, have: verdict.have, reason: verdict.reason }),
      groups: person.groups,
      groupsUnknown: person.groupsUnknown === true,
      rules,
    }
  }

// What rules would have said of the calls of the last days.

const days = 7
/** Calls that are alike are looked at once; in this thread, which serves calls, for no longer than this, ms. */
const longestMs = 150

/** All calls that match, by both configurations; undefined where there is no trail that can be read again. */
const replayed = async (
  { runtime }: ConsoleSourcesDeps,
  terms: readonly string[],
  rules: { readonly before: Config; readonly after: Config; readonly groups: 'then' | 'now' },
) => {
  const found = await runtime.trail?.reader?.combinations?.(terms)
  if (!found) return undefined
  const until = runtime.now() + longestMs
  let partial = found.partial
  const inTime = function* (): Iterable<AuditCombination> {
    for (const call of found.calls) {
      if (runtime.now() > until) {
        partial = true
        return
      }
      yield call
    }
  }
  const result = replay({ ...rules, calls: inTime(), subject: (hash) => found.subjects[hash] })
  return { ...result, partial }
}

const createConsequence =
  (deps: ConsoleSourcesDeps): AccessEditor['consequence'] =>
  async (service, after, names) => {
    const config = deps.registry.config()
    const found = await replayed(deps, [`service:${service}`, `since:${days}d`], {
      before: withStored(config, deps.stored.now()),
      after: withStored(config, after),
      groups: 'then',
    })
    if (!found) return undefined
    const { calls, refused, granted, unsaid, people, partial } = found
    return { days, calls, refused, granted, unsaid, partial, ...(names && { people }) }
  }

/** The stored rules count in both. */
const createReplayCalls =
  (deps: ConsoleSourcesDeps): ReplayCalls =>
  (after, { since, groups }) => {
    const stored = deps.stored.now()
    const before = withStored(deps.registry.config(), stored)
    return replayed(deps, [`since:${since}`], { before, after: withStored(after, stored), groups })
  }

/** `access.deny[0]` and `services.jira.access.deny[0]` stand where their lists begin. */
const createPlaceOf =
  ({ sources }: ConsoleSourcesDeps): AccessEditor['placeOf'] =>
  (rule) => {
    const known = sources?.() ?? {}
    const key = rule.replace(/\[\d+\].*$/, '').replace(/^services\./, 'mcp_services.')
    const [, origin] = Object.entries(known).find(([one]) => one === key || one.startsWith(`${key}.`)) ?? []
    return origin?.from === 'file' ? `${origin.path}:${origin.line}` : undefined
  }

export const createConsoleSources = (
  deps: ConsoleSourcesDeps,
  { contextOf }: Pick<StateDeps, 'contextOf'>,
): ConsoleSources => {
  const sectionOf = (id: string): ServiceAccess => deps.serviceOf.accessOf(id)
  return {
    stateOf: (service) => stateOf(service, { bridges: deps.bridges, contextOf }),
    outlook: createServiceOutlook(deps),
    settings: createSettings(deps),
    accessEditor: {
      isRuled: hasAccessRules,
      read: (of, stored) => readCells({ ...of, section: sectionOf(of.service) }, stored),
      plan: (of, stored, changes) => planChanges({ ...of, section: sectionOf(of.service) }, stored, changes),
      consequence: createConsequence(deps),
      why: createWhy(sectionOf),
      placeOf: createPlaceOf(deps),
    },
    replayCalls: createReplayCalls(deps),
    assertions: createAssertionIssuers(deps),
    signsIn: deps.builtInUser === undefined,
    reachable: isPublic(deps.issuer),
  }
}
