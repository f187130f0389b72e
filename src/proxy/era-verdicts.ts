// Which eras a server speaks, as far as the calls of one person by one client have shown it; dated, because servers are replaced.

export interface Verdicts {
  /** Undefined: nobody knows. */
  speaks(owner: string, modern: boolean): boolean | undefined
  note(owner: string, modern: boolean, speaks: boolean): void
}

/** A server that speaks an era goes on speaking it; one that does not may have been replaced by one that does. */
const yesMs = 3_600_000
const noMs = 600_000
const mostOwners = 10_000

export const createVerdicts = (now: () => number): Verdicts => {
  const known = [new Map<string, number>(), new Map<string, number>()] as const
  return {
    speaks(owner, modern) {
      const until = known[modern ? 1 : 0].get(owner)
      if (until === undefined || now() > Math.abs(until)) return undefined
      return until > 0
    },
    note(owner, modern, speaks) {
      const map = known[modern ? 1 : 0]
      map.delete(owner)
      if (map.size >= mostOwners) map.delete(map.keys().next().value as string)
      // The sign is the verdict, the size its end.
      map.set(owner, speaks ? now() + yesMs : -(now() + noMs))
    },
  }
}
