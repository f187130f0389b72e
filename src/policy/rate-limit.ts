// How often somebody may ask, in one table: what is counted, per what, and how many in how long.
import { networkOf, siteOf } from '../kit/addresses.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Counted, Guess, Limit, PaceKind } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { CountAction, CounterSteps, Counters, CountTable } from '../ports/store.ts'
import { createWindows as createTakenWindows, perSite } from './call-rates.ts'

/**
 * Keys counted at a time for one kind; a stranger who invents more displaces the oldest, never the memory.
 */
const mostKeys = 50_000

/** Counts of this process alone. No timer empties it: on Workers a timer ends with the request that set it. */
const createMemoryTable = (now: () => number): CountTable => {
  interface Count {
    used: number
    readonly until: number
  }
  const tables = new Map<string, Map<string, Count>>()
  /** Those of a kind are about equally long, so that the ones that are over stand first. */
  const forgetOver = (counts: Map<string, Count>): void => {
    const at = now()
    for (const [key, { until }] of counts) {
      if (until > at && counts.size <= mostKeys) return
      counts.delete(key)
    }
  }
  return {
    get(of, key) {
      const known = tables.get(of)?.get(key)
      return known && known.until > now() ? known : undefined
    },
    set(of, key, used, until) {
      const counts = tables.get(of) ?? new Map<string, Count>()
      tables.set(of, counts)
      const known = counts.get(key)
      if (known?.until === until) {
        known.used = used
        return
      }
      counts.delete(key)
      counts.set(key, { used, until })
      forgetOver(counts)
    },
  }
}

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

/**
 * How long a network waits between two passwords for an account that strangers were wrong about so often, ms.
 */
const delayOf = (wrong: number): number =>
  wrong < free ? 0 : Math.min(mostMs, 1000 * 2 ** Math.floor((wrong - free) / doubledBy))

interface PasswordAttempts {
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
const createPasswordAttempts = (now: () => number, table: CountTable): PasswordAttempts => ({
  wait(account, network) {
    const at = now()
    const delay = delayOf(table.get('guesses', account)?.used ?? 0)
    if (delay === 0) return 0
    const key = `${network} ${account}`
    // When it tried last or, for one that never did, when it asked first.
    const since = table.get('waiting', key)?.used
    if (since !== undefined && at - since < delay) return since + delay - at
    table.set('waiting', key, at, at + keptMs)
    // One that was not seen since the delay began waits like everybody else.
    return since === undefined ? delay : 0
  },
  wrong(account) {
    const { used, until } = table.get('guesses', account) ?? { used: 0, until: now() + keptMs }
    table.set('guesses', account, used + 1, until)
  },
})

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
 * a handful of addresses), strict where a password is guessed. Registrations of an address are counted by kind
 * of client, so that an app that registers over and over keeps no other out. The kinds `kept-…` bound what
 * strangers can make the store hold, in KiB: beyond it those are refused who used more than their share, and
 * nobody who has a grant or a session is ever asked.
 */
export const paces = {
  register: { points: 600, seconds: 60 },
  'register-address': { points: 3000, seconds: 60 },
  authorize: { points: 600, seconds: 60 },
  token: { points: 6000, seconds: 60 },
  'sign-in': { points: 10, seconds: 60, always: true },
  'sign-in-address': { points: 100, seconds: 60, always: true },
  'kept-registrations': { points: 50_000, seconds: 3600, always: true, shared: true },
  'kept-flows': { points: 60_000, seconds: 600, always: true, shared: true },
  flows: { points: 20, seconds: 60 },
  'kept-strangers-flows': { points: 10_000, seconds: 86_400, always: true, shared: true },
  'device': { points: 600, seconds: 60 },
  'kept-devices': { points: 5000, seconds: 900, always: true, shared: true },
  'user-code': { points: 5, seconds: 900, always: true },
  'user-code-address': { points: 20, seconds: 900, always: true },
  'user-codes': { points: 1000, seconds: 60, always: true, shared: true },
  'assertions': { points: 600, seconds: 60 },
  'refused-assertions': { points: 60, seconds: 60 },
  'client-tokens': { points: 600, seconds: 60 },
  'refused-clients': { points: 60, seconds: 60 },
} as const satisfies Record<PaceKind, Pace>

/** Counts in fixed windows. */
const createWindows = (now: () => number, table: CountTable) => ({
  /**
   * Milliseconds to wait when this one is too many, 0 when it is not. `times`: how often the points are
   * allowed.
   */
  use(of: string, { points, seconds }: Pace, key: string, cost: number, times: number): number {
    const at = now()
    const known = table.get(of, key)
    const until = known?.until ?? at + seconds * 1000
    const used = (known?.used ?? 0) + cost
    table.set(of, key, used, until)
    return known && used > points * times ? until - at : 0
  },
  giveBack(of: string, key: string): void {
    const known = table.get(of, key)
    if (known && known.used > 0) table.set(of, key, known.used - 1, known.until)
  },
})

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
const createShares = (now: () => number, table: CountTable) => {
  /** Beside the places: what all have used, and how many they are. */
  const [all, number] = ['all', 'number']
  const mostPlaces = mostKeys - 1000
  return {
    use(of: string, { points, seconds }: Pace, place: string, cost: number): number {
      const at = now()
      const { used, until } = table.get(of, all) ?? { used: 0, until: at + seconds * 1000 }
      const before = table.get(of, place)?.used
      const places = table.get(of, number)?.used ?? 0
      const own = (before ?? 0) + cost
      if (used + cost > points && own > Math.max(leastShare, points / (places + 1))) return until - at
      table.set(of, all, used + cost, until)
      if (before === undefined && places >= mostPlaces) return 0
      if (before === undefined) table.set(of, number, places + 1, until)
      table.set(of, place, own, until)
      return 0
    },
  }
}

export interface LimitDeps {
  readonly now: () => number
  readonly loopback: boolean
  /** Counts that all processes of this gateway share, beside those of this one. */
  readonly shared?: Counters | undefined
  /** For what is taken of them a part at a time. */
  readonly runtime?: Pick<Runtime, 'digest' | 'log' | 'defer'>
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

/** A use of what calls may use (call-rates.ts). */
const createHit =
  (now: () => number, table: CountTable): CounterSteps['hit'] =>
  (key, { cost, limit, windowMs }) => {
    const at = now()
    const { used, until } = table.get('calls', key) ?? { used: 0, until: at + windowMs }
    const allowed = used + cost <= limit
    const after = allowed ? used + cost : used
    if (allowed) table.set('calls', key, after, until)
    return { allowed, remaining: Math.max(0, limit - after), resetMs: until - at }
  }

interface CounterDeps extends Pick<LimitDeps, 'now' | 'loopback'> {
  /** Absent: in this process, with which they end. */
  readonly table?: CountTable
}

/** The steps of `Counters` on one table. */
export const createCounterSteps = ({
  now,
  loopback,
  table = createMemoryTable(now),
}: CounterDeps): CounterSteps => {
  const windows = createWindows(now, table)
  const shares = createShares(now, table)
  const guesses = createPasswordAttempts(now, table)
  const use = (kind: PaceKind, who: Counted, cost: number): number => {
    const pace: Pace = paces[kind]
    if (pace.shared) return shares.use(kind, pace, typeof who === 'string' ? who : siteOf(who.ip), cost)
    if (loopback && !pace.always) return 0
    return Math.max(...keysOf(who).map(([key, times]) => windows.use(kind, pace, key, cost, times)))
  }
  const act = (action: CountAction): number => {
    if (action.do === 'use') return use(action.kind, action.who, action.cost)
    if (action.do === 'guess') return guesses.wait(action.account, networkOf(action.ip))
    if (action.do === 'wrong') guesses.wrong(action.account)
    else for (const [key] of keysOf(action.who)) windows.giveBack(action.kind, key)
    return 0
  }
  return {
    hit: createHit(now, table),
    act(actions) {
      for (const action of actions) {
        const wait = act(action)
        if (wait > 0) return wait
      }
      return 0
    },
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
 * Requests of an address, which all processes count together without a question for each: what is far below the
 * pace is counted here alone, and beyond that a process takes a part of the pace at a time. Resolves with the
 * milliseconds to wait. Where the counts cannot be had, each process counts alone.
 */
const createTakenPaces = ({ now, loopback, shared, runtime }: LimitDeps) => {
  if (loopback || !shared || !runtime) return undefined
  const { digest, log, defer } = runtime
  const deps = { now, shared, digest, log, singleFlight: createSingleFlight({ now, defer }) }
  const made = new Map<PaceKind, ReturnType<typeof createTakenWindows>>()
  const windowsOf = (kind: PaceKind) => {
    const { points, seconds } = paces[kind]
    const windows =
      made.get(kind) ?? createTakenWindows(deps, { id: kind, calls: points, windowMs: seconds * 1000 }, true)
    made.set(kind, windows)
    return windows
  }
  return async (kind: PaceKind, who: Counted, cost: number): Promise<number> => {
    const windows = windowsOf(kind)
    for (const [key, times] of keysOf(who)) {
      const limit = paces[kind].points * times
      let wait = windows.wait(key, cost, limit)
      for (; typeof wait !== 'number'; wait = windows.wait(key, cost, limit)) await wait
      if (wait > 0) return wait
      windows.use(key, cost, limit)
    }
    return 0
  }
}

/**
 * Counts in this process and then, for the kinds that need it, in those that all processes share: who is
 * refused here costs nobody else anything. Throws `rate.limited` with `Retry-After` (RFC 9110 §10.2.3) when
 * the pace is exceeded.
 */
export const createLimit = (deps: LimitDeps): Limit => {
  const { now, loopback, shared } = deps
  const here = createCounterSteps({ now, loopback })
  // Who waits for an account waits by one count alone: with two of them the owner would be new to one after
  // the other.
  const own = (actions: readonly CountAction[]): readonly CountAction[] =>
    shared ? actions.filter((action) => action.do !== 'guess' && action.do !== 'wrong') : actions
  const everywhere = async (actions: readonly CountAction[]): Promise<number> =>
    here.act(own(actions)) || (shared && actions.length > 0 ? shared.act(actions) : 0)
  const taken = createTakenPaces(deps)
  const count = async (kind: PaceKind, who: Counted, cost = 1): Promise<void> => {
    const actions = [{ do: 'use', kind, who, cost }] as const
    const wait = isShared(kind)
      ? await everywhere(actions)
      : here.act(actions) || ((await taken?.(kind, who, cost)) ?? 0)
    if (wait > 0) throw tooMany(`${kind} by ${said(who)}`, wait)
  }
  return Object.assign(count, {
    async takeBack(kind: PaceKind, who: Counted) {
      await everywhere([{ do: 'forgive', kind, who }])
    },
    async guess(guess: Guess) {
      const wait = await everywhere(guessActions(guess))
      if (wait > 0) throw tooMany(`passwords by ${said(guesserOf(guess))}`, wait)
    },
    async guessed(guess: Guess, right: boolean) {
      await everywhere(guessedActions(guess, right))
    },
  })
}
