// The log of a Worker: one line per event on the console, for Workers Logs, Logpush and `wrangler tail`.
import { logLine, logOrder } from '../kit/log.ts'
import type { Log, LogLevel } from '../ports/runtime.ts'

/** Writes events of at least that level, and the audit trail whatever the level. `now`: epoch ms. */
export const createLog =
  (least: LogLevel, now: () => number): Log =>
  (level, event, fields = {}, audit = false, json) => {
    if (audit || logOrder[level] >= logOrder[least]) {
      // oxlint-disable-next-line no-console -- the console is where a Worker's log goes
      console.log(logLine({ level, ts: new Date(now()).toISOString(), event, fields, audit, json }))
    }
  }
