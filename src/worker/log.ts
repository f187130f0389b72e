// The log of a Worker: one JSON object an event on the console, which Workers Logs, Logpush and `wrangler tail` take as it is.
import { jsonLine } from '../kit/json-line.ts'
import type { Log, LogLevel } from '../ports/runtime.ts'

const order: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50 }

/** Writes events of at least that level. */
export const createLog =
  (least: LogLevel): Log =>
  (level, event, fields = {}) => {
    // oxlint-disable-next-line no-console -- the console is where a Worker's log goes
    if (order[level] >= order[least]) console.log(jsonLine({ level, event, ...fields }))
  }
