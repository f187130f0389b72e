// What is kept while a browser is away at an identity provider: `login-state:{digest of state}`, sealed, for ten minutes and one return.
import { encodeBase64url } from '../kit/bytes.ts'
import { misfitOfRecord } from '../kit/records.ts'
import { sealedRefusal } from '../kit/sealed-with.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Aim } from './aim.ts'
import type { RoundTrip } from './provider.ts'

const lifetimeMs = 600_000

export interface TripRecord {
  readonly provider: string
  readonly trip: RoundTrip
  readonly aim: Aim
  /** Digest of the binding of the browser that went out. */
  readonly browser: string
}

export interface RoundTrips {
  /** 256 bits of chance, of which only a digest is kept. */
  newState(): string
  keep(state: string, record: TripRecord): Promise<void>
  /** Undefined for a state that is unknown or expired. Throws `storage.sealed`. */
  read(state: string): Promise<TripRecord | undefined>
  /** Single use: of two parallel callbacks one gets true. */
  take(state: string): Promise<boolean>
}

const keyOf = ({ digest }: Pick<Runtime, 'digest'>, state: string): string => `login-state:${digest(state)}`

export const createRoundTrips = (runtime: Pick<Runtime, 'random' | 'store' | 'keys' | 'log' | 'digest'>): RoundTrips => ({
  newState: () => encodeBase64url(runtime.random(32)),
  async keep(state, record) {
    const key = keyOf(runtime, state)
    await runtime.store.put(key, await runtime.keys.seal(JSON.stringify(record), key), { ttlMs: lifetimeMs, only: 'absent' })
  },
  async read(state) {
    const key = keyOf(runtime, state)
    const entry = await runtime.store.get(key)
    const text = entry && (await runtime.keys.open(entry.value, key))
    if (entry && text === undefined) {
      const misfit = await misfitOfRecord(runtime, key, entry.value)
      if (misfit) throw sealedRefusal(misfit)
    }
    return text === undefined ? undefined : (JSON.parse(text) as TripRecord)
  },
  take: async (state) => (await runtime.store.take(keyOf(runtime, state))) !== undefined,
})
