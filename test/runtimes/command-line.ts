// The command line that tests start: the sources and the packages they import in a few files, made from them
// before the first test. A process that loads these needs half of the processor time of one that loads the
// sources, which e2e/process-modules.test.ts does.
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { builtName } from './process.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const cache = join(root, 'node_modules', '.cache', 'postern-command-line')
const dayMs = 86_400_000

const sources = (): string[] =>
  readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .toSorted()

const read = (path: string): string => readFileSync(join(root, path), 'utf8')

/** Left where npm put them: what they export is known to Node alone, and some require files by computed names. */
const commonJsPackages = (): string[] => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> }
  return Object.keys(dependencies).filter((name) => {
    const { type } = JSON.parse(read(`node_modules/${name}/package.json`)) as { type?: string }
    return type !== 'module'
  })
}

/** Names what it is made from by content: another source, package or option never finds an older one. */
const stamp = (files: readonly string[]): string => {
  const hash = createHash('sha256').update(process.version)
  const own = relative(root, fileURLToPath(import.meta.url))
  // What npm has installed, which package-lock.json only asks for.
  const installed = ['node_modules/.package-lock.json'].filter((path) => existsSync(join(root, path)))
  for (const path of [...files, 'package.json', 'package-lock.json', own, ...installed])
    hash.update(`${path}\n${read(path)}\n`)
  return hash.digest('hex').slice(0, 20)
}

/** Another run in this checkout may still start what it has built. */
const removeOld = (): void => {
  for (const name of readdirSync(cache)) {
    const path = join(cache, name)
    if (statSync(path).mtimeMs < Date.now() - dayMs) rmSync(path, { recursive: true, force: true })
  }
}

/** Builds it where it is missing; answers the path of its main file. */
const buildCommandLine = async (): Promise<string> => {
  const files = sources()
  const folder = join(cache, stamp(files))
  const main = join(folder, 'dist', 'cli', 'main.js')
  if (existsSync(main)) return main
  mkdirSync(cache, { recursive: true })
  removeOld()
  const draft = mkdtempSync(join(cache, 'draft-'))
  await build({
    absWorkingDir: root,
    // The main file, and each that starts itself once more, as a process or a thread.
    entryPoints: [
      'src/cli/main.ts',
      ...files.filter((path) => read(path).includes('fileURLToPath(import.meta.url)')),
    ],
    bundle: true,
    external: commonJsPackages(),
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    outbase: 'src',
    outdir: join(draft, 'dist'),
    // Two folders below package.json, as every source is that reads it.
    chunkNames: 'cli/[name]-[hash]',
    logLevel: 'warning',
  })
  cpSync(join(root, 'package.json'), join(draft, 'package.json'))
  try {
    renameSync(draft, folder)
  } catch (error) {
    // Another run was quicker with the same.
    if (!existsSync(main)) throw error
    rmSync(draft, { recursive: true, force: true })
  }
  return main
}

/** Before the first test file of a run (vitest `globalSetup`): the workers inherit what is set here. */
export const setup = async (): Promise<void> => {
  process.env[builtName] = await buildCommandLine()
}
