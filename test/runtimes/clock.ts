// A clock that a test moves, and the timers that move with it.
import type { Runtime, Timer } from '../../src/ports/runtime.ts'

export interface TestClock extends Pick<Runtime, 'now' | 'timer'> {
  /** Moves the time, and runs the timers that become due on the way, in the order in which they are due. */
  advance(ms: number): void
}

interface Pending {
  readonly due: number
  readonly run: () => void
  /** Where time also passes by itself: the runtime's own timer behind it. */
  readonly stop?: () => void
}

interface TestClockOptions {
  /** Epoch milliseconds at the beginning of a clock that stands still. */
  readonly start?: number
  /** Time also passes by itself, as on the machine's own clock; `advance` moves it further. */
  readonly runs?: boolean
}

const realTimer: Timer = (ms, run) => {
  const timeout = setTimeout(run, ms)
  return () => clearTimeout(timeout)
}

export const createTestClock = ({ start = 0, runs = false }: TestClockOptions = {}): TestClock => {
  const pending = new Set<Pending>()
  let ahead = start
  const now = runs ? () => Date.now() + ahead : () => ahead
  const fire = (timer: Pending): void => {
    pending.delete(timer)
    timer.stop?.()
    timer.run()
  }
  const nextBefore = (end: number): Pending | undefined =>
    [...pending].filter(({ due }) => due <= end).toSorted((a, b) => a.due - b.due)[0]
  return {
    now,
    timer(ms, run) {
      const timer: Pending = {
        due: now() + ms,
        run,
        ...(runs && { stop: realTimer(ms, () => fire(timer)) }),
      }
      pending.add(timer)
      return () => {
        pending.delete(timer)
        timer.stop?.()
      }
    },
    advance(ms) {
      const end = now() + ms
      for (let next = nextBefore(end); next; next = nextBefore(end)) {
        ahead += Math.max(0, next.due - now())
        fire(next)
      }
      ahead += Math.max(0, end - now())
    },
  }
}

/** For tests in which no time passes: timers that never fire. */
export const noTimer: Timer = () => () => undefined
