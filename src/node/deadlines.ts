// Time limits of many exchanges with one timer: a list walked ten times a second costs less than a timer for every call.

export interface Timed {
  /** Epoch ms; Infinity when nothing is awaited. */
  deadline: number
  /** Epoch ms of the next comment on an idle event stream; Infinity when there is none. */
  comment: number
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
  const items = new Set<Timed>()
  let timer: NodeJS.Timeout | undefined
  const tick = (): void => {
    const time = now()
    for (const item of items) {
      if (item.deadline <= time) item.late()
      else if (item.comment <= time) item.idle()
    }
    if (items.size > 0) return
    clearInterval(timer)
    timer = undefined
  }
  return {
    add(item) {
      items.add(item)
      // Left running while there is anything to watch; it never keeps the process alive.
      timer ??= setInterval(tick, tickMs).unref()
    },
    delete: (item) => void items.delete(item),
    each(visit) {
      for (const item of [...items]) visit(item)
    },
  }
}
