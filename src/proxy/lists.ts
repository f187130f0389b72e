// Which calls have answers with lists in them, and what is done with those (MCP tools/list, resources/list,
// resources/templates/list, prompts/list).
import { Refusal } from '../kit/refusal.ts'
import { type Rpc, foldName, isRecord, parseExactText } from '../mcp/json-rpc.ts'
import type { Head, ListAnswers, Trim } from '../ports/call.ts'
import type { Audit } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type { Policy } from '../ports/policy.ts'
import type { Service } from '../ports/services.ts'
import type { AdmittedCall } from './admitted-call.ts'
import type { ToolCatalog } from './access.ts'

/** What a caller is to see of the lists of a service; undefined: all of it. */
export type TrimFor = (call: {
  readonly service: Service
  readonly principal: Principal | undefined
  /** Of the call that asks; absent for what the gateway asks for itself. */
  readonly head?: Pick<Head, 'requestId' | 'ip'> | undefined
}) => Trim | undefined

const listMethods: ReadonlySet<string | undefined> = new Set([
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
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
  ['tools', 'prompts', 'resources', 'resourceTemplates']
    .map((member) => result[member])
    .reduce((sum: number, list) => sum + (Array.isArray(list) ? list.length : 0), 0)

/**
 * What callers see of lists by the access rules; the catalog of tools hears each of them first. How much of a list
 * somebody was shown is written down.
 */
export const createPolicyTrim =
  (policy: Policy, catalog: ToolCatalog, record: Audit): TrimFor =>
  ({ service, principal, head }) => {
    const trim = policy.of(service)?.trim(principal, (tools) => catalog.learn(service, principal, tools))
    if (!trim || !head) return trim
    return (result) => {
      const trimmed = trim(result)
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

/** Whether definitions of this service are held to what they were: asked for every call, and so beside its lists. */
export const isPinnedBy =
  (policy: Policy | undefined) =>
  (service: Service): boolean =>
    policy?.services.ruled === true && policy.of(service)?.pins !== undefined

/** The tools that are known, and what callers see of lists (absent: all of them). */
export interface ListAccess {
  readonly catalog: ToolCatalog
  readonly trim: TrimFor | undefined
  /** Whether it must be heard wherever the server says that its lists have changed. */
  readonly isPinned: (service: Service) => boolean
}

export const createLists = ({ trim: trimFor, catalog, isPinned }: ListAccess): Lists => {
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
  return {
    tools,
    listsOf(call) {
      const { service } = call.address
      // A stream that is taken up again brings what was answered on another one (2025-11-25 transports,
      // resumability).
      const listens = call.head.method === 'GET' || call.inbound.resume !== undefined
      const trim = trimOf(call, listens, trimFor)
      const hears = listens || isPinned(service)
      if (call.upstream.kind !== 'http')
        return trim || isPinned(service) ? { trim, changed: changedOf(service) } : undefined
      const first = firstMethod(call)
      const learn = first === 'tools/list' ? learnOf(call) : undefined
      const changed = hears || first === 'subscriptions/listen' ? changedOf(service) : undefined
      if (changed && !trim && !learn) return heard.get(service)
      return trim || learn ? { trim, learn, changed } : undefined
    },
  }
}

/** The same fields, but for what the caller takes: the gateway reads the answer itself (RFC 9110 §12.5.3). */
export const withoutCoding = (fields: readonly string[]): readonly string[] => [
  ...fields.filter((_, i) => (fields[i - (i % 2)] as string).toLowerCase() !== 'accept-encoding'),
  'Accept-Encoding',
  'identity',
]

// Lists on their way to the caller: rewritten where the gateway decides what is on them, and heard where it
// wants to know.

/** Longest list, or event of a stream with lists, that is read, bytes or characters. */
export const mostRead = 8_388_608

/** The members of a result that hold lists. */
const listMembers = ['tools', 'prompts', 'resources', 'resourceTemplates'] as const
const exactNames = new Map<string, string>(['result', ...listMembers].map((name) => [foldName(name), name]))

export const unreadable = (why: string): Refusal => new Refusal('upstream.message', why)

/**
 * Some clients take a member for another that differs in case alone, and of two of a name one takes the first
 * and another the last: what is written anew has one of each.
 */
const checkSpelling = (value: Readonly<Record<string, unknown>>): void => {
  for (const name of Object.keys(value)) {
    const meant = exactNames.get(foldName(name))
    if (meant !== undefined && meant !== name)
      throw unreadable(`a member ${JSON.stringify(name.slice(0, 40))}`)
  }
}

const rewriteResult = (message: Record<string, unknown>, { trim, learn }: ListAnswers): void => {
  const { result } = message
  if (!isRecord(result)) throw unreadable('a result that is no object')
  checkSpelling(result)
  const lists = listMembers.filter((name) => Object.hasOwn(result, name))
  for (const name of lists)
    if (!Array.isArray(result[name])) throw unreadable(`a list of ${name} that is no array`)
  if (lists.length === 0) return
  if (lists.includes('tools')) learn?.(result)
  if (trim) message['result'] = trim(result)
}

/**
 * The message, or the batch, with its lists rewritten; undefined where it holds no result. Throws what cannot
 * be read.
 */
export const rewriteLists = (text: string, lists: ListAnswers): string | undefined => {
  let value: unknown
  try {
    value = parseExactText(text)
  } catch {
    throw unreadable('a body that is no JSON')
  }
  let results = 0
  for (const message of Array.isArray(value) ? value : [value]) {
    if (!isRecord(message)) throw unreadable('a message that is no object')
    checkSpelling(message)
    if (String(message['method']).endsWith('list_changed')) lists.changed?.()
    if (!Object.hasOwn(message, 'result')) continue
    results++
    rewriteResult(message, lists)
  }
  return results === 0 ? undefined : JSON.stringify(value)
}

// The events of a stream, each with its lines as they came (WHATWG HTML §9.2).

interface EventField {
  /** With its end. */
  readonly raw: string
  readonly field: string
  readonly value: string
}

const knownFields = new Set(['data', 'event', 'id', 'retry'])

const fieldOf = (text: string, end: string): EventField => {
  const colon = text.indexOf(':')
  const [field, rest] = colon === -1 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
  return { raw: text + end, field, value: rest.startsWith(' ') ? rest.slice(1) : rest }
}

const rewriteEvent = (lines: readonly EventField[], lists: ListAnswers): string => {
  const raw = lines.map((line) => line.raw).join('')
  const data = lines.filter(({ field }) => field === 'data').map(({ value }) => value)
  const text = data.join('\n')
  if (text === '') return raw
  const rewritten = rewriteLists(text, lists)
  if (rewritten === undefined) return raw
  const others = lines.filter(({ field }) => field !== 'data').map((line) => line.raw)
  return `${others.join('')}data: ${rewritten}\n`
}

export interface ListReader {
  feed(bytes: Uint8Array): string
  end(): string
}

/**
 * What no client reads is left out: fields without a meaning, and the words of comments. Throws what cannot
 * be read.
 */
export const createEventReading = (lists: ListAnswers): ListReader => {
  const decoder = new TextDecoder()
  let rest = ''
  let searched = 0
  let lines: EventField[] = []
  let size = 0
  const event = (): string => {
    const said = lines
    lines = []
    size = 0
    return rewriteEvent(said, lists)
  }
  const addField = (text: string, end: string): string => {
    if (text === '') return event() + end
    const read = fieldOf(text, end)
    if (read.field === '') return `:${end}`
    if (!knownFields.has(read.field)) return ''
    lines.push(read)
    size += text.length
    return ''
  }
  const take = (last: boolean): string => {
    let out = ''
    for (;;) {
      const at = rest.slice(searched).search(/[\r\n]/)
      if (at === -1) break
      const stop = searched + at
      // The line feed that completes a carriage return may be in the next piece.
      if (rest[stop] === '\r' && stop + 1 === rest.length && !last) break
      const end = rest.startsWith('\r\n', stop) ? '\r\n' : (rest[stop] as string)
      out += addField(rest.slice(0, stop), end)
      rest = rest.slice(stop + end.length)
      searched = 0
    }
    searched = rest.endsWith('\r') ? rest.length - 1 : rest.length
    if (rest.length + size > mostRead) throw unreadable(`an event of more than ${mostRead} characters`)
    return out
  }
  return {
    feed(bytes) {
      rest += decoder.decode(bytes, { stream: true })
      return take(false)
    },
    end() {
      rest += decoder.decode()
      let out = take(true)
      if (rest !== '') out += addField(rest, '\n')
      if (lines.length === 0) return out
      // Some servers leave out the blank line behind their last event; what was cut off is no JSON, and not
      // told.
      try {
        return `${out}${event()}\n`
      } catch {
        return out
      }
    },
  }
}

export const createWholeReading = (lists: ListAnswers): ListReader => {
  const pieces: Uint8Array[] = []
  let size = 0
  return {
    feed(bytes) {
      size += bytes.byteLength
      if (size > mostRead) throw unreadable(`a list of more than ${mostRead} bytes`)
      pieces.push(bytes)
      return ''
    },
    end() {
      const decoder = new TextDecoder()
      const text = pieces.map((piece) => decoder.decode(piece, { stream: true })).join('') + decoder.decode()
      return text.trim() === '' ? '' : (rewriteLists(text, lists) ?? text)
    },
  }
}
