// `postern wrap -- npx -y some-server`: one command as the only service, without a configuration file.
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, dirname, parse } from 'node:path'
import type { Flags } from '../config/flags.ts'
import { reservedIds } from '../config/rules/services.ts'
import type { Gateway } from '../gateway.ts'
import { UsageError, programName } from './output.ts'

/** Once the gateway is there and its first lines are printed. */
export type Ready = (gateway: Gateway) => Promise<void>

export interface WrapOptions {
  readonly name?: string
  readonly env?: readonly string[]
  readonly cwd?: string
  readonly read?: readonly string[]
  readonly write?: readonly string[]
  /** `--no-network`, `--no-sandbox`. */
  readonly network?: boolean
  readonly sandbox?: boolean
  /** `--tunnel`, or with the name of a program. */
  readonly tunnel?: true | string
}

const runners = new Set([
  'npx',
  'bunx',
  'uvx',
  'pnpm',
  'yarn',
  'npm',
  'bun',
  'deno',
  'uv',
  'node',
  'python',
  'python3',
  'docker',
  'podman',
  'tsx',
  'cmd',
  'env',
  'sudo',
])
const subcommands = new Set(['dlx', 'exec', 'run', 'x', 'tool', '-c', '/c', 'npx'])
const scripts = new Set(['index', 'server', 'main', 'app', 'dist', 'build', 'src', 'lib', 'bin', 'mcp'])

const bare = (name: string): string =>
  name
    .replace(/^@[^/]+\//, '')
    .replace(/(?<=.)@[^/]*$/, '')
    .replace(/\.(?:[cm]?[jt]s|py|exe)$/, '')

/** `npx -y @modelcontextprotocol/server-filesystem .` → `filesystem`; what a person would call the server. */
export const idFor = (words: readonly string[]): string => {
  const [command = '', ...rest] = words
  const runs = runners.has(basename(command).replace(/\.(?:cmd|exe)$/, ''))
  const named = runs
    ? (rest.find((word) => !word.startsWith('-') && !subcommands.has(word)) ?? command)
    : command
  // A script called index.js is called by its folder.
  let path = named.startsWith('@') ? named : named.replaceAll('\\', '/')
  while (!path.startsWith('@') && path.includes('/') && scripts.has(bare(basename(path))))
    path = dirname(path)
  const name = bare(path.startsWith('@') ? path : basename(path))
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, '-')
    .replace(/^(?:mcp-server-|server-|mcp-)(?=.)/, '')
    .replace(/(?<=.)(?:-mcp-server|-mcp|-server)$/, '')
    .replace(/^[-_]+|-+$/g, '')
    .slice(0, 55)
  return name === '' ? 'server' : reservedIds.has(name) ? `${name}-server` : name
}

const variables = (
  given: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> =>
  Object.fromEntries(
    given.map((text) => {
      const at = text.indexOf('=')
      if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
      const value = env[text]
      if (value === undefined)
        throw new UsageError(`-e ${text}: the variable is not set. Write -e ${text}=value.`)
      return [text, value]
    }),
  )

/** A home or a root is more than anybody means to show a server by being there. */
const isProjectFolder = (cwd: string): boolean => cwd !== homedir() && cwd !== parse(cwd).root

/** The flags that make the command a service. Throws `UsageError`. */
export const wrapped = (
  words: readonly string[],
  options: WrapOptions,
  env: Readonly<Record<string, string | undefined>>,
  here: string,
): Flags => {
  const [command, ...args] = words
  if (args.length === 0 && command !== undefined && /\s/.test(command) && !existsSync(command))
    throw new UsageError(
      `The whole command is in one pair of quotes. Remove them: ${programName(process.env)} wrap -- npx -y some-server.`,
    )
  const cwd = options.cwd ?? (isProjectFolder(here) ? here : undefined)
  const isolation =
    options.sandbox === false
      ? { sandbox: 'none' }
      : {
          sandbox_network: options.network !== false,
          sandbox_read: options.read ?? [],
          sandbox_write: options.write ?? [],
        }
  const service = {
    command,
    args,
    env: variables(options.env ?? [], env),
    ...(cwd === undefined ? {} : { cwd }),
    ...isolation,
  }
  return { wrapped: { id: options.name ?? idFor(words), service } }
}
