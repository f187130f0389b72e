// What has to be looked after from time to time while processes run: calls that take long, servers that say nothing, idleness.
import type { Legacy } from './legacy.ts'
import type { Modern } from './modern.ts'
import type { Pool } from './pool.ts'
import type { Starting } from './starting.ts'

const tickMs = 100
const houseMs = 1000
/** A server that waits for its client waits this long: there may be a person to ask. */
const askMs = 600_000

export interface HousekeepingOptions {
  readonly legacy: Legacy
  readonly modern: Modern
  readonly pool: Pool
  readonly starting: Pick<Starting, 'tick'>
  readonly now: () => number
  /** Longest silence of a server during a call, milliseconds. */
  readonly timeoutMs: number
  /** A process unused for this long is ended, milliseconds. */
  readonly sleepMs: number
  /** How often a comment goes out on an idle stream, milliseconds. */
  readonly keepAliveMs: number
}

export interface Housekeeping {
  /** Goes on by itself until no process is left. */
  run(): void
  tick(): void
  stop(): void
}

export const createHousekeeping = ({ legacy, modern, pool, starting, now, timeoutMs, sleepMs, keepAliveMs }: HousekeepingOptions): Housekeeping => {
  let timer: ReturnType<typeof setInterval> | undefined
  let housedAt = 0
  let commentedAt = now()
  const stop = (): void => {
    clearInterval(timer)
    timer = undefined
  }
  const tick = (): void => {
    const time = now()
    const comment = time - commentedAt >= keepAliveMs
    legacy.tick(comment)
    starting.tick()
    if (comment) {
      commentedAt = time
      modern.comment()
    }
    if (time - housedAt < houseMs) return
    housedAt = time
    legacy.expire(timeoutMs, Math.max(timeoutMs, askMs))
    modern.expire(timeoutMs)
    pool.tick(sleepMs)
    if (pool.size === 0) stop()
  }
  return {
    tick,
    stop,
    run() {
      timer ??= setInterval(tick, tickMs)
    },
  }
}
