// The access rules of one service, read from the configuration: which rules there are, in which order, and to
// whom each applies.
import type { Config, ServiceConfig } from '../config/schema.ts'
import { higherOf, ladder } from '../kit/levels.ts'
import { personalClients, serviceAccounts } from '../kit/records.ts'
import { isClientOfDomain, isDocumentClient } from '../kit/urls.ts'
import type { Person, Principal } from '../ports/people.ts'
import type { AnswerRules, Permission } from '../ports/policy.ts'
import { type Condition, type ConditionInput, conditionsOf } from './conditions.ts'
import { type Glob, globOf, isLiteral, matches } from './globs.ts'

const highestOf = (list: readonly Permission[] = ['read']): Permission => list.reduce(higherOf)

/** What a tool needs; `deny`: nobody may call it. */
export type Need = Permission | 'deny'

/** Strictest last. */
export const strictness: readonly Need[] = [...ladder, 'deny']

/** Whether a caller is meant: undefined where nobody knows the person's groups. */
type Test<Subject> = (subject: Subject) => boolean | undefined

/** Who calls: nobody where a service asks for no login. */
export type PolicyCaller =
  | Pick<Principal, 'person' | 'personKey' | 'clientId' | 'redirectHost' | 'consented'>
  | undefined

export interface AccessRule {
  readonly id: string
  /** Undefined: everybody. */
  readonly who: Test<PolicyCaller> | undefined
  /** Undefined: every app. */
  readonly client: Test<PolicyCaller> | undefined
  readonly tools: readonly Glob[] | undefined
  readonly prompts: readonly Glob[] | undefined
  readonly resources: readonly Glob[] | undefined
  readonly when: readonly Condition[] | undefined
  /** Of a rule that grants. */
  readonly permission: Permission
  /** Of a rule that denies. */
  readonly reason: string | undefined
}

export interface ServiceRules {
  readonly clients: {
    readonly allow: Test<PolicyCaller> | undefined
    readonly deny: Test<PolicyCaller> | undefined
  }
  readonly denies: readonly AccessRule[]
  readonly grants: readonly AccessRule[]
  /** What tools need: by name, and by pattern. */
  readonly exact: ReadonlyMap<string, Need>
  readonly patterns: readonly (readonly [Glob, Need])[]
  readonly unmarked: Permission
  readonly unlisted: 'refuse' | 'allow'
  /** Undefined: all of them. */
  readonly onlyResources: readonly Glob[] | undefined
  readonly onlyPrompts: readonly Glob[] | undefined
  readonly methods: ReadonlySet<string>
}

export type AccessConfig = Pick<Config, 'access' | 'clients' | 'oauth_providers' | 'local_users'>
type Access = NonNullable<Config['access']>
export type ServiceAccess = ServiceConfig['access']

/** A section that is only about what the server says rules nobody out. */
export const isRuling = (section: ServiceAccess): section is NonNullable<ServiceAccess> => {
  if (!section) return false
  const { pinning, from_server, instructions, allow, deny, tools, methods, unmarked, unlisted, ...others } =
    section
  return (
    [pinning, from_server, instructions].every((about) => about === undefined) ||
    [allow, deny, methods, Object.keys(tools)].some((list) => list.length > 0) ||
    unmarked !== 'execute' ||
    unlisted !== 'refuse' ||
    Object.values(others).some((value) => value !== undefined)
  )
}

const serverAsks = ['sampling', 'elicitation', 'roots'] as const

/** What is written about the messages of a server; undefined: all of them pass. `ruled`: there are access rules. */
export const answerRulesOf = (section: ServiceAccess, ruled: boolean): AnswerRules | undefined => {
  const denied = new Set(serverAsks.filter((ask) => section?.from_server?.[ask] === 'deny'))
  const dropsInstructions = section?.instructions === 'drop'
  return ruled || denied.size > 0 || dropsInstructions ? { denied, dropsInstructions } : undefined
}

type WrittenRule = Access['allow'][number] & Access['deny'][number]

// Who.

/** Providers that a bare name of a group can be of. The built-in user is a local one. */
export const signInMethods = ({
  oauth_providers: providers,
  local_users: users,
}: AccessConfig): readonly string[] => {
  const ids = Object.keys(providers)
  return users.length > 0 || ids.length === 0 ? [...ids, 'local'] : ids
}

const isPerson = (people: ReadonlySet<string>, { person, personKey }: NonNullable<PolicyCaller>): boolean =>
  people.has(personKey) || (person.email !== undefined && people.has(person.email.toLowerCase()))

/** An email address in any case, a key of a person as it is. */
const peopleOf = (list: readonly string[] = []): ReadonlySet<string> =>
  new Set(list.map((one) => (one.includes(':') ? one : one.toLowerCase())))

const isIn = (groups: readonly Glob[], person: Person): boolean | undefined =>
  person.groups.some((name) => groups.some((glob) => matches(glob, name))) ||
  (person.groupsUnknown ? undefined : false)

const groupTest = (config: AccessConfig, name: string): Test<NonNullable<PolicyCaller>> => {
  const declared = config.access?.groups
  if (declared && Object.hasOwn(declared, name)) {
    const { members, from = {} } = declared[name] as Access['groups'][string]
    const people = peopleOf(members)
    const globs = new Map(Object.entries(from).map(([id, list]) => [id, list.map((one) => globOf(one))]))
    return (caller) => {
      const list = globs.get(caller.person.provider)
      return isPerson(people, caller) || (list === undefined ? false : isIn(list, caller.person))
    }
  }
  const methods = signInMethods(config)
  const at = name.indexOf(':')
  const isQualified = at > 0 && [...methods, serviceAccounts].includes(name.slice(0, at))
  // A stored rule may outlive the group that it names: nobody knows then whose group is meant.
  if (!isQualified && methods.length > 1) return () => undefined
  const [provider, group] = isQualified ? [name.slice(0, at), name.slice(at + 1)] : [methods[0], name]
  // The name of a group as it is, whatever characters are in it.
  const exact: Glob = { text: group, tokens: [...group].map((text) => ({ text })) }
  return ({ person }) => (person.provider === provider ? isIn([exact], person) : false)
}

const either = <Subject>(tests: readonly Test<Subject>[], subject: Subject): boolean | undefined => {
  let known: false | undefined = false
  for (const test of tests) {
    const one = test(subject)
    if (one) return true
    if (one === undefined) known = undefined
  }
  return known
}

type Who = Pick<WrittenRule, 'people' | 'groups' | 'everyone' | 'anonymous'>

const whoTest = (
  config: AccessConfig,
  { people, groups, everyone, anonymous }: Who,
): Test<PolicyCaller> | undefined => {
  if (!people && !groups && !everyone && !anonymous) return undefined
  const named = peopleOf(people)
  const tests = (groups ?? []).map((name) => groupTest(config, name))
  return (caller) => {
    if (!caller) return anonymous === true
    return everyone === true || isPerson(named, caller) || either(tests, caller)
  }
}

// Apps.

const clientIdTest = (pattern: string, configured: ReadonlySet<string>): Test<string> => {
  if (pattern === 'configured') return (id) => configured.has(id)
  if (pattern === 'document') return (id) => !configured.has(id) && isDocumentClient(id)
  if (pattern === 'personal') return (id) => id.startsWith(personalClients)
  if (pattern === 'dynamic')
    return (id) => !configured.has(id) && !isDocumentClient(id) && !id.startsWith(personalClients)
  if (pattern.startsWith('domain:')) {
    const domain = pattern.slice('domain:'.length).toLowerCase()
    return (id) => isClientOfDomain(id, domain)
  }
  if (!pattern.startsWith('https://')) return (id) => id === pattern
  const glob = globOf(pattern, true)
  return (id) => matches(glob, id, true)
}

type App = Pick<NonNullable<PolicyCaller>, 'clientId' | 'redirectHost'>

const clientTest = (pattern: string, configured: ReadonlySet<string>): Test<App> => {
  if (!pattern.startsWith('redirect:')) {
    const test = clientIdTest(pattern, configured)
    return ({ clientId }) => test(clientId)
  }
  const host = pattern.slice('redirect:'.length).toLowerCase()
  return ({ redirectHost }) => redirectHost === host
}

/** Callers without login use no app that is known. */
const clientsTest = (
  config: AccessConfig,
  patterns: readonly string[] | undefined,
): Test<PolicyCaller> | undefined => {
  if (!patterns) return undefined
  const configured = new Set(Object.keys(config.clients))
  const tests = patterns.map((pattern) => clientTest(pattern, configured))
  return (caller) => (caller ? either(tests, caller) : false)
}

// Rules.

const globsOf = (list: readonly string[] | undefined, uri = false): readonly Glob[] | undefined =>
  list?.map((one) => globOf(one, uri))

const ruleOf = (config: AccessConfig, written: Partial<WrittenRule>, place: string): AccessRule => ({
  id: written.id ?? place,
  who: whoTest(config, written),
  client: clientsTest(config, written.clients),
  tools: globsOf(written.tools),
  prompts: globsOf(written.prompts),
  resources: globsOf(written.resources, true),
  when: conditionsOf(written.when as Readonly<Record<string, ConditionInput>> | undefined),
  permission: highestOf(written.permissions),
  reason: written.reason,
})

const topRules = (config: AccessConfig, effect: 'allow' | 'deny', service: string): readonly AccessRule[] =>
  (config.access?.[effect] ?? []).flatMap((written, i) =>
    written.services && !written.services.some((one) => matches(globOf(one), service))
      ? []
      : [ruleOf(config, written, `access.${effect}[${i}]`)],
  )

/** The members of a section that make it the short form of one grant. */
export const shortForm = ['people', 'groups', 'everyone', 'anonymous', 'clients', 'permissions'] as const

const listIn = (section: ServiceAccess, key: 'allow' | 'deny'): readonly string[] | undefined => {
  const list = section?.tools[key]
  return Array.isArray(list) ? list : undefined
}

const ownGrants = (
  config: AccessConfig,
  section: NonNullable<ServiceAccess>,
  place: string,
): readonly AccessRule[] => {
  const { people, groups, everyone, anonymous, clients, permissions } = section
  const short = { people, groups, everyone, anonymous, clients, permissions, tools: listIn(section, 'allow') }
  return [
    ...(shortForm.some((key) => section[key] !== undefined)
      ? [ruleOf(config, short as Partial<WrittenRule>, place)]
      : []),
    ...section.allow.map((written, i) => ruleOf(config, written, `${place}.allow[${i}]`)),
  ]
}

const ownDenies = (
  config: AccessConfig,
  section: NonNullable<ServiceAccess>,
  place: string,
): readonly AccessRule[] => {
  const lists = {
    tools: listIn(section, 'deny'),
    resources: section.resources?.deny,
    prompts: section.prompts?.deny,
  }
  return [
    ...section.deny.map((written, i) => ruleOf(config, written, `${place}.deny[${i}]`)),
    ...Object.entries(lists).flatMap(([kind, list]) =>
      list ? [ruleOf(config, { [kind]: list }, `${place}.${kind}.deny`)] : [],
    ),
  ]
}

const needsOf = (section: ServiceAccess): Pick<ServiceRules, 'exact' | 'patterns'> => {
  const exact = new Map<string, Need>()
  const patterns: (readonly [Glob, Need])[] = []
  for (const [name, need] of Object.entries(section?.tools ?? {})) {
    if (typeof need !== 'string') continue
    const glob = globOf(name)
    if (isLiteral(glob))
      exact.set(glob.tokens.map((token) => (token as { readonly text: string }).text).join(''), need as Need)
    else patterns.push([glob, need as Need])
  }
  return { exact, patterns }
}

const grantsOf = (
  config: AccessConfig,
  service: string,
  section: ServiceAccess,
  path: string,
): readonly AccessRule[] => {
  const top = topRules(config, 'allow', service)
  if (section) return [...top, ...ownGrants(config, section, path)]
  if (config.access?.default !== 'everyone') return top
  const everyone = { everyone: true, permissions: ['execute'] } as Partial<WrittenRule>
  return [...top, ruleOf(config, everyone, 'access.default')]
}

/** `written`: `access` of the service. */
export const rulesOf = (config: AccessConfig, service: string, written: ServiceAccess): ServiceRules => {
  const section = isRuling(written) ? written : undefined
  const path = `services.${service}.access`
  const { allow, deny } = config.access?.clients ?? {}
  const { unmarked = 'execute', unlisted = 'refuse', resources, prompts, methods } = section ?? {}
  return {
    clients: { allow: clientsTest(config, allow), deny: clientsTest(config, deny) },
    denies: [...topRules(config, 'deny', service), ...(section ? ownDenies(config, section, path) : [])],
    grants: grantsOf(config, service, section, path),
    ...needsOf(section),
    unmarked,
    unlisted,
    onlyResources: globsOf(resources?.allow, true),
    onlyPrompts: globsOf(prompts?.allow),
    methods: new Set(methods),
  }
}

/** Whether a rule is about this caller. What nobody knows counts for a rule that denies. */
export const isAbout = (
  rule: Pick<AccessRule, 'who' | 'client'>,
  caller: PolicyCaller,
  effect: 'allow' | 'deny',
): boolean => {
  const counts = (truth: boolean | undefined): boolean => truth ?? effect === 'deny'
  if (rule.client && !counts(rule.client(caller))) return false
  // An allow rule without people says nobody.
  return rule.who ? counts(rule.who(caller)) : effect === 'deny'
}
