// JSON as clients write it, with comments and trailing commas, read into the nodes that a YAML file is read into: the same places, and JSON's own words for what is wrong.
import { type Node as JsonNode, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser'
import { type Node, Pair, Scalar, YAMLMap, YAMLSeq } from 'yaml'
import { shapeAt } from './shape.ts'
import { type Read, type Reading, fault, mostDepth, scalar } from './substitute.ts'
import { type Branch, type Origin, type Path, branch, createTree, isBranch } from './tree.ts'

export interface JsonText {
  readonly contents: Node | null
  /** The first thing that is wrong; whatever comes after follows from it. */
  readonly wrong?: { readonly offset: number; readonly what: string }
}

const words: Readonly<Record<string, string>> = {
  InvalidSymbol: 'this is not valid JSON: put text in double quotes',
  InvalidNumberFormat: 'this is not a valid JSON number',
  PropertyNameExpected: 'a key in double quotes is expected here',
  ValueExpected: 'a value is expected here',
  ColonExpected: 'a colon is missing before this',
  CommaExpected: 'a comma is missing before this',
  CloseBraceExpected: 'a closing } is missing',
  CloseBracketExpected: 'a closing ] is missing',
  EndOfFileExpected: 'unexpected text after the end of the object; use a single object',
  InvalidCommentToken: 'this is not a valid comment: use // or /* … */',
  UnexpectedEndOfComment: 'a comment is not closed: */ is missing',
  UnexpectedEndOfString: 'a string is not closed: a double quote is missing at the end of the line',
  UnexpectedEndOfNumber: 'a number is incomplete',
  InvalidUnicode: '\\u needs four hexadecimal digits; write \\\\ for a backslash',
  InvalidEscapeCharacter:
    'this escape sequence is not valid; write \\\\ for a backslash, as in "C:\\\\Users"',
  InvalidCharacter: 'a string contains a control character; write \\n for a line break',
}

const ranged = <T extends Node>(node: T, { offset, length }: JsonNode): T => {
  node.range = [offset, offset + length, offset + length]
  return node
}

const nodeOf = (json: JsonNode, text: string): Node => {
  const { type, children = [] } = json
  if (type === 'object') {
    const map = ranged(new YAMLMap(), json)
    for (const { children: [key, value] = [] } of children)
      if (key) map.items.push(new Pair(nodeOf(key, text), value ? nodeOf(value, text) : null))
    return map
  }
  if (type === 'array') {
    const list = ranged(new YAMLSeq(), json)
    for (const child of children) list.items.push(nodeOf(child, text))
    return list
  }
  const scalar = ranged(new Scalar<unknown>(json.value), json)
  if (type !== 'string') scalar.source = text.slice(json.offset, json.offset + json.length)
  return scalar
}

/** Reads the text as JSON with comments. May throw RangeError for what is nested without end. */
export const readJsonc = (text: string): JsonText => {
  const errors: ParseError[] = []
  const root = parseTree(text, errors, { allowTrailingComma: true, allowEmptyContent: true })
  const [first] = errors.toSorted((a, b) => a.offset - b.offset)
  if (first) {
    const ends =
      first.offset >= text.trimEnd().length &&
      !/^UnexpectedEnd|^Invalid/.test(printParseErrorCode(first.error))
    return {
      contents: null,
      wrong: {
        offset: first.offset,
        what: ends
          ? 'the file ends too early: a closing } or ] is missing'
          : (words[printParseErrorCode(first.error)] ?? 'this is not JSON'),
      },
    }
  }
  return { contents: root ? nodeOf(root, text) : null }
}

/** What stands before the first value: white space and comments. */
const before = /^(?:\s|\/\/[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*/

export type Syntax = 'json' | 'yaml' | 'either'

/** How a file is written: by its name, and by how it begins. A `{` begins both. */
export const syntaxOf = (path: string, text: string): Syntax => {
  if (/\.(?:json|jsonc|json5)$/i.test(path)) return 'json'
  const begin = before.exec(text)?.[0] ?? ''
  if (text[begin.length] !== '{') return 'yaml'
  return begin.includes('/') && !/\.ya?ml$/i.test(path) ? 'json' : 'either'
}

/** Whether a file that is neither valid JSON nor valid YAML was meant as JSON: its first key stands in double quotes. */
export const looksLikeJson = (text: string): boolean => /^\s*\{\s*(?:"|\/\/|\/\*|\}|$)/.test(text)

// A configuration that is an object already, as a Worker has it among its variables: the same tree as of a file, without a text to be parsed and places in it.

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

/** As `readDocument`. */
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
