// Expired records leave the store in small batches between requests; nothing but space depends on when.
import type { Log } from '../ports/runtime.ts'
import type { SweptStore } from '../ports/store.ts'

const batch = 200
const pauseMs = 30_000
/** While more is waiting: some thousand records a second, a few milliseconds of the event loop at a time. */
const soonMs = 50

/** Sweeps until the returned function is called. Never keeps the process alive, and never ends because the storage was away for a while. */
export const startSweeping = (store: Pick<SweptStore, 'sweep'>, log: Log): (() => void) => {
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  const after = (ms: number): void => {
    if (!stopped) timer = setTimeout(() => void sweep(), ms).unref()
  }
  const sweep = (): Promise<void> =>
    store.sweep(batch).then(
      (gone) => after(gone === batch ? soonMs : pauseMs),
      (error: unknown) => {
        log('warn', 'sweep.failed', { why: String(error) })
        after(pauseMs)
      },
    )
  after(pauseMs)
  return () => {
    stopped = true
    clearTimeout(timer)
  }
}
