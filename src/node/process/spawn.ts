// Starts stdio servers on Node: without a shell, with a home directory and a process group of their own. Each
// is watched until it ends, and ended with everything it started.
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, realpathSync } from 'node:fs'
import { join, resolve } from 'node:path'
import crossSpawn from 'cross-spawn'
import type {
  ProcessEnd,
  ProcessEvents,
  ProcessPlan,
  ServerProcess,
  SpawnServer,
} from '../../ports/runtime.ts'
import { findCommand, isolationNote } from './exit-reason.ts'
import { createOrphanReaper, markName } from './reaper.ts'
import { type Isolation, type Sandbox, findBubblewrap, layOutSandbox, watchReplaced } from './sandbox.ts'
import { createLineBudget, supervise } from './supervise.ts'

type Environment = Readonly<Record<string, string | undefined>>

// The environment of a server's process: a home directory of its own and a few variables. Nothing of the
// gateway's, and nothing of another service's.

// npm's network settings are passed on to stdio servers, whose home is not the operator's: without them npx
// would wait for the wrong registry.

/**
 * Settings for the registry and the network. Tokens, passwords and keys of npm have other names and are not
 * passed on.
 */
const passedVariables = new Set(
  'registry proxy https-proxy http-proxy noproxy cafile strict-ssl maxsockets fetch-retries fetch-timeout prefer-offline offline'.split(
    ' ',
  ),
)
const scoped = /^@[a-z0-9][a-z0-9._~-]*:registry$/
const largest = 65_536

/**
 * A value that contains or refers to a secret is not passed on: `https://name:password@proxy`, `${TOKEN}`.
 */
const isOpen = (value: string): boolean =>
  value !== '' && value.length < 2000 && !/\/\/[^/?#]*@|\$\{|_auth|token/i.test(value)

const nameOf = (key: string): string | undefined => {
  const name = key.trim().toLowerCase()
  if (scoped.test(name)) return name
  const usual = name.replaceAll('_', '-')
  return passedVariables.has(usual) ? usual : undefined
}

const readText = (path: string): string => {
  try {
    return readFileSync(path, 'utf8').slice(0, largest)
  } catch {
    return ''
  }
}

const ofFile = (path: string): (readonly [string, string])[] =>
  readText(path)
    .split(/\r?\n/)
    .flatMap((line) => {
      const [, key = '', value = ''] = /^\s*([^;#=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line) ?? []
      return key === '' ? [] : [[key, value.replace(/^(["'])(.*)\1$/, '$2')] as const]
    })

const ofVariables = (env: Environment): (readonly [string, string])[] =>
  Object.entries(env).flatMap(([name, value]) =>
    /^npm_config_/i.test(name) && value !== undefined
      ? [[name.slice('npm_config_'.length), value] as const]
      : [],
  )

/**
 * As variables `npm_config_…`. As in npm, the gateway's own environment takes precedence over the user's
 * `.npmrc`.
 */
export const npmSettings = (env: Environment): Record<string, string> => {
  const file =
    env['NPM_CONFIG_USERCONFIG'] ??
    env['npm_config_userconfig'] ??
    (env['HOME'] === undefined ? undefined : join(env['HOME'], '.npmrc'))
  const settings: Record<string, string> = {}
  for (const [key, value] of [...(file === undefined ? [] : ofFile(file)), ...ofVariables(env)]) {
    const name = nameOf(key)
    if (name !== undefined && isOpen(value))
      settings[`npm_config_${name.startsWith('@') ? name : name.replaceAll('-', '_')}`] = value
  }
  return settings
}

/** Passed on unchanged. */
const inherited = ['PATH', 'LANG', 'LC_ALL', 'TZ']
/** Most programs on Windows need these. */
const inheritedOnWindows = [
  'SystemRoot',
  'SystemDrive',
  'ComSpec',
  'PATHEXT',
  'windir',
  'NUMBER_OF_PROCESSORS',
  'PROCESSOR_ARCHITECTURE',
]

/** `<state>/processes/<service>/<owner>`, created when missing, with access for its owner only. */
const homeFor = (stateDir: string, { service, owner }: Pick<ProcessPlan, 'service' | 'owner'>): string => {
  const home = join(stateDir, 'processes', service, owner)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  return home
}

const environmentFor = (
  own: Environment,
  home: string,
  mark: string,
  { about, env: configured }: Pick<ProcessPlan, 'about' | 'env'>,
  platform: string,
): Record<string, string> => {
  const env: Record<string, string> = {}
  for (const name of platform === 'win32' ? [...inherited, ...inheritedOnWindows] : inherited) {
    const value =
      own[name] ??
      Object.entries(own).find(
        ([other]) => platform === 'win32' && other.toLowerCase() === name.toLowerCase(),
      )?.[1]
    if (value !== undefined) env[name] = value
  }
  env['HOME'] = home
  Object.assign(env, npmSettings(own))
  if (platform === 'win32')
    Object.assign(env, {
      USERPROFILE: home,
      APPDATA: join(home, 'AppData', 'Roaming'),
      LOCALAPPDATA: join(home, 'AppData', 'Local'),
      TEMP: home,
      TMP: home,
    })
  for (const [name, value] of Object.entries(about)) if (!value.includes('\0')) env[name] = value
  Object.assign(env, configured)
  env[markName] = mark
  return env
}

// Starting a process.

export interface NodeSpawn {
  readonly spawn: SpawnServer
  /** What isolates servers whose configuration leaves it open, or why nothing does. */
  isolation(): Isolation
  /** Ends every process and then the reaper. Resolves when all have ended. */
  close(): Promise<void>
}

export interface NodeSpawnOptions {
  readonly stateDir: string
  /** The configuration and the files it was read from, also absent ones: isolated servers never see them. */
  readonly privateFiles?: readonly string[]
  readonly env?: Environment
  readonly platform?: string
}

interface PreparedCommand {
  readonly program: string
  readonly args: readonly string[]
  readonly env: Record<string, string>
  readonly cwd: string
  readonly sandbox: Sandbox | undefined
}

/** Why nothing was started. */
interface NotStarted {
  readonly end: ProcessEnd
}

const refuse = (say: string, why: string): NotStarted => ({
  end: { kind: 'refused', say: `The MCP server could not be started: ${say}.`, why },
})

/** A process that never started. Its end is reported later, like any other. */
const failedProcess = ({ end }: NotStarted, events: ProcessEvents): ServerProcess => {
  queueMicrotask(() => events.ended(end))
  return {
    pid: undefined,
    send: () => false,
    pause: () => undefined,
    resume: () => undefined,
    conceal: (text) => text,
    stderr: () => '',
    complaint: () => '',
    stop: () => Promise.resolve(),
  }
}

interface SpawnContext {
  readonly stateDir: string
  readonly privateFiles: readonly string[]
  readonly env: Environment
  readonly platform: string
  readonly isolation: () => Isolation
}

/** A process that ignores the first sign that its time is over has this much longer, seconds. */
const lastCpu = 5

/** The command below prlimit(1), which sets the limits of everything that it starts. */
const limited = (
  { limits }: Pick<ProcessPlan, 'limits'>,
  prepared: PreparedCommand,
  { env, platform }: Pick<SpawnContext, 'env' | 'platform'>,
): PreparedCommand | NotStarted => {
  const { memory, cpu_time: cpu, open_files: files } = limits ?? {}
  const flags = [
    ...(memory === undefined ? [] : [`--data=${memory * 1_048_576}`]),
    ...(cpu === undefined ? [] : [`--cpu=${cpu}:${cpu + lastCpu}`]),
    ...(files === undefined ? [] : [`--nofile=${files}`]),
  ]
  if (flags.length === 0) return prepared
  const found = platform === 'linux' ? findCommand('prlimit', env['PATH'] ?? '', '/') : undefined
  if (!found || 'end' in found)
    return refuse(
      'its limits cannot be set on this computer',
      'process_limits needs Linux and prlimit, which is not in PATH: install util-linux, or remove process_limits',
    )
  return { ...prepared, program: found.path, args: [...flags, prepared.program, ...prepared.args] }
}

/** Throws when the home directory or the isolation cannot be set up. */
const prepare = (plan: ProcessPlan, mark: string, context: SpawnContext): PreparedCommand | NotStarted => {
  const { stateDir, privateFiles, env, platform } = context
  const home = realpathSync(homeFor(resolve(stateDir), plan))
  const cwd = plan.cwd === undefined ? home : resolve(plan.cwd)
  if (!existsSync(cwd)) return refuse('its working directory does not exist', `cwd ${cwd} does not exist`)
  const environment = environmentFor(env, home, mark, plan, platform)
  const path = environment['PATH'] ?? ''
  const suffixes =
    platform === 'win32' ? ['', ...(environment['PATHEXT'] ?? '.EXE;.CMD;.BAT').split(';')] : ['']
  const command = findCommand(plan.command, path, cwd, suffixes)
  if ('end' in command) return command
  const plain = { program: command.path, args: plan.args, env: environment, cwd, sandbox: undefined }
  if (plan.sandbox === 'none') return limited(plan, plain, context)
  const isolation = context.isolation()
  if ('missing' in isolation)
    return plan.sandbox === 'auto'
      ? limited(plan, plain, context)
      : refuse('isolation is required but not available on this computer', isolation.missing)
  const sandbox = layOutSandbox({
    // A person may be named like a path, which is no reason to show it.
    plan: { ...plan, env: environmentFor(env, home, mark, { about: {}, env: plan.env }, platform) },
    program: command.path,
    path,
    home,
    cwd,
    secrets: { stateDir, files: privateFiles },
  })
  if ('forbidden' in sandbox)
    return refuse('isolation hides or protects a path in its configuration', sandbox.forbidden)
  const args = [...sandbox.args, command.path, ...plan.args]
  return limited(plan, { ...plain, program: isolation.program, args, sandbox }, context)
}

/** Undefined when no file descriptor is free: there is a process object without pipes then. */
const start = (
  { program, args, env, cwd, sandbox }: PreparedCommand,
  platform: string,
): ChildProcessWithoutNullStreams | undefined => {
  const child = crossSpawn(program, [...args], {
    cwd: sandbox ? '/' : cwd,
    env,
    stdio: 'pipe',
    detached: platform !== 'win32',
    windowsHide: true,
  })
  if (child.stdin != null) return child as ChildProcessWithoutNullStreams
  child.on('error', () => undefined)
  return undefined
}

export const createNodeSpawn = ({
  stateDir,
  privateFiles = [],
  env = process.env,
  platform = process.platform,
}: NodeSpawnOptions): NodeSpawn => {
  let found: Isolation | undefined
  const isolation = (): Isolation => (found ??= findBubblewrap(env['PATH'] ?? '', platform))
  const context = { stateDir, privateFiles, env, platform, isolation }
  const reaper = createOrphanReaper()
  const running = new Set<ServerProcess>()
  const budget = createLineBudget()
  return {
    isolation,
    spawn(plan, events) {
      const mark = randomBytes(12).toString('hex')
      let prepared: PreparedCommand | NotStarted
      try {
        prepared = prepare(plan, mark, context)
      } catch (error) {
        prepared = refuse('its home directory or isolation could not be set up', String(error))
      }
      if ('end' in prepared) return failedProcess(prepared, events)
      const { sandbox } = prepared
      const child = start(prepared, platform)
      if (!child) {
        const why = `${plan.command}: too many open files (EMFILE): raise the limit with ulimit -n`
        return failedProcess(refuse('too many open files', why), events)
      }
      const unwatch =
        sandbox &&
        watchReplaced(sandbox.watched, () => {
          supervised.stop().catch(() => undefined)
          child.kill('SIGKILL')
        })
      const ended = (end: ProcessEnd): void => {
        unwatch?.()
        running.delete(supervised)
        events.ended(end)
      }
      const supervised = supervise(child, {
        command: plan.command,
        mark,
        env: plan.env,
        events: { ...events, ended },
        budget,
        // bubblewrap ends its processes with the gateway, so they need no reaper.
        ...(sandbox ? { reaper: undefined, isolation: isolationNote(sandbox.masked) } : { reaper }),
      })
      running.add(supervised)
      return supervised
    },
    async close() {
      await Promise.all([...running].map((child) => child.stop()))
      reaper.close()
    },
  }
}
