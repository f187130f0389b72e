// The state directory: keys and the database.
import {
  accessSync,
  chmodSync,
  constants,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Environment } from '../config/environment-names.ts'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../kit/refusal.ts'
import { StartError } from './output.ts'

/**
 * The absolute path of the state directory: `--state`, POSTERN_STATE, `$XDG_STATE_HOME/postern`,
 * `~/.local/state/postern`. An XDG variable that is not absolute is ignored, as the XDG Base Directory
 * Specification says. Nothing is created here.
 */
export const stateDirectory = (
  flag: string | undefined,
  env: Environment,
  home: string = homedir(),
): string => {
  const named = flag || env['POSTERN_STATE']
  if (named) return resolve(named)
  const xdg = env['XDG_STATE_HOME']
  return join(xdg?.startsWith('/') ? xdg : join(home, '.local', 'state'), 'postern')
}

/**
 * Creates the directory when missing, with access for its owner only, and checks that it is writable. True
 * when this call created it. Throws `StartError`.
 */
export const openStateDirectory = (path: string): boolean => {
  try {
    const made = mkdirSync(path, { recursive: true, mode: 0o700 })
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
    if (made !== undefined) chmodSync(path, 0o700)
    return made !== undefined
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    const reason = code === 'ENOTDIR' || code === 'EEXIST' ? 'it is not a directory' : 'it is not writable'
    throw new StartError(
      'state.unwritable',
      `Cannot use the state directory ${path}: ${reason}. Choose another one with --state DIR or POSTERN_STATE.`,
    )
  }
}

/** An error of the state directory, or of the storage, as a StartError; any other error unchanged. */
export const stateError = (error: unknown, { storage }: Pick<Config, 'storage'>): unknown => {
  const server = storage.type !== 'sqlite' && storage.type !== 'memory'
  if (error instanceof Refusal && error.code === 'storage.unavailable')
    return new StartError(
      'storage.unusable',
      server
        ? `Cannot use the storage: ${error.why}.`
        : `Cannot use the database: ${error.why}. Repair it, restore a backup, or choose another state directory with --state.`,
    )
  if (error instanceof Refusal && error.code === 'storage.sealed')
    return new StartError('state.sealed', `Cannot open the ${server ? 'storage' : 'database'}: ${error.why}.`)
  const { code, path, message } = error as NodeJS.ErrnoException
  if (code === 'ERR_STATE_SEALED') return new StartError('state.sealed', message)
  if (code === 'ERR_ROOT_SECRET') return new StartError('state.unusable', message)
  return code !== undefined && path !== undefined
    ? new StartError(
        'state.unusable',
        `Cannot use ${path} (${code}). Repair it, or choose another state directory with --state.`,
      )
    : error
}

/** Node's error of listening as a StartError; any other error unchanged. */
export const listenError = (error: unknown, { host, port }: Config): unknown => {
  const { code, address } = error as NodeJS.ErrnoException & { readonly address?: string }
  if (code === 'EADDRINUSE')
    return new StartError(
      'port.taken',
      `Port ${port} on ${address ?? host} is already in use. Choose another port with --port or PORT; --port 0 picks a free one.`,
    )
  if (code === 'EACCES')
    return new StartError(
      'port.forbidden',
      `Permission denied for port ${port}. Choose a port above 1023 with --port or PORT.`,
    )
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EINVAL')
    return new StartError(
      'host.unknown',
      `${host} is not an address of this computer. Set --host to one of its addresses, or to 0.0.0.0 for all.`,
    )
  return error
}

// Pid files: where the gateways of a state directory listen, for other commands. Nothing else knows a port
// that was picked at the start.

/** A service that is in no configuration file: the demo, or that of `postern wrap`. */
export interface LocalService {
  readonly id: string
  readonly from: 'built in' | 'wrap'
  readonly command?: string
}

interface RunningGateway {
  readonly url: string
  readonly services: readonly LocalService[]
  readonly pid: number
  /** Epoch ms. */
  readonly since: number
}

const pidFolder = (stateDir: string): string => join(stateDir, 'running')
const pidFile = (stateDir: string, pid: number): string => join(pidFolder(stateDir), `${pid}.json`)

const read = (path: string): RunningGateway | undefined => {
  try {
    const {
      url,
      pid,
      since,
      services = [],
    } = JSON.parse(readFileSync(path, 'utf8')) as Partial<RunningGateway>
    return typeof url === 'string' && URL.canParse(url) && Number.isSafeInteger(pid) && Number.isFinite(since)
      ? { url, pid: pid as number, since: since as number, services: Array.isArray(services) ? services : [] }
      : undefined
  } catch {
    // Removed meanwhile, or incomplete.
    return undefined
  }
}

const isAlive = ({ pid }: RunningGateway): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // A process of another user is alive too.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

const pidFiles = (stateDir: string): readonly RunningGateway[] => {
  try {
    return readdirSync(pidFolder(stateDir)).flatMap((name) => read(join(pidFolder(stateDir), name)) ?? [])
  } catch {
    // No gateway has run here.
    return []
  }
}

/**
 * Writes the pid file of this process and removes those of processes that have died. The returned function
 * removes the file again.
 */
export const writePidFile = (
  stateDir: string,
  url: string,
  services: readonly LocalService[] = [],
): (() => void) => {
  try {
    for (const note of pidFiles(stateDir))
      if (!isAlive(note)) rmSync(pidFile(stateDir, note.pid), { force: true })
    mkdirSync(pidFolder(stateDir), { recursive: true, mode: 0o700 })
    writeFileSync(
      pidFile(stateDir, process.pid),
      JSON.stringify({ url, pid: process.pid, since: Date.now(), services }),
      { mode: 0o600 },
    )
  } catch {
    // A full disk must not stop the gateway; commands then use the configured port.
  }
  return () => rmSync(pidFile(stateDir, process.pid), { force: true })
}

const alive = (stateDir: string): readonly RunningGateway[] =>
  pidFiles(stateDir)
    .filter(isAlive)
    .toSorted((a, b) => b.since - a.since)

/** Where gateways of this state directory listen, the last started first. */
export const runningAt = (stateDir: string): readonly string[] => [
  ...new Set(alive(stateDir).map(({ url }) => url)),
]

/** Services of running gateways that are in no configuration, each with the gateway's URL. */
export const localServices = (stateDir: string): readonly (LocalService & { readonly at: string })[] =>
  alive(stateDir).flatMap(({ url, services }) => services.map((service) => ({ ...service, at: url })))

/**
 * The issuer of that gateway, whether it runs or will run; of several processes the last that started is
 * named. Undefined when only a start will tell: the port is chosen then.
 */
export const issuerOf = ({ issuer, port }: Config, stateDir: string): string | undefined => {
  if (issuer !== undefined) return issuer
  const [latest] = runningAt(stateDir)
  if (latest !== undefined) return latest
  return port === 0 ? undefined : `http://localhost:${port}`
}
