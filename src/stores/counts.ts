// Counts in a store at the far end of a connection: the rules run here, on what was read, and what they write is
// written only while nothing that they read has changed.
import { Refusal } from '../kit/refusal.ts'
import type { CountAction, Counters, CounterSteps, CountTable } from '../ports/store.ts'

export interface CountValues {
  readonly used: number
  /** Epoch ms of the store's clock. */
  readonly until: number
}

export interface CountChange {
  readonly name: string
  /** As it was read; undefined: nothing was counted. */
  readonly before: CountValues | undefined
  /** What to write; undefined: it was only read. */
  readonly after: number | undefined
  /** How long that counts, ms; at least 1. */
  readonly forMs: number
  /** The same as a time, in epoch ms of the store's clock. */
  readonly until: number
}

export interface ComparedCounts {
  /** The counts that there are, and the time, in one step. */
  read(
    names: readonly string[],
  ): Promise<{ readonly now: number; readonly values: ReadonlyMap<string, CountValues> }>
  /** One step. False, with nothing written, when one of them is not as it was read. */
  write(changes: readonly CountChange[]): Promise<boolean>
}

/** Others were quicker so often: far beyond what one count gets. */
const mostTries = 30

const nameOf = (of: string, key: string): string => `${of} ${key}`

/** One try: the rules on the values that are known, and what they asked for beside them. */
const attempt = (
  actions: readonly CountAction[],
  known: ReadonlyMap<string, CountValues | undefined>,
  now: number,
  steps: (now: () => number, table: CountTable) => CounterSteps,
) => {
  const written = new Map<string, CountValues>()
  const missing = new Set<string>()
  const table: CountTable = {
    get(of, key) {
      const name = nameOf(of, key)
      const value = written.get(name) ?? known.get(name)
      if (!value && !known.has(name)) missing.add(name)
      return value && value.until > now ? value : undefined
    },
    set: (of, key, used, until) => void written.set(nameOf(of, key), { used, until }),
  }
  const wait = steps(() => now, table).act(actions)
  for (const name of written.keys()) if (!known.has(name)) missing.add(name)
  return { wait, written, missing }
}

/** Who has waited longer for others of this process is refused, ms. */
const mostWaitMs = 1000

export interface ComparedOptions {
  /** The rules of what is counted (policy/rate-limit.ts). */
  readonly steps: (now: () => number, table: CountTable) => CounterSteps
  /** Epoch ms; measures how long callers wait. */
  readonly now: () => number
}

/** Those of one process wait for one another, so that only other processes can be in their way. */
export const createComparedCounters = (
  counts: ComparedCounts,
  { steps, now: clock }: ComparedOptions,
): Counters['act'] => {
  const once = async (actions: readonly CountAction[]): Promise<number | undefined> => {
    const known = new Map<string, CountValues | undefined>()
    let now = 0
    let tried = attempt(actions, known, now, steps)
    while (tried.missing.size > 0) {
      // All of them anew: what is compared was read at one time.
      const names = [...new Set([...known.keys(), ...tried.missing])]
      const read = await counts.read(names)
      now = read.now
      for (const name of names) known.set(name, read.values.get(name))
      tried = attempt(actions, known, now, steps)
    }
    if (tried.written.size === 0) return tried.wait
    const changes = [...known].map(([name, before]) => {
      const after = tried.written.get(name)
      const until = Math.max(now + 1, after?.until ?? now)
      return { name, before, after: after?.used, until, forMs: until - now }
    })
    return (await counts.write(changes)) ? tried.wait : undefined
  }
  let last: Promise<unknown> = Promise.resolve()
  const act = async (actions: readonly CountAction[], since: number): Promise<number> => {
    if (clock() - since > mostWaitMs)
      throw new Refusal('storage.unavailable', `waited ${mostWaitMs} ms for other counts`)
    for (let i = 0; i < mostTries; i++) {
      const wait = await once(actions)
      if (wait !== undefined) return wait
    }
    throw new Refusal('storage.unavailable', `counts changed ${mostTries} times while they were counted`)
  }
  return (actions) => {
    const since = clock()
    const mine = last.then(() => act(actions, since))
    last = mine.catch(() => undefined)
    return mine
  }
}
