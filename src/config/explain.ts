// What the configuration is in the end, key by key, and where each value came from: for `postern config explain` and the
// settings page of the console. Secrets are replaced.
import { durationText } from './key-types.ts'
import type { Sources } from './load.ts'
import type { Config } from './schema.ts'
import { isSecret, rootShape, shapeAt, suggest } from './shape.ts'
import { type Origin, type Path, isBranch, keyText, originText } from './tree.ts'

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
