// What ends a running gateway from outside, and what must not: signals, a reader of its output that went away, a fault nobody caught.
import type { NodeLog } from '../node/log.ts'

/** Exit codes of a gateway that ran (users.md 5.4). */
export const exitCodes = { inOrder: 0, forced: 2, unclean: 3 } as const

/** A terminal and the program that runs us may both pass on one Control-C; somebody who insists takes longer. */
const sameGestureMs = 100

/** Ends the process as soon as the log is written. */
const exitAfter = (log: NodeLog, code: number): void => {
  const exit = (): never => process.exit(code)
  log.end().then(exit, exit)
}

export interface Asked {
  /** Whether there is a terminal, whose going away (SIGHUP) ends what it began. */
  readonly terminal: boolean
  readonly log: NodeLog
  /** What SIGHUP asks of a gateway without a terminal: to read its configuration again. */
  readonly again: () => void
}

/** Resolves with the first SIGTERM or SIGINT. A second one ends the process at once with exit code 2. */
export const untilAsked = ({ terminal, log, again }: Asked): Promise<NodeJS.Signals> =>
  new Promise((resolve) => {
    let since: number | undefined
    const end = (signal: NodeJS.Signals): void => {
      const now = performance.now()
      if (since !== undefined && now - since > sameGestureMs) {
        exitAfter(log, exitCodes.forced)
        return
      }
      since ??= now
      resolve(signal)
    }
    process.on('SIGTERM', end)
    process.on('SIGINT', end)
    process.on('SIGHUP', () => (terminal ? end('SIGHUP') : again()))
  })

/** Whoever stopped reading what a running gateway prints wanted to hear no more; its clients still want to be served. */
export const outliveReaders = (): void => {
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners('error')
    stream.on('error', () => undefined)
  }
}

/** What no room caught is told before anything else. An exception leaves nobody knows what behind and ends the process; a promise nobody waited for does not. */
export const tellFaults = (log: NodeLog): void => {
  const why = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error))
  process.on('unhandledRejection', (error) => log.log('error', 'fault.unhandled-rejection', { why: why(error) }))
  process.on('uncaughtException', (error) => {
    log.log('error', 'fault.uncaught-exception', { why: why(error) })
    exitAfter(log, exitCodes.unclean)
  })
}
