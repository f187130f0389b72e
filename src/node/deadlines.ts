// Time limits of many exchanges with one timer: a list walked ten times a second costs less than a timer for every call.

export interface Timed {
  /** Epoch ms; Infinity when nothing is awaited. */
  deadline: number
  /** Epoch ms of the next comment on an idle event stream; Infinity when there is none. */
  comment: number
  /** Where the list holds it; the list's own. */
  at: number
  late(): void
  idle(): void
}

export interface Deadlines {
  add(item: Timed): void
  delete(item: Timed): void
  /** All that are watched at the moment. */
  each(visit: (item: Timed) => void): void
}

const tickMs = 100

export const createDeadlines = (now: () => number): Deadlines => {
  // Not a Set: as entries come and go it leaves tables behind that hold on to one another and to every finished call, until the next full collection.
  const items: Timed[] = []
  let timer: NodeJS.Timeout | undefined
  const tick = (): void => {
    const time = now()
    // From the end: whoever leaves meanwhile is replaced by one that has been visited.
    for (let i = items.length - 1; i >= 0; i--) {
      const item = items[i]
      if (!item) continue
      if (item.deadline <= time) item.late()
      else if (item.comment <= time) item.idle()
    }
    if (items.length > 0) return
    clearInterval(timer)
    timer = undefined
  }
  return {
    add(item) {
      item.at = items.push(item) - 1
      // Left running while there is anything to watch; it never keeps the process alive.
      timer ??= setInterval(tick, tickMs).unref()
    },
    delete({ at }) {
      const last = items.pop()
      if (!last || at >= items.length) return
      items[at] = last
      last.at = at
    },
    each(visit) {
      for (const item of [...items]) visit(item)
    },
  }
}
