// Which calls have answers with lists in them, and what is done with those (MCP tools/list, resources/list,
// resources/templates/list, prompts/list).
import { type Rpc, isRecord } from '../mcp/json-rpc.ts'
import type { Head, ListAnswers, Trim } from '../ports/call.ts'
import type { Audit, NewestPrincipal } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type { Policy, ServicePolicy } from '../ports/policy.ts'
import type { Service } from '../ports/services.ts'
import type { AdmittedCall } from './admitted-call.ts'
import type { ToolCatalog } from './access.ts'
import type { WatchLists } from './list-notices.ts'
import { type ReplyToServer, createMessageFilter } from './server-messages.ts'
import type { Tasks } from './tasks.ts'

/** What a caller is to see of the lists of a service; undefined: all of it. */
export type TrimFor = (call: {
  readonly service: Service
  readonly principal: Principal | undefined
  /** Of the call that asks; absent for what the gateway asks for itself. */
  readonly head?: Pick<Head, 'requestId' | 'ip'> | undefined
}) => Trim | undefined

/** With the member of the result that holds the list. */
const listMethods: ReadonlyMap<string | undefined, string> = new Map([
  ['tools/list', 'tools'],
  ['prompts/list', 'prompts'],
  ['resources/list', 'resources'],
  ['resources/templates/list', 'resourceTemplates'],
])

const asksForList = ({ envelope }: AdmittedCall): boolean => {
  const messages = envelope?.messages ?? []
  for (let i = 0; i < messages.length; i++) if (listMethods.has(messages[i]?.method)) return true
  return false
}

/** Whether the list begins with the page that is asked for. */
const isFirstPage = (body: Uint8Array | undefined): boolean => {
  const { params } = JSON.parse(new TextDecoder().decode(body)) as { params?: { cursor?: unknown } }
  return params?.cursor === undefined
}

// Which tools may be called once more: those that say so of themselves (MCP tool annotations).

/** Tools that are remembered of one server, and the longest name among them. */
const mostTools = 1000
const longestName = 256

interface RepeatableTools {
  of(service: Service): ReadonlySet<string> | undefined
  /** What the server lists. `first`: the list begins with this page, so that what was known is forgotten. */
  learn(service: Service, tools: readonly unknown[], first: boolean): void
  /** The server says that its tools have changed. */
  forget(service: Service): void
}

const isAgain = ({ annotations }: Rpc): boolean =>
  isRecord(annotations) && (annotations['readOnlyHint'] === true || annotations['idempotentHint'] === true)

/**
 * Kept for as long as the service is the one that it is; another one of the same name begins with nothing.
 */
const createRepeatableTools = (): RepeatableTools => {
  const known = new WeakMap<Service, Set<string>>()
  return {
    of: (service) => known.get(service),
    learn(service, tools, first) {
      const names = (first ? undefined : known.get(service)) ?? new Set<string>()
      const seen = new Set<unknown>()
      for (const tool of tools) {
        if (!isRecord(tool)) continue
        const { name } = tool
        if (typeof name !== 'string' || name.length > longestName) continue
        // Of two tools of one name nobody knows which is called.
        if (isAgain(tool) && !seen.has(name) && names.size < mostTools) names.add(name)
        else names.delete(name)
        seen.add(name)
      }
      known.set(service, names)
    },
    forget: (service) => void known.delete(service),
  }
}

// What is done with the lists of a call.

interface Lists {
  /** Tools whose calls may be repeated. */
  readonly tools: RepeatableTools
  /** Undefined for most calls: their answers pass as they come. */
  listsOf(call: AdmittedCall): ListAnswers | undefined
}

/**
 * The stream of an HTTP+SSE client is the gateway's own; each of its messages is a call that comes here too.
 */
const trimOf = (call: AdmittedCall, listens: boolean, trimFor: TrimFor | undefined): ListAnswers['trim'] => {
  if (!trimFor || call.address.transport === 'sse' || !(listens || asksForList(call))) return undefined
  const { head, address, principal } = call
  const own = head.within === 'uncounted'
  return trimFor({ service: address.service, principal, head: own ? undefined : head })
}

/** The method of a message that comes alone. */
const firstMethod = ({ envelope }: AdmittedCall): string | undefined =>
  envelope?.batch === false ? envelope.messages[0]?.method : undefined

const lengthsOf = (result: Readonly<Record<string, unknown>>): number =>
  [...listMethods.values()]
    .map((member) => result[member])
    .reduce((sum: number, list) => sum + (Array.isArray(list) ? list.length : 0), 0)

/**
 * What callers see of lists by the access rules; the catalog of tools hears each of them first. How much of a list
 * somebody was shown is written down.
 */
export const createPolicyTrim =
  (policy: Policy, catalog: ToolCatalog, record: Audit, newest: NewestPrincipal): TrimFor =>
  ({ service, principal, head }) => {
    const trimNow = (): Trim | undefined =>
      policy.of(service)?.trim(
        principal && newest(principal),
        (tools) => catalog.learn(service, principal, tools),
        (uri) => catalog.shownBy(service, principal, uri),
      )
    if (!trimNow()) return undefined
    // What is listened to stays open while rules and groups change: each list is trimmed by those of its time.
    return (result) => {
      const trimmed = trimNow()?.(result) ?? result
      if (!head) return trimmed
      if (trimmed === result) return trimmed
      const [total, shown] = [lengthsOf(result), lengthsOf(trimmed)]
      const { personKey: person, clientId: client, grantId: grant } = principal ?? {}
      const { requestId, ip } = head
      const facts = { service: service.id, person, client, grant, ip, request_id: requestId }
      record({ event: 'list', ...facts, total, shown, held: total - shown })
      return trimmed
    }
  }

/** One after the other. */
export const trimByBoth =
  (one: TrimFor, other: TrimFor): TrimFor =>
  (call) => {
    const [before, after] = [one(call), other(call)]
    return before && after ? (result) => after(before(result)) : (before ?? after)
  }

/** The rules of a service, if there are any: asked for every call, and so beside its lists. */
export const policyOf =
  (policy: Policy | undefined) =>
  (service: Service): ServicePolicy | undefined =>
    policy?.services.ruled === true ? policy.of(service) : undefined

/** The tools that are known, and what callers see of lists (absent: all of them). */
export interface ListAccess {
  readonly catalog: ToolCatalog
  readonly trim: TrimFor | undefined
  readonly rulesOf: (service: Service) => ServicePolicy | undefined
  readonly watchLists: WatchLists
  readonly tasks: Tasks
  readonly newest: NewestPrincipal
  /** Answers the server of this call in place of its client. */
  readonly replyOf: (call: AdmittedCall) => ReplyToServer
}

/** Whether a caller may read a resource, by what is known of the tools they are shown. */
export const isReadableBy =
  (rules: ServicePolicy, catalog: ToolCatalog, service: Service, principal: Principal | undefined) =>
  (uri: string): boolean =>
    rules.isReadable(principal, uri, (page) => catalog.shownBy(service, principal, page))

const noMethods: readonly undefined[] = []

/** Undefined for most calls. */
const messageOf = (
  rules: ServicePolicy | undefined,
  call: AdmittedCall,
  listens: boolean,
  { catalog, rulesOf, replyOf, newest }: Pick<ListAccess, 'catalog' | 'rulesOf' | 'replyOf' | 'newest'>,
): ListAnswers['message'] => {
  // What a client of HTTP+SSE hears has been read as the answer to a call of its own.
  if (!rules?.answers || call.address.transport === 'sse') return undefined
  const { principal, modern, envelope, address } = call
  // A client of a command can always listen; whether a server over HTTP lets it is not known.
  const announces = call.upstream.kind === 'bridge'
  const now = (): ServicePolicy => rulesOf(address.service) ?? rules
  const isReadable = (uri: string): boolean =>
    isReadableBy(now(), catalog, address.service, principal && newest(principal))(uri)
  const methods = envelope?.messages.map(({ method }) => method) ?? noMethods
  return createMessageFilter(
    () => now().answers,
    { isReadable, announces, modern, methods, listens },
    replyOf(call),
  )
}

/**
 * The same, for a call that may be answered by a task: whose it is, and of which tool, has to be known before its caller
 * can ask for it.
 */
const heardOf = (
  rules: ServicePolicy | undefined,
  call: AdmittedCall,
  listens: boolean,
  access: Pick<ListAccess, 'catalog' | 'rulesOf' | 'replyOf' | 'tasks' | 'newest'>,
): ListAnswers['message'] => {
  const message = messageOf(rules, call, listens, access)
  const { envelope, principal } = call
  const hears = principal ?? rules
  if (!hears || !(message || envelope?.messages.some(({ spawnsTask }) => spawnsTask))) return message
  return (said) => {
    access.tasks.hear(said, call)
    return message ? message(said) : said
  }
}

export const createLists = (access: ListAccess): Lists => {
  const { trim: trimFor, catalog, rulesOf, watchLists } = access
  const tools = createRepeatableTools()
  /** For a stream of which nothing is trimmed: one for all streams of a service, because they may be many. */
  const heard = new WeakMap<Service, ListAnswers>()
  const changedOf = (service: Service): NonNullable<ListAnswers['changed']> => {
    const known = heard.get(service)
    if (known?.changed) return known.changed
    const changed = (): void => {
      tools.forget(service)
      catalog.forget(service)
    }
    heard.set(service, { changed })
    return changed
  }
  const learnOf =
    ({ address, body }: AdmittedCall): NonNullable<ListAnswers['learn']> =>
    (result) =>
      tools.learn(address.service, result['tools'] as readonly unknown[], isFirstPage(body))
  /** What is read of the answer before it is passed on. `lasts`: lists may come on it that nobody asked for. */
  const readOf = (
    call: AdmittedCall,
    rules: ServicePolicy | undefined,
    { listens, lasts }: { readonly listens: boolean; readonly lasts: boolean },
  ): ListAnswers | undefined => {
    const trim = trimOf(call, lasts, trimFor)
    const message = heardOf(rules, call, listens, access)
    if (!trim && !message) return undefined
    const { address, principal, body: subscription } = call
    const notices: ListAnswers['notices'] =
      rules && lasts
        ? (tell) => watchLists({ service: address.service, principal, subscription }, tell)
        : undefined
    return {
      trim,
      message,
      notices,
      expects: trim && !listens ? listMethods.get(firstMethod(call)) : undefined,
    }
  }
  const answersOf = (call: AdmittedCall): ListAnswers | undefined => {
    const { service } = call.address
    const first = firstMethod(call)
    // A stream that is taken up again brings what was answered on another one (2025-11-25 transports,
    // resumability).
    const listens = call.head.method === 'GET' || call.inbound.resume !== undefined
    const lasts = listens || first === 'subscriptions/listen'
    const rules = rulesOf(service)
    const read = readOf(call, rules, { listens, lasts })
    if (call.upstream.kind !== 'http')
      return read || rules?.pins ? { ...read, changed: changedOf(service) } : undefined
    const learn = first === 'tools/list' ? learnOf(call) : undefined
    const changed = lasts || rules?.pins ? changedOf(service) : undefined
    if (read || learn) return { ...read, learn, changed }
    return changed && heard.get(service)
  }
  return {
    tools,
    listsOf(call) {
      const answers = answersOf(call)
      return call.denied ? { ...answers, denied: call.denied } : answers
    },
  }
}

/** Whether what the answer says is read before it is passed on. */
export const isRewriting = ({ trim, message, denied }: ListAnswers): boolean =>
  trim !== undefined || message !== undefined || denied !== undefined

/** The same fields, but for what the caller takes: the gateway reads the answer itself (RFC 9110 §12.5.3). */
export const withoutCoding = (fields: readonly string[]): readonly string[] => [
  ...fields.filter((_, i) => (fields[i - (i % 2)] as string).toLowerCase() !== 'accept-encoding'),
  'Accept-Encoding',
  'identity',
]
