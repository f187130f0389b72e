// A server that is long away: who calls it hears so at once, instead of waiting as long as everybody before,
// and is served again soon after it is back.
import type { Service, ServiceState } from '../ports/services.ts'
import type { RuntimeTransports } from '../ports/runtime.ts'

export interface CircuitBreaker {
  /** Whether a call may go; true at once as long as there is no doubt. */
  gate(): boolean | Promise<boolean>
  /** The server answered something. */
  heard(): void
  /** It answered nothing, and that took this long (ms). */
  missed(tookMs: number): void
  /** As far as calls have shown. */
  readonly state: ServiceState
}

/** So many in a row, and nothing heard meanwhile, make a doubt. */
const mostMissed = 3
/**
 * A failure that is quicker than this costs nobody anything: the next call tries again, and finds the server
 * the moment it is back.
 */
const slowMs = 1000
/**
 * While a server is away it is looked for this often, by the call that comes then; also the longest such a
 * look may take.
 */
const againMs = 2000

/**
 * `look` resolves when the server answers anything at all. Calls that time out are no proof by themselves:
 * anybody may call a tool that hangs, and must not have the others refused. So a doubt is settled by a look
 * of the gateway's own, before anybody is told that the server is away.
 */
export const createCircuitBreaker = ({
  now,
  look,
}: {
  readonly now: () => number
  readonly look: () => Promise<unknown>
}): CircuitBreaker => {
  let missed = 0
  let seen = false
  let away = false
  let lookedAt = -Infinity
  let looking: Promise<boolean> | undefined

  const heard = (): void => {
    missed = 0
    away = false
    seen = true
  }
  const found = (there: boolean): boolean => {
    if (there) heard()
    else away = true
    looking = undefined
    return there
  }
  const begin = (): Promise<boolean> => {
    lookedAt = now()
    looking = look().then(
      () => found(true),
      () => found(false),
    )
    return looking
  }

  return {
    gate() {
      if (missed < mostMissed) return true
      if (now() - lookedAt >= againMs) return begin()
      // Once it is known to be away nobody waits for somebody else's look.
      return away ? false : (looking ?? true)
    },
    heard,
    get state() {
      return away ? 'degraded' : seen ? 'healthy' : 'unknown'
    },
    missed(tookMs) {
      if (tookMs >= slowMs) missed++
    },
  }
}

/** Undefined for a server that is no HTTP server of its own. */
export const circuitBreakerOf = (
  { upstream, timeoutMs }: Service,
  { transports, now }: { readonly transports: RuntimeTransports; readonly now: () => number },
): CircuitBreaker | undefined => {
  if (upstream.kind !== 'http' || !upstream.url.startsWith('http')) return undefined
  const { url, publicOnly } = upstream
  return createCircuitBreaker({
    now,
    // Safe and without a credential; 404 or 401 is an answer as good as any (RFC 9110 §9.3.7).
    async look() {
      const { fetch } = publicOnly ? transports.publicOnly : transports
      const answer = await fetch(url, {
        method: 'OPTIONS',
        redirect: 'manual',
        signal: AbortSignal.timeout(Math.min(againMs, timeoutMs)),
      })
      await answer.body?.cancel()
    },
  })
}
