// Configuration as it was written, before anything is checked: plain values, and beside them where each one
// stands.

// What can be wrong with the configuration, and where a value came from: the vocabulary that the loader, the
// rules and the CLI share.

/** Keys from the root to a value; numbers are positions in lists. */
export type Path = readonly (string | number)[]

/** Where a value was written. Lines and columns count from 1; both are 0 in what has no lines. */
export type Origin =
  | { readonly from: 'flag'; readonly name: string }
  /** `file`: the file of variables that holds it. */
  | { readonly from: 'environment'; readonly name: string; readonly file?: string }
  | {
      readonly from: 'file'
      readonly path: string
      readonly line: number
      readonly column: number
      readonly variables: readonly string[]
    }
  | { readonly from: 'default' }

/** One sentence about one key. `what` never contains the value of a secret. */
export interface Fault {
  /** The key as people write it, `mcp_services.calculator.url`; empty when the whole file is meant. */
  readonly key: string
  readonly origin: Origin
  /** What is wrong and how to put it right; no full stop at the end. */
  readonly what: string
}

// Terminals act on control characters, and keys come from files and variables: C0, DEL, C1, and the
// characters that turn the reading direction.
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
  if (origin.from === 'file')
    return origin.line === 0 ? origin.path : `${origin.path}:${origin.line}:${origin.column}`
  if (origin.from === 'default') return 'default'
  const layer = origin.from === 'environment' ? (origin.file ?? origin.from) : origin.from
  return `${layer} ${printable(origin.name, 120)}`
}

/**
 * The fault as one line: `config.yaml:3:7 mcp_services.a.ulr – is not a known setting; did you mean "url"?`
 */
export const faultText = (fault: Fault): string => {
  const place = fault.origin.from === 'default' ? '' : originText(fault.origin)
  return `${[place, fault.key].filter(Boolean).join(' ')} – ${fault.what}`
}

const rank = { file: 0, environment: 1, flag: 2, default: 3 } as const

/**
 * In reading order: the file from top to bottom, then the environment, then flags; the same sentence once.
 */
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

export interface Written {
  /** Where the key stands, and where its value does; the same place for variables and flags. */
  readonly key: Origin
  readonly value: Origin
  /** Taken literally from a file: no variable, no flag. */
  readonly literal: boolean
  /** A number or a flag as it was written, `1.10`. */
  readonly source?: string
}

export type Branch = Record<string, unknown>

export interface Tree {
  readonly root: Branch
  written(path: Path): Written | undefined
  /** The nearest thing written at or above the path. */
  nearest(path: Path): { readonly path: Path; readonly written: Written } | undefined
  note(path: Path, written: Written): void
  /** Adds how the number or flag at the path was written; something is noted there already. */
  noteSource(path: Path, source: string): void
  /**
   * Puts a value, making objects on the way; what stood there and below it is forgotten. False where
   * something else than an object or list is in the way.
   */
  set(path: Path, value: unknown, origin: Origin): boolean
  get(path: Path): unknown
  /** Takes a key of the root out, and forgets where it and what is below it stood. */
  drop(key: string): void
  /** Paths of everything written, in the order of writing. */
  paths(): readonly Path[]
}

/** Without a prototype, so that a key like `constructor` is only ever a key. */
export const branch = (): Branch => Object.create(null) as Branch

export const isBranch = (value: unknown): value is Branch =>
  value !== null && typeof value === 'object' && !Array.isArray(value)

const name = (path: Path): string => JSON.stringify(path)

const child = (value: unknown, part: string | number): unknown => {
  if (Array.isArray(value)) return typeof part === 'number' ? value[part] : undefined
  return isBranch(value) && Object.hasOwn(value, part) ? value[part] : undefined
}

/** Values that arrive as JSON get the same prototype-free form, and an origin for every part. */
const adopt = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(adopt)
  if (!isBranch(value)) return value
  const copy = branch()
  for (const [key, part] of Object.entries(value)) copy[key] = adopt(part)
  return copy
}

export const createTree = (): Tree => {
  const root = branch()
  const places = new Map<string, { readonly path: Path; readonly written: Written }>()
  const note = (path: Path, written: Written): void => void places.set(name(path), { path, written })
  const forget = (path: Path): void => {
    for (const [key, { path: other }] of places)
      if (other.length >= path.length && path.every((part, i) => other[i] === part)) places.delete(key)
  }
  const noteAll = (path: Path, value: unknown, written: Written): void => {
    note(path, written)
    if (Array.isArray(value)) value.forEach((part, i) => noteAll([...path, i], part, written))
    else if (isBranch(value))
      for (const key of Object.keys(value)) noteAll([...path, key], value[key], written)
  }
  return {
    root,
    note,
    noteSource(path, source) {
      const found = places.get(name(path))
      if (found) note(path, { ...found.written, source })
    },
    written: (path) => places.get(name(path))?.written,
    nearest: (path) => {
      for (let n = path.length; n >= 0; n--) {
        const found = places.get(name(path.slice(0, n)))
        if (found) return found
      }
      return undefined
    },
    set(path, value, origin) {
      const written: Written = { key: origin, value: origin, literal: false }
      let at: unknown = root
      for (const [i, part] of path.slice(0, -1).entries()) {
        const next = child(at, part)
        if (next === undefined || next === null) {
          const made = typeof path[i + 1] === 'number' ? [] : branch()
          ;(at as Branch)[part] = made
          if (!places.has(name(path.slice(0, i + 1)))) note(path.slice(0, i + 1), written)
          at = made
        } else if (typeof next === 'object') at = next
        else return false
      }
      const last = path.at(-1) as string | number
      if (Array.isArray(at) !== (typeof last === 'number')) return false
      forget(path)
      const adopted = adopt(value)
      ;(at as Branch)[last] = adopted
      noteAll(path, adopted, written)
      return true
    },
    get: (path) => path.reduce<unknown>(child, root),
    drop(key) {
      forget([key])
      delete root[key]
    },
    paths: () => [...places.values()].map((place) => place.path),
  }
}
