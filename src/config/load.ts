// Text, variables and flags in; the configuration out, or every fault at once. Touches no file and no process: the door reads those.
import type { ConfigFile, Read } from './document.ts'
import { createDraft, createReport } from './draft.ts'
import { type Effective, type Environment, type SecretFile, effective, overlayEnvironment, secretFileVariables } from './environment.ts'
import { type Fault, type Origin, type Path, inOrder, keyText } from './fault.ts'
import { type Flags, overlayFlags } from './flags.ts'
import { rules } from './rules.ts'
import { type Config, configSchema } from './schema.ts'
import { isLoopbackDraft, settle } from './settle.ts'
import { didYouMean } from './suggest.ts'
import { type Tree, createTree, isBranch } from './tree.ts'
import { wordIssues } from './wording.ts'

export interface LoadInput {
  readonly file?: ConfigFile | undefined
  readonly env: Environment
  readonly flags?: Flags | undefined
  /** What the door read for the variables that `secretFilesFor` named, by variable name. */
  readonly secrets?: Readonly<Record<string, SecretFile>> | undefined
}

/** Where each value came from, by key (`cors.allow_origins`, `mcp_services.a.url`); lists are one value. */
export type Sources = Readonly<Record<string, Origin>>

export type Loaded =
  | { readonly ok: true; readonly config: Config; readonly sources: Sources; readonly warnings: readonly Fault[] }
  | { readonly ok: false; readonly faults: readonly Fault[]; readonly warnings: readonly Fault[] }

// The YAML reader is loaded only where there is a file: a first start has none, and should be quick.
const read = async (file: ConfigFile | undefined, lookup: (name: string) => string | undefined, hint?: (name: string) => string): Promise<Read> =>
  file ? (await import('./document.ts')).readDocument(file, lookup, hint) : { tree: createTree(), faults: [], lost: [] }

/** The variables `NAME_FILE` whose files are to be read before loading, with the paths they hold. */
export const secretFilesFor = async (input: Pick<LoadInput, 'file' | 'env'>): Promise<readonly { readonly variable: string; readonly path: string }[]> => {
  const names = new Set<string>()
  await read(input.file, (name) => (names.add(name), input.env[name]))
  return secretFileVariables(input.env, names)
}

const leaves = (value: unknown, path: Path): readonly Path[] => (isBranch(value) && Object.keys(value).length > 0 ? Object.keys(value).flatMap((key) => leaves(value[key], [...path, key])) : [path])

const sourcesOf = (config: Config, tree: Tree): Sources =>
  Object.fromEntries(
    leaves(config, []).map((path) => {
      const found = tree.nearest(path)
      return [keyText(path), found && found.path.length === path.length ? found.written.value : { from: 'default' }]
    }),
  )

interface Layers {
  readonly tree: Tree
  readonly faults: readonly Fault[]
  readonly warnings: readonly Fault[]
  readonly lost: readonly Path[]
}

/** File, then environment, then flags, one over the other. */
const layer = async (input: LoadInput, env: Effective): Promise<Layers> => {
  const referenced = new Set<string>()
  const lookup = (name: string): string | undefined => {
    referenced.add(name)
    return env.values.get(name)?.text
  }
  const file = await read(input.file, lookup, (name) => didYouMean(name, env.values.keys()))
  const environment = overlayEnvironment(file.tree, env, referenced)
  const flags = overlayFlags(file.tree, input.flags ?? {})
  const parts = [file, environment, flags]
  return {
    tree: file.tree,
    faults: [...env.faults, ...parts.flatMap((part) => part.faults)],
    warnings: environment.warnings,
    lost: parts.flatMap((part) => part.lost),
  }
}

/**
 * Loads the configuration: flags over environment over file over defaults. All faults are found at once; none repeats a secret's value.
 * Never throws and never rejects for anything the input holds.
 */
export const loadConfig = async (input: LoadInput): Promise<Loaded> => {
  const env = effective(input.env, input.secrets ?? {})
  const { tree, faults: early, warnings: noticed, lost } = await layer(input, env)
  const unread = early.find((fault) => fault.origin.from === 'file' && fault.key === '')
  // Nothing is known of a file that could not be read, so nothing is said about what it lacks.
  if (unread) return { ok: false, faults: inOrder(early), warnings: noticed }
  const parsed = configSchema.safeParse(tree.root)
  const worded = wordIssues(parsed.error?.issues ?? [], tree, lost)
  const draft = createDraft(tree, [...lost, ...worded.lost], { production: input.env['NODE_ENV'] === 'production', loopback: isLoopbackDraft })
  const report = createReport(tree)
  for (const rule of rules) rule(draft, report)
  const faults = inOrder([...early, ...worded.faults, ...report.faults])
  const warnings = inOrder([...noticed, ...report.warnings])
  if (faults.length > 0 || !parsed.success) return { ok: false, faults, warnings }
  const config = settle(parsed.data, draft)
  return { ok: true, config, sources: sourcesOf(config, tree), warnings }
}
