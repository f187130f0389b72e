// Starts stdio servers on Node: without a shell, with a home directory and a process group of their own. Each
// is watched until it ends, and ended with everything it started.
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import crossSpawn from 'cross-spawn'
import type { ProcessEnd, ProcessPlan, ServerProcess, SpawnServer } from '../../ports/runtime.ts'
import { environmentFor, homeFor } from './environment.ts'
import { findCommand, isolationNote } from './exit-reason.ts'
import { createOrphanReaper } from './reaper.ts'
import { type Isolation, type Sandbox, findBubblewrap, layOutSandbox, watchReplaced } from './sandbox.ts'
import { createSupervise, failedProcess } from './supervise.ts'

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
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly platform?: string
}

/** What is spawned, or why it cannot be. */
type Prepared =
  | {
      readonly program: string
      readonly args: readonly string[]
      readonly env: Record<string, string>
      readonly cwd: string
      readonly sandbox: Sandbox | undefined
    }
  | { readonly end: ProcessEnd }

const refuse = (say: string, why: string): Prepared => ({
  end: { kind: 'refused', say: `The MCP server could not be started: ${say}.`, why },
})

interface SpawnContext {
  readonly stateDir: string
  readonly privateFiles: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly platform: string
  readonly isolation: () => Isolation
}

/** Throws when the home directory or the isolation cannot be set up. */
const prepare = (plan: ProcessPlan, mark: string, context: SpawnContext): Prepared => {
  const { stateDir, privateFiles, env, platform } = context
  const home = realpathSync(homeFor(resolve(stateDir), plan))
  const cwd = plan.cwd === undefined ? home : resolve(plan.cwd)
  if (!existsSync(cwd)) return refuse('its working directory does not exist', `cwd ${cwd} does not exist`)
  const environment = environmentFor(env, home, mark, plan.env, platform)
  const path = environment['PATH'] ?? ''
  const suffixes =
    platform === 'win32' ? ['', ...(environment['PATHEXT'] ?? '.EXE;.CMD;.BAT').split(';')] : ['']
  const command = findCommand(plan.command, path, cwd, suffixes)
  if ('end' in command) return command
  const plain = { program: command.path, args: plan.args, env: environment, cwd, sandbox: undefined }
  if (plan.sandbox === 'none') return plain
  const isolation = context.isolation()
  if ('missing' in isolation)
    return plan.sandbox === 'auto'
      ? plain
      : refuse('isolation is required but not available on this computer', isolation.missing)
  const sandbox = layOutSandbox({
    plan: { ...plan, env: environment },
    program: command.path,
    path,
    home,
    cwd,
    secrets: { stateDir, files: privateFiles },
  })
  if ('forbidden' in sandbox)
    return refuse('isolation hides or protects a path in its configuration', sandbox.forbidden)
  return {
    ...plain,
    program: isolation.program,
    args: [...sandbox.args, command.path, ...plan.args],
    sandbox,
  }
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
  const supervise = createSupervise()
  return {
    isolation,
    spawn(plan, events) {
      const mark = randomBytes(12).toString('hex')
      let prepared: Prepared
      try {
        prepared = prepare(plan, mark, context)
      } catch (error) {
        prepared = refuse('its home directory or isolation could not be set up', String(error))
      }
      if ('end' in prepared) return failedProcess(prepared.end, events)
      const { sandbox } = prepared
      const child = crossSpawn(prepared.program, [...prepared.args], {
        cwd: sandbox ? '/' : prepared.cwd,
        env: prepared.env,
        stdio: 'pipe',
        detached: platform !== 'win32',
        windowsHide: true,
      })
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
      const supervised = supervise(child as ChildProcessWithoutNullStreams, {
        command: plan.command,
        mark,
        env: plan.env,
        events: { ...events, ended },
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
