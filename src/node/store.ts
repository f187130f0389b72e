// The store that the configuration names, kept free of expired records while it is open.
import { join } from 'node:path'
import type { Config } from '../config/schema.ts'
import type { Log } from '../ports/runtime.ts'
import type { Store } from '../ports/store.ts'
import { createMemoryStore } from '../stores/memory.ts'
import { openSqliteStore } from './sqlite.ts'
import { startSweeping } from './sweep.ts'

interface StoreDeps {
  readonly config: Pick<Config, 'storage'>
  readonly stateDir: string
  readonly now: () => number
  readonly log: Log
}

/** Throws `Refusal('storage.unavailable')` when the state directory cannot hold the database. There is no other store to fall back to. */
export const openStore = ({ config, stateDir, now, log }: StoreDeps): { readonly store: Store; readonly close: () => void } => {
  const { store, close } = config.storage.type === 'memory' ? { store: createMemoryStore({ now }), close: () => undefined } : openSqliteStore(join(stateDir, 'postern.db'), { now })
  const stopSweeping = startSweeping(store, log)
  return {
    store,
    close() {
      stopSweeping()
      close()
    },
  }
}
