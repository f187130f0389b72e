// Keys at the terminal while the gateway runs: l prints a new sign-in link, h lists the keys, q stops the
// gateway.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { printable } from '../config/tree.ts'
import type { Gateway } from '../gateway.ts'
import type { NodeLog } from '../node/log.ts'
import type { Log } from '../ports/runtime.ts'

const help = '  l  new sign-in link      q  stop      h  help\n'

/** Reads keys from standard input, a terminal in the foreground, until the returned function is called. */
export const listenKeys = (gateway: Gateway): (() => void) => {
  const { stdin, stdout } = process
  const printLink = (): void => {
    gateway.links.mint().then(
      (secret) =>
        stdout.write(
          `  Sign-in link  ${gateway.directory.issuer}/?t=${secret}   (one-time link, valid 15 minutes)\n`,
        ),
      () => stdout.write('  Cannot create a link: the storage is not responding.\n'),
    )
  }
  const press = (text: string): void => {
    for (const key of text) {
      if (key === 'l' && gateway.links.enabled) printLink()
      else if (key === 'h') stdout.write(gateway.links.enabled ? help : help.slice(help.indexOf('q') - 2))
      else if (key === 'q' || key === '\u0003') process.kill(process.pid, 'SIGINT')
    }
  }
  // Reading from a terminal that is gone fails; SIGHUP reports it too.
  stdin.on('error', () => undefined)
  stdin.setRawMode(true)
  stdin.setEncoding('utf8')
  stdin.on('data', press)
  stdin.unref()
  return () => {
    stdin.off('data', press)
    stdin.setRawMode(false)
    stdin.pause()
  }
}

// What ends a running gateway, and what must not: signals, closed output, uncaught errors.

/** Exit codes of a gateway that ran . */
export const exitCodes = { inOrder: 0, forced: 2, unclean: 3 } as const

/** The terminal and the parent program may both send one Control-C; a second key press takes longer. */
const sameGestureMs = 100

/** Ends the process as soon as the log is written. */
const exitAfter = (log: NodeLog, code: number): void => {
  const exit = (): never => process.exit(code)
  log.end().then(exit, exit)
}

export interface StopSignal {
  /** Whether there is a terminal. If so, SIGHUP means that it is gone and ends the gateway. */
  readonly terminal: boolean
  readonly log: NodeLog
  /** Called for SIGHUP without a terminal: reloads the configuration. */
  readonly again: () => void
}

/** Resolves with the first SIGTERM or SIGINT. A second one ends the process at once with exit code 2. */
export const untilSignal = ({ terminal, log, again }: StopSignal): Promise<NodeJS.Signals> =>
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

/** A gateway keeps serving its clients when the reader of its output is gone. */
export const ignoreClosedOutput = (): void => {
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners('error')
    stream.on('error', () => undefined)
  }
}

/**
 * Logs uncaught errors. An exception ends the process, because its state is unknown then; an unhandled
 * rejection does not.
 */
export const logFaults = (log: NodeLog): void => {
  const why = (error: unknown): string =>
    error instanceof Error ? (error.stack ?? error.message) : String(error)
  process.on('unhandledRejection', (error) =>
    log.log('error', 'fault.unhandled-rejection', { why: why(error) }),
  )
  process.on('uncaughtException', (error) => {
    log.log('error', 'fault.uncaught-exception', { why: why(error) })
    exitAfter(log, exitCodes.unclean)
  })
}

// Whether this process is in the foreground of its terminal.

/**
 * Process group and the terminal's foreground group, as proc(5) says (after the name, which may hold
 * anything) or as ps(1) does.
 */
const groups = (): readonly [string | undefined, string | undefined] => {
  try {
    const [, , , group, , , foreground] = readFileSync('/proc/self/stat', 'utf8')
      .replace(/^.*\)/s, '')
      .split(' ')
    return [group, foreground]
  } catch {
    const [group, foreground] = (
      spawnSync('ps', ['-o', 'pgid=,tpgid=', '-p', String(process.pid)], { encoding: 'utf8' }).stdout ?? ''
    )
      .trim()
      .split(/\s+/)
    return [group, foreground]
  }
}

/**
 * The system stops a background job (`postern &`) that changes its terminal's settings or reads from it
 * (SIGTTOU, SIGTTIN).
 */
export const inForeground = (): boolean => {
  if (process.platform === 'win32') return true
  const [group, foreground] = groups()
  return group !== undefined && group === foreground
}

// Prints the standard error of a wrapped server, line by line.

/**
 * The log, which also prints `process.stderr` events at every level. Escape sequences of the server do not
 * reach the terminal.
 */
export const withStderr =
  (log: Log, write: (text: string) => void): Log =>
  (level, event, fields, audit) => {
    const text = event === 'process.stderr' ? fields?.['text'] : undefined
    if (typeof text === 'string')
      for (const line of text.split('\n')) if (line.trim() !== '') write(`  │ ${printable(line, 500)}\n`)
    log(level, event, fields, audit)
  }
