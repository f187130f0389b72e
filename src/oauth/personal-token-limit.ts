// How many personal access tokens a user may have, however many are created at once.
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Grants } from './grants.ts'

const mostTokens = 50
/** How long a token that is being created counts although it cannot be seen yet. */
const makingMs = 60_000
/** Each lost compare-and-set means that another creation won. */
const maxAttempts = 60

/**
 * One of the places that a user has for tokens, taken before anything is written: those that are created at once see
 * each other. Throws `personal-token.limit`.
 */
export const createTakePlace = (
  {
    runtime,
    grants,
  }: {
    readonly runtime: Pick<Runtime, 'now' | 'digest' | 'store' | 'keys' | 'log'>
    readonly grants: Pick<Grants, 'hasRoom'>
  },
  idsOf: (key: string) => Promise<readonly string[]>,
): ((key: string, id: string) => Promise<void>) => {
  const records = createRecords<Readonly<Record<string, number>>>(runtime, 'tokens-made:')
  return async (key, id) => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const kept = await records.get(runtime.digest(key))
      const now = runtime.now()
      const making = Object.entries(kept?.value ?? {}).filter(([, at]) => now - at < makingMs)
      const taken = new Set([...making.map(([one]) => one), ...(await idsOf(key))])
      if (!taken.has(id) && (taken.size >= mostTokens || !(await grants.hasRoom(key))))
        throw new Refusal('personal-token.limit', key)
      const next = { ...Object.fromEntries(making), [id]: now }
      const options = { ttlMs: makingMs, only: kept?.mark ?? ('absent' as const) }
      if (await records.put(runtime.digest(key), next, options)) return
    }
    throw new Refusal('storage.unavailable', 'token creations conflict, retries exhausted')
  }
}
