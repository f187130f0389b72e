// JSON as clients write it, with comments and trailing commas, read into the nodes that a YAML file is read
// into: the same places, and JSON's own words for what is wrong.
import { type Node as JsonNode, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser'
import { type Node, Pair, Scalar, YAMLMap, YAMLSeq } from 'yaml'

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

/**
 * Whether a file that is neither valid JSON nor valid YAML was meant as JSON: its first key stands in double
 * quotes.
 */
export const looksLikeJson = (text: string): boolean => /^\s*\{\s*(?:"|\/\/|\/\*|\}|$)/.test(text)
