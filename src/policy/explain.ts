// Why a decision is what it is: each rule in its order, and what makes it count or not.
import type { Arguments, Subject } from '../ports/policy.ts'
import { holds } from './conditions.ts'
import { coversSubject, deniesSubject, isClientDenied, namedOf } from './decide.ts'
import type { PolicyCaller, AccessRule, ServiceRules } from './rules.ts'

export interface ExplainedRule {
  readonly id: string
  readonly effect: 'allow' | 'deny'
  readonly matched: boolean
  /** Why, as the end of a sentence. */
  readonly why: string
}

/** `true`, `false` or unknown, as each effect takes it. */
const counts = (truth: boolean | undefined, effect: ExplainedRule['effect']): boolean =>
  truth ?? effect === 'deny'

const missed = (
  rule: AccessRule,
  effect: ExplainedRule['effect'],
  {
    caller,
    subject,
    args,
  }: { readonly caller: PolicyCaller; readonly subject: Subject; readonly args: Arguments },
): string | undefined => {
  const named = namedOf(subject)
  if (rule.who ? !counts(rule.who(caller), effect) : effect === 'allow') return 'does not name this user'
  if (rule.client && !counts(rule.client(caller), effect)) return 'does not name this app'
  const about = effect === 'deny' ? deniesSubject : coversSubject
  if (!about(rule, named)) return `does not name this ${subject.kind}`
  if (!rule.when) return undefined
  const truth = holds(rule.when, args)
  if (counts(truth, effect)) return undefined
  return truth === undefined
    ? 'has conditions that cannot be judged: an argument is missing or of another type'
    : 'has conditions that do not hold'
}

const explainRule = (
  rule: AccessRule,
  effect: ExplainedRule['effect'],
  call: Parameters<typeof missed>[2],
): ExplainedRule => {
  const why = missed(rule, effect, call)
  const matches = effect === 'deny' ? 'matches' : `matches and grants ${rule.permission}`
  return { id: rule.id, effect, matched: why === undefined, why: why ?? matches }
}

/** Every rule that could count, those that deny first. */
export const explainRules = (
  rules: ServiceRules,
  caller: PolicyCaller,
  subject: Subject,
  args: Arguments,
): readonly ExplainedRule[] => {
  const call = { caller, subject, args }
  const clients: readonly ExplainedRule[] = isClientDenied(rules, caller)
    ? [{ id: 'access.clients', effect: 'deny', matched: true, why: 'does not admit this app' }]
    : []
  return [
    ...clients,
    ...rules.denies.map((rule) => explainRule(rule, 'deny', call)),
    ...rules.grants.map((rule) => explainRule(rule, 'allow', call)),
  ]
}
