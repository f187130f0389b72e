// JSON-RPC messages as lines: what a line is, and the same message under another id (JSON-RPC 2.0 §4, §5; MCP transports, stdio).
import { parseExactText } from './json.ts'

export type Id = string | number
export type Rpc = Readonly<Record<string, unknown>>

export type Kind = 'request' | 'notification' | 'response'

export const isRecord = (value: unknown): value is Rpc =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const isId = (value: unknown): value is Id =>
  typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value))

/** What a value is as a message; undefined for what is none. A response without a usable id belongs to nobody, so it is none either. */
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

/** The value of one line; undefined when the line is no JSON. */
export const readLine = (line: string): { readonly value: unknown } | undefined => {
  try {
    return { value: JSON.parse(line) as unknown }
  } catch {
    return undefined
  }
}

/** One message, for reading and for writing. */
export interface DescribedMessage {
  readonly message: Rpc
  readonly text: string
}

/** A message of the gateway's own. */
export const describeMessage = (message: Rpc): DescribedMessage => ({
  message,
  text: JSON.stringify(message),
})

/** Numbers that a double may not write as they were. */
const peculiar = /\d{16}|\d[.eE]|-0/

/** The value of this text, to be changed and written anew: its numbers are written as they were. For reading there is the value itself. */
export const forWriting = <Value extends object>(text: string, value: Value): Value =>
  peculiar.test(text) ? (parseExactText(text) as Value) : value

/**
 * The text of a message under another id. Large ones are not written anew where the id stands at a place that can only be the
 * message's own: just before the last brace, or in the beginning that most servers write.
 */
export const withId = (text: string, message: Rpc, id: Id): string => {
  const [from, to] = [JSON.stringify(message['id']), JSON.stringify(id)]
  const tail = `,"id":${from}}`
  const head = `{"jsonrpc":"2.0","id":${from},`
  if (text.endsWith(tail)) return `${text.slice(0, -tail.length)},"id":${to}}`
  if (text.startsWith(head)) return `{"jsonrpc":"2.0","id":${to},${text.slice(head.length)}`
  return JSON.stringify({ ...forWriting(text, message), id })
}

/** One line for a message: its own text where that can be told from the lines around it (a carriage return ends a line of an event stream too). */
export const oneLine = (text: string, message: Rpc): string =>
  /[\r\n]/.test(text) ? JSON.stringify(forWriting(text, message)) : text

export const errorText = (id: Id | null, code: number, message: string, data?: unknown): string =>
  JSON.stringify({ jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } })

/** HTTP status of a JSON-RPC error that comes before anything streams (2026-07-28 streamable-http, protocol version header; basic/index, _meta). */
export const statusOf = (message: Rpc): number => {
  const { error } = message
  if (!isRecord(error)) return 200
  if (error['code'] === -32601) return 404
  return [-32700, -32600, -32020, -32021, -32022].includes(error['code'] as number) ? 400 : 200
}

// JSON-RPC messages as text: what a bridge between transports must read of them to send each where it belongs.

/** A message, and its text as it came: what is passed on is that, so that no number in it changes. */
export interface ParsedMessages {
  readonly message: Rpc
  readonly text: string
}

/** The messages of a text: one, those of an array, or none where it is no JSON-RPC. */
export const messagesOf = (text: string): readonly ParsedMessages[] => {
  try {
    const value: unknown = JSON.parse(text)
    if (!Array.isArray(value)) return isRecord(value) ? [{ message: value, text }] : []
    return value.filter(isRecord).map((message) => ({ message, text: JSON.stringify(message) }))
  } catch {
    return []
  }
}

/** The messages of a text, to be changed and written again: their numbers are written as they were. None where it is not JSON. */
export const messagesToWrite = (text: string): readonly Rpc[] => {
  try {
    const value = parseExactText(text)
    return (Array.isArray(value) ? (value as readonly unknown[]) : [value]).filter(isRecord)
  } catch {
    return []
  }
}

/** `1` and `"1"` are two ids. */
export const keyOf = (id: unknown): string => JSON.stringify(id)

export const isRequest = (message: Rpc): boolean =>
  typeof message['method'] === 'string' && message['id'] !== undefined
export const isResponse = (message: Rpc): boolean =>
  message['method'] === undefined && message['id'] !== undefined

const paramsMeta = (params: unknown): Rpc | undefined =>
  isRecord(params) && isRecord(params['_meta']) ? params['_meta'] : undefined

/** The token under which a request wants to hear of its progress. */
export const progressOf = (message: Rpc): unknown => paramsMeta(message['params'])?.['progressToken']
/** The token that a progress report is for. */
export const reportedOf = (message: Rpc): unknown =>
  message['method'] === 'notifications/progress' && isRecord(message['params'])
    ? message['params']['progressToken']
    : undefined

/** The request that a cancellation is about. */
export const cancelledId = (message: Rpc): unknown =>
  isRecord(message['params']) ? message['params']['requestId'] : undefined

/** The revision that an answer to `initialize` settles on. */
export const versionOf = (message: Rpc): string | undefined => {
  const { result } = message
  return isRecord(result) && typeof result['protocolVersion'] === 'string'
    ? result['protocolVersion']
    : undefined
}
