// Configuration as it was written, before anything is checked: plain values, and beside them where each one stands.
import type { Origin, Path } from './fault.ts'

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
  /** Puts a value, making objects on the way; what stood there and below it is forgotten. False where something else than an object or list is in the way. */
  set(path: Path, value: unknown, origin: Origin): boolean
  get(path: Path): unknown
  /** Takes a key of the root out, and forgets where it and what is below it stood. */
  drop(key: string): void
  /** Paths of everything written, in the order of writing. */
  paths(): readonly Path[]
}

/** Without a prototype, so that a key like `constructor` is only ever a key. */
export const branch = (): Branch => Object.create(null) as Branch

export const isBranch = (value: unknown): value is Branch => value !== null && typeof value === 'object' && !Array.isArray(value)

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
    for (const [key, { path: other }] of places) if (other.length >= path.length && path.every((part, i) => other[i] === part)) places.delete(key)
  }
  const noteAll = (path: Path, value: unknown, written: Written): void => {
    note(path, written)
    if (Array.isArray(value)) value.forEach((part, i) => noteAll([...path, i], part, written))
    else if (isBranch(value)) for (const key of Object.keys(value)) noteAll([...path, key], value[key], written)
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
