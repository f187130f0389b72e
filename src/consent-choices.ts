// What the consent page offers at a service: the access rules judge the tools that the proxy has seen, for the
// person who is asked.
import { personKey } from './kit/records.ts'
import { type KnownTools, listedTools } from './proxy/access.ts'
import type { ConnectStep, ServiceChoices } from './ports/modules.ts'
import type { Policy } from './ports/policy.ts'

/** What servers have said of their tools: written by the proxy, read by the consent page. */
export const createToolMemory = (): KnownTools => new WeakMap()

export interface ServiceChoicesDeps {
  readonly policy: Pick<Policy, 'of' | 'services' | 'fresh' | 'disclosesRules'>
  readonly knownTools: KnownTools
}

/**
 * `standing`: whether a service asks people for accounts of their own; what others saw there says nothing then. What
 * a rule denies is not named where denials name no rules.
 */
export const createServiceChoices =
  ({ policy, knownTools }: ServiceChoicesDeps, standing: ConnectStep['standing']): ServiceChoices =>
  async (service, by) => {
    const { person } = by
    if (!policy.services.ruled) return undefined
    await policy.fresh()
    const rules = policy.of(service)
    if (!rules?.choices) return undefined
    const key = personKey(person)
    const own = (await standing(service, person)) !== undefined
    const listed = listedTools(knownTools, service, key, own)
    const choices = rules.choices({ ...by, personKey: key }, listed)
    if ('allowed' in choices || policy.disclosesRules) return choices
    return { ...choices, tools: choices.tools.filter(({ locked }) => !locked) }
  }
