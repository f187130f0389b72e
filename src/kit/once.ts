// Single flight: however many ask for the same thing at the same moment, the work is done once.

/** Runs `work` unless a run for this key is under way, whose outcome is shared then. Nothing is kept: not the answer, not the error. */
export type Once = <T>(key: string, work: () => Promise<T>) => Promise<T>

/** A key must always stand for the same kind of work: callers that share a run share its type. */
export const createOnce = (): Once => {
  const running = new Map<string, Promise<unknown>>()
  return <T>(key: string, work: () => Promise<T>): Promise<T> => {
    const known = running.get(key)
    if (known) return known as Promise<T>
    // async: work that throws before its first await must reject like any other.
    const run = (async () => work())()
    const forget = (): void => void running.delete(key)
    running.set(key, run)
    run.then(forget, forget)
    return run
  }
}
