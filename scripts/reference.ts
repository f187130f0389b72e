// The reference pages that are made from the code. `npm run docs` writes them, and a test fails when a page and the code differ.
import { z } from 'zod'
import { configSchema } from '../src/config/schema.ts'
import { refusals } from '../src/kit/refusal.ts'

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')

const made = (title: string, intro: string, body: string): string => `<!-- Made from the code by "npm run docs"; edit the code instead. -->\n# ${title}\n\n${intro}\n\n${body}\n`

const refusalsPage = (): string =>
  made(
    'Refusals',
    'Every way Postern says no. The code is in the log and on error pages; a caller sees the status, and the OAuth or JSON-RPC error of the surface it used.',
    table(
      ['code', 'HTTP', 'OAuth error', 'JSON-RPC code', 'what it says'],
      Object.entries(refusals).map(([code, { status, oauth, rpc, say }]) => [`\`${code}\``, String(status), `\`${oauth}\``, String(rpc), say]),
    ),
  )

interface Field {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly properties?: Record<string, Field>
  readonly required?: readonly string[]
  readonly additionalProperties?: Field | boolean
  readonly items?: Field
}

const limits = ({ minimum, maximum, minLength }: Field): string => {
  if (minimum !== undefined && maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER) return `, ${minimum} to ${maximum}`
  if (minimum !== undefined && minimum > Number.MIN_SAFE_INTEGER) return `, at least ${minimum}`
  return minLength !== undefined && minLength > 1 ? `, at least ${minLength} characters` : ''
}

const kindOf = (field: Field): string => {
  if (field.enum) return field.enum.map((value) => `\`${JSON.stringify(value)}\``).join(' or ')
  if (field.type === 'array') return `list of ${field.items?.type ?? 'values'}`
  if (field.type === 'object') return 'map'
  return `${field.type ?? 'any'}${limits(field)}`
}

const rowsOf = (field: Field, path: string): string[][] =>
  Object.entries(field.properties ?? {}).flatMap(([name, child]) => {
    const key = path === '' ? name : `${path}.${name}`
    const fallback = child.default === undefined || (child.properties && child.type === 'object') ? '' : `\`${JSON.stringify(child.default)}\``
    const row = [`\`${key}\``, kindOf(child), field.required?.includes(name) ? 'required' : fallback, child.description ?? '']
    const nested = typeof child.additionalProperties === 'object' ? rowsOf(child.additionalProperties, `${key}.{id}`) : []
    const listed = child.items ? rowsOf(child.items, `${key}[]`) : []
    return [row, ...rowsOf(child, key), ...nested, ...listed]
  })

const configPage = (): string =>
  made(
    'Configuration',
    'Every key of `config.yaml`. `postern config schema` prints the same as JSON Schema for editors, and `postern validate` checks a file against it.',
    table(['key', 'value', 'default', 'meaning'], rowsOf(z.toJSONSchema(configSchema, { io: 'input' }) as Field, '')),
  )

/** Path from the root of the repository → what must stand there. */
export const referencePages = (): Readonly<Record<string, string>> => ({
  'docs/reference/refusals.md': refusalsPage(),
  'docs/reference/config.md': configPage(),
})
