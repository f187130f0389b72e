// Single flight: however many ask for the same thing at the same moment, the work is done once. Not a
// library: a run must be handed to the runtime (waitUntil), and taken for lost when Workers never settle it.

/**
 * Runs `work` unless a run for this key is under way, whose outcome is shared then. Nothing is kept: not the
 * answer, not the error.
 */
export type SingleFlight = <T>(key: string, work: () => Promise<T>) => Promise<T>

// The runtime's part in it; ports/runtime.ts fits.
interface Lasting {
  now(): number
  /** Lets work end although the request that began it is over. */
  defer(work: Promise<unknown>): void
}

/** Longer than any work takes that somebody waits for. */
const lostMs = 20_000

/**
 * A key must always stand for the same kind of work: callers that share a run share its type. A run outlives
 * the request that began it: on Workers, work that is cut off with its request never settles, and whoever
 * shares it waits for ever. Should that happen all the same (the time of the deferred is bounded), a run is
 * taken for lost after 20 s and the next to ask begins another.
 */
export const createSingleFlight = ({ now, defer }: Lasting): SingleFlight => {
  const running = new Map<string, { readonly run: Promise<unknown>; readonly since: number }>()
  return <T>(key: string, work: () => Promise<T>): Promise<T> => {
    const known = running.get(key)
    if (known && now() - known.since < lostMs) return known.run as Promise<T>
    // async: work that throws before its first await must reject like any other.
    const run = (async () => work())()
    const entry = { run, since: now() }
    const forget = (): void => {
      if (running.get(key) === entry) running.delete(key)
    }
    running.set(key, entry)
    defer(run.then(forget, forget))
    return run
  }
}
