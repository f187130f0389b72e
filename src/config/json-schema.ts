// The schema for editors: JSON Schema 2020-12 of the file, with every description, made from the one schema.
import * as z from 'zod'
import { configSchema } from './schema.ts'

type Node = Record<string, unknown>

/** Any text with `${…}` in it; what it becomes is checked when the gateway loads it. */
const variable = { type: 'string', pattern: '\\$\\{' } as const

const constrained = ['enum', 'pattern', 'format'] as const

/** A value that only some texts or numbers satisfy may also be a variable. */
const withVariable = (node: Node): Node => {
  const type = node['type']
  const simpleList = type === 'array' && (node['items'] as Node | undefined)?.['type'] === 'string'
  const strict = simpleList || type === 'integer' || type === 'number' || type === 'boolean' || (type === 'string' && constrained.some((word) => word in node))
  if (!strict) return node
  const { default: fallback, description, writeOnly, ...rest } = node
  const notes = Object.fromEntries(Object.entries({ description, default: fallback, writeOnly }).filter(([, value]) => value !== undefined))
  return { ...notes, anyOf: [rest, variable] }
}

const walk = (value: unknown, isKey = false): unknown => {
  if (Array.isArray(value)) return value.map((item) => walk(item))
  if (value === null || typeof value !== 'object') return value
  const entries = Object.entries(value).map(([key, part]) => [key, key === 'propertyNames' || key === 'default' ? part : walk(part, key === 'properties')] as const)
  const node = Object.fromEntries(entries.filter(([key]) => isKey || !key.startsWith('x-')))
  return isKey ? node : withVariable(node)
}

/** A fresh object each time; plain JSON. */
export const configJsonSchema = (): Node => {
  const { $schema, ...schema } = z.toJSONSchema(configSchema, { io: 'input', target: 'draft-2020-12' }) as Node
  return { $schema, title: 'Postern configuration', ...(walk(schema) as Node) }
}
