// `when`: conditions on the arguments of a call. Each is true, false or unknown: a member that is missing or of
// another type decides nothing.
import { foldName, isRecord } from '../mcp/json-rpc.ts'
import type { Arguments } from '../ports/policy.ts'
import { type Glob, globOf, matches } from './globs.ts'

type Scalar = string | number | boolean | null

/** One value of `when`, as it is written. */
export type ConditionInput =
  | Scalar
  | readonly Scalar[]
  | { readonly glob: string }
  | { readonly min?: number | undefined; readonly max?: number | undefined }
  | { readonly not: readonly Scalar[] }
  | { readonly absent: true }

type Truth = true | false | undefined

export interface Condition {
  /** Members from the arguments down. */
  readonly path: readonly string[]
  test(value: unknown): Truth
}

/** RFC 6901 where it begins with `/`; names with dots between them otherwise. */
const pathOf = (text: string): readonly string[] =>
  text.startsWith('/')
    ? text
        .slice(1)
        .split('/')
        .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    : text.split('.')

/** Longer texts are compared with no pattern. */
const mostText = 65_536

const isScalar = (value: unknown): value is Scalar =>
  value === null || typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number'

/** Integers that a double cannot tell apart are unknown: the server may read another one. */
const isExact = (value: unknown): boolean =>
  typeof value !== 'number' || (Number.isFinite(value) && Math.abs(value) <= Number.MAX_SAFE_INTEGER)

const equals = (wanted: Scalar, value: unknown): Truth => {
  if (value === undefined) return undefined
  // Whatever is there is null or not.
  if (wanted === null) return value === null
  return typeof value === typeof wanted && isExact(value) ? value === wanted : undefined
}

const anyOf = (list: readonly Scalar[], value: unknown): Truth => {
  const truths = list.map((wanted) => equals(wanted, value))
  if (truths.includes(true)) return true
  return truths.includes(false) ? false : undefined
}

const between = (min: number, max: number, value: unknown): Truth =>
  typeof value === 'number' && isExact(value) ? value >= min && value <= max : undefined

const inverted = (truth: Truth): Truth => (truth === undefined ? undefined : !truth)

const testOf = (input: ConditionInput): ((value: unknown) => Truth) => {
  if (isScalar(input)) return (value) => equals(input, value)
  if (Array.isArray(input)) return (value) => anyOf(input as readonly Scalar[], value)
  if ('glob' in input) {
    const glob: Glob = globOf(input.glob)
    return (value) =>
      typeof value === 'string' && value.length <= mostText ? matches(glob, value) : undefined
  }
  if ('not' in input) return (value) => inverted(anyOf(input.not, value))
  if ('absent' in input) return (value) => value === undefined
  const { min = -Infinity, max = Infinity } = input as { readonly min?: number; readonly max?: number }
  return (value) => between(min, max, value)
}

export const conditionsOf = (
  when: Readonly<Record<string, ConditionInput>> | undefined,
): readonly Condition[] | undefined =>
  when && Object.entries(when).map(([path, input]) => ({ path: pathOf(path), test: testOf(input) }))

/** Something that servers may read differently. */
const unclear = Symbol('unclear')

/**
 * By own members alone, so that nothing that every object inherits is an argument. Some servers take a member
 * in another case for the one that they look for.
 */
const memberOf = (value: unknown, part: string): unknown => {
  if (Array.isArray(value)) return /^(?:0|[1-9]\d{0,8})$/.test(part) ? value[Number(part)] : undefined
  if (!isRecord(value)) return undefined
  const folded = foldName(part)
  if (Object.keys(value).some((name) => name !== part && foldName(name) === folded)) return unclear
  return Object.hasOwn(value, part) ? value[part] : undefined
}

const valueAt = (args: unknown, path: readonly string[]): unknown => {
  let value = args
  for (const part of path) {
    if (value === unclear) break
    value = memberOf(value, part)
  }
  return value
}

/** All of them: false if one is false, unknown if one is unknown and none is false. */
export const holds = (conditions: readonly Condition[], args: Arguments): Truth => {
  if (args === 'list') return undefined
  let truth: Truth = true
  for (const { path, test } of conditions) {
    const value = valueAt(args ?? {}, path)
    const one = value === unclear ? undefined : test(value)
    if (one === false) return false
    if (one === undefined) truth = undefined
  }
  return truth
}
