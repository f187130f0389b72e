// JSON-RPC messages: what a value is, and the same message with another id (JSON-RPC 2.0 §4, §5).
import { isRecord, parseExactText } from './json.ts'

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
