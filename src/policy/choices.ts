// What a person lets an app do. What the consent page offers, by the evaluator that judges calls: how far this person may let this app go, and
// which tools they may use at all.
import { beforeRules, higherOf, levelsUpTo } from '../kit/levels.ts'
import type { Principal } from '../ports/people.ts'
import type {
  ConsentChoices,
  ConsentTool,
  Denied,
  LearnedTool,
  Permission,
  ServicePolicy,
  Subject,
} from '../ports/policy.ts'
import { decide, namedOf, needOf, withinConsent } from './decide.ts'
import { type PolicyCaller, type ServiceRules, isAbout } from './rules.ts'

/** More of them are not shown one by one. */
const mostTools = 300

/** What the server lists, and besides what the rules name: an operator may have written that before any list. */
const toolsOf = ({ exact }: ServiceRules, listed: readonly LearnedTool[]): readonly LearnedTool[] => {
  const names = new Set(listed.map(({ name }) => name))
  const named = listed.filter(({ held }) => !held)
  // A server whose list is known has no others.
  const written = listed.length > 0 ? [] : [...exact.keys()].filter((name) => !names.has(name))
  return [...named, ...written.map((name) => ({ name, hint: undefined }))].slice(0, mostTools)
}

const choiceOf = (
  rules: ServiceRules,
  caller: PolicyCaller,
  { name, hint, about }: LearnedTool,
): readonly ConsentTool[] => {
  const subject = { kind: 'tool', name, hint } as const
  const need = needOf(rules, namedOf(subject))
  // What nobody may use is nothing to consent to.
  if (need === 'deny') return []
  const verdict = decide(rules, caller, subject, 'list')
  return [{ name, about, need, ...(verdict.allowed ? {} : { locked: verdict }) }]
}

export const choicesOf = (
  rules: ServiceRules,
  caller: NonNullable<PolicyCaller>,
  listed: readonly LearnedTool[],
): ConsentChoices | Denied => {
  const entered = decide(rules, caller, { kind: 'service' }, undefined)
  if (!entered.allowed) return entered
  const grants = rules.grants.filter((rule) => isAbout(rule, caller, 'allow'))
  return {
    own: grants.map(({ permission }) => permission).reduce(higherOf),
    tools: toolsOf(rules, listed).flatMap((tool) => choiceOf(rules, caller, tool)),
  }
}

/** Of what the rules grant, what the person let the app do. */
export const consentedPermissions = (
  { consented }: Principal,
  granted: readonly Permission[] | undefined,
): readonly Permission[] | undefined => {
  const most = levelsUpTo(consented?.level ?? beforeRules)
  return granted && granted.length > most.length ? most : granted
}

/**
 * The same of each message. What is held back by its definition is told before: no consent cures it. The tool of a
 * call is what a person may have unticked; nothing else is.
 */
export const judgeByConsent =
  (judge: ServicePolicy['judge']): ServicePolicy['judge'] =>
  (principal, message, facts) => {
    const { method, name = '' } = message
    const subject: Subject =
      method === 'tools/call' ? { kind: 'tool', name, hint: undefined } : { kind: 'service' }
    return withinConsent(judge(principal, message, facts), principal, subject, undefined)
  }
