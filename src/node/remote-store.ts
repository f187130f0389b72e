// Operations on a storage at the far end of a connection: each has its time, is repeated once at most, and those that wait
// are never many (hostile case S7).
import { Refusal } from '../kit/refusal.ts'
import type { Log, Timer } from '../ports/runtime.ts'

/**
 * `lost`: nobody knows whether it was carried out. `passes`: it was not, and may be at the next try. `refused`: it was not,
 * and will not be.
 */
export interface Failure {
  readonly kind: 'lost' | 'passes' | 'refused'
  /** For the operator. */
  readonly why: string
}

/** Where an operation goes. */
interface Route<Connection> {
  readonly current: () => Connection
  /** Told of the connection once it is usable, unless what is returned is called before. */
  readonly ready: (use: (connection: Connection) => void) => () => void
  /** It gave no answer in time: whatever waits behind it will get none either. Called many times for one. */
  readonly drop: (connection: Connection) => void
}

/** The route is that of the operations that name none. */
interface OperationsOptions<Connection> extends Route<Connection> {
  readonly timer: Timer
  /** Milliseconds of any clock that never goes back. */
  readonly clock: () => number
  readonly random: (n: number) => Uint8Array<ArrayBuffer>
  /** What a failure means. Undefined: it is a fault of this program. */
  readonly failureOf: (error: unknown) => Failure | undefined
}

export const unavailable = (why: string): Refusal =>
  new Refusal('storage.unavailable', why, { headers: { 'retry-after': '1' } })

/**
 * An operation, its one repetition, and both together: whoever waits for it is answered within a second. The repetition has
 * some time in any case.
 */
const operationMs = 500
const allMs = 900
const leastMs = 100
/** A list asks for more. */
export const listMs = 2000
/** Operations that wait at once; beyond it they are refused at once. */
const most = 1000

class TimeoutError extends Error {}

/** After a time limit an answer that has arrived, and was not read because the process was busy, still counts, ms. */
const unreadMs = 10

/** Rejects with TimeoutError when the work takes longer. */
export const within = async <T>(timer: Timer, ms: number, work: Promise<T>): Promise<T> => {
  const late = Promise.withResolvers<never>()
  let cancel = timer(ms, () => {
    cancel = timer(unreadMs, () => late.reject(new TimeoutError(`no answer within ${Math.round(ms)} ms`)))
  })
  try {
    return await Promise.race([work, late.promise])
  } finally {
    cancel()
    work.catch(() => undefined)
  }
}

const failureAt = <Connection>(
  error: unknown,
  connection: Connection,
  { drop }: Route<Connection>,
  failureOf: OperationsOptions<Connection>['failureOf'],
): Failure => {
  if (error instanceof Refusal) throw error
  if (error instanceof TimeoutError) {
    drop(connection)
    return { kind: 'lost', why: error.message }
  }
  const failure = failureOf(error)
  if (!failure) throw error
  if (failure.kind === 'refused') throw unavailable(failure.why)
  return failure
}

/**
 * Runs operations that may be repeated: the second time each finds what the first one left, by its mark or its receipt.
 * Rejects with `Refusal('storage.unavailable')`.
 */
export const createOperations = <Connection>(options: OperationsOptions<Connection>) => {
  const { timer, clock, random, failureOf } = options
  let waiting = 0
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      timer(ms, resolve)
    })
  const run = async <T>(
    operation: (connection: Connection) => Promise<T>,
    ms: number,
    route: Route<Connection>,
  ): Promise<T> => {
    const { current, ready } = route
    const mostMs = Math.max(allMs, ms)
    const began = clock()
    const connection = current()
    let first: Failure
    try {
      return await within(timer, ms, operation(connection))
    } catch (error) {
      first = failureAt(error, connection, route, failureOf)
    }
    // 20 to 80 ms: those who failed at the same time do not come back at the same time.
    if (first.kind === 'passes') await pause(20 + (60 * (random(1)[0] as number)) / 255)
    const left = Math.max(leastMs, Math.min(ms, mostMs - (clock() - began)))
    let again = current()
    const usable = Promise.withResolvers<Connection>()
    const leave = ready(usable.resolve)
    let over = false
    const repeated = usable.promise.then((connection) => {
      // Whoever asked has been told that it failed, and must not find it done later.
      if (over) throw new TimeoutError('too late')
      return operation((again = connection))
    })
    try {
      return await within(timer, left, repeated)
    } catch (error) {
      throw unavailable(
        error instanceof TimeoutError ? first.why : failureAt(error, again, route, failureOf).why,
      )
    } finally {
      over = true
      leave()
    }
  }
  return async <T>(
    operation: (connection: Connection) => Promise<T>,
    ms = operationMs,
    route: Route<Connection> = options,
  ): Promise<T> => {
    if (waiting >= most) throw unavailable(`${waiting} operations wait for the storage already`)
    waiting++
    try {
      return await run(operation, ms, route)
    } finally {
      waiting--
    }
  }
}

/** At most one line a minute of one kind, whatever happens. */
export const createRareLog = (log: Log, clock: () => number): Log => {
  const last = new Map<string, number>()
  return (level, event, fields) => {
    const at = clock()
    if (at - (last.get(event) ?? Number.NEGATIVE_INFINITY) < 60_000) return
    last.set(event, at)
    log(level, event, fields)
  }
}
