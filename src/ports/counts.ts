// What is counted against those who ask too often, and where counts are kept (policy/rate.ts).

export type PaceKind = 'register' | 'authorize' | 'token' | 'sign-in' | 'sign-in-address' | 'kept-registrations' | 'kept-flows'

/**
 * Who is counted: a name of its own, or an address: IPv4 alone, IPv6 by its /64, and by its /48 at sixteen times the number. `and` narrows an address, to a client
 * or a username.
 */
export type Counted = string | { readonly ip: string; readonly and?: string }

/** One thing that is counted, or taken back (policy/rate.ts). */
export type CountAction =
  | { readonly do: 'use'; readonly kind: PaceKind; readonly who: Counted; readonly cost: number }
  | { readonly do: 'forgive'; readonly kind: PaceKind; readonly who: Counted }
  | { readonly do: 'guess'; readonly account: string; readonly ip: string }
  | { readonly do: 'wrong'; readonly account: string }

/**
 * Carries out the actions in order, up to the first that has somebody wait. Answers for how many milliseconds, 0 when nobody has to. Rejects with
 * `Refusal('storage.unavailable')` when the counts cannot be reached.
 */
export type SharedCounts = (actions: readonly CountAction[]) => Promise<number>

/** Where counts are written down, for whoever may be ended at any moment. */
export interface Ledger {
  /** What was saved under this name and is not over, what ends first before the others. */
  load(of: string): Iterable<readonly [key: string, used: number, until: number]>
  /** `until`: epoch ms. */
  save(of: string, key: string, used: number, until: number): void
}
