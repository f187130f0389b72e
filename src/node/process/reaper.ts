// Survives the gateway by a few seconds: should the gateway die without a word, its guard ends what it left behind. The pipe between the two says which.
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface OrphanReaper {
  watch(leader: number, mark: string): void
  forget(leader: number): void
  close(): void
}

const script = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './reaper-process.ts' : './guard-process.js', import.meta.url),
)

/** The guard's own process begins with the first that is watched. */
export const createOrphanReaper = (): OrphanReaper => {
  let guard: ChildProcess | undefined
  const watched = new Map<number, string>()
  const tell = (line: string): void => void guard?.stdin?.write(`${line}\n`)
  const begin = (): void => {
    const started = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      env: {},
      windowsHide: true,
    })
    guard = started
    started.stdin.on('error', () => undefined)
    started.on('error', () => undefined)
    // Somebody ended it: another takes its place as long as there is anything to guard.
    started.on('exit', () => {
      if (guard !== started) return
      guard = undefined
      if (watched.size > 0) setTimeout(resume, 1000).unref()
    })
    // It must not keep the gateway alive; the other way round it is meant to.
    started.unref()
    const { stdin } = started
    if ('unref' in stdin && typeof stdin.unref === 'function') stdin.unref()
  }
  const resume = (): void => {
    if (guard || watched.size === 0) return
    begin()
    for (const [leader, mark] of watched) tell(`+${leader} ${mark}`)
  }
  return {
    watch(leader, mark) {
      watched.set(leader, mark)
      if (guard) tell(`+${leader} ${mark}`)
      else resume()
    },
    forget(leader) {
      if (watched.delete(leader)) tell(`-${leader}`)
    },
    close() {
      const ending = guard
      guard = undefined
      ending?.stdin?.end()
    },
  }
}
