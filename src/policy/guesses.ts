// Passwords that strangers try for one account, from however many addresses: each wrong one makes the next stranger wait longer, and the owner waits at most once.

import type { Ledger } from '../ports/counts.ts'

/** Wrong passwords of strangers that cost nothing: an owner at a new computer may have forgotten which one it was. */
const free = 20
/** The delay doubles with every so many wrong passwords. */
const doubledBy = 20
const mostMs = 600_000
/** How long a wrong password counts, ms. */
const keptMs = 3_600_000
const mostAccounts = 20_000
const mostWaiting = 100_000

interface Wrong {
  count: number
  /** Epoch ms at which the count begins anew. */
  readonly until: number
}

/** How long a network waits between two passwords for an account that strangers were wrong about so often, ms. */
const delayOf = (wrong: number): number => (wrong < free ? 0 : Math.min(mostMs, 1000 * 2 ** Math.floor((wrong - free) / doubledBy)))

const forgetOldest = (map: Map<string, unknown>, most: number): void => {
  for (const key of map.keys()) {
    if (map.size <= most) return
    map.delete(key)
  }
}

export interface Guesses {
  /** Milliseconds that this network has to wait before it may try a password for this account; 0 when it may now, and then it is counted as tried. */
  wait(account: string, network: string): number
  wrong(account: string): void
}

/**
 * A browser in which the owner signed in before is never asked. At a new one, while strangers guess, the owner's own network waits out one delay and is let try: no
 * number of guesses from elsewhere takes its turn.
 */
export const createGuesses = (now: () => number, ledger?: Ledger): Guesses => {
  const accounts = new Map<string, Wrong>()
  /** By account and network: when it tried last or, for one that never did, when it asked first. */
  const waiting = new Map<string, number>()
  for (const [account, count, until] of ledger?.load('guesses') ?? []) accounts.set(account, { count, until })
  for (const [key, since] of ledger?.load('waiting') ?? []) waiting.set(key, since)
  return {
    wait(account, network) {
      const at = now()
      const known = accounts.get(account)
      const delay = known && known.until > at ? delayOf(known.count) : 0
      if (delay === 0) return 0
      const key = `${network} ${account}`
      const since = waiting.get(key)
      if (since !== undefined && at - since < delay) return since + delay - at
      waiting.delete(key)
      waiting.set(key, at)
      ledger?.save('waiting', key, at, at + keptMs)
      forgetOldest(waiting, mostWaiting)
      // One that was not seen since the delay began waits like everybody else.
      return since === undefined ? delay : 0
    },
    wrong(account) {
      const at = now()
      const before = accounts.get(account)
      const known = before && before.until > at ? before : { count: 0, until: at + keptMs }
      known.count++
      if (known !== before) accounts.delete(account)
      accounts.set(account, known)
      forgetOldest(accounts, mostAccounts)
      ledger?.save('guesses', account, known.count, known.until)
    },
  }
}
