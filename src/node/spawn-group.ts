// Ending a process and everything it started: its group, and on Linux whatever still carries its mark after leaving the group.
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { markName } from './spawn-environment.ts'

/** Processes anywhere that carry the mark in their environment; empty where there is no /proc. */
export const marked = (mark: string): readonly number[] => {
  const wanted = `${markName}=${mark}`
  let names: string[]
  try {
    names = readdirSync('/proc')
  } catch {
    return []
  }
  return names.flatMap((name) => {
    const pid = Number(name)
    if (!Number.isInteger(pid) || pid === process.pid) return []
    try {
      return readFileSync(`/proc/${name}/environ`, 'latin1').split('\0').includes(wanted) ? [pid] : []
    } catch {
      // Gone meanwhile, or somebody else's.
      return []
    }
  })
}

/** False when nobody was there to hear it. */
export const signalTo = (pid: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

/** Signals the group that the process leads, and stragglers of the mark. */
export const signalAll = (leader: number, mark: string, signal: NodeJS.Signals): void => {
  if (process.platform === 'win32') {
    // There are no groups to signal; the tree is ended as a whole.
    spawn('taskkill', ['/PID', String(leader), '/T', '/F'], { stdio: 'ignore', windowsHide: true }).on('error', () => undefined)
    return
  }
  signalTo(-leader, signal)
  for (const pid of marked(mark)) signalTo(pid, signal)
}

/** Whether anything of the group or the mark still runs. */
export const anythingLeft = (leader: number, mark: string): boolean => (process.platform !== 'win32' && signalTo(-leader, 0)) || marked(mark).length > 0
