// Whether those who hold something open may still: no request comes by which it would show. What the storage
// does not answer is never taken for a yes.
import { closuresKey } from '../kit/records.ts'
import type { NewestPrincipal } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type { Policy } from '../ports/policy.ts'
import type { Runtime, Timer } from '../ports/runtime.ts'
import type { Address, Service, Serving } from '../ports/services.ts'
import type { Notice, Subscribe } from '../ports/store.ts'

/**
 * `access`: the token or what it stands for has ended. `service`: the service is gone, or is another one now.
 * `storage`: two looks in a row brought no answer, so that nobody knows.
 */
export type EndAccess = (why: EndReason) => void
export type EndReason = 'access' | 'service' | 'storage'

/** Who holds it open, and where. */
export interface Holder {
  readonly address: Address
  readonly principal: Principal | undefined
}

export interface Revalidation {
  /**
   * Calls `end` once when this caller would not be let in any more; what it returns stops the watch. `late`:
   * a token that has expired, or access rules that were changed, are no end.
   */
  caller(holder: Holder, end: EndAccess, late?: boolean): () => void
  /** The same for what belongs to a service. `idle`: asked as well; true is an end. */
  service(service: Service, end: () => void, idle?: () => boolean): () => void
}

export interface RevalidationDeps {
  readonly runtime: Pick<Runtime, 'now' | 'subscribe' | 'timer'>
  /** Whether the grant of this principal lives. Rejects where the storage does not answer. */
  readonly alive: (principal: Principal) => Promise<boolean>
  readonly newest: NewestPrincipal
  readonly serving: Serving
  /** Absent: no access rules. */
  readonly policy?: Policy | undefined
}

/** What is asked about one thing that is open. */
interface Asked {
  /** Why it ends, as far as this process knows. */
  here(): EndReason | undefined
  /** The same, asked of the storage. Rejects where that does not answer. */
  ask(): Promise<EndReason | undefined>
  /** Records whose change may change the answer; none: the storage has no say. */
  records(): readonly string[]
  readonly end: EndAccess
}

const everyMs = 2000
/** Looks without an answer until nobody is taken for good any more. */
const mostMissed = 2

/** Runs it every two seconds. A clock that jumps, as of a computer that slept, is one run and not many. */
const repeat = (timer: Timer, run: () => void): (() => void) => {
  let stopped = false
  let cancel: () => void
  const arm = (): void => {
    if (stopped) return
    cancel = timer(everyMs, () => {
      run()
      queueMicrotask(arm)
    })
  }
  arm()
  return () => {
    stopped = true
    cancel()
  }
}

/**
 * Where the storage tells nothing: asked every two seconds. One object for each that is watched, and the
 * functions are shared: thousands of streams are open at once.
 */
interface Poll {
  readonly asked: Asked
  readonly timer: Timer
  readonly asks: boolean
  missed: number
  waiting: boolean
  /** Undefined once it is over. */
  cancel: (() => void) | undefined
}

const stopPoll = (polling: Poll): void => {
  polling.cancel?.()
  polling.cancel = undefined
}

const settlePoll = (polling: Poll, why: EndReason | undefined): void => {
  if (polling.cancel === undefined || why === undefined) return
  stopPoll(polling)
  polling.asked.end(why)
}

const missPoll = (polling: Poll): void =>
  settlePoll(polling, ++polling.missed >= mostMissed ? 'storage' : undefined)

const look = async (polling: Poll): Promise<void> => {
  polling.waiting = true
  try {
    const why = await polling.asked.ask()
    polling.missed = 0
    settlePoll(polling, why)
  } catch {
    missPoll(polling)
  } finally {
    polling.waiting = false
  }
}

const tickPoll = (polling: Poll): void => {
  const why = polling.asked.here()
  if (why !== undefined || !polling.asks) return settlePoll(polling, why)
  if (polling.waiting) return missPoll(polling)
  look(polling).catch(() => undefined)
}

/** As `repeat`. */
const armPoll = (polling: Poll): void => {
  polling.cancel = polling.timer(everyMs, () => {
    tickPoll(polling)
    queueMicrotask(() => {
      if (polling.cancel) armPoll(polling)
    })
  })
}

const poll = (asked: Asked, timer: Timer): (() => void) => {
  const polling: Poll = {
    asked,
    timer,
    asks: asked.records().length > 0,
    missed: 0,
    waiting: false,
    cancel: undefined,
  }
  armPoll(polling)
  return () => stopPoll(polling)
}

/** What this process remembers of a grant or of the services is half a second old at most. */
const freshMs = 600
/** After a look, or a subscription, that came to nothing. */
const againMs = 5000

/**
 * Where the storage tells of changes: it is asked once the subscriptions stand, and whenever it has told
 * something.
 */
const follow = ({ here, ask, end, ...asked }: Asked, timer: Timer, subscribe: Subscribe): (() => void) => {
  const records = asked.records()
  let missed = 0
  let over = false
  let stops: readonly (() => void)[] = []
  /** Counts the subscriptions that were begun; only the newest are heard. */
  let round = 0
  let cancelWork = (): void => undefined
  const drop = (): void => {
    round++
    for (const unsubscribe of stops) unsubscribe()
    stops = []
  }
  const stop = (): void => {
    over = true
    stopTicking()
    cancelWork()
    drop()
  }
  const settle = (why: EndReason | undefined): void => {
    if (over || why === undefined) return
    stop()
    end(why)
  }
  /** One thing at a time is ahead: whatever was said meanwhile is seen by the next look. */
  const ahead = (work: () => Promise<void>, inMs: number): void => {
    cancelWork()
    if (!over) cancelWork = timer(inMs, () => void work().catch(miss))
  }
  const miss = (): void => {
    if (++missed >= mostMissed) return settle('storage')
    drop()
    ahead(begin, againMs)
  }
  const look = async (): Promise<void> => {
    const why = await ask()
    missed = 0
    settle(why)
  }
  const begin = async (): Promise<void> => {
    drop()
    const mine = round
    const heard = (notice: Notice): void => {
      if (over || mine !== round) return
      if (notice === 'changed') return ahead(look, freshMs)
      drop()
      ahead(begin, 0)
    }
    const made = await Promise.allSettled(records.map((record) => subscribe(record, heard)))
    const standing = made.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    if (mine !== round) return standing.forEach((unsubscribe) => unsubscribe())
    stops = standing
    if (standing.length < records.length) return miss()
    ahead(look, freshMs)
  }
  // Short streams cost nothing: most answers are over by then.
  if (records.length > 0) ahead(begin, everyMs)
  const stopTicking = repeat(timer, () => settle(here()))
  return stop
}

export const createRevalidation = ({
  runtime: { now, subscribe, timer },
  alive,
  newest,
  serving,
  policy,
}: RevalidationDeps): Revalidation => {
  /** Whether the access rules of now leave the caller nothing. */
  const isShutOut = (service: Service, principal: Principal | undefined): boolean => {
    if (!policy?.services.ruled) return false
    // What is read now counts when it is looked at next; without an answer calls are refused, and streams stay.
    policy.fresh()?.catch(() => undefined)
    return policy.of(service)?.judgeConnection(principal && newest(principal)).allowed === false
  }
  const watch = (asked: Asked): (() => void) =>
    subscribe ? follow(asked, timer, subscribe) : poll(asked, timer)
  const recordsOf = (service: Service, principal?: Principal): readonly string[] => {
    const records = [serving.record(service), principal && `grant:${principal.grantId}`].filter(
      (record) => record !== undefined,
    )
    // Where the storage tells of changes, it tells of what is closed beside any record.
    return subscribe && records.length === 0 ? [closuresKey] : records
  }
  return {
    caller({ address: { service }, principal }, end, late = false) {
      return watch({
        end,
        records: () => recordsOf(service, principal),
        here() {
          if (!serving.known(service)) return 'service'
          if (late) return undefined
          const expired = principal !== undefined && principal.expiresAt <= now()
          return expired || isShutOut(service, principal) ? 'access' : undefined
        },
        async ask() {
          const lives = !principal || (await alive(principal))
          // A store that notices what is closed has noticed it with the grant.
          if (!(await serving.served(service))) return 'service'
          return lives ? undefined : 'access'
        },
      })
    },
    service(service, end, idle = () => false) {
      return watch({
        end,
        records: () => recordsOf(service),
        here: () => (idle() || !serving.known(service) ? 'service' : undefined),
        ask: async () => ((await serving.served(service)) ? undefined : 'service'),
      })
    },
  }
}
