// The access rules of the whole gateway: which messages ask for what, and what the rules of their service say.
import type { Config } from '../config/schema.ts'
import { isRecord } from '../mcp/json-rpc.ts'
import type { Principal } from '../ports/people.ts'
import type {
  Arguments,
  Denied,
  JudgedMessage,
  MessageFacts,
  Policy,
  ServicePolicy,
  Subject,
  Verdict,
} from '../ports/policy.ts'
import type { Service } from '../ports/services.ts'
import { createTrim } from './lists.ts'
import { type Decide, createDecide } from './profiles.ts'
import { type ServiceAccess, type ServiceRules, rulesOf } from './rules.ts'

/** What everybody with any right at a service may ask. */
const general: ReadonlySet<string | undefined> = new Set([
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

const generalNotifications: ReadonlySet<string | undefined> = new Set([
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
])

const aboutResources: ReadonlySet<string | undefined> = new Set([
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

const createServicePolicy = (rules: ServiceRules): ServicePolicy => {
  const decide: Decide = createDecide(rules)
  return {
    judge(principal, message, facts) {
      // Who may do nothing here is told that, and no list is read for it.
      const entered = decide(principal, service, noArguments)
      if (!entered.allowed) return entered
      const asked = askedBy(message, facts, rules)
      if ('allowed' in asked) return asked
      let verdict: Verdict = entered
      for (const subject of asked.subjects) {
        verdict = decide(principal, subject, asked.args)
        if (!verdict.allowed) return verdict
      }
      return verdict
    },
    judgeConnection: (principal) => decide(principal, service, noArguments),
    trim: (principal: Principal | undefined, learn) =>
      createTrim((subject) => decide(principal, subject, anyArguments).allowed, learn),
  }
}

export interface PolicyDeps {
  /** As it is now: a configuration may be read again while the gateway runs. */
  readonly config: () => Config
  readonly services: Policy['services'] & {
    /** `access` of a service, wherever it was added. */
    accessOf(service: string): ServiceAccess
  }
}

export const createPolicy = ({ config, services }: PolicyDeps): Policy => {
  interface Made {
    readonly config: Config
    readonly section: ServiceAccess
    readonly policy: ServicePolicy | undefined
  }
  const made = new Map<string, Made>()
  /** Whether any rule is written, by the configuration that was asked last. */
  let looked: { readonly config: Config; readonly ruled: boolean } | undefined
  const isRuled = (now: Config): boolean => {
    if (looked?.config !== now)
      looked = {
        config: now,
        ruled:
          now.access !== undefined ||
          Object.values(now.mcp_services).some(({ access }) => access !== undefined),
      }
    return looked.ruled
  }
  return {
    services,
    of({ id }: Service) {
      const now = config()
      const section = services.accessOf(id)
      if (section === undefined && !isRuled(now)) return undefined
      const before = made.get(id)
      if (before && before.config === now && before.section === section) return before.policy
      const policy = createServicePolicy(rulesOf(now, id, section))
      made.set(id, { config: now, section, policy })
      return policy
    },
    get disclosesRules() {
      return config().access?.disclose !== 'code'
    },
  }
}
