// Text from a variable or a flag, read as the type that its key has.
import type { Shape } from './shape.ts'

export type Coerced = { readonly value: unknown } | { readonly what: string }

const booleans: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['1', true],
  ['yes', true],
  ['on', true],
  ['false', false],
  ['0', false],
  ['no', false],
  ['off', false],
])

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

const list = (text: string): Coerced => {
  if (!text.startsWith('[')) return { value: text.split(',').map((entry) => entry.trim()).filter(Boolean) }
  const value = parseJson(text)
  return Array.isArray(value) ? { value } : { what: 'must be a list: values separated by commas, or a JSON array' }
}

const object = (text: string): Coerced => {
  const value = parseJson(text)
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? { value } : { what: 'must be a JSON object' }
}

/** The value that the text stands for, or what is wrong with it. Never repeats the text. */
export const coerce = (text: string, shape: Shape): Coerced => {
  const bare = text.trim()
  switch (shape.kind) {
    case 'number':
      return /^[+-]?\d{1,15}(\.\d+)?$/.test(bare) ? { value: Number(bare) } : { what: 'must be a number' }
    case 'boolean': {
      const value = booleans.get(bare.toLowerCase())
      return value === undefined ? { what: 'must be true or false' } : { value }
    }
    case 'list':
      return list(bare)
    case 'record':
    case 'object':
      return object(bare)
    case 'choice':
      return { value: bare }
    case 'text':
    case 'any':
      return { value: text }
  }
}
