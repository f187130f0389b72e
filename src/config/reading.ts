// What reading a configuration is, in whichever form it comes: a tree that grows, and what was at fault on the way.
import { coerce } from './coerce.ts'
import { type Fault, type Origin, type Path, keyText } from './fault.ts'
import { shapeAt } from './shape.ts'
import { substitute } from './substitute.ts'
import type { Tree } from './tree.ts'

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
export const scalar = (reader: Reading, text: string, path: Path, key: Origin, offset: number | undefined): unknown => {
  const shape = shapeAt(path)
  const result = substitute(text, reader.lookup, { placeholders: shape?.placeholders ?? [], hint: reader.hint })
  const origin = reader.place(offset, result.variables)
  reader.tree.note(path, { key, value: origin, literal: result.variables.length === 0 })
  if (result.faults.length > 0) {
    for (const what of result.faults) fault(reader, path, origin, what)
    return undefined
  }
  if (result.variables.length === 0 || !shape || shape.kind === 'record' || shape.kind === 'object') return result.text
  const coerced = coerce(result.text, shape)
  return 'value' in coerced ? coerced.value : fault(reader, path, origin, `${coerced.what} (it comes from ${result.variables.map((name) => `\${${name}}`).join(', ')})`)
}
