// Whether this process is the one its terminal talks to.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Process group and the terminal's foreground group, as proc(5) says (after the name, which may hold anything) or as ps(1) does. */
const groups = (): readonly [string | undefined, string | undefined] => {
  try {
    const [, , , group, , , foreground] = readFileSync('/proc/self/stat', 'utf8').replace(/^.*\)/s, '').split(' ')
    return [group, foreground]
  } catch {
    const [group, foreground] = (spawnSync('ps', ['-o', 'pgid=,tpgid=', '-p', String(process.pid)], { encoding: 'utf8' }).stdout ?? '').trim().split(/\s+/)
    return [group, foreground]
  }
}

/** A job in the background (`postern &`) that touches its terminal's settings or reads from it is stopped by the system (SIGTTOU, SIGTTIN). */
export const inForeground = (): boolean => {
  if (process.platform === 'win32') return true
  const [group, foreground] = groups()
  return group !== undefined && group === foreground
}
