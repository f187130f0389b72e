// Finds the configuration of this process: its file, its variables, its secret files. config/ loads it.
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
import { type Found as FoundCommand, findCommand } from '../node/process/exit-reason.ts'
import { isOpenToAll, readText, readVariables, cannotRead as reason, usualFile } from './env-file.ts'
import { ConfigError, StartError } from './output.ts'

export interface ConfigurationRequest {
  /** `--config`. */
  readonly file?: string | undefined
  /** `--env-file`. */
  readonly envFile?: string | undefined
  readonly flags: Flags
}

/**
 * `file`: the file as people name it. `path`: where it can be opened. `env`: with the variables of `.env`.
 * `privateFiles`: read for variables `NAME_FILE`. `unusable`: commands that cannot be started on this
 * computer.
 */
export type FoundConfiguration = Loaded & {
  readonly file?: string
  readonly path?: string
  readonly env: Environment
  readonly privateFiles: readonly string[]
  readonly unusable: readonly Fault[]
}

/** Tried in this order when no file is named; the first that exists is used. `shown`: as people name it. */
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

/**
 * A warning for a file with secrets that every user of this computer can read. It is not refused, because on
 * a laptop this is usual.
 */
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
 * Postern serves plain HTTP, so an https issuer means that a reverse proxy terminates TLS and every
 * connection comes from the proxy. Refresh tokens are judged by the network of the caller; without
 * trusted_proxies all callers seem to be one.
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

/**
 * One command that cannot be started must not stop the other services: `validate` and `wrap` refuse it,
 * `serve` warns.
 */
const withCommands = (loaded: Loaded, env: Environment): Loaded & { readonly unusable: readonly Fault[] } => {
  if (!loaded.ok || Object.values(loaded.config.mcp_services).every(({ command }) => command === undefined))
    return { ...loaded, unusable: [] }
  return { ...loaded, unusable: checkCommands({ config: loaded.config, sources: loaded.sources, env }) }
}

/**
 * Finds the files, reads the files that they and the variables name, and loads. `real`: the variables that
 * the process was started with.
 */
export const loadConfiguration = async (
  { file, envFile, flags }: ConfigurationRequest,
  real: Environment,
): Promise<FoundConfiguration> => {
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
  const read = {
    ...withCommands(loaded, env),
    env,
    privateFiles: wanted.map(({ path }) => path),
    warnings: [...loaded.warnings, ...(loaded.ok ? behindUnknownProxy(loaded.config) : []), ...warnings],
  }
  if (!found) return read
  const place = { file: found.shown, ...(found.path === undefined ? {} : { path: found.path }) }
  return read.ok
    ? { ...read, warnings: [...read.warnings, ...openToAll(found, read.writtenSecrets)], ...place }
    : { ...read, ...place }
}

/** The configuration; throws `ConfigError` with every fault. */
export const loadOrThrow = async (
  wanted: ConfigurationRequest,
  env: Environment,
): Promise<FoundConfiguration & { readonly ok: true }> => {
  const loaded = await loadConfiguration(wanted, env)
  if (!loaded.ok) throw new ConfigError(loaded.faults)
  return loaded
}

/**
 * Files that isolated commands never see: the configuration, the files it was read from, and those it is
 * searched in.
 */
export const privateFilesOf = (
  { envFile }: ConfigurationRequest,
  { path, privateFiles }: { readonly path?: string | undefined; readonly privateFiles: readonly string[] },
): readonly string[] =>
  [path ?? [], ...privateFiles, envFile ?? [], usualFile].flat().map((name) => resolve(name))

// Checks a service's command without starting it: whether the program and the folder exist.

interface Checked {
  readonly config: Config
  readonly sources: Sources
  readonly env: Environment
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** The other words are not repeated, because they may contain API keys. */
const wholeLine = (command: string): string =>
  `contains a whole command line, but no shell is used: set \`command: ${printable(wordsOf(command)[0] ?? '')}\` and list the other words in \`args\``

/**
 * Whether a command that was not found is a whole command line. A path with a space in it may be missing
 * (C:\Program Files\…); any other word with a space is a line.
 */
const isWholeLine = (command: string, find: (program: string) => FoundCommand): boolean => {
  const [first = ''] = wordsOf(command)
  const path = /^\S*[/\\]/.test(command)
  return first !== command.trim() && (!path || 'path' in find(first))
}

/** What is wrong with one command, by key. */
const commandFaults = (
  { command = '', cwd, env: own }: Config['mcp_services'][string],
  env: Environment,
  suffixes: readonly string[],
): readonly (readonly [key: string, what: string])[] => {
  const folder = cwd === undefined ? undefined : resolve(cwd)
  // A command without a folder of its own runs in a new home directory, where a relative path leads nowhere.
  const find = (program: string): FoundCommand =>
    findCommand(program, own['PATH'] ?? env['PATH'] ?? '', folder ?? '/', suffixes)
  const faults: (readonly [string, string])[] = []
  if (folder !== undefined && !isFolder(folder))
    faults.push([
      'cwd',
      `folder ${folder} does not exist${cwd?.startsWith('~') ? '; ~ is not expanded' : ''}`,
    ])
  const found = find(command)
  if ('end' in found)
    faults.push(['command', isWholeLine(command, find) ? wholeLine(command) : found.end.why])
  return faults
}

/**
 * The commands of the configuration that cannot be started on this computer as it is now. `platform` as Node
 * names it.
 */
export const checkCommands = (
  { config, sources, env }: Checked,
  platform: string = process.platform,
): readonly Fault[] => {
  const suffixes = platform === 'win32' ? ['', ...(env['PATHEXT'] ?? '.EXE;.CMD;.BAT').split(';')] : ['']
  return Object.entries(config.mcp_services)
    .filter(([, { command }]) => command !== undefined)
    .flatMap(([id, service]) =>
      commandFaults(service, env, suffixes).map(([name, what]) => {
        const key = `mcp_services.${id}.${name}`
        return { key, origin: sources[key] ?? { from: 'default' }, what }
      }),
    )
}

// The forward proxies that the environment names.

/** Throws `StartError`. */
export const forwardProxies = (env: Readonly<Record<string, string | undefined>>): ForwardProxies => {
  try {
    return readForwardProxies(env)
  } catch (error) {
    throw new StartError('proxy.unusable', (error as RangeError).message)
  }
}
