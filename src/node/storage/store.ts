// The configured store. Expired records are swept while it is open.
import { join } from 'node:path'
import type { Config } from '../../config/schema.ts'
import type { Log } from '../../ports/runtime.ts'
import type { Store, SweptStore } from '../../ports/store.ts'
import { createMemoryStore } from '../../stores/memory.ts'
import { openSqliteStore } from './sqlite.ts'

// Expired records are deleted in small batches between requests. Only disk space depends on when.

const batch = 200
const pauseMs = 30_000
/** While more are expired: some thousand records a second, a few milliseconds of the event loop at a time. */
const soonMs = 50

/**
 * Sweeps until the returned function is called. It does not keep the process running, and survives outages of
 * the storage.
 */
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

interface StoreDeps {
  readonly config: Pick<Config, 'storage'>
  readonly stateDir: string
  readonly now: () => number
  readonly log: Log
}

/**
 * Throws `Refusal('storage.unavailable')` when the state directory cannot hold the database. There is no
 * fallback store.
 */
export const openStore = ({
  config,
  stateDir,
  now,
  log,
}: StoreDeps): { readonly store: Store; readonly close: () => void } => {
  const { store, close } =
    config.storage.type === 'memory'
      ? { store: createMemoryStore({ now }), close: () => undefined }
      : openSqliteStore(join(stateDir, 'postern.db'), { now })
  const stopSweeping = startSweeping(store, log)
  return {
    store,
    close() {
      stopSweeping()
      close()
    },
  }
}
