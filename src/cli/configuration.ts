// Finds the configuration of this process: its file, its variables, its secret files. config/ loads it.
import { readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { type Environment, type SecretFile, isSecretName } from '../config/environment-names.ts'
import { wordsOf } from '../config/environment.ts'
import type { Flags } from '../config/flags.ts'
import {
  type EnvironmentFile,
  type Loaded,
  type Sources,
  inFile,
  loadConfig,
  secretFilesFor,
} from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { type Fault, type Origin, printable } from '../config/tree.ts'
import { knownRevisions } from '../known-revisions.ts'
import { type ForwardProxies, readForwardProxies } from '../node/forward-proxy.ts'
import { type Found as FoundCommand, findCommand } from '../node/process/exit-reason.ts'
import { ConfigError, StartError } from './output.ts'

// The .env file: more environment variables for this process. Variables that are already set take precedence.

const most = 1_048_576

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'the file does not exist',
  ENOTDIR: 'the file does not exist',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a directory',
}

/** Why a file could not be read, in words. */
const cannotRead = (error: unknown): string => {
  const { code = '' } = error as NodeJS.ErrnoException
  return reasons[code] ?? (error instanceof TypeError ? 'it is not UTF-8 text' : code || 'it cannot be read')
}

/** Reads a UTF-8 file of bounded size. Throws the error of the file system or the decoder. */
const readText = (path: string): string => {
  if (statSync(path).size > most)
    throw Object.assign(new Error('too large'), { code: 'it is larger than 1 MiB' })
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(path))
}

/** Read from the working directory without `--env-file`. */
const usualFile = '.env'

interface Variables {
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

/**
 * A warning for a file with secrets that every user of this computer can read. It is not refused, because on
 * a laptop this is usual.
 */
const openToAll = (path: string, shown: string, [first, ...others]: readonly string[]): Fault[] =>
  first === undefined || process.platform === 'win32' || (statSync(path).mode & 0o004) === 0
    ? []
    : [
        {
          key: '',
          origin: at(shown),
          what: `contains secrets (${first}${others.length > 0 ? ' and others' : ''}) and is readable by every user of this computer: run chmod 600 ${shown}`,
        },
      ]

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
  const secret = parsed
    .map(([name]) => name)
    .find((name) => isSecretName(name) || /SECRET|PASSWORD|TOKEN|KEY|CREDENTIAL/.test(name))
  return {
    env: { ...real, ...Object.fromEntries(supplied) },
    file: { shown: path, names: new Set(supplied.map(([name]) => name)) },
    warnings: openToAll(path, path, secret === undefined ? [] : [secret]),
  }
}

// The configuration file, and everything that it and the variables name.

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
    return { fault: { key: '', origin, what: `${path} cannot be read: ${cannotRead(error)}` } }
  }
}

const searched = (env: Environment): Found => {
  for (const { path, shown } of searchPath(env)) {
    try {
      return { shown, path, text: readText(path) }
    } catch (error) {
      if (cannotRead(error) === cannotRead({ code: 'ENOENT' })) continue
      return {
        fault: {
          key: '',
          origin: at(shown),
          what: `the file cannot be read: ${cannotRead(error)}`,
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
        return [variable, { problem: cannotRead(error) }]
      }
    }),
  )

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
    ? {
        ...read,
        warnings: [
          ...read.warnings,
          ...(found.path === undefined ? [] : openToAll(found.path, found.shown, read.writtenSecrets)),
        ],
        ...place,
      }
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
