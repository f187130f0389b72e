// Text, variables and flags in; the configuration out, or every fault at once. Touches no file and no process: the door reads those.
import { createDraft, createReport } from './draft.ts'
import type { Effective } from './environment-names.ts'
import { effective } from './environment.ts'
import { type Fault, type Origin, type Path, inOrder, keyText } from './fault.ts'
import { type LoadInput, layer } from './layers.ts'
import { rules } from './rules.ts'
import { type Config, configSchema } from './schema.ts'
import { isLoopbackDraft, settle } from './settle.ts'
import { isSecret } from './shape.ts'
import { type Tree, isBranch } from './tree.ts'
import { wordIssues } from './wording.ts'

/** Where each value came from, by key (`cors.allow_origins`, `mcp_services.a.url`); lists are one value. */
export type Sources = Readonly<Record<string, Origin>>

export type Loaded =
  | {
      readonly ok: true
      readonly config: Config
      readonly sources: Sources
      readonly warnings: readonly Fault[]
      /** Keys of secrets that stand in the file itself, not in a variable. */
      readonly writtenSecrets: readonly string[]
    }
  | { readonly ok: false; readonly faults: readonly Fault[]; readonly warnings: readonly Fault[] }

/** Names the file of variables where the origin only says environment. */
export const inFile = (origin: Origin, file: LoadInput['environmentFile']): Origin => (origin.from === 'environment' && file?.names.has(origin.name) ? { ...origin, file: file.shown } : origin)

const withFile = (loaded: Loaded, file: LoadInput['environmentFile']): Loaded => {
  if (!file) return loaded
  const told = (faults: readonly Fault[]): readonly Fault[] => faults.map((fault) => ({ ...fault, origin: inFile(fault.origin, file) }))
  const warnings = told(loaded.warnings)
  if (!loaded.ok) return { ...loaded, faults: told(loaded.faults), warnings }
  return { ...loaded, warnings, sources: Object.fromEntries(Object.entries(loaded.sources).map(([key, origin]) => [key, inFile(origin, file)])) }
}

const leaves = (value: unknown, path: Path): readonly Path[] => (isBranch(value) && Object.keys(value).length > 0 ? Object.keys(value).flatMap((key) => leaves(value[key], [...path, key])) : [path])

const sourcesOf = (config: Config, tree: Tree): Sources =>
  Object.fromEntries(
    leaves(config, []).map((path) => {
      const found = tree.nearest(path)
      return [keyText(path), found && found.path.length === path.length ? found.written.value : { from: 'default' }]
    }),
  )

/** Of the file itself; a sample secret that is not used is no secret. */
const writtenSecrets = (tree: Tree, config: Config): readonly string[] =>
  tree.paths().flatMap((path) => (isSecret(path) && tree.written(path)?.literal && !(path[0] === 'session_secret' && config.session_secret === undefined) ? [keyText(path)] : []))

const isProduction = ({ values }: Effective): boolean => ['NODE_ENV', 'ENVIRONMENT'].some((name) => values.get(name)?.text.trim().toLowerCase() === 'production')

/**
 * Loads the configuration: flags over environment over file over defaults. All faults are found at once; none repeats a secret's value.
 * Never throws and never rejects for anything the input holds.
 */
export const loadConfig = async (input: LoadInput): Promise<Loaded> => withFile(await loadLayers(input), input.environmentFile)

const loadLayers = async (input: LoadInput): Promise<Loaded> => {
  const env = effective(input.env, input.secrets ?? {})
  const { tree, faults: early, warnings: noticed, lost } = await layer(input, env)
  const unread = early.find((fault) => fault.origin.from === 'file' && fault.key === '')
  // Nothing is known of a file that could not be read, so nothing is said about what it lacks.
  if (unread) return { ok: false, faults: inOrder(early), warnings: noticed }
  const parsed = configSchema.safeParse(tree.root)
  const worded = wordIssues(parsed.error?.issues ?? [], tree, lost)
  const draft = createDraft(tree, [...lost, ...worded.lost], { misspelt: worded.misspelt, production: isProduction(env), revisions: input.revisions, loopback: isLoopbackDraft, workers: input.workers })
  const report = createReport(tree)
  for (const rule of rules) await rule(draft, report)
  const faults = inOrder([...early, ...worded.faults, ...report.faults])
  const warnings = inOrder([...noticed, ...report.warnings])
  if (faults.length > 0 || !parsed.success) return { ok: false, faults, warnings }
  const config = settle(parsed.data, draft)
  return {
    ok: true,
    config,
    // Looked up for whoever shows them: a Worker never does, and each new isolate would pay for it.
    get sources() {
      return sourcesOf(config, tree)
    },
    warnings,
    writtenSecrets: writtenSecrets(tree, config),
  }
}
