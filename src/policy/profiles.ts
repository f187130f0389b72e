// The decision made ready: which rules are about a caller is found out once for all callers alike, and what
// they say of a name once for that name. A call then costs two look-ups, and its conditions where it has any.
import type { Principal } from '../ports/people.ts'
import type { Arguments, Denied, Subject, Verdict } from '../ports/policy.ts'
import {
  bestOf,
  coversSubject,
  deniedBy,
  deniesSubject,
  isClientDenied,
  isDenying,
  isGranting,
  isTooLong,
  namedOf,
  needOrDenial,
  notNamed,
  verdictOf,
} from './decide.ts'
import { type PolicyCaller, type AccessRule, type ServiceRules, isAbout } from './rules.ts'

/** Callers alike, and names for each of them, that are remembered; longer names are judged each time. */
const mostProfiles = 2_000
const mostNames = 1_000
const longestName = 256

/** What is left to decide of a name when the arguments are known. */
type Judgement = Verdict | ((args: Arguments) => Verdict)

interface Profile {
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

/** `args`: asked only where a rule has conditions. */
export type Decide = (principal: Principal | undefined, subject: Subject, args: () => Arguments) => Verdict

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
    const made = { denied, denies, grants, known: new Map<string, Judgement>() }
    return remember(profiles, key, made, mostProfiles)
  }
  const profileFor = (principal: Principal | undefined): Profile => {
    const before = principal && known.get(principal)
    if (before) return before
    const profile = profileOf(principal)
    if (principal) known.set(principal, profile)
    return profile
  }

  return (principal, subject, args) => {
    const profile = profileFor(principal)
    const key = keyOf(subject)
    let judgement = profile.known.get(key)
    if (!judgement) {
      judgement = judgementOf(rules, profile, subject)
      if (key.length <= longestName) remember(profile.known, key, judgement, mostNames)
    }
    return typeof judgement === 'function' ? judgement(args()) : judgement
  }
}
