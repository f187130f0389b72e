// Time limits of many exchanges with one timer: a list walked ten times a second costs less than a timer for
// every call.
import type { Deadlines, Timed } from '../../ports/call.ts'
import type { Timer } from '../../ports/runtime.ts'

const tickMs = 100

export const createTimeoutWheel = (now: () => number, timer: Timer): Deadlines => {
  // Not a Set: as entries come and go it leaves tables behind that hold on to one another and to every
  // finished call, until the next full collection.
  const items: Timed[] = []
  let ticking = false
  const tick = (): void => {
    const time = now()
    // From the end: whoever leaves meanwhile is replaced by one that has been visited.
    for (let i = items.length - 1; i >= 0; i--) {
      const item = items[i]
      if (!item) continue
      if (item.deadline <= time) item.late()
      else if (item.comment <= time) item.idle()
    }
    ticking = items.length > 0
    if (ticking) timer(tickMs, tick)
  }
  return {
    add(item) {
      item.at = items.push(item) - 1
      if (ticking) return
      ticking = true
      timer(tickMs, tick)
    },
    delete({ at }) {
      const last = items.pop()
      if (!last || at >= items.length) return
      items[at] = last
      last.at = at
    },
    sooner: () => undefined,
  }
}
