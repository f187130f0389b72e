// The log on Node: JSON lines on standard output off a terminal, short lines on standard error at one. Buffered, flushed when the process ends.
import { jsonLine } from '../kit/json-line.ts'
import type { Log, LogLevel } from '../ports/runtime.ts'
import { createLineWriter } from './line-writer.ts'

const order: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50 }

/** Field names that never reach a log, whatever a caller passes by mistake. */
const secretNames = ['token', 'access_token', 'refresh_token', 'code', 'code_verifier', 'client_secret', 'password', 'cookie', 'authorization', 'secret', 'state', 'assertion', 't']

export interface NodeLog {
  readonly log: Log
  flush(): void
}

const redacted = (fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => {
  for (const name of secretNames) if (name in fields) return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, secretNames.includes(key) ? '[redacted]' : value]))
  return fields
}

/**
 * One JSON line an event: `{"level":"info","ts":"2026-…Z","event":"call",…}`. Strings are escaped, so no field can forge a line. Lines are
 * put together here because every call writes one, and written in large pieces by a writer that never blocks.
 */
export const createJsonLog = (level: LogLevel): NodeLog => {
  const writer = createLineWriter(1)
  let time = 0
  let stamp = ''
  return {
    log: (lineLevel, event, fields = {}) => {
      if (order[lineLevel] < order[level]) return
      const now = Date.now()
      if (now !== time) {
        time = now
        stamp = new Date(now).toISOString()
      }
      const facts = jsonLine(redacted(fields)).slice(1)
      // What is recorded for the audit trail names its event itself.
      const mark = fields['event'] === event ? '"audit":true' : `"event":${JSON.stringify(event)}`
      writer.write(`{"level":"${lineLevel}","ts":"${stamp}",${mark}${facts === '}' ? '' : ','}${facts}\n`)
    },
    flush: () => writer.flushSync(),
  }
}

// Escape sequences in a field must not drive the terminal, nor characters that turn the reading direction or end a line.
const plain = (value: unknown): string => String(value).replaceAll(/[\u0000-\u001F\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/g, ' ').slice(0, 300)

/** For a person at a terminal: warnings and errors, and everything with `debug`. */
export const createTerminalLog = (level: LogLevel): NodeLog => {
  const least = Math.max(order[level], level === 'debug' ? order.debug : order.warn)
  return {
    log: (lineLevel, event, fields = {}) => {
      if (order[lineLevel] < least) return
      const facts = Object.entries(fields)
        .filter(([name]) => !secretNames.includes(name) && name !== 'event')
        .map(([name, value]) => `${name}=${plain(typeof value === 'object' ? JSON.stringify(value) : value)}`)
      process.stderr.write(`${lineLevel === 'error' ? '✖' : lineLevel === 'warn' ? '⚠' : '·'} ${event} ${facts.join(' ')}\n`)
    },
    flush: () => undefined,
  }
}
