// A configuration file, in YAML or JSON, becomes a tree of values that know their line and column. What the
// libraries would say is said in our words: their messages quote the text, and the text holds secrets.
import { type Node as JsonNode, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser'
import {
  Document,
  type ErrorCode,
  LineCounter,
  type Node,
  Pair,
  Scalar,
  type YAMLError,
  YAMLMap,
  YAMLSeq,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
} from 'yaml'
import { type ConfigFile, type Read, type Reading, fault, mostDepth, scalar } from './reading.ts'
import { shapeAt } from './shape.ts'
import { type Branch, type Origin, type Path, branch, createTree, keyText } from './tree.ts'

const mostBytes = 1_048_576
const mostNodes = 50_000
const mostSyntaxFaults = 10

const yamlFaults: Readonly<Partial<Record<ErrorCode, string>>> = {
  ALIAS_PROPS: 'an alias (*name) cannot have a tag or an anchor of its own',
  BAD_ALIAS: 'an anchor or alias needs a name: &name, *name',
  BAD_DIRECTIVE: 'a line that starts with % is a YAML directive, and this one is not supported',
  BAD_DQ_ESCAPE:
    'this escape sequence is not valid in double quotes; use single quotes, or write \\\\ for a backslash',
  BAD_INDENT: 'the indentation does not match the lines above',
  BAD_SCALAR_START: 'a value cannot start with this character; put it in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'there is a second ": " on this line; put the value in quotes, or start a new line',
  BLOCK_IN_FLOW: 'only values separated by commas are allowed inside [ ] or { }',
  KEY_OVER_1024_CHARS: 'the key is too long',
  MISSING_CHAR:
    'something is missing before this point: a closing quote, a comma, a colon, a space or a bracket',
  MULTILINE_IMPLICIT_KEY: 'a key must be on one line and end with a colon',
  MULTIPLE_DOCS: 'a second document starts here (---); use a single document',
  RESOURCE_EXHAUSTION: 'the file is nested too deeply',
  TAB_AS_INDENT: 'the indentation contains a tab; use spaces',
  TAG_RESOLVE_FAILED: 'tags (!name) are not supported',
  UNEXPECTED_TOKEN: 'this is unexpected here',
}

interface Reader extends Reading {
  readonly file: ConfigFile
  readonly document: Document
  nodes: number
}

const syntaxFaults = (reader: Reader, errors: readonly YAMLError[]): void => {
  const exhausted = errors.find((error) => error.code === 'RESOURCE_EXHAUSTION')
  const lines = new Set<number>()
  for (const error of exhausted ? [exhausted] : errors) {
    const origin = reader.place(error.pos[0])
    // One mistake makes the parser stumble several times on its way; the first stumble of a line is the one
    // to mend.
    if (lines.has(origin.line)) continue
    lines.add(origin.line)
    const source = reader.file.text.split('\n', origin.line)[origin.line - 1] ?? ''
    const quote =
      source.includes('${') && !/^\s*#/.test(source)
        ? ' (put ${…} in quotes inside [ ] or { }, or where it contains ": " or " #")'
        : ''
    reader.faults.push({
      key: '',
      origin,
      what: `${yamlFaults[error.code] ?? 'this is not valid YAML'}${quote}`,
    })
    if (reader.faults.length >= mostSyntaxFaults) return
  }
}

const startOf = (node: Node | null | undefined): number | undefined => node?.range?.[0]

const keyName = (reader: Reader, node: unknown, path: Path): string | undefined => {
  const origin = reader.place(startOf(node as Node))
  const value = isScalar(node) ? node.value : undefined
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean')
    return fault(reader, path, origin, 'a key must be text')
  const name = String(value)
  return name === '__proto__' ? fault(reader, path, origin, 'a key cannot be named __proto__') : name
}

/**
 * `<<: *base` gives the keys of another mapping as defaults (YAML 1.1 merge, which people know from compose
 * files).
 */
const merge = (reader: Reader, node: unknown, path: Path, into: Branch, depth: number): void => {
  const target = isAlias(node) ? node.resolve(reader.document) : node
  if (isSeq(target)) {
    for (const item of target.items) merge(reader, item, path, into, depth + 1)
    return
  }
  if (!isMap(target) || depth > mostDepth)
    return fault(
      reader,
      [...path, '<<'],
      reader.place(startOf(node as Node)),
      'must refer to a mapping, e.g. <<: *base',
    )
  const inherited = mapping(reader, target, path, depth + 1, into)
  for (const key of Object.keys(inherited)) if (!Object.hasOwn(into, key)) into[key] = inherited[key]
}

function mapping(reader: Reader, node: YAMLMap, path: Path, depth: number, over?: Branch): Branch {
  const result = branch()
  const seen = new Map<string, number>()
  const merges: unknown[] = []
  for (const { key, value } of node.items) {
    const offset = startOf(key as Node)
    const origin = reader.place(offset)
    if (isScalar(key) && key.value === '<<') {
      merges.push(value)
      continue
    }
    const name = keyName(reader, key, path)
    if (name === undefined || (over && Object.hasOwn(over, name))) continue
    const here = [...path, name]
    const before = seen.get(name)
    if (before !== undefined) {
      reader.faults.push({ key: keyText(here), origin, what: `is set twice; the first is on line ${before}` })
      continue
    }
    seen.set(name, origin.line)
    reader.tree.note(here, {
      key: origin,
      value: reader.place(startOf(value as Node) ?? offset),
      literal: true,
    })
    const read = valueOf(reader, value as Node | null, here, origin, depth + 1)
    if (read !== undefined) result[name] = read
  }
  for (const source of merges) merge(reader, source, path, result, depth)
  return result
}

function valueOf(
  reader: Reader,
  node: Node | null | undefined,
  path: Path,
  key: Origin,
  depth: number,
): unknown {
  // Aliases can multiply a small file without end, so the whole reading stops here.
  if (++reader.nodes > mostNodes) throw new RangeError('too many values')
  if (depth > mostDepth) return fault(reader, path, key, 'is nested too deeply')
  if (isAlias(node)) {
    const target = node.resolve(reader.document)
    return target
      ? valueOf(reader, target, path, key, depth + 1)
      : fault(reader, path, reader.place(startOf(node)), 'refers to an anchor that is not defined above it')
  }
  if (isMap(node)) return mapping(reader, node, path, depth)
  return isSeq(node) ? sequence(reader, node, path, depth) : scalarOf(reader, node, path, key)
}

function sequence(reader: Reader, node: YAMLSeq, path: Path, depth: number): unknown[] {
  return node.items.map((item, i) => {
    const origin = reader.place(startOf(item as Node))
    reader.tree.note([...path, i], { key: origin, value: origin, literal: true })
    return valueOf(reader, item as Node, [...path, i], origin, depth + 1)
  })
}

function scalarOf(reader: Reader, node: Node | null | undefined, path: Path, key: Origin): unknown {
  const value = isScalar(node) ? node.value : null
  if (isScalar(node) && (typeof value === 'number' || typeof value === 'boolean'))
    reader.tree.noteSource(path, node.source ?? String(value))
  if (typeof value === 'string') return scalar(reader, value, path, key, startOf(node))
  // An empty section (`cors:` with everything below commented out) is an absent one.
  const kind = value === null ? shapeAt(path)?.kind : undefined
  return kind === 'object' || kind === 'record' || kind === 'list' ? undefined : value
}

// JSON as clients write it, with comments and trailing commas, read into the nodes that a YAML file is read
// into: the same places, and JSON's own words for what is wrong.

interface JsonText {
  readonly contents: Node | null
  /** The first thing that is wrong; whatever comes after follows from it. */
  readonly wrong?: { readonly offset: number; readonly what: string }
}

const jsonFaults: Readonly<Record<string, string>> = {
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
  const value = ranged(new Scalar<unknown>(json.value), json)
  if (type !== 'string') value.source = text.slice(json.offset, json.offset + json.length)
  return value
}

/** Reads the text as JSON with comments. May throw RangeError for what is nested without end. */
const readJsonc = (text: string): JsonText => {
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
          : (jsonFaults[printParseErrorCode(first.error)] ?? 'this is not JSON'),
      },
    }
  }
  return { contents: root ? nodeOf(root, text) : null }
}

/** What stands before the first value: white space and comments. */
const before = /^(?:\s|\/\/[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*/

type Syntax = 'json' | 'yaml' | 'either'

/** How a file is written: by its name, and by how it begins. A `{` begins both. */
const syntaxOf = (path: string, text: string): Syntax => {
  if (/\.(?:json|jsonc|json5)$/i.test(path)) return 'json'
  const begin = before.exec(text)?.[0] ?? ''
  if (text[begin.length] !== '{') return 'yaml'
  return begin.includes('/') && !/\.ya?ml$/i.test(path) ? 'json' : 'either'
}

/**
 * Whether a file that is neither valid JSON nor valid YAML was meant as JSON: its first key stands in double
 * quotes.
 */
const looksLikeJson = (text: string): boolean => /^\s*\{\s*(?:"|\/\/|\/\*|\}|$)/.test(text)

// The file, in whichever of the two it is written.

interface Parsed extends Partial<Pick<JsonText, 'wrong'>> {
  readonly document: Document
  readonly contents: Node | null
  readonly errors: readonly YAMLError[]
}

const isToml = ({ path, text }: ConfigFile): boolean =>
  /\.toml$/i.test(path) || /^\[mcp_servers\.[^\]]+\]\s*$/m.test(text)

const parseYaml = (file: ConfigFile, lines: LineCounter): Parsed => {
  const document = parseDocument(file.text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: false,
    version: '1.2',
  }) as Document
  const parsed = {
    document,
    contents: document.contents as Node | null,
    errors: [...document.errors, ...document.warnings],
  }
  if (!isToml(file)) return parsed
  return {
    ...parsed,
    wrong: {
      offset: 0,
      what: 'is TOML, which is not supported: write each [mcp_servers.<name>] table as an entry of mcpServers, in JSON or YAML',
    },
  }
}

const parseJson = (text: string, lines: LineCounter): Parsed => {
  for (let at = 0; at >= 0; at = text.indexOf('\n', at) + 1 || -1) lines.addNewLine(at)
  // A byte order mark is what PowerShell begins a file with.
  return { document: new Document(), errors: [], ...readJsonc(text.replace(/^\ufeff/, ' ')) }
}

/** JSON with comments, or YAML; a file that is neither is told in the words of what it was meant to be. */
const parse = (file: ConfigFile, lines: LineCounter): Parsed => {
  const syntax = syntaxOf(file.path, file.text)
  if (syntax === 'yaml') return parseYaml(file, lines)
  const jsonLines = new LineCounter()
  const json = parseJson(file.text, jsonLines)
  const take = (): Parsed => {
    lines.lineStarts = jsonLines.lineStarts
    return json
  }
  if (syntax === 'json' || !json.wrong) return take()
  const yaml = parseYaml(file, lines)
  return yaml.errors.length > 0 && looksLikeJson(file.text) ? take() : yaml
}

/**
 * The file as a tree. `lookup` answers for `${NAME}`; `hint` may add to the sentence about a name that is not
 * set. Never throws.
 */
export const readDocument = (
  file: ConfigFile,
  lookup: (name: string) => string | undefined,
  hint: (name: string) => string = () => '',
): Read => {
  const lines = new LineCounter()
  const empty = (what: string): Read => ({
    tree: createTree(),
    faults: [{ key: '', origin: { from: 'file', path: file.path, line: 1, column: 1, variables: [] }, what }],
    lost: [],
  })
  if (file.text.length > mostBytes) return empty('the file is larger than 1 MiB')
  try {
    const { document, contents, errors, wrong } = parse(file, lines)
    const place: Reader['place'] = (offset, variables = []) => {
      const { line, col } = lines.linePos(offset ?? 0)
      return { from: 'file', path: file.path, line: Math.max(1, line), column: Math.max(1, col), variables }
    }
    const reader: Reader = {
      file,
      document,
      tree: createTree(),
      faults: [],
      lost: [],
      lookup,
      hint,
      place,
      nodes: 0,
    }
    if (wrong)
      return {
        tree: createTree(),
        faults: [{ key: '', origin: place(wrong.offset), what: wrong.what }],
        lost: [],
      }
    syntaxFaults(reader, errors)
    if (reader.faults.length > 0) return { tree: createTree(), faults: reader.faults, lost: [] }
    const root = contents
    if (isMap(root)) Object.assign(reader.tree.root, mapping(reader, root, [], 0))
    else if (root !== null && !(isScalar(root) && root.value === null))
      fault(reader, [], place(startOf(root)), 'the file must be a mapping, e.g. port: 8080')
    return { tree: reader.tree, faults: reader.faults, lost: reader.lost }
  } catch (error) {
    // The library recurses; a file made to exhaust the stack is not a configuration.
    if (!(error instanceof RangeError)) throw error
    return empty('the file cannot be read: it is nested too deeply, refers to itself or has too many values')
  }
}
