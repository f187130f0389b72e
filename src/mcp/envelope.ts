// What the gateway reads of a message: its kind, method, name and id, whether it may be sent twice, and
// whether the header fields that repeat it agree. Everything else is passed through.
import { decodeBase64, encodeBase64, utf8 } from '../kit/bytes.ts'
import { trimWhitespace } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { type Rpc, isRecord, parseStrictJson } from './json-rpc.ts'
import { askedVersion, isModern, metaKeys } from './revisions.ts'

export type RpcId = string | number | null

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
  ['tasks/result', 'taskId'],
])

const tasksExtension = 'io.modelcontextprotocol/tasks'

/**
 * Whether the answer may be a task: the request asks for one (2025-11-25), or its client takes one from any call (the
 * extension).
 */
const maySpawnTask = (params: Rpc | undefined, meta: unknown): boolean => {
  if (params?.['task'] !== undefined) return true
  const capabilities = isRecord(meta) ? meta[metaKeys.capabilities] : undefined
  const extensions = isRecord(capabilities) ? capabilities['extensions'] : undefined
  return isRecord(extensions) && Object.hasOwn(extensions, tasksExtension)
}

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
  /** Whether the answer may be a task. */
  readonly spawnsTask: boolean
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
      spawnsTask: false,
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
    spawnsTask: maySpawnTask(params, meta),
  }
}

/** Reads a request body: one message, or a batch. Throws `mcp.parse` (-32700) and `mcp.invalid` (-32600). */
export const readEnvelope = (body: Uint8Array): Envelope => envelopeOf(parseStrictJson(body))

/** Reads a body that was parsed already (`readStrictJson`). Throws `mcp.invalid`. */
export const envelopeOf = (value: unknown): Envelope => {
  if (!Array.isArray(value)) return { batch: false, messages: [readMessage(value)] }
  const messages = value.map(readMessage)
  refuseEqualIds(messages)
  return { batch: true, messages }
}

/** Nobody could tell to which of two requests with one id an answer belongs (JSON-RPC 2.0 §5, §6). */
const refuseEqualIds = (messages: readonly Message[]): void => {
  const ids = messages.flatMap(({ kind, id }) => (kind === 'request' && id !== undefined ? [id] : []))
  // A number and a text are not equal, however they are written.
  if (new Set(ids).size < ids.length) throw new Refusal('mcp.invalid', 'two requests of a batch have one id')
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

// Header fields that repeat the body of a modern request: they must match, because a proxy acts on the field
// and the server on the body (2026-07-28 transports/streamable-http, server validation; SEP-2243).

/** The standard headers as received. A header that was sent twice is joined with a comma (RFC 9110 §5.3). */
export interface StandardHeaders {
  readonly version: string | undefined
  readonly method: string | undefined
  readonly name: string | undefined
}

const sentinelStart = '=?base64?'
const sentinelEnd = '?='
const canonicalBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The value behind the base64 sentinel `=?base64?…?=`, or the value itself; undefined if that is malformed.
 */
export const decodeHeaderValue = (value: string): string | undefined => {
  if (
    !value.startsWith(sentinelStart) ||
    !value.endsWith(sentinelEnd) ||
    value.length < sentinelStart.length + sentinelEnd.length
  )
    return value
  const encoded = value.slice(sentinelStart.length, -sentinelEnd.length)
  const bytes = canonicalBase64.test(encoded) ? decodeBase64(encoded) : undefined
  if (!bytes) return undefined
  try {
    return strictUtf8.decode(bytes)
  } catch {
    // Not UTF-8.
    return undefined
  }
}

/** The value as a header: unchanged, or in the base64 form if it would be read as something else. */
export const encodeHeaderValue = (value: string): string =>
  /^(?! )[\x20-\x7e]*(?<! )$/.test(value) && !(value.startsWith(sentinelStart) && value.endsWith(sentinelEnd))
    ? value
    : `${sentinelStart}${encodeBase64(utf8(value))}${sentinelEnd}`

const mismatch = (header: string, message: Message): Refusal =>
  new Refusal('mcp.headers', header, {
    say: `The ${header} header is missing, malformed or does not match the body.`,
    rpcId: message.id ?? null,
  })

const badEnvelope = (message: Message, missing: readonly string[]): Refusal =>
  new Refusal('mcp.envelope', missing.join(' '), {
    say: `The request has missing or malformed members in params._meta: ${missing.join(', ')}.`,
    rpcId: message.id ?? null,
    rpcData: { envelope: { missing } },
  })

/**
 * The refusal of a revision, with the code and data of 2026-07-28 basic/versioning. `perRequest`: the client
 * names a revision on each request. Only modern revisions can be named so, and the client may try again with
 * any of the list.
 */
export const unsupportedVersion = (
  requested: string,
  supported: readonly string[],
  { rpcId = null, perRequest }: { readonly rpcId?: Message['id']; readonly perRequest: boolean },
): Refusal => {
  const shown = requested.slice(0, 64).replaceAll(/[^\x20-\x7e]/g, '?')
  const modern = perRequest ? supported.filter(isModern) : []
  const list = modern.length > 0 ? modern : supported
  return new Refusal('mcp.version', shown, {
    say: `Unsupported MCP protocol version: ${shown}. Supported versions: ${list.join(', ')}`,
    rpcId: rpcId ?? null,
    rpcData: { supported: list, requested: shown },
  })
}

/** A notification may leave out `params._meta`, but must name a revision as a string if it names one. */
const checkEnvelope = (message: Message, headers: StandardHeaders, version: unknown): void => {
  const named = typeof version === 'string'
  const declared = message.kind !== 'request' || isRecord(message.meta?.[metaKeys.capabilities])
  if (!named || !declared)
    throw badEnvelope(message, [
      ...(named ? [] : [metaKeys.version]),
      ...(declared ? [] : [metaKeys.capabilities]),
    ])
  if (headers.version !== undefined && headers.version !== version)
    throw mismatch('MCP-Protocol-Version', message)
  checkMethod(message, headers)
}

const checkMirrors = (message: Message, headers: StandardHeaders): void => {
  if (headers.version === undefined) throw mismatch('MCP-Protocol-Version', message)
  if (headers.method === undefined) throw mismatch('Mcp-Method', message)
  if (!message.mirrored) return
  if (headers.name === undefined) {
    if (message.name !== undefined) throw mismatch('Mcp-Name', message)
    return
  }
  const named = decodeHeaderValue(headers.name)
  if (named === undefined || (message.name !== undefined && named !== message.name))
    throw mismatch('Mcp-Name', message)
}

const checkMethod = (message: Message, { method }: StandardHeaders): void => {
  if (method !== undefined && method !== message.method) throw mismatch('Mcp-Method', message)
}

/** A message that names its revision in `params._meta`. */
const checkNamed = (
  message: Message,
  headers: StandardHeaders,
  version: unknown,
  supported: readonly string[],
): void => {
  checkEnvelope(message, headers, version)
  // A legacy revision has no headers to compare. Whether it can be named here is for the server to say.
  if (typeof version !== 'string' || !isModern(version)) return
  if (!supported.includes(version))
    throw unsupportedVersion(version, supported, { rpcId: message.id, perRequest: true })
  if (message.kind === 'request') checkMirrors(message, headers)
}

/**
 * `initialize` is legacy, whatever its headers say, unless `params._meta` is that of a modern request
 * (basic/versioning).
 */
const isLegacyInitialize = ({ method, kind, meta }: Message, version: unknown): boolean =>
  method === 'initialize' &&
  kind === 'request' &&
  !(typeof version === 'string' && isModern(version) && isRecord(meta?.[metaKeys.capabilities]))

const checkOne = (message: Message, headers: StandardHeaders, supported: readonly string[]): void => {
  const { kind, meta } = message
  if (kind === 'response') return
  const version = meta?.[metaKeys.version]
  const modernHeader = headers.version !== undefined && isModern(headers.version)
  if (isLegacyInitialize(message, version)) {
    if (modernHeader) throw mismatch('MCP-Protocol-Version', message)
    return
  }
  if (meta !== undefined && metaKeys.version in meta) return checkNamed(message, headers, version, supported)
  if (!modernHeader) return undefined
  if (kind === 'request') throw badEnvelope(message, meta === undefined ? ['_meta'] : [metaKeys.version])
  return checkMethod(message, headers)
}

/**
 * Compares the headers with the body, in revisions that have such headers. Throws `mcp.headers` (-32020),
 * `mcp.envelope` (-32602), `mcp.version` (-32022) or `mcp.invalid` (-32600, for a batch).
 */
export const validateHeaders = (
  envelope: Envelope,
  received: StandardHeaders,
  supported: readonly string[],
): void => {
  const headers: StandardHeaders = {
    version: received.version === undefined ? undefined : trimWhitespace(received.version),
    method: received.method === undefined ? undefined : trimWhitespace(received.method),
    name: received.name === undefined ? undefined : trimWhitespace(received.name),
  }
  if (envelope.batch) {
    const modern =
      (headers.version !== undefined && isModern(headers.version)) ||
      envelope.messages.some((message) => message.meta !== undefined && metaKeys.version in message.meta)
    if (modern)
      throw new Refusal('mcp.invalid', 'batch', {
        say: 'This MCP revision does not support batches. Send one message per request.',
        rpcId: errorId(envelope),
      })
    return
  }
  for (const message of envelope.messages) checkOne(message, headers, supported)
}

/** The member of `params` that `Mcp-Name` repeats. */
const named: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
}

/** The standard headers of a modern request (streamable-http, standard headers). */
export const standardHeaders = (method: string, params: Rpc): (readonly [string, string])[] => {
  const name = params[named[method] ?? '']
  return [
    ['mcp-protocol-version', askedVersion],
    ['mcp-method', method],
    ...(typeof name === 'string' ? [['mcp-name', encodeHeaderValue(name)] as const] : []),
  ]
}
