// What a caller is shown of lists, in one text: it is another one as soon as other rules, or other definitions,
// decide about them.
import type { Principal } from '../ports/people.ts'
import type { ServicePolicy } from '../ports/policy.ts'
import { isClientDenied } from './decide.ts'
import type { Pins } from './pins.ts'
import { type AccessRule, type PolicyCaller, type ServiceRules, isAbout } from './rules.ts'

/** Conditions decide about calls: in lists nobody knows the arguments. */
const shownBy = ({ tools, prompts, resources, when, permission }: AccessRule): unknown => [
  tools,
  prompts,
  resources,
  when !== undefined,
  permission,
]

const rulesAbout = (rules: ServiceRules, caller: PolicyCaller): unknown => {
  const of = (list: readonly AccessRule[], effect: 'allow' | 'deny'): unknown =>
    list.filter((rule) => isAbout(rule, caller, effect)).map(shownBy)
  const { denies, grants, exact, patterns, unmarked, onlyResources, onlyPrompts } = rules
  return [
    isClientDenied(rules, caller),
    of(denies, 'deny'),
    of(grants, 'allow'),
    [...exact],
    [patterns, unmarked, onlyResources, onlyPrompts],
  ]
}

/** Of a service without rules everybody is shown the same. */
export const createOutlook = (
  rules: ServiceRules | undefined,
  pins: Pins | undefined,
): ServicePolicy['outlook'] => {
  /** Made once for each caller: many streams of one caller are open. */
  const known = new WeakMap<Principal, string>()
  const textOf = (principal: Principal | undefined): string =>
    rules ? JSON.stringify(rulesAbout(rules, principal)) : ''
  return (principal) => {
    const text = (principal && known.get(principal)) ?? textOf(principal)
    if (principal) known.set(principal, text)
    return pins ? `${text} ${pins.held(principal).join('\n')}` : text
  }
}
