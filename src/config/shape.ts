// What the schema says about one key: which kind of value, what may stand below it, whether it is secret.
// Read off the zod schema, so that it is said once.
import { distance } from 'fastest-levenshtein'
import * as z from 'zod'
import type { core } from 'zod'
import type { DurationUnit } from './key-types.ts'
import { configSchema } from './schema.ts'
import type { Path } from './tree.ts'

export type ShapeKind =
  | 'text'
  | 'choice'
  | 'number'
  | 'duration'
  | 'boolean'
  | 'list'
  | 'record'
  | 'object'
  /** True, false, or an object. */
  | 'switch'
  | 'any'

export interface Shape {
  readonly kind: ShapeKind
  /** Keys of an object; choices of a choice. */
  readonly names: readonly string[]
  readonly description: string
  readonly secret: boolean
  /** Names in `${…}` that are not environment variables here. */
  readonly placeholders: readonly string[]
  /** Value when the key is absent; undefined when there is none. */
  readonly fallback: unknown
  /** Unit of a duration. */
  readonly unit: DurationUnit
  /** Bounds of a number, or of a duration in its unit. */
  readonly least: number | undefined
  readonly most: number | undefined
  readonly required: boolean
  /** Shape of what stands below, by key or position. */
  below(part: string | number): Shape | undefined
}

const kinds: Readonly<Record<string, ShapeKind>> = {
  string: 'text',
  enum: 'choice',
  number: 'number',
  int: 'number',
  boolean: 'boolean',
  array: 'list',
  record: 'record',
  object: 'object',
}

interface Layers {
  readonly inner: core.$ZodTypes
  readonly meta: Readonly<Record<string, unknown>>
  readonly fallback: unknown
  readonly required: boolean
}

/**
 * Through the wrappers (default, prefault, optional, preprocess) to the type itself; the outer description
 * wins.
 */
const unwrap = (schema: core.$ZodType): Layers => {
  let meta: Record<string, unknown> = {}
  let fallback: unknown
  let required = true
  let inner = schema as core.$ZodTypes
  for (;;) {
    meta = { ...z.globalRegistry.get(inner), ...meta }
    const def = inner._zod.def
    if (def.type === 'pipe') {
      inner = def.out as core.$ZodTypes
      continue
    }
    if (def.type !== 'default' && def.type !== 'prefault' && def.type !== 'optional')
      return { inner, meta, fallback, required }
    required = false
    if (def.type !== 'optional') fallback = def.defaultValue
    inner = def.innerType as core.$ZodTypes
  }
}

/** The object among what a switch may be. */
const switchedObject = (inner: core.$ZodTypes): core.$ZodTypes | undefined => {
  const def = inner._zod.def
  const options = def.type === 'union' ? (def.options as readonly core.$ZodTypes[]) : []
  return options.some((one) => one._zod.def.type === 'boolean')
    ? options.find((one) => one._zod.def.type === 'object')
    : undefined
}

const below = (type: core.$ZodTypes, part: string | number): Shape | undefined => {
  const inner = switchedObject(type) ?? type
  const def = inner._zod.def
  if (def.type === 'object')
    return typeof part === 'string' && Object.hasOwn(def.shape, part)
      ? shapeOf(def.shape[part] as core.$ZodType)
      : undefined
  if (def.type === 'record') return shapeOf(def.valueType)
  return def.type === 'array' ? shapeOf(def.element) : undefined
}

const namesOf = (inner: core.$ZodTypes): readonly string[] => {
  const def = (switchedObject(inner) ?? inner)._zod.def
  if (def.type === 'object') return Object.keys(def.shape)
  return def.type === 'enum' ? Object.values(def.entries).map(String) : []
}

const kindOf = (inner: core.$ZodTypes): ShapeKind =>
  switchedObject(inner) ? 'switch' : (kinds[inner._zod.def.type] ?? 'any')

const shapeOf = (schema: core.$ZodType): Shape => {
  const { inner, meta, fallback, required } = unwrap(schema)
  const bounds = inner instanceof z.ZodNumber ? inner : undefined
  return {
    kind: meta['x-unit'] === undefined ? kindOf(inner) : 'duration',
    names: namesOf(inner),
    description: typeof meta['description'] === 'string' ? meta['description'] : '',
    secret: meta['writeOnly'] === true,
    placeholders: Array.isArray(meta['x-placeholders']) ? meta['x-placeholders'].map(String) : [],
    fallback,
    unit: meta['x-unit'] === 'ms' ? 'ms' : 's',
    least: bounds?.minValue ?? undefined,
    most: bounds?.maxValue ?? undefined,
    required,
    below: (part) => below(inner, part),
  }
}

export const rootShape: Shape = shapeOf(configSchema)

/** The shape at a path; undefined where the schema knows nothing. */
export const shapeAt = (path: Path): Shape | undefined =>
  path.reduce<Shape | undefined>((shape, part) => shape?.below(part), rootShape)

/** True when the key holds a secret, or lies inside one. */
export const isSecret = (path: Path): boolean => path.some((_, i) => shapeAt(path.slice(0, i + 1))?.secret)

// "Did you mean": the nearest of a set of known words.

const plain = (word: string): string => word.toLowerCase().replaceAll(/[_-]/g, '')

const letters = (word: string): string => [...word].sort().join('')

/**
 * Edits (insert, delete, replace) that turn one word into the other. Two letters that changed places count as
 * one edit: `ulr` is the commonest mistake there is, and half of a short word otherwise.
 */
const edits = (a: string, b: string): number => {
  const far = distance(a, b)
  return far === 2 && a.length === b.length && letters(a) === letters(b) ? 1 : far
}

/**
 * The known word nearest to `word`, when it is near enough to be what was meant; case, `_` and `-` do not
 * count.
 */
export const suggest = (word: string, known: Iterable<string>): string | undefined => {
  const wanted = plain(word)
  if (wanted === '' || wanted.length > 100) return undefined
  let best: string | undefined
  let least = Math.max(1, Math.floor(wanted.length / 3)) + 1
  for (const candidate of known) {
    const other = plain(candidate)
    // The plural of a word is what was meant more often than its edit distance says.
    const far = Math.abs(other.length - wanted.length) >= least ? least : edits(wanted, other)
    if (far < least) [best, least] = [candidate, far]
  }
  return best
}

/** `; did you mean "url"?`, or nothing. */
export const didYouMean = (word: string, known: Iterable<string>): string => {
  const found = suggest(word, known)
  return found === undefined ? '' : `; did you mean "${found}"?`
}
