// The messages of JSON-RPC (2.0 §4, §5): read in the one way in which every parser reads them, because the
// server must execute the message that the gateway checked; what a value is; and the same message with another
// id, with its numbers as they were written.
import { Refusal } from '../kit/refusal.ts'

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Deeper nesting exhausts recursive parsers. */
const maxDepth = 200
/**
 * Levels in which no member may be repeated: the message, its `params`, and the members of those
 * (`arguments`, `_meta`).
 */
const checkedLevels = 3
const maxBatch = 100

/** Most messages have a few members in these levels; a call of a tool with many arguments has hundreds. */
const maxMembers = 20_000

const beyondAscii = /[^\0-\x7f]/
const separators = /[-_]/g

/**
 * A member's name as a tolerant parser compares it. Go's encoding/json uses Unicode simple case folding, in
 * which `ſ` (U+017F) is an s and `K` (U+212A) a k. Other parsers fold `ı` and `İ` too.
 */
export const foldName = (name: string): string =>
  beyondAscii.test(name) ? name.toUpperCase().toLowerCase().replaceAll('\u0307', '') : name.toLowerCase()

type Names = ReadonlyMap<string, string>
const names = (...list: readonly string[]): Names => new Map(list.map((name) => [foldName(name), name]))

/** Members that decide what a message does, in each level that the gateway checks. */
const messageMembers = names('jsonrpc', 'id', 'method', 'params', 'result', 'error')
const paramsMembers = names(
  ...[
    'name',
    'uri',
    'arguments',
    'taskId',
    '_meta',
    'ref',
    'cursor',
    'requestId',
    'requestState',
    'inputResponses',
  ],
  ...['protocolVersion', 'clientInfo', 'capabilities', 'notifications'],
)
const refMembers = names('type', 'name', 'uri')
const metaMembers = names(
  ...['protocolVersion', 'clientInfo', 'clientCapabilities'].map((name) => `io.modelcontextprotocol/${name}`),
  'progressToken',
)

const ambiguous = (why: string): Refusal =>
  new Refusal('mcp.invalid', why, {
    say: 'The message has a duplicate member, or a member name that servers may read differently.',
  })

/** Short strings are read character by character, longer ones with indexOf. */
const shortString = 48

/** Index of the quote that closes the string at `open`. The text is valid JSON. */
const stringEnd = (text: string, open: number): number => {
  let at = open + 1
  for (const stop = at + shortString; at < stop; at++) {
    const c = text.charCodeAt(at)
    if (c === 0x22) return at
    if (c === 0x5c) at++
  }
  let close = text.indexOf('"', at)
  for (;;) {
    let slashes = 0
    while (text.charCodeAt(close - 1 - slashes) === 0x5c) slashes++
    if (slashes % 2 === 0) return close
    close = text.indexOf('"', close + 1)
  }
}

interface TextCounts {
  /** Members in the checked levels. */
  readonly members: number
  /** Approximate number of values in all levels. */
  readonly values: number
}

/** Counts members and values in the text. */
const countInText = (text: string, levels: number): TextCounts => {
  let depth = 0
  let members = 0
  let values = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) i = stringEnd(text, i)
    else if (c === 0x3a) {
      // Outside strings, a colon is always behind the name of a member.
      if (depth <= levels) members++
    } else if (c === 0x2c) values++
    else if (c === 0x7b || c === 0x5b) {
      values++
      depth++
      if (depth > maxDepth)
        throw new Refusal('mcp.invalid', `nested deeper than ${maxDepth}`, {
          say: 'The message is nested too deeply.',
        })
    } else if (c === 0x7d || c === 0x5d) depth--
  }
  return { members, values }
}

/** Counts the members of the parsed value in the checked levels. */
const countMembers = (value: unknown, levels: number): number => {
  if (typeof value !== 'object' || value === null || levels === 0) return 0
  let members = 0
  if (Array.isArray(value)) {
    for (const item of value) members += countMembers(item, levels - 1)
    return members
  }
  for (const name in value) members += 1 + countMembers((value as Record<string, unknown>)[name], levels - 1)
  return members
}

const checkSpelling = (value: unknown, exact: Names): void => {
  if (typeof value !== 'object' || value === null) return
  for (const name in value) {
    // Most names are spelled as they should be.
    if (exact.get(name) === name) continue
    const folded = foldName(name)
    // Some servers accept snake case too (Python models, Go's json/v2): `task_id` for `taskId`.
    const meant = exact.get(folded) ?? exact.get(folded.replaceAll(separators, ''))
    if (meant !== undefined && meant !== name) throw ambiguous(`member ${JSON.stringify(name.slice(0, 40))}`)
  }
}

const checkMessage = (message: unknown): void => {
  checkSpelling(message, messageMembers)
  const params = (message as { params?: unknown } | null)?.params
  checkSpelling(params, paramsMembers)
  const { _meta: meta, ref } = (params ?? {}) as { readonly _meta?: unknown; readonly ref?: unknown }
  checkSpelling(meta, metaMembers)
  checkSpelling(ref, refMembers)
}

/**
 * JSON-RPC 2.0 §6 has no empty batch. Each message costs as much as one on its own, so their number is
 * limited.
 */
const checkBatch = ({ length }: readonly unknown[]): void => {
  if (length === 0)
    throw new Refusal('mcp.invalid', 'an empty batch', { say: 'A batch must contain at least one message.' })
  if (length <= maxBatch) return
  throw new Refusal('mcp.invalid', `${length} messages`, {
    say: `A batch has at most ${maxBatch} messages; this one has ${length}.`,
  })
}

export interface StrictJson {
  readonly text: string
  readonly value: unknown
  /** Approximate number of values, for the memory that it needs. */
  readonly values: number
}

/**
 * The text and value of JSON in UTF-8. Throws `mcp.parse` if it is not JSON, and `mcp.invalid` if parsers
 * read it differently: nesting deeper than 200 levels; a repeated member in the first three levels of a
 * message (RFC 8259 §4 does not say which one counts); a member that decides what the message does, in
 * another spelling that a tolerant parser accepts. A batch has at most 100 messages.
 */
export const readStrictJson = (bytes: Uint8Array): StrictJson => {
  let text: string
  let value: unknown
  try {
    text = strictUtf8.decode(bytes)
    value = JSON.parse(text)
  } catch (error) {
    throw new Refusal('mcp.parse', error instanceof Error ? error.name : '')
  }
  if (Array.isArray(value)) checkBatch(value)
  const levels = Array.isArray(value) ? checkedLevels + 1 : checkedLevels
  const { members, values } = countInText(text, levels)
  if (members > maxMembers)
    throw new Refusal('mcp.invalid', `${members} members`, {
      say: `The message has more than ${maxMembers} members.`,
    })
  if (members !== countMembers(value, levels)) throw ambiguous('a member twice')
  if (Array.isArray(value)) for (const message of value) checkMessage(message)
  else checkMessage(value)
  return { text, value, values }
}

/** Whether a member is repeated in any level of the text, whose value this is. */
export const hasRepeats = (text: string, value: unknown): boolean =>
  countInText(text, maxDepth).members !== countMembers(value, maxDepth)

/** The value of a text that was checked so far; throws `mcp.invalid` for a repeated member in any level. */
export const parseWithoutRepeats = (text: string): unknown => {
  const value: unknown = JSON.parse(text)
  if (hasRepeats(text, value)) throw ambiguous('a member twice')
  return value
}

/** Only the value. */
export const parseStrictJson = (bytes: Uint8Array): unknown => readStrictJson(bytes).value

// JSON whose numbers are written as they were: arguments and results may have numbers that a double cannot
// hold (JSON.parse source text access, ECMAScript 2025).

declare global {
  interface JSON {
    parse(
      text: string,
      reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
    ): unknown
    rawJSON(text: string): object
  }
}

/**
 * A value that `JSON.stringify` writes with the same numbers. A number that a double cannot hold is an
 * object. Throws SyntaxError.
 */
export const parseExactText = (text: string): unknown =>
  JSON.parse(text, (_key, value: unknown, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source
      ? JSON.rawJSON(source)
      : value,
  )

export const parseExactly = (body: Uint8Array): unknown => parseExactText(new TextDecoder().decode(body))

// What a value is, and the same message with another id.

export type Id = string | number
export type Rpc = Readonly<Record<string, unknown>>

type Kind = 'request' | 'notification' | 'response'

export const isId = (value: unknown): value is Id =>
  typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value))

/**
 * The kind of a message; undefined if the value is not a message. A response without a valid id belongs to no
 * request, so it is none.
 */
export const kindOf = (value: unknown): Kind | undefined => {
  if (!isRecord(value) || value['jsonrpc'] !== '2.0') return undefined
  const { id, method, params } = value
  if (method === undefined)
    return isId(id) && (isRecord(value['result']) || isRecord(value['error'])) ? 'response' : undefined
  if (typeof method !== 'string' || (params !== undefined && !isRecord(params))) return undefined
  if (id === undefined) return 'notification'
  return isId(id) ? 'request' : undefined
}

export const paramsOf = (message: Rpc): Rpc => (isRecord(message['params']) ? message['params'] : {})
export const metaOf = (message: Rpc): Rpc => {
  const meta = paramsOf(message)['_meta']
  return isRecord(meta) ? meta : {}
}

/** The value of a line; undefined if it is not JSON. */
export const readLine = (line: string): { readonly value: unknown } | undefined => {
  try {
    return { value: JSON.parse(line) as unknown }
  } catch {
    return undefined
  }
}

/** A message, and its text. */
export interface DescribedMessage {
  readonly message: Rpc
  readonly text: string
}

/** A message that the gateway writes. */
export const describeMessage = (message: Rpc): DescribedMessage => ({
  message,
  text: JSON.stringify(message),
})

/** Numbers that a double may write differently. */
const peculiar = /\d{16}|\d[.eE]|-0/

/**
 * The value of this text, to be changed and written again: its numbers are written as they were. To read
 * members, use the value itself.
 */
export const forWriting = <Value extends object>(text: string, value: Value): Value =>
  peculiar.test(text) ? (parseExactText(text) as Value) : value

/**
 * The text of a message with another id. To avoid parsing large messages, the id is replaced in the text
 * where it must be the message's own: just before the last brace, or in the beginning that most servers
 * write.
 */
export const withId = (text: string, message: Rpc, id: Id): string => {
  const [from, to] = [JSON.stringify(message['id']), JSON.stringify(id)]
  const tail = `,"id":${from}}`
  const head = `{"jsonrpc":"2.0","id":${from},`
  if (text.endsWith(tail)) return `${text.slice(0, -tail.length)},"id":${to}}`
  if (text.startsWith(head)) return `{"jsonrpc":"2.0","id":${to},${text.slice(head.length)}`
  return JSON.stringify({ ...forWriting(text, message), id })
}

/** Index behind the brace that opens the object at this path; undefined where there is none. The text is valid JSON. */
const openingOf = (text: string, path: readonly string[]): number | undefined => {
  let found = -1
  let depth = 0
  let name = ''
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) {
      const end = stringEnd(text, i)
      if (depth === found + 1) name = text.slice(i, end + 1)
      i = end
    } else if (c === 0x7b) {
      const isOnPath = depth === found + 1 && (found === -1 || JSON.parse(name) === path[found])
      depth++
      if (isOnPath && ++found === path.length) return i + 1
    } else if (c === 0x5b) depth++
    else if (c === 0x7d || c === 0x5d) {
      depth--
      // The object that was on the path is over.
      if (depth <= found) return undefined
    }
  }
  return undefined
}

/** The text with members at the beginning of the object at this path. */
const withMembers = (text: string, path: readonly string[], members: object): string => {
  const at = openingOf(text, path) ?? 0
  const end = /\s*\}/y
  end.lastIndex = at
  return `${text.slice(0, at)}${JSON.stringify(members).slice(1, -1)}${end.test(text) ? '' : ','}${text.slice(at)}`
}

/**
 * The message with members of `params._meta`; an undefined one is taken out. The rest of its text stays as it is, but
 * for a message that has one of them already. Undefined where `params` or `_meta` is no object, and for a notification
 * without `params`, which needs none.
 */
export const withMeta = (
  { message, text }: DescribedMessage,
  members: Readonly<Record<string, string | undefined>>,
): DescribedMessage | undefined => {
  const { params, id } = message
  const meta = isRecord(params) ? params['_meta'] : undefined
  if (params === undefined ? id === undefined : !isRecord(params)) return undefined
  if (meta !== undefined && !isRecord(meta)) return undefined
  const change = <Value>(of: Readonly<Record<string, Value>> = {}) =>
    Object.fromEntries(
      Object.entries({ ...of, ...members }).filter(
        ([name]) => !(name in members) || members[name] !== undefined,
      ),
    )
  const changed = (of: Rpc): Rpc => {
    const within = paramsOf(of)
    return { ...of, params: { ...within, _meta: change(within['_meta'] as Rpc | undefined) } }
  }
  const said = changed(message)
  if (meta && Object.keys(members).some((name) => name in meta))
    return { message: said, text: JSON.stringify(changed(forWriting(text, message))) }
  const added = change()
  const spliced = meta
    ? withMembers(text, ['params', '_meta'], added)
    : params
      ? withMembers(text, ['params'], { _meta: added })
      : withMembers(text, [], { params: { _meta: added } })
  return { message: said, text: spliced }
}

/**
 * The message on one line: its own text, unless that has line breaks (in an event stream, a carriage return
 * is one too).
 */
export const oneLine = (text: string, message: Rpc): string =>
  /[\r\n]/.test(text) ? JSON.stringify(forWriting(text, message)) : text

export const errorText = (id: Id | null, code: number, message: string, data?: unknown): string =>
  JSON.stringify({ jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } })

/**
 * HTTP status of a JSON-RPC error that is the whole response (2026-07-28 streamable-http, protocol version
 * header; basic/index, _meta).
 */
export const statusOf = (message: Rpc): number => {
  const { error } = message
  if (!isRecord(error)) return 200
  if (error['code'] === -32601) return 404
  return [-32700, -32600, -32020, -32021, -32022].includes(error['code'] as number) ? 400 : 200
}

// JSON-RPC messages as text: what a transport adapter must read to deliver each message.

/** A message, and its text as it came. The text is passed on, so that no number changes. */
export interface ParsedMessages {
  readonly message: Rpc
  readonly text: string
}

/** The messages of a text: one, those of a batch, or none if it is not JSON. */
export const messagesOf = (text: string): readonly ParsedMessages[] => {
  try {
    const value: unknown = JSON.parse(text)
    if (!Array.isArray(value)) return isRecord(value) ? [{ message: value, text }] : []
    return value.filter(isRecord).map((message) => ({ message, text: JSON.stringify(message) }))
  } catch {
    return []
  }
}

/**
 * The messages of a text, to be changed and written again: their numbers are written as they were. None where
 * it is not JSON.
 */
export const messagesToWrite = (text: string): readonly Rpc[] => {
  try {
    const value = parseExactText(text)
    return (Array.isArray(value) ? (value as readonly unknown[]) : [value]).filter(isRecord)
  } catch {
    return []
  }
}

/** `1` and `"1"` are different ids. */
export const keyOf = (id: unknown): string => JSON.stringify(id)

export const isRequest = (message: Rpc): boolean =>
  typeof message['method'] === 'string' && message['id'] !== undefined
export const isResponse = (message: Rpc): boolean =>
  message['method'] === undefined && message['id'] !== undefined

/** The id of the request that a notification cancels. */
export const cancelledId = (message: Rpc): unknown => paramsOf(message)['requestId']

/** The revision in a response to `initialize`. */
export const versionOf = (message: Rpc): string | undefined => {
  const { result } = message
  return isRecord(result) && typeof result['protocolVersion'] === 'string'
    ? result['protocolVersion']
    : undefined
}

/** Calls that have no answer yet, by id. */
export interface CallsInFlight<Key, Call> {
  readonly size: number
  get(key: Key): Call | undefined
  set(key: Key, call: Call): void
  /** Whether there was such a call. */
  delete(key: Key): boolean
  /** All that are there now; what is added or deleted meanwhile changes nothing. */
  entries(): [Key, Call][]
  calls(): Call[]
}

/**
 * V8 keeps the tables that a Map has outgrown reachable from each other until the next full collection, and
 * what was in them: with a plain Map, a fourth of all calls outlived their answers, and collecting them cost
 * a fifth of the time of a call. Here a call is let go when it is deleted.
 */
export const createCallsInFlight = <Key, Call>(): CallsInFlight<Key, Call> => {
  const all = new Map<Key, { call: Call | undefined }>()
  const forget = (key: Key): boolean => {
    const entry = all.get(key)
    if (!entry) return false
    entry.call = undefined
    return all.delete(key)
  }
  const entries = (): [Key, Call][] => [...all].map(([key, { call }]) => [key, call as Call])
  return {
    get size() {
      return all.size
    },
    get: (key) => all.get(key)?.call,
    set(key, call) {
      forget(key)
      all.set(key, { call })
    },
    delete: forget,
    entries,
    calls: () => entries().map(([, call]) => call),
  }
}
