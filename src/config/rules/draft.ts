// What the rules look at: the configuration as written, with defaults, minus everything already at fault, so
// that one mistake is told once and hides no other.
import { parseDuration } from '../key-types.ts'
import { shapeAt } from '../shape.ts'
import { type Fault, type Origin, type Path, type Tree, isBranch, keyText, printable } from '../tree.ts'

export interface RawConfig {
  /** Whether something was written there, right or wrong, or misspelt. */
  has(...path: Path): boolean
  /**
   * Whether the key at the path was written under another name, which is told as a fault: what is missing is
   * missing because of it.
   */
  misspelt(...path: Path): boolean
  /** Whether the path, or one above it, is at fault already. */
  lost(...path: Path): boolean
  text(...path: Path): string | undefined
  /** The text as a sentence may repeat it, in quotes; what a variable supplied is named, not shown. */
  said(...path: Path): string
  number(...path: Path): number | undefined
  /** In the unit of the key. */
  duration(...path: Path): number | undefined
  flag(...path: Path): boolean
  /** Texts of a list, each with its path. */
  texts(...path: Path): readonly { readonly value: string; readonly path: Path }[]
  /** Keys of a record, or positions of a list, that were written. */
  keys(...path: Path): readonly string[]
  positions(...path: Path): readonly number[]
  /** Every secret that was written, with its path. */
  secrets(): readonly { readonly value: string; readonly path: Path }[]
  readonly production: boolean
  /** The revisions of MCP that there are; undefined when nobody said. */
  readonly revisions: readonly string[] | undefined
  /**
   * Whether the gateway's public URL is this computer: every relaxation for development asks this and nothing
   * else.
   */
  readonly loopback: boolean
  /** Whether the gateway runs on Cloudflare Workers: no files, no processes, no port of its own. */
  readonly workers: boolean
}

export interface Report {
  /** `what` is wrong with the value at the path; where it is not written, at the key above it. */
  fault(path: Path, what: string): void
  /** The same about the key itself: it should not be there, or lacks something below it. */
  key(path: Path, what: string): void
  warn(path: Path, what: string): void
}

/** A rule reads the draft and reports; rules do not know one another. */
export type Rule = (draft: RawConfig, report: Report) => void | Promise<void>

const startsWith = (path: Path, start: Path): boolean => start.every((part, i) => path[i] === part)

interface DraftOptions {
  readonly misspelt?: readonly Path[]
  readonly production: boolean
  readonly revisions?: readonly string[] | undefined
  readonly loopback: (draft: Pick<RawConfig, 'text' | 'has'>) => boolean
  readonly workers?: boolean | undefined
}

const listing = (tree: Tree, isLost: (path: Path) => boolean) => ({
  keys: (...path: Path): readonly string[] => {
    const found = isLost(path) ? undefined : tree.get(path)
    return isBranch(found) ? Object.keys(found) : []
  },
  positions: (...path: Path): readonly number[] => {
    const found = isLost(path) ? undefined : tree.get(path)
    return Array.isArray(found) ? [...found.keys()] : []
  },
})

/** `lost`: paths already at fault; nothing at or below them is shown. */
export const createRawConfig = (tree: Tree, lost: readonly Path[], options: DraftOptions): RawConfig => {
  const isLost = (path: Path): boolean => lost.some((bad) => startsWith(path, bad))
  const value = (path: Path): unknown =>
    isLost(path) ? undefined : (tree.get(path) ?? shapeAt(path)?.fallback)
  const meant = new Set((options.misspelt ?? []).map(keyText))
  const misspelt = (...path: Path): boolean => meant.has(keyText(path))
  const base = {
    has: (...path: Path): boolean => tree.written(path) !== undefined || misspelt(...path),
    text: (...path: Path): string | undefined => {
      const found = value(path)
      return typeof found === 'string' ? found : undefined
    },
  }
  return {
    ...base,
    misspelt,
    lost: (...path) => isLost(path),
    said: (...path) => {
      const origin = tree.written(path)?.value
      const variables = origin?.from === 'file' ? origin.variables : []
      return variables.length > 0
        ? `the value of ${variables.map((name) => `\${${name}}`).join(', ')}`
        : `"${printable(base.text(...path) ?? '')}"`
    },
    number: (...path) => {
      const found = value(path)
      return typeof found === 'number' ? found : undefined
    },
    duration: (...path) => {
      const found = value(path)
      const number = typeof found === 'string' ? parseDuration(found, shapeAt(path)?.unit ?? 's') : found
      return typeof number === 'number' ? number : undefined
    },
    flag: (...path) => value(path) === true,
    texts: (...path) => {
      const found = value(path)
      if (!Array.isArray(found)) return []
      return found.flatMap((_, i) => {
        const here = [...path, i]
        const text: unknown = isLost(here) ? undefined : found[i]
        return typeof text === 'string' ? [{ value: text, path: here }] : []
      })
    },
    ...listing(tree, isLost),
    secrets: () =>
      tree.paths().flatMap((path) => {
        const text = shapeAt(path)?.secret ? value(path) : undefined
        return typeof text === 'string' ? [{ value: text, path }] : []
      }),
    production: options.production,
    revisions: options.revisions,
    loopback: options.loopback(base),
    workers: options.workers === true,
  }
}

const none: Origin = { from: 'default' }

export const createReport = (
  tree: Tree,
): Report & { readonly faults: readonly Fault[]; readonly warnings: readonly Fault[] } => {
  const faults: Fault[] = []
  const warnings: Fault[] = []
  const at = (path: Path, part: 'key' | 'value'): Origin => {
    const found = tree.nearest(path)
    if (!found) return none
    // The value's own place only where the value itself is written; otherwise the key that should have held
    // it.
    return found.path.length === path.length && part === 'value' ? found.written.value : found.written.key
  }
  return {
    faults,
    warnings,
    fault: (path, what) => void faults.push({ key: keyText(path), origin: at(path, 'value'), what }),
    key: (path, what) => void faults.push({ key: keyText(path), origin: at(path, 'key'), what }),
    warn: (path, what) => void warnings.push({ key: keyText(path), origin: at(path, 'value'), what }),
  }
}
