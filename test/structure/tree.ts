// A small house beside the real one, under the real rules, for the tests that break a rule on purpose.
import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

const rules = [
  '.oxlintrc.json',
  'tsconfig.json',
  'tsconfig.base.json',
  'tsconfig.core.json',
  'tsconfig.node.json',
  'tsconfig.worker.json',
]

export interface Outcome {
  readonly status: number
  readonly output: string
}

/** Runs a JavaScript file on the Node of this process. Never rejects for an exit code. */
export const runNode = (
  args: readonly string[],
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv; readonly node?: string },
): Promise<Outcome> =>
  new Promise((resolve) => {
    execFile(
      options.node ?? process.execPath,
      args,
      { cwd: options.cwd, env: options.env ?? process.env, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1
        resolve({ status: code, output: stdout + stderr })
      },
    )
  })

interface Diagnostic {
  readonly code?: string
  readonly message: string
  readonly filename: string
}

export interface Tree {
  readonly path: string
  /** What lint says, as `rule` by file; `status` is its exit code. */
  lint(): Promise<{
    readonly status: number
    readonly rulesOf: (file: string) => readonly string[]
    readonly all: readonly string[]
  }>
  types(project: 'core' | 'node' | 'worker'): Promise<Outcome>
  remove(): Promise<void>
}

/** Files by path, written to a folder of their own with the repository's rules and its node_modules. */
export const plantTree = async (files: Readonly<Record<string, string>>): Promise<Tree> => {
  const path = await mkdtemp(join(tmpdir(), 'postern-structure-'))
  await symlink(join(root, 'node_modules'), join(path, 'node_modules'), 'dir')
  await Promise.all(rules.map((file) => copyFile(join(root, file), join(path, file))))
  await writeFile(join(path, 'package.json'), '{ "name": "postern", "type": "module" }')
  for (const [file, text] of Object.entries(files)) {
    await mkdir(dirname(join(path, file)), { recursive: true })
    await writeFile(join(path, file), text)
  }
  return {
    path,
    async lint() {
      const { status, output } = await runNode(
        ['node_modules/oxlint/bin/oxlint', '--deny-warnings', '-f', 'json'],
        { cwd: path },
      )
      const { diagnostics } = JSON.parse(output) as { diagnostics: readonly Diagnostic[] }
      const rule = ({ code, message }: Diagnostic): string => /\((.+)\)/.exec(code ?? '')?.[1] ?? message
      return {
        status,
        rulesOf: (file) => diagnostics.filter((diagnostic) => diagnostic.filename === file).map(rule),
        all: diagnostics.map((diagnostic) => `${diagnostic.filename} ${rule(diagnostic)}`),
      }
    },
    types: (project) =>
      runNode(['node_modules/typescript/bin/tsc', '-p', `tsconfig.${project}.json`, '--noEmit'], {
        cwd: path,
      }),
    remove: () => rm(path, { recursive: true, force: true }),
  }
}
