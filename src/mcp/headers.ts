// Header and body of a 2026-07-28 request say the same thing, or nobody acts on either (transports/streamable-http, server validation; SEP-2243).
import { decodeBase64, encodeBase64, utf8 } from '../kit/bytes.ts'
import { trimWhitespace } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { type Envelope, type Message, errorId, metaKeys } from './envelope.ts'
import { type Id, type Rpc, isRecord } from './json-rpc.ts'
import { askedVersion, isModern } from './revisions.ts'

/** The standard headers as received; a header sent twice is joined with a comma, as RFC 9110 §5.3 reads it. */
export interface StandardHeaders {
  readonly version: string | undefined
  readonly method: string | undefined
  readonly name: string | undefined
}

const sentinelStart = '=?base64?'
const sentinelEnd = '?='
const canonicalBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The value behind the base64 sentinel `=?base64?…?=`, or the value itself; undefined when the sentinel is malformed. */
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
    // Not UTF-8: as malformed as bad base64.
    return undefined
  }
}

/** A value as it may stand in a header: itself, or behind the sentinel where it would be read as something else. */
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

const isPlain = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * A revision that is not let through: code, sentence and data of 2026-07-28 basic/versioning, in the words of the first gateway. `perRequest`: the client names a
 * revision on each request; it is told only those that can be named so, because it may try again with any of the list.
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

const checkEnvelope = (message: Message, headers: StandardHeaders, claim: unknown): void => {
  const faults = [
    typeof claim === 'string' ? '' : metaKeys.version,
    isPlain(message.meta?.[metaKeys.capabilities]) ? '' : metaKeys.capabilities,
  ].filter(Boolean)
  // A notification need not carry the envelope; one that claims a revision must claim it well.
  if (message.kind === 'request' ? faults.length > 0 : typeof claim !== 'string')
    throw badEnvelope(message, message.kind === 'request' ? faults : [metaKeys.version])
  if (headers.version !== undefined && headers.version !== claim)
    throw mismatch('MCP-Protocol-Version', message)
  if (headers.method !== undefined && headers.method !== message.method) throw mismatch('Mcp-Method', message)
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

const checkOne = (message: Message, headers: StandardHeaders, supported: readonly string[]): void => {
  if (message.kind === 'response') return
  const claim = message.meta?.[metaKeys.version]
  const claimed = message.meta !== undefined && metaKeys.version in message.meta
  const headerModern = headers.version !== undefined && isModern(headers.version)
  const wellClaimed =
    typeof claim === 'string' && isModern(claim) && isPlain(message.meta?.[metaKeys.capabilities])
  // The handshake belongs to the earlier revisions, whatever else it carries, unless the envelope is whole (basic/versioning).
  if (message.method === 'initialize' && message.kind === 'request' && !wellClaimed) {
    if (headerModern) throw mismatch('MCP-Protocol-Version', message)
    return
  }
  if (claimed) {
    checkEnvelope(message, headers, claim)
    if (typeof claim === 'string' && isModern(claim) && !supported.includes(claim))
      throw unsupportedVersion(claim, supported, { rpcId: message.id, perRequest: true })
    // A revision of the past in the envelope has no mirrors to check; refusing it is its server's affair.
    if (message.kind === 'request' && typeof claim === 'string' && isModern(claim))
      checkMirrors(message, headers)
    return
  }
  if (!headerModern) return
  if (message.kind === 'request')
    throw badEnvelope(message, message.meta === undefined ? ['_meta'] : [metaKeys.version])
  if (headers.method !== undefined && headers.method !== message.method) throw mismatch('Mcp-Method', message)
}

/**
 * Passes when header and body agree, or when the request belongs to a revision without mirrored headers. Throws `mcp.headers` (-32020),
 * `mcp.envelope` (-32602), `mcp.version` (-32022) or `mcp.invalid` (-32600, a batch where there are none).
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

// `Mcp-Param-*` headers of a tool call say what the arguments say (2026-07-28 streamable-http, custom headers): whoever reads the body checks them, and whoever sends it writes them.

const prefix = 'mcp-param-'
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** One annotated parameter: the header's name in lower case, and where the value stands in the arguments. */
export interface ParamHeader {
  readonly header: string
  readonly path: readonly string[]
}

export type ToolParamHeaders = ReadonlyMap<string, readonly ParamHeader[]>

const primitive = new Set(['string', 'integer', 'boolean'])

const collect = (schema: Rpc, path: readonly string[], into: ParamHeader[], depth = 0): void => {
  if (depth > 16 || !isRecord(schema['properties'])) return
  for (const [name, property] of Object.entries(schema['properties'])) {
    if (!isRecord(property)) continue
    const header = property['x-mcp-header']
    if (typeof header === 'string' && token.test(header) && primitive.has(String(property['type'])))
      into.push({ header: prefix + header.toLowerCase(), path: [...path, name] })
    collect(property, [...path, name], into, depth + 1)
  }
}

/** The annotated parameters of each tool of a list; a tool whose annotations clash has none, because its clients must leave it out. */
export const paramHeadersOf = (tools: unknown): Map<string, readonly ParamHeader[]> => {
  const found = new Map<string, readonly ParamHeader[]>()
  for (const tool of Array.isArray(tools) ? tools : []) {
    if (!isRecord(tool) || typeof tool['name'] !== 'string' || !isRecord(tool['inputSchema'])) continue
    const mirrors: ParamHeader[] = []
    collect(tool['inputSchema'], [], mirrors)
    const names = new Set(mirrors.map(({ header }) => header))
    found.set(tool['name'], names.size === mirrors.length ? mirrors : [])
  }
  return found
}

const valueAt = (args: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>((at, name) => (isRecord(at) && Object.hasOwn(at, name) ? at[name] : undefined), args)

const agrees = (value: unknown, header: string): boolean => {
  if (typeof value === 'number') return header.trim() !== '' && Number(header) === value
  return (typeof value === 'string' || typeof value === 'boolean') && String(value) === header
}

/** The received `Mcp-Param-*` fields by lower-case name; one sent twice is joined (RFC 9110 §5.3). */
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

/** The header that is missing, malformed or disagrees; undefined when all is well. Headers that mirror nothing are none of ours. */
export const mismatchOf = (
  mirrors: readonly ParamHeader[],
  args: unknown,
  headers: ReadonlyMap<string, string>,
): string | undefined =>
  mirrors.find(({ header, path }) => {
    const value = valueAt(args, path)
    const sent = headers.get(header)
    // What is no primitive has no text to mirror; the server says what is wrong with it.
    if (value === undefined || value === null || typeof value === 'object') return sent !== undefined
    if (sent === undefined || !/^[\t\x20-\x7e]*$/.test(sent)) return true
    const decoded = decodeHeaderValue(sent)
    return decoded === undefined || !agrees(value, decoded)
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

/** Values that are data and no schemas. */
const data = new Set(['const', 'enum', 'default', 'examples'])

const annotations = (schema: unknown, depth = 0): number => {
  if (depth > 64 || typeof schema !== 'object' || schema === null) return 0
  if (Array.isArray(schema))
    return schema.reduce<number>((sum, part) => sum + annotations(part, depth + 1), 0)
  return Object.entries(schema).reduce(
    (sum, [name, part]) =>
      sum +
      (name === 'x-mcp-header' && typeof part !== 'object'
        ? 1
        : data.has(name)
          ? 0
          : annotations(part, depth + 1)),
    0,
  )
}

/** Whether a client may call the tool: each annotation is well-formed, unique, and on a parameter that has one place (SEP-2243, client behaviour). */
export const isUsable = (tool: unknown): boolean => {
  if (!isRecord(tool) || !isRecord(tool['inputSchema'])) return true
  const written = annotations(tool['inputSchema'])
  return written === 0 || paramHeadersOf([tool]).get(String(tool['name']))?.length === written
}

/** The member that `Mcp-Name` mirrors. */
const named: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
}

/** The headers that repeat a request's body in 2026-07-28 (streamable-http, standard headers). */
export const standardHeaders = (method: string, params: Rpc): (readonly [string, string])[] => {
  const name = params[named[method] ?? '']
  return [
    ['mcp-protocol-version', askedVersion],
    ['mcp-method', method],
    ...(typeof name === 'string' ? [['mcp-name', encodeHeaderValue(name)] as const] : []),
  ]
}
