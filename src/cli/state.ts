// Where the gateway keeps what it must not lose: keys and the database.
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Environment } from '../config/environment-names.ts'

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
