// The log on Node: JSON lines on standard output off a terminal, short lines on standard error at one. Buffered, flushed when the process ends.
import { isSecretName, logLine, logOrder } from '../kit/log-line.ts'
import type { LogFields } from '../kit/log-line.ts'
import type { Log, LogLevel } from '../ports/runtime.ts'
import { createLineWriter } from './line-writer.ts'

export interface NodeLog {
  readonly log: Log
  /** Writes what is left before the process ends; bounded in time. */
  end(): Promise<void>
}

/** One JSON line an event, written in large pieces by a writer that never blocks. */
export const createJsonLog = (least: LogLevel): NodeLog => {
  const writer = createLineWriter(1)
  let time = 0
  let ts = ''
  return {
    log: (level, event, fields = {}, audit = false) => {
      if (!audit && logOrder[level] < logOrder[least]) return
      const now = Date.now()
      if (now !== time) {
        time = now
        ts = new Date(now).toISOString()
      }
      writer.write(`${logLine({ level, ts, event, fields, audit })}\n`)
    },
    end: () => writer.end(),
  }
}

// Escape sequences in a field must not drive the terminal, nor characters that turn the reading direction or end a line.
const plain = (value: unknown): string => {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
  return text.replaceAll(/[\u0000-\u001F\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/g, ' ').slice(0, 300)
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

const callWords = (fields: LogFields): string => `${words(fields, ['service', 'http', 'method', 'name', 'result', 'status'])} ${plain(fields['duration_ms'])} ms`

const otherWords = (fields: LogFields): string =>
  Object.entries(fields)
    .filter(([name, value]) => !isSecretName(name) && name !== 'event' && value !== undefined)
    .map(([name, value]) => `${name}=${plain(value)}`)
    .join(' ')

const wordsOf = (event: string, fields: LogFields): string => (event === 'refused' ? refusedWords(fields) : event === 'call' ? callWords(fields) : otherWords(fields))

/** For a person at a terminal, at the level they asked for: one short line an event. Nobody keeps what a terminal shows, so the audit trail has no exception here. */
export const createTerminalLog = (least: LogLevel): NodeLog => ({
  log: (level, event, fields = {}, audit = false) => {
    if (logOrder[level] < logOrder[least]) return
    // A call that was refused has its own line already.
    if (audit && event === 'call' && fields['refusal'] !== undefined) return
    process.stderr.write(`${signs[level]} ${event} ${wordsOf(event, fields)}\n`)
  },
  end: () => Promise.resolve(),
})
