// `postern serve`: brings the gateway up, says where it is, and takes it down again in order.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config/schema.ts'
import { createJsonLog, createTerminalLog } from '../node/log.ts'
import type { Log, LogLevel } from '../ports/runtime.ts'
import { startBlock } from './block.ts'
import { bringUp, type Up } from './bring-up.ts'
import { inForeground } from './foreground.ts'
import { type Source, watchConfiguration } from './reload.ts'
import { withStderr } from './server-stderr.ts'
import { exitCodes, outliveReaders, tellFaults, untilAsked } from './signals.ts'
import { openStateDirectory } from './state.ts'

export interface StartOptions {
  readonly config: Config
  /** Where the configuration came from, to be read again. */
  readonly source: Source
  readonly warnings: readonly string[]
  readonly stateDir: string
  /** The variables, a `.env` file's among them. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** The configuration and what it was read from, with their whole paths: isolated servers never see them. */
  readonly privateFiles: readonly string[]
  /** Whether a person reads the output. */
  readonly tty: boolean
  readonly logLevel: LogLevel
  /** Shows what servers that are commands write to standard error. */
  readonly showStderr?: boolean
  /** Id of the service that the command line itself described. */
  readonly wrapped?: string | undefined
  /** Puts a login link into the first line although nobody looks. */
  readonly printLink: boolean
  /** The words before a verb, and a verb as a whole command, to be pasted. */
  readonly program: string
  readonly command: (verb: string) => string
}

/** Longest wait for calls in flight after SIGTERM; with what follows it fits into the 30 s after which Kubernetes and others kill. */
const drainMs = 28_000
/** Longest wait for calls of servers that are commands; ending one takes up to eight seconds more. */
const serversMs = 20_000
/** A program that ends us (SIGTERM) has balancers and clients in mind that come back a moment later on connections they hold; a person at a terminal (SIGINT) waits. */
const lingerMs = 2_000
/** Longest wait for what is still written down after the last answer. */
const afterwardsMs = 1_500

/** Makes the directory where it is missing; true when no gateway ever kept anything in it. */
const openState = (path: string): boolean => openStateDirectory(path) || !['root.key', 'postern.db'].some((name) => existsSync(join(path, name)))

/** Lines wait until the first one, which programs read, has been printed. */
const behindTheFirst = (log: Log): { readonly log: Log; release(): void } => {
  let held: Parameters<Log>[] | undefined = []
  return {
    log: (...line) => (held ? void held.push(line) : log(...line)),
    release() {
      for (const line of held ?? []) log(...line)
      held = undefined
    },
  }
}

/** Answers the exit code. */
const takeDown = async ({ listening, runtime, gateway }: Up, signal: NodeJS.Signals): Promise<number> => {
  const [clean] = await Promise.all([listening.drain({ graceMs: drainMs, lingerMs: signal === 'SIGTERM' ? lingerMs : 0 }), gateway.bridges.close(serversMs)])
  const closed = await Promise.race([runtime.close().then(() => true), new Promise<false>((resolve) => void setTimeout(resolve, afterwardsMs, false).unref())])
  return clean && closed ? exitCodes.inOrder : exitCodes.unclean
}

/** Runs until SIGTERM or SIGINT, then drains; a second signal ends it at once with exit code 2. Throws `StartRefused` when it cannot start. */
export const start = async (options: StartOptions): Promise<void> => {
  const { config, stateDir, tty, logLevel } = options
  const fresh = openState(stateDir)
  const nodeLog = tty ? createTerminalLog(logLevel) : createJsonLog(logLevel)
  const { log, release } = behindTheFirst(options.showStderr ? withStderr(nodeLog.log) : nodeLog.log)
  let ending = false
  const up = await bringUp({ config, stateDir, privateFiles: options.privateFiles, wrapped: options.wrapped, log, env: options.env, draining: () => ending }).catch(async (error: unknown) => {
    release()
    await nodeLog.end()
    throw error
  })
  const { gateway, runtime } = up
  const link = gateway.links.enabled && (tty ? fresh : options.printLink) ? `${gateway.directory.issuer}/?t=${await gateway.links.mint()}` : undefined
  outliveReaders()
  tellFaults(nodeLog)
  // Before anybody is told that the gateway listens: whoever reads that may end it at once.
  const reload = watchConfiguration({ source: options.source, supply: gateway.supply, started: config, log })
  const asked = untilAsked({ terminal: tty, log: nodeLog, again: () => void reload.now() })
  const keys = tty && process.stdin.isTTY && inForeground()
  // Before the block says that they are there.
  const stopKeys = keys ? (await import('./keys.ts')).listenKeys(gateway) : () => undefined
  startBlock({ stateDir, tty, gateway, about: runtime.about, link, fresh, keys, program: options.program, command: options.command, readyMs: Math.round(performance.now()) })
  release()
  for (const message of options.warnings) log('warn', 'config.warning', { message })
  const signal = await asked
  ending = true
  stopKeys()
  reload.stop()
  up.forget()
  process.exitCode = await takeDown(up, signal)
  gateway.record({ event: 'gateway.stopped', issuer: gateway.directory.issuer, version: runtime.about.version, signal, in_order: process.exitCode === exitCodes.inOrder })
  await nodeLog.end()
  // Nothing that is still open (a look-up, an exchange with a provider) is worth waiting for.
  process.exit()
}
