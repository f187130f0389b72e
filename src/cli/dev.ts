// `postern dev`: a gateway on this computer in front of a server that somebody is writing, with users who need no
// sign-in page: each has a token, printed once. Nothing is kept.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig } from '../config/load.ts'
import { faultText } from '../config/tree.ts'
import type { Gateway } from '../gateway.ts'
import { isLoopbackHost } from '../kit/addresses.ts'
import { personKey } from '../kit/records.ts'
import { knownRevisions } from '../known-revisions.ts'
import { checkCommands, readVariables } from './configuration.ts'
import { ConfigError, UsageError, print, printJson, programName, quoted } from './output.ts'
import { start } from './serve.ts'
import type { Given } from './verbs.ts'
import { wrapped } from './wrap.ts'

export interface DevOptions {
  readonly as?: readonly string[]
  readonly name?: string
  readonly env?: readonly string[]
}

interface DevUser {
  readonly username: string
  readonly email?: string
  readonly groups: readonly string[]
}

const dayMs = 86_400_000

/** `ana@example.com:staff,admins`, `ana:staff` or `ana`. */
export const devUser = (text: string): DevUser => {
  const [who = '', groups = '', ...rest] = text.split(':')
  const username = who.split('@')[0] ?? ''
  if (username === '' || rest.length > 0)
    throw new UsageError(
      `--as ${JSON.stringify(text)}: write a user and groups, as in ana@example.com:staff,admins.`,
    )
  return {
    username,
    ...(who.includes('@') && { email: who }),
    groups: groups.split(',').filter(Boolean),
  }
}

const usersOf = ({ as = ['dev@example.com'] }: DevOptions): readonly DevUser[] => {
  const users = as.map(devUser)
  const twice = users.find(({ username }, i) =>
    users.some((other, j) => j < i && other.username === username),
  )
  if (twice) throw new UsageError(`--as: there are two users called ${twice.username}.`)
  return users
}

/** A URL of a server that runs already, or a command. */
const serviceOf = (
  words: readonly string[],
  options: DevOptions,
  env: Readonly<Record<string, string | undefined>>,
): { readonly id: string; readonly service: Readonly<Record<string, unknown>> } => {
  const [first = ''] = words
  if (!/^(?:https?|wss?):/i.test(first)) {
    // Its author wants to see what it does, and it runs as its author.
    const flags = wrapped(words, { ...options, sandbox: false }, env, process.cwd())
    return flags.wrapped as NonNullable<typeof flags.wrapped>
  }
  if (words.length > 1) throw new UsageError('Give one URL, or a command and its arguments after --.')
  return { id: options.name ?? 'server', service: { url: first } }
}

const printUsers =
  (users: readonly DevUser[], id: string, json: boolean) =>
  async ({ personalTokens, directory }: Gateway): Promise<void> => {
    const url = `${directory.issuer}/${id}/mcp`
    for (const { username, email, groups } of users) {
      const person = await personalTokens.person(personKey({ provider: 'local', subject: username }))
      const wanted = { name: 'postern dev', services: [id], lifetimeMs: dayMs, kind: 'test' as const }
      const { token } = await personalTokens.create(person, wanted, { by: 'cli' })
      const authorization = `Authorization: Bearer ${token}`
      if (json) printJson({ url, user: username, ...(email !== undefined && { email }), groups, token })
      else {
        print(`\n  ${email ?? username}${groups.length > 0 ? `, groups ${groups.join(', ')}` : ''}`)
        print(`  Token        ${token}`)
        print(
          `  Claude Code  claude mcp add --transport http ${id}-${username} ${url} --header ${quoted(authorization)}`,
        )
      }
    }
    if (!json) print('\n  The tokens end with this gateway. Nothing is stored.\n')
  }

/** Runs until it is told to stop. Throws `UsageError` for a gateway that others could reach. */
export const dev = async (words: readonly string[], options: DevOptions, given: Given): Promise<void> => {
  const host = given.host ?? 'localhost'
  if (!isLoopbackHost(host) || given.publicUrl !== undefined)
    throw new UsageError(
      'postern dev lets in whoever has the printed token: it only listens on this computer.',
    )
  const { env } = readVariables(given.envFile, process.env)
  const users = usersOf(options)
  const { id, service } = serviceOf(words, options, env)
  const value = {
    host,
    port: Number(given.port ?? 8080),
    storage: { type: 'memory' },
    local_users: users.map((user) => ({ ...user, password: crypto.randomUUID() })),
    mcp_services: { [id]: service },
  }
  const load = () => loadConfig({ file: { path: 'postern dev', value }, env: {}, revisions: knownRevisions })
  const loaded = await load()
  if (!loaded.ok) throw new ConfigError(loaded.faults)
  const unusable = checkCommands({ ...loaded, env })
  if (unusable.length > 0) throw new ConfigError(unusable)
  const stateDir = mkdtempSync(join(tmpdir(), 'postern-dev-'))
  process.on('exit', () => rmSync(stateDir, { recursive: true, force: true }))
  const program = programName(process.env)
  await start({
    config: loaded.config,
    source: {
      file: undefined,
      path: undefined,
      load: async () => ({ ...(await load()), env, privateFiles: [], unusable: [] }),
      sources: { now: loaded.sources },
    },
    warnings: loaded.warnings.map(faultText),
    stateDir,
    env,
    privateFiles: [],
    tty: process.stdout.isTTY,
    logLevel: given.debug ? 'debug' : loaded.config.log_level,
    showStderr: true,
    wrapped: id,
    printLink: false,
    program,
    command: (verb) => `${program} ${verb}`,
    ready: printUsers(users, id, !process.stdout.isTTY || given.json === true),
  })
}
