// The counts of all processes together, for whatever keeps them in one place.
import { createCounts } from './policy/rate.ts'
import type { CountAction, Ledger } from './ports/counts.ts'

interface SharedCountsDeps {
  readonly now: () => number
  readonly ledger: Ledger
}

/** Carries out actions as `SharedCounts` says. */
export const createSharedCounts = ({ now, ledger }: SharedCountsDeps): ((actions: readonly CountAction[]) => number) => createCounts({ now, loopback: false, ledger })
