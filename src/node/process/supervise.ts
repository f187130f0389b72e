// A started process until nothing of it is left: its output, its standard error, its end, and the end of
// everything it started.
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import type { Writable } from 'node:stream'
import type { ProcessEnd, ProcessEvents, ServerProcess } from '../../ports/runtime.ts'
import { stderrReason, endOf } from './exit-reason.ts'
import {
  type StderrTail,
  type LineBudget,
  createStderrTail,
  createLineBudget,
  createStdoutReader,
} from './output.ts'
import { type OrphanReaper, anythingLeft, signalAll } from './reaper.ts'

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
