// Where the gateway keeps what it must not lose: keys and the database.
import { accessSync, chmodSync, constants, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Environment } from '../config/environment-names.ts'
import { Refusal } from '../kit/refusal.ts'
import { StartRefused } from './start-refused.ts'

/**
 * The absolute path of the state directory: `--state`, POSTERN_STATE, `$XDG_STATE_HOME/postern`, `~/.local/state/postern`.
 * An XDG variable that is not absolute is ignored, as the XDG Base Directory Specification says. Nothing is created here.
 */
export const stateDirectory = (flag: string | undefined, env: Environment, home: string = homedir()): string => {
  const named = flag || env['POSTERN_STATE']
  if (named) return resolve(named)
  const xdg = env['XDG_STATE_HOME']
  return join(xdg?.startsWith('/') ? xdg : join(home, '.local', 'state'), 'postern')
}

/** Makes sure the directory is there, for its owner alone, and can be written. True when this call made it. Throws `StartRefused`. */
export const openStateDirectory = (path: string): boolean => {
  try {
    const made = mkdirSync(path, { recursive: true, mode: 0o700 })
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
    if (made !== undefined) chmodSync(path, 0o700)
    return made !== undefined
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    const reason = code === 'ENOTDIR' || code === 'EEXIST' ? 'it is not a directory' : 'it is not writable'
    throw new StartRefused('state.unwritable', `Cannot use the state directory ${path}: ${reason}. Choose another one with --state DIR or POSTERN_STATE.`)
  }
}

/** Why the state directory cannot be used, in one sentence; anything else stays what it is. */
export const whyNoState = (error: unknown): unknown => {
  if (error instanceof Refusal && error.code === 'storage.unavailable') return new StartRefused('storage.unusable', `Cannot use the database: ${error.why}. Repair it, restore a backup, or choose another state directory with --state.`)
  if (error instanceof Refusal && error.code === 'storage.sealed') return new StartRefused('state.sealed', `Cannot open the database: ${error.why}.`)
  const { code, path, message } = error as NodeJS.ErrnoException
  if (code === 'ERR_STATE_SEALED') return new StartRefused('state.sealed', message)
  if (code === 'ERR_ROOT_SECRET') return new StartRefused('state.unusable', message)
  return code !== undefined && path !== undefined ? new StartRefused('state.unusable', `Cannot use ${path} (${code}). Repair it, or choose another state directory with --state.`) : error
}
