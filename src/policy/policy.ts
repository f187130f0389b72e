// The access rules of the whole gateway: which messages ask for what, and what the rules of their service say.
import type { Config } from '../config/schema.ts'
import { levelsUpTo } from '../kit/levels.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import { isRecord } from '../mcp/json-rpc.ts'
import type { Audit } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type {
  Arguments,
  Denied,
  JudgedMessage,
  MessageFacts,
  Permission,
  Policy,
  ServicePolicy,
  StoredRule,
  StoredRules,
  Subject,
  Verdict,
} from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import {
  bestOf,
  coversSubject,
  deniedBy,
  deniesSubject,
  isClientDenied,
  isDenying,
  isGeneral,
  isGranting,
  isTooLong,
  namedOf,
  needOrDenial,
  notNamed,
  verdictOf,
  withinConsent,
} from './decide.ts'
import { createTrim } from './lists.ts'
import { choicesOf, consentedPermissions, judgeByConsent } from './choices.ts'
import { createPinRecords } from './pin-records.ts'
import { type Pins, createPins, judgeByPins } from './pins.ts'
import {
  type AccessRule,
  type PolicyCaller,
  type ServiceAccess,
  type ServiceRules,
  isAbout,
  isRuling,
  rulesOf,
} from './rules.ts'
import { withStored } from './stored-rules.ts'

// The decision made ready: which rules are about a caller is found out once for all callers alike, and what
// they say of a name once for that name. A call then costs two look-ups, and its conditions where it has any.

/** Callers alike, and names for each of them, that are remembered; longer names are judged each time. */
const mostProfiles = 2_000
const mostNames = 1_000
const longestName = 256

/** What is left to decide of a name when the arguments are known. */
type Judgement = Verdict | ((args: Arguments) => Verdict)

interface Profile {
  /** See `ServicePolicy`. */
  readonly permissions: readonly Permission[]
  /** What holds for everything: the app may not call, or nothing is granted. */
  readonly denied: Denied | undefined
  readonly denies: readonly AccessRule[]
  readonly grants: readonly AccessRule[]
  readonly known: Map<string, Judgement>
}

const remember = <Value>(map: Map<string, Value>, key: string, value: Value, most: number): Value => {
  if (map.size >= most) map.delete(map.keys().next().value as string)
  map.set(key, value)
  return value
}

const judgementOf = (rules: ServiceRules, profile: Profile, subject: Subject): Judgement => {
  if (profile.denied?.code === 'policy.client') return profile.denied
  const named = namedOf(subject)
  if (isTooLong(named)) return notNamed(subject)
  const denies = profile.denies.filter((rule) => deniesSubject(rule, named))
  // Behind a rule that denies in any case nothing counts.
  const certain = denies.findIndex((rule) => !rule.when)
  const asked = certain < 0 ? denies : denies.slice(0, certain)
  const rest = (): Judgement => {
    if (certain >= 0) return deniedBy(denies[certain] as AccessRule)
    if (profile.denied) return profile.denied
    const need = needOrDenial(rules, named)
    if (typeof need !== 'string') return need
    const cover = profile.grants.filter((rule) => coversSubject(rule, named))
    if (cover.every((rule) => !rule.when)) return verdictOf(bestOf(cover), need, subject)
    return (args) => verdictOf(bestOf(cover.filter((rule) => isGranting(rule, args))), need, subject)
  }
  const last = rest()
  if (asked.length === 0) return last
  return (args) => {
    const denying = asked.find((rule) => isDenying(rule, args))
    if (denying) return deniedBy(denying)
    return typeof last === 'function' ? last(args) : last
  }
}

/** Kinds, names and hints cannot run into one another: a kind has no space, and a hint none either. */
const keyOf = (subject: Subject): string => {
  switch (subject.kind) {
    case 'service':
      return ''
    case 'tool':
      return `tool ${subject.hint ?? '-'} ${subject.name}`
    case 'prompt':
    case 'method':
      return `${subject.kind} ${subject.name}`
    case 'resource':
      return `resource ${subject.uri}`
    case 'template':
      return `template ${subject.template}`
  }
}

export interface Decide {
  /** `args`: asked only where a rule has conditions. */
  (principal: Principal | undefined, subject: Subject, args: () => Arguments): Verdict
  readonly permissions: ServicePolicy['permissions']
}

/** The ladder up to the highest grant that is limited to nothing. */
const generalPermissions = (
  denied: Denied | undefined,
  denies: readonly AccessRule[],
  grants: readonly AccessRule[],
): readonly Permission[] => {
  const isUnlimited = (rule: AccessRule): boolean => isGeneral(rule) && !rule.when
  const best = bestOf(grants.filter(isUnlimited))
  return denied || !best || denies.some(isUnlimited) ? [] : levelsUpTo(best.permission)
}

/** The same as `decide` of these rules, for callers who come again. */
export const createDecide = (rules: ServiceRules): Decide => {
  const profiles = new Map<string, Profile>()
  /** One grant has one principal for as long as it is as it was. */
  const known = new WeakMap<Principal, Profile>()
  const profileOf = (caller: PolicyCaller): Profile => {
    const clientDenied = isClientDenied(rules, caller)
    const denies = rules.denies.filter((rule) => isAbout(rule, caller, 'deny'))
    const grants = rules.grants.filter((rule) => isAbout(rule, caller, 'allow'))
    const marks = (all: readonly AccessRule[], some: readonly AccessRule[]): string =>
      some.map((rule) => all.indexOf(rule)).join(',')
    const key = `${clientDenied} ${marks(rules.denies, denies)} ${marks(rules.grants, grants)}`
    const before = profiles.get(key)
    if (before) {
      // The least recently used goes first.
      profiles.delete(key)
      profiles.set(key, before)
      return before
    }
    const denied: Denied | undefined = clientDenied
      ? { allowed: false, code: 'policy.client' }
      : grants.length === 0
        ? { allowed: false, code: 'policy.service' }
        : undefined
    const permissions = generalPermissions(denied, denies, grants)
    const made = { permissions, denied, denies, grants, known: new Map<string, Judgement>() }
    return remember(profiles, key, made, mostProfiles)
  }
  const profileFor = (principal: Principal | undefined): Profile => {
    const before = principal && known.get(principal)
    if (before) return before
    const profile = profileOf(principal)
    if (principal) known.set(principal, profile)
    return profile
  }

  const decide = (principal: Principal | undefined, subject: Subject, args: () => Arguments): Verdict => {
    const profile = profileFor(principal)
    const key = keyOf(subject)
    let judgement = profile.known.get(key)
    if (!judgement) {
      judgement = judgementOf(rules, profile, subject)
      if (key.length <= longestName) remember(profile.known, key, judgement, mostNames)
    }
    return typeof judgement === 'function' ? judgement(args()) : judgement
  }
  return Object.assign(decide, {
    permissions: (principal: Principal) => profileFor(principal).permissions,
  })
}

/** What everybody with any right at a service may ask. */
export const general: ReadonlySet<string | undefined> = new Set([
  'initialize',
  'server/discover',
  'ping',
  'logging/setLevel',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  // A task is named by an id that only whoever made it was told.
  'tasks/get',
  'tasks/update',
  'tasks/cancel',
  'tasks/result',
])

export const generalNotifications: ReadonlySet<string | undefined> = new Set([
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
])

export const aboutResources: ReadonlySet<string | undefined> = new Set([
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
])

const service: Subject = { kind: 'service' }
const noArguments = (): Arguments => undefined
const anyArguments = (): Arguments => 'list'

/** What one message asks for; several where it names several. */
interface Asked {
  readonly subjects: readonly Subject[]
  readonly args: () => Arguments
}

const resourceOf = (uri: string): Subject =>
  uri.includes('{') ? { kind: 'template', template: uri } : { kind: 'resource', uri }

/** A name that is none asks for what nobody may. */
const textIn = (value: unknown): string => (typeof value === 'string' ? value : '')

const completed = (ref: unknown): Subject => {
  if (!isRecord(ref)) return { kind: 'prompt', name: '' }
  return ref['type'] === 'ref/resource'
    ? resourceOf(textIn(ref['uri']))
    : { kind: 'prompt', name: textIn(ref['name']) }
}

/** The URIs whose changes a subscription is to tell (2026-07-28 subscriptions/listen). */
const listenedTo = (params: Readonly<Record<string, unknown>>): readonly Subject[] => {
  const { notifications } = params
  const uris = isRecord(notifications) ? notifications['resourceSubscriptions'] : undefined
  return Array.isArray(uris) ? uris.map((uri) => ({ kind: 'resource', uri: textIn(uri) })) : []
}

const argumentsIn =
  (facts: MessageFacts): Asked['args'] =>
  () => {
    const { arguments: args } = facts.params()
    return isRecord(args) ? args : undefined
  }

const askedBy = (
  { kind, method, name }: JudgedMessage,
  facts: MessageFacts,
  { exact, unlisted }: ServiceRules,
): Asked | Denied => {
  const one = (subject: Subject, args = noArguments): Asked => ({ subjects: [subject], args })
  if (kind === 'response' || general.has(method)) return one(service)
  if (kind === 'notification')
    return generalNotifications.has(method) ? one(service) : { allowed: false, code: 'policy.notification' }
  if (method === 'tools/call') {
    const tool = textIn(name)
    const known = facts.tool(tool)
    if (!known && !exact.has(tool) && unlisted === 'refuse')
      return { allowed: false, code: 'policy.unlisted' }
    return one({ kind: 'tool', name: tool, hint: known?.hint }, argumentsIn(facts))
  }
  if (method === 'prompts/get') return one({ kind: 'prompt', name: textIn(name) }, argumentsIn(facts))
  if (aboutResources.has(method)) return one({ kind: 'resource', uri: textIn(name) })
  if (method === 'completion/complete') return one(completed(facts.params()['ref']))
  if (method === 'subscriptions/listen')
    return { subjects: [service, ...listenedTo(facts.params())], args: noArguments }
  return one({ kind: 'method', name: method ?? '' })
}

const open: Verdict = { allowed: true, rule: 'access', need: 'read' }

/** `rules`: undefined where none are written, and definitions are pinned all the same. */
const createServicePolicy = (rules: ServiceRules | undefined, pins: Pins | undefined): ServicePolicy => {
  const decided = rules && createDecide(rules)
  const decide: Decide | (() => Verdict) = decided ?? (() => open)
  const byRules: ServicePolicy['judge'] = (principal, message, facts) => {
    // Who may do nothing here is told that, and no list is read for it.
    const entered = decide(principal, service, noArguments)
    if (!entered.allowed || !rules) return entered
    const asked = askedBy(message, facts, rules)
    if ('allowed' in asked) return asked
    let verdict: Verdict = entered
    for (const subject of asked.subjects) {
      verdict = decide(principal, subject, asked.args)
      if (!verdict.allowed) return verdict
    }
    return verdict
  }
  const known = pins ? judgeByPins(pins, byRules) : byRules
  return {
    pins,
    judge: rules ? judgeByConsent(known) : known,
    judgeConnection: (principal) => decide(principal, service, noArguments),
    permissions: (principal) => consentedPermissions(principal, decided?.permissions(principal)),
    ...(rules && { choices: (by, tools) => choicesOf(rules, by, tools) }),
    trim: (principal: Principal | undefined, learn) => {
      const isShown = (subject: Subject): boolean => {
        const verdict = decide(principal, subject, anyArguments)
        return rules ? withinConsent(verdict, principal, subject, 'list').allowed : verdict.allowed
      }
      return createTrim(isShown, learn, pins?.look(principal))
    },
  }
}

const noRules: readonly StoredRule[] = []

type PolicyService = Parameters<Policy['of']>[0]

export interface PolicyDeps {
  /** Absent: none beside those of the configuration. */
  readonly stored?: StoredRules
  readonly runtime: Pick<Runtime, 'store' | 'keys' | 'log' | 'digest' | 'now' | 'defer'>
  readonly record: Audit
  /** As it is now: a configuration may be read again while the gateway runs. */
  readonly config: () => Config
  readonly services: Policy['services'] & {
    /** `access` of a service, wherever it was added. */
    accessOf(service: string): ServiceAccess
  }
}

/** With the stored rules. */
const joinedConfig = (written: () => Config, stored: StoredRules | undefined): (() => Config) => {
  let joined:
    | { readonly written: Config; readonly rules: readonly StoredRule[]; readonly config: Config }
    | undefined
  return () => {
    const [now, rules] = [written(), stored?.now() ?? noRules]
    if (rules.length === 0) return now
    if (joined?.written !== now || joined.rules !== rules)
      joined = { written: now, rules, config: withStored(now, rules) }
    return joined.config
  }
}

export const createPolicy = ({ runtime, record, config: written, services, stored }: PolicyDeps): Policy => {
  interface Made {
    readonly config: Config
    readonly section: ServiceAccess
    readonly generation: string | undefined
    readonly pins: Pins | undefined
    readonly policy: ServicePolicy | undefined
  }
  const made = new Map<string, Made>()
  const records = createPinRecords({ runtime, record })
  const pinning = { runtime, records, audit: record, singleFlight: createSingleFlight(runtime) }
  const config = joinedConfig(written, stored)
  /** Whether any rule is written, by the configuration that was asked last. */
  let looked: { readonly config: Config; readonly ruled: boolean } | undefined
  const isRuled = (now: Config): boolean => {
    if (looked?.config !== now)
      looked = {
        config: now,
        ruled:
          now.access !== undefined || Object.values(now.mcp_services).some(({ access }) => isRuling(access)),
      }
    return looked.ruled
  }
  /** What is known of definitions stays known when other rules change. */
  const pinsOf = (
    service: PolicyService,
    generation: string | undefined,
    section: ServiceAccess,
    before: Made | undefined,
  ): Pins | undefined => {
    if (before?.section === section && before?.generation === generation) return before?.pins
    return section?.pinning && createPins(service, section.pinning, pinning)
  }
  return {
    services,
    pins: records.admin,
    of(service) {
      const { id } = service
      const now = config()
      const section = services.accessOf(id)
      if (section === undefined && !isRuled(written())) return undefined
      const before = made.get(id)
      // Some ask by the ID alone.
      const generation = service.generation ?? before?.generation
      if (before?.config === now && before.section === section && before.generation === generation)
        return before.policy
      const pins = pinsOf(service, generation, section, before)
      const rules = isRuling(section) || isRuled(written()) ? rulesOf(now, id, section) : undefined
      const policy = rules || pins ? createServicePolicy(rules, pins) : undefined
      made.set(id, { config: now, section, generation, pins, policy })
      return policy
    },
    fresh: () => stored?.fresh(),
    get disclosesRules() {
      return written().access?.disclose !== 'code'
    },
  }
}
