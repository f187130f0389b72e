// A started process until nothing of it is left: its output, its standard error, its end, and the end of
// everything it started.
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { isAbsolute } from 'node:path'
import type { Writable } from 'node:stream'
import type { ProcessEnd, ProcessEvents, ServerProcess } from '../../ports/runtime.ts'
import { stderrReason, endOf } from './exit-reason.ts'
import { type OrphanReaper, anythingLeft, signalAll } from './reaper.ts'

// Reads lines from a process's standard output: bounded, and as text whatever bytes they contain.

/** Longest line that is passed on, bytes: enough for screenshots and dumps as base64. */
const longestLine = 33_554_432
/** Longer lines are kept while all of them together are within `mostInAll`. */
const ordinaryLine = 10_485_760
const mostInAll = 67_108_864
/** A line this long is taken to have no end. */
const endlessLine = 67_108_864
/** How much of both ends of a line that is too long is kept. */
const keptEnd = 4096
/** A message without a line feed is taken after this much silence. */
const silenceMs = 250

interface StdoutReader {
  /** Takes a piece. False when the current line is too long; nothing more may be pushed then. */
  push(piece: Buffer): boolean
  /** The output has ended. */
  end(): void
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const lenientUtf8 = new TextDecoder('utf-8', { ignoreBOM: true })

const textOf = (bytes: Uint8Array): string | undefined => {
  try {
    return strictUtf8.decode(bytes)
  } catch {
    return undefined
  }
}

const isWhole = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

type StdoutEvents = Pick<ProcessEvents, 'line' | 'garbage' | 'oversized'>

/** Bytes left for the long lines of all processes. */
export interface LineBudget {
  left: number
}

export const createLineBudget = (): LineBudget => ({ left: mostInAll })

/** One line's share of the budget. */
const createShare = (budget: LineBudget): { mayKeep(bytes: number): boolean; giveBack(): void } => {
  let taken = 0
  return {
    mayKeep(bytes) {
      if (bytes > longestLine) return false
      const more = Math.max(0, bytes - ordinaryLine - taken)
      if (more > budget.left) return false
      budget.left -= more
      taken += more
      return true
    },
    giveBack() {
      budget.left += taken
      taken = 0
    },
  }
}

/** A line that is too long; its ends are kept. */
interface Excess {
  readonly head: Buffer
  tail: Buffer
  /** Nothing else of it is kept. */
  readonly begun: Buffer[]
}

const createExcess = () => {
  let kept: Excess | undefined
  return {
    get open() {
      return kept !== undefined
    },
    keep(begun: readonly Buffer[], piece: Buffer): Excess {
      kept ??= {
        head: Buffer.from(Buffer.concat([...begun, piece].slice(0, 64)).subarray(0, keptEnd)),
        tail: Buffer.concat(begun.slice(-64)).subarray(-keptEnd),
        begun: [],
      }
      kept.tail = Buffer.from(Buffer.concat([kept.tail, piece.subarray(-keptEnd)]).subarray(-keptEnd))
      return kept
    },
    clear: () => void (kept = undefined),
  }
}

/** Servers on Windows end lines with CR LF. Empty lines are skipped. */
const report = ({ line, garbage }: StdoutEvents, bytes: Buffer): void => {
  const end = bytes.length > 0 && bytes[bytes.length - 1] === 0x0d ? bytes.length - 1 : bytes.length
  if (end === 0) return
  const text = textOf(bytes.subarray(0, end))
  if (text === undefined) garbage()
  line(text ?? lenientUtf8.decode(bytes.subarray(0, end)))
}

export const createStdoutReader = (events: StdoutEvents, budget: LineBudget): StdoutReader => {
  const share = createShare(budget)
  let begun: Buffer[] = []
  let size = 0
  const excess = createExcess()
  let silence: NodeJS.Timeout | undefined

  const clear = (): void => {
    begun = []
    size = 0
    excess.clear()
    share.giveBack()
  }
  const end = (last: Buffer): void => {
    if (!excess.open && share.mayKeep(size + last.length)) {
      const bytes = begun.length === 0 ? last : Buffer.concat([...begun, last])
      clear()
      return report(events, bytes)
    }
    const { head, tail } = excess.keep(begun, last)
    clear()
    events.oversized(lenientUtf8.decode(head), lenientUtf8.decode(tail))
  }
  /** Some servers omit the line feed of their last message. */
  const unended = (): void => {
    const bytes = Buffer.concat(begun)
    if (!isWhole(lenientUtf8.decode(bytes))) return
    clear()
    report(events, bytes)
  }
  const begin = (rest: Buffer): void => {
    size += rest.length
    if (!excess.open && share.mayKeep(size)) begun.push(rest)
    else begun = excess.keep(begun, rest).begun
    if (!excess.open && rest[rest.length - 1] === 0x7d) silence = setTimeout(unended, silenceMs).unref()
  }
  return {
    push(piece) {
      clearTimeout(silence)
      let from = 0
      for (let at = piece.indexOf(0x0a); at !== -1; at = piece.indexOf(0x0a, from)) {
        end(piece.subarray(from, at))
        from = at + 1
      }
      if (from === piece.length) return true
      if (size + piece.length - from > endlessLine) {
        clear()
        return false
      }
      begin(from === 0 ? piece : piece.subarray(from))
      return true
    },
    end() {
      clearTimeout(silence)
      if (!excess.open) unended()
      clear()
    },
  }
}

// The tail of a process's standard error, for the operator: whole lines, without the secrets from its
// configuration.

const keptCharacters = 65_536
/** A longer line is taken in pieces. */
const longestKeptLine = 8192
/** Shorter values occur in too many words to be replaced. */
const leastSecret = 8

interface StderrTail {
  push(text: string): void
  /** The output has ended, so the current line is complete. */
  end(): void
  text(): string
  conceal(text: string): string
}

interface Concealer {
  /** Characters of the longest value. */
  readonly reach: number
  conceal(text: string): string
}

/**
 * Servers print keys that were refused, and more people read logs than configurations. Paths are kept,
 * because operators look for them.
 */
const createConcealer = (env: Readonly<Record<string, string>>): Concealer => {
  const secrets = Object.entries(env)
    .flatMap(([name, value]) => value.split(/\r?\n/).map((line) => [name, line.trim()] as const))
    .filter(([, value]) => value.length >= leastSecret && !isAbsolute(value))
    .sort(([, one], [, two]) => two.length - one.length)
  return {
    reach: secrets[0]?.[1].length ?? 0,
    conceal: (text) => secrets.reduce((rest, [name, value]) => rest.replaceAll(value, `[${name}]`), text),
  }
}

/**
 * `report` gets whole lines, as many as came together. `env`: the configured environment, whose values are
 * replaced by their names.
 */
const createStderrTail = (
  env: Readonly<Record<string, string>>,
  report: (text: string) => void,
): StderrTail => {
  const { reach, conceal } = createConcealer(env)
  let kept = ''
  let begun = ''
  const take = (until: number): void => {
    const text = conceal(begun.slice(0, until))
    begun = begun.slice(until)
    if (text === '') return
    kept = (kept + text).slice(-keptCharacters)
    report(text)
  }
  return {
    push(text) {
      begun += text
      take(begun.lastIndexOf('\n') + 1)
      // What is left may be the beginning of a secret.
      if (begun.length > longestKeptLine + reach) take(begun.length - reach)
    },
    end: () => take(begun.length),
    text: () => kept + conceal(begun),
    conceal,
  }
}

// The process.

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

interface SupervisedProcess {
  readonly command: string
  readonly mark: string
  /** The configured environment; its values are kept out of logs. */
  readonly env: Readonly<Record<string, string>>
  readonly events: ProcessEvents
  /** All processes of a gateway share it. */
  readonly budget: LineBudget
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
const endProcess = async (
  pid: number | undefined,
  mark: string,
  life: Life,
  input: { end(): void },
): Promise<void> => {
  const gone = (): boolean => life.over && (pid === undefined || !anythingLeft(pid, mark))
  const within = async (ms: number): Promise<boolean> => {
    for (let waited = 0; waited < ms; waited += lookMs) {
      if (gone()) return true
      await later(lookMs)
    }
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
  { command, mark, events, isolation, budget }: SupervisedProcess,
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
export const supervise = (
  child: ChildProcessWithoutNullStreams,
  options: SupervisedProcess,
): ServerProcess => {
  const { mark, env, events, reaper } = options
  const { pid, stdin, stdout } = child
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
  listen(child, options, life, ended)
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
      stopping ??= endProcess(pid, mark, life, input)
      return stopping
    },
  }
}
