// One decision about one caller, client, service and subject, rule by rule. Lists, calls and
// `postern policy explain` ask the same; policy.ts answers it faster and says the same.
import { beforeRules, isEnough } from '../kit/levels.ts'
import type { Arguments, Denied, Permission, Subject, Verdict } from '../ports/policy.ts'
import { holds } from './conditions.ts'
import { type Glob, canMeet, coversTemplate, foldedName, matches, normalizedUri } from './globs.ts'
import {
  type PolicyCaller,
  type Need,
  type AccessRule,
  type ServiceRules,
  isAbout,
  strictness,
} from './rules.ts'

/** Longer names and URIs are never allowed, so that no pattern takes long. */
const mostName = 2_048

/** What rules are matched with: each form of the name is made once. */
export interface Named {
  readonly subject: Subject
  readonly name: string
  /** The other form in which a deny rule sees it. */
  readonly folded: string
}

const textOf = (subject: Subject): string => {
  switch (subject.kind) {
    case 'service':
      return ''
    case 'tool':
    case 'prompt':
    case 'method':
      return subject.name
    case 'resource':
      return subject.uri
    case 'template':
      return subject.template
  }
}

export const namedOf = (subject: Subject): Named => {
  const name = textOf(subject)
  if (name.length > mostName) return { subject, name, folded: name }
  const uri = subject.kind === 'resource'
  return { subject, name, folded: uri ? normalizedUri(name) : foldedName(name) }
}

export const isTooLong = ({ name }: Named): boolean => name.length > mostName

const listFor = (rule: AccessRule, { kind }: Subject): readonly Glob[] | undefined => {
  if (kind === 'tool') return rule.tools
  if (kind === 'prompt') return rule.prompts
  return kind === 'resource' || kind === 'template' ? rule.resources : undefined
}

export const isGeneral = ({ tools, prompts, resources }: AccessRule): boolean =>
  !tools && !prompts && !resources

/** Deny sees more: a name in any spelling, a URI in either form. */
const seen = (globs: readonly Glob[], { subject, name, folded }: Named): boolean => {
  if (subject.kind === 'template')
    return globs.some((glob) => coversTemplate(glob, name) || matches(glob, name, true))
  const uri = subject.kind === 'resource'
  return globs.some((glob) => matches(glob, name, uri) || (folded !== name && matches(glob, folded, uri)))
}

/** Allow sees the exact name, and a URI only where both forms match. */
export const admitted = (globs: readonly Glob[], { subject, name, folded }: Named): boolean => {
  if (subject.kind === 'template') return globs.some((glob) => canMeet(glob, name))
  if (subject.kind !== 'resource') return globs.some((glob) => matches(glob, name))
  const both = (form: string): boolean => globs.some((glob) => matches(glob, form, true))
  return both(name) && (folded === name || both(folded))
}

/** Whether a rule that denies is about this subject, its conditions aside. */
export const deniesSubject = (rule: AccessRule, named: Named): boolean => {
  if (isGeneral(rule)) return true
  const globs = listFor(rule, named.subject)
  return globs !== undefined && seen(globs, named)
}

/** Whether a grant is about this subject, its conditions aside. Every grant opens the service itself. */
export const coversSubject = (rule: AccessRule, named: Named): boolean => {
  const { subject } = named
  // A page of a tool goes with the tool, whatever grants that.
  const isOfTool = subject.kind === 'resource' && subject.byTool === true
  if (subject.kind === 'service' || isOfTool || isGeneral(rule)) return true
  const globs = listFor(rule, named.subject)
  return globs !== undefined && admitted(globs, named)
}

/** Whether its conditions, which nobody can judge in a list, let a rule that denies apply. */
export const isDenying = ({ when }: AccessRule, args: Arguments): boolean =>
  !when || (args !== 'list' && holds(when, args) !== false)
export const isGranting = ({ when }: AccessRule, args: Arguments): boolean =>
  !when || args === 'list' || holds(when, args) === true

export const needOf = (rules: ServiceRules, { subject, name }: Named): Need => {
  if (subject.kind === 'method') return rules.methods.has(name) ? 'execute' : 'deny'
  if (subject.kind !== 'tool') return 'read'
  const exact = rules.exact.get(name)
  if (exact) return exact
  let strictest: Need | undefined
  for (const [glob, need] of rules.patterns)
    if (matches(glob, name) && (!strictest || strictness.indexOf(need) > strictness.indexOf(strictest)))
      strictest = need
  return strictest ?? subject.hint ?? rules.unmarked
}

const isExcluded = (rules: ServiceRules, named: Named): boolean => {
  const { kind } = named.subject
  const only =
    kind === 'prompt'
      ? rules.onlyPrompts
      : kind === 'resource' || kind === 'template'
        ? rules.onlyResources
        : undefined
  return only !== undefined && !admitted(only, named)
}

const notCovered = ({ kind }: Subject): Denied['code'] => {
  switch (kind) {
    case 'tool':
      return 'policy.tool'
    case 'prompt':
      return 'policy.prompt'
    case 'resource':
    case 'template':
      return 'policy.resource'
    case 'method':
      return 'policy.method'
    case 'service':
      return 'policy.service'
  }
}

export const notNamed = (subject: Subject): Denied => ({ allowed: false, code: notCovered(subject) })

/** What follows from the subject alone, before it is asked who grants it; the need otherwise. */
export const needOrDenial = (rules: ServiceRules, named: Named): Permission | Denied => {
  const need = needOf(rules, named)
  return need === 'deny' || isExcluded(rules, named) ? notNamed(named.subject) : need
}

export const bestOf = (cover: readonly AccessRule[]): AccessRule | undefined => {
  let best: AccessRule | undefined
  for (const rule of cover) if (!best || !isEnough(best.permission, rule.permission)) best = rule
  return best
}

/** What the best of the grants that cover the subject says. */
export const verdictOf = (best: AccessRule | undefined, need: Permission, subject: Subject): Verdict => {
  if (!best) return notNamed(subject)
  return isEnough(best.permission, need)
    ? { allowed: true, rule: best.id, need }
    : { allowed: false, code: 'policy.permission', rule: best.id, need, have: best.permission }
}

/** Whether the app may call at all. */
export const isClientDenied = ({ clients: { allow, deny } }: ServiceRules, caller: PolicyCaller): boolean =>
  (deny?.(caller) ?? false) || (allow !== undefined && !allow(caller))

export const deniedBy = ({ id, reason }: AccessRule): Denied => ({
  allowed: false,
  code: 'policy.denied',
  rule: id,
  reason,
})

/**
 * What the consent of the person leaves of what the rules allow. In a list only what they unticked is missing: the
 * rest can be had by a larger consent. Callers without a person consented to nothing, and nothing is asked of them.
 */
export const withinConsent = (
  verdict: Verdict,
  caller: PolicyCaller,
  subject: Subject,
  args: Arguments,
): Verdict => {
  if (!verdict.allowed || !caller) return verdict
  const { consented } = caller
  if (subject.kind === 'tool' && consented?.excluded.includes(subject.name))
    return { allowed: false, code: 'consent.tool' }
  const { need, rule } = verdict
  if (args === 'list' || isEnough(consented?.level ?? beforeRules, need)) return verdict
  return { allowed: false, code: 'consent.level', rule, need }
}

/** What the rules say; `withinConsent` says what the person's consent leaves of it. */
export const decide = (
  rules: ServiceRules,
  caller: PolicyCaller,
  subject: Subject,
  args: Arguments,
): Verdict => {
  if (isClientDenied(rules, caller)) return { allowed: false, code: 'policy.client' }
  const named = namedOf(subject)
  if (isTooLong(named)) return notNamed(subject)
  for (const rule of rules.denies)
    if (isAbout(rule, caller, 'deny') && deniesSubject(rule, named) && isDenying(rule, args))
      return deniedBy(rule)
  const grants = rules.grants.filter((rule) => isAbout(rule, caller, 'allow'))
  if (grants.length === 0) return { allowed: false, code: 'policy.service' }
  const need = needOrDenial(rules, named)
  if (typeof need !== 'string') return need
  const cover = grants.filter((rule) => coversSubject(rule, named) && isGranting(rule, args))
  return verdictOf(bestOf(cover), need, subject)
}
