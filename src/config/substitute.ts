// `${VAR}` in configuration values. Works on single values after the file was parsed, so a variable can never add a key or a line.

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
const editorWords = /^(?:workspaceFolder|workspaceRoot|workspaceFolderBasename|file|fileBasename|fileDirname|relativeFile|cwd|userHome|pathSeparator|\/|(?:command|config|workspaceFolder):.*)$/

/** What an editor would fill in: as a value, as the variable that takes its place, or as what to write instead; undefined for anything else. */
const editorValue = (inside: string, lookup: (name: string) => string | undefined): { readonly text: string } | { readonly fault: string } | undefined => {
  const input = /^input:([\w.-]+)$/.exec(inside)?.[1]
  if (input !== undefined) {
    const name = input.replaceAll(/[^A-Za-z0-9]+/g, '_').replace(/^(?=\d)/, '_').toUpperCase()
    const text = lookup(name)
    return text === undefined ? { fault: `contains \${input:${input}}, which only VS Code can ask for: set the environment variable ${name} instead` } : { text }
  }
  if (!editorWords.test(inside)) return undefined
  const own = inside === 'userHome' ? (lookup('HOME') ?? lookup('USERPROFILE')) : inside === 'pathSeparator' || inside === '/' ? '/' : undefined
  return own === undefined ? { fault: `contains \${${inside}}, which only an editor can fill in: write the value itself` } : { text: own }
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

/**
 * Replaces `${NAME}` (an error when NAME is not set), `${NAME:-default}` (default when NAME is unset or empty; it may hold further expressions)
 * and `${NAME:?message}` (the message is the error when NAME is unset or empty). `$${` stands for `${`. A value that a variable supplies is
 * never looked into again.
 */
export const substitute = (text: string, lookup: (name: string) => string | undefined, options: SubstituteOptions = {}, depth = 0): Substitution => {
  if (!text.includes('${')) return { text, variables: [], faults: [] }
  const out: string[] = []
  const variables: string[] = []
  const faults: string[] = []
  const fill = (inside: string): string => {
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
    const value = lookup(name)
    if (operator === undefined && value === undefined) faults.push(`environment variable ${name} is not set: set it, or write \${${name}:-default}${options.hint?.(name) ?? ''}`)
    if (value !== undefined && (value !== '' || operator === undefined)) return value
    if (operator === '?') faults.push(`environment variable ${name} is not set${rest ? `: ${rest}` : ''}`)
    if (operator !== '-') return ''
    const fallback = substitute(rest, lookup, options, depth + 1)
    variables.push(...fallback.variables)
    faults.push(...fallback.faults)
    return fallback.text
  }
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
    out.push(text.slice(at, next), fill(text.slice(next + 2, end)))
    at = end + 1
  }
  out.push(text.slice(at))
  return { text: out.join(''), variables, faults }
}
