// A started process until nothing of it is left: its lines, its complaints, its end, and the end of what it started.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import type { Writable } from 'node:stream'
import type { ProcessEnd, ProcessEvents, ServerProcess } from '../../ports/runtime.ts'
import { markName } from './environment.ts'
import { complaintOf, endOf } from './exit-reason.ts'
import {
  type StderrTail,
  type LineBudget,
  createStderrTail,
  createLineBudget,
  createStdoutReader,
} from './output.ts'
import type { OrphanReaper } from './reaper.ts'

// Ending a process and everything it started: its group, and on Linux whatever still carries its mark after leaving the group.

/** Processes anywhere that carry the mark in their environment; empty where there is no /proc. */
export const marked = (mark: string): readonly number[] => {
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

/** False when nobody was there to hear it. */
export const signalTo = (pid: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

/** Signals the group that the process leads, and stragglers of the mark. */
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
  for (const pid of marked(mark)) signalTo(pid, signal)
}

/** The state and the group of a process, from proc_pid_stat(5); its name, which comes before, may hold anything. */
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

/** A process that has ended keeps its group until its parent collects it, which the first process of a container may never do. */
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
  isGroupRunning(leader) || marked(mark).length > 0

/** Unread input beyond which a process is given no more. */
const mostUnread = 16_777_216
/** After its input ended, a process has this long to end by itself; then after SIGTERM; then it is killed. Together well below ten seconds. */
const closeMs = 2000
const termMs = 2500
const killMs = 3000
const lookMs = 50
/** Something it started may hold its output open for ever; what it said before it ended is in the pipe already. */
const drainMs = 500

const later = (ms: number): Promise<void> => new Promise((done) => void setTimeout(done, ms))

/** A process that never began. Told later, as any other end. */
export const unborn = (end: ProcessEnd, events: ProcessEvents): ServerProcess => {
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
  /** What the operator configured; its values are kept out of logs. */
  readonly env: Readonly<Record<string, string>>
  readonly events: ProcessEvents
  /** Absent where the process cannot outlive the gateway anyway. */
  readonly guard: OrphanReaper | undefined
  /** What isolation keeps from it, for the operator. */
  readonly isolation?: string
}

interface Life {
  over: boolean
  /** Why it ended, where we are the reason. */
  reason: ProcessEnd | undefined
  readonly complaints: StderrTail
}

interface Input {
  /** False when too much of what was written before is unread. */
  write(line: string): boolean
  end(): void
}

/** Lines that are written in one turn of the loop travel together: one write for them all here, one read there. */
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

/** Ends its input, and then the process and what it started; each step only as long as anything is left. */
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
  const lines = createStdoutReader(events, budget)
  stdout.on('data', (piece: Buffer) => {
    if (life.over || life.reason?.kind === 'flood' || lines.push(piece)) return
    life.reason = {
      kind: 'flood',
      say: 'The MCP server was stopped: its message was too large.',
      why: `${command} wrote a line of more than 64 MB on standard output`,
    }
    if (pid !== undefined) signalAll(pid, mark, 'SIGKILL')
  })
  stderr.setEncoding('utf8').on('data', life.complaints.push)
  // The end of a pipe is told by the end of the process.
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
      lines.end()
      life.complaints.end()
      ended(endOf(command, code, signal, life.complaints.text(), isolation))
    }
    child.once('close', finish)
    setTimeout(finish, drainMs).unref()
  })
}

/** Looks after a process that was just spawned with three pipes and, but on Windows, as the leader of a group. */
const supervise = (
  child: ChildProcessWithoutNullStreams,
  charge: SupervisedProcess,
  budget: LineBudget,
): ServerProcess => {
  const { command, mark, env, events, guard } = charge
  const { pid, stdin, stdout } = child
  // Without a free file descriptor there is a process object and nothing to talk to.
  if (!(stdin as unknown)) {
    child.on('error', () => undefined)
    return unborn(
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
    complaints: createStderrTail(env, (text) => events.complained?.(text)),
  }
  let stopping: Promise<void> | undefined
  const ended = (how: ProcessEnd): void => {
    if (life.over) return
    life.over = true
    if (pid !== undefined) {
      // What it left behind has nobody to talk to any more.
      signalAll(pid, mark, 'SIGKILL')
      guard?.forget(pid)
    }
    events.ended(life.reason ?? how)
  }
  if (pid !== undefined) guard?.watch(pid, mark)
  listen(child, charge, budget, life, ended)
  return {
    pid,
    send(line) {
      return !life.over && !life.reason && input.write(line)
    },
    pause: () => void stdout.pause(),
    resume: () => void stdout.resume(),
    conceal: life.complaints.conceal,
    stderr: life.complaints.text,
    ...(charge.isolation === undefined ? {} : { isolation: charge.isolation }),
    complaint: () => complaintOf(life.complaints.text()),
    stop() {
      life.reason ??= { kind: 'stopped', say: 'The MCP server was stopped.', why: 'stopped' }
      stopping ??= end(pid, mark, life, input)
      return stopping
    },
  }
}

/** What looks after all processes: their long lines have one bound. */
export const createSupervise = (): ((
  child: ChildProcessWithoutNullStreams,
  charge: SupervisedProcess,
) => ServerProcess) => {
  const budget = createLineBudget()
  return (child, charge) => supervise(child, charge, budget)
}
