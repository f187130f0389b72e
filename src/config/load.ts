// Text, variables and flags in; the configuration out, or every fault at once. Touches no file and no
// process: the runtime reads those.
import { isLoopbackHost, isLoopbackUrl } from '../kit/addresses.ts'
import { servicesFromClientFiles, writtenTexts } from './client-files.ts'
import {
  type Effective,
  type Environment,
  type SecretFile,
  secretFileVariables,
} from './environment-names.ts'
import { effective, overlayEnvironment } from './environment.ts'
import { type Flags, overlayFlags } from './flags.ts'
import { issueMessages } from './messages.ts'
import { type ConfigFile, type ConfigObject, type Read, readObject } from './reading.ts'
import { type RawConfig, createRawConfig, createReport } from './rules/draft.ts'
import { setsRootAside } from './rules/people.ts'
import { rules } from './rules/rules.ts'
import { type Config, configSchema, normalize } from './schema.ts'
import { didYouMean, isSecret } from './shape.ts'
import {
  type Fault,
  type Origin,
  type Path,
  type Tree,
  createTree,
  inOrder,
  isBranch,
  keyText,
} from './tree.ts'

// File, environment and flags, laid one over the other into one tree.

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
  /** What the runtime read for the variables that `secretFilesFor` named, by variable name. */
  readonly secrets?: Readonly<Record<string, SecretFile>> | undefined
  /**
   * The revisions of MCP that this gateway knows; whoever loads names them, because config does not know the
   * protocol. Absent: every date counts.
   */
  readonly revisions?: readonly string[] | undefined
  /**
   * The gateway runs on Cloudflare Workers, which have no files, no processes and no port of their own.
   * Default false.
   */
  readonly workers?: boolean | undefined
}

// The YAML reader is loaded only where there is text to read: a first start has none, and should be quick,
// and so should each new isolate of a Worker.
const read = async (
  file: ConfigFile | ConfigObject | undefined,
  lookup: (name: string) => string | undefined,
  hint?: (name: string) => string,
): Promise<Read> => {
  if (!file) return { tree: createTree(), faults: [], lost: [] }
  return 'value' in file
    ? readObject(file, lookup, hint)
    : (await import('./document.ts')).readDocument(file, lookup, hint)
}

/** The variables `NAME_FILE` whose files are to be read before loading, with the paths they hold. */
export const secretFilesFor = async (
  input: Pick<LoadInput, 'file' | 'env'>,
): Promise<readonly { readonly variable: string; readonly path: string }[]> => {
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
export const mergeLayers = async (input: LoadInput, env: Effective): Promise<Layers> => {
  const referenced = new Set<string>()
  const lookup = (name: string): string | undefined => {
    referenced.add(name)
    return env.values.get(name)?.text
  }
  const file = await read(input.file, lookup, (name) => didYouMean(name, env.values.keys()))
  // Before the environment, so that its names find these services as any other.
  const adopted = servicesFromClientFiles(file.tree, lookup)
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

// What follows from what was written, without being written.

/**
 * Whether the gateway is reached on this computer only: by its public URL, or by where it listens when none
 * is pinned (a host at fault is told as such, and not as public too).
 */
export const isLoopbackConfig = (draft: Pick<RawConfig, 'text' | 'has'>): boolean =>
  draft.has('issuer')
    ? isLoopbackUrl(draft.text('issuer') ?? '')
    : isLoopbackHost(draft.text('host') ?? 'localhost')

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
export const inFile = (origin: Origin, file: LoadInput['environmentFile']): Origin =>
  origin.from === 'environment' && file?.names.has(origin.name) ? { ...origin, file: file.shown } : origin

const withFile = (loaded: Loaded, file: LoadInput['environmentFile']): Loaded => {
  if (!file) return loaded
  const told = (faults: readonly Fault[]): readonly Fault[] =>
    faults.map((fault) => ({ ...fault, origin: inFile(fault.origin, file) }))
  const warnings = told(loaded.warnings)
  if (!loaded.ok) return { ...loaded, faults: told(loaded.faults), warnings }
  return {
    ...loaded,
    warnings,
    sources: Object.fromEntries(
      Object.entries(loaded.sources).map(([key, origin]) => [key, inFile(origin, file)]),
    ),
  }
}

const leaves = (value: unknown, path: Path): readonly Path[] =>
  isBranch(value) && Object.keys(value).length > 0
    ? Object.keys(value).flatMap((key) => leaves(value[key], [...path, key]))
    : [path]

const sourcesOf = (config: Config, tree: Tree): Sources =>
  Object.fromEntries(
    leaves(config, []).map((path) => {
      const found = tree.nearest(path)
      return [
        keyText(path),
        found && found.path.length === path.length ? found.written.value : { from: 'default' },
      ]
    }),
  )

/** Of the file itself; a sample secret that is not used is no secret. */
const writtenSecrets = (tree: Tree, config: Config): readonly string[] =>
  tree
    .paths()
    .flatMap((path) =>
      isSecret(path) &&
      tree.written(path)?.literal &&
      !(path[0] === 'session_secret' && config.session_secret === undefined)
        ? [keyText(path)]
        : [],
    )

const isProduction = ({ values }: Effective): boolean =>
  ['NODE_ENV', 'ENVIRONMENT'].some((name) => values.get(name)?.text.trim().toLowerCase() === 'production')

/**
 * Loads the configuration: flags over environment over file over defaults. All faults are found at once; none
 * repeats a secret's value. Never throws and never rejects for anything the input holds.
 */
export const loadConfig = async (input: LoadInput): Promise<Loaded> =>
  withFile(await loadLayers(input), input.environmentFile)

const loadLayers = async (input: LoadInput): Promise<Loaded> => {
  const env = effective(input.env, input.secrets ?? {})
  const { tree, faults: early, warnings: noticed, lost } = await mergeLayers(input, env)
  const unread = early.find((fault) => fault.origin.from === 'file' && fault.key === '')
  // Nothing is known of a file that could not be read, so nothing is said about what it lacks.
  if (unread) return { ok: false, faults: inOrder(early), warnings: noticed }
  const parsed = configSchema.safeParse(tree.root)
  const worded = issueMessages(parsed.error?.issues ?? [], tree, lost)
  const draft = createRawConfig(tree, [...lost, ...worded.lost], {
    misspelt: worded.misspelt,
    production: isProduction(env),
    revisions: input.revisions,
    loopback: isLoopbackConfig,
    workers: input.workers,
  })
  const report = createReport(tree)
  for (const rule of rules) await rule(draft, report)
  const faults = inOrder([...early, ...worded.faults, ...report.faults])
  const warnings = inOrder([...noticed, ...report.warnings])
  if (faults.length > 0 || !parsed.success) return { ok: false, faults, warnings }
  const settled = normalize(parsed.data)
  const { session_secret: _, ...withoutRoot } = settled
  const config = setsRootAside(draft) ? withoutRoot : settled
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
