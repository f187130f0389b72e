// The schema's findings in words people can act on. A value is repeated only when it stands literally in the
// file, a flag or a variable of its own, and is no secret.
import type { core } from 'zod'
import { durationText, parseDuration } from './key-types.ts'
import { type Shape, didYouMean, isSecret, rootShape, shapeAt, suggest } from './shape.ts'
import { type Fault, type Origin, type Path, type Tree, keyText, printable } from './tree.ts'

/** What other products and earlier documents call our keys. */
const synonyms: Readonly<Record<string, string>> = {
  public_url: 'issuer',
  base_url: 'issuer',
  url: 'issuer',
  services: 'mcp_services',
  servers: 'mcp_services',
  providers: 'oauth_providers',
  users: 'local_users',
  secret: 'session_secret',
  scope: 'scopes',
  origins: 'allow_origins',
  user: 'username',
}

/** Keys that other gateways document and this one does not have, with what to do instead. */
const elsewhere: readonly (readonly [RegExp, string])[] = [
  [
    /^mcp_services\.[^.]+\.access\.(allow|deny)\[\d+\]\.services$/,
    'cannot be set in a rule of one service; rules for several services are in `access` at the top level',
  ],
  [
    /^mcp_services\.[^.]+\.rate_limits\[\d+\]\.services$/,
    'cannot be set in a rate limit of one service; those over several services are in `rate_limits` at the top level',
  ],
  [
    /^storage\.vault\.timeout$/,
    'is not needed: a request to Vault has 800 ms and one repetition, at the start 10 seconds; remove it',
  ],
  [
    /^storage\.redis\.(socket_timeout|socket_connect_timeout|retry_on_timeout|health_check_interval)$/,
    'is not needed: an operation has 500 ms and one repetition, and idle connections are checked every 10 seconds; remove it',
  ],
]

const unknownKey = (
  path: Path,
  shape: Shape,
  missing: ReadonlySet<string>,
): { what: string; meant: string | undefined } => {
  const name = String(path.at(-1))
  const special = elsewhere.find(([pattern]) => pattern.test(keyText(path)))
  if (special) return { what: special[1], meant: undefined }
  const snake = name
    .replaceAll(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .replaceAll('-', '_')
  const known = synonyms[snake]
  const meant =
    known !== undefined && shape.names.includes(known)
      ? known
      : (suggest(name, [...missing]) ?? suggest(name, shape.names))
  return {
    what:
      meant === undefined
        ? `is not a known setting; known settings here: ${shape.names.filter((key) => key !== '$schema').join(', ')}`
        : `is not a known setting; did you mean "${meant}"?`,
    meant,
  }
}

const unit = (shape: Shape): string => {
  return shape.description.endsWith(' Bytes.') ? ' bytes' : ''
}

const range = (shape: Shape): string => `from ${String(shape.least)} to ${String(shape.most)}${unit(shape)}`

const durationSentence = (shape: Shape, value: unknown): string => {
  const { unit, least = 0, most = 0 } = shape
  const long = unit === 's' ? 'seconds' : 'milliseconds'
  const number = typeof value === 'string' ? parseDuration(value, unit) : value
  if (value === null) return 'has no value; set one, or remove the key'
  if (typeof number !== 'number')
    return `must be a duration such as "30s", "10m" or "1h30m"; a number without a unit is in ${long}`
  if (!Number.isInteger(number)) return `must be a whole number of ${long}`
  return `must be from ${durationText(least, unit)} to ${durationText(most, unit)}`
}

const expected = (shape: Shape, value: unknown): string => {
  if (value === null) return 'has no value; set one, or remove the key'
  switch (shape.kind) {
    case 'number':
      return typeof value === 'string' && /^\d+$/.test(value)
        ? 'must be a number; remove the quotes'
        : `must be a whole number ${range(shape)}`
    case 'duration':
      return durationSentence(shape, value)
    case 'boolean':
      return 'must be true or false'
    case 'list':
      return 'must be a list, e.g. ["one", "two"]'
    case 'record':
    case 'object':
      return 'must be a mapping'
    case 'switch':
      return `must be true, false, or a mapping with ${shape.names.join(', ')}`
    case 'text':
    case 'choice':
      return typeof value === 'object' ? 'must be text' : 'must be text; put it in quotes'
    case 'any':
      return 'has the wrong type; see the reference for this setting'
  }
}

const repeatable = (path: Path, origin: Origin | undefined): boolean =>
  !isSecret(path) && !(origin?.from === 'file' && origin.variables.length > 0)

const choice = (path: Path, shape: Shape, value: unknown, origin: Origin | undefined): string => {
  const names = shape.names.join(', ')
  if (typeof value !== 'string' || !repeatable(path, origin)) return `must be one of: ${names}`
  const meant = didYouMean(value, shape.names)
  return `must be one of: ${names}; found "${printable(value)}"${meant}`
}

const small = (shape: Shape, issue: core.$ZodIssueTooSmall | core.$ZodIssueTooBig): string => {
  if (issue.origin === 'number' || issue.origin === 'int') return `must be ${range(shape)}`
  if (issue.code === 'too_big')
    return `must be at most ${issue.maximum} ${issue.origin === 'array' ? 'entries' : 'characters'} long`
  if (issue.origin === 'array') return 'must have at least one entry'
  return issue.minimum === 1 ? 'must not be empty' : `must be at least ${issue.minimum} characters long`
}

const badId = (name: string, why: string): string => {
  const better = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, '-')
    .replace(/^[-_]+|-+$/g, '')
  return `"${printable(name)}" is not a valid name: ${why}${better && better !== name && /letters, digits, - and _/.test(why) ? `; did you mean "${printable(better)}"?` : ''}`
}

const invalidKey = (issue: core.$ZodIssueInvalidKey, path: Path): string =>
  badId(String(path.at(-1)), issue.issues[0]?.message ?? 'not allowed')

const sentence = (
  issue: core.$ZodIssue,
  path: Path,
  shape: Shape,
  value: unknown,
  origin: Origin | undefined,
): string => {
  if (shape.kind === 'duration') return durationSentence(shape, value)
  switch (issue.code) {
    case 'invalid_type':
      return expected(shape, value)
    case 'too_small':
    case 'too_big':
      return small(shape, issue)
    case 'invalid_value':
      return choice(path, shape, value, origin)
    case 'invalid_key':
      return invalidKey(issue, path)
    case 'invalid_format':
      return issue.format === 'email' ? 'must be an email address' : issue.message
    case 'unrecognized_keys':
    case 'invalid_union':
    case 'invalid_element':
    case 'not_multiple_of':
    case 'custom':
      return issue.message
  }
}

const missingSentence = (shape: Shape): string => `is required: ${shape.description.replace(/\.$/, '')}`

export interface IssueMessage {
  readonly faults: readonly Fault[]
  /** Paths at fault. */
  readonly lost: readonly Path[]
  /** Keys that stand there under another name. */
  readonly misspelt: readonly Path[]
}

const isMissing = (issue: core.$ZodIssue, tree: Tree): boolean =>
  issue.code === 'invalid_type' && tree.get(issue.path as Path) === undefined

/** The names of absent keys, by the key of the mapping that needs them. */
const missingNames = (
  issues: readonly core.$ZodIssue[],
  tree: Tree,
): ReadonlyMap<string, ReadonlySet<string>> => {
  const missing = new Map<string, Set<string>>()
  for (const issue of issues) {
    if (!isMissing(issue, tree)) continue
    const above = keyText(issue.path.slice(0, -1) as Path)
    missing.set(above, (missing.get(above) ?? new Set<string>()).add(String(issue.path.at(-1))))
  }
  return missing
}

/** What one issue is about, before it is known whether it has been reported already. */
interface Finding {
  readonly path: Path
  readonly part: 'key' | 'value'
  /** Undefined where another finding says it. */
  readonly what: string | undefined
}

interface UnknownKey extends Finding {
  /** The key that was probably meant. */
  readonly meant: Path | undefined
}

const unknownKeys = (
  issues: readonly core.$ZodIssue[],
  missing: ReadonlyMap<string, ReadonlySet<string>>,
): readonly UnknownKey[] =>
  issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') return []
    const above = issue.path as Path
    const shape = shapeAt(above) ?? rootShape
    return issue.keys.map((key) => {
      const path = [...above, key]
      const { what, meant } = unknownKey(path, shape, missing.get(keyText(above)) ?? new Set())
      return { path, part: 'key', what, meant: meant === undefined ? undefined : [...above, meant] }
    })
  })

/** The finding of any issue but unknown keys. `meant`: keys that stand in the file under another name. */
const findingOf = (issue: core.$ZodIssue, tree: Tree, meant: ReadonlyMap<string, Path>): Finding => {
  const path = issue.path as Path
  const shape = shapeAt(path) ?? rootShape
  if (isMissing(issue, tree)) {
    // A misspelt key is reported already; that the right one is missing follows from it.
    return { path, part: 'key', what: meant.has(keyText(path)) ? undefined : missingSentence(shape) }
  }
  return {
    path,
    part: issue.code === 'invalid_key' ? 'key' : 'value',
    what: sentence(issue, path, shape, tree.get(path), tree.written(path)?.value),
  }
}

const originOf = (tree: Tree, path: Path, part: 'key' | 'value'): Origin => {
  const nearest = tree.nearest(path)
  if (!nearest) return { from: 'default' }
  return nearest.path.length === path.length ? nearest.written[part] : nearest.written.key
}

/**
 * Faults for the issues of one parse. `lost`: paths that were at fault before and are absent because of it.
 */
export const issueMessages = (
  issues: readonly core.$ZodIssue[],
  tree: Tree,
  lost: readonly Path[],
): IssueMessage => {
  const unknown = unknownKeys(issues, missingNames(issues, tree))
  const meant = new Map(
    unknown.flatMap((key) => (key.meant === undefined ? [] : [[keyText(key.meant), key.meant] as const])),
  )
  const others = issues
    .filter((issue) => issue.code !== 'unrecognized_keys')
    .map((issue) => findingOf(issue, tree, meant))
  const findings = [...unknown, ...others]
  const isKnown = (path: Path): boolean => lost.some((bad) => bad.every((part, i) => path[i] === part))
  const faults = findings.flatMap(({ path, part, what }) =>
    what === undefined || isKnown(path)
      ? []
      : [{ key: keyText(path), origin: originOf(tree, path, part), what }],
  )
  return { faults, lost: findings.map(({ path }) => path), misspelt: [...meant.values()] }
}
