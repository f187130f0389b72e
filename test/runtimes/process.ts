// Postern as its user runs it: a process of its own, on a free port, in a state directory of its own.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface Listening {
  readonly event: 'listening'
  readonly url: string
  readonly sign_in_link?: string
  readonly sign_in_command?: string
  readonly mcp: readonly { readonly service: string; readonly url: string }[]
  readonly ready_ms: number
}

export interface PosternProcess {
  readonly origin: string
  readonly first: Listening
  readonly pid: number
  /** Its standard output and error, to be closed under it. */
  readonly child: ChildProcess
  /** Every line of standard output and standard error so far. */
  readonly lines: string[]
  readonly fetch: (url: string, init?: RequestInit) => Promise<Response>
  /**
   * Ends it with a signal (default SIGINT, which waits for no client to come back) and answers its exit code
   * (null when the signal killed it).
   */
  end(signal?: NodeJS.Signals): Promise<number | null>
}

export interface ProcessOptions {
  /** The configuration file's object, written as JSON (JSON is YAML). */
  readonly config?: Readonly<Record<string, unknown>>
  readonly stateDir: string
  /** Default 0, a free one; null leaves it to the environment and the configuration. */
  readonly port?: number | null
  readonly env?: Readonly<Record<string, string>>
  readonly flags?: readonly string[]
  /** Whether it is asked to print a sign-in link. Default true. */
  readonly signInLink?: boolean
  /** Its working directory; otherwise the state directory. */
  readonly cwd?: string
  /** What runs it; the checkout's own command line when absent. */
  readonly command?: readonly string[]
  /** Told of the process as soon as there is one, long before it listens. */
  readonly born?: (child: ChildProcess) => void
}

/**
 * For each process of this checkout: Node keeps what it compiled, and is told so before it reads the first file
 * with types, which bin/postern.mjs does otherwise.
 */
export const compileCache = {
  NODE_COMPILE_CACHE: fileURLToPath(new URL('../../node_modules/.cache/postern', import.meta.url)),
}

/**
 * Names the environment variable that tells a test worker where command-line.ts has put what it built. A name
 * with the prefix POSTERN_ would be a setting.
 */
export const builtName = 'TEST_COMMAND_LINE'

/** The main file of the command line: what was built for this run of the tests, otherwise the source. */
export const commandLine =
  process.env[builtName] ?? fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

export const temporaryState = (): { readonly dir: string; remove(): void } => {
  const dir = mkdtempSync(join(tmpdir(), 'postern-state-'))
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) }
}

/** Its exit code, when it has ended and everything that it wrote has been read. */
const exited = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => child.once('close', (code) => resolve(code)))

/** Resolves when the process says it is listening; rejects with what it printed when it ends before. */
export const startProcess = async ({
  config,
  stateDir,
  port = 0,
  env = {},
  flags = [],
  signInLink = true,
  cwd = stateDir,
  command = [process.execPath, commandLine],
  born,
}: ProcessOptions): Promise<PosternProcess> => {
  const file = join(stateDir, 'config.json')
  if (config) writeFileSync(file, JSON.stringify(config))
  const [program = '', ...words] = command
  const child = spawn(
    program,
    [
      ...words,
      ...(config ? ['--config', file] : []),
      '--state',
      stateDir,
      ...(port === null ? [] : ['--port', String(port)]),
      ...(signInLink ? ['--print-sign-in-link'] : []),
      ...flags,
    ],
    {
      env: { PATH: process.env['PATH'] ?? '', HOME: stateDir, ...compileCache, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd,
    },
  )
  born?.(child)
  const lines: string[] = []
  const ended = exited(child)
  const first = await new Promise<Listening>((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => lines.push(line))
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line)
      if (line.startsWith('{"event":"listening"')) resolve(JSON.parse(line) as Listening)
    })
    void ended.then((code) =>
      reject(new Error(`postern ended with ${code} before it listened:\n${lines.join('\n')}`)),
    )
    child.once('error', reject)
  })
  return {
    origin: first.url,
    first,
    pid: child.pid as number,
    child,
    lines,
    fetch: (url, init) => fetch(url, { redirect: 'manual', ...init }),
    end(signal = 'SIGINT') {
      child.kill(signal)
      return ended
    },
  }
}
