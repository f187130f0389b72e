// The schema for editors: JSON Schema 2020-12 of the file, with every description, made from the one schema.
import * as z from 'zod'
import { durationPattern, durationText } from './durations.ts'
import type { Sources } from './load.ts'
import { type Config, configSchema } from './schema.ts'
import { isSecret, rootShape, shapeAt, suggest } from './shape.ts'
import { type Origin, type Path, isBranch, keyText, originText } from './tree.ts'

type Node = Record<string, unknown>

/** Any text with `${…}` in it; what it becomes is checked when the gateway loads it. */
const variable = { type: 'string', pattern: '\\$\\{' } as const

/** A duration: a number, text with units, or a variable. */
const durationNode = ({ type, minimum, maximum, 'x-unit': _, ...notes }: Node): Node => ({
  ...notes,
  anyOf: [{ type, minimum, maximum }, { type: 'string', pattern: durationPattern }, variable],
})

const constrained = ['enum', 'pattern', 'format'] as const

/** A value that only some texts or numbers satisfy may also be a variable. */
const withVariable = (node: Node): Node => {
  const type = node['type']
  if ('x-unit' in node) return durationNode(node)
  const simpleList = type === 'array' && (node['items'] as Node | undefined)?.['type'] === 'string'
  const strict =
    simpleList ||
    type === 'integer' ||
    type === 'number' ||
    type === 'boolean' ||
    (type === 'string' && constrained.some((word) => word in node))
  if (!strict) return node
  const { default: fallback, description, writeOnly, ...rest } = node
  const notes = Object.fromEntries(
    Object.entries({ description, default: fallback, writeOnly }).filter(([, value]) => value !== undefined),
  )
  return { ...notes, anyOf: [rest, variable] }
}

const walk = (value: unknown, isKey = false): unknown => {
  if (Array.isArray(value)) return value.map((item) => walk(item))
  if (value === null || typeof value !== 'object') return value
  const entries = Object.entries(value).map(
    ([key, part]) =>
      [key, key === 'propertyNames' || key === 'default' ? part : walk(part, key === 'properties')] as const,
  )
  const node = Object.fromEntries(
    entries.filter(([key]) => isKey || key === 'x-unit' || !key.startsWith('x-')),
  )
  return isKey ? node : withVariable(node)
}

/** A fresh object each time; plain JSON. */
export const configJsonSchema = (): Node => {
  const { $schema, ...schema } = z.toJSONSchema(configSchema, {
    io: 'input',
    target: 'draft-2020-12',
  }) as Node
  return { $schema, title: 'Postern configuration', ...(walk(schema) as Node) }
}

// What the configuration is in the end, key by key, and where each value came from.

export interface Explained {
  readonly key: string
  /** JSON value; secrets are replaced. */
  readonly value: unknown
  readonly from: string
}

export const mask = '********'

const masked = (value: unknown, path: Path): unknown => {
  const shape = typeof value === 'number' ? shapeAt(path) : undefined
  if (shape?.kind === 'duration') return durationText(value as number, shape.unit)
  if (isSecret(path)) return value === undefined ? undefined : mask
  if (Array.isArray(value)) return value.map((part, i) => masked(part, [...path, i]))
  if (isBranch(value))
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, masked(part, [...path, key])]))
  return value
}

const fromText = (origin: Origin): string => {
  const variables =
    origin.from === 'file' && origin.variables.length > 0
      ? ` (${origin.variables.map((name) => `\${${name}}`).join(', ')})`
      : ''
  return `${originText(origin)}${variables}`
}

const leaves = (value: unknown, path: Path): Explained[] | undefined =>
  isBranch(value) && Object.keys(value).length > 0
    ? Object.keys(value).flatMap(
        (key) =>
          leaves(value[key], [...path, key]) ?? [
            { key: keyText([...path, key]), value: masked(value[key], [...path, key]), from: '' },
          ],
      )
    : undefined

const optionalKeys = (config: Config): readonly string[] =>
  rootShape.names.filter((name) => name !== '$schema' && !Object.hasOwn(config, name))

/** Every key that has a value, and the top-level ones that have none, in the order of the schema. */
export const explainAll = (config: Config, sources: Sources): readonly Explained[] => {
  const rows = (leaves(config, []) ?? []).map((row) => ({
    ...row,
    from: fromText(sources[row.key] ?? { from: 'default' }),
  }))
  const absent = optionalKeys(config).map((key) => ({ key, value: null, from: 'not set' }))
  const order = new Map(rootShape.names.map((name, i) => [name, i]))
  const rank = (row: Explained): number => order.get(/^[^.[]+/.exec(row.key)?.[0] ?? '') ?? order.size
  return [...rows, ...absent].sort((a, b) => rank(a) - rank(b))
}

/** The rows of one key or section; when there are none, the key that may have been meant. */
export const explain = (
  config: Config,
  sources: Sources,
  key: string,
): { readonly rows: readonly Explained[]; readonly meant: string | undefined } => {
  const all = explainAll(config, sources)
  const rows = all.filter(
    (row) => row.key === key || row.key.startsWith(`${key}.`) || row.key.startsWith(`${key}[`),
  )
  const path = key.split('.')
  const known = rows.length === 0 && !path.some((part) => part === '') ? shapeAt(path) : undefined
  if (known)
    return {
      rows: [
        { key, value: known.fallback ?? null, from: known.fallback === undefined ? 'not set' : 'default' },
      ],
      meant: undefined,
    }
  return {
    rows,
    meant: rows.length > 0 ? undefined : suggest(key, [...rootShape.names, ...all.map((row) => row.key)]),
  }
}
