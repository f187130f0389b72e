// A configuration that is an object already, as a Worker has it among its variables: the same tree as of a
// file, without a text to parse. A file of its own: only a text needs the YAML library, which a start without
// a file does not load.
import { shapeAt } from './shape.ts'
import { type Read, type Reading, fault, mostDepth, scalar } from './substitute.ts'
import { type Branch, type Origin, type Path, branch, createTree, isBranch } from './tree.ts'

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
