// `Mcp-Param-*` headers repeat arguments of a tool call (2026-07-28 streamable-http, custom headers; SEP-2243).
import { trimWhitespace } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { decodeHeaderValue, encodeHeaderValue } from './envelope.ts'
import { type Id, type Rpc, isRecord } from './json-rpc.ts'

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
