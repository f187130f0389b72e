// What the operator is told of a service's processes besides how they ended: that they started, what
// isolation keeps from them, and output that is no message.
import type { JsonRpcPeer, JsonRpcPeerDeps } from '../mcp/json-rpc-peer.ts'
import type { ProcessEnd, ServerProcess, Timer } from '../ports/runtime.ts'
import type { ServiceState } from '../ports/services.ts'

/** Characters of one piece of standard error that are logged. */
const mostLogged = 2000
/** Characters of what cannot be read that are logged, and of what is looked through for secrets. */
const mostQuoted = 200
const looked = 4096
/** Lines that are no messages are told of so often in this time; a server may write nothing else. */
const mostTold = 10
const windowMs = 60_000
/** A process that has not answered by then is told of: it may be downloading, or ask for something. */
const slowMs = 10_000

export type ReportToOperator = (
  level: 'debug' | 'info' | 'warn',
  event: string,
  facts: Readonly<Record<string, unknown>>,
) => void

/** A process, as far as is told of it. */
export interface ReportedProcess {
  readonly startedAt: number
  /** `process.stop()` says when it is gone. */
  readonly process: ServerProcess
  /** Whether it has answered anything. */
  spoke(): boolean
  /** How it ended; undefined while it runs. */
  end(): ProcessEnd | undefined
}

export interface ProcessPeer extends JsonRpcPeer, ReportedProcess {}

/** What is heard of one process besides its messages. */
export interface ProcessNoise extends Pick<JsonRpcPeerDeps, 'unexpected' | 'unreadable' | 'listChanged'> {
  /** What it wrote to standard error. */
  readonly complained: (text: string) => void
}

export interface Reports {
  /** For one process, which is there by the time that anything is said. */
  of(owner: string, peer: () => ReportedProcess): ProcessNoise
  /** Tells of a process that says nothing for long after its start, too, until `over` is called. */
  started(owner: string, peer: ReportedProcess): { over(): void }
}

const beginning = (text: string): string =>
  text
    .replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')
    .trim()
    .slice(0, mostQuoted)

export const createReports = (tell: ReportToOperator, now: () => number, timer: Timer): Reports => {
  let since = -Infinity
  let told = 0
  let idleTold = false
  /** What isolation keeps from processes is told once. */
  let isolated: string | undefined

  /**
   * Whether a line that is no message is worth a warning: while a call waits it may be the reason, otherwise
   * the first is enough.
   */
  const isWorthTelling = (waited: boolean): boolean => {
    if (now() - since >= windowMs) {
      since = now()
      told = 0
      idleTold = false
    }
    if (told >= mostTold || (!waited && idleTold)) return false
    told++
    idleTold ||= !waited
    return true
  }

  return {
    of: (owner, peer) => ({
      listChanged: () => tell('debug', 'process.list-changed', { owner, pid: peer().process.pid }),
      unexpected: (what) => tell('debug', 'process.stray', { owner, pid: peer().process.pid, what }),
      unreadable(text, waited) {
        const { pid, conceal } = peer().process
        tell(isWorthTelling(waited) ? 'warn' : 'debug', 'process.unreadable', {
          owner,
          pid,
          waited,
          text: beginning(conceal(text.slice(0, looked))),
        })
      },
      complained: (text) =>
        tell('debug', 'process.stderr', {
          owner,
          pid: peer().process.pid,
          text: text.slice(0, mostLogged).trimEnd(),
        }),
    }),
    started(owner, peer) {
      const { pid, isolation } = peer.process
      tell('debug', 'process.started', { owner, pid, ...(isolation === undefined ? {} : { isolation }) })
      if (isolation !== undefined && isolation !== isolated)
        tell('info', 'process.isolated', { message: isolation })
      isolated = isolation
      const over = timer(slowMs, () => {
        if (peer.spoke() || peer.end()) return
        const message = `has not answered for ${slowMs / 1000} s since its start${peer.process.complaint() || '; it wrote nothing to standard error'}`
        tell('warn', 'process.slow-start', { owner, pid, message })
      })
      return { over }
    },
  }
}

// What is remembered of processes that failed: the last few for the operator, and whether the command can be
// started at all.

/** Processes that failed, kept with what they wrote last. */
const mostFailed = 8

export interface KnownProcess {
  readonly owner: string
  readonly pid: number | undefined
  /** Epoch ms. */
  readonly startedAt: number
  /** The last it wrote to standard error. */
  readonly stderr: string
}

export interface FailedProcess extends KnownProcess {
  /** Epoch ms. */
  readonly endedAt: number
  readonly why: string
}

export const known = (owner: string, { process, startedAt }: ReportedProcess): KnownProcess => ({
  owner,
  pid: process.pid,
  startedAt,
  stderr: process.stderr(),
})

export interface CrashLog {
  /** A process is over. `probe`: it was only asked what it is. */
  ended(owner: string, peer: ReportedProcess, end: ProcessEnd, probe: boolean): void
  /** The newest last. */
  readonly all: readonly FailedProcess[]
  /**
   * `degraded` after a process that could not start, or ended or was given up without a word; until another
   * has spoken.
   */
  readonly state: ServiceState
}

/** `startMs`: how long a process has to say something. */
export const createCrashLog = (now: () => number, startMs: number): CrashLog => {
  const all: FailedProcess[] = []
  let state: ServiceState = 'unknown'
  return {
    all,
    get state() {
      return state
    },
    ended(owner, peer, { kind, why }, probe) {
      // A legacy server may end when it is asked what it is; one that is stopped early has had no time to
      // speak.
      const silent = kind === 'stopped' ? now() - peer.startedAt >= startMs : kind === 'refused' || !probe
      if (peer.spoke()) state = 'healthy'
      else if (silent) state = 'degraded'
      if (kind === 'stopped' || probe) return
      all.push({ ...known(owner, peer), endedAt: now(), why })
      if (all.length > mostFailed) all.shift()
    },
  }
}
