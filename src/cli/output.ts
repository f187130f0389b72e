// The output of commands: results on standard output; errors on standard error, as a sentence for a person or
// one JSON line for a program.
import { readFileSync } from 'node:fs'
import { basename, relative } from 'node:path'
import { styleText } from 'node:util'
import type { Environment } from '../config/environment-names.ts'
import { type Fault, faultText, originText } from '../config/tree.ts'

/**
 * The gateway cannot start. One sentence says what is wrong and what to do. Exit code 1; restarting does not
 * help.
 */
export class StartError extends Error {
  readonly code: string
  constructor(code: string, sentence: string) {
    super(sentence)
    this.name = 'StartError'
    this.code = code
  }
}

/** Exit codes: 0 done, 1 failed or start refused, 2 the command line was wrong, 4 a server cannot be reached. */
export const exitCodes = { failed: 1, usage: 2, unreachable: 4 } as const

/** The command line asks for something that does not exist. */
export class UsageError extends Error {}

/** The configuration cannot be used; every fault is in it. */
export class ConfigError extends Error {
  readonly faults: readonly Fault[]
  constructor(faults: readonly Fault[]) {
    super(`${faults.length === 1 ? '1 error' : `${faults.length} errors`} in the configuration`)
    this.faults = faults
  }
}

/** Rows in columns as wide as their widest text. */
export const printTable = (rows: readonly (readonly string[])[]): void => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  for (const row of rows)
    print(
      row
        .map((text, i) => text.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}

export interface ErrorReport {
  readonly exit: number
  /** Lines for a person. */
  readonly lines: readonly string[]
  /** For a program; the members that Inspector's envelope has and that apply here. */
  readonly error: Readonly<Record<string, unknown>>
}

const docs = 'docs/reference/config.md'

/** A fault as data: where, which key, what. */
export const faultData = (fault: Fault): Readonly<Record<string, unknown>> => {
  const { origin } = fault
  const place =
    origin.from === 'file'
      ? { file: origin.path, line: origin.line, column: origin.column }
      : { source: originText(origin) }
  return { key: fault.key, ...place, message: fault.what }
}

const ofFaults = (faults: readonly Fault[]): ErrorReport => {
  const lines = faults.map(faultText)
  const more = lines.length > 1 ? ` (and ${lines.length - 1} more)` : ''
  return {
    exit: exitCodes.failed,
    lines,
    error: {
      code: 'config.invalid',
      message: `${lines[0] ?? ''}${more}`,
      docs,
      faults: faults.map(faultData),
    },
  }
}

/** What to say about anything a command threw. The stack is for `--debug` alone. */
export const errorReport = (error: unknown, debug: boolean): ErrorReport => {
  if (error instanceof ConfigError) return ofFaults(error.faults)
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof UsageError)
    return { exit: exitCodes.usage, lines: [message], error: { code: 'usage', message } }
  if (error instanceof StartError)
    return { exit: exitCodes.failed, lines: [message], error: { code: error.code, message } }
  const stack = debug && error instanceof Error ? error.stack?.split('\n') : undefined
  const hint = 'This is a bug. Run the command again with --debug to see the stack trace.'
  return {
    exit: exitCodes.failed,
    lines: stack ?? [message, hint],
    error: { code: 'fault', message, ...(stack ? { stack } : {}) },
  }
}

/** Writes to standard error; JSON where no person reads it, or when it was asked for. */
export const printError = (said: ErrorReport, json: boolean): void => {
  if (json || !process.stderr.isTTY) {
    process.stderr.write(`${JSON.stringify({ error: said.error })}\n`)
    return
  }
  for (const line of said.lines)
    process.stderr.write(`${styleText('red', '✖', { stream: process.stderr })} ${line}\n`)
}

export const printWarnings = (warnings: readonly Fault[]): void => {
  for (const warning of warnings)
    process.stderr.write(`${styleText('yellow', '⚠', { stream: process.stderr })} ${faultText(warning)}\n`)
}

/** Something that a person should know beside the result. */
export const printNote = (text: string): void =>
  void process.stderr.write(`${styleText('yellow', '⚠', { stream: process.stderr })} ${text}\n`)

export const print = (text: string): void => void process.stdout.write(`${text}\n`)

/** Prints a result for programs. */
export type Printer = (value: unknown) => void

export const printJson: Printer = (value) => print(JSON.stringify(value))

// How this program was started, so that what it prints can be pasted where it is printed.

/** The words before a verb: `npm start --`, `npx postern`, `postern`, `node bin/postern.mjs`. */
export const programName = (env: Environment, started: string | undefined = process.argv[1]): string => {
  // What npm tells the programs that it starts: https://docs.npmjs.com/cli/using-npm/scripts#environment
  if (env['npm_lifecycle_event'] === 'start' && env['npm_package_name'] === 'postern') return 'npm start --'
  if (env['npm_command'] === 'exec' || env['npm_lifecycle_event'] === 'npx') return 'npx postern'
  // The launcher hands over to another Node where this one is too old.
  const path = env['POSTERN_STARTED_AS'] ?? started ?? ''
  if (/[/\\]node_modules[/\\]\.bin[/\\]/.test(path)) return 'npx postern'
  return basename(path) === 'postern.mjs' ? `node ${quoted(relative('', path))}` : 'postern'
}

/** Of this package. */
export const packageVersion = (): string =>
  (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string })
    .version

/** A word as a POSIX shell takes it. */
export const quoted = (word: string): string =>
  /^[\w./@:=+,-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`

export interface CommandOptions {
  readonly config?: string | undefined
  readonly envFile?: string | undefined
  readonly state?: string | undefined
}

/** A verb as a whole command that finds the same configuration and the same state as this process. */
export const commandFor =
  (env: Environment, { config, envFile, state }: CommandOptions) =>
  (verb: string): string =>
    [
      programName(env),
      verb,
      ...(config === undefined ? [] : ['--config', quoted(config)]),
      ...(envFile === undefined ? [] : ['--env-file', quoted(envFile)]),
      ...(state === undefined ? [] : ['--state', quoted(state)]),
    ].join(' ')

/** `1 service`, `2 services`. */
export const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`
