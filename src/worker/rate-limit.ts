// The Rate Limiting binding of the platform, which is optional (developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit).
import { networkOf } from '../kit/addresses.ts'
import type { SharedCounts } from '../ports/store.ts'

interface Limiter {
  limit(options: { readonly key: string }): Promise<{ readonly success: boolean }>
}

/** The platform's own Rate Limiting binding, where there is one: it refuses a flood in front of the object, which has to answer everybody. */
export const behindRateLimit =
  (limiter: Limiter | undefined, counts: SharedCounts): SharedCounts =>
  async (actions) => {
    for (const action of limiter ? actions : []) {
      if (action.do !== 'use' || action.kind !== 'sign-in-address' || typeof action.who === 'string') continue
      const { success } = await (limiter as Limiter).limit({ key: networkOf(action.who.ip) })
      if (!success) return 60_000
    }
    return counts(actions)
  }
