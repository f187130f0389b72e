// The command line as a process of its own, in a folder and a home of its own, with and without a terminal.
import { execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { compileCache, commandLine } from '../runtimes/process.ts'

export interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface Place {
  /** The working directory; `home` below it is the person's. */
  readonly path: string
  readonly home: string
  write(path: string, text: string, mode?: number): string
  remove(): void
}

export const createPlace = (): Place => {
  const path = mkdtempSync(join(tmpdir(), 'postern-cli-'))
  const home = join(path, 'home')
  mkdirSync(home)
  return {
    path,
    home,
    write(file, text, mode = 0o600) {
      const whole = join(path, file)
      mkdirSync(dirname(whole), { recursive: true })
      writeFileSync(whole, text, { mode })
      return whole
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  }
}

const environment = (place: Place, env: Readonly<Record<string, string>>): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  HOME: place.home,
  TERM: 'xterm',
  ...compileCache,
  ...env,
})

/** Runs `postern …` with its output in pipes, as programs do. Answers when it has ended. */
export const postern = (
  place: Place,
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly input?: string } = {},
): Promise<Ran> =>
  new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [commandLine, ...args],
      { cwd: place.path, env: environment(place, options.env ?? {}), timeout: 60_000 },
      (error, out, err) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null
        resolve({ code, out, err })
      },
    )
    // A command that ends without reading what it is told has closed the pipe already.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(options.input ?? '')
  })

const quoted = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`

/**
 * Runs it on a terminal (util-linux `script`); standard output and error come as one text with `\n` line
 * ends. Each entry of `answers` is typed when the terminal shows the question.
 */
export const posternOnTerminal = (
  place: Place,
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>
    readonly answers?: readonly (readonly [question: string, typed: string])[]
    /** Types q once this has come about. */
    readonly until?: Promise<unknown> | undefined
  } = {},
): Promise<{ readonly code: number | null; readonly screen: string }> =>
  new Promise((resolve) => {
    const command = [process.execPath, commandLine, ...args].map(quoted).join(' ')
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      cwd: place.path,
      env: environment(place, options.env ?? {}),
    })
    let screen = ''
    let read = 0
    const waiting = [...(options.answers ?? [])]
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      screen += text
      const [next] = waiting
      const at = next === undefined ? -1 : screen.indexOf(next[0], read)
      if (next === undefined || at < 0) return
      waiting.shift()
      read = at + next[0].length
      child.stdin.write(next[1])
    })
    void options.until?.then(() => child.stdin.write('q'))
    child.on('close', (code) => resolve({ code, screen: screen.replaceAll('\r\n', '\n') }))
  })

/** The envelope on standard error. */
export const errorOf = (ran: Ran): Record<string, unknown> =>
  (JSON.parse(ran.err) as { error: Record<string, unknown> }).error
