// JSON-RPC messages as text: what a bridge between transports must read of them to send each where it belongs.
export type Rpc = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Rpc => typeof value === 'object' && value !== null && !Array.isArray(value)

/** A message, and its text as it came: what is passed on is that, so that no number in it changes. */
export interface Spoken {
  readonly message: Rpc
  readonly text: string
}

/** The messages of a text: one, those of an array, or none where it is no JSON-RPC. */
export const messagesOf = (text: string): readonly Spoken[] => {
  try {
    const value: unknown = JSON.parse(text)
    if (!Array.isArray(value)) return isObject(value) ? [{ message: value, text }] : []
    return value.filter(isObject).map((message) => ({ message, text: JSON.stringify(message) }))
  } catch {
    return []
  }
}

/** `1` and `"1"` are two ids. */
export const keyOf = (id: unknown): string => JSON.stringify(id)

export const isRequest = (message: Rpc): boolean => typeof message['method'] === 'string' && message['id'] !== undefined
export const isResponse = (message: Rpc): boolean => message['method'] === undefined && message['id'] !== undefined

const metaOf = (params: unknown): Rpc | undefined => (isObject(params) && isObject(params['_meta']) ? params['_meta'] : undefined)

/** The token under which a request wants to hear of its progress. */
export const progressOf = (message: Rpc): unknown => metaOf(message['params'])?.['progressToken']
/** The token that a progress report is for. */
export const reportedOf = (message: Rpc): unknown => (message['method'] === 'notifications/progress' && isObject(message['params']) ? message['params']['progressToken'] : undefined)

/** The request that a cancellation is about. */
export const cancelledId = (message: Rpc): unknown => (isObject(message['params']) ? message['params']['requestId'] : undefined)

/** The revision that an answer to `initialize` settles on. */
export const versionOf = (message: Rpc): string | undefined => {
  const { result } = message
  return isObject(result) && typeof result['protocolVersion'] === 'string' ? result['protocolVersion'] : undefined
}
