// What can be wrong with the configuration, and where a value came from: the vocabulary that the loader, the rules and the CLI share.

/** Keys from the root to a value; numbers are positions in lists. */
export type Path = readonly (string | number)[]

/** Where a value was written. Lines and columns count from 1; both are 0 in what has no lines. */
export type Origin =
  | { readonly from: 'flag'; readonly name: string }
  /** `file`: the file of variables that holds it. */
  | { readonly from: 'environment'; readonly name: string; readonly file?: string }
  | { readonly from: 'file'; readonly path: string; readonly line: number; readonly column: number; readonly variables: readonly string[] }
  | { readonly from: 'default' }

/** One sentence about one key. `what` never contains the value of a secret. */
export interface Fault {
  /** The key as people write it, `mcp_services.calculator.url`; empty when the whole file is meant. */
  readonly key: string
  readonly origin: Origin
  /** What is wrong and how to put it right; no full stop at the end. */
  readonly what: string
}

// Terminals act on control characters, and keys come from files and variables: C0, DEL, C1, and the characters that turn the reading direction.
const unsafe = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g

/** Text from outside as it may be printed: one line, no control characters, bounded. */
export const printable = (text: string, most = 60): string => {
  const clean = text.replace(unsafe, '?')
  return clean.length > most ? `${clean.slice(0, most - 1)}…` : clean
}

/** `['local_users', 0, 'name']` → `local_users[0].name`. */
export const keyText = (path: Path): string =>
  path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`
    if (!/^[A-Za-z0-9_$-]+$/.test(part)) return `${text}["${printable(part)}"]`
    return text ? `${text}.${part}` : part
  }, '')

/** `config.yaml:3:7`, `environment PORT`, `.env PORT`, `flag --port`, `default`. */
export const originText = (origin: Origin): string => {
  if (origin.from === 'file') return origin.line === 0 ? origin.path : `${origin.path}:${origin.line}:${origin.column}`
  if (origin.from === 'default') return 'default'
  const layer = origin.from === 'environment' ? (origin.file ?? origin.from) : origin.from
  return `${layer} ${printable(origin.name, 120)}`
}

/** The fault as one line: `config.yaml:3:7 mcp_services.a.ulr – is not a known setting; did you mean "url"?` */
export const faultText = (fault: Fault): string => {
  const place = fault.origin.from === 'default' ? '' : originText(fault.origin)
  return `${[place, fault.key].filter(Boolean).join(' ')} – ${fault.what}`
}

const rank = { file: 0, environment: 1, flag: 2, default: 3 } as const

/** In reading order: the file from top to bottom, then the environment, then flags; the same sentence once. */
export const inOrder = (faults: readonly Fault[]): readonly Fault[] => {
  const seen = new Set<string>()
  return [...faults]
    .sort((a, b) => {
      const [x, y] = [a.origin, b.origin]
      if (x.from === 'file' && y.from === 'file') return x.line - y.line || x.column - y.column
      return rank[x.from] - rank[y.from]
    })
    .filter((fault) => {
      const text = faultText(fault)
      return seen.has(text) ? false : seen.add(text)
    })
}
