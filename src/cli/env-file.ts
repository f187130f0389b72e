// The .env file: more environment variables for this process. Variables that are already set take precedence.
import { readFileSync, statSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { type Environment, isSecretName } from '../config/environment-names.ts'
import type { EnvironmentFile } from '../config/load.ts'
import type { Fault, Origin } from '../config/tree.ts'
import { ConfigError } from './output.ts'

// Text files of bounded size.

const most = 1_048_576

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'the file does not exist',
  ENOTDIR: 'the file does not exist',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a directory',
}

/** Why a file could not be read, in words. */
export const cannotRead = (error: unknown): string => {
  const { code = '' } = error as NodeJS.ErrnoException
  return reasons[code] ?? (error instanceof TypeError ? 'it is not UTF-8 text' : code || 'it cannot be read')
}

/** Reads a UTF-8 file of bounded size. Throws the error of the file system or the decoder. */
export const readText = (path: string): string => {
  if (statSync(path).size > most)
    throw Object.assign(new Error('too large'), { code: 'it is larger than 1 MiB' })
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(path))
}

/** Whether every user of this computer can read the file. */
export const isOpenToAll = (path: string): boolean =>
  process.platform !== 'win32' && (statSync(path).mode & 0o004) !== 0

/** Read from the working directory without `--env-file`. */
export const usualFile = '.env'

export interface Variables {
  /** The variables of the process, and those of the file that the process lacks. */
  readonly env: Environment
  /** Which of them the file supplied; absent without a file. */
  readonly file?: EnvironmentFile
  readonly warnings: readonly Fault[]
}

const at = (path: string): Origin => ({ from: 'file', path, line: 1, column: 1, variables: [] })

/**
 * Undefined where no file was named and there is none; a folder named .env is a Python virtual environment.
 * Throws `ConfigError`.
 */
const textOf = (named: string | undefined): string | undefined => {
  const path = named ?? usualFile
  try {
    if (named === undefined && statSync(path).isDirectory()) return undefined
    return readText(path)
  } catch (error) {
    const why = cannotRead(error)
    if (named === undefined && why === cannotRead({ code: 'ENOENT' })) return undefined
    throw new ConfigError([
      {
        key: '',
        origin: named === undefined ? at(path) : { from: 'flag', name: '--env-file' },
        what: `${path} cannot be read: ${why}`,
      },
    ])
  }
}

/**
 * The first line that is neither a variable nor a comment nor part of a quoted value. The parser would
 * silently drop it.
 */
const misreadLine = (text: string): number | undefined => {
  let quote = ''
  for (const [i, line] of text.split(/\r\n?|\n/).entries()) {
    if (quote) {
      if (line.includes(quote)) quote = ''
      continue
    }
    if (/^\s*(?:#|$)/.test(line)) continue
    const value = /^\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_.-]*\s*=\s*(.*)$/.exec(line)?.[1]
    if (value === undefined) return i + 1
    const open = /^["'`]/.exec(value)?.[0] ?? ''
    if (
      open &&
      !value.slice(1).includes(open) &&
      text
        .split(/\r\n?|\n/)
        .slice(i + 1)
        .some((rest) => rest.includes(open))
    )
      quote = open
  }
  return undefined
}

const openSecrets = (path: string, names: readonly string[]): Fault[] => {
  const secret = names.find((name) => isSecretName(name) || /SECRET|PASSWORD|TOKEN|KEY|CREDENTIAL/.test(name))
  if (secret === undefined || !isOpenToAll(path)) return []
  return [
    {
      key: '',
      origin: at(path),
      what: `contains secrets (${secret}) and is readable by every user of this computer: run chmod 600 ${path}`,
    },
  ]
}

/** Reads the named file, or `.env` in the working directory. Throws `ConfigError` when it cannot be used. */
export const readVariables = (named: string | undefined, real: Environment): Variables => {
  const text = textOf(named)
  if (text === undefined) return { env: real, warnings: [] }
  const path = named ?? usualFile
  const line = misreadLine(text)
  if (line !== undefined)
    throw new ConfigError([
      {
        key: '',
        origin: { from: 'file', path, line, column: 1, variables: [] },
        what: 'this line is neither NAME=value nor a comment',
      },
    ])
  const parsed = Object.entries(parseEnv(text.replace(/^\ufeff/, '')))
  const supplied = parsed.filter(([name]) => real[name] === undefined)
  return {
    env: { ...real, ...Object.fromEntries(supplied) },
    file: { shown: path, names: new Set(supplied.map(([name]) => name)) },
    warnings: openSecrets(
      path,
      parsed.map(([name]) => name),
    ),
  }
}
