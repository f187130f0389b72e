// What is remembered of processes that failed: the last few for the operator, and whether the command can be started at all.
import type { ServiceState } from '../ports/services.ts'
import type { ProcessEnd } from '../ports/spawn.ts'
import type { Channel } from './channel.ts'

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

export const known = (owner: string, { process, startedAt }: Channel): KnownProcess => ({ owner, pid: process.pid, startedAt, stderr: process.stderr() })

export interface Failures {
  /** A process is over. `probe`: it was only asked what it is. */
  ended(owner: string, channel: Channel, end: ProcessEnd, probe: boolean): void
  /** The newest last. */
  readonly all: readonly FailedProcess[]
  /** `degraded` after a process that could not start, or ended or was given up without a word; until another has spoken. */
  readonly state: ServiceState
}

/** `startMs`: how long a process has to say something. */
export const createFailures = (now: () => number, startMs: number): Failures => {
  const all: FailedProcess[] = []
  let state: ServiceState = 'unknown'
  return {
    all,
    get state() {
      return state
    },
    ended(owner, channel, { kind, why }, probe) {
      // A server of before may end when it is asked what it is; one that is stopped early has had no time to speak.
      const dumb = kind === 'stopped' ? now() - channel.startedAt >= startMs : kind === 'refused' || !probe
      if (channel.spoke()) state = 'healthy'
      else if (dumb) state = 'degraded'
      if (kind === 'stopped' || probe) return
      all.push({ ...known(owner, channel), endedAt: now(), why })
      if (all.length > mostFailed) all.shift()
    },
  }
}
