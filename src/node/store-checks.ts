// What can be trusted of the server that keeps the records: looked at when it is opened, and again every minute.
import type { Log } from '../ports/runtime.ts'
import type { StoreMeta } from '../stores/meta.ts'
import { unavailable } from './remote-store.ts'

export interface Look {
  /** The gateway cannot work with such a server. */
  readonly faults: readonly string[]
  /** Records can be lost. */
  readonly unsafe: readonly string[]
  /** By how much its clock is ahead of the clock of this computer, ms. */
  readonly offsetMs: number
}

/** Beyond it records live noticeably longer or shorter than the gateway says, ms. */
const mostOffsetMs = 5000
const checkMs = 60_000

interface CheckDeps {
  /** Rejects with `Refusal('storage.unavailable')`. */
  readonly look: () => Promise<Look>
  /** In messages: Redis. */
  readonly server: string
  readonly location: string
  readonly meta: StoreMeta
  readonly requirePersistence: boolean
  readonly log: Log
}

export const createChecks = ({ look, server, location, meta, requirePersistence, log }: CheckDeps) => {
  /** Said already: it is looked again and again, and said when it becomes so. */
  let told: { readonly unsafe: readonly string[]; readonly clock: boolean } = { unsafe: [], clock: false }
  const warn = ({ unsafe, offsetMs }: Look): void => {
    const clock = Math.abs(offsetMs) > mostOffsetMs
    const before = told
    told = { unsafe, clock }
    for (const message of unsafe)
      if (!before.unsafe.includes(message)) log('warn', 'storage.unsafe', { location, message })
    if (clock && !before.clock)
      log('warn', 'storage.clock', {
        location,
        message: `the clock of ${server} differs by ${Math.round(offsetMs / 1000)} s from the clock of this computer`,
      })
  }
  const again = async (): Promise<void> => {
    const found = await look()
    warn({ ...found, unsafe: [...found.faults, ...found.unsafe] })
    if ((await meta.check()) === 'made')
      log('error', 'storage.emptied', {
        location,
        message: 'all records are gone: users have to sign in again',
      })
  }
  return {
    /** Rejects with `Refusal('storage.unavailable')` where the server must not be used. */
    async start(): Promise<void> {
      const found = await look()
      const [fault] = [...found.faults, ...(requirePersistence ? found.unsafe : [])]
      if (fault !== undefined) throw unavailable(fault)
      warn(found)
      await meta.check()
    },
    again,
    /** Looks every minute, until the returned function is called. */
    every(): () => void {
      const checking = setInterval(() => void again().catch(() => undefined), checkMs).unref()
      return () => clearInterval(checking)
    },
  }
}
