// How often somebody may ask, in one table: what is counted, per what, and how many in how long.
import { networkOf, siteOf } from '../kit/addresses.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Counted, Guess, Limit, PaceKind } from '../ports/modules.ts'
import type { CountAction, CountStore, SharedCounts } from '../ports/store.ts'

// Passwords that strangers try for one account, from however many addresses: each wrong one makes the next
// stranger wait longer, and the owner waits at most once.

/**
 * Wrong passwords of strangers that cost nothing: an owner at a new computer may have forgotten which one it
 * was.
 */
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

/**
 * How long a network waits between two passwords for an account that strangers were wrong about so often, ms.
 */
const delayOf = (wrong: number): number =>
  wrong < free ? 0 : Math.min(mostMs, 1000 * 2 ** Math.floor((wrong - free) / doubledBy))

const forgetOldest = (map: Map<string, unknown>, most: number): void => {
  for (const key of map.keys()) {
    if (map.size <= most) return
    map.delete(key)
  }
}

export interface PasswordAttempts {
  /**
   * Milliseconds that this network has to wait before it may try a password for this account; 0 when it may
   * now, and then it is counted as tried.
   */
  wait(account: string, network: string): number
  wrong(account: string): void
}

/**
 * A browser in which the owner signed in before is never asked. At a new one, while strangers guess, the
 * owner's own network waits out one delay and is let try: no number of guesses from elsewhere takes its turn.
 */
export const createPasswordAttempts = (now: () => number, ledger?: CountStore): PasswordAttempts => {
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

interface Pace {
  readonly points: number
  readonly seconds: number
  /** Counted on a loopback gateway too, where every client has the same address. */
  readonly always?: boolean
  /** The points are for all addresses together; who stays below a fair share of them is never refused. */
  readonly shared?: boolean
}

/**
 * Generous where many people share one egress address (hosted clients register and redeem for everybody from
 * a handful of addresses), strict where a password is guessed. The kinds `kept-…` bound what strangers can
 * make the store hold, in KiB: beyond it those are refused who used more than their share, and nobody who has
 * a grant or a session is ever asked. Each is larger than what one address may use of it.
 */
export const paces = {
  register: { points: 600, seconds: 60 },
  authorize: { points: 600, seconds: 60 },
  token: { points: 6000, seconds: 60 },
  'sign-in': { points: 10, seconds: 60, always: true },
  'sign-in-address': { points: 100, seconds: 60, always: true },
  'kept-registrations': { points: 50_000, seconds: 3600, always: true, shared: true },
  'kept-flows': { points: 60_000, seconds: 600, always: true, shared: true },
} as const satisfies Record<PaceKind, Pace>

/** A /48 has 65,536 networks and is what one subscriber may have; many subscribers may sit in one, too. */
export const perSite = 16

interface Window {
  used: number
  /** Epoch ms at which the count begins anew. */
  readonly until: number
}

/**
 * Keys counted at a time for one kind; a stranger who invents more displaces the oldest, never the memory.
 */
const mostKeys = 50_000

/**
 * Counts in fixed windows. No timer empties it: on Workers a timer ends with the request that set it. All
 * windows of a kind are equally long, so those that are over stand first in the order of their making.
 */
const createWindows = (now: () => number, { points, seconds }: Pace, of: string, ledger?: CountStore) => {
  const windows = new Map<string, Window>()
  for (const [key, used, until] of ledger?.load(of) ?? []) windows.set(key, { used, until })
  const forgetOver = (at: number): void => {
    for (const [key, { until }] of windows) {
      if (until > at && windows.size < mostKeys) return
      windows.delete(key)
    }
  }
  return {
    /**
     * Milliseconds to wait when this one is too many, undefined when it is not. `times`: how often the points
     * are allowed.
     */
    use(key: string, cost: number, times = 1): number | undefined {
      const at = now()
      const known = windows.get(key)
      if (known && known.until > at) {
        known.used += cost
        ledger?.save(of, key, known.used, known.until)
        return known.used > points * times ? known.until - at : undefined
      }
      windows.delete(key)
      forgetOver(at)
      windows.set(key, { used: cost, until: at + seconds * 1000 })
      ledger?.save(of, key, cost, at + seconds * 1000)
      return undefined
    },
    giveBack(key: string): void {
      const known = windows.get(key)
      if (!known || known.used === 0) return
      known.used--
      ledger?.save(of, key, known.used, known.until)
    },
  }
}

/**
 * What anybody may use of a shared pace, whatever others do, KiB: some sign-ins with the longest requests
 * that are taken.
 */
const leastShare = 64

/**
 * One window for everybody. While the points last all are served; after that whoever used more than an equal
 * share of them waits for the next window, so that a flood from few places keeps nobody else out. Who cannot
 * be told apart is one place: an IPv4 address, a /48.
 */
const createShares = (now: () => number, { points, seconds }: Pace, of: string, ledger?: CountStore) => {
  const places = new Map<string, number>()
  let [all, until] = [0, 0]
  for (const [place, own, end] of ledger?.load(of) ?? []) {
    places.set(place, own)
    ;[all, until] = [all + own, end]
  }
  return {
    use(place: string, cost: number): number | undefined {
      const at = now()
      if (at >= until) {
        places.clear()
        ;[all, until] = [0, at + seconds * 1000]
      }
      const own = (places.get(place) ?? 0) + cost
      if (all + cost > points && own > Math.max(leastShare, points / (places.size + 1))) return until - at
      all += cost
      if (places.size < mostKeys || places.has(place)) {
        places.set(place, own)
        ledger?.save(of, place, own, until)
      }
      return undefined
    },
  }
}

export interface LimitDeps {
  readonly now: () => number
  readonly loopback: boolean
  /** Counts that all processes of this gateway share, beside those of this one. */
  readonly shared?: SharedCounts | undefined
}

const tooMany = (why: string, waitMs: number): Refusal =>
  new Refusal('rate.limited', why, {
    headers: { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))) },
  })

/** The keys that a use is counted under, and how often each may have the points of its pace. */
const keysOf = (who: Counted): readonly (readonly [key: string, times: number])[] => {
  if (typeof who === 'string') return [[who, 1]]
  const and = who.and === undefined ? '' : ` ${who.and}`
  const [network, site] = [networkOf(who.ip), siteOf(who.ip)]
  return network === site
    ? [[`${network}${and}`, 1]]
    : [
        [`${network}${and}`, 1],
        [`${site}${and}`, perSite],
      ]
}

const said = (who: Counted): string =>
  keysOf(who)
    .map(([key]) => key)
    .join(', ')

interface CountsDeps extends Pick<LimitDeps, 'now' | 'loopback'> {
  /** Where the counts are written down; without one they end with the process. */
  readonly ledger?: CountStore
}

/**
 * Carries out actions on counts in memory, in order, up to the first that has somebody wait; answers for how
 * many milliseconds.
 */
export const createCounts = ({
  now,
  loopback,
  ledger,
}: CountsDeps): ((actions: readonly CountAction[]) => number) => {
  const table = Object.entries(paces as Record<string, Pace>)
  const windows = new Map(
    table
      .filter(([, { always, shared }]) => !shared && (always || !loopback))
      .map(([kind, pace]) => [kind, createWindows(now, pace, kind, ledger)]),
  )
  const shares = new Map(
    table
      .filter(([, { shared }]) => shared)
      .map(([kind, pace]) => [kind, createShares(now, pace, kind, ledger)]),
  )
  const guesses = createPasswordAttempts(now, ledger)
  const use = (kind: PaceKind, who: Counted, cost: number): number => {
    const place = typeof who === 'string' ? who : siteOf(who.ip)
    return Math.max(
      shares.get(kind)?.use(place, cost) ?? 0,
      ...keysOf(who).map(([key, times]) => windows.get(kind)?.use(key, cost, times) ?? 0),
    )
  }
  const act = (action: CountAction): number => {
    if (action.do === 'use') return use(action.kind, action.who, action.cost)
    if (action.do === 'guess') return guesses.wait(action.account, networkOf(action.ip))
    if (action.do === 'wrong') guesses.wrong(action.account)
    else for (const [key] of keysOf(action.who)) windows.get(action.kind)?.giveBack(key)
    return 0
  }
  return (actions) => {
    for (const action of actions) {
      const wait = act(action)
      if (wait > 0) return wait
    }
    return 0
  }
}

/** What is worth a question to the counts that all share: passwords, and what strangers may have kept. */
const isShared = (kind: PaceKind): boolean => (paces as Record<string, Pace>)[kind]?.always === true

const guesserOf = ({ account, ip, known }: Guess): Counted => known ?? { ip, and: account }

const guessActions = (guess: Guess): readonly CountAction[] => {
  const { account, ip, known } = guess
  const own = { do: 'use', kind: 'sign-in', who: guesserOf(guess), cost: 1 } as const
  return known === undefined
    ? [{ do: 'use', kind: 'sign-in-address', who: { ip }, cost: 1 }, { do: 'guess', account, ip }, own]
    : [own]
}

const guessedActions = (guess: Guess, right: boolean): readonly CountAction[] => {
  const { account, ip, known } = guess
  const strangers = known === undefined
  if (!right) return strangers ? [{ do: 'wrong', account }] : []
  return [
    { do: 'forgive', kind: 'sign-in', who: guesserOf(guess) },
    ...(strangers ? [{ do: 'forgive', kind: 'sign-in-address', who: { ip } } as const] : []),
  ]
}

/**
 * Counts in this process and then, for the kinds that need it, in those that all processes share: who is
 * refused here costs nobody else anything. Throws `rate.limited` with `Retry-After` (RFC 9110 §10.2.3) when
 * the pace is exceeded.
 */
export const createLimit = ({ now, loopback, shared }: LimitDeps): Limit => {
  const here = createCounts({ now, loopback })
  // Who waits for an account waits by one count alone: with two of them the owner would be new to one after
  // the other.
  const own = (actions: readonly CountAction[]): readonly CountAction[] =>
    shared ? actions.filter((action) => action.do !== 'guess' && action.do !== 'wrong') : actions
  const everywhere = async (actions: readonly CountAction[]): Promise<number> =>
    here(own(actions)) || (shared && actions.length > 0 ? shared(actions) : 0)
  const count = async (kind: PaceKind, who: Counted, cost = 1): Promise<void> => {
    const actions = [{ do: 'use', kind, who, cost }] as const
    const wait = isShared(kind) ? await everywhere(actions) : here(actions)
    if (wait > 0) throw tooMany(`${kind} by ${said(who)}`, wait)
  }
  return Object.assign(count, {
    async guess(guess: Guess) {
      const wait = await everywhere(guessActions(guess))
      if (wait > 0) throw tooMany(`passwords by ${said(guesserOf(guess))}`, wait)
    },
    async guessed(guess: Guess, right: boolean) {
      await everywhere(guessedActions(guess, right))
    },
  })
}
