// The templates of a Helm chart, rendered: the small part of Go's text/template and of Helm's functions that the chart in
// examples/kubernetes uses. Anything else is an error, so that the chart cannot use what was never tried.
import { createHash } from 'node:crypto'
import { stringify } from 'yaml'

type Value = unknown
interface Scope {
  readonly dot: Value
  readonly root: Value
  readonly variables: Map<string, Value>
  readonly templates: Map<string, readonly Node[]>
}
type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'output'; readonly pipeline: string }
  | { readonly kind: 'set'; readonly name: string; readonly pipeline: string }
  | {
      readonly kind: 'if' | 'with' | 'range'
      readonly pipeline: string
      readonly body: Node[]
      readonly otherwise: Node[]
    }

/** Functions and actions that were rendered. */
export const usedFunctions = new Set<string>()

// Text and actions; `{{-` and `-}}` take the white space beside them.

const tokensOf = (source: string): readonly { readonly action: boolean; readonly text: string }[] => {
  const tokens: { action: boolean; text: string }[] = []
  let at = 0
  let trim = false
  for (const match of source.matchAll(/\{\{(-?)\s*([\s\S]*?)\s*(-?)\}\}/g)) {
    const text = source.slice(at, match.index)
    const left = trim ? text.trimStart() : text
    tokens.push({ action: false, text: match[1] ? left.trimEnd() : left })
    tokens.push({ action: true, text: match[2] ?? '' })
    trim = match[3] === '-'
    at = match.index + match[0].length
  }
  const rest = source.slice(at)
  tokens.push({ action: false, text: trim ? rest.trimStart() : rest })
  return tokens
}

const parse = (source: string, templates: Map<string, readonly Node[]>): Node[] => {
  const top: Node[] = []
  /** Where nodes go, and what an `else` or `end` belongs to. */
  const open: { body: Node[]; block?: Extract<Node, { otherwise: Node[] }> }[] = [{ body: top }]
  for (const { action, text } of tokensOf(source)) {
    const body = (open.at(-1) ?? { body: top }).body
    if (!action) {
      if (text !== '') body.push({ kind: 'text', text })
      continue
    }
    const [word = '', ...rest] = text.split(/\s+/)
    const pipeline = rest.join(' ')
    if (word === 'define') {
      const nodes: Node[] = []
      templates.set(JSON.parse(pipeline) as string, nodes)
      open.push({ body: nodes })
    } else if (word === 'if' || word === 'with' || word === 'range') {
      usedFunctions.add(word)
      const block = { kind: word, pipeline, body: [], otherwise: [] } satisfies Node
      body.push(block)
      open.push({ body: block.body, block })
    } else if (word === 'else') {
      const block = open.pop()?.block
      if (!block || pipeline !== '') throw new Error(`cannot read {{ ${text} }}`)
      open.push({ body: block.otherwise })
    } else if (word === 'end') open.pop()
    else if (word.startsWith('$') && rest[0] === ':=')
      body.push({ kind: 'set', name: word, pipeline: rest.slice(1).join(' ') })
    else if (!text.startsWith('/*')) body.push({ kind: 'output', pipeline: text })
  }
  if (open.length !== 1) throw new Error('a block is not closed')
  return top
}

// Values.

const isTrue = (value: Value): boolean =>
  !(
    value === undefined ||
    value === null ||
    value === false ||
    value === 0 ||
    value === '' ||
    (typeof value === 'object' && Object.keys(value).length === 0)
  )

const textOf = (value: Value): string => {
  if (value === undefined || value === null) return ''
  if (typeof value === 'object')
    throw new Error(`an object is written without toYaml: ${JSON.stringify(value)}`)
  return String(value as string | number | boolean)
}

const indented = (spaces: number, text: string): string =>
  text
    .split('\n')
    .map((line) => (line === '' ? line : ' '.repeat(spaces) + line))
    .join('\n')

const functions: Readonly<Record<string, (scope: Scope, args: readonly Value[]) => Value>> = {
  toYaml: (_, [value]) => stringify(value, { lineWidth: 0 }).trimEnd(),
  quote: (_, [value]) => JSON.stringify(textOf(value)),
  nindent: (_, [spaces, text]) => `\n${indented(Number(spaces), textOf(text))}`,
  default: (_, [fallback, value]) => (isTrue(value) ? value : fallback),
  required(_, [message, value]) {
    if (value === undefined || value === null || value === '') throw new Error(textOf(message))
    return value
  },
  fail(_, [message]) {
    throw new Error(textOf(message))
  },
  include: (scope, [name, dot]) => {
    const nodes = scope.templates.get(textOf(name))
    if (!nodes) throw new Error(`no template ${textOf(name)}`)
    return render(nodes, { ...scope, dot, root: dot, variables: new Map() })
  },
  printf: (_, [format, ...values]) => {
    let at = 0
    return textOf(format).replaceAll(/%[sd]/g, () => textOf(values[at++]))
  },
  sha256sum: (_, [text]) => createHash('sha256').update(textOf(text)).digest('hex'),
  int: (_, [value]) => Math.trunc(Number(value)),
  eq: (_, [one, other]) => one === other,
  gt: (_, [one, other]) => Number(one) > Number(other),
  not: (_, [value]) => !isTrue(value),
  and: (_, values) => values.find((value) => !isTrue(value)) ?? values.at(-1),
  or: (_, values) => values.find(isTrue) ?? values.at(-1),
}

// Expressions: `name arg (name arg) | name arg`.

const wordsOf = (pipeline: string): readonly string[] =>
  pipeline.match(/"(?:[^"\\]|\\.)*"|[()|]|[^\s()|]+/g) ?? []

const field = (from: Value, path: string): Value =>
  path
    .split('.')
    .filter((name) => name !== '')
    .reduce<Value>((value, name) => (value as Readonly<Record<string, Value>> | undefined)?.[name], from)

const term = (word: string, scope: Scope): Value => {
  if (word.startsWith('"')) return JSON.parse(word)
  if (/^-?\d+$/.test(word)) return Number(word)
  if (word === 'true' || word === 'false') return word === 'true'
  if (word.startsWith('.')) return field(scope.dot, word)
  if (word === '$' || word.startsWith('$.')) return field(scope.root, word.slice(1))
  if (word.startsWith('$')) return scope.variables.get(word)
  throw new Error(`cannot read ${word}`)
}

/** Reads words from `at`, up to a closing parenthesis or the end. */
const evaluate = (words: readonly string[], scope: Scope, from = 0): { value: Value; at: number } => {
  let at = from
  let piped: Value[] = []
  for (;;) {
    const name = words[at] ?? ''
    const called = functions[name]
    if (called) at++
    const args: Value[] = []
    while (at < words.length && words[at] !== ')' && words[at] !== '|') {
      if (words[at] === '(') {
        const inner = evaluate(words, scope, at + 1)
        args.push(inner.value)
        at = inner.at + 1
      } else args.push(term(words[at++] ?? '', scope))
    }
    if (called) usedFunctions.add(name)
    else if (args.length !== 1 || piped.length > 0) throw new Error(`cannot read ${words.join(' ')}`)
    const value = called ? called(scope, [...args, ...piped]) : args[0]
    if (words[at] !== '|') return { value, at }
    piped = [value]
    at++
  }
}

const itemsOf = (value: Value): readonly Value[] =>
  Array.isArray(value) ? (value as readonly Value[]) : Object.values((value ?? {}) as object)

const render = (nodes: readonly Node[], scope: Scope): string =>
  nodes
    .map((node) => {
      if (node.kind === 'text') return node.text
      const { value } = evaluate(wordsOf(node.pipeline), scope)
      if (node.kind === 'output') return textOf(value)
      if (node.kind === 'set') {
        scope.variables.set(node.name, value)
        return ''
      }
      if (!isTrue(value)) return render(node.otherwise, scope)
      if (node.kind === 'if') return render(node.body, scope)
      if (node.kind === 'with') return render(node.body, { ...scope, dot: value })
      return itemsOf(value)
        .map((item) => render(node.body, { ...scope, dot: item }))
        .join('')
    })
    .join('')

/** The manifests of a chart, by the name of their template. Throws what `fail` and `required` say. */
export const renderChart = (
  files: Readonly<Record<string, string>>,
  context: { readonly Values: object; readonly Chart: object; readonly Release: object },
): Readonly<Record<string, string>> => {
  const templates = new Map<string, readonly Node[]>()
  const parsed = Object.entries(files).map(([name, text]) => [name, parse(text, templates)] as const)
  return Object.fromEntries(
    parsed
      .filter(([name]) => !name.startsWith('_'))
      .map(([name, nodes]) => {
        const scope = { dot: context, root: context, variables: new Map<string, Value>(), templates }
        return [name, render(nodes, scope)]
      }),
  )
}
