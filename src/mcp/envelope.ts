// What the gateway reads of a message: its kind, method, name and id, and whether it may be sent twice.
// Everything else is passed through.
import { Refusal } from '../kit/refusal.ts'
import { isRecord, parseStrictJson } from './json.ts'

export type RpcId = string | number | null

/** Members of `params._meta` of a modern request (2026-07-28 basic/index). */
export const metaKeys = {
  version: 'io.modelcontextprotocol/protocolVersion',
  client: 'io.modelcontextprotocol/clientInfo',
  capabilities: 'io.modelcontextprotocol/clientCapabilities',
} as const

/**
 * The member of `params` that `Mcp-Name` repeats (2026-07-28 transports/streamable-http; tasks extension).
 */
const nameSources = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  ['tasks/get', 'taskId'],
  ['tasks/update', 'taskId'],
  ['tasks/cancel', 'taskId'],
])

/** Names of other methods, for policy and the audit log only. */
const otherNames = new Map([
  ['resources/subscribe', 'uri'],
  ['resources/unsubscribe', 'uri'],
])

export interface Message {
  readonly kind: 'request' | 'notification' | 'response'
  readonly method: string | undefined
  /** The tool, prompt, resource or task that the method is about. */
  readonly name: string | undefined
  /** Whether `Mcp-Name` must repeat `name`. */
  readonly mirrored: boolean
  /** Undefined if there is none, or it is not valid. */
  readonly id: RpcId | undefined
  readonly meta: Readonly<Record<string, unknown>> | undefined
  /** `params.requestState` (2026-07-28, multi-round-trip requests). */
  readonly state: string | undefined
}

export interface Envelope {
  readonly batch: boolean
  readonly messages: readonly Message[]
}

const validId = (id: unknown): RpcId | undefined =>
  typeof id === 'string' || (typeof id === 'number' && Number.isFinite(id)) || id === null ? id : undefined

const readMessage = (value: unknown): Message => {
  if (!isRecord(value)) throw new Refusal('mcp.invalid', 'an element is not an object')
  const { method } = value
  if (method !== undefined && typeof method !== 'string')
    throw new Refusal('mcp.invalid', 'method is not a string')
  const id = validId(value['id'])
  if (method === undefined)
    return {
      kind: 'response',
      method,
      name: undefined,
      mirrored: false,
      id,
      meta: undefined,
      state: undefined,
    }
  const params = isRecord(value['params']) ? value['params'] : undefined
  const source = nameSources.get(method)
  const name = params?.[source ?? otherNames.get(method) ?? '']
  const meta = params?.['_meta']
  const state = params?.['requestState']
  return {
    kind: 'id' in value ? 'request' : 'notification',
    method,
    name: typeof name === 'string' ? name : undefined,
    mirrored: source !== undefined,
    id,
    meta: isRecord(meta) ? meta : undefined,
    state: typeof state === 'string' ? state : undefined,
  }
}

/** Reads a request body: one message, or a batch. Throws `mcp.parse` (-32700) and `mcp.invalid` (-32600). */
export const readEnvelope = (body: Uint8Array): Envelope => envelopeOf(parseStrictJson(body))

/** Reads a body that was parsed already (`readStrictJson`). Throws `mcp.invalid`. */
export const envelopeOf = (value: unknown): Envelope => {
  if (!Array.isArray(value)) return { batch: false, messages: [readMessage(value)] }
  return { batch: true, messages: value.map(readMessage) }
}

/** The id of an error about this body (JSON-RPC 2.0 §5). */
export const errorId = (envelope: Envelope): RpcId =>
  envelope.batch ? null : (envelope.messages[0]?.id ?? null)

/** The same where there may be no body. */
export const rpcIdOf = (envelope: Envelope | undefined): RpcId =>
  envelope === undefined ? null : errorId(envelope)

/** Whether anything in it asks for an answer: a request. */
export const hasRequest = (envelope: Envelope | undefined): boolean => {
  const messages = envelope?.messages ?? []
  for (let i = 0; i < messages.length; i++) if (messages[i]?.kind === 'request') return true
  return false
}

// Which requests may be sent once more when the connection was lost before an answer came.

/**
 * Methods of MCP that change nothing, or the same once more: they may be sent again when nobody knows whether
 * they arrived.
 */
const repeatableMethods: ReadonlySet<string | undefined> = new Set([
  'initialize',
  'ping',
  'server/discover',
  'tools/list',
  'prompts/list',
  'prompts/get',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
  'completion/complete',
  'logging/setLevel',
  'tasks/list',
  'tasks/get',
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/roots/list_changed',
])

/**
 * RFC 9110 §9.2.2 for the methods of HTTP, and MCP for what a POST carries. `tools`: those whose calls may be
 * repeated.
 */
export const isRepeatable = (
  httpMethod: string,
  envelope: Envelope | undefined,
  tools: ReadonlySet<string> | undefined,
): boolean => {
  if (httpMethod !== 'POST') return true
  if (!envelope) return false
  const { messages } = envelope
  for (let i = 0; i < messages.length; i++) {
    const { method, name } = messages[i] as Envelope['messages'][number]
    const again =
      method === 'tools/call'
        ? name !== undefined && tools?.has(name) === true
        : repeatableMethods.has(method)
    if (!again) return false
  }
  return messages.length > 0
}

/** The same of a body that the gateway sends by itself. */
export const isRepeatableText = (httpMethod: string, body: string | undefined): boolean => {
  if (httpMethod !== 'POST') return true
  try {
    const message: unknown = JSON.parse(body ?? '')
    return isRecord(message) && repeatableMethods.has(message['method'] as string | undefined)
  } catch {
    return false
  }
}
