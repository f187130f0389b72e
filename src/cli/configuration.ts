// The configuration as this process finds it: which file, which variables, which secret files. The loading itself is in config/.
import { statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Environment, SecretFile } from '../config/environment-names.ts'
import { wordsOf } from '../config/environment.ts'
import type { Flags } from '../config/flags.ts'
import { type Loaded, type Sources, inFile, loadConfig, secretFilesFor } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { type Fault, type Origin, printable } from '../config/tree.ts'
import { knownRevisions } from '../known-revisions.ts'
import { type ForwardProxies, readForwardProxies } from '../node/forward-proxy.ts'
import { findCommand } from '../node/process/exit-reason.ts'
import { isOpenToAll, readText, readVariables, cannotRead as reason, usualFile } from './env-file.ts'
import { ConfigError, StartError } from './output.ts'

export interface Wanted {
  /** `--config`. */
  readonly file?: string | undefined
  /** `--env-file`. */
  readonly envFile?: string | undefined
  readonly flags: Flags
}

/** The result of loading, and the file it came from as people name it. */
/** `path`: where the file can be opened. `env`: with the variables of `.env`. `privateFiles`: what was read for variables `NAME_FILE`. `unusable`: commands that cannot be started on this computer. */
export type Configured = Loaded & {
  readonly file?: string
  readonly path?: string
  readonly env: Environment
  readonly privateFiles: readonly string[]
  readonly unusable: readonly Fault[]
}

/** Looked through in this order when no file is named; the first that exists is taken. `shown` is how people name it. */
export const searchPath = (
  env: Environment,
  home: string = homedir(),
): readonly { readonly path: string; readonly shown: string }[] => {
  const xdg = env['XDG_CONFIG_HOME']
  const own = xdg?.startsWith('/')
    ? { path: join(xdg, 'postern', 'config.yaml') }
    : { path: join(home, '.config', 'postern', 'config.yaml'), shown: '~/.config/postern/config.yaml' }
  return [
    ...['postern.yaml', 'config.yaml', 'config.yml'].map((name) => ({ path: name, shown: name })),
    { shown: own.path, ...own },
    { path: join(home, '.mcp-gateway', 'config.yaml'), shown: '~/.mcp-gateway/config.yaml' },
    { path: '/etc/mcp-gateway/config.yaml', shown: '/etc/mcp-gateway/config.yaml' },
  ]
}

interface Source {
  readonly shown: string
  readonly text: string
  /** Where it can be opened; absent for text that came in a variable. */
  readonly path?: string
}

type Found = Source | { readonly fault: Fault } | undefined

const fileAt = (path: string, origin: Origin): Found => {
  try {
    return { shown: path, path, text: readText(path) }
  } catch (error) {
    return { fault: { key: '', origin, what: `${path} cannot be read: ${reason(error)}` } }
  }
}

const searched = (env: Environment): Found => {
  for (const { path, shown } of searchPath(env)) {
    try {
      return { shown, path, text: readText(path) }
    } catch (error) {
      if (reason(error) === reason({ code: 'ENOENT' })) continue
      return {
        fault: {
          key: '',
          origin: { from: 'file', path: shown, line: 1, column: 1, variables: [] },
          what: `the file cannot be read: ${reason(error)}`,
        },
      }
    }
  }
  return undefined
}

const find = (file: string | undefined, env: Environment): Found => {
  if (file !== undefined) return fileAt(file, { from: 'flag', name: '--config' })
  if (env['MCP_CONFIG_PATH'])
    return fileAt(env['MCP_CONFIG_PATH'], { from: 'environment', name: 'MCP_CONFIG_PATH' })
  return env['POSTERN_CONFIG'] ? { shown: 'POSTERN_CONFIG', text: env['POSTERN_CONFIG'] } : searched(env)
}

type Wants = Awaited<ReturnType<typeof secretFilesFor>>

const secretsOf = (wanted: Wants): Record<string, SecretFile> =>
  Object.fromEntries(
    wanted.map(({ variable, path }): [string, SecretFile] => {
      try {
        return [variable, { text: readText(path) }]
      } catch (error) {
        return [variable, { problem: reason(error) }]
      }
    }),
  )

/** A file with secrets in it that every account of the machine can read is told, not refused: on a laptop it is the usual state. */
const openToAll = (source: Source, secretKeys: readonly string[]): Fault[] => {
  const [first] = secretKeys
  if (first === undefined || source.path === undefined || !isOpenToAll(source.path)) return []
  const origin: Origin = { from: 'file', path: source.shown, line: 1, column: 1, variables: [] }
  return [
    {
      key: '',
      origin,
      what: `contains secrets (${first}${secretKeys.length > 1 ? ' and others' : ''}) and is readable by every user of this computer: run chmod 600 ${source.shown}`,
    },
  ]
}

/**
 * Postern speaks plain http, so an https issuer means that something in front ends TLS, and every connection comes from there. Refresh tokens are judged by
 * the network they come from, and so is much else; whoever is not told the callers' addresses sees one caller.
 */
const behindUnknownProxy = ({
  issuer,
  trusted_proxies: proxies,
  refresh_late_repeat: lateRepeat,
}: Config): Fault[] =>
  issuer?.startsWith('https:') && proxies.length === 0 && lateRepeat === 'by-network'
    ? [
        {
          key: 'trusted_proxies',
          origin: { from: 'default' },
          what: 'is empty, so all clients appear to have the address of your reverse proxy. Use of a stolen refresh token is then logged (refresh.repeated) but may not be blocked: list the address of the proxy',
        },
      ]
    : []

/** One command that cannot be started must not keep the other services from being served: `validate` and `wrap` refuse it, `serve` warns. */
const withCommands = (loaded: Loaded, env: Environment): Loaded & { readonly unusable: readonly Fault[] } => {
  if (!loaded.ok || Object.values(loaded.config.mcp_services).every(({ command }) => command === undefined))
    return { ...loaded, unusable: [] }
  return { ...loaded, unusable: checkCommands({ config: loaded.config, sources: loaded.sources, env }) }
}

/** Finds the files, reads what they and the variables refer to, and loads. `real`: the variables that the process was started with. */
export const loadConfiguration = async (
  { file, envFile, flags }: Wanted,
  real: Environment,
): Promise<Configured> => {
  const { env, file: environmentFile, warnings } = readVariables(envFile, real)
  const found = find(file, env)
  if (found && 'fault' in found)
    return {
      ok: false,
      faults: [{ ...found.fault, origin: inFile(found.fault.origin, environmentFile) }],
      warnings,
      env,
      privateFiles: [],
      unusable: [],
    }
  const text = found ? { path: found.shown, text: found.text } : undefined
  const wanted = await secretFilesFor({ file: text, env })
  const loaded = await loadConfig({
    file: text,
    env,
    environmentFile,
    flags,
    secrets: secretsOf(wanted),
    revisions: knownRevisions,
  })
  const told = {
    ...withCommands(loaded, env),
    env,
    privateFiles: wanted.map(({ path }) => path),
    warnings: [...loaded.warnings, ...(loaded.ok ? behindUnknownProxy(loaded.config) : []), ...warnings],
  }
  if (!found) return told
  const place = { file: found.shown, ...(found.path === undefined ? {} : { path: found.path }) }
  return told.ok
    ? { ...told, warnings: [...told.warnings, ...openToAll(found, told.writtenSecrets)], ...place }
    : { ...told, ...place }
}

/** The configuration; throws `ConfigError` with every fault. */
export const loadOrThrow = async (
  wanted: Wanted,
  env: Environment,
): Promise<Configured & { readonly ok: true }> => {
  const loaded = await loadConfiguration(wanted, env)
  if (!loaded.ok) throw new ConfigError(loaded.faults)
  return loaded
}

/** Files that no isolated command may see: the configuration, what it was read from, and where it is looked for. */
export const privateFilesOf = (
  { envFile }: Wanted,
  { path, privateFiles }: { readonly path?: string | undefined; readonly privateFiles: readonly string[] },
): readonly string[] =>
  [path ?? [], ...privateFiles, envFile ?? [], usualFile].flat().map((name) => resolve(name))

// What can be seen of a service's command without starting it: whether there is such a program, and such a folder.

interface Looked {
  readonly config: Config
  readonly sources: Sources
  readonly env: Environment
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** The other words are not repeated: people put keys among them. */
const wholeLine = (command: string): string =>
  `contains a whole command line, but no shell is used: set \`command: ${printable(wordsOf(command)[0] ?? '')}\` and list the other words in \`args\``

/** The commands of the configuration that cannot be started on this computer as it is now. `platform` as Node names it. */
export const checkCommands = (
  { config, sources, env }: Looked,
  platform: string = process.platform,
): readonly Fault[] => {
  const unusable: Fault[] = []
  const suffixes = platform === 'win32' ? ['', ...(env['PATHEXT'] ?? '.EXE;.CMD;.BAT').split(';')] : ['']
  for (const [id, { command, cwd, env: own }] of Object.entries(config.mcp_services)) {
    if (command === undefined) continue
    const told = (key: string, what: string): void =>
      void unusable.push({
        key: `mcp_services.${id}.${key}`,
        origin: sources[`mcp_services.${id}.${key}`] ?? { from: 'default' },
        what,
      })
    const place = cwd === undefined ? undefined : resolve(cwd)
    if (place !== undefined && !isFolder(place))
      told('cwd', `folder ${place} does not exist${cwd?.startsWith('~') ? '; ~ is not expanded' : ''}`)
    // A command without a folder of its own runs in a home that is made for it, where a relative path leads nowhere.
    const found = findCommand(command, own['PATH'] ?? env['PATH'] ?? '', place ?? '/', suffixes)
    if ('path' in found) continue
    const [first = ''] = wordsOf(command)
    const path = /^\S*[/\\]/.test(command)
    // A path with a space in it may be one that is not there (C:\Program Files\…); any other word with a space is a line.
    const line =
      first !== command.trim() &&
      (!path || 'path' in findCommand(first, own['PATH'] ?? env['PATH'] ?? '', place ?? '/', suffixes))
    told('command', line ? wholeLine(command) : found.end.why)
  }
  return unusable
}

// The forward proxies that the environment names, or one sentence that says what is wrong with them.

/** Throws `StartRefused`. */
export const forwardProxies = (env: Readonly<Record<string, string | undefined>>): ForwardProxies => {
  try {
    return readForwardProxies(env)
  } catch (error) {
    throw new StartError('proxy.unusable', (error as RangeError).message)
  }
}
