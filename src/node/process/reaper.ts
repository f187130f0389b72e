// The reaper outlives the gateway by a few seconds: if the gateway dies suddenly, it ends the processes that
// the gateway left. The gateway names them through a pipe.
import { type ChildProcess, spawn } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface OrphanReaper {
  watch(leader: number, mark: string): void
  forget(leader: number): void
  close(): void
}

const script = fileURLToPath(new URL(`./reaper-process${extname(import.meta.url)}`, import.meta.url))

/** The reaper's process starts with the first process to watch. */
export const createOrphanReaper = (): OrphanReaper => {
  let reaper: ChildProcess | undefined
  const watched = new Map<number, string>()
  const send = (line: string): void => void reaper?.stdin?.write(`${line}\n`)
  const begin = (): void => {
    const started = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      env: {},
      windowsHide: true,
    })
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
