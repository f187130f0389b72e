// The repository's own files, for the tests that read them.
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { root } from './tree.ts'

export interface Source {
  /** From the root of the repository, with `/`. */
  readonly path: string
  readonly text: string
}

/** Every file below a folder whose name ends so, sorted; empty when the folder does not exist. */
export const sourcesIn = (folder: string, ending: string): readonly Source[] => {
  const entries = (() => {
    try {
      return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    } catch {
      return []
    }
  })()
  return entries
    .filter(
      (entry) => entry.isFile() && entry.name.endsWith(ending) && !entry.parentPath.includes('node_modules'),
    )
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()
    .map((path) => ({ path: relative(root, path).replaceAll('\\', '/'), text: readFileSync(path, 'utf8') }))
}

export const readRoot = (path: string): string => readFileSync(join(root, path), 'utf8')

/** The text without comments and with empty strings, so that prose is not taken for code. */
export const codeOf = (text: string): string =>
  text
    .replaceAll(/\/\*[\s\S]*?\*\/|(?<![:'"`\\])\/\/.*$/gm, '')
    .replaceAll(/'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g, "''")
