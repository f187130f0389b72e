// The configuration as this process finds it: which file, which variables, which secret files. The loading itself is in config/.
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Environment, SecretFile } from '../config/environment-names.ts'
import type { Fault, Origin } from '../config/fault.ts'
import type { Flags } from '../config/flags.ts'
import { secretFilesFor } from '../config/layers.ts'
import { type Loaded, inFile, loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { knownRevisions } from '../known-revisions.ts'
import { ConfigError } from './answer.ts'
import { readVariables, usualFile } from './env-file.ts'
import { cannotRead as reason, isOpenToAll, readText } from './files.ts'

export interface Wanted {
  /** `--config`. */
  readonly file?: string | undefined
  /** `--env-file`. */
  readonly envFile?: string | undefined
  readonly flags: Flags
}

/** The result of loading, and the file it came from as people name it. */
/** `path`: where the file can be opened. `env`: with the variables of `.env`. `privateFiles`: what was read for variables `NAME_FILE`. `unusable`: commands that cannot be started on this computer. */
export type Configured = Loaded & { readonly file?: string; readonly path?: string; readonly env: Environment; readonly privateFiles: readonly string[]; readonly unusable: readonly Fault[] }

/** Looked through in this order when no file is named; the first that exists is taken. `shown` is how people name it. */
export const searchPath = (env: Environment, home: string = homedir()): readonly { readonly path: string; readonly shown: string }[] => {
  const xdg = env['XDG_CONFIG_HOME']
  const own = xdg?.startsWith('/') ? { path: join(xdg, 'postern', 'config.yaml') } : { path: join(home, '.config', 'postern', 'config.yaml'), shown: '~/.config/postern/config.yaml' }
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
      return { fault: { key: '', origin: { from: 'file', path: shown, line: 1, column: 1, variables: [] }, what: `the file cannot be read: ${reason(error)}` } }
    }
  }
  return undefined
}

const find = (file: string | undefined, env: Environment): Found => {
  if (file !== undefined) return fileAt(file, { from: 'flag', name: '--config' })
  if (env['MCP_CONFIG_PATH']) return fileAt(env['MCP_CONFIG_PATH'], { from: 'environment', name: 'MCP_CONFIG_PATH' })
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
  return [{ key: '', origin, what: `contains secrets (${first}${secretKeys.length > 1 ? ' and others' : ''}) and is readable by every user of this computer: run chmod 600 ${source.shown}` }]
}

/**
 * Postern speaks plain http, so an https issuer means that something in front ends TLS, and every connection comes from there. Refresh tokens are judged by
 * the network they come from, and so is much else; whoever is not told the callers' addresses sees one caller.
 */
const behindUnknownProxy = ({ issuer, trusted_proxies: proxies, refresh_late_repeat: lateRepeat }: Config): Fault[] =>
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
const withCommands = async (loaded: Loaded, env: Environment): Promise<Loaded & { readonly unusable: readonly Fault[] }> => {
  if (!loaded.ok || Object.values(loaded.config.mcp_services).every(({ command }) => command === undefined)) return { ...loaded, unusable: [] }
  const { checkCommands } = await import('./check-commands.ts')
  return { ...loaded, unusable: checkCommands({ config: loaded.config, sources: loaded.sources, env }) }
}

/** Finds the files, reads what they and the variables refer to, and loads. `real`: the variables that the process was started with. */
export const loadConfiguration = async ({ file, envFile, flags }: Wanted, real: Environment): Promise<Configured> => {
  const { env, file: environmentFile, warnings } = readVariables(envFile, real)
  const found = find(file, env)
  if (found && 'fault' in found) return { ok: false, faults: [{ ...found.fault, origin: inFile(found.fault.origin, environmentFile) }], warnings, env, privateFiles: [], unusable: [] }
  const text = found ? { path: found.shown, text: found.text } : undefined
  const wanted = await secretFilesFor({ file: text, env })
  const loaded = await loadConfig({ file: text, env, environmentFile, flags, secrets: secretsOf(wanted), revisions: knownRevisions })
  const told = { ...(await withCommands(loaded, env)), env, privateFiles: wanted.map(({ path }) => path), warnings: [...loaded.warnings, ...(loaded.ok ? behindUnknownProxy(loaded.config) : []), ...warnings] }
  if (!found) return told
  const place = { file: found.shown, ...(found.path === undefined ? {} : { path: found.path }) }
  return told.ok ? { ...told, warnings: [...told.warnings, ...openToAll(found, told.writtenSecrets)], ...place } : { ...told, ...place }
}

/** The configuration; throws `ConfigError` with every fault. */
export const loadOrThrow = async (wanted: Wanted, env: Environment): Promise<Configured & { readonly ok: true }> => {
  const loaded = await loadConfiguration(wanted, env)
  if (!loaded.ok) throw new ConfigError(loaded.faults)
  return loaded
}

/** Files that no isolated command may see: the configuration, what it was read from, and where it is looked for. */
export const privateFilesOf = ({ envFile }: Wanted, { path, privateFiles }: { readonly path?: string | undefined; readonly privateFiles: readonly string[] }): readonly string[] =>
  [path ?? [], ...privateFiles, envFile ?? [], usualFile].flat().map((name) => resolve(name))
