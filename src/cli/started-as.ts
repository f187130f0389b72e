// How this program was started, so that what it prints can be pasted where it is printed.
import { basename, relative } from 'node:path'
import type { Environment } from '../config/environment-names.ts'

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

/** A word as a POSIX shell takes it. */
export const quoted = (word: string): string => (/^[\w./@:=+,-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`)

export interface Places {
  readonly config?: string | undefined
  readonly envFile?: string | undefined
  readonly state?: string | undefined
}

/** A verb as a whole command that finds the same configuration and the same state as this process. */
export const commandFor =
  (env: Environment, { config, envFile, state }: Places) =>
  (verb: string): string =>
    [programName(env), verb, ...(config === undefined ? [] : ['--config', quoted(config)]), ...(envFile === undefined ? [] : ['--env-file', quoted(envFile)]), ...(state === undefined ? [] : ['--state', quoted(state)])].join(' ')
