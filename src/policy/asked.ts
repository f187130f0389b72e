// What a message asks for, in the words of the access rules.
import { isRecord } from '../mcp/json-rpc.ts'
import type { Arguments, Denied, JudgedMessage, MessageFacts, Subject } from '../ports/policy.ts'
import type { ServiceRules } from './rules.ts'

/** What everybody with any right at a service may ask. */
export const general: ReadonlySet<string | undefined> = new Set([
  'initialize',
  'server/discover',
  'ping',
  'logging/setLevel',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  // What names a task is judged as a call of the tool that made it (proxy/tasks.ts).
  'tasks/get',
  'tasks/update',
  'tasks/cancel',
  'tasks/result',
])

export const generalNotifications: ReadonlySet<string | undefined> = new Set([
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
])

export const aboutResources: ReadonlySet<string | undefined> = new Set([
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
])

export const service: Subject = { kind: 'service' }
export const noArguments = (): Arguments => undefined
export const anyArguments = (): Arguments => 'list'

/** What one message asks for; several where it names several. */
interface Asked {
  readonly subjects: readonly Subject[]
  readonly args: () => Arguments
  /** One of them is enough: the others are taken out of the message. */
  readonly partly?: true
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

/** Where a subscription says what it wants to hear, and the member of that with the URIs of resources. */
const watchedResources = 'resourceSubscriptions'

/**
 * What a subscription is to tell (2026-07-28 subscriptions/listen): changes of resources, and besides of what
 * everybody may hear who has any right here.
 */
const listenedTo = (params: Readonly<Record<string, unknown>>): readonly Subject[] => {
  const wanted = isRecord(params['notifications']) ? params['notifications'] : {}
  const { [watchedResources]: uris, ...others } = wanted
  const resources = Array.isArray(uris)
    ? uris.map((uri): Subject => ({ kind: 'resource', uri: textIn(uri) }))
    : []
  return resources.length === 0 ||
    Object.values(others).some((other) => other !== false && other !== undefined)
    ? [service, ...resources]
    : resources
}

const argumentsIn =
  (facts: MessageFacts): Asked['args'] =>
  () => {
    const { arguments: args } = facts.params()
    return isRecord(args) ? args : undefined
  }

const toolAsked = (
  name: string,
  earlier: true | undefined,
  facts: MessageFacts,
  { exact, unlisted }: ServiceRules,
): Asked | Denied => {
  const known = facts.tool(name)
  if (!known && !exact.has(name) && unlisted === 'refuse') return { allowed: false, code: 'policy.unlisted' }
  return {
    subjects: [{ kind: 'tool', name, hint: known?.hint }],
    args: earlier ? anyArguments : argumentsIn(facts),
  }
}

export const askedBy = (
  { kind, method, name, earlier }: JudgedMessage,
  facts: MessageFacts,
  rules: ServiceRules,
): Asked | Denied => {
  const one = (subject: Subject, args = noArguments): Asked => ({ subjects: [subject], args })
  if (kind === 'response' || general.has(method)) return one(service)
  if (kind === 'notification')
    return generalNotifications.has(method) ? one(service) : { allowed: false, code: 'policy.notification' }
  if (method === 'tools/call') return toolAsked(textIn(name), earlier, facts, rules)
  if (method === 'prompts/get') return one({ kind: 'prompt', name: textIn(name) }, argumentsIn(facts))
  if (aboutResources.has(method)) return one({ kind: 'resource', uri: textIn(name) })
  if (method === 'completion/complete') return one(completed(facts.params()['ref']))
  if (method === 'subscriptions/listen')
    return { subjects: listenedTo(facts.params()), args: noArguments, partly: true }
  return one({ kind: 'method', name: method ?? '' })
}
