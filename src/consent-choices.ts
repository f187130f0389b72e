// What the consent page offers at a service: the access rules judge the tools that the proxy has seen, for the
// person who is asked.
import { signInMethods } from './policy/rules.ts'
import type { Config } from './config/schema.ts'
import { personKey } from './kit/records.ts'
import { listedTools } from './proxy/access.ts'
import type { ToolMemory } from './stored-tools.ts'
import type { ConnectStep, ServiceChoices } from './ports/modules.ts'
import type { Person } from './ports/people.ts'
import type { LearnedTool, Policy, ServicePolicy } from './ports/policy.ts'
import type { Service } from './ports/services.ts'

export interface ServiceChoicesDeps {
  readonly policy: Pick<Policy, 'of' | 'services' | 'fresh' | 'disclosesRules'>
  readonly toolMemory: Pick<ToolMemory, 'known' | 'stored'>
}

/**
 * `standing`: whether a service asks people for accounts of their own; what others saw there says nothing then. What
 * a rule denies is not named where denials name no rules.
 */
export const createServiceChoices =
  (
    { policy, toolMemory: { known, stored } }: ServiceChoicesDeps,
    standing: ConnectStep['standing'],
  ): ServiceChoices =>
  async (service, by) => {
    const { person } = by
    if (!policy.services.ruled) return undefined
    await policy.fresh()
    const rules = policy.of(service)
    if (!rules?.choices) return undefined
    const key = personKey(person)
    const own = (await standing(service, person)) !== undefined
    const seen = listedTools(known, service, key, own)
    const listed = seen.length > 0 ? seen : await stored(service, key, own)
    const choices = rules.choices({ ...by, personKey: key }, listed)
    if ('allowed' in choices || policy.disclosesRules) return choices
    return { ...choices, tools: choices.tools.filter(({ locked }) => !locked) }
  }

/** What people of a group, and of no other, may do at a service, with any app; without a group, of none. */
export type GroupChoices = (
  service: Service,
  group: string | undefined,
) => ReturnType<NonNullable<ServicePolicy['choices']>> | undefined

export interface ServiceOutlook {
  /** The tools that anybody was shown last. */
  tools(service: Service): readonly LearnedTool[]
  /** The same; after a restart, those that are stored. */
  listed(service: Service): Promise<readonly LearnedTool[]>
  /** Reads the rules that are stored. */
  fresh(): Promise<void> | undefined
  /** Undefined: the service has no access rules. */
  readonly choices: GroupChoices
  /** The same for a person as they are, with an app that no rule names. */
  readonly ofPerson: (service: Service, person: Person) => ReturnType<GroupChoices>
}

export const nobody: Person = { provider: '', subject: '', groups: [] }

const memberOf = (member: string): Person => {
  if (!member.includes(':')) return { ...nobody, email: member }
  const at = member.indexOf(':')
  return { ...nobody, provider: member.slice(0, at), subject: member.slice(at + 1) }
}

/** Somebody who is nothing but in that group, as rules name groups (policy/rules.ts). */
export const oneOf = (config: Config, group: string): Person => {
  const declared = config.access?.groups
  if (declared && Object.hasOwn(declared, group)) {
    const { members = [], from = {} } = declared[group] ?? {}
    const [source] = Object.entries(from)
    if (source) return { ...nobody, provider: source[0], groups: source[1].slice(0, 1) }
    return members[0] === undefined ? nobody : memberOf(members[0])
  }
  const methods = signInMethods(config)
  const [provider = '', ...name] = group.split(':')
  return name.length > 0 && methods.includes(provider)
    ? { ...nobody, provider, groups: [name.join(':')] }
    : { ...nobody, provider: methods[0] ?? '', groups: [group] }
}

/** For administrators: the same, for somebody who is nobody but a member of a group. */
export const createServiceOutlook = ({
  policy,
  toolMemory: { known, stored },
  registry,
}: ServiceChoicesDeps & { readonly registry: { config(): Config } }): ServiceOutlook => {
  const tools = (service: Service): readonly LearnedTool[] => listedTools(known, service, '', false)
  const ofPerson: ServiceOutlook['ofPerson'] = (service, person) => {
    const by = { person, personKey: personKey(person), clientId: '', redirectHost: '' }
    return policy.of(service)?.choices?.(by, tools(service))
  }
  return {
    tools,
    async listed(service) {
      const seen = tools(service)
      return seen.length > 0 ? seen : stored(service, '', false)
    },
    fresh: () => policy.fresh(),
    choices: (service, group) =>
      ofPerson(service, group === undefined ? nobody : oneOf(registry.config(), group)),
    ofPerson,
  }
}
