// `Mcp-Param-*` headers of a tool call say what the arguments say (2026-07-28 streamable-http, custom headers): whoever reads the body checks them, and whoever sends it writes them.
import { trimWhitespace } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { decodeMirrored, encodeMirrored } from './agreement.ts'
import { askedVersion } from './era.ts'
import { type Id, isRecord, type Rpc } from './rpc.ts'

const prefix = 'mcp-param-'
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** One annotated parameter: the header's name in lower case, and where the value stands in the arguments. */
export interface Mirror {
  readonly header: string
  readonly path: readonly string[]
}

export type ToolMirrors = ReadonlyMap<string, readonly Mirror[]>

const primitive = new Set(['string', 'integer', 'boolean'])

const collect = (schema: Rpc, path: readonly string[], into: Mirror[], depth = 0): void => {
  if (depth > 16 || !isRecord(schema['properties'])) return
  for (const [name, property] of Object.entries(schema['properties'])) {
    if (!isRecord(property)) continue
    const header = property['x-mcp-header']
    if (typeof header === 'string' && token.test(header) && primitive.has(String(property['type']))) into.push({ header: prefix + header.toLowerCase(), path: [...path, name] })
    collect(property, [...path, name], into, depth + 1)
  }
}

/** The annotated parameters of each tool of a list; a tool whose annotations clash has none, because its clients must leave it out. */
export const mirrorsOf = (tools: unknown): Map<string, readonly Mirror[]> => {
  const found = new Map<string, readonly Mirror[]>()
  for (const tool of Array.isArray(tools) ? tools : []) {
    if (!isRecord(tool) || typeof tool['name'] !== 'string' || !isRecord(tool['inputSchema'])) continue
    const mirrors: Mirror[] = []
    collect(tool['inputSchema'], [], mirrors)
    const names = new Set(mirrors.map(({ header }) => header))
    found.set(tool['name'], names.size === mirrors.length ? mirrors : [])
  }
  return found
}

const valueAt = (args: unknown, path: readonly string[]): unknown => path.reduce<unknown>((at, name) => (isRecord(at) && Object.hasOwn(at, name) ? at[name] : undefined), args)

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
export const mismatchOf = (mirrors: readonly Mirror[], args: unknown, headers: ReadonlyMap<string, string>): string | undefined =>
  mirrors.find(({ header, path }) => {
    const value = valueAt(args, path)
    const sent = headers.get(header)
    // What is no primitive has no text to mirror; the server says what is wrong with it.
    if (value === undefined || value === null || typeof value === 'object') return sent !== undefined
    if (sent === undefined || !/^[\t\x20-\x7e]*$/.test(sent)) return true
    const decoded = decodeMirrored(sent)
    return decoded === undefined || !agrees(value, decoded)
  })?.header

export const mirrorRefusal = (header: string, id: Id): Refusal =>
  new Refusal('mcp.headers', header, { say: `The ${header.replace(prefix, 'Mcp-Param-')} header is missing, malformed or does not match the body.`, rpcId: id })

/** The headers of a call with these arguments: flat list. What is no primitive has none. */
export const mirroredHeaders = (mirrors: readonly Mirror[], args: unknown): string[] =>
  mirrors.flatMap(({ header, path }) => {
    const value = valueAt(args, path)
    return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? [header, encodeMirrored(String(value))] : []
  })

/** Values that are data and no schemas. */
const data = new Set(['const', 'enum', 'default', 'examples'])

const annotations = (schema: unknown, depth = 0): number => {
  if (depth > 64 || typeof schema !== 'object' || schema === null) return 0
  if (Array.isArray(schema)) return schema.reduce<number>((sum, part) => sum + annotations(part, depth + 1), 0)
  return Object.entries(schema).reduce((sum, [name, part]) => sum + (name === 'x-mcp-header' && typeof part !== 'object' ? 1 : data.has(name) ? 0 : annotations(part, depth + 1)), 0)
}

/** Whether a client may call the tool: each annotation is well-formed, unique, and on a parameter that has one place (SEP-2243, client behaviour). */
export const isUsable = (tool: unknown): boolean => {
  if (!isRecord(tool) || !isRecord(tool['inputSchema'])) return true
  const written = annotations(tool['inputSchema'])
  return written === 0 || mirrorsOf([tool]).get(String(tool['name']))?.length === written
}

/** The member that `Mcp-Name` mirrors. */
const named: Readonly<Record<string, string>> = { 'tools/call': 'name', 'prompts/get': 'name', 'resources/read': 'uri' }

/** The headers that repeat a request's body in 2026-07-28 (streamable-http, standard headers). */
export const standardHeaders = (method: string, params: Rpc): (readonly [string, string])[] => {
  const name = params[named[method] ?? '']
  return [['mcp-protocol-version', askedVersion], ['mcp-method', method], ...(typeof name === 'string' ? [['mcp-name', encodeMirrored(name)] as const] : [])]
}
