// Server processes on Node: started without a shell, with a home and a group of their own, watched to their end, and ended with all they started.
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
import { createSupervise, unborn } from './supervise.ts'

export interface NodeSpawn {
  readonly spawn: SpawnServer
  /** What isolates servers whose plan leaves it open, or why nothing does. */
  isolation(): Isolation
  /** Ends every process and then the guard. Resolves when all are gone. */
  close(): Promise<void>
}

export interface NodeSpawnOptions {
  readonly stateDir: string
  /** The configuration and what it was read from, absent files too: isolated servers never see them. */
  readonly privateFiles?: readonly string[]
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly platform?: string
}

type Ready =
  | {
      readonly program: string
      readonly args: readonly string[]
      readonly env: Record<string, string>
      readonly cwd: string
      readonly sandbox: Sandbox | undefined
    }
  | { readonly end: ProcessEnd }

const refuse = (say: string, why: string): Ready => ({
  end: { kind: 'refused', say: `The MCP server could not be started: ${say}.`, why },
})

export const createNodeSpawn = ({
  stateDir,
  privateFiles = [],
  env = process.env,
  platform = process.platform,
}: NodeSpawnOptions): NodeSpawn => {
  let found: Isolation | undefined
  const isolation = (): Isolation => (found ??= findBubblewrap(env['PATH'] ?? '', platform))
  const guard = createOrphanReaper()
  const running = new Set<ServerProcess>()
  const supervise = createSupervise()

  const prepare = (plan: ProcessPlan, mark: string): Ready => {
    const home = realpathSync(homeFor(resolve(stateDir), plan))
    const cwd = plan.cwd === undefined ? home : resolve(plan.cwd)
    if (!existsSync(cwd)) return refuse('its working directory does not exist', `cwd ${cwd} does not exist`)
    const environment = environmentFor(env, home, mark, plan.env, platform)
    const path = environment['PATH'] ?? ''
    const command = findCommand(
      plan.command,
      path,
      cwd,
      platform === 'win32' ? ['', ...(environment['PATHEXT'] ?? '.EXE;.CMD;.BAT').split(';')] : [''],
    )
    if ('end' in command) return command
    const plain = { program: command.path, args: plan.args, env: environment, cwd, sandbox: undefined }
    if (plan.sandbox === 'none') return plain
    const wrap = isolation()
    if ('program' in wrap) {
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
      return { ...plain, program: wrap.program, args: [...sandbox.args, command.path, ...plan.args], sandbox }
    }
    return plan.sandbox === 'auto'
      ? plain
      : refuse('isolation is required but not available on this computer', wrap.missing)
  }

  return {
    isolation,
    spawn(plan, events) {
      const mark = randomBytes(12).toString('hex')
      let ready: Ready
      try {
        ready = prepare(plan, mark)
      } catch (error) {
        ready = refuse('its home directory or isolation could not be set up', String(error))
      }
      if ('end' in ready) return unborn(ready.end, events)
      const { sandbox } = ready
      const child = crossSpawn(ready.program, [...ready.args], {
        cwd: sandbox ? '/' : ready.cwd,
        env: ready.env,
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
      const kept = sandbox ? { guard: undefined, isolation: isolationNote(sandbox.masked) } : { guard }
      const supervised = supervise(child as ChildProcessWithoutNullStreams, {
        command: plan.command,
        mark,
        env: plan.env,
        events: { ...events, ended },
        ...kept,
      })
      running.add(supervised)
      return supervised
    },
    async close() {
      await Promise.all([...running].map((child) => child.stop()))
      guard.close()
    },
  }
}
