// The log on Node: JSON lines on standard output off a terminal, short lines on standard error at one. Buffered, flushed when the process ends.
import pino from 'pino'
import type { Log, LogLevel } from '../ports/runtime.ts'

const order: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50 }

/** Field names that never reach a log, whatever a caller passes by mistake. */
const secretNames = ['token', 'access_token', 'refresh_token', 'code', 'code_verifier', 'client_secret', 'password', 'cookie', 'authorization', 'secret', 'state', 'assertion', 't']

export interface NodeLog {
  readonly log: Log
  flush(): void
}

/** One JSON line an event: `{"level":"info","ts":"2026-…Z","event":"call",…}`. Strings are escaped, so no field can forge a line. */
export const createJsonLog = (level: LogLevel): NodeLog => {
  const destination = pino.destination({ dest: 1, sync: false, minLength: 8192 })
  const logger = pino(
    {
      level,
      base: null,
      messageKey: 'event',
      timestamp: () => `,"ts":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secretNames, censor: '[redacted]' },
    },
    destination,
  )
  const pulse = setInterval(() => destination.flush(), 200)
  pulse.unref()
  return {
    log: (lineLevel, event, fields = {}) => logger[lineLevel](fields, event),
    flush: () => {
      clearInterval(pulse)
      try {
        destination.flushSync()
      } catch {
        // Nobody reads standard output any more (EPIPE, EAGAIN): there is nowhere left to say it.
      }
    },
  }
}

// Escape sequences in a field must not drive the terminal.
const plain = (value: unknown): string => String(value).replaceAll(/[\u0000-\u001F\u007F-\u009F]/g, ' ').slice(0, 300)

/** For a person at a terminal: warnings and errors, and everything with `debug`. */
export const createTerminalLog = (level: LogLevel): NodeLog => {
  const least = Math.max(order[level], level === 'debug' ? order.debug : order.warn)
  return {
    log: (lineLevel, event, fields = {}) => {
      if (order[lineLevel] < least) return
      const facts = Object.entries(fields)
        .filter(([name]) => !secretNames.includes(name) && name !== 'audit')
        .map(([name, value]) => `${name}=${plain(typeof value === 'object' ? JSON.stringify(value) : value)}`)
      process.stderr.write(`${lineLevel === 'error' ? '✖' : lineLevel === 'warn' ? '⚠' : '·'} ${event} ${facts.join(' ')}\n`)
    },
    flush: () => undefined,
  }
}
