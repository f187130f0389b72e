// The log on Node: JSON lines on standard output, or short lines on standard error in a terminal. Buffered,
// flushed when the process ends.
import { fstatSync } from 'node:fs'
import sonicBoom from 'sonic-boom'
import { type LogFields, isSecretName, logLine, logOrder } from '../kit/log.ts'
import type { Log, LogLevel } from '../ports/runtime.ts'

// Writes lines to a file descriptor in large pieces, without waiting for the reader. The lines are gathered
// here, because SonicBoom measures everything it has gathered at each write, which costs more than the rest
// of a call's record.

// A CommonJS module whose exports Node cannot detect.
const { SonicBoom } = sonicBoom

export interface LineWriter {
  /** The text ends with a line feed. */
  write(line: string): void
  /** Lines that were held are written from now on. */
  release(): void
  /**
   * Writes the rest; resolves when it is written, or when the reader does not take it in time. Later lines
   * are dropped.
   */
  end(): Promise<void>
}

/** Characters gathered before they are written, and the longest they wait (ms). */
const pieceSize = 65_536
const longestWaitMs = 200
/** When the reader stops reading, this many bytes are kept; then lines are dropped. */
const mostHeld = 16_777_216
/** How long a process that ends waits for a full pipe. */
const lastWaitMs = 2_000

const linesOf = (piece: string): number => piece.split('\n').length - 1

/** Writes the rest, or as much as the reader takes in time. */
const finish = (stream: InstanceType<typeof SonicBoom>): Promise<void> =>
  new Promise((resolve) => {
    stream.once('close', resolve)
    stream.once('error', () => resolve())
    setTimeout(resolve, lastWaitMs).unref()
    stream.end()
  })

/** `held`: nothing is written before `release` or `end`. */
export const createLineWriter = (fd: number, held = false): LineWriter => {
  // Writing to a file takes less time than handing the write to a thread.
  const stream = new SonicBoom({ fd, sync: fstatSync(fd).isFile(), maxLength: mostHeld })
  let gathered = ''
  let lost = 0
  let ended: Promise<void> | undefined

  const send = (): void => {
    if (held) return
    if (!ended && gathered !== '') stream.write(gathered)
    gathered = ''
  }
  stream.on('drop', (piece: string) => {
    lost += linesOf(piece)
  })
  stream.on('drain', () => {
    if (lost > 0) gathered += `{"level":"warn","event":"log.lost","lines":${lost}}\n`
    lost = 0
  })
  stream.on('error', ({ code }: NodeJS.ErrnoException) => {
    // The reader is gone. After any other error, such as a full disk (ENOSPC), the same bytes are written
    // again.
    if (code !== 'EPIPE') return
    ended ??= Promise.resolve()
    stream.destroy()
  })
  setInterval(send, longestWaitMs).unref()

  return {
    write(line) {
      gathered += line
      if (gathered.length >= pieceSize) send()
    },
    release() {
      held = false
    },
    end() {
      held = false
      send()
      ended ??= finish(stream)
      return ended
    },
  }
}

export interface NodeLog {
  readonly log: Log
  /** Text for standard error that is not an event. */
  stderr(text: string): void
  /** What was held is written from now on. */
  release(): void
  /** Writes what is left before the process ends; bounded in time. */
  end(): Promise<void>
}

/** Standard error, `held` or not. */
const createStderr = (held: boolean): Pick<NodeLog, 'stderr' | 'release'> => {
  let waiting = held ? '' : undefined
  return {
    stderr(text) {
      if (waiting === undefined) process.stderr.write(text)
      else waiting += text
    },
    release() {
      if (waiting) process.stderr.write(waiting)
      waiting = undefined
    },
  }
}

/**
 * One JSON line per event, written in large pieces by a writer that never blocks. `held`: nothing is written
 * before `release` or `end`. `writer`: where others write lines too.
 */
export const createJsonLog = (
  least: LogLevel,
  held = false,
  writer: LineWriter = createLineWriter(1, held),
): NodeLog => {
  const { stderr, release } = createStderr(held)
  let time = 0
  let ts = ''
  return {
    log: (level, event, fields = {}, audit = false, json) => {
      if (!audit && logOrder[level] < logOrder[least]) return
      const now = Date.now()
      if (now !== time) {
        time = now
        ts = new Date(now).toISOString()
      }
      writer.write(`${logLine({ level, ts, event, fields, audit, json })}\n`)
    },
    stderr,
    release() {
      release()
      writer.release()
    },
    end() {
      release()
      return writer.end()
    },
  }
}

// Escape sequences in a field must not control the terminal, and no character may change the reading
// direction or end the line.
const plain = (value: unknown): string => {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
  return text
    .replaceAll(/[\u0000-\u001F\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/g, ' ')
    .slice(0, 300)
}

const signs: Readonly<Record<LogLevel, string>> = { error: '✖', warn: '⚠', info: '·', debug: '·' }

const words = (fields: LogFields, names: readonly string[]): string =>
  names
    .map((name) => fields[name])
    .filter((value) => value !== undefined && value !== null && value !== '')
    .map(plain)
    .join(' ')

/** `502 upstream.unreachable POST /jira/mcp: connect ECONNREFUSED 127.0.0.1:9 (request 4f0c…)` */
const refusedWords = (fields: LogFields): string =>
  [
    words(fields, ['status', 'refusal', 'method', 'path']),
    fields['why'] ? `: ${plain(fields['why'])}` : '',
    fields['request_id'] === undefined ? '' : ` (request ${plain(fields['request_id'])})`,
  ].join('')

const callWords = (fields: LogFields): string =>
  `${words(fields, ['service', 'http', 'method', 'name', 'result', 'status'])} ${plain(fields['duration_ms'])} ms`

const otherWords = (fields: LogFields): string =>
  Object.entries(fields)
    .filter(([name, value]) => !isSecretName(name) && name !== 'event' && value !== undefined)
    .map(([name, value]) => `${name}=${plain(value)}`)
    .join(' ')

const wordsOf = (event: string, fields: LogFields): string =>
  event === 'refused' ? refusedWords(fields) : event === 'call' ? callWords(fields) : otherWords(fields)

/**
 * For a terminal: one short line per event of the level. A terminal keeps no audit trail, so audit events
 * have no exception here.
 */
export const createTerminalLog = (least: LogLevel, held = false): NodeLog => {
  const { stderr, release } = createStderr(held)
  return {
    log: (level, event, fields = {}, audit = false) => {
      if (logOrder[level] < logOrder[least]) return
      // A refused call already has a line of its own.
      if (audit && event === 'call' && fields['refusal'] !== undefined) return
      stderr(`${signs[level]} ${event} ${wordsOf(event, fields)}\n`)
    },
    stderr,
    release,
    end() {
      release()
      return Promise.resolve()
    },
  }
}
