// Ends processes with everything they started, also when the gateway dies suddenly: the reaper outlives it by a
// few seconds.
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { getCompileCacheDir } from 'node:module'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

// Ends a process and everything it started: its group, and on Linux every process that carries its mark after
// leaving the group.

/** Marks a process and everything it starts, so that all of it can be found. */
export const markName = 'POSTERN_PROCESS'

/** Processes anywhere that carry the mark in their environment; empty where there is no /proc. */
export const processesOf = (mark: string): readonly number[] => {
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

/** False when there is no such process. */
const signalTo = (pid: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

/** Signals the group that the process leads, and processes of the mark outside the group. */
export const signalAll = (leader: number, mark: string, signal: NodeJS.Signals): void => {
  if (process.platform === 'win32') {
    // There are no groups to signal; the tree is ended as a whole.
    spawn('taskkill', ['/PID', String(leader), '/T', '/F'], { stdio: 'ignore', windowsHide: true }).on(
      'error',
      () => undefined,
    )
    return
  }
  signalTo(-leader, signal)
  for (const pid of processesOf(mark)) signalTo(pid, signal)
}

/**
 * The state and the group of a process, from proc_pid_stat(5); its name, which comes before, may hold
 * anything.
 */
const isRunningIn = (pid: string, group: number): boolean => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const [state, , itsGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return Number(itsGroup) === group && state !== 'Z' && state !== 'X'
  } catch {
    // Gone meanwhile.
    return false
  }
}

/**
 * A process that has ended keeps its group until its parent collects it, which the first process of a
 * container may never do.
 */
const isGroupRunning = (leader: number): boolean => {
  if (process.platform === 'win32' || !signalTo(-leader, 0)) return false
  if (process.platform !== 'linux') return true
  try {
    return readdirSync('/proc').some((name) => /^\d+$/.test(name) && isRunningIn(name, leader))
  } catch {
    return true
  }
}

/** Whether anything of the group or the mark still runs. */
export const anythingLeft = (leader: number, mark: string): boolean =>
  isGroupRunning(leader) || processesOf(mark).length > 0

// The reaper is this file in a process of its own. The gateway tells it, through a pipe, which processes run.

export interface OrphanReaper {
  watch(leader: number, mark: string): void
  forget(leader: number): void
  close(): void
}

/**
 * Its whole environment: where the gateway keeps compiled code. Without that Node compiles this file anew, and in
 * a checkout loads first what strips its types, which needs more memory than the reaper.
 */
const environment = (): Readonly<Record<string, string>> => {
  const folder = getCompileCacheDir()
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: folder }
}

/** The reaper's process starts with the first process to watch. */
export const createOrphanReaper = (): OrphanReaper => {
  let reaper: ChildProcess | undefined
  const watched = new Map<number, string>()
  const send = (line: string): void => void reaper?.stdin?.write(`${line}\n`)
  const begin = (): void => {
    const started = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', fileURLToPath(import.meta.url)],
      {
        stdio: ['pipe', 'ignore', 'ignore'],
        detached: true,
        env: environment(),
        windowsHide: true,
      },
    )
    reaper = started
    started.stdin.on('error', () => undefined)
    started.on('error', () => undefined)
    // Somebody ended it: another one takes its place while there is anything to watch.
    started.on('exit', () => {
      if (reaper !== started) return
      reaper = undefined
      if (watched.size > 0) setTimeout(resume, 1000).unref()
    })
    // It must not keep the gateway running.
    started.unref()
    const { stdin } = started
    if ('unref' in stdin && typeof stdin.unref === 'function') stdin.unref()
  }
  const resume = (): void => {
    if (reaper || watched.size === 0) return
    begin()
    for (const [leader, mark] of watched) send(`+${leader} ${mark}`)
  }
  return {
    watch(leader, mark) {
      watched.set(leader, mark)
      if (reaper) send(`+${leader} ${mark}`)
      else resume()
    },
    forget(leader) {
      if (watched.delete(leader)) send(`-${leader}`)
    },
    close() {
      const ending = reaper
      reaper = undefined
      ending?.stdin?.end()
    },
  }
}

/** Well-behaved servers end by themselves when their input does. */
const graceMs = 2000
const termMs = 2000

/**
 * The reaper's own process. It reads which processes run. When its input ends while some still run, the
 * gateway is dead, and the reaper ends them.
 */
const reap = async (): Promise<void> => {
  const running = new Map<number, string>()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
  for await (const line of createInterface({ input: process.stdin })) {
    const [, sign, leader, mark = ''] = /^([+-])(\d+)(?: (\S+))?$/.exec(line) ?? []
    if (sign === '+') running.set(Number(leader), mark)
    else if (sign === '-') running.delete(Number(leader))
  }
  const left = (): [number, string][] => [...running].filter(([leader, mark]) => anythingLeft(leader, mark))
  for (const [signal, ms] of [
    ['SIGTERM', graceMs],
    ['SIGKILL', termMs],
  ] as const) {
    for (let waited = 0; waited < ms && left().length > 0; waited += 200) await pause(200)
    for (const [leader, mark] of left()) signalAll(leader, mark, signal)
  }
}

if (import.meta.main)
  reap().then(
    () => process.exit(0),
    () => process.exit(1),
  )
