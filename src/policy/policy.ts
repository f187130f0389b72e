// The access rules of the whole gateway: which messages ask for what, and what the rules of their service say.
import type { Config } from '../config/schema.ts'
import { levelsUpTo } from '../kit/levels.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Audit } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type {
  AnswerRules,
  Arguments,
  Denied,
  LearnedTool,
  Permission,
  Policy,
  ServicePolicy,
  StoredRule,
  StoredRules,
  Subject,
  ToolsOfPage,
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
import { anyArguments, askedBy, noArguments, service } from './asked.ts'
import { createTrim, isPage } from './lists.ts'
import { choicesOf, consentedPermissions, judgeByConsent } from './choices.ts'
import { createOutlook } from './outlook.ts'
import { createPinRecords } from './pin-records.ts'
import { type Pins, createPins, judgeByPins } from './pins.ts'
import {
  type AccessRule,
  type PolicyCaller,
  type ServiceAccess,
  type ServiceRules,
  isAbout,
  answerRulesOf,
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
      return `${subject.byTool ? 'page' : 'resource'} ${subject.uri}`
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

const open: Verdict = { allowed: true, rule: 'access', need: 'read' }

/** What is written for one service; without rules everybody may use everything. */
interface Written {
  readonly rules: ServiceRules | undefined
  readonly pins: Pins | undefined
  readonly answers: AnswerRules | undefined
}

const createServicePolicy = ({ rules, pins, answers }: Written): ServicePolicy => {
  const decided = rules && createDecide(rules)
  const decide: Decide | (() => Verdict) = decided ?? (() => open)
  const isShown = (principal: Principal | undefined, subject: Subject): boolean => {
    const verdict = decide(principal, subject, anyArguments)
    return rules ? withinConsent(verdict, principal, subject, 'list').allowed : verdict.allowed
  }
  /** The page of a tool that the caller is shown may be read, unless a rule denies it. */
  const asPage = (
    verdict: Verdict,
    principal: Principal | undefined,
    uri: string,
    shownBy: ToolsOfPage,
  ): Verdict => {
    if (verdict.allowed || verdict.code !== 'policy.resource' || !isPage(uri)) return verdict
    const isListed = ({ name, hint, held }: LearnedTool): boolean =>
      held !== true && isShown(principal, { kind: 'tool', name, hint })
    if (!shownBy(uri).some(isListed)) return verdict
    return decide(principal, { kind: 'resource', uri, byTool: true }, anyArguments)
  }
  const byRules: ServicePolicy['judge'] = (principal, message, facts) => {
    // Who may do nothing here is told that, and no list is read for it.
    const entered = decide(principal, service, noArguments)
    if (!entered.allowed || !rules) return entered
    const asked = askedBy(message, facts, rules)
    if ('allowed' in asked) return asked
    const { subjects, args, partly } = asked
    let verdict: Verdict = entered
    for (const subject of subjects) {
      verdict = decide(principal, subject, args)
      if (subject.kind === 'resource') verdict = asPage(verdict, principal, subject.uri, facts.shownBy)
      if (verdict.allowed === (partly === true)) return verdict
    }
    return verdict
  }
  const known = pins ? judgeByPins(pins, byRules) : byRules
  return {
    pins,
    answers,
    isReadable: (principal, uri, shownBy) =>
      asPage(decide(principal, { kind: 'resource', uri }, noArguments), principal, uri, shownBy).allowed,
    judge: rules ? judgeByConsent(known) : known,
    judgeConnection: (principal) => decide(principal, service, noArguments),
    permissions: (principal) => consentedPermissions(principal, decided?.permissions(principal)),
    ...(rules && { choices: (by, tools) => choicesOf(rules, by, tools) }),
    outlook: createOutlook(rules, pins),
    trim: (principal, learn, shownBy) => {
      const shows = (subject: Subject): boolean =>
        isShown(principal, subject) ||
        (subject.kind === 'resource' &&
          asPage(decide(principal, subject, anyArguments), principal, subject.uri, shownBy).allowed)
      return createTrim(shows, learn, pins?.look(principal))
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
      const answers = answerRulesOf(section, rules !== undefined)
      const policy = rules || pins || answers ? createServicePolicy({ rules, pins, answers }) : undefined
      made.set(id, { config: now, section, generation, pins, policy })
      return policy
    },
    fresh: () => stored?.fresh(),
    get disclosesRules() {
      return written().access?.disclose !== 'code'
    },
  }
}
