// What reading a configuration is, in whichever form it comes: a tree that grows, and what was at fault on
// the way.
import { type Shape, shapeAt } from './shape.ts'
import {
  type Branch,
  type Fault,
  type Origin,
  type Path,
  type Tree,
  branch,
  createTree,
  isBranch,
  keyText,
} from './tree.ts'

// Text from a variable or a flag, read as the type that its key has.

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
  if (!text.startsWith('['))
    return {
      value: text
        .split(',')
        .map((entry) => entry.trim())
        .filter(Boolean),
    }
  const value = parseJson(text)
  return Array.isArray(value)
    ? { value }
    : { what: 'must be a list: values separated by commas, or a JSON array' }
}

const object = (text: string, what = 'must be a JSON object'): Coerced => {
  const value = parseJson(text)
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? { value } : { what }
}

const flag = (text: string): Coerced | undefined => {
  const value = booleans.get(text.toLowerCase())
  return value === undefined ? undefined : { value }
}

/** The value that the text stands for, or what is wrong with it. Never repeats the text. */
export const coerce = (text: string, shape: Shape): Coerced => {
  const bare = text.trim()
  switch (shape.kind) {
    case 'number':
      return /^[+-]?\d{1,15}(\.\d+)?$/.test(bare) ? { value: Number(bare) } : { what: 'must be a number' }
    case 'duration':
      return { value: /^\d{1,12}$/.test(bare) ? Number(bare) : bare }
    case 'boolean':
      return flag(bare) ?? { what: 'must be true or false' }
    case 'list':
      return list(bare)
    case 'record':
    case 'object':
      return object(bare)
    case 'switch':
      return flag(bare) ?? object(bare, 'must be true, false or a JSON object')
    case 'choice':
      return { value: bare }
    case 'text':
    case 'any':
      return { value: text }
  }
}

// `${VAR}` in configuration values. Works on single values after the file was parsed, so a variable can never
// add a key or a line.

export interface Substitution {
  readonly text: string
  /** Names that stood in the text, in order; empty when there was nothing to replace. */
  readonly variables: readonly string[]
  /** What went wrong, as sentences; the text is of no use then. */
  readonly faults: readonly string[]
}

export interface SubstituteOptions {
  /** Names that are left as they stand, because another step fills them in. */
  readonly placeholders?: readonly string[]
  /** Sentence part appended when a variable is not set, e.g. a near name that is. */
  readonly hint?: (name: string) => string
}

const forms = 'use ${NAME}, ${NAME:-default} or ${NAME:?message}; write $${…} for a literal ${…}'
// `env:` is what Cursor and VS Code write before a name.
const expression = /^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::([-?])([\s\S]*))?$/

/** What VS Code and Cursor fill in themselves, and nobody else can. */
const editorWords =
  /^(?:workspaceFolder|workspaceRoot|workspaceFolderBasename|file|fileBasename|fileDirname|relativeFile|cwd|userHome|pathSeparator|\/|(?:command|config|workspaceFolder):.*)$/

/**
 * What an editor would fill in: as a value, as the variable that takes its place, or as what to write
 * instead; undefined for anything else.
 */
const editorValue = (
  inside: string,
  lookup: (name: string) => string | undefined,
): { readonly text: string } | { readonly fault: string } | undefined => {
  const input = /^input:([\w.-]+)$/.exec(inside)?.[1]
  if (input !== undefined) {
    const name = input
      .replaceAll(/[^A-Za-z0-9]+/g, '_')
      .replace(/^(?=\d)/, '_')
      .toUpperCase()
    const text = lookup(name)
    return text === undefined
      ? {
          fault: `contains \${input:${input}}, which only VS Code can ask for: set the environment variable ${name} instead`,
        }
      : { text }
  }
  if (!editorWords.test(inside)) return undefined
  const own =
    inside === 'userHome'
      ? (lookup('HOME') ?? lookup('USERPROFILE'))
      : inside === 'pathSeparator' || inside === '/'
        ? '/'
        : undefined
  return own === undefined
    ? { fault: `contains \${${inside}}, which only an editor can fill in: write the value itself` }
    : { text: own }
}

/** Position of the `}` that closes the `${` before `from`, nested ones skipped; -1 when there is none. */
const closing = (text: string, from: number): number => {
  let depth = 1
  for (let i = from; i < text.length; i++) {
    if (text.startsWith('${', i)) depth++
    else if (text[i] === '}' && --depth === 0) return i
  }
  return -1
}

/** One text while its expressions are filled in. */
interface Substituting {
  readonly lookup: (name: string) => string | undefined
  readonly options: SubstituteOptions
  readonly depth: number
  readonly variables: string[]
  readonly faults: string[]
}

/** `${NAME}`: the variable must be set, and may be empty. */
const requiredValue = ({ lookup, options, faults }: Substituting, name: string): string => {
  const value = lookup(name)
  if (value === undefined)
    faults.push(
      `environment variable ${name} is not set: set it, or write \${${name}:-default}${options.hint?.(name) ?? ''}`,
    )
  return value ?? ''
}

/** `${NAME:-default}` and `${NAME:?message}`: an empty variable counts as one that is not set. */
const valueOrElse = (state: Substituting, name: string, operator: string, rest: string): string => {
  const { lookup, options, depth, variables, faults } = state
  const value = lookup(name)
  if (value !== undefined && value !== '') return value
  if (operator === '?') {
    faults.push(`environment variable ${name} is not set${rest ? `: ${rest}` : ''}`)
    return ''
  }
  const fallback = substitute(rest, lookup, options, depth + 1)
  variables.push(...fallback.variables)
  faults.push(...fallback.faults)
  return fallback.text
}

/** What takes the place of one `${…}`. */
const expand = (state: Substituting, inside: string): string => {
  const { lookup, options, depth, variables, faults } = state
  const known = lookup(inside) === undefined ? editorValue(inside, lookup) : undefined
  if (known) {
    variables.push(inside)
    if ('fault' in known) faults.push(known.fault)
    return 'text' in known ? known.text : ''
  }
  const [, name = '', operator, rest = ''] = expression.exec(inside) ?? []
  if (!name || depth > 4) {
    faults.push(`contains an invalid expression: ${forms}`)
    return ''
  }
  if (operator === undefined && options.placeholders?.includes(name)) return `\${${name}}`
  variables.push(name)
  return operator === undefined ? requiredValue(state, name) : valueOrElse(state, name, operator, rest)
}

/**
 * Replaces `${NAME}` (an error when NAME is not set), `${NAME:-default}` (default when NAME is unset or
 * empty; it may hold further expressions) and `${NAME:?message}` (the message is the error when NAME is unset
 * or empty). `$${` stands for `${`. A value that a variable supplies is never looked into again.
 */
export function substitute(
  text: string,
  lookup: (name: string) => string | undefined,
  options: SubstituteOptions = {},
  depth = 0,
): Substitution {
  if (!text.includes('${')) return { text, variables: [], faults: [] }
  const out: string[] = []
  const variables: string[] = []
  const faults: string[] = []
  const state: Substituting = { lookup, options, depth, variables, faults }
  let at = 0
  while (at < text.length) {
    const next = text.indexOf('${', at)
    if (next < 0) break
    if (text[next - 1] === '$' && next > at) {
      out.push(text.slice(at, next - 1), '${')
      at = next + 2
      continue
    }
    const end = closing(text, next + 2)
    if (end < 0) {
      faults.push(`contains \${ without a closing }: ${forms}. If YAML cut the value short, put it in quotes`)
      return { text: '', variables, faults }
    }
    out.push(text.slice(at, next), expand(state, text.slice(next + 2, end)))
    at = end + 1
  }
  out.push(text.slice(at))
  return { text: out.join(''), variables, faults }
}

export interface ConfigFile {
  /** As it is shown to people. */
  readonly path: string
  readonly text: string
}

export interface Read {
  readonly tree: Tree
  readonly faults: readonly Fault[]
  /** Paths whose value was at fault and left out. */
  readonly lost: readonly Path[]
}

export interface Reading {
  readonly tree: Tree
  readonly faults: Fault[]
  readonly lost: Path[]
  readonly lookup: (name: string) => string | undefined
  readonly hint: (name: string) => string
  readonly place: (offset: number | undefined, variables?: readonly string[]) => Origin & { from: 'file' }
}

export const mostDepth = 40

export const fault = (reader: Reading, path: Path, origin: Origin, what: string): undefined => {
  reader.faults.push({ key: keyText(path), origin, what })
  reader.lost.push(path)
  return undefined
}

/** Text with its `${…}` filled in, read as the key's type when there were any. */
export const scalar = (
  reader: Reading,
  text: string,
  path: Path,
  key: Origin,
  offset: number | undefined,
): unknown => {
  const shape = shapeAt(path)
  const result = substitute(text, reader.lookup, {
    placeholders: shape?.placeholders ?? [],
    hint: reader.hint,
  })
  const origin = reader.place(offset, result.variables)
  reader.tree.note(path, { key, value: origin, literal: result.variables.length === 0 })
  if (result.faults.length > 0) {
    for (const what of result.faults) fault(reader, path, origin, what)
    return undefined
  }
  if (result.variables.length === 0 || !shape || shape.kind === 'record' || shape.kind === 'object')
    return result.text
  const coerced = coerce(result.text, shape)
  return 'value' in coerced
    ? coerced.value
    : fault(
        reader,
        path,
        origin,
        `${coerced.what} (it comes from ${result.variables.map((name) => `\${${name}}`).join(', ')})`,
      )
}

// A configuration that is an object already, as a Worker has it among its variables: the same tree as of a
// file (document.ts), without a text to parse.

/** A configuration without lines. */
export interface ConfigObject {
  /** As it is shown to people. */
  readonly path: string
  readonly value: object
}

const mapping = (reading: Reading, value: object, path: Path, depth: number): Branch => {
  const result = branch()
  const origin = reading.place(undefined)
  for (const [name, part] of Object.entries(value)) {
    const here = [...path, name]
    if (name === '__proto__') {
      fault(reading, path, origin, 'a key cannot be named __proto__')
      continue
    }
    reading.tree.note(here, { key: origin, value: origin, literal: true })
    const read = valueOf(reading, part, here, depth + 1)
    if (read !== undefined) result[name] = read
  }
  return result
}

function valueOf(reading: Reading, value: unknown, path: Path, depth: number): unknown {
  const origin: Origin = reading.place(undefined)
  if (depth > mostDepth) return fault(reading, path, origin, 'is nested too deeply')
  if (Array.isArray(value)) {
    return value.map((item, i) => {
      const here = [...path, i]
      reading.tree.note(here, { key: origin, value: origin, literal: true })
      return valueOf(reading, item, here, depth + 1)
    })
  }
  if (isBranch(value)) return mapping(reading, value, path, depth)
  if (typeof value === 'number' || typeof value === 'boolean') reading.tree.noteSource(path, String(value))
  if (typeof value === 'string') return scalar(reading, value, path, origin, undefined)
  // As in a file: an empty section is an absent one.
  const kind = value === null ? shapeAt(path)?.kind : undefined
  return kind === 'object' || kind === 'record' || kind === 'list' ? undefined : value
}

/**
 * The object as a tree. `lookup` answers for `${NAME}`; `hint` may add to the sentence about a name that is
 * not set.
 */
export const readObject = (
  { path, value }: ConfigObject,
  lookup: (name: string) => string | undefined,
  hint: (name: string) => string = () => '',
): Read => {
  const place: Reading['place'] = (_, variables = []) => ({
    from: 'file',
    path,
    line: 0,
    column: 0,
    variables,
  })
  const reading: Reading = { tree: createTree(), faults: [], lost: [], lookup, hint, place }
  if (Array.isArray(value))
    fault(reading, [], place(undefined), 'the file must be a mapping, e.g. port: 8080')
  else Object.assign(reading.tree.root, mapping(reading, value, [], 0))
  return { tree: reading.tree, faults: reading.faults, lost: reading.lost }
}
