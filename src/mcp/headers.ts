// Headers that repeat the body of a modern request: they must match, because a proxy acts on the header and
// the server on the body (2026-07-28 transports/streamable-http, server validation; SEP-2243).
import { decodeBase64, encodeBase64, utf8 } from '../kit/bytes.ts'
import { trimWhitespace } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { type Envelope, type Message, errorId, metaKeys } from './envelope.ts'
import type { Id, Rpc } from './json-rpc.ts'
import { isRecord } from './json.ts'
import { askedVersion, isModern } from './revisions.ts'

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

// `Mcp-Param-*` headers repeat arguments of a tool call (2026-07-28 streamable-http, custom headers).

const prefix = 'mcp-param-'
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** One annotated parameter: the header's name in lower case, and the path of the value in the arguments. */
export interface ParamHeader {
  readonly header: string
  readonly path: readonly string[]
}

export type ToolParamHeaders = ReadonlyMap<string, readonly ParamHeader[]>

const primitive = new Set(['string', 'integer', 'boolean'])

const collectAnnotated = (schema: Rpc, path: readonly string[], into: ParamHeader[], depth = 0): void => {
  if (depth > 16 || !isRecord(schema['properties'])) return
  for (const [name, property] of Object.entries(schema['properties'])) {
    if (!isRecord(property)) continue
    const header = property['x-mcp-header']
    if (typeof header === 'string' && token.test(header) && primitive.has(String(property['type'])))
      into.push({ header: prefix + header.toLowerCase(), path: [...path, name] })
    collectAnnotated(property, [...path, name], into, depth + 1)
  }
}

/** The annotated parameters of each tool of a list. A tool with two parameters for one header has none: clients must not use it. */
export const paramHeadersOf = (tools: unknown): Map<string, readonly ParamHeader[]> => {
  const found = new Map<string, readonly ParamHeader[]>()
  for (const tool of Array.isArray(tools) ? tools : []) {
    if (!isRecord(tool) || typeof tool['name'] !== 'string' || !isRecord(tool['inputSchema'])) continue
    const headers: ParamHeader[] = []
    collectAnnotated(tool['inputSchema'], [], headers)
    const names = new Set(headers.map(({ header }) => header))
    found.set(tool['name'], names.size === headers.length ? headers : [])
  }
  return found
}

const valueAt = (args: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>((at, name) => (isRecord(at) && Object.hasOwn(at, name) ? at[name] : undefined), args)

const matches = (value: unknown, header: string): boolean => {
  if (typeof value === 'number') return header.trim() !== '' && Number(header) === value
  return (typeof value === 'string' || typeof value === 'boolean') && String(value) === header
}

/** The received `Mcp-Param-*` headers, by name in lower case. One that was sent twice is joined (RFC 9110 §5.3). */
export const paramHeaders = (headers: readonly string[]): ReadonlyMap<string, string> => {
  const found = new Map<string, string>()
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase()
    if (!name.startsWith(prefix)) continue
    const value = trimWhitespace(headers[i + 1] as string)
    const before = found.get(name)
    found.set(name, before === undefined ? value : `${before}, ${value}`)
  }
  return found
}

/** The first header that is missing, malformed or does not match; undefined if there is none. Headers of no parameter are ignored. */
export const mismatchOf = (
  expected: readonly ParamHeader[],
  args: unknown,
  headers: ReadonlyMap<string, string>,
): string | undefined =>
  expected.find(({ header, path }) => {
    const value = valueAt(args, path)
    const sent = headers.get(header)
    // A value that is not a primitive has no header. The server rejects the value.
    if (value === undefined || value === null || typeof value === 'object') return sent !== undefined
    if (sent === undefined || !/^[\t\x20-\x7e]*$/.test(sent)) return true
    const decoded = decodeHeaderValue(sent)
    return decoded === undefined || !matches(value, decoded)
  })?.header

export const paramHeaderRefusal = (header: string, id: Id): Refusal =>
  new Refusal('mcp.headers', header, {
    say: `The ${header.replace(prefix, 'Mcp-Param-')} header is missing, malformed or does not match the body.`,
    rpcId: id,
  })

/** The headers of a call with these arguments. Values that are no primitives have none. */
export const paramHeaderFields = (
  expected: readonly ParamHeader[],
  args: unknown,
): readonly (readonly [string, string])[] =>
  expected.flatMap(({ header, path }) => {
    const value = valueAt(args, path)
    return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
      ? [[header, encodeHeaderValue(String(value))] as const]
      : []
  })

const maxToolPages = 50
const [minListMs, defaultListMs, maxListMs] = [10_000, 60_000, 300_000]

/** How long a result of `tools/list` is used: as long as the server says, within limits. */
export const toolListMs = ({ ttlMs }: Rpc): number =>
  typeof ttlMs === 'number' ? Math.min(Math.max(ttlMs, minListMs), maxListMs) : defaultListMs

/** Reads every page of `tools/list`. `page` resolves to the result for these params: `cursor`, or none for the first page. */
export const collectToolHeaders = async (
  page: (params: Rpc) => Promise<Rpc>,
): Promise<{ readonly tools: ToolParamHeaders; readonly ms: number }> => {
  const tools = new Map<string, readonly ParamHeader[]>()
  let ms = defaultListMs
  let params: Rpc = {}
  for (let pages = 0; pages < maxToolPages; pages++) {
    const result = await page(params)
    for (const [name, headers] of paramHeadersOf(result['tools'])) tools.set(name, headers)
    ms = toolListMs(result)
    if (result['nextCursor'] === undefined) break
    params = { cursor: result['nextCursor'] }
  }
  return { tools, ms }
}

/** Members of a schema that are data, not schemas. */
const dataMembers = new Set(['const', 'enum', 'default', 'examples'])

const countAnnotations = (schema: unknown, depth = 0): number => {
  if (depth > 64 || typeof schema !== 'object' || schema === null) return 0
  if (Array.isArray(schema))
    return schema.reduce<number>((sum, part) => sum + countAnnotations(part, depth + 1), 0)
  return Object.entries(schema).reduce(
    (sum, [name, part]) =>
      sum +
      (name === 'x-mcp-header' && typeof part !== 'object'
        ? 1
        : dataMembers.has(name)
          ? 0
          : countAnnotations(part, depth + 1)),
    0,
  )
}

/** Whether clients may call the tool: each annotation is valid, unique, and on a parameter with one path (SEP-2243, client behaviour). */
export const isUsable = (tool: unknown): boolean => {
  if (!isRecord(tool) || !isRecord(tool['inputSchema'])) return true
  const written = countAnnotations(tool['inputSchema'])
  return written === 0 || paramHeadersOf([tool]).get(String(tool['name']))?.length === written
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
