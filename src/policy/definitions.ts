// What is pinned of a tool or a prompt: its definition as one text, whatever the order of its members, and the
// digest of that text.
import { canonicalJson, utf8 } from '../kit/bytes.ts'
import { isRecord } from '../mcp/json-rpc.ts'
import type { PinKind, ToolHint } from '../ports/policy.ts'
import { hintOf } from './lists.ts'

type Item = Readonly<Record<string, unknown>>

/** Larger and deeper definitions are no more read by people than by models. */
const mostBytes = 262_144
const mostDepth = 64

/** What an annotation means that is absent (MCP 2025-11-25 schema, ToolAnnotations). */
const hintDefaults = {
  readOnlyHint: false,
  destructiveHint: true,
  idempotentHint: false,
  openWorldHint: true,
}

const isDeeper = (value: unknown, depth: number): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (depth === 0 || Object.values(value).some((part) => isDeeper(part, depth - 1)))

/** Members of a JSON Schema that hold schemas: one, a list, or one for each name (JSON Schema 2020-12 §10). */
const schemaMembers = new Set(
  'items additionalProperties unevaluatedItems unevaluatedProperties contains propertyNames not if then else contentSchema additionalItems'.split(
    ' ',
  ),
)
const schemaLists = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems', 'items'])
const schemaMaps = new Set(
  'properties patternProperties $defs definitions dependentSchemas dependencies'.split(' '),
)

const inOrder = (list: readonly unknown[]): readonly unknown[] =>
  list.every((one) => typeof one === 'string') ? [...list].sort() : list

/** Sets that are written as lists in one order; what is data (`default`, `const`, `enum`) stays as it is. */
const orderedSchema = (schema: unknown): unknown => {
  if (!isRecord(schema)) return schema
  return Object.fromEntries(
    Object.entries(schema).map(([name, value]): [string, unknown] => {
      if ((name === 'required' || name === 'type') && Array.isArray(value)) return [name, inOrder(value)]
      if (schemaLists.has(name) && Array.isArray(value)) return [name, value.map(orderedSchema)]
      if (schemaMaps.has(name) && isRecord(value))
        return [
          name,
          Object.fromEntries(Object.entries(value).map(([key, one]) => [key, orderedSchema(one)])),
        ]
      return [name, schemaMembers.has(name) ? orderedSchema(value) : value]
    }),
  )
}

/** Of `_meta` only what names a page that is shown to people (MCP Apps); the rest differs from list to list. */
const withoutNoise = ({ icons: _, _meta: meta, ...item }: Item): Item => {
  if (!isRecord(meta)) return item
  const { ui, 'ui/resourceUri': flat } = meta
  if (ui === undefined && flat === undefined) return item
  return {
    ...item,
    _meta: { ...(ui !== undefined && { ui }), ...(flat !== undefined && { 'ui/resourceUri': flat }) },
  }
}

const pinnedPart = (kind: PinKind, item: Item): Item => {
  if (kind === 'prompt') return item
  const { annotations = {}, inputSchema, outputSchema, ...rest } = item
  return {
    ...rest,
    annotations: isRecord(annotations) ? { ...hintDefaults, ...annotations } : annotations,
    ...(inputSchema !== undefined && { inputSchema: orderedSchema(inputSchema) }),
    ...(outputSchema !== undefined && { outputSchema: orderedSchema(outputSchema) }),
  }
}

const canonicalOf = (kind: PinKind, text: string): string | undefined => {
  if (text.length > mostBytes) return undefined
  // Numbers as the double that every reader makes of them (RFC 8785 §3.2.2.3).
  const value = JSON.parse(text) as Item
  if (isDeeper(value, mostDepth)) return undefined
  const canonical = canonicalJson(pinnedPart(kind, value))
  return canonical === undefined || utf8(canonical).byteLength > mostBytes ? undefined : canonical
}

/** Undefined for a definition that has no such text, or is too large or too deep. */
export const definitionText = (kind: PinKind, item: Item): string | undefined =>
  canonicalOf(kind, JSON.stringify(withoutNoise(item)))

/** A definition as a list said it. `digest`, `text`: undefined for one that cannot be pinned. */
export interface Definition {
  readonly kind: PinKind
  readonly name: string
  readonly digest: string | undefined
  readonly text: string | undefined
  readonly hint: ToolHint
}

const kindOf: Readonly<Partial<Record<string, PinKind>>> = { tools: 'tool', prompts: 'prompt' }

/** Longer names are never allowed, so nobody calls them. */
const longestName = 2_048

/** Of one list; whatever follows has no definition. */
const mostOnList = 5_000
const mostRemembered = 2_000

type Digested = Pick<Definition, 'digest' | 'text'>
const none: Digested = { digest: undefined, text: undefined }

/** Most definitions are the same as on the list before: what was made of them is remembered. */
export const createDigest = (digest: (text: string) => string) => {
  const known = new Map<string, Digested>()
  return (kind: PinKind, item: Item): Digested => {
    const said = JSON.stringify(withoutNoise(item))
    const key = `${kind} ${said}`
    const before = known.get(key)
    if (before) return before
    const text = canonicalOf(kind, said)
    const made =
      text === undefined ? none : { text, digest: `sha256-${digest(`postern-${kind}-v1\n${text}`)}` }
    if (known.size >= mostRemembered) known.clear()
    if (said.length <= mostBytes) known.set(key, made)
    return made
  }
}

/**
 * The definitions on a list. Of different ones with one name nobody knows which would be called, so that name
 * has none. Undefined for a list of something else.
 */
export const definitionsIn = (
  member: string,
  list: readonly unknown[],
  digestOf: ReturnType<typeof createDigest>,
): readonly Definition[] | undefined => {
  const kind = kindOf[member]
  if (!kind) return undefined
  const found = new Map<string, Definition>()
  for (const item of list) {
    if (!isRecord(item)) continue
    const { name } = item
    if (typeof name !== 'string' || name.length > longestName) continue
    const before = found.get(name)
    const { digest, text } = found.size < mostOnList ? digestOf(kind, item) : none
    const twice = before !== undefined && before.digest !== digest
    found.set(name, {
      kind,
      name,
      digest: twice ? undefined : digest,
      text: twice ? undefined : text,
      hint: kind === 'tool' ? hintOf(item) : undefined,
    })
  }
  return [...found.values()]
}
