// File, environment and flags, laid one over the other into one tree.
import { type Effective, type Environment, type SecretFile, secretFileVariables } from './environment-names.ts'
import { overlayEnvironment } from './environment.ts'
import type { Fault, Path } from './fault.ts'
import type { Flags } from './flags.ts'
import { adoptClientFiles, writtenTexts } from './client-files.ts'
import { type ConfigObject, readObject } from './object.ts'
import { overlayFlags } from './overlay-flags.ts'
import type { ConfigFile, Read } from './reading.ts'
import { didYouMean } from './suggest.ts'
import { type Tree, createTree } from './tree.ts'

/** A file of variables that the runtime read; so that what is said of one names the file. */
export interface EnvironmentFile {
  readonly shown: string
  /** The variables that came from it. */
  readonly names: ReadonlySet<string>
}

export interface LoadInput {
  readonly file?: ConfigFile | ConfigObject | undefined
  /** With the variables of `environmentFile` in it. */
  readonly env: Environment
  readonly environmentFile?: EnvironmentFile | undefined
  readonly flags?: Flags | undefined
  /** What the door read for the variables that `secretFilesFor` named, by variable name. */
  readonly secrets?: Readonly<Record<string, SecretFile>> | undefined
  /** The revisions of MCP that this gateway knows; whoever loads names them, because this room does not know the protocol. Absent: every date counts. */
  readonly revisions?: readonly string[] | undefined
  /** The gateway runs on Cloudflare Workers, which have no files, no processes and no port of their own. Default false. */
  readonly workers?: boolean | undefined
}

// The YAML reader is loaded only where there is text to read: a first start has none, and should be quick, and so should each new isolate of a Worker.
const read = async (file: ConfigFile | ConfigObject | undefined, lookup: (name: string) => string | undefined, hint?: (name: string) => string): Promise<Read> => {
  if (!file) return { tree: createTree(), faults: [], lost: [] }
  return 'value' in file ? readObject(file, lookup, hint) : (await import('./document.ts')).readDocument(file, lookup, hint)
}

/** The variables `NAME_FILE` whose files are to be read before loading, with the paths they hold. */
export const secretFilesFor = async (input: Pick<LoadInput, 'file' | 'env'>): Promise<readonly { readonly variable: string; readonly path: string }[]> => {
  const names = new Set<string>()
  await read(input.file, (name) => (names.add(name), input.env[name]))
  return secretFileVariables(input.env, names)
}

export interface Layers {
  readonly tree: Tree
  readonly faults: readonly Fault[]
  readonly warnings: readonly Fault[]
  readonly lost: readonly Path[]
}

/** File, then environment, then flags, one over the other. */
export const layer = async (input: LoadInput, env: Effective): Promise<Layers> => {
  const referenced = new Set<string>()
  const lookup = (name: string): string | undefined => {
    referenced.add(name)
    return env.values.get(name)?.text
  }
  const file = await read(input.file, lookup, (name) => didYouMean(name, env.values.keys()))
  // Before the environment, so that its names find these services as any other.
  const adopted = adoptClientFiles(file.tree, lookup)
  const environment = overlayEnvironment(file.tree, env, referenced)
  const flags = overlayFlags(file.tree, input.flags ?? {})
  writtenTexts(file.tree)
  const parts = [file, adopted, environment, flags]
  return {
    tree: file.tree,
    faults: [...env.faults, ...parts.flatMap((part) => part.faults)],
    warnings: [...adopted.warnings, ...environment.warnings],
    lost: parts.flatMap((part) => part.lost),
  }
}
