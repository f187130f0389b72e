// A started process until nothing of it is left: its output, its standard error, its end, and the end of
// everything it started.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import type { Writable } from 'node:stream'
import type { ProcessEnd, ProcessEvents, ServerProcess } from '../../ports/runtime.ts'
import { markName } from './environment.ts'
import { stderrReason, endOf } from './exit-reason.ts'
import {
  type StderrTail,
  type LineBudget,
  createStderrTail,
  createLineBudget,
  createStdoutReader,
} from './output.ts'
import type { OrphanReaper } from './reaper.ts'

// Ends a process and everything it started: its group, and on Linux every process that carries its mark after
// leaving the group.

/** Processes anywhere that carry the mark in their environment; empty where there is no /proc. */
export const processesOf = (mark: string): readonly number[] => {
  const wanted = `${markName}=${mark}`
  let names: string[]
  try {
    names = readdirSync('/proc')
  } catch {
    return []
  }
  return names.flatMap((name) => {
    const pid = Number(name)
    if (!Number.isInteger(pid) || pid === process.pid) return []
    try {
      return readFileSync(`/proc/${name}/environ`, 'latin1').split('\0').includes(wanted) ? [pid] : []
    } catch {
      // Gone meanwhile, or somebody else's.
      return []
    }
  })
}

/** False when there is no such process. */
export const signalTo = (pid: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

/** Signals the group that the process leads, and processes of the mark outside the group. */
export const signalAll = (leader: number, mark: string, signal: NodeJS.Signals): void => {
  if (process.platform === 'win32') {
    // There are no groups to signal; the tree is ended as a whole.
    spawn('taskkill', ['/PID', String(leader), '/T', '/F'], { stdio: 'ignore', windowsHide: true }).on(
      'error',
      () => undefined,
    )
    return
  }
  signalTo(-leader, signal)
  for (const pid of processesOf(mark)) signalTo(pid, signal)
}

/**
 * The state and the group of a process, from proc_pid_stat(5); its name, which comes before, may hold
 * anything.
 */
const isRunningIn = (pid: string, group: number): boolean => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const [state, , itsGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return Number(itsGroup) === group && state !== 'Z' && state !== 'X'
  } catch {
    // Gone meanwhile.
    return false
  }
}

/**
 * A process that has ended keeps its group until its parent collects it, which the first process of a
 * container may never do.
 */
const isGroupRunning = (leader: number): boolean => {
  if (process.platform === 'win32' || !signalTo(-leader, 0)) return false
  if (process.platform !== 'linux') return true
  try {
    return readdirSync('/proc').some((name) => /^\d+$/.test(name) && isRunningIn(name, leader))
  } catch {
    return true
  }
}

/** Whether anything of the group or the mark still runs. */
export const anythingLeft = (leader: number, mark: string): boolean =>
  isGroupRunning(leader) || processesOf(mark).length > 0

/** Unread bytes beyond which a process gets no more input. */
const mostUnread = 16_777_216
/**
 * After its input ended, a process has this long to end by itself; then after SIGTERM; then it is killed.
 * Together well below ten seconds.
 */
const closeMs = 2000
const termMs = 2500
const killMs = 3000
const lookMs = 50
/**
 * A process that it started may keep its output open for ever. Everything that it wrote before it ended is in
 * the pipe already.
 */
const drainMs = 500

const later = (ms: number): Promise<void> => new Promise((done) => void setTimeout(done, ms))

/** A process that never started. Its end is reported later, like any other. */
export const failedProcess = (end: ProcessEnd, events: ProcessEvents): ServerProcess => {
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

export interface SupervisedProcess {
  readonly command: string
  readonly mark: string
  /** The configured environment; its values are kept out of logs. */
  readonly env: Readonly<Record<string, string>>
  readonly events: ProcessEvents
  /** Absent where the process cannot outlive the gateway. */
  readonly reaper: OrphanReaper | undefined
  /** What isolation hides from it, for the operator's log. */
  readonly isolation?: string
}

interface Life {
  over: boolean
  /** Why it ended, where we are the reason. */
  reason: ProcessEnd | undefined
  readonly stderr: StderrTail
}

interface Input {
  /** False when the process has not read enough of its input. */
  write(line: string): boolean
  end(): void
}

/** Lines that are written in one turn of the event loop are one write here and one read there. */
const createInput = (stdin: Writable): Input => {
  let lines = ''
  const flush = (): void => {
    if (lines !== '' && !stdin.destroyed) stdin.write(lines)
    lines = ''
  }
  return {
    write(line) {
      if (stdin.destroyed || stdin.writableLength + lines.length > mostUnread) return false
      if (lines === '') setImmediate(flush)
      lines += `${line}\n`
      return true
    },
    end() {
      flush()
      stdin.end()
    },
  }
}

/**
 * Ends the input of a process, and then the process and everything it started. Each step is taken only while
 * anything is left.
 */
const end = async (
  pid: number | undefined,
  mark: string,
  life: Life,
  input: { end(): void },
): Promise<void> => {
  const gone = (): boolean => life.over && (pid === undefined || !anythingLeft(pid, mark))
  const within = async (ms: number): Promise<boolean> => {
    for (let waited = 0; waited < ms && !gone(); waited += lookMs) await later(lookMs)
    return gone()
  }
  input.end()
  if (await within(closeMs)) return
  if (pid !== undefined) signalAll(pid, mark, 'SIGTERM')
  if (await within(termMs)) return
  if (pid !== undefined) signalAll(pid, mark, 'SIGKILL')
  await within(killMs)
}

const listen = (
  child: ChildProcessWithoutNullStreams,
  { command, mark, events, isolation }: SupervisedProcess,
  budget: LineBudget,
  life: Life,
  ended: (end: ProcessEnd) => void,
): void => {
  const { pid, stdin, stdout, stderr } = child
  const reader = createStdoutReader(events, budget)
  stdout.on('data', (piece: Buffer) => {
    if (life.over || life.reason?.kind === 'flood' || reader.push(piece)) return
    life.reason = {
      kind: 'flood',
      say: 'The MCP server was stopped: its message was too large.',
      why: `${command} wrote a line of more than 64 MB on standard output`,
    }
    if (pid !== undefined) signalAll(pid, mark, 'SIGKILL')
  })
  stderr.setEncoding('utf8').on('data', life.stderr.push)
  // The end of the process reports the end of its pipes.
  for (const stream of [stdin, stdout, stderr]) stream.on('error', () => undefined)
  child.on('error', (error: NodeJS.ErrnoException) =>
    ended({
      kind: 'refused',
      say: 'The MCP server could not be started.',
      why: `${command}: ${error.message}`,
    }),
  )
  child.on('exit', (code, signal) => {
    const finish = (): void => {
      reader.end()
      life.stderr.end()
      ended(endOf(command, code, signal, life.stderr.text(), isolation))
    }
    child.once('close', finish)
    setTimeout(finish, drainMs).unref()
  })
}

/**
 * Supervises a process that was spawned with three pipes and, except on Windows, as the leader of a group.
 */
const supervise = (
  child: ChildProcessWithoutNullStreams,
  options: SupervisedProcess,
  budget: LineBudget,
): ServerProcess => {
  const { command, mark, env, events, reaper } = options
  const { pid, stdin, stdout } = child
  // Without a free file descriptor there is a process object without pipes.
  if ((stdin as Writable | null | undefined) == null) {
    child.on('error', () => undefined)
    return failedProcess(
      {
        kind: 'refused',
        say: 'The MCP server could not be started: too many open files.',
        why: `${command}: too many open files (EMFILE): raise the limit with ulimit -n`,
      },
      events,
    )
  }
  const input = createInput(stdin)
  const life: Life = {
    over: false,
    reason: undefined,
    stderr: createStderrTail(env, (text) => events.complained?.(text)),
  }
  let stopping: Promise<void> | undefined
  const ended = (how: ProcessEnd): void => {
    if (life.over) return
    life.over = true
    if (pid !== undefined) {
      // Processes that it left behind have nobody to talk to.
      signalAll(pid, mark, 'SIGKILL')
      reaper?.forget(pid)
    }
    events.ended(life.reason ?? how)
  }
  if (pid !== undefined) reaper?.watch(pid, mark)
  listen(child, options, budget, life, ended)
  return {
    pid,
    send(line) {
      return !life.over && !life.reason && input.write(line)
    },
    pause: () => void stdout.pause(),
    resume: () => void stdout.resume(),
    conceal: life.stderr.conceal,
    stderr: life.stderr.text,
    ...(options.isolation === undefined ? {} : { isolation: options.isolation }),
    complaint: () => stderrReason(life.stderr.text()),
    stop() {
      life.reason ??= { kind: 'stopped', say: 'The MCP server was stopped.', why: 'stopped' }
      stopping ??= end(pid, mark, life, input)
      return stopping
    },
  }
}

/** Supervises all processes of a gateway: their long lines share one budget. */
export const createSupervise = (): ((
  child: ChildProcessWithoutNullStreams,
  options: SupervisedProcess,
) => ServerProcess) => {
  const budget = createLineBudget()
  return (child, options) => supervise(child, options, budget)
}
