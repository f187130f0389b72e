// What the thread of the audit trail does now and then, in idle moments: signs the ends of all chains, makes indexes,
// removes what is too old, and looks after the disk and the file.
import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { identityOf } from './audit-damaged.ts'
import type { AuditWriter } from '../stores/audit-append.ts'

/** While there is more to do, and afterwards. */
const busyMs = 200
const restMs = 60_000
/** Below this share of the disk somebody has to be told. */
const leastFree = 0.05
/** So much of the file is kept free then, or an eighth: it does not shrink, what is removed is written over. */
const reserveBytes = 67_108_864
const reserveShare = 1 / 8

/** What the chores tell the process. */
export type FromChores =
  /** The trail is to be verified, which has not been done for a day. */
  | 'verify'
  /** Share of the disk that is free, and whether that is too little. */
  | { readonly free: number; readonly low: boolean }

export interface ChoresOptions {
  readonly path: string
  readonly writer: Pick<AuditWriter, 'anchor' | 'tidy' | 'room' | 'removeOldest' | 'claimVerification'>
  /** Does what may fail for a while. */
  readonly later: (work: () => void) => void
  readonly say: (said: FromChores) => void
  /** Whether the oldest events make room where the disk is nearly full. */
  readonly makeRoom: boolean
  /** Share of the disk that is free. */
  readonly freeShare?: (path: string) => number
}

const freeOfDisk = (path: string): number => {
  const { bavail, blocks } = statfsSync(dirname(path))
  return blocks === 0 ? 1 : bavail / blocks
}

const isFull = (writer: Pick<AuditWriter, 'room'>): boolean => {
  const { free, size } = writer.room()
  return free < Math.min(reserveBytes, size * reserveShare)
}

/** Does all of it once; true when there is more to do. */
export const doChores = (
  { path, writer, say, makeRoom, freeShare = freeOfDisk }: Omit<ChoresOptions, 'later'>,
  now: number,
): boolean => {
  const free = freeShare(path)
  const low = free < leastFree
  say({ free, low })
  if (makeRoom && low && isFull(writer) && writer.removeOldest(now, 'disk')) return true
  writer.anchor(now)
  if (writer.claimVerification(now)) say('verify')
  return writer.tidy(now)
}

/** Returns what ends them. */
export const startChores = (options: ChoresOptions): (() => void) => {
  const { path, later } = options
  const opened = identityOf(path)
  let timer: NodeJS.Timeout | undefined
  const run = (): void => {
    // What is written to a file that is gone is found by nobody.
    if (identityOf(path) !== opened) throw new Error(`${path} was moved or removed`)
    let more = false
    later(() => {
      more = doChores(options, Date.now())
    })
    timer = setTimeout(run, more ? busyMs : restMs).unref()
  }
  run()
  return () => clearTimeout(timer)
}
